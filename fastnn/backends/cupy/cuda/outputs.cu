// -- the outputs of a sample ----------------------------------------------------------------------

// By all threads of a block, of which each that is `inside` has one logit, that of output k: the
// derivative of the loss with respect to it, and into loss[k] what it adds to the sample's loss. y
// and e are room for `outputs` numbers that the threads share.
template <class T> __device__ T output_delta(
    bool inside, T value, T t, T* y, T* e, T* loss, int k, int outputs, int samples,
    bool cross_entropy
) {
    if (inside) y[k] = value;
    __syncthreads();
    if (cross_entropy) {
        if (inside) {
            T highest = y[0];
            for (int other = 1; other < outputs; other++)
                highest = y[other] > highest ? y[other] : highest;
            e[k] = value = exp(value - highest);
        }
        __syncthreads();
        if (!inside) return T(0);
        T total = 0;
        for (int other = 0; other < outputs; other++) total += e[other];
        value /= total;
        loss[k] = t != 0 ? -t * log(value + T(LOG_GUARD)) : T(0);
        return (value - t) / T(samples);
    }
    const T difference = value - t;
    if (inside) loss[k] = difference * difference / 2;
    return difference;
}

