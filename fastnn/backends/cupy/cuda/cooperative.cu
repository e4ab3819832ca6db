// Training a small two-layer network by one kernel that stays for many steps.
//
// W1, with b1 as one more row whose input is always 1, is cut into slices of SLICE rows. A block
// keeps its slices in shared memory from the first step to the last. A step has three phases:
//
//   A  what each slice adds to the pre-activations of all samples
//   -- all blocks have to be done with that --
//   B  a block for each sample: hidden units, outputs, the loss, both deltas
//   -- and with that --
//   C  the gradients: of a block's own slices, and of some entries of W2 and b2 each
//
// C and the next A need nothing from each other's blocks. While a block waits for the others it
// fetches its columns of the next batch. Whatever is summed is summed in an order that the sizes
// decide, the number of blocks is none of them: any number that fits gives the same bits.
//
// What takes the time is latency, and the way to shared memory. So a thread has QUAD units at a
// time, which it loads and stores as one, and a warp sums by shuffles; between the blocks lies
// everything as it is read, because each value is written once and read by many.
//
// The host launches as many blocks as can be there at once, of LANES·PARTS threads, at most LANES
// units and MOST_COOPERATIVE_OUTPUTS outputs, with the shared memory that `Shared` cuts up. A step
// is a few thousand instructions, none of which is run often, so that each counts: with the TRAIN_
// constants, the kernel is compiled for these sizes alone, which does away with a third of them.

constexpr int SLICE = FEATURES; // rows of W1 that are summed as one
constexpr int WARP = 32;
constexpr int PARTS = 8; // threads that share the sum of a unit out
constexpr int ENTRY = 16; // and those that share the samples of a gradient out
constexpr int QUAD = 4;
constexpr int MOST_COOPERATIVE_OUTPUTS = WARP;

// Four units, or half of a slice's inputs.
template <class T> struct alignas(16) Quad {
    T values[QUAD];
};
constexpr int HALVES = SLICE / QUAD;

#ifdef __CUDACC__
// One more block has arrived: what its threads wrote before the barrier that precedes this call is
// there for all that have seen the number since.
__device__ inline void add_arrival(unsigned* arrived) {
    asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(arrived) : "memory");
}

__device__ inline unsigned arrivals(const unsigned* arrived) {
    unsigned seen;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(arrived) : "memory");
    return seen;
}

// The same, without a claim to anything else that has been written.
__device__ inline unsigned look_at(const unsigned* arrived) {
    unsigned seen;
    asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(arrived) : "memory");
    return seen;
}

// What another block wrote: not from this multiprocessor's own cache.
template <class T> __device__ T fresh(const T* place) { return __ldcg(place); }

__device__ inline Quad<float> fresh(const Quad<float>* place) {
    const float4 v = __ldcg(reinterpret_cast<const float4*>(place));
    return {v.x, v.y, v.z, v.w};
}

__device__ inline Quad<double> fresh(const Quad<double>* place) {
    const double2* pair = reinterpret_cast<const double2*>(place);
    const double2 v = __ldcg(pair), w = __ldcg(pair + 1);
    return {v.x, v.y, w.x, w.y};
}

// The value of the thread of this warp whose number differs in these bits, by all its threads.
template <class T> __device__ T of_lane_xor(T value, int bits) {
    return __shfl_xor_sync(0xffffffff, value, bits);
}

__device__ inline char* shared_memory() {
    extern __shared__ __align__(16) char all_shared_memory[];
    return all_shared_memory;
}
#endif

// The two halves of a barrier of all blocks, between which each may do what concerns no other.
__device__ inline void arrive(unsigned* arrived) {
    __syncthreads();
    if (thread_number() == 0) add_arrival(arrived);
}

__device__ inline void wait(const unsigned* arrived, unsigned number) {
    if (thread_number() == 0) {
        while (int(look_at(arrived) - number) < 0) {}
        arrivals(arrived);
    }
    __syncthreads();
}

// For each of WIDTH threads of a warp side by side, a power of two, the sum of their values.
template <int WIDTH, class T> __device__ T sum_over_lanes(T value) {
#pragma unroll
    for (int bit = WIDTH / 2; bit > 0; bit /= 2) value += of_lane_xor(value, bit);
    return value;
}

