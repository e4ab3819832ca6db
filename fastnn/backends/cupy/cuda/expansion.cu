// -- the numerical gradient as matrix products ----------------------------------------------------
//
// The formulas are those of fastnn/backends/expansions.py: where its bound holds, ½(L(+h) − L(−h))
// is F₁w + F₃w³ with w = λu/2 for each input of a unit, and likewise along the outputs. All of it
// runs in double, but for the products.

// Of a sample, along the hidden units or along the outputs.
struct Bounds {
    double first; // the largest |F₁w|
    double omitted; // the largest bound of what two terms leave out; NO_USE where they are none
};

constexpr double NO_USE = 1e308; // in place of what is omitted where the terms are no use

// The largest of all threads' values, of two kinds; their number is a power of two, and `scratch`
// has room for two values of each.
__device__ inline void block_max(double& first, double& second, double* scratch) {
    const int thread = thread_number(), size = block_size();
    scratch[thread] = first;
    scratch[size + thread] = second;
    for (int half = size / 2; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half) {
            scratch[thread] = first = fmax(first, scratch[thread + half]);
            scratch[size + thread] = second = fmax(second, scratch[size + thread + half]);
        }
    }
    __syncthreads();
    first = scratch[0];
    second = scratch[size];
}

// λ/2 of an activation.
__device__ inline double expansion_scale(integer activation) {
    return activation == SIGMOID ? 0.5 : 1;
}

// The series of a unit along Δz, ℓ₁ to ℓ₃, and no |ℓ₁|, …, |ℓ₅| is larger than the bounds.
struct Series {
    double terms[3], bounds[5], span;
};

// Of the outputs of a sample, all that the series of its units are made of.
struct Outputs {
    double p[MOST_OUTPUTS]; // the probabilities; with the squared error, the residuals
    double t[MOST_OUTPUTS]; // the targets over the size of the batch
    // With the cross-entropy, what the constant that guards its logarithm has of p + LOG_GUARD, and
    // what p has: two divisions that are made once.
    double guard[MOST_OUTPUTS], kept[MOST_OUTPUTS];
    double first[MOST_OUTPUTS]; // the coefficients of the first power of what a logit is moved by
    int top; // the most probable output
};

template <class T> __device__ Series
cross_entropy_series(const Outputs& of, const T* w, int outputs) {
    const double middle = w[of.top];
    double m1 = 0, m2 = 0, m3 = 0, b1 = 0, b2 = 0, c1 = 0, c2 = 0, c3 = 0;
    double A = 0, B = 0, C = 0, size = 0, lowest = middle, highest = middle;
    Series result = {};
    for (int k = 0; k < outputs; k++) {
        const double p = of.p[k], t = of.t[k], weight = w[k], v = weight - middle, v2 = v * v;
        lowest = fmin(lowest, weight);
        highest = fmax(highest, weight);
        result.terms[0] += of.first[k] * v;
        m1 += p * v;
        m2 += p * v2;
        m3 += p * v * v2;
        if (t == 0) continue;
        const double guard = of.guard[k], kept = of.kept[k];
        const double a = t * kept, b = a * guard, c = b * (kept - guard);
        A += a;
        B += b;
        C += c;
        size += fabs(t);
        b1 += b * v;
        b2 += b * v2;
        c1 += c * v;
        c2 += c * v2;
        c3 += c * v * v2;
    }
    const double variance = m2 - m1 * m1, skew = m3 - m1 * (3 * m2 - 2 * m1 * m1);
    const double cubes = ((C * m1 - 3 * c1) * m1 + 3 * c2) * m1 - c3;
    result.terms[1] = (A * variance - ((B * m1 - 2 * b1) * m1 + b2)) / 2;
    result.terms[2] = (A * skew - 3 * variance * (B * m1 - b1) - cubes) / 6;
    const double span = result.span = highest - lowest;
    const double cumulants[] = {
        1, 1.0 / 8, 0.0963 / 6, 1.0 / 192, 1.0 / 120
    }; // of a span of 1, over m!
    double power = size;
    for (int m = 0; m < 5; m++) result.bounds[m] = (m ? 2 : 1) * cumulants[m] * (power *= span);
    return result;
}

