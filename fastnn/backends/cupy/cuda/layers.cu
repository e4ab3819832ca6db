// -- layers ---------------------------------------------------------------------------------------

// For the first row of threads, row·W[:, j]. The block's blockDim.y rows of threads share the
// features out.
template <class T, class A>
__device__ A row_times_column(
    const T* row, const T* W, integer features, integer units, integer j, A* sample, A* partial
) {
    A sum = 0;
    for (integer first = 0; first < features; first += CHUNK) {
        const int count = features - first < CHUNK ? features - first : CHUNK;
        for (int i = thread_number(); i < count; i += block_size()) sample[i] = row[first + i];
        __syncthreads();
        if (j < units)
            sum += partial_product(
                sample, W + first * units + j, units, count, threadIdx.y, blockDim.y
            );
        __syncthreads();
    }
    return column_sum(sum, partial, blockDim.x, blockDim.y);
}

// out = activation(x·W + b), summed in A. A block works on one sample and blockDim.x units.
template <class T, class A>
__global__ void __launch_bounds__(LAYER_THREADS, 2) dense(
    const T* x, const integer* rows, const T* W, const T* b, A* out, integer features,
    integer units, integer activation
) {
    __shared__ A sample[CHUNK];
    __shared__ A partial[LAYER_THREADS];
    const integer n = blockIdx.x, j = integer(blockIdx.y) * blockDim.x + threadIdx.x;
    const A sum =
        row_times_column(x + row_of(rows, n) * features, W, features, units, j, sample, partial);
    if (threadIdx.y == 0 && j < units) out[n * units + j] = activate<A>(sum + A(b[j]), activation);
}

// a = activation(a + b), in place: what is left to do after a product of cuBLAS's.
template <class T>
__global__ void add_and_activate(
    T* a, const T* b, integer samples, integer units, integer activation
) {
    const integer j = integer(blockIdx.x) * blockDim.x + threadIdx.x;
    if (j >= units) return;
    const T bias = b[j];
    for (integer place = integer(blockIdx.y) * units + j; place < samples * units;
         place += integer(gridDim.y) * units)
        a[place] = activate<T>(a[place] + bias, activation);
}

// delta = delta ⊙ f′(z), in place, likewise.
template <class T>
__global__ void multiply_by_derivative(T* delta, const T* z, integer size, integer activation) {
    for (integer place = integer(blockIdx.x) * blockDim.x + threadIdx.x; place < size;
         place += integer(gridDim.x) * blockDim.x)
        delta[place] *= derivative(z[place], activation);
}

