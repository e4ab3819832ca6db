// The kernels behind the CuPy backend: forward pass, loss, gradients, and the training loop's bookkeeping.
//
// Arrays are row-major and contiguous. T is the network's type, float or double. Whatever is summed is summed in an order that depends
// on the shapes alone, so that the same call gives the same bits. Every thread of a block reaches every barrier. The host passes
// integers as long long and real numbers as double; where an array is optional, its pointer may be null.
//
// The host compiles this with -DLOG_GUARD and -DSERIES_BOUND, the constants of fastnn/functions.py and fastnn/backends/incremental.py.

typedef long long integer;

enum Activation { IDENTITY, SIGMOID, TANH, RELU };

constexpr int MOST_THREADS = 1024;
constexpr int CHUNK = 1024;  // values that a block holds in shared memory at a time
constexpr int SAMPLES = 128; // samples that it holds at a time, where it holds several values of each
constexpr int MOST_FEATURES = 8;

__device__ inline int thread_number() { return threadIdx.y * blockDim.x + threadIdx.x; }

__device__ inline int block_size() { return blockDim.x * blockDim.y; }

// Of a batch, `rows` names the rows of the data set; without it the samples are the batch themselves.
__device__ inline integer row_of(const integer* rows, integer n) { return rows ? rows[n] : n; }

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

// The sum of the threads' values; the number of threads is a power of two. `scratch` has room for one value a thread.
__device__ inline double block_sum(double value, double* scratch) {
    const int thread = thread_number();
    scratch[thread] = value;
    for (int half = block_size() / 2; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half) scratch[thread] += scratch[thread + half];
    }
    __syncthreads();
    const double sum = scratch[0];
    __syncthreads();
    return sum;
}

// -- layers -------------------------------------------------------------------------------------------------------------

// out = activation(x·W + b), summed in A. A block works on one sample and blockDim.x units; its blockDim.y rows of threads share the
// features out. A feature that is zero, like most of MNIST's, costs nothing: the threads of a warp pass over it together.
template <class T, class A>
__global__ void dense(
    const T* x, const integer* rows, const T* W, const T* b, A* out, integer features, integer units, integer activation
) {
    __shared__ A sample[CHUNK];
    __shared__ A partial[MOST_THREADS];
    const integer n = blockIdx.x, j = blockIdx.y * blockDim.x + threadIdx.x;
    const T* row = x + row_of(rows, n) * features;
    A sum = 0;
    for (integer first = 0; first < features; first += CHUNK) {
        const int count = features - first < CHUNK ? features - first : CHUNK;
        for (int i = thread_number(); i < count; i += block_size()) sample[i] = row[first + i];
        __syncthreads();
        if (j < units) {
            for (int i = threadIdx.y; i < count; i += blockDim.y) {
                const A value = sample[i];
                if (value != 0) sum += value * A(W[(first + i) * units + j]);
            }
        }
        if (first + CHUNK < features) __syncthreads();
    }
    partial[thread_number()] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && j < units) {
        for (int part = 1; part < blockDim.y; part++) sum += partial[part * blockDim.x + threadIdx.x];
        out[n * units + j] = activate<A>(sum + A(b[j]), activation);
    }
}

// out = (delta·Wᵀ) ⊙ f′(z), one thread for each value.
template <class T>
__global__ void dense_backward(
    const T* delta, const T* W, const T* z, T* out, integer samples, integer inputs, integer units, integer activation
) {
    const integer place = integer(blockIdx.x) * blockDim.x + threadIdx.x;
    if (place < samples * inputs) {
        const T* d = delta + place / inputs * units;
        const T* w = W + place % inputs * units;
        T sum = 0;
        for (integer j = 0; j < units; j++) sum += d[j] * w[j];
        out[place] = sum * derivative(z[place], activation);
    }
}

