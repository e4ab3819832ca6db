// What all CUDA kernels behind the CuPy backend share.
//
// Arrays are row-major and contiguous. T is the network's type, float or double. Whatever is summed
// is summed in an order that depends on the shapes alone, so that the same call gives the same
// bits. Every thread of a block reaches every barrier. The host passes integers as long long and
// real numbers as double; where an array is optional, its pointer may be null.
//
// The host compiles this with -DLOG_GUARD, -DSERIES_BOUND and -DLARGEST_EXPONENT, the constants of
// fastnn/functions/losses.py and of incremental.py and loss_ratios.py in fastnn/backends.

typedef long long integer;

enum Activation { IDENTITY, SIGMOID, TANH, RELU };

constexpr int MOST_THREADS = 1024;
// The most in a block of the kernels that need many registers: two such blocks fill a processor.
constexpr int LAYER_THREADS = 512;

// The bounds for launching give the compiler the registers for several loads on their way: left to
// itself it saves them, and a thread waits for each load in turn.
constexpr int CHUNK = 1024; // values that a block holds in shared memory at a time
// Samples that a block holds at a time, where it holds several values of each.
constexpr int SAMPLES = 128;
constexpr int FEATURES = 8; // for whose weights a block finds the gradient, and a thread at a time
constexpr int MOST_UNITS = 1024, MOST_OUTPUTS = 64; // that `pass` takes

constexpr double REACH = 0.02, OMITTED = 4.4e-16; // those of expansions.py
constexpr int BOUNDS = 4; // numbers that bound what two powers leave out of a sample's series

// Some features of a sample, loaded 16 bytes at a time.
template <class T> struct alignas(16) Row {
    T values[FEATURES];
};

__device__ inline int thread_number() {
    return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
}

__device__ inline int block_size() { return blockDim.x * blockDim.y * blockDim.z; }

// Of a batch, `rows` names the rows of the data set; without it the samples are the batch
// themselves.
__device__ inline integer row_of(const integer* rows, integer n) { return rows ? rows[n] : n; }

// The target of an output: labels are targets of 1 and 0.
template <class T>
__device__ T
target_of(const integer* labels, const T* targets, integer row, integer k, integer outputs) {
    return labels ? T(labels[row] == k) : targets[row * outputs + k];
}

template <class T> __device__ T activate(T a, integer activation) {
    switch (activation) {
        case SIGMOID: return 1 / (1 + exp(-a));
        case TANH: return tanh(a);
        case RELU: return a < 0 ? 0 : a; // so that NaN stays NaN
        default: return a;
    }
}

// The derivative of an activation, from what it returned.
template <class T> __device__ T derivative(T z, integer activation) {
    switch (activation) {
        case SIGMOID: return z * (1 - z);
        case TANH: return 1 - z * z;
        case RELU: return z > 0;
        default: return 1;
    }
}

// For thread 0, the sum of the threads' values; their number is a power of two. `scratch` has room
// for one value a thread.
__device__ inline double block_sum(double value, double* scratch) {
    const int thread = thread_number();
    scratch[thread] = value;
    for (int half = block_size() / 2; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half) scratch[thread] = value += scratch[thread + half];
    }
    return value;
}

// For the first `columns` threads, the sum of their values and those of the threads below them in
// `rows` rows.
template <class A> __device__ A column_sum(A value, A* scratch, int columns, int rows) {
    const int thread = thread_number();
    scratch[thread] = value;
    __syncthreads();
    if (thread < columns)
        for (int row = 1; row < rows; row++) value += scratch[row * columns + thread];
    return value;
}

// Σ value·weight of `AT_A_TIME` values and weights, each so many apart; WHOLE says that no fewer
// than these are left. A value of zero, like most of MNIST's, loads no weight.
constexpr int AT_A_TIME = 8;

template <bool WHOLE, class T, class A>
__device__ void add_products(A& sum, const A* values, const T* W, int step, int stride, int left) {
    A value[AT_A_TIME];
    T weight[AT_A_TIME];
#pragma unroll
    for (int m = 0; m < AT_A_TIME; m++) {
        value[m] = 0;
        if (WHOLE || m * step < left) value[m] = values[m * step];
    }
#pragma unroll
    for (int m = 0; m < AT_A_TIME; m++) {
        weight[m] = 0;
        if (value[m] != 0) weight[m] = W[m * stride];
    }
#pragma unroll
    for (int m = 0; m < AT_A_TIME; m++) sum += value[m] * A(weight[m]);
}

// Σ values[i]·W[i·columns] over i = first, first + step, … below `count`. Some values of W at a
// time are on their way, because a thread that waited for each by itself would do nothing else. The
// host sees to it that no index reaches 2³¹.
template <class T, class A>
__device__ A
partial_product(const A* values, const T* W, int columns, int count, int first, int step) {
    const int stride = step * columns;
    int left = count - first;
    values += first;
    W += first * columns;
    A sum = 0;
    for (; left > (AT_A_TIME - 1) * step; left -= AT_A_TIME * step) {
        add_products<true>(sum, values, W, step, stride, left);
        values += AT_A_TIME * step;
        W += AT_A_TIME * stride;
    }
    if (left > 0) add_products<false>(sum, values, W, step, stride, left);
    return sum;
}

// A matrix of at most CHUNK numbers that a block reads from shared memory, and a larger one from
// where it is. The first of its loads are under way from the construction on; `keep` waits for
// them, and the barrier after that is the caller's.
template <class T> struct Kept {
    const T* matrix;
    integer size;
    T* room;
    T early;

    __device__ Kept(const T* matrix, integer size, T* room)
        : matrix(matrix), size(size), room(size <= CHUNK ? room : nullptr), early(0) {
        if (this->room && thread_number() < size) early = matrix[thread_number()];
    }

    __device__ const T* keep() {
        if (!room) return matrix;
        if (thread_number() < size) room[thread_number()] = early;
        for (int place = thread_number() + block_size(); place < size; place += block_size())
            room[place] = matrix[place];
        return room;
    }
};