// Of the ENTRY values that each of ENTRY threads side by side has, the sums over the threads: the
// thread number i gets that of value i. Each round adds up half of them, and gives half away.
template <int HALF = ENTRY / 2, class T> __device__ T sums_by_lane(T (&values)[ENTRY], int lane) {
    const bool upper = lane & HALF;
#pragma unroll
    for (int i = 0; i < HALF; i++) {
        const T given = upper ? values[i] : values[i + HALF];
        values[i] = (upper ? values[i + HALF] : values[i]) + of_lane_xor(given, HALF);
    }
    if constexpr (HALF > 1) return sums_by_lane<HALF / 2>(values, lane);
    return values[0];
}

// The shared memory of a block: the function `shared_bytes` of cooperative.py adds up the same.
template <class T, int LANES> struct Shared {
    Quad<T>* inputs;  // [2][slices][HALVES][samples], of this batch and the next
    Quad<T>* weights; // [slices][SLICE][LANES / QUAD]
    Quad<T>* partial; // [LANES * PARTS]
    Quad<T>* z;       // [LANES / QUAD]
    Quad<T>* W2;      // [outputs][quads | 1]: transposed; an odd number keeps off bank conflicts
    T* delta;         // [MOST_COOPERATIVE_OUTPUTS]
    T* y;             // [MOST_COOPERATIVE_OUTPUTS]
    integer* numbers; // [2][samples], the rows of this batch and the next
    T* b2;            // [outputs]

    __device__ Shared(char* memory, int slices, int samples, int quads, int outputs) {
        inputs = reinterpret_cast<Quad<T>*>(memory);
        weights = inputs + 2 * slices * HALVES * samples;
        partial = weights + slices * SLICE * LANES / QUAD;
        z = partial + LANES * PARTS;
        W2 = z + LANES / QUAD;
        delta = reinterpret_cast<T*>(W2 + outputs * (quads | 1));
        y = delta + MOST_COOPERATIVE_OUTPUTS;
        numbers = reinterpret_cast<integer*>(y + MOST_COOPERATIVE_OUTPUTS);
        b2 = reinterpret_cast<T*>(numbers + 2 * samples);
    }
};

// How many of `needed` to have on their way at once, no more than `most`.
#ifdef TRAIN_SAMPLES
#define AHEAD(most, needed) ((needed) < (most) ? (needed) : (most))
#else
#define AHEAD(most, needed) (most)
#endif

