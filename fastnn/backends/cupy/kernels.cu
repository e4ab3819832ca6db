// The kernels behind the CuPy backend: forward pass, loss, gradients, and the training loop's
// bookkeeping.
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
constexpr int CHUNK = 1024;  // values that a block holds in shared memory at a time
// Samples that a block holds at a time, where it holds several values of each.
constexpr int SAMPLES = 128;
constexpr int MOST_FEATURES = 4; // for whose weights a block finds the gradient
constexpr int MOST_UNITS = 1024, MOST_OUTPUTS = 64; // that `pass` takes

__device__ inline int thread_number() { return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x; }

__device__ inline int block_size() { return blockDim.x * blockDim.y * blockDim.z; }

// Of a batch, `rows` names the rows of the data set; without it the samples are the batch
// themselves.
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

// For thread 0, the sum of the threads' values; their number is a power of two. `scratch` has room
// for one value a thread.
__device__ inline double block_sum(double value, double* scratch) {
    const int thread = thread_number();
    scratch[thread] = value;
    for (int half = block_size() / 2; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half) scratch[thread] += scratch[thread + half];
    }
    return scratch[0];
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

// Σ values[i]·W[i·columns] over i = first, first + step, … below `count`. Some values of W at a
// time are on their way, because a thread that waited for each by itself would do nothing else. A
// value of zero, like most of MNIST's, reads what is at hand already.
template <class T, class A>
__device__ A partial_product(const A* values, const T* W, int columns, int count, int first, int step) {
    constexpr int AT_A_TIME = 8;
    A sum = 0;
    for (int start = first; start < count; start += AT_A_TIME * step) {
        A value[AT_A_TIME];
        T weight[AT_A_TIME];
#pragma unroll
        for (int m = 0; m < AT_A_TIME; m++) value[m] = start + m * step < count ? values[start + m * step] : A(0);
#pragma unroll
        for (int m = 0; m < AT_A_TIME; m++) weight[m] = W[(value[m] != 0 ? start + m * step : first) * columns];
#pragma unroll
        for (int m = 0; m < AT_A_TIME; m++) sum += value[m] != 0 ? value[m] * A(weight[m]) : A(0);
    }
    return sum;
}

// -- layers ---------------------------------------------------------------------------------------

// For the first row of threads, row·W[:, j]. The block's blockDim.y rows of threads share the
// features out.
template <class T, class A>
__device__ A row_times_column(const T* row, const T* W, integer features, integer units, integer j, A* sample, A* partial) {
    A sum = 0;
    for (integer first = 0; first < features; first += CHUNK) {
        const int count = features - first < CHUNK ? features - first : CHUNK;
        for (int i = thread_number(); i < count; i += block_size()) sample[i] = row[first + i];
        __syncthreads();
        if (j < units) sum += partial_product(sample, W + first * units + j, units, count, threadIdx.y, blockDim.y);
        __syncthreads();
    }
    return column_sum(sum, partial, blockDim.x, blockDim.y);
}

// out = activation(x·W + b), summed in A. A block works on one sample and blockDim.x units.
template <class T, class A>
__global__ void __launch_bounds__(LAYER_THREADS, 2) dense(
    const T* x, const integer* rows, const T* W, const T* b, A* out, integer features, integer units, integer activation
) {
    __shared__ A sample[CHUNK];
    __shared__ A partial[LAYER_THREADS];
    const integer n = blockIdx.x, j = integer(blockIdx.y) * blockDim.x + threadIdx.x;
    const A sum = row_times_column(x + row_of(rows, n) * features, W, features, units, j, sample, partial);
    if (threadIdx.y == 0 && j < units) out[n * units + j] = activate<A>(sum + A(b[j]), activation);
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

// xᵀ·delta and Σ delta: written to W and b, or, as a step of gradient descent, subtracted from
// them. A block works on blockDim.y features and blockDim.x units, those of a tile; its blockDim.z
// layers of threads share the samples out. The bias is the weight of one more feature, which is 1
// in every sample.
template <class T, bool DESCENT>
__device__ void tile_gradient(
    const T* x, const integer* rows, const T* delta, T* W, T* b, integer samples, integer features, integer units, double learning_rate,
    integer tile, integer across
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
        if (j < units) sum += partial_product(values[threadIdx.y], delta + first * units + j, units, count, threadIdx.z, blockDim.z);
        __syncthreads();
    }
    sum = column_sum(sum, partial, blockDim.x * blockDim.y, blockDim.z);
    if (threadIdx.z == 0 && j < units && i <= features) {
        T* parameter = i < features ? W + i * units + j : b + j;
        *parameter = DESCENT ? *parameter - T(learning_rate) * sum : sum;
    }
}

