// ½(L(+h) − L(−h)) of a pair by series: the inverse hyperbolic tangent of (1 − κ)/2 ·
// (T₊ − T₋) / (1 + g) with g = (1 + κ)/2 · (T₊ + T₋) + κ·T₊·T₋, κ being `guard` and 1 − κ `kept`.
template <class T> __device__ T
cross_entropy_by_series(const Coefficients<T>& unit, T tau, T kept, T guard) {
    const T q = unit.theta * tau, q2 = q * q, ct = unit.c * tau;
    const T f = ct + ct * (q2 + q2 * q2);
    const T up = f - f * q, down = f + f * q; // Δz at +u and −Δz at −u
    const T* d = unit.d;
    const T above = ((((d[4] * up + d[3]) * up + d[2]) * up + d[1]) * up + d[0]) * up; // T at +u
    const T below =
        ((((d[4] * down - d[3]) * down + d[2]) * down - d[1]) * down + d[0]) * down; // −T at −u
    const T g = (above - below) * ((1 + guard) / 2) - guard * above * below;
    const T r = kept / 2 * ((above + below) * (g * g + 1 - g)), r2 = r * r;
    return r * (r2 * (r2 * T(1.0 / 5) + T(1.0 / 3)) + 1);
}

// ½(L(+h) − L(−h)) of the squared error.
template <class T> __device__ T squared_error_in_closed_form(const Coefficients<T>& unit, T tau) {
    const T q = unit.theta * tau;
    const T f = unit.c * tau / (1 - q * q);
    return f * (unit.d[0] - unit.d[1] * (f * q));
}

// Δz for an increment u of the pre-activation a, without cancellation, for any u.
__device__ inline double increment(double a, double u, integer activation) {
    if (activation == SIGMOID || activation == TANH) {
        // σ(b) − σ(c) = σ(b)·σ(−c)·(1 − e^(c − b)): nothing overflows that matters.
        const double slope = activation == TANH ? 2 : 1, above = slope * fmax(a, a + u),
                     below = slope * fmin(a, a + u);
        return slope / (1 + exp(-above)) / (1 + exp(below)) * copysign(-expm1(-slope * fabs(u)), u);
    }
    if (activation == RELU) return a > 0 ? fmax(u, -a) : fmax(a + u, 0.0);
    return u;
}

// e^exponent, cut off where the probability of the target is nothing beside the guard; NaN stays
// NaN.
__device__ inline double exponential(double exponent) {
    return exp(exponent > LARGEST_EXPONENT ? LARGEST_EXPONENT : exponent);
}

// The difference of two exponentials, from the larger one and how far apart the exponents are.
__device__ inline double change(double larger, double step) {
    return copysign(-larger * expm1(-fabs(step)), step);
}

// L(+h) − L(−h) of a pair of probability p, from D/p = Σₖ pₖ·exp(Δz·vₖ)/p at +h and at −h, and how
// much these differ.
__device__ inline double log_ratio(double above, double below, double difference) {
    // The logarithm of a ratio above one: below one, its distance from zero is what would be lost.
    const double smaller = difference > 0 ? below : above, larger = difference > 0 ? above : below;
    return copysign(log1p(fabs(difference) / ((1 + LOG_GUARD * larger) * smaller)), difference);
}

// What the two functions for the series and the closed form return, for increments of any size.
template <class T>
__device__ double cross_entropy_directly(
    double up, double down, const double* logits, const T* w, integer target, integer outputs
) {
    double above = 1, below = 1, difference = 0;
    for (integer k = 0; k < outputs; k++) {
        if (k == target) continue;
        const double v = double(w[k]) - w[target], r = logits[k] - logits[target];
        const double first = exponential(r + up * v), second = exponential(r + down * v);
        above += first;
        below += second;
        difference += change(fmax(first, second), (up - down) * v);
    }
    return log_ratio(above, below, difference) / 2;
}

// The same along a logit k that u is added to. Moving the target's own is moving all the others the
// other way.
__device__ inline double logit_difference(
    const double* logits, integer k, integer target, const Others& other, double u
) {
    const bool own = target == k;
    const double step = own ? -u : u, moved = (own ? other.highest : logits[k]) - logits[target];
    const double factor = own ? other.total : 1;
    const double rest = own ? 1 : other.total * exponential(other.highest - logits[target]);
    const double up = factor * exponential(moved + step), down = factor * exponential(moved - step);
    return log_ratio(rest + up, rest + down, change(fmax(up, down), 2 * step)) / 2;
}