template <class T> __device__ Series
squared_error_series(const Outputs& of, const T* w, int outputs) {
    Series result = {};
    for (int k = 0; k < outputs; k++) {
        result.terms[0] += of.p[k] * w[k];
        result.terms[1] += double(w[k]) * w[k] / 2;
    }
    result.bounds[0] = fabs(result.terms[0]);
    result.bounds[1] = result.terms[1];
    return result;
}

// F₁, F₃ and a bound of F₅ of a unit with the pre-activation a, and whether its two terms are no
// use for a w as large as `reach`.
struct Powers {
    double first, third, fifth;
    bool left;
};

__device__ inline Powers composed(const Series& s, double a, double reach, integer activation) {
    const bool curved = activation == SIGMOID || activation == TANH;
    double c = 1, theta = 0;
    if (curved) {
        const double slope = activation == TANH ? 2 : 1;
        const double above = 1 / (1 + exp(-slope * a)), below = 1 / (1 + exp(slope * a));
        c = 2 * slope * above * below;
        theta = above - below;
    } else if (activation == RELU) {
        c = a > 0;
    }
    const double q = fabs(theta), slope = fabs(c), q2 = q * q, *b = s.bounds;
    Powers result;
    result.first = c * s.terms[0];
    result.third =
        theta * theta * result.first - 2 * theta * (c * c) * s.terms[1] + c * c * c * s.terms[2];
    result.fifth =
        (((b[4] * slope + 4 * q * b[3]) * slope + 6 * q2 * b[2]) * slope + 4 * q * q2 * b[1])
        * slope;
    result.fifth = (result.fifth + q2 * q2 * b[0]) * slope;
    if (curved) { // in powers of w instead of tanh w
        result.fifth += fabs(result.third) + 2.0 / 15 * fabs(result.first);
        result.third -= result.first / 3;
    }
    result.left =
        reach * (1 + q + slope * s.span) > REACH || (activation == RELU && reach >= fabs(a));
    return result;
}

// What is left out at `reach`, or NO_USE where the terms are none.
__device__ inline double omitted_by(double fifth, double reach, bool left) {
    const double all = fifth * reach * reach * reach * reach * reach;
    return left || !(all < NO_USE) ? NO_USE : all;
}