// How many tiles there are side by side, and how many altogether.
__device__ inline integer tiles_across(integer units) { return (units + blockDim.x - 1) / blockDim.x; }
__device__ inline integer tiles_of(integer features, integer units) {
    return (features + blockDim.y) / blockDim.y * tiles_across(units); // features and a bias
}

// The gradient of a layer, or a step against it. A block for each tile.
template <class T, bool DESCENT>
__global__ void __launch_bounds__(LAYER_THREADS, 2) dense_gradient(
    const T* x, const integer* rows, const T* delta, T* W, T* b, integer samples, integer features, integer units, double learning_rate
) {
    tile_gradient<T, DESCENT>(x, rows, delta, W, b, samples, features, units, learning_rate, blockIdx.x, tiles_across(units));
}

// parameter -= learning_rate · gradient, one thread for each value.
template <class T> __global__ void descent(T* parameter, const T* gradient, integer size, double learning_rate) {
    const integer place = integer(blockIdx.x) * blockDim.x + threadIdx.x;
    if (place < size) parameter[place] -= T(learning_rate) * gradient[place];
}

// -- the loss -------------------------------------------------------------------------------------

// The target of an output: labels are targets of 1 and 0.
template <class T>
__device__ T target_of(const integer* labels, const T* targets, integer row, integer k, integer outputs) {
    return labels ? T(labels[row] == k) : targets[row * outputs + k];
}

