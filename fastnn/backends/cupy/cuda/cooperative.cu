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
// The host launches as many blocks as can be there at once, of LANES·PARTS threads, at most LANES
// units and MOST_COOPERATIVE_OUTPUTS outputs, with the shared memory that `Shared` cuts up.

constexpr int SLICE = FEATURES; // rows of W1 that are summed as one
constexpr int PARTS = 8;  // that a block cuts slices, samples and units into
constexpr int ENTRY = 16; // threads that share the samples of an entry of W2 out
constexpr int MOST_COOPERATIVE_OUTPUTS = 32;

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

// What another block wrote: not from this multiprocessor's own cache.
template <class T> __device__ T fresh(const T* place) { return __ldcg(place); }

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
    if (thread_number() == 0)
        while (int(arrivals(arrived) - number) < 0) {}
    __syncthreads();
}

// The shared memory of a block: the function `shared_bytes` of cooperative.py adds up the same.
template <class T, int LANES> struct Shared {
    Row<T>* inputs;   // [2][slices][samples], of this batch and the next
    T* weights;       // [slices][SLICE][LANES]
    T* partial;       // [SLICE][PARTS][LANES]
    T* sums;          // [PARTS][LANES]
    T* W2;            // [units + 1][outputs], the last row being b2
    T* z;             // [LANES]
    T* y;             // four times [MOST_COOPERATIVE_OUTPUTS]
    integer* numbers; // [2][samples], the rows of this batch and the next

    __device__ Shared(char* memory, integer slices, integer samples, integer outputs) {
        inputs = reinterpret_cast<Row<T>*>(memory);
        weights = reinterpret_cast<T*>(inputs + 2 * slices * samples);
        partial = weights + slices * SLICE * LANES;
        sums = partial + SLICE * PARTS * LANES;
        z = sums + PARTS * LANES;
        y = z + LANES;
        numbers = reinterpret_cast<integer*>(y + 4 * MOST_COOPERATIVE_OUTPUTS);
        W2 = reinterpret_cast<T*>(numbers + 2 * samples);
    }
};