// The forward pass of one sample and the coefficients of both odd powers, by a block of at least
// `lanes` threads, the smallest power of two not smaller than the number of outputs: the
// pre-activations a, the logits, z1; two rows each of `hidden` and `output`, F₁ and F₃ so that
// their products with x and x³ are the gradient; what `omitted` by each unit; the bounds, those
// of the units and those of the outputs; and the share of the loss. W2 is copied to where the other
// kernel finds it as it was.
template <class T>
__global__ void __launch_bounds__(LAYER_THREADS, 1) expand(
    const T* x, const integer* rows, const T* W1, const T* b1, const T* W2, const T* b2,
    const integer* labels, const T* targets, const integer* target_rows, double* a, double* logits,
    T* z1, T* hidden, T* output, double* omitted, Bounds* bounds, T* W2_before, double* losses,
    integer batch, integer features, integer units, integer outputs, integer lanes,
    integer activation, integer cross_entropy, double h
) {
    __shared__ double sample[CHUNK];
    __shared__ double scratch[2 * LAYER_THREADS];
    __shared__ double z[MOST_UNITS];
    __shared__ double e[MOST_OUTPUTS];
    __shared__ Outputs of;
    __shared__ T room[CHUNK];
    const integer n = blockIdx.x, row = row_of(rows, n), target_row = row_of(target_rows, n);
    const int thread = thread_number(), size = block_size();
    for (integer place = n * size + thread; place < units * outputs;
         place += integer(gridDim.x) * size)
        W2_before[place] = W2[place];
    Kept<T> kept(W2, units * outputs, room);
    const int k = thread;
    const bool inside = k < outputs;
    const double t = inside ? target_of(labels, targets, target_row, k, outputs) : T(0);

    double widest = 1, highest_z = 1; // of the biases
    for (integer i = thread; i < features; i += size)
        widest = fmax(widest, fabs(double(x[row * features + i])));
    for (integer first = 0; first < units; first += blockDim.x) {
        const integer j = first + threadIdx.x;
        const double sum =
            row_times_column(x + row * features, W1, features, units, j, sample, scratch);
        if (threadIdx.y == 0 && j < units) {
            const double pre = a[n * units + j] = sum + b1[j];
            z[j] = activate<double>(pre, activation);
            z1[n * units + j] = z[j];
            highest_z = fmax(highest_z, fabs(z[j]));
        }
    }
    const T* output_weights = kept.keep();
    __syncthreads();
    block_max(widest, highest_z, scratch);
    __syncthreads();

    const int lane = thread % int(lanes), part = thread / int(lanes);
    const int parts = size / int(lanes) < 16 ? size / int(lanes) : 16;
    double value = lane < outputs && part < parts
                       ? partial_product(z, output_weights + lane, outputs, units, part, parts)
                       : 0.0;
    value = column_sum(value, scratch, lanes, parts);
    if (inside) logits[n * outputs + k] = e[k] = value += b2[k];
    __syncthreads();
    double loss = 0;
    if (cross_entropy) {
        double total = 0;
        int top = 0;
        for (int other = 1; inside && other < outputs; other++)
            top = e[other] > e[top] ? other : top;
        if (inside) of.p[k] = exp(value - e[top]);
        __syncthreads();
        for (int other = 0; inside && other < outputs; other++) total += of.p[other];
        __syncthreads();
        if (inside) {
            const double p = of.p[k] /= total;
            of.guard[k] = LOG_GUARD / (p + LOG_GUARD);
            of.kept[k] = p / (p + LOG_GUARD);
        }
        if (k == 0) of.top = top;
    } else if (inside) {
        of.p[k] = value - t;
    }
    if (inside) of.t[k] = t / batch;
    __syncthreads();

    // Along the outputs.
    const double v = h, along_outputs = v * highest_z, near = fmin(along_outputs, REACH);
    double first = 0, fifth = 0;
    if (inside) {
        double third = 0;
        if (cross_entropy) {
            double rest = 0, A = 0, whole = 0, all = 0, q1 = 0, q2 = 0, q3 = 0;
            for (int other = 0; other < outputs; other++) {
                const double of_target = of.t[other], guard = of.guard[other];
                if (other != k) {
                    rest += of.p[other];
                    q1 += of_target * guard;
                    q2 += of_target * guard * guard;
                    q3 += of_target * guard * guard * guard;
                    A += of_target * of.kept[other];
                }
                whole += of_target;
                all += fabs(of_target);
            }
            const double p = of.p[k], guard = of.guard[k], kept = of.kept[k], own = guard * rest;
            first = A * p - of.t[k] * kept * rest;
            third = whole * p * rest * (rest - p) - p * (q1 - p * (3 * q2 - p * (2 * q3)));
            third = (third - of.t[k] * own * (kept + guard * p) * (2 * own - 1)) / 6;
            fifth = all / 60;
            loss = t != 0 ? -t * log(p + LOG_GUARD) : 0;
        } else {
            first = of.p[k];
            loss = first * first / 2;
        }
        of.first[k] = first;
        output[2 * n * outputs + k] = first;
        output[(2 * n + 1) * outputs + k] = third * v * v;
    }
    double largest = fabs(first) * near, most = omitted_by(fifth, near, along_outputs > REACH);
    if (!inside) most = 0;
    block_max(largest, most, scratch);
    if (thread == 0) bounds[2 * n + 1] = {largest, most};
    __syncthreads(); // also for of.first

    // Along the units.
    const double scale = expansion_scale(activation), w = h * scale, along_units = w * widest;
    const double close = fmin(along_units, REACH);
    largest = most = 0;
    for (integer j = thread; j < units; j += size) {
        const T* weights = output_weights + j * outputs;
        const Series series = cross_entropy ? cross_entropy_series(of, weights, outputs)
                                            : squared_error_series(of, weights, outputs);
        const Powers F = composed(series, a[n * units + j], along_units, activation);
        const double out = omitted[n * units + j] = omitted_by(F.fifth, close, F.left);
        const double kept = out < NO_USE ? scale : 0; // what is not may be infinite
        hidden[2 * n * units + j] = kept ? kept * F.first : 0;
        hidden[(2 * n + 1) * units + j] = kept ? kept * w * w * F.third : 0;
        largest = fmax(largest, fabs(F.first) * close);
        most = fmax(most, out);
    }
    block_max(largest, most, scratch);
    if (thread == 0) bounds[2 * n] = {largest, most};
    __syncthreads();
    loss = block_sum(loss, scratch);
    if (thread == 0) losses[n] = loss;
}