// out = (delta·Wᵀ) ⊙ f′(z), one thread for each value.
template <class T>
__global__ void dense_backward(
    const T* delta, const T* W, const T* z, T* out, integer samples, integer inputs, integer units,
    integer activation
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

// The gradient of a layer's parameters by a block for each tile of FEATURES features and blockDim.x
// units, whose blockDim.y rows of threads share the samples out. A thread has all features of its
// unit at hand, so that what it loads serves as many products. The bias is the weight of one more
// feature, which is 1 in every sample.
//
// With CUBES, delta holds two rows for each sample, and of a feature x the gradient is the sum of
// x·delta[2n] + x³·delta[2n + 1]; samples for which `omitted` is above `allowed` are left out.
template <class T, bool CUBES> struct Tiles {
    const T* x;
    const integer* rows;
    const T* delta;
    integer samples, features, units;
    const double* omitted; // of each sample the first of BOUNDS
    double allowed;

    __device__ integer across() const { return (units + blockDim.x - 1) / blockDim.x; }

    __device__ integer count() const { return (features + FEATURES) / FEATURES * across(); }

    // Calls finish(feature, unit, sum) for each parameter of a tile, the last feature the bias.
    // `inputs` has room for SAMPLES, `partial` for FEATURES numbers of each thread.
    template <class Finish>
    __device__ void sum(integer tile, Row<T>* inputs, T* partial, Finish finish) const {
        constexpr int AHEAD = 4;
        const int width = blockDim.x, parts = blockDim.y, thread = thread_number();
        const integer first_unit = tile % across() * width,
                      first_feature = tile / across() * FEATURES;
        const integer j = first_unit + threadIdx.x;
        T gradient[FEATURES] = {};
        for (integer first = 0; first < samples; first += SAMPLES) {
            const int count = samples - first < SAMPLES ? samples - first : SAMPLES;
            for (int place = thread; place < count * FEATURES; place += block_size()) {
                const int s = place / FEATURES, f = place % FEATURES;
                const integer n = first + s, i = first_feature + f;
                T value = i < features ? x[row_of(rows, n) * features + i] : T(i == features);
                if (CUBES && !(omitted[BOUNDS * n] <= allowed)) value = 0;
                inputs[s].values[f] = value;
            }
            __syncthreads();
            const integer stride = (CUBES ? 2 : 1) * units;
            const T* from = delta + first * stride + j;
            for (int start = threadIdx.y; j < units && start < count; start += AHEAD * parts) {
                T d[AHEAD], third[AHEAD];
#pragma unroll
                for (int m = 0; m < AHEAD; m++) {
                    const int s = start + m * parts;
                    d[m] = third[m] = 0;
                    if (s < count) {
                        d[m] = from[s * stride];
                        if (CUBES) third[m] = from[s * stride + units];
                    }
                }
#pragma unroll
                for (int m = 0; m < AHEAD; m++) {
                    if (start + m * parts >= count) break;
                    const Row<T> input = inputs[start + m * parts];
#pragma unroll
                    for (int f = 0; f < FEATURES; f++) {
                        const T v = input.values[f];
                        gradient[f] += v * (CUBES ? v * v * third[m] + d[m] : d[m]);
                    }
                }
            }
            __syncthreads();
        }
#pragma unroll
        for (int f = 0; f < FEATURES; f++) partial[f * block_size() + thread] = gradient[f];
        __syncthreads();
        for (int place = thread; place < FEATURES * width; place += block_size()) {
            const int f = place / width, lane = place % width;
            const integer i = first_feature + f, unit = first_unit + lane;
            T sum = 0;
            for (int part = 0; part < parts; part++)
                sum += partial[f * block_size() + part * width + lane];
            if (i <= features && unit < units) finish(i, unit, sum);
        }
    }
};

// xᵀ·delta and Σ delta: written to W and b, or, as a step of gradient descent, subtracted from
// them.
template <class T, bool DESCENT>
__device__ void tile_gradient(
    const Tiles<T, false>& tiles, T* W, T* b, double learning_rate, integer tile, Row<T>* inputs,
    T* partial
) {
    tiles.sum(tile, inputs, partial, [&](integer i, integer j, T sum) {
        T* parameter = i < tiles.features ? W + i * tiles.units + j : b + j;
        *parameter = DESCENT ? *parameter - T(learning_rate) * sum : sum;
    });
}

// The gradient of a layer, or a step against it. A block for each tile.
template <class T, bool DESCENT>
__global__ void __launch_bounds__(LAYER_THREADS, 2) dense_gradient(
    const T* x, const integer* rows, const T* delta, T* W, T* b, integer samples, integer features,
    integer units, double learning_rate
) {
    __shared__ Row<T> inputs[SAMPLES];
    __shared__ T partial[FEATURES * LAYER_THREADS];
    const Tiles<T, false> tiles{x, rows, delta, samples, features, units, nullptr, 0};
    tile_gradient<T, DESCENT>(tiles, W, b, learning_rate, blockIdx.x, inputs, partial);
}

// parameter -= learning_rate · gradient, one thread for each value.
template <class T> __global__ void descent(
    T* parameter, const T* gradient, integer size, double learning_rate
) {
    const integer place = integer(blockIdx.x) * blockDim.x + threadIdx.x;
    if (place < size) parameter[place] -= T(learning_rate) * gradient[place];
}