// Some steps, whose batches are rows of x. Between the blocks lie, for each sample: `slice_sums`,
// (slices, units); `z1` and `delta1`, (units); `delta2`, (outputs); and its share of the loss. The
// learning rate is that of each step in `rates`, or else the one given. `arrived` is zero.
template <class T, int LANES>
__global__ void __launch_bounds__(LANES* PARTS, 1) train(
    const T* x, const integer* rows, const integer* labels, const T* targets, T* W1, T* b1, T* W2,
    T* b2, T* slice_sums, T* z1, T* delta1, T* delta2, T* shares, T* losses, const double* rates,
    unsigned* arrived, integer steps, integer samples_, integer features, integer units_,
    integer outputs_, integer activation, integer cross_entropy, double learning_rate
) {
    constexpr int THREADS = LANES * PARTS, OUTPUTS = MOST_COOPERATIVE_OUTPUTS;
    constexpr int AHEAD = 64 / sizeof(T); // loads that a thread has on their way
    // Samples that a thread has in work in A: with more of double, CUDA 12 spills registers.
    constexpr int ABREAST = sizeof(T) == 4 ? 4 : 1;
    const int samples = samples_, units = units_, outputs = outputs_;
    const int j = threadIdx.x, part = threadIdx.y, thread = part * LANES + j;
    const int block = blockIdx.x, grid = gridDim.x;
    const int slices = (features + SLICE) / SLICE; // with the row of the bias
    const int most = (slices + grid - 1) / grid;   // of any block
    const int own = block < slices ? (slices - block + grid - 1) / grid : 0;
    const int entries = (units + 1) * outputs + 1; // of W2 and b2, and the loss
    const Shared<T, LANES> shared(shared_memory(), most, samples, outputs);
    T *y = shared.y, *e = y + OUTPUTS, *delta = e + OUTPUTS, *loss = delta + OUTPUTS;
    unsigned round = 0;

    // By all threads but the first warp's, one of which watches for the other blocks meanwhile.
    const int fetching = thread - 32;
    const auto fetch_numbers = [&](integer step) {
        integer* numbers = shared.numbers + step % 2 * samples;
        for (int n = fetching; n >= 0 && step < steps && n < samples; n += THREADS - 32)
            numbers[n] = rows[step * samples + n];
    };
    const auto fetch_inputs = [&](integer step) {
        const integer* numbers = shared.numbers + step % 2 * samples;
        for (int s = 0; s < own && step < steps; s++) {
            Row<T>* inputs = shared.inputs + (step % 2 * most + s) * samples;
            for (int place = fetching; place >= 0 && place < samples * SLICE;
                 place += THREADS - 32) {
                const int n = place / SLICE, f = place % SLICE;
                const integer i = integer(block + s * grid) * SLICE + f;
                inputs[n].values[f] =
                    i < features ? x[numbers[n] * features + i] : T(i == features);
            }
        }
    };
    // The weight in row f of a slice, or null where there is none.
    const auto weight = [&](int s, int f) -> T* {
        const integer i = integer(block + s * grid) * SLICE + f;
        return j >= units || i > features ? nullptr : i < features ? W1 + i * units + j : b1 + j;
    };

    for (int s = 0; s < own; s++)
        for (int f = part; f < SLICE; f += PARTS) {
            const T* from = weight(s, f);
            shared.weights[(s * SLICE + f) * LANES + j] = from ? *from : T(0);
        }
    fetch_numbers(0);
    fetch_numbers(1);
    __syncthreads();
    fetch_inputs(0);
    __syncthreads();

    for (integer step = 0; step < steps; step++) {
        const T rate = rates ? rates[step] : learning_rate;

        // A
        for (int s = 0; s < own; s++) {
            const Row<T>* inputs = shared.inputs + (step % 2 * most + s) * samples;
            T w[SLICE];
#pragma unroll
            for (int f = 0; f < SLICE; f++) w[f] = shared.weights[(s * SLICE + f) * LANES + j];
            const integer stride = integer(slices) * units;
            T* to = slice_sums + integer(block + s * grid) * units + j + part * stride;
#pragma unroll ABREAST
            for (int n = part; n < samples; n += PARTS, to += PARTS * stride) {
                const Row<T> input = inputs[n];
                T sum = 0;
#pragma unroll
                for (int f = 0; f < SLICE; f++) sum += input.values[f] * w[f];
                if (j < units) *to = sum;
            }
        }
        arrive(arrived);
        fetch_inputs(step + 1);
        wait(arrived, ++round * grid);

        // B
        const auto output_weight = [&](int place) {
            return fresh(place < units * outputs ? W2 + place : b2 + (place - units * outputs));
        };
        for (int n = block; n < samples; n += grid) {
            // What is needed later is on its way meanwhile.
            const T early = thread < entries - 1 ? output_weight(thread) : T(0);
            const integer row = shared.numbers[step % 2 * samples + n];
            const T t = thread < outputs ? target_of(labels, targets, row, thread, outputs) : T(0);
            T sum = 0;
            const T* from = slice_sums + integer(n) * slices * units + j;
            for (int first = part; first < slices; first += AHEAD * PARTS) {
                T values[AHEAD];
#pragma unroll
                for (int m = 0; m < AHEAD; m++) {
                    const int slice = first + m * PARTS;
                    values[m] = 0;
                    if (j < units && slice < slices) values[m] = fresh(from + slice * units);
                }
#pragma unroll
                for (int m = 0; m < AHEAD; m++) sum += values[m];
            }
            shared.partial[thread] = sum;
            if (n == block) {
                if (thread < entries - 1) shared.W2[thread] = early;
                for (int place = thread + THREADS; place < entries - 1; place += THREADS)
                    shared.W2[place] = output_weight(place);
            }
            __syncthreads();
            if (part == 0) {
#pragma unroll
                for (int q = 1; q < PARTS; q++) sum += shared.partial[q * LANES + j];
                const T z = j < units ? activate<T>(sum, activation) : T(0);
                shared.z[j] = z;
                if (j < units) z1[n * units + j] = z;
            }
            __syncthreads();

            // The logits: OUTPUTS threads side by side, each row of them for some of the units.
            const int k = thread % OUTPUTS;
            T logit = 0;
#pragma unroll 4
            for (int unit = thread / OUTPUTS; k < outputs && unit < units;
                 unit += THREADS / OUTPUTS)
                logit += shared.z[unit] * shared.W2[unit * outputs + k];
            shared.sums[thread] = logit;
            __syncthreads();
            const bool inside = thread < outputs;
            if (inside) {
#pragma unroll
                for (int q = 1; q < THREADS / OUTPUTS; q++) logit += shared.sums[q * OUTPUTS + k];
                logit += shared.W2[units * outputs + k];
            }
            const T d = output_delta(
                inside, logit, t, y, e, loss, thread, outputs, samples, cross_entropy
            );
            if (inside) delta[thread] = delta2[n * outputs + thread] = d;
            __syncthreads();
            if (thread < units) {
                T back = 0;
#pragma unroll 4
                for (int other = 0; other < outputs; other++)
                    back += delta[other] * shared.W2[thread * outputs + other];
                delta1[n * units + thread] = back * derivative(shared.z[thread], activation);
            } else if (thread == THREADS - 1) {
                T share = 0;
                for (int other = 0; other < outputs; other++) share += loss[other];
                shares[n] = share;
            }
        }
        arrive(arrived);
        fetch_numbers(step + 2);
        wait(arrived, ++round * grid);

        // C
        for (int s = 0; s < own; s++) {
            const Row<T>* inputs = shared.inputs + (step % 2 * most + s) * samples;
            T gradient[SLICE] = {};
            for (int first = part; first < samples; first += AHEAD * PARTS) {
                T d[AHEAD];
#pragma unroll
                for (int m = 0; m < AHEAD; m++) {
                    const int n = first + m * PARTS;
                    d[m] = 0;
                    if (j < units && n < samples) d[m] = fresh(delta1 + n * units + j);
                }
#pragma unroll
                for (int m = 0; m < AHEAD; m++) {
                    if (first + m * PARTS >= samples) break;
                    const Row<T> input = inputs[first + m * PARTS];
#pragma unroll
                    for (int f = 0; f < SLICE; f++) gradient[f] += input.values[f] * d[m];
                }
            }
#pragma unroll
            for (int f = 0; f < SLICE; f++)
                shared.partial[(f * PARTS + part) * LANES + j] = gradient[f];
            __syncthreads();
            for (int f = part; f < SLICE; f += PARTS) {
                T sum = 0;
#pragma unroll
                for (int q = 0; q < PARTS; q++) sum += shared.partial[(f * PARTS + q) * LANES + j];
                shared.weights[(s * SLICE + f) * LANES + j] -= rate * sum;
            }
            __syncthreads();
        }
        // The entries of W2 and b2 go round the blocks, and the loss is one more.
        for (int first = block; first < entries; first += grid * (THREADS / ENTRY)) {
            const int entry = first + grid * (thread / ENTRY), unit = entry / outputs;
            const int k = entry % outputs;
            // The loss is the sum of the shares, a bias that of a column of delta2.
            const T* from = unit > units ? shares : delta2 + k;
            const T* times = unit < units ? z1 + unit : nullptr;
            const int stride = unit > units ? 1 : outputs;
            T sum = 0;
            for (int n = thread % ENTRY; entry < entries && n < samples; n += AHEAD / 2 * ENTRY) {
                T values[AHEAD / 2], factors[AHEAD / 2];
#pragma unroll
                for (int m = 0; m < AHEAD / 2; m++) {
                    const int sample = n + m * ENTRY;
                    values[m] = 0;
                    factors[m] = 1;
                    if (sample < samples) {
                        values[m] = fresh(from + sample * stride);
                        if (times) factors[m] = fresh(times + sample * units);
                    }
                }
#pragma unroll
                for (int m = 0; m < AHEAD / 2; m++) sum += values[m] * factors[m];
            }
            shared.sums[thread] = sum;
            __syncthreads();
            if (thread % ENTRY == 0 && entry < entries) {
#pragma unroll
                for (int q = 1; q < ENTRY; q++) sum += shared.sums[thread + q];
                if (unit > units)
                    losses[step] = cross_entropy ? sum / T(samples) : sum;
                else
                    (unit < units ? W2[entry] : b2[k]) -= rate * sum;
            }
            __syncthreads();
        }
    }

    for (int s = 0; s < own; s++)
        for (int f = part; f < SLICE; f += PARTS)
            if (T* to = weight(s, f)) *to = shared.weights[(s * SLICE + f) * LANES + j];
}
