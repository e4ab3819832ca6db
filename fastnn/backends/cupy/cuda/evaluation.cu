// -- the incremental numerical gradient -----------------------------------------------------------
//
// The formulas are those of fastnn/backends/incremental.py; the coefficients of the series and the
// closed form of the increments of sigmoid and tanh are those of
// fastnn/backends/numba/kernels/hidden_differences.py. What depends on a sample and a unit alone is
// computed once and in double; only the sums over the samples, one for each parameter of the hidden
// layer, run in T. A "pair" is a sample with one of its targets that are not zero: `most_pairs` is
// how many a sample can have.

constexpr int EVALUATION_THREADS = 256; // the most in a block of `network`

// |θτ| up to which 1/(1 − (θτ)²) is 1 + (θτ)² + (θτ)⁴: the next term is 6e-17.
constexpr double THETA_BOUND = 2e-3;

// What a sample's target contributes, beside its class.
struct Pair {
    double weight; // the target's value
    double kept; // p / (p + ε) of its probability p
    double guard; // ε / (p + ε)
};

// The highest of all logits but one, and Σ exp of them less that.
struct Others {
    double highest, total;
};

// Of a unit in a pair: how its output and the loss change. With the squared error, the first two
// derivatives take the place of d.
template <class T> struct alignas(16) Coefficients { // aligned to be loaded 16 bytes at a time
    T c, theta; // Δz(±u) = ±cτ / (1 ± θτ)
    T limit; // |τ| up to which the formulas below hold
    T d[5]; // T(Δz) = Σ d[m]·Δz^(m + 1)
};

// From the pre-activations a of the hidden layer, by a block for each sample, `lanes` of whose
// threads stand side by side, a power of two: the hidden units z and a one for the bias, the logits
// and for each what all the `others` are, the probabilities y, the pairs, and the loss of each
// sample. With the squared error, y is the residual and there are neither others nor pairs.
template <class T>
__global__ void __launch_bounds__(EVALUATION_THREADS) network(
    const double* a, const T* W2, const T* b2, const integer* labels, const T* targets,
    const integer* rows, double* z, double* y, Others* others, double* logits, double* losses,
    integer* counts, integer* classes, Pair* pairs, integer units, integer outputs, integer lanes,
    integer most_pairs, integer activation, integer cross_entropy
) {
    __shared__ double scratch[EVALUATION_THREADS];
    const integer n = blockIdx.x, row = row_of(rows, n);
    const int thread = threadIdx.x;
    a += n * units;
    z += n * (units + 1);
    y += n * outputs;
    others += n * outputs;
    logits += n * outputs;
    classes += n * most_pairs;
    pairs += n * most_pairs;
    for (integer j = threadIdx.x; j <= units; j += blockDim.x)
        z[j] = j < units ? activate(a[j], activation) : 1;
    __syncthreads();
    // As many threads for each output as there are: the terms of one wait for one another.
    const int lane = thread % int(lanes), part = thread / int(lanes),
              parts = blockDim.x / int(lanes);
    for (integer first = 0; first < outputs; first += lanes) {
        const integer k = first + lane;
        const double sum =
            k < outputs ? partial_product(z, W2 + k, outputs, units, part, parts) : 0.0;
        const double logit = column_sum(sum, scratch, lanes, parts);
        if (part == 0 && k < outputs) logits[k] = logit + b2[k];
        __syncthreads();
    }
    if (cross_entropy) {
        integer top = 0; // the output with the highest logit
        for (integer k = 1; k < outputs; k++) top = logits[k] > logits[top] ? k : top;
        const double highest = logits[top];
        for (integer k = threadIdx.x; k < outputs; k += blockDim.x) y[k] = exp(logits[k] - highest);
        __syncthreads();
        double total = 0;
        for (integer k = 0; k < outputs; k++) total += y[k];
        for (integer k = threadIdx.x; k < outputs; k += blockDim.x) {
            double second = k == top ? logits[k ? 0 : outputs - 1] : highest, rest = 0;
            for (integer other = 0; k == top && other < outputs; other++)
                second = other == k ? second : fmax(second, logits[other]);
            for (integer other = 0; other < outputs; other++)
                rest += other == k ? 0 : k == top ? exp(logits[other] - second) : y[other];
            others[k] = {second, rest};
        }
        __syncthreads();
        for (integer k = threadIdx.x; k < outputs; k += blockDim.x) y[k] /= total;
    } else {
        for (integer k = threadIdx.x; k < outputs; k += blockDim.x)
            y[k] = logits[k] - target_of(labels, targets, row, k, outputs);
    }
    double loss = 0;
    for (integer k = thread; k < outputs; k += blockDim.x) {
        const double t = target_of(labels, targets, row, k, outputs), p = y[k];
        if (!cross_entropy) {
            loss += p * p / 2;
            continue;
        }
        integer before = 0; // how many targets of this sample that are not zero come first
        for (integer other = 0; !labels && other < k; other++)
            before += targets[row * outputs + other] != 0;
        if (t != 0) {
            loss -= t * log(p + LOG_GUARD);
            classes[before] = k;
            pairs[before] = {t, p / (p + LOG_GUARD), LOG_GUARD / (p + LOG_GUARD)};
        }
        if (k == outputs - 1) counts[n] = labels ? 1 : before + (t != 0);
    }
    loss = block_sum(loss, scratch);
    if (thread == 0) losses[n] = loss;
}

