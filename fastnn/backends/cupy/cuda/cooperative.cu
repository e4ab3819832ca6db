// Training a small two-layer network by one kernel that stays for many steps.
//
// W1, with b1 as one more row whose input is always 1, is cut into tiles of ROWS rows and COLUMNS
// units. A block keeps its tiles in shared memory from the first step to the last. A step has three
// phases:
//
//   A  what each tile adds to the pre-activations of all samples
//   -- all blocks have to be done with that --
//   B  a block for each sample: hidden units, outputs, the loss, both deltas
//   -- and with that --
//   C  the gradients: of a block's own tiles, and of some entries of W2 and b2 each
//
// C and the next A need nothing from each other's blocks. Meanwhile a block copies its columns of
// the next batch. Whatever is summed is summed in an order that the sizes decide, the number of
// blocks is none of them: any number that fits gives the same bits.
//
// What takes the time is latency, and what goes through the second-level cache: tiles, not whole
// rows, so that less does. A and C are products by warps: threads by themselves would spend more
// time with loading from shared memory what other threads load, too.
//
// The host launches as many blocks as can be there at once, of THREADS threads, for at most
// MOST_COOPERATIVE_UNITS and WARP outputs, with the shared memory that `Shared` cuts up. A step is
// a thousand instructions, few of which are run often, so that each counts: with the TRAIN_
// constants, the kernel is compiled for these sizes alone, which does away with a third of them.

constexpr int THREADS = 512, WARPS = THREADS / WARP;
constexpr int ROWS = 32, COLUMNS = 16; // of W1
// Quads of the rows of a sample, and of a unit: an odd number keeps off bank conflicts.
constexpr int ROW_QUADS = ROWS / QUAD, PADDED = ROW_QUADS + 1, TILE = COLUMNS * PADDED * QUAD;
constexpr int PAIR = 2, UNITS = PAIR * QUAD, PAIRS = COLUMNS / UNITS; // of quads of units
constexpr int MOST_COOPERATIVE_UNITS = WARPS * UNITS; // in B a warp has a pair
constexpr int GROUPS = WARPS / 2;                     // of two warps, which share the samples in C
constexpr int ENTRY = 16; // threads that share the samples of an entry of W2 out

static_assert(ROWS * COLUMNS == THREADS, "a thread has an entry of a tile");
static_assert(UNITS == PRODUCT_COLUMNS && 2 * UNITS == COLUMNS, "the products of A, and of C");
static_assert(ROWS == 4 * 2 * QUAD && ROWS == 2 * 2 * PRODUCT_COLUMNS, "and their rows of W1");

// The shared memory of a block: the function `shared_bytes` of cooperative.py adds up the same.
template <class T> struct Shared {
    Quad<T>* inputs;  // [2][slices][samples][PADDED], of this batch and the next
    Quad<T>* weights; // [tiles][COLUMNS][PADDED]
    Quad<T>* partial; // [GROUPS][COLUMNS][PADDED]
    T* z;             // [MOST_COOPERATIVE_UNITS]
    T* W2;            // [outputs][quads | 1][QUAD]: an odd number keeps off bank conflicts
    integer* numbers; // [2][samples], the rows of this batch and the next
    T* b2;            // [outputs]

    __device__
    Shared(char* memory, int tiles, int slices, int samples, int quads, int outputs) {
        inputs = reinterpret_cast<Quad<T>*>(memory);
        partial = inputs + 2 * slices * samples * PADDED;
        weights = partial + GROUPS * TILE / QUAD;
        z = (weights + tiles * TILE / QUAD)->values;
        W2 = z + MOST_COOPERATIVE_UNITS;
        numbers = reinterpret_cast<integer*>(W2 + outputs * (quads | 1) * QUAD);
        b2 = reinterpret_cast<T*>(numbers + 2 * samples);
    }
};

// How many slices so many tiles in a row are of at most, if there are so many tiles across a slice.
__device__ constexpr int spanned(int tiles, int across) {
    if (tiles % across == 0) return tiles / across;
    return across % tiles == 0 ? 1 : (tiles + across - 2) / across + 1;
}

// How many of `needed` to have on their way at once, no more than `most`.
#ifdef TRAIN_SAMPLES
#define AHEAD(most, needed) ((needed) < (most) ? (needed) : (most))
#else
#define AHEAD(most, needed) (most)
#endif