// xᵀ·delta and Σ delta: written to W and b, or, as a step of gradient descent, subtracted from them. A block works on blockDim.x units
// and blockDim.y features; the bias is the weight of one more feature, which is 1 in every sample.
template <class T, bool DESCENT>
__global__ void dense_gradient(
    const T* x, const integer* rows, const T* delta, T* W, T* b, integer samples, integer features, integer units,
    double learning_rate
) {
    __shared__ T values[SAMPLES * MOST_FEATURES];
    const integer j = blockIdx.y * blockDim.x + threadIdx.x;
    const integer first_feature = integer(blockIdx.x) * blockDim.y, i = first_feature + threadIdx.y;
    T sum = 0;
    for (integer first = 0; first < samples; first += SAMPLES) {
        const int count = samples - first < SAMPLES ? samples - first : SAMPLES;
        for (int place = thread_number(); place < count * blockDim.y; place += block_size()) {
            const integer n = first + place / blockDim.y, feature = first_feature + place % blockDim.y;
            values[place] = feature < features ? x[row_of(rows, n) * features + feature] : 1;
        }
        __syncthreads();
        if (j < units) {
            for (int s = 0; s < count; s++) {
                const T value = values[s * blockDim.y + threadIdx.y];
                if (value != 0) sum += value * delta[(first + s) * units + j];
            }
        }
        if (first + SAMPLES < samples) __syncthreads();
    }
    if (j < units && i <= features) {
        T* parameter = i < features ? W + i * units + j : b + j;
        *parameter = DESCENT ? *parameter - T(learning_rate) * sum : sum;
    }
}

// parameter -= learning_rate · gradient, one thread for each value.
template <class T> __global__ void descent(T* parameter, const T* gradient, integer size, double learning_rate) {
    const integer place = integer(blockIdx.x) * blockDim.x + threadIdx.x;
    if (place < size) parameter[place] -= T(learning_rate) * gradient[place];
}

// -- the loss -----------------------------------------------------------------------------------------------------------

// The target of an output: labels are targets of 1 and 0.
template <class T>
__device__ T target_of(const integer* labels, const T* targets, integer row, integer k, integer outputs) {
    return labels ? T(labels[row] == k) : targets[row * outputs + k];
}

// The loss of the logits, in `value` if there is one block and else in `partial`, a part from each; and its derivative with respect to
// them. The blockDim.x threads of a row of threads share the outputs of a sample out, the blockDim.y rows the samples.
template <class T>
__global__ void loss_gradient(
    const T* logits, const integer* labels, const T* targets, const integer* rows, T* gradient, double* partial, T* value,
    integer samples, integer outputs, integer cross_entropy
) {
    __shared__ double scratch[MOST_THREADS];
    const double* of_sample = scratch + threadIdx.y * blockDim.x;
    double loss = 0;
    for (integer first = integer(blockIdx.x) * blockDim.y; first < samples; first += integer(gridDim.x) * blockDim.y) {
        const integer n = first + threadIdx.y;
        const bool inside = n < samples;
        const integer row = inside ? row_of(rows, n) : 0;
        const T* x = logits + n * outputs;
        T* y = gradient + n * outputs;
        T total = 1;
        if (cross_entropy) {
            T highest = inside ? x[0] : 0;
            for (integer k = threadIdx.x; inside && k < outputs; k += blockDim.x) highest = x[k] > highest ? x[k] : highest;
            scratch[thread_number()] = highest;
            __syncthreads();
            for (int lane = 0; lane < blockDim.x; lane++) highest = of_sample[lane] > highest ? T(of_sample[lane]) : highest;
            __syncthreads();
            T sum = 0;
            for (integer k = threadIdx.x; inside && k < outputs; k += blockDim.x) sum += y[k] = exp(x[k] - highest);
            scratch[thread_number()] = sum;
            __syncthreads();
            total = 0;
            for (int lane = 0; lane < blockDim.x; lane++) total += T(of_sample[lane]);
            __syncthreads();
        }
        for (integer k = threadIdx.x; inside && k < outputs; k += blockDim.x) {
            const T t = target_of(labels, targets, row, k, outputs);
            if (cross_entropy) {
                const T p = y[k] / total;
                if (t != 0) loss -= t * log(p + T(LOG_GUARD));
                y[k] = (p - t) / T(samples);
            } else {
                const T difference = x[k] - t;
                loss += difference * difference / 2;
                y[k] = difference;
            }
        }
    }
    loss = block_sum(loss, scratch);
    if (thread_number() == 0) {
        if (gridDim.x > 1) partial[blockIdx.x] = loss;
        else *value = T(cross_entropy ? loss / samples : loss);
    }
}

// The sum of what the blocks of another kernel found, over `divisor`. One block.
template <class T> __global__ void sum(const double* partial, T* value, integer size, integer divisor) {
    __shared__ double scratch[MOST_THREADS];
    double total = 0;
    for (integer place = thread_number(); place < size; place += block_size()) total += partial[place];
    total = block_sum(total, scratch);
    if (thread_number() == 0) *value = T(total / divisor);
}