// The loss of the logits, in `value` if there is one block and else in `partial`, a part from each;
// and its derivative with respect to them. The blockDim.x threads of a row of threads share the
// outputs of a sample out, the blockDim.y rows the samples.
template <class T>
__global__ void __launch_bounds__(MOST_THREADS, 1) loss_gradient(
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
    const T* x, const integer* rows, const T* W1, const T* b1, const T* W2, const T* b2, const integer* labels, const T* targets,
    T* z1, T* delta1, T* delta2, double* losses, integer features, integer units, integer outputs, integer lanes, integer activation,
    integer cross_entropy
) {
    __shared__ T sample[CHUNK];
    __shared__ T partial[MOST_THREADS];
    __shared__ T z[MOST_UNITS];
    __shared__ T y[MOST_OUTPUTS];
    __shared__ T delta[MOST_OUTPUTS];
    __shared__ T loss[MOST_OUTPUTS];
    const integer n = blockIdx.x, row = row_of(rows, n);
    const int thread = thread_number();
    for (integer first = 0; first < units; first += blockDim.x) {
        const integer j = first + threadIdx.x;
        const T sum = row_times_column(x + row * features, W1, features, units, j, sample, partial);
        if (threadIdx.y == 0 && j < units) z[j] = z1[n * units + j] = activate<T>(sum + b1[j], activation);
    }
    __syncthreads();

    const int k = thread % int(lanes), part = thread / int(lanes);
    const int parts = block_size() / int(lanes) < 16 ? block_size() / int(lanes) : 16;
    T value = k < outputs && part < parts ? partial_product(z, W2 + k, outputs, units, part, parts) : T(0);
    value = column_sum(value, partial, lanes, parts);
    const bool inside = thread < outputs;
    if (inside) y[thread] = value += b2[thread];
    __syncthreads();
    if (cross_entropy) {
        T highest = y[0];
        for (int other = 1; other < outputs; other++) highest = y[other] > highest ? y[other] : highest;
        __syncthreads();
        if (inside) y[thread] = value = exp(value - highest);
        __syncthreads();
        T total = 0;
        for (int other = 0; other < outputs; other++) total += y[other];
        value /= total;
    }
    if (inside) {
        const T t = target_of(labels, targets, row, thread, outputs);
        const T difference = value - t;
        delta[thread] = delta2[n * outputs + thread] = cross_entropy ? difference / T(gridDim.x) : difference;
        if (cross_entropy) loss[thread] = t != 0 ? -t * log(value + T(LOG_GUARD)) : T(0);
        else loss[thread] = difference * difference / 2;
    }
    __syncthreads();

    for (integer j = thread; j < units; j += block_size()) {
        T sum = 0;
#pragma unroll 8
        for (int other = 0; other < outputs; other++) sum += delta[other] * W2[j * outputs + other];
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
    const T* x, const integer* rows, const T* delta1, T* W1, T* b1, const T* z1, const T* delta2, T* W2, T* b2, const double* losses,
    T* value, integer samples, integer features, integer units, integer outputs, integer cross_entropy, double learning_rate
) {
    __shared__ double scratch[LAYER_THREADS];
    const integer hidden = tiles_of(features, units), output = tiles_of(units, outputs), tile = blockIdx.x;
    if (tile < hidden) {
        tile_gradient<T, true>(x, rows, delta1, W1, b1, samples, features, units, learning_rate, tile, tiles_across(units));
    } else if (tile < hidden + output) {
        const integer* all = nullptr;
        tile_gradient<T, true>(z1, all, delta2, W2, b2, samples, units, outputs, learning_rate, tile - hidden, tiles_across(outputs));
    } else {
        double total = 0;
        for (integer n = thread_number(); n < samples; n += block_size()) total += losses[n];
        total = block_sum(total, scratch);
        if (thread_number() == 0) *value = T(cross_entropy ? total / samples : total);
    }
}

// -- the incremental numerical gradient -----------------------------------------------------------
//
// The formulas are those of fastnn/backends/incremental.py; the coefficients of the series and the
// closed form of the increments of sigmoid and tanh are those of
// fastnn/backends/numba/kernels/hidden_differences.py. What depends on a sample and a unit alone is
// computed once and in double; only the sums over the samples, one for each parameter of the hidden
// layer, run in T. A "pair" is a sample with one of its targets that are not zero: `most_pairs` is
// how many a sample can have.

// |θτ| up to which 1/(1 − (θτ)²) is 1 + (θτ)² + (θτ)⁴: the next term is 6e-17.
constexpr double THETA_BOUND = 2e-3;

// What a sample's target contributes, beside its class.
struct Pair {
    double weight; // the target's value
    double kept;   // p / (p + ε) of its probability p
    double guard;  // ε / (p + ε)
};

// The highest of all logits but one, and Σ exp of them less that.
struct Others {
    double highest, total;
};

// Of a unit in a pair: how its output and the loss change. With the squared error, the first two
// derivatives take the place of d.
template <class T> struct alignas(16) Coefficients { // aligned to be loaded 16 bytes at a time
    T c, theta; // Δz(±u) = ±cτ / (1 ± θτ)
    T limit;    // |τ| up to which the formulas below hold
    T d[5];     // T(Δz) = Σ d[m]·Δz^(m + 1)
};

// From the pre-activations a of the hidden layer, with a row of threads for each sample's outputs:
// the hidden units z and a one for the bias, the logits and for each what all the `others` are, the
// probabilities y, the pairs, and the loss of each sample. With the squared error, y is the residual
// and there are neither others nor pairs.
template <class T>
__global__ void network(
    const double* a, const T* W2, const T* b2, const integer* labels, const T* targets, const integer* rows, double* z, double* y,
    Others* others, double* logits, double* losses, integer* counts, integer* classes, Pair* pairs, integer units, integer outputs,
    integer most_pairs, integer activation, integer cross_entropy
) {
    const integer n = blockIdx.x, row = row_of(rows, n);
    a += n * units;
    z += n * (units + 1);
    y += n * outputs;
    others += n * outputs;
    logits += n * outputs;
    classes += n * most_pairs;
    pairs += n * most_pairs;
    for (integer j = threadIdx.x; j <= units; j += blockDim.x) z[j] = j < units ? activate(a[j], activation) : 1;
    __syncthreads();
    for (integer k = threadIdx.x; k < outputs; k += blockDim.x) {
        logits[k] = b2[k] + partial_product<T, double>(z, W2 + k, outputs, units, 0, 1);
    }
    __syncthreads();
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
            for (integer other = 0; k == top && other < outputs; other++) second = other == k ? second : fmax(second, logits[other]);
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
    __syncthreads();
    if (threadIdx.x == 0) {
        double loss = 0;
        integer count = 0;
        for (integer k = 0; k < outputs; k++) {
            const double t = target_of(labels, targets, row, k, outputs);
            if (!cross_entropy) loss += y[k] * y[k] / 2;
            else if (t != 0) {
                loss -= t * log(y[k] + LOG_GUARD);
                classes[count] = k;
                pairs[count] = {t, y[k] / (y[k] + LOG_GUARD), LOG_GUARD / (y[k] + LOG_GUARD)};
                count++;
            }
        }
        losses[n] = loss;
        counts[n] = count;
    }
}

// The coefficients of every unit in every pair, and with the squared error in every sample. A block
// works on one of these.
template <class T>
__global__ void coefficients(
    const double* a, const double* y, const T* W2, const integer* counts, const integer* classes, Coefficients<T>* all,
    integer units, integer outputs, integer most_pairs, integer activation, integer cross_entropy
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

// ½(L(+h) − L(−h)) of a pair by series: the inverse hyperbolic tangent of (1 − κ)/2 ·
// (T₊ − T₋) / (1 + g) with g = (1 + κ)/2 · (T₊ + T₋) + κ·T₊·T₋, κ being `guard` and 1 − κ `kept`.
template <class T> __device__ T cross_entropy_by_series(const Coefficients<T>& unit, T tau, T kept, T guard) {
    const T q = unit.theta * tau, q2 = q * q, ct = unit.c * tau;
    const T f = ct + ct * (q2 + q2 * q2);
    const T up = f - f * q, down = f + f * q; // Δz at +u and −Δz at −u
    const T* d = unit.d;
    const T above = ((((d[4] * up + d[3]) * up + d[2]) * up + d[1]) * up + d[0]) * up;           // T at +u
    const T below = ((((d[4] * down - d[3]) * down + d[2]) * down - d[1]) * down + d[0]) * down; // −T at −u
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
        const double slope = activation == TANH ? 2 : 1, above = slope * fmax(a, a + u), below = slope * fmin(a, a + u);
        return slope / (1 + exp(-above)) / (1 + exp(below)) * copysign(-expm1(-slope * fabs(u)), u);
    }
    if (activation == RELU) return a > 0 ? fmax(u, -a) : fmax(a + u, 0.0);
    return u;
}

// e^exponent, cut off where the probability of the target is nothing beside the guard; NaN stays NaN.
__device__ inline double exponential(double exponent) {
    return exp(exponent > LARGEST_EXPONENT ? LARGEST_EXPONENT : exponent);
}

// The difference of two exponentials, from the larger one and how far apart the exponents are.
__device__ inline double change(double larger, double step) { return copysign(-larger * expm1(-fabs(step)), step); }

// L(+h) − L(−h) of a pair of probability p, from D/p = Σₖ pₖ·exp(Δz·vₖ)/p at +h and at −h, and how
// much these differ.
__device__ inline double log_ratio(double above, double below, double difference) {
    // The logarithm of a ratio above one: below one, its distance from zero is what would be lost.
    const double smaller = difference > 0 ? below : above, larger = difference > 0 ? above : below;
    return copysign(log1p(fabs(difference) / ((1 + LOG_GUARD * larger) * smaller)), difference);
}

// What the two functions for the series and the closed form return, for increments of any size.
template <class T>
__device__ double cross_entropy_directly(double up, double down, const double* logits, const T* w, integer target, integer outputs) {
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

// The differences for W1 and b1, times `scale`: written to the gradients, or added if `more` than
// these samples count. A block works on one feature, the last being the bias, and blockDim.x units;
// its blockDim.y rows of threads share the samples out. Where a feature is zero nothing changes.
template <class T>
__global__ void __launch_bounds__(LAYER_THREADS, 2) hidden_differences(
    const T* x, const integer* rows, const double* a, const double* logits, const T* W2, const integer* counts, const integer* classes,
    const Pair* pairs, const Coefficients<T>* all, T* dW1, T* db1, integer samples, integer features, integer units, integer outputs,
    integer most_pairs, integer activation, integer cross_entropy, double h, double scale, integer more
) {
    __shared__ double increments[SAMPLES];
    __shared__ double taus[SAMPLES];
    __shared__ T partial[LAYER_THREADS];
    const integer i = blockIdx.x, j = integer(blockIdx.y) * blockDim.x + threadIdx.x;
    const double half_slope = activation == TANH ? 1 : 0.5;
    T sum = 0;
    for (integer first = 0; first < samples; first += SAMPLES) {
        const int count = samples - first < SAMPLES ? samples - first : SAMPLES;
        for (int s = thread_number(); s < count; s += block_size()) {
            const double u = h * (i < features ? double(x[row_of(rows, first + s) * features + i]) : 1);
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
                    sum += T(pairs[pair].weight) * cross_entropy_by_series<T>(unit, tau, pairs[pair].kept, pairs[pair].guard);
                } else if (small) {
                    sum += squared_error_in_closed_form(unit, tau);
                } else {
                    const double pre = a[n * units + j];
                    const double up = increment(pre, u, activation), down = increment(pre, -u, activation);
                    if (cross_entropy) {
                        const T* w = W2 + j * outputs;
                        sum += pairs[pair].weight
                             * cross_entropy_directly(up, down, logits + n * outputs, w, classes[pair], outputs);
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
    const double* z, const double* y, const Others* others, const double* logits, const integer* counts, const integer* classes, const Pair* pairs, T* dW2,
    T* db2, integer samples, integer units, integer outputs, integer most_pairs, integer cross_entropy, double h, double scale,
    integer more
) {
    __shared__ double scratch[MOST_THREADS];
    const integer j = blockIdx.x / outputs, k = blockIdx.x % outputs;
    double sum = 0;
    for (integer n = threadIdx.x; n < samples; n += blockDim.x) {
        const double u = h * z[n * (units + 1) + j];
        if (!cross_entropy) sum += u * y[n * outputs + k];
        for (integer pair = n * most_pairs; cross_entropy && pair < n * most_pairs + counts[n]; pair++) {
            // Moving the target's own logit is moving all the others the other way.
            const bool own = classes[pair] == k;
            const double target = logits[n * outputs + classes[pair]];
            const Others other = others[n * outputs + k];
            const double step = own ? -u : u, moved = (own ? other.highest : logits[n * outputs + k]) - target;
            const double factor = own ? other.total : 1, rest = own ? 1 : other.total * exponential(other.highest - target);
            const double up = factor * exponential(moved + step), down = factor * exponential(moved - step);
            const double difference = change(fmax(up, down), 2 * step);
            sum += pairs[pair].weight * log_ratio(rest + up, rest + down, difference) / 2;
        }
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) {
        T* gradient = j < units ? dW2 + j * outputs + k : db2 + k;
        *gradient = T(sum * scale) + (more ? *gradient : 0);
    }
}

// -- steps that are replayed ----------------------------------------------------------------------

// Where a loop is: the row numbers of all its steps, its losses, and the step that is next.
struct Loop {
    const integer* rows;
    void* losses;
    integer step;
};

// Start a loop.
__global__ void begin(Loop* loop, const integer* rows, void* losses) { *loop = {rows, losses, 0}; }

// Copy the row numbers of the next steps to where the kernels of a graph read them, one thread for
// each.
__global__ void fetch(const Loop* loop, integer* rows, integer size, integer batch_size) {
    const integer place = integer(blockIdx.x) * blockDim.x + threadIdx.x;
    if (place < size) rows[place] = loop->rows[loop->step * batch_size + place];
}

// Copy the losses of the steps, one thread for each, from where the kernels of a graph left them,
// and move on. One block.
template <class T> __global__ void collect(Loop* loop, const T* const* values) {
    static_cast<T*>(loop->losses)[loop->step + threadIdx.x] = *values[threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0) loop->step += blockDim.x;
}