// Some steps, whose batches are rows of x. Between the blocks lie `slice_sums`, (samples, slices,
// quads); `z1`, (units, samples); `delta1`, (quads, samples); `delta2`, (outputs, samples); and for
// each sample its share of the loss. The learning rate is that of each step in `rates`, or else the
// one given. `arrived` is zero.
template <class T, int LANES>
__global__ void __launch_bounds__(LANES* PARTS, 1) train(
    const T* x, const integer* rows, const integer* labels, const T* targets, T* W1, T* b1, T* W2,
    T* b2, Quad<T>* slice_sums, T* z1, Quad<T>* delta1, T* delta2, T* shares, T* losses,
    const double* rates, unsigned* arrived, integer steps_, integer samples_, integer features_,
    integer units_, integer outputs_, integer activation_, integer cross_entropy_,
    double learning_rate
) {
#ifdef TRAIN_SAMPLES
    constexpr int samples = TRAIN_SAMPLES, units = TRAIN_UNITS, outputs = TRAIN_OUTPUTS;
    constexpr int features = TRAIN_FEATURES, grid = TRAIN_BLOCKS;
    constexpr int activation = TRAIN_ACTIVATION, cross_entropy = TRAIN_CROSS_ENTROPY;
#else
    const int samples = samples_, units = units_, outputs = outputs_, features = features_;
    const int grid = gridDim.x, activation = activation_, cross_entropy = cross_entropy_;
#endif
    constexpr int THREADS = LANES * PARTS, WARPS = THREADS / WARP;
    // In A one half of the threads computes, and the other begins to fetch the next inputs.
    constexpr int WORKERS = THREADS / 2, FETCHERS = THREADS - WORKERS, EARLY = 4;
    // Of double, more at once than that would not fit the registers.
    constexpr int MOST = sizeof(T) == 4 ? 8 : 3, ABREAST = sizeof(T) == 4 ? 2 : 1;
    const int steps = steps_;
    const int thread = thread_number(), lane = thread % WARP, warp = thread / WARP;
    const int block = blockIdx.x;
    const int slices = (features + SLICE) / SLICE; // with the row of the bias
    const int most = (slices + grid - 1) / grid;   // of any block
    const int own = block < slices ? (slices - block + grid - 1) / grid : 0;
    const int entries = (units + 1) * outputs + 1; // of W2 and b2, and the loss
    const int quads = (units + QUAD - 1) / QUAD, row_of_W2 = (quads | 1) * QUAD;
    // Threads side by side have the quads of a sample or slice: in A of so many samples at once, in
    // B of so many slices.
    const int groups = WORKERS / quads;
    const int abreast = THREADS / quads < slices ? THREADS / quads : slices;
    const int quad = thread % quads, group = thread / quads;
    // As many threads of a warp as there may be outputs.
    const int width = outputs > WARP / 2 ? WARP : WARP / 2;
    const Shared<T, LANES> shared(shared_memory(), most, samples, quads, outputs);
    T* const weights = shared.weights->values;
    T* const output_weights = shared.W2->values;
    unsigned round = 0;

    // What follows is by the threads that do not compute in A: each has a column of the slices, and
    // begins with those of its samples that the first slice is to have.
    const int fetching = thread - WORKERS, column = thread % SLICE;
    constexpr int FETCHED = FETCHERS / SLICE;
    const auto fetch_numbers = [&](int step) {
        if (fetching < 0 || step >= steps) return;
        integer* numbers = shared.numbers + step % 2 * samples;
#pragma unroll 1
        for (int n = fetching; n < samples; n += FETCHERS) numbers[n] = rows[step * samples + n];
    };
    const auto input = [&](int step, int s, int n) {
        const int i = (block + s * grid) * SLICE + column;
        const integer* numbers = shared.numbers + step % 2 * samples;
        return i < features ? x[numbers[n] * features + i] : T(i == features);
    };
    const auto keep_input = [&](int step, int s, int n, T value) {
        Quad<T>* inputs = shared.inputs + (step % 2 * most + s) * HALVES * samples;
        inputs[column / QUAD * samples + n].values[column % QUAD] = value;
    };
    T early_inputs[EARLY];
    const auto begin_to_fetch_inputs = [&](int step) {
        if (fetching < 0 || step >= steps || !own) return;
#pragma unroll
        for (int m = 0; m < EARLY; m++) {
            const int n = fetching / SLICE + m * FETCHED;
            if (n < samples) early_inputs[m] = input(step, 0, n);
        }
    };
    const auto fetch_inputs = [&](int step) {
        if (fetching < 0 || step >= steps || !own) return;
        int n = fetching / SLICE;
#pragma unroll
        for (int m = 0; m < EARLY; m++, n += FETCHED)
            if (n < samples) keep_input(step, 0, n, early_inputs[m]);
#pragma unroll 1
        for (int s = 0; s < own; s++, n = fetching / SLICE)
#pragma unroll 1
            for (; n < samples; n += FETCHED) keep_input(step, s, n, input(step, s, n));
    };
    // The weight of unit j in row f of a slice, or null where there is none.
    const auto weight = [&](int s, int f, int j) -> T* {
        const integer i = integer(block + s * grid) * SLICE + f;
        return j >= units || i > features ? nullptr : i < features ? W1 + i * units + j : b1 + j;
    };
    // Where an entry of W2, or of b2 behind it, is kept.
    const auto kept = [&](int entry) -> T* {
        const int unit = entry / outputs, k = entry % outputs;
        return unit < units ? output_weights + k * row_of_W2 + unit : shared.b2 + k;
    };

#pragma unroll 1
    for (int place = thread; place < own * SLICE * LANES; place += THREADS) {
        const T* from = weight(place / LANES / SLICE, place / LANES % SLICE, place % LANES);
        weights[place] = from ? *from : T(0);
    }
#pragma unroll 1
    for (int place = thread; place < outputs * row_of_W2; place += THREADS)
        output_weights[place] = 0; // what pads them stays so
    fetch_numbers(0);
    fetch_numbers(1);
    __syncthreads();
    begin_to_fetch_inputs(0);
    fetch_inputs(0);
    __syncthreads();

    for (int step = 0; step < steps; step++) {
        // A
        begin_to_fetch_inputs(step + 1);
#pragma unroll 1
        for (int s = 0; s < own && group < groups; s++) {
            const Quad<T>* inputs = shared.inputs + (step % 2 * most + s) * HALVES * samples;
            Quad<T> w[SLICE];
#pragma unroll
            for (int f = 0; f < SLICE; f++)
                w[f] = shared.weights[(s * SLICE + f) * (LANES / QUAD) + quad];
            Quad<T>* to = slice_sums + (group * slices + block + s * grid) * quads + quad;
#pragma unroll ABREAST
            for (int n = group; n < samples; n += groups, to += groups * slices * quads) {
                Quad<T> sum = {};
#pragma unroll
                for (int half = 0; half < HALVES; half++) {
                    const Quad<T> input = inputs[half * samples + n];
#pragma unroll
                    for (int f = 0; f < QUAD; f++)
#pragma unroll
                        for (int u = 0; u < QUAD; u++)
                            sum.values[u] += input.values[f] * w[half * QUAD + f].values[u];
                }
                *to = sum;
            }
        }
        arrive(arrived);
        fetch_inputs(step + 1);
        wait(arrived, ++round * grid);

        // B
        const auto output_weight = [&](int entry) {
            return fresh(entry < units * outputs ? W2 + entry : b2 + (entry - units * outputs));
        };
        // What is needed later is on its way meanwhile.
        const T early = thread < entries - 1 ? output_weight(thread) : T(0);
        const auto keep_output_weights = [&] {
            if (thread < entries - 1) *kept(thread) = early;
#pragma unroll 1
            for (int entry = thread + THREADS; entry < entries - 1; entry += THREADS)
                *kept(entry) = output_weight(entry);
        };
        if (block >= samples) keep_output_weights();
#pragma unroll 1
        for (int n = block; n < samples; n += grid) {
            const int k = lane % width;
            const bool inside = k < outputs;
            // The first warp has the outputs, and the last the loss.
            T t = 0;
            if ((warp == 0 || warp == WARPS - 1) && inside)
                t = target_of(
                    labels, targets, shared.numbers[step % 2 * samples + n], k, outputs
                );
            if (group < abreast) {
                constexpr int AT_ONCE = AHEAD(MOST, (slices + abreast - 1) / abreast);
                Quad<T> sum = {};
                const Quad<T>* from = slice_sums + (n * slices + group) * quads + quad;
#pragma unroll 1
                for (int slice = group; slice < slices; slice += AT_ONCE * abreast) {
                    Quad<T> values[AT_ONCE];
#pragma unroll
                    for (int m = 0; m < AT_ONCE; m++, from += abreast * quads) {
                        values[m] = {};
                        if (slice + m * abreast < slices) values[m] = fresh(from);
                    }
#pragma unroll
                    for (int m = 0; m < AT_ONCE; m++)
#pragma unroll
                        for (int u = 0; u < QUAD; u++) sum.values[u] += values[m].values[u];
                }
                shared.partial[thread] = sum;
            }
            if (n == block) keep_output_weights();
            __syncthreads();

            // The hidden units, PARTS threads each.
            const int j = thread / PARTS;
            const T* partial = shared.partial->values;
            T pre = 0;
#pragma unroll 5
            for (int one = thread % PARTS; j < units && one < abreast; one += PARTS)
                pre += partial[one * quads * QUAD + j];
            pre = sum_over_lanes<PARTS>(pre);
            if (thread % PARTS == 0) {
                const T z = j < units ? activate<T>(pre, activation) : T(0);
                shared.z->values[j] = z;
                if (j < units) z1[j * samples + n] = z;
            }
            __syncthreads();

            // The outputs: the first warp, half of which may have half of the units each.
            if (warp == 0) {
                const int output = inside ? k : 0; // the rest do as the first, and count for nothing
                const Quad<T>* from = shared.W2 + output * (quads | 1);
                T logit = 0;
#pragma unroll 4
                for (int q = width < WARP ? lane / width : 0; q < quads; q += WARP / width) {
                    const Quad<T> z = shared.z[q], w = from[q];
#pragma unroll
                    for (int u = 0; u < QUAD; u++) logit += z.values[u] * w.values[u];
                }
                if (width < WARP) logit += of_lane_xor(logit, WARP / 2);
                logit += shared.b2[output];
                const auto highest_of = [&](T highest) {
#pragma unroll
                    for (int bit = WARP / 2; bit > 0; bit /= 2) {
                        const T other = of_lane_xor(highest, bit);
                        highest = other > highest ? other : highest;
                    }
                    return highest;
                };
                const auto total_of = [&](T e) {
                    return sum_over_lanes<WARP>(lane < outputs ? e : T(0));
                };
                const T y = output_of(logit, cross_entropy, highest_of, total_of);
                if (lane < outputs) {
                    shared.y[lane] = y;
                    shared.delta[lane] = delta2[lane * samples + n] =
                        delta_of(y, t, samples, cross_entropy);
                }
            }
            __syncthreads();
            if (thread < quads * QUAD) {
                T back = 0;
#pragma unroll 10
                for (int other = 0; other < outputs; other++)
                    back += shared.delta[other] * output_weights[other * row_of_W2 + thread];
                back *= derivative(shared.z->values[thread], activation);
                // What pads the units is read like them.
                delta1[thread / QUAD * samples + n].values[thread % QUAD] =
                    thread < units ? back : T(0);
            } else if (warp == WARPS - 1) {
                T share = lane < outputs ? loss_of(shared.y[lane], t, cross_entropy) : T(0);
                share = sum_over_lanes<WARP>(share);
                if (lane == 0) shares[n] = share;
            }
        }
        arrive(arrived);
        fetch_numbers(step + 2);
        wait(arrived, ++round * grid);

        // C
        constexpr int AT_ONCE = AHEAD(MOST, (samples + ENTRY - 1) / ENTRY);
        const T rate = rates ? rates[step] : learning_rate;
        const int i = lane % ENTRY, half = lane / ENTRY;
        // The entries of W2 and b2 go round the blocks, and the loss is one more: ENTRY threads
        // each, from the last warps on, which have no units of W1.
#pragma unroll 1
        for (int first = block + grid * (WARPS - 1 - warp) * 2; first < entries;
             first += grid * WARPS * 2) {
            const int entry = first + grid * half, unit = entry / outputs, k = entry % outputs;
            // The loss is the sum of the shares, a bias that of a row of delta2.
            const T* from = unit > units ? shares : delta2 + k * samples;
            const T* times = unit < units ? z1 + unit * samples : nullptr;
            T sum = 0;
#pragma unroll 1
            for (int n = i; entry < entries && n - i < samples; n += AT_ONCE * ENTRY) {
                T values[AT_ONCE], factors[AT_ONCE];
#pragma unroll
                for (int m = 0; m < AT_ONCE; m++) {
                    const int sample = n + m * ENTRY;
                    values[m] = sample < samples ? fresh(from + sample) : T(0);
                    factors[m] = times && sample < samples ? fresh(times + sample) : T(1);
                }
#pragma unroll
                for (int m = 0; m < AT_ONCE; m++) sum += values[m] * factors[m];
            }
            sum = sum_over_lanes<ENTRY>(sum);
            if (i == 0 && entry < entries) {
                if (unit > units)
                    losses[step] = cross_entropy ? sum / T(samples) : sum;
                else
                    (unit < units ? W2[entry] : b2[k]) = *kept(entry) - rate * sum;
            }
        }
        // Of the own slices: a warp has a quad of units, a thread half of the rows and every
        // sixteenth sample.
#pragma unroll 1
        for (int s = 0; s < own && warp < quads; s++) {
            const Quad<T>* inputs =
                shared.inputs + ((step % 2 * most + s) * HALVES + half) * samples;
            T gradient[ENTRY] = {};
#pragma unroll 1
            for (int first = i; first - i < samples; first += AT_ONCE * ENTRY) {
                Quad<T> d[AT_ONCE];
#pragma unroll
                for (int m = 0; m < AT_ONCE; m++) {
                    const int n = first + m * ENTRY;
                    d[m] = {};
                    if (n < samples) d[m] = fresh(delta1 + warp * samples + n);
                }
#pragma unroll
                for (int m = 0; m < AT_ONCE; m++) {
                    const int n = first + m * ENTRY;
                    Quad<T> input = {};
                    if (n < samples) input = inputs[n];
#pragma unroll
                    for (int f = 0; f < QUAD; f++)
#pragma unroll
                        for (int u = 0; u < QUAD; u++)
                            gradient[f * QUAD + u] += input.values[f] * d[m].values[u];
                }
            }
            const T sum = sums_by_lane(gradient, i);
            weights[(s * SLICE + half * QUAD + i / QUAD) * LANES + warp * QUAD + i % QUAD] -=
                rate * sum;
        }
        __syncthreads();
    }

#pragma unroll 1
    for (int place = thread; place < own * SLICE * LANES; place += THREADS)
        if (T* to = weight(place / LANES / SLICE, place / LANES % SLICE, place % LANES))
            *to = weights[place];
}
