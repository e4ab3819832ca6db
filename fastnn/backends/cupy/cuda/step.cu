// -- a step of training a two-layer network -------------------------------------------------------
//
// What a batch of a small network takes is mostly waiting: for one kernel after the other to start,
// and for memory. So here are two kernels in place of six. The host sees to it that there are at
// most MOST_UNITS and MOST_OUTPUTS.

// Forward and backward pass of one sample, by a block of at least `lanes` threads: the smallest
// power of two that is not smaller than the number of outputs. z1, both deltas, and the sample's
// share of the loss.
template <class T>
__global__ void __launch_bounds__(MOST_THREADS, 1) pass(
    const T* x, const integer* rows, const T* W1, const T* b1, const T* W2, const T* b2,
    const integer* labels, const T* targets, T* z1, T* delta1, T* delta2, double* losses,
    integer features, integer units, integer outputs, integer lanes, integer activation,
    integer cross_entropy
) {
    __shared__ T sample[CHUNK];
    __shared__ T partial[MOST_THREADS];
    __shared__ T z[MOST_UNITS];
    __shared__ T y[MOST_OUTPUTS];
    __shared__ T e[MOST_OUTPUTS];
    __shared__ T delta[MOST_OUTPUTS];
    __shared__ T loss[MOST_OUTPUTS];
    __shared__ T room[CHUNK];
    const integer n = blockIdx.x, row = row_of(rows, n);
    const int thread = thread_number();
    // What is needed later is on its way meanwhile.
    const bool inside = thread < outputs;
    Kept<T> kept(W2, units * outputs, room);
    const T t = inside ? target_of(labels, targets, row, thread, outputs) : T(0);
    const T bias = inside ? b2[thread] : T(0);
    for (integer first = 0; first < units; first += blockDim.x) {
        const integer j = first + threadIdx.x;
        const T sum = row_times_column(x + row * features, W1, features, units, j, sample, partial);
        if (threadIdx.y == 0 && j < units)
            z[j] = z1[n * units + j] = activate<T>(sum + b1[j], activation);
    }
    const T* weights = kept.keep();
    __syncthreads();

    const int k = thread % int(lanes), part = thread / int(lanes);
    const int parts = block_size() / int(lanes) < 16 ? block_size() / int(lanes) : 16;
    T value = k < outputs && part < parts
                  ? partial_product(z, weights + k, outputs, units, part, parts)
                  : T(0);
    value = column_sum(value, partial, lanes, parts);
    const auto highest_of = [&](T logit) {
        if (inside) y[thread] = logit;
        __syncthreads();
        T highest = y[0];
        for (int other = 1; inside && other < outputs; other++)
            highest = y[other] > highest ? y[other] : highest;
        return highest;
    };
    const auto total_of = [&](T exponential) {
        if (inside) e[thread] = exponential;
        __syncthreads();
        T total = 0;
        for (int other = 0; inside && other < outputs; other++) total += e[other];
        return total;
    };
    const T output = output_of(value + bias, cross_entropy, highest_of, total_of);
    if (inside) {
        delta[thread] = delta2[n * outputs + thread] =
            delta_of(output, t, gridDim.x, cross_entropy);
        loss[thread] = loss_of(output, t, cross_entropy);
    }
    __syncthreads();

    for (integer j = thread; j < units; j += block_size()) {
        T sum = 0;
#pragma unroll 8
        for (int other = 0; other < outputs; other++)
            sum += delta[other] * weights[j * outputs + other];
        delta1[n * units + j] = sum * derivative(z[j], activation);
    }
    if (thread == block_size() - 1) {
        double sum = 0;
        for (int other = 0; other < outputs; other++) sum += loss[other];
        losses[n] = sum;
    }
}

// What follows it: a step of gradient descent on all parameters, a block for each tile of the
// hidden and then of the output layer; and by one more block the loss.
template <class T>
__global__ void __launch_bounds__(LAYER_THREADS, 2) update(
    const T* x, const integer* rows, const T* delta1, T* W1, T* b1, const T* z1, const T* delta2,
    T* W2, T* b2, const double* losses, T* value, integer samples, integer features, integer units,
    integer outputs, integer cross_entropy, double learning_rate
) {
    __shared__ double scratch[LAYER_THREADS];
    __shared__ Row<T> inputs[SAMPLES];
    __shared__ T partial[FEATURES * LAYER_THREADS];
    const Tiles<T, false> hidden{x, rows, delta1, samples, features, units, nullptr, 0};
    const Tiles<T, false> output{z1, nullptr, delta2, samples, units, outputs, nullptr, 0};
    integer tile = blockIdx.x;
    const bool into_hidden = tile < hidden.count();
    if (!into_hidden) tile -= hidden.count();
    if (into_hidden) {
        tile_gradient<T, true>(hidden, W1, b1, learning_rate, tile, inputs, partial);
    } else if (tile < output.count()) {
        tile_gradient<T, true>(output, W2, b2, learning_rate, tile, inputs, partial);
    } else {
        double total = 0;
        for (integer n = thread_number(); n < samples; n += block_size()) total += losses[n];
        total = block_sum(total, scratch);
        if (thread_number() == 0) *value = T(cross_entropy ? total / samples : total);
    }
}
