// The gradients from what `expand` found: a block for each tile of the hidden and then of the
// output layer, and one more for the loss. As a step of gradient descent they are subtracted from
// the parameters, else written to their place, or added if `more` than these samples count.
//
// A unit of a sample, or all outputs of one, for which the two terms leave out too much beside the
// largest term of the batch, is evaluated as by hidden_differences and output_differences; the
// other units of such a sample have their two terms one by one, because it is left out of the
// products.

// ½(L(+h) − L(−h)) along the unit j of a sample, for an increment u of its pre-activation.
template <class T> __device__ double unit_difference(
    const double* logits, const T* w, const integer* labels, const T* targets, integer row,
    double a, double u, integer outputs, integer activation, integer cross_entropy
) {
    const double up = increment(a, u, activation), down = increment(a, -u, activation);
    double sum = 0, slope = 0, curvature = 0;
    for (integer k = 0; k < outputs; k++) {
        const double t = target_of(labels, targets, row, k, outputs);
        if (!cross_entropy) {
            slope += w[k] * (logits[k] - t);
            curvature += double(w[k]) * w[k];
        } else if (t != 0) {
            sum += t * cross_entropy_directly(up, down, logits, w, k, outputs);
        }
    }
    return cross_entropy ? sum : (up - down) * (slope + curvature / 2 * (up + down)) / 2;
}

// The same along the output k, for an increment u of its logit.
template <class T> __device__ double output_difference(
    const double* logits, const integer* labels, const T* targets, integer row, integer k, double u,
    integer outputs, integer cross_entropy
) {
    if (!cross_entropy) return u * (logits[k] - target_of(labels, targets, row, k, outputs));
    Others others = {logits[k ? 0 : outputs - 1], 0};
    for (integer other = 0; other < outputs; other++)
        if (other != k) others.highest = fmax(others.highest, logits[other]);
    for (integer other = 0; other < outputs; other++)
        if (other != k) others.total += exp(logits[other] - others.highest);
    double sum = 0;
    for (integer target = 0; target < outputs; target++) {
        const double t = target_of(labels, targets, row, target, outputs);
        if (t != 0) sum += t * logit_difference(logits, k, target, others, u);
    }
    return sum;
}

template <class T, bool DESCENT>
__global__ void __launch_bounds__(LAYER_THREADS, 1) assemble(
    const T* x, const integer* rows, const integer* labels, const T* targets,
    const integer* target_rows, const double* a, const double* logits, const T* z1, const T* hidden,
    const T* output, const double* omitted, const Bounds* bounds, const T* W2_before, T* W1, T* b1,
    T* W2, T* b2, const double* losses, T* value, integer samples, integer features, integer units,
    integer outputs, integer activation, integer cross_entropy, integer total, double h,
    double learning_rate, integer more
) {
    __shared__ Row<T> inputs[SAMPLES];
    alignas(16) __shared__ T partial[FEATURES * LAYER_THREADS];
    double* scratch = reinterpret_cast<double*>(partial); // before that is used
    Tiles<T, true> of_units{x, rows, hidden, samples, features, units, &bounds[0].omitted, 0};
    Tiles<T, true> of_outputs{z1, nullptr, output, samples, units, outputs, &bounds[1].omitted, 0};
    integer tile = blockIdx.x;
    const bool into_hidden = tile < of_units.count();
    if (!into_hidden) tile -= of_units.count();
    if (!into_hidden && tile == of_outputs.count()) {
        double sum = 0;
        for (integer n = thread_number(); n < total; n += block_size()) sum += losses[n];
        sum = block_sum(sum, scratch);
        if (thread_number() == 0) *value = T(cross_entropy ? sum / total : sum);
        return;
    }
    bounds += !into_hidden;
    double first = 0, most = 0;
    for (integer n = thread_number(); n < samples; n += block_size()) {
        first = fmax(first, bounds[2 * n].first);
        most = fmax(most, bounds[2 * n].omitted);
    }
    block_max(first, most, scratch);
    const double allowed = of_units.allowed = of_outputs.allowed = OMITTED * first;
    const bool all = most <= allowed; // of these are in the products
    const double scale = 1 / (cross_entropy ? h * total : h);
    const auto take = [&](T* parameter, T sum) {
        if (DESCENT)
            *parameter -= T(learning_rate) * sum;
        else
            *parameter = more ? *parameter + sum : sum;
    };
    const auto product = [&](const T* powers, integer n, integer j, integer columns, T v) {
        return v * (v * v * powers[(2 * n + 1) * columns + j] + powers[2 * n * columns + j]);
    };
    if (into_hidden) {
        of_units.sum(tile, inputs, partial, [&](integer i, integer j, T sum) {
            for (integer n = 0; !all && n < samples; n++) {
                if (bounds[2 * n].omitted <= allowed) continue;
                const T v = i < features ? x[row_of(rows, n) * features + i] : T(1);
                if (v == 0) continue;
                if (omitted[n * units + j] <= allowed) {
                    sum += product(hidden, n, j, units, v);
                    continue;
                }
                const double difference = unit_difference(
                    logits + n * outputs, W2_before + j * outputs, labels, targets,
                    row_of(target_rows, n), a[n * units + j], h * double(v), outputs, activation,
                    cross_entropy
                );
                sum += difference * scale;
            }
            take(i < features ? W1 + i * units + j : b1 + j, sum);
        });
    } else {
        of_outputs.sum(tile, inputs, partial, [&](integer j, integer k, T sum) {
            for (integer n = 0; !all && n < samples; n++) {
                if (bounds[2 * n].omitted <= allowed) continue;
                const T v = j < units ? z1[n * units + j] : T(1);
                const double difference = output_difference(
                    logits + n * outputs, labels, targets, row_of(target_rows, n), k, h * double(v),
                    outputs, cross_entropy
                );
                sum += difference * scale;
            }
            take(j < units ? W2 + j * outputs + k : b2 + k, sum);
        });
    }
}