// The coefficients of every unit in every pair, and with the squared error in every sample. A block
// works on one of these.
template <class T>
__global__ void coefficients(
    const double* a, const double* y, const T* W2, const integer* counts, const integer* classes,
    Coefficients<T>* all, integer units, integer outputs, integer most_pairs, integer activation,
    integer cross_entropy
) {
    const integer pair = blockIdx.x, n = pair / most_pairs;
    const bool needed = !cross_entropy || pair % most_pairs < counts[n];
    y += n * outputs;
    for (integer j = threadIdx.x; needed && j < units; j += blockDim.x) {
        const double pre = a[n * units + j];
        const T* w = W2 + j * outputs;
        double c = 1, theta = 0, limit = cross_entropy ? 1e300 : 0.5;
        if (activation == SIGMOID || activation == TANH) {
            const double slope = activation == TANH ? 2 : 1;
            const double s = 1 / (1 + exp(-slope * pre)), opposite = 1 / (1 + exp(slope * pre));
            c = 2 * slope * s * opposite;
            theta = s - opposite;
            if (cross_entropy) limit = THETA_BOUND;
        } else {
            if (activation == RELU) c = pre > 0;
            // An increment that takes a relu across its kink is not linear.
            limit = activation == RELU ? fabs(pre) : 1e300;
        }
        double d[5] = {0, 0, 0, 0, 0};
        if (cross_entropy) {
            const double own = w[classes[pair]];
            double lowest = own, highest = own;
            for (integer k = 0; k < outputs; k++) {
                lowest = w[k] < lowest ? w[k] : lowest;
                highest = w[k] > highest ? w[k] : highest;
                const double v = w[k] - own;
                double term = y[k];
                for (int m = 0; m < 5; m++) d[m] += term *= v;
            }
            // Divided by once, because a division takes as long as twenty products.
            double factorial = 1;
            for (int m = 1; m < 5; m++) d[m] /= factorial *= m + 1;
            // No |v| of this unit is larger than `highest - lowest`; |Δz| may be one part in 500
            // larger than c|τ|.
            const double reach = c * (highest - lowest);
            if (limit * reach > 0.99 * SERIES_BOUND) limit = 0.99 * SERIES_BOUND / reach;
        } else {
            for (integer k = 0; k < outputs; k++) {
                d[0] += w[k] * y[k];
                d[1] += double(w[k]) * w[k];
            }
        }
        Coefficients<T>& result = all[pair * units + j];
        result.c = c;
        result.theta = theta;
        result.limit = limit < 1e9 ? limit : 1e9; // of which a float can hold the square
        for (int m = 0; m < 5; m++) result.d[m] = d[m];
    }
}
