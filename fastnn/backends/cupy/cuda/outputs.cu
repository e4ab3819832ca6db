// -- the outputs of a sample ----------------------------------------------------------------------

// An output from its logit. Of the threads that have the sample's logits, `highest_of` and
// `total_of` find the largest value and the sum, by all of them.
template <class T, class Highest, class Total>
__device__ T output_of(T logit, bool cross_entropy, Highest highest_of, Total total_of) {
    if (!cross_entropy) return logit;
    const T e = exp(logit - highest_of(logit));
    return e / total_of(e);
}

// The derivative of the loss with respect to the logit of an output y.
template <class T> __device__ T delta_of(T y, T t, int samples, bool cross_entropy) {
    return cross_entropy ? (y - t) * (1 / T(samples)) : y - t;
}

// What an output y adds to the sample's loss.
template <class T> __device__ T loss_of(T y, T t, bool cross_entropy) {
    if (cross_entropy) return t != 0 ? -t * log(y + T(LOG_GUARD)) : T(0);
    return (y - t) * (y - t) / 2;
}