// The most in a block: two such blocks fill a processor, with registers for all that is at hand.
constexpr int DIFFERENCE_THREADS = 256;

// The differences for W1 and b1, times `scale`: written to the gradients, or added if `more` than
// these samples count. A block works on one feature, the last being the bias, and blockDim.x units;
// its blockDim.y rows of threads share the samples out. Where a feature is zero nothing changes.
template <class T>
__global__ void __launch_bounds__(DIFFERENCE_THREADS, 2) hidden_differences(
    const T* x, const integer* rows, const double* a, const double* logits, const T* W2,
    const integer* counts, const integer* classes, const Pair* pairs, const Coefficients<T>* all,
    T* dW1, T* db1, integer samples, integer features, integer units, integer outputs,
    integer most_pairs, integer activation, integer cross_entropy, double h, double scale,
    integer more
) {
    __shared__ double increments[SAMPLES];
    __shared__ double taus[SAMPLES];
    __shared__ T partial[DIFFERENCE_THREADS];
    const integer i = blockIdx.x, j = integer(blockIdx.y) * blockDim.x + threadIdx.x;
    const double half_slope = activation == TANH ? 1 : 0.5;
    T sum = 0;
    for (integer first = 0; first < samples; first += SAMPLES) {
        const int count = samples - first < SAMPLES ? samples - first : SAMPLES;
        for (int s = thread_number(); s < count; s += block_size()) {
            const double u =
                h * (i < features ? double(x[row_of(rows, first + s) * features + i]) : 1);
            increments[s] = u;
            taus[s] = activation == SIGMOID || activation == TANH ? tanh(half_slope * u) : u;
        }
        __syncthreads();
        for (int s = threadIdx.y; j < units && s < count; s += blockDim.y) {
            const double u = increments[s];
            if (u == 0) continue;
            const integer n = first + s;
            const T tau = taus[s];
            const integer in_pairs = cross_entropy ? counts[n] : 1;
            for (integer pair = n * most_pairs; pair < n * most_pairs + in_pairs; pair++) {
                const Coefficients<T> unit = all[pair * units + j];
                const bool small = fabs(tau) <= unit.limit;
                if (small && cross_entropy) {
                    sum += T(pairs[pair].weight)
                           * cross_entropy_by_series<T>(
                               unit, tau, pairs[pair].kept, pairs[pair].guard
                           );
                } else if (small) {
                    sum += squared_error_in_closed_form(unit, tau);
                } else {
                    const double pre = a[n * units + j];
                    const double up = increment(pre, u, activation),
                                 down = increment(pre, -u, activation);
                    if (cross_entropy) {
                        const T* w = W2 + j * outputs;
                        sum += pairs[pair].weight
                               * cross_entropy_directly(
                                   up, down, logits + n * outputs, w, classes[pair], outputs
                               );
                    } else {
                        sum += (up - down) * (unit.d[0] + double(unit.d[1]) / 2 * (up + down)) / 2;
                    }
                }
            }
        }
        if (first + SAMPLES < samples) __syncthreads();
    }
    sum = column_sum(sum, partial, blockDim.x, blockDim.y);
    if (threadIdx.y == 0 && j < units) {
        T* gradient = i < features ? dW1 + i * units + j : db1 + j;
        *gradient = sum * T(scale) + (more ? *gradient : 0);
    }
}

// The differences for W2 and b2: a block works on one of these, of which each moves the one logit k
// by ±h·z, and its threads share the samples out.
template <class T>
__global__ void output_differences(
    const double* z, const double* y, const Others* others, const double* logits,
    const integer* counts, const integer* classes, const Pair* pairs, T* dW2, T* db2,
    integer samples, integer units, integer outputs, integer most_pairs, integer cross_entropy,
    double h, double scale, integer more
) {
    __shared__ double scratch[MOST_THREADS];
    const integer j = blockIdx.x / outputs, k = blockIdx.x % outputs;
    double sum = 0;
    for (integer n = threadIdx.x; n < samples; n += blockDim.x) {
        const double u = h * z[n * (units + 1) + j];
        if (!cross_entropy) sum += u * y[n * outputs + k];
        for (integer pair = n * most_pairs; cross_entropy && pair < n * most_pairs + counts[n];
             pair++) {
            const integer target = classes[pair];
            sum += pairs[pair].weight
                   * logit_difference(logits + n * outputs, k, target, others[n * outputs + k], u);
        }
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) {
        T* gradient = j < units ? dW2 + j * outputs + k : db2 + k;
        *gradient = T(sum * scale) + (more ? *gradient : 0);
    }
}