// Some steps, whose batches are rows of x. Tiles that have the same rows are a slice. Between the
// blocks lie `tile_sums`, (samples, pairs, slices, PAIR); `z1`, (units, samples); `delta1`, (samples,
// pairs, PAIR); `delta2`, (outputs, samples); and for each sample its share of the loss. The
// learning rate is that of each step in `rates`, or else the one given. `arrived` is zero.
template <class T>
__global__ void __launch_bounds__(THREADS, 1) train(
    const T* x, const integer* rows, const integer* labels, const T* targets, T* W1, T* b1, T* W2,
    T* b2, Quad<T>* tile_sums, T* z1, Quad<T>* delta1, T* delta2, T* shares, T* losses,
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
    const int steps = steps_, block = blockIdx.x;
    // So the compiler knows how large these are, and leaves out what is always so.
    const int thread = unsigned(thread_number()) % THREADS;
    const int lane = thread % WARP, warp = thread / WARP;
    const int row = lane / 4, quarter = lane % 4; // of a product
    const int quads = (units + QUAD - 1) / QUAD, row_of_W2 = (quads | 1) * QUAD;
    const int pairs = (quads + PAIR - 1) / PAIR, padded = pairs * PAIR * QUAD; // units
    const int slices = (features + ROWS) / ROWS;    // with the row of the bias
    const int across = (pairs + PAIRS - 1) / PAIRS; // tiles in each of them
    const int tiles = slices * across, most = (tiles + grid - 1) / grid; // of any block
    const int owners = (tiles + most - 1) / most, first_tile = block * most;
    const int own = block + 1 < owners ? most : block < owners ? tiles - first_tile : 0;
    const int first_slice = first_tile / across, most_slices = spanned(most, across);
    const int own_slices = own ? (first_tile + own - 1) / across - first_slice + 1 : 0;
    const Shared<T> shared(shared_memory(), most, most_slices, samples, quads, outputs);
    unsigned round = 0;

    // Where the weight of a place in an own tile is, or null where there is none.
    const auto weight = [&](int s, int place) -> T* {
        const int of_row = place % (PADDED * QUAD), i = (first_tile + s) / across * ROWS + of_row;
        const int unit = (first_tile + s) % across * COLUMNS + place / (PADDED * QUAD);
        if (unit >= units || i > features || of_row >= ROWS) return nullptr;
        return i < features ? W1 + integer(i) * units + unit : b1 + unit;
    };
    const auto inputs_of = [&](int step, int slice) {
        return shared.inputs + (step % 2 * most_slices + slice - first_slice) * samples * PADDED;
    };
    const auto begin_to_fetch_numbers = [&](int step) {
        if (step >= steps) return;
        integer* numbers = shared.numbers + step % 2 * samples;
#pragma unroll 1
        for (int n = thread; n < samples; n += THREADS)
            begin_copy<sizeof(integer)>(numbers + n, rows + step * samples + n);
    };
    // Of the bias and what pads the rows nothing changes: they are written once.
    const bool whole = features * sizeof(T) % 16 == 0 && reinterpret_cast<size_t>(x) % 16 == 0;
    const auto begin_to_fetch_inputs = [&](int step) {
        if (step >= steps) return;
        const integer* numbers = shared.numbers + step % 2 * samples;
#pragma unroll 1
        for (int of = 0; of < most_slices && of < own_slices; of++) {
            const int slice = first_slice + of, i = slice * ROWS + thread % ROW_QUADS * QUAD;
            Quad<T>* inputs = inputs_of(step, slice) + thread % ROW_QUADS;
#pragma unroll 1
            for (int first = 0; first < samples; first += THREADS / ROW_QUADS) {
                const int n = first + thread / ROW_QUADS;
                if (n >= samples) break;
                const T* from = x + numbers[n] * features + i;
                T* to = inputs[n * PADDED].values;
                if (whole && i + QUAD <= features) {
#pragma unroll
                    for (int f = 0; f < QUAD; f += 16 / sizeof(T)) begin_copy<16>(to + f, from + f);
                } else {
#pragma unroll 1
                    for (int f = 0; f < QUAD && i + f < features; f++)
                        begin_copy<sizeof(T)>(to + f, from + f);
                }
            }
        }
    };
    // Where an entry of W2, or of b2 behind it, is kept.
    const int entries = (units + 1) * outputs + 1; // and the loss
    const auto kept = [&](int entry) -> T* {
        const int unit = entry / outputs, k = entry % outputs;
        return unit < units ? shared.W2 + k * row_of_W2 + unit : shared.b2 + k;
    };

#pragma unroll 1
    for (int place = thread; place < own * TILE; place += THREADS) {
        const T* from = weight(place / TILE, place % TILE);
        shared.weights->values[place] = from ? *from : T(0);
    }
#pragma unroll 1
    for (int place = thread; place < outputs * row_of_W2; place += THREADS)
        shared.W2[place] = 0; // what pads them stays so
#pragma unroll 1
    for (int place = thread; place < 2 * most_slices * samples * PADDED; place += THREADS) {
        const int slice = first_slice + place / (samples * PADDED) % most_slices;
        const int i = slice * ROWS + place % PADDED * QUAD;
#pragma unroll
        for (int f = 0; f < QUAD; f++) shared.inputs[place].values[f] = i + f == features;
    }
    begin_to_fetch_numbers(0);
    begin_to_fetch_numbers(1);
    wait_for_copies();
    __syncthreads();
    begin_to_fetch_inputs(0);
    wait_for_copies();
    __syncthreads();

    for (int step = 0; step < steps; step++) {
        const T rate = rates ? rates[step] : learning_rate;

        // A, products of the samples with W1, of PRODUCT_ROWS samples and a pair of units each.
#pragma unroll 1
        for (int s = 0; s < most && s < own; s++) {
            const int slice = (first_tile + s) / across;
#pragma unroll 1
            for (int begin = 0; begin < samples; begin += WARPS / PAIRS * PRODUCT_ROWS) {
                const int of_tile = warp % PAIRS;
                const int pair = (first_tile + s) % across * PAIRS + of_tile;
                const int n = begin + warp / PAIRS * PRODUCT_ROWS + row;
                if (n - row >= samples || pair >= pairs) continue;
                // Each quarter has two quads of the rows.
                const Quad<T>* weights = shared.weights + s * TILE / QUAD
                    + (of_tile * UNITS + row) * PADDED + quarter * 2;
                // In place of a sample that there is none, any: its sum is not stored.
                const Quad<T>* inputs = inputs_of(step, slice) + quarter * 2;
                const Quad<T>* upper = inputs + (n < samples ? n : 0) * PADDED;
                const Quad<T>* lower = inputs + (n + 8 < samples ? n + 8 : 0) * PADDED;
                const Quad<T> a[2][2] = {{upper[0], upper[1]}, {lower[0], lower[1]}};
                const Quad<T> b[2] = {weights[0], weights[1]};
                Product<T> sums;
#pragma unroll
                for (int k = 0; k < 2 * QUAD; k += SLOTS<T>) {
                    T of_samples[2][SLOTS<T>], of_units[SLOTS<T>];
#pragma unroll
                    for (int i = 0; i < SLOTS<T>; i++) {
#pragma unroll
                        for (int r = 0; r < 2; r++)
                            of_samples[r][i] = a[r][(k + i) / QUAD].values[(k + i) % QUAD];
                        of_units[i] = b[(k + i) / QUAD].values[(k + i) % QUAD];
                    }
                    sums.add(of_samples, of_units);
                }
#pragma unroll
                for (int r = 0; r < 2; r++) {
                    const int sample = n + 8 * r;
                    T* to = (tile_sums + ((sample * pairs + pair) * slices + slice) * PAIR)->values;
                    const Vector2<T> sum = {sums(r, 0), sums(r, 1)};
                    if (sample < samples) *reinterpret_cast<Vector2<T>*>(to + 2 * quarter) = sum;
                }
            }
        }
        arrive(arrived);
        begin_to_fetch_inputs(step + 1);

        // In B the outputs have a lane each, of so many warps that go back to the hidden units, and
        // of one more that has the loss: their targets are on their way meanwhile.
        const int width = outputs > 16 ? 32 : outputs > 8 ? 16 : 8;
        const int k = lane % width, backs = (padded + WARP - 1) / WARP;
        const bool inside = k < outputs;
        const auto target = [&](int n) {
            const integer row = shared.numbers[step % 2 * samples + n];
            return inside ? target_of(labels, targets, row, k, outputs) : T(0);
        };
        T t = 0;
        if (warp <= backs && block < samples) t = target(block);
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
            // The hidden units: a warp has a pair of quads, two threads each of its slices.
            if (warp < pairs) {
                constexpr int MOST = sizeof(T) == 4 ? 4 : 2, EACH = WARP / PAIR;
                constexpr int AT_ONCE = AHEAD(MOST, (slices + EACH - 1) / EACH);
                const int begin = lane / PAIR;
                const Quad<T>* from =
                    tile_sums + ((n * pairs + warp) * slices + begin) * PAIR + lane % PAIR;
                T sums[QUAD] = {};
#pragma unroll 1
                for (int slice = 0; slice < slices; slice += AT_ONCE * EACH) {
                    Quad<T> values[AT_ONCE];
#pragma unroll
                    for (int m = 0; m < AT_ONCE; m++, from += WARP) {
                        const int left = slices - slice - m * EACH;
                        values[m] = zeros<T>();
                        if (left >= EACH || begin < left) values[m] = fresh(from);
                    }
#pragma unroll
                    for (int m = 0; m < AT_ONCE; m++)
#pragma unroll
                        for (int u = 0; u < QUAD; u++) sums[u] += values[m].values[u];
                }
                add_halves<QUAD>(sums, lane, 16);
                add_halves<QUAD / 2>(sums, lane, 8);
                const T pre = sum_over_lanes<2>(sums[0], 8);
                const int unit =
                    (warp * PAIR + lane % PAIR) * QUAD + lane / 16 * 2 + lane / 8 % 2;
                const T z = unit < units ? activate<T>(pre, activation) : T(0);
                if (!(lane & 6)) {
                    shared.z[unit] = z;
                    if (unit < units) z1[unit * samples + n] = z;
                }
            }
            if (n == block) keep_output_weights();
            __syncthreads();

            // The outputs, by each of these warps for itself.
            if (warp <= backs) {
                if (n != block) t = target(n);
                const Quad<T>* z = reinterpret_cast<const Quad<T>*>(shared.z);
                const int output = inside ? k : 0; // the rest do as the first, for nothing
                const Quad<T>* w = reinterpret_cast<const Quad<T>*>(shared.W2 + output * row_of_W2);
                Quad<T> sums = zeros<T>();
#pragma unroll
                for (int q = lane / width; q < quads; q += WARP / width)
#pragma unroll
                    for (int u = 0; u < QUAD; u++)
                        sums.values[u] += z[q].values[u] * w[q].values[u];
                T logit = (sums.values[0] + sums.values[1]) + (sums.values[2] + sums.values[3]);
                for (int bit = width; bit < WARP; bit *= 2) logit += of_lane_xor(logit, bit);
                logit += shared.b2[output];
                const auto highest_of = [&](T highest) {
#pragma unroll
                    for (int bit = width / 2; bit > 0; bit /= 2) {
                        const T other = of_lane_xor(highest, bit);
                        highest = other > highest ? other : highest;
                    }
                    return highest;
                };
                const auto total_of = [&](T e) {
                    return sum_over_lanes<1>(inside ? e : T(0), width);
                };
                const T y = output_of(logit, cross_entropy, highest_of, total_of);
                if (warp < backs) {
                    const T delta = delta_of(y, t, samples, cross_entropy);
                    const int unit = warp * WARP + lane;
                    T back = 0;
#pragma unroll
                    for (int other = 0; other < outputs; other++) {
                        const T one = of_lane(delta, other);
                        if (unit < units) back += one * shared.W2[other * row_of_W2 + unit];
                    }
                    if (unit < units) back *= derivative(shared.z[unit], activation);
                    // What pads the units is read like them.
                    T* to = delta1->values + n * padded + unit;
                    if (unit < padded) *to = unit < units ? back : T(0);
                    if (warp == 0 && lane < outputs) delta2[lane * samples + n] = delta;
                } else {
                    const T loss = total_of(inside ? loss_of(y, t, cross_entropy) : T(0));
                    if (lane == 0) shares[n] = loss;
                }
            }
            if (n + grid < samples) __syncthreads(); // before another sample's hidden units
        }
        arrive(arrived);
        begin_to_fetch_numbers(step + 2);
        wait(arrived, ++round * grid);

        // C
        // The entries of W2 and b2, and the loss, go round the blocks that have no tile, or round
        // all if there is none: ENTRY threads each.
        const int helpers = grid > owners ? grid - owners : grid;
        const int helper = grid > owners ? block - owners : block;
#pragma unroll 1
        for (int begin = helper + helpers * (WARPS - 1 - warp) * 2; helper >= 0 && begin < entries;
             begin += helpers * WARPS * 2) {
            constexpr int MOST = sizeof(T) == 4 ? 8 : 4;
            constexpr int AT_ONCE = AHEAD(MOST, (samples + ENTRY - 1) / ENTRY);
            const int i = lane % ENTRY, entry = begin + helpers * (lane / ENTRY);
            const int unit = entry / outputs, k = entry % outputs;
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
            sum = sum_over_lanes<1>(sum, ENTRY);
            if (i == 0 && entry < entries) {
                if (unit > units)
                    losses[step] = cross_entropy ? sum / T(samples) : sum;
                else
                    (unit < units ? W2[entry] : b2[k]) = *kept(entry) - rate * sum;
            }
        }
        // Products of the deltas with the samples, whose rows are the even units of a tile before
        // the odd ones. Each warp of a group has two: the even and the odd ones of 16 rows of W1.
#pragma unroll 1
        for (int s = 0; s < most && s < own; s++) {
            constexpr int SOME = 4 * SLOTS<T>, MOST = sizeof(T) == 4 ? 2 : 4;
            constexpr int AT_ONCE = AHEAD(MOST, (samples + GROUPS * SOME - 1) / (GROUPS * SOME));
            const int of_tile = warp % 2 * ROWS / 2, slice = (first_tile + s) / across;
            const int unit = (first_tile + s) % across * COLUMNS + 2 * row;
            const T* inputs = inputs_of(step, slice)->values + of_tile + 2 * row;
            const Vector2<T>* deltas = reinterpret_cast<const Vector2<T>*>(delta1->values + unit);
            Product<T> sums[2];
#pragma unroll 1
            for (int first = 0; first < samples; first += AT_ONCE * GROUPS * SOME) {
                Vector2<T> d[AT_ONCE][SLOTS<T>];
                const int begin = first + warp / 2 * SOME + quarter * SLOTS<T>;
#pragma unroll
                for (int m = 0; m < AT_ONCE; m++)
#pragma unroll
                    for (int i = 0; i < SLOTS<T>; i++) {
                        const int n = begin + m * GROUPS * SOME + i;
                        d[m][i] = {0, 0};
                        if (n < samples && unit < padded) d[m][i] = fresh(deltas + n * padded / 2);
                    }
#pragma unroll
                for (int m = 0; m < AT_ONCE; m++) {
                    T of_units[2][SLOTS<T>], of_rows[2][SLOTS<T>];
#pragma unroll
                    for (int i = 0; i < SLOTS<T>; i++) {
                        const int n = begin + m * GROUPS * SOME + i;
                        const Vector2<T> input = *reinterpret_cast<const Vector2<T>*>(
                            inputs + (n < samples ? n : 0) * PADDED * QUAD
                        );
#pragma unroll
                        for (int j = 0; j < 2; j++) {
                            of_units[j][i] = d[m][i].values[j];
                            of_rows[j][i] = input.values[j];
                        }
                    }
#pragma unroll
                    for (int j = 0; j < 2; j++) sums[j].add(of_units, of_rows[j]);
                }
            }
            Quad<T>* partial = shared.partial + warp / 2 * TILE / QUAD + of_tile / QUAD + quarter;
#pragma unroll
            for (int r = 0; r < 2; r++)
                partial[(2 * row + r) * PADDED] = {
                    sums[0](r, 0), sums[1](r, 0), sums[0](r, 1), sums[1](r, 1)
                };
            __syncthreads();
            const int place = thread / ROWS * PADDED * QUAD + thread % ROWS;
            T sum = 0;
#pragma unroll
            for (int group = 0; group < GROUPS; group++)
                sum += shared.partial->values[group * TILE + place];
            shared.weights->values[s * TILE + place] -= rate * sum;
            __syncthreads();
        }
    }

#pragma unroll 1
    for (int place = thread; place < own * TILE; place += THREADS)
        if (T* to = weight(place / TILE, place % TILE)) *to = shared.weights->values[place];
}
