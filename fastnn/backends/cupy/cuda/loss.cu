// -- the loss -------------------------------------------------------------------------------------

// The loss of the logits, in `value` if there is one block and else in `partial`, a part from each;
// and its derivative with respect to them. The blockDim.x threads of a row of threads share the
// outputs of a sample out, the blockDim.y rows the samples.
template <class T>
__global__ void __launch_bounds__(MOST_THREADS, 1) loss_gradient(
    const T* logits, const integer* labels, const T* targets, const integer* rows, T* gradient,
    double* partial, T* value, integer samples, integer outputs, integer cross_entropy
) {
    __shared__ double scratch[MOST_THREADS];
    const double* of_sample = scratch + threadIdx.y * blockDim.x;
    double loss = 0;
    for (integer first = integer(blockIdx.x) * blockDim.y; first < samples;
         first += integer(gridDim.x) * blockDim.y) {
        const integer n = first + threadIdx.y;
        const bool inside = n < samples;
        const integer row = inside ? row_of(rows, n) : 0;
        const T* x = logits + n * outputs;
        T* y = gradient + n * outputs;
        T total = 1;
        if (cross_entropy) {
            T highest = inside ? x[0] : 0;
            for (integer k = threadIdx.x; inside && k < outputs; k += blockDim.x)
                highest = x[k] > highest ? x[k] : highest;
            scratch[thread_number()] = highest;
            __syncthreads();
            for (int lane = 0; lane < blockDim.x; lane++)
                highest = of_sample[lane] > highest ? T(of_sample[lane]) : highest;
            __syncthreads();
            T sum = 0;
            for (integer k = threadIdx.x; inside && k < outputs; k += blockDim.x)
                sum += y[k] = exp(x[k] - highest);
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
        if (gridDim.x > 1)
            partial[blockIdx.x] = loss;
        else
            *value = T(cross_entropy ? loss / samples : loss);
    }
}

// The sum of what the blocks of another kernel found, over `divisor`. One block.
template <class T> __global__ void sum(
    const double* partial, T* value, integer size, integer divisor
) {
    __shared__ double scratch[MOST_THREADS];
    double total = 0;
    for (integer place = thread_number(); place < size; place += block_size())
        total += partial[place];
    total = block_sum(total, scratch);
    if (thread_number() == 0) *value = T(total / divisor);
}
