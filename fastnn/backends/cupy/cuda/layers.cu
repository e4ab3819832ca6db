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

// xᵀ·delta and Σ delta: written to W and b, or, as a step of gradient descent, subtracted from
// them. A block works on blockDim.y features and blockDim.x units, those of a tile; its blockDim.z
// layers of threads share the samples out. The bias is the weight of one more feature, which is 1
// in every sample.
template <class T, bool DESCENT>
__device__ void tile_gradient(
    const T* x, const integer* rows, const T* delta, T* W, T* b, integer samples, integer features,
    integer units, double learning_rate, integer tile, integer across
) {
    // One more, so that two features lie in different banks.
    __shared__ T values[MOST_FEATURES][SAMPLES + 1];
    __shared__ T partial[LAYER_THREADS];
    const integer j = tile % across * blockDim.x + threadIdx.x;
    const integer first_feature = tile / across * blockDim.y, i = first_feature + threadIdx.y;
    T sum = 0;
    for (integer first = 0; first < samples; first += SAMPLES) {
        const int count = samples - first < SAMPLES ? samples - first : SAMPLES;
        for (int place = thread_number(); place < count * blockDim.y; place += block_size()) {
            const int s = place / blockDim.y, f = place % blockDim.y;
            const integer feature = first_feature + f;
            values[f][s] = feature < features ? x[row_of(rows, first + s) * features + feature] : 1;
        }
        __syncthreads();
        if (j < units)
            sum += partial_product(
                values[threadIdx.y], delta + first * units + j, units, count, threadIdx.z,
                blockDim.z
            );
        __syncthreads();
    }
    sum = column_sum(sum, partial, blockDim.x * blockDim.y, blockDim.z);
    if (threadIdx.z == 0 && j < units && i <= features) {
        T* parameter = i < features ? W + i * units + j : b + j;
        *parameter = DESCENT ? *parameter - T(learning_rate) * sum : sum;
    }
}

// How many tiles there are side by side, and how many altogether.
__device__ inline integer tiles_across(integer units) {
    return (units + blockDim.x - 1) / blockDim.x;
}
__device__ inline integer tiles_of(integer features, integer units) {
    return (features + blockDim.y) / blockDim.y * tiles_across(units); // features and a bias
}

// The gradient of a layer, or a step against it. A block for each tile.
template <class T, bool DESCENT>
__global__ void __launch_bounds__(LAYER_THREADS, 2) dense_gradient(
    const T* x, const integer* rows, const T* delta, T* W, T* b, integer samples, integer features,
    integer units, double learning_rate
) {
    tile_gradient<T, DESCENT>(
        x, rows, delta, W, b, samples, features, units, learning_rate, blockIdx.x,
        tiles_across(units)
    );
}

// parameter -= learning_rate · gradient, one thread for each value.
template <class T> __global__ void descent(
    T* parameter, const T* gradient, integer size, double learning_rate
) {
    const integer place = integer(blockIdx.x) * blockDim.x + threadIdx.x;
    if (place < size) parameter[place] -= T(learning_rate) * gradient[place];
}
