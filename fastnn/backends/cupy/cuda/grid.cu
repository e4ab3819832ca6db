// What blocks that are on the GPU at the same time, and threads of a warp, tell one another.

constexpr int WARP = 32;
constexpr int QUAD = 4;

// Four values that are loaded and stored as one: what takes the time is the way to shared memory,
// and to the second-level cache.
template <class T> struct alignas(16) Quad {
    T values[QUAD];
};

// And two.
template <class T> struct alignas(2 * sizeof(T)) Vector2 {
    T values[2];
};

// `= {}` would load them, of such a type.
template <class T> __device__ Quad<T> zeros() {
    Quad<T> quad;
#pragma unroll
    for (int i = 0; i < QUAD; i++) quad.values[i] = 0;
    return quad;
}

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

__device__ inline Vector2<float> fresh(const Vector2<float>* place) {
    const float2 v = __ldcg(reinterpret_cast<const float2*>(place));
    return {v.x, v.y};
}

__device__ inline Vector2<double> fresh(const Vector2<double>* place) {
    const double2 v = __ldcg(reinterpret_cast<const double2*>(place));
    return {v.x, v.y};
}

__device__ inline Quad<float> fresh(const Quad<float>* place) {
    const float4 v = __ldcg(reinterpret_cast<const float4*>(place));
    return {v.x, v.y, v.z, v.w};
}

__device__ inline Quad<double> fresh(const Quad<double>* place) {
    const double2* pair = reinterpret_cast<const double2*>(place);
    const double2 v = __ldcg(pair), w = __ldcg(pair + 1);
    return {v.x, v.y, w.x, w.y};
}

// Begin to copy 4, 8 or 16 bytes from memory that nobody writes to shared memory: they are there
// for this thread once it has waited, and for others from the next barrier on.
template <int BYTES> __device__ void begin_copy(void* to, const void* from) {
    const unsigned place = unsigned(__cvta_generic_to_shared(to));
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(place), "l"(from), "n"(BYTES)
                 : "memory");
}

__device__ inline void wait_for_copies() {
    asm volatile("cp.async.wait_all;" ::: "memory");
}

// The value of the thread of this warp whose number differs in these bits, or that has this number,
// by all its threads.
template <class T> __device__ T of_lane_xor(T value, int bits) {
    return __shfl_xor_sync(0xffffffff, value, bits);
}

template <class T> __device__ T of_lane(T value, int lane) {
    return __shfl_sync(0xffffffff, value, lane);
}

__device__ inline char* shared_memory() {
    extern __shared__ __align__(16) char all_shared_memory[];
    return all_shared_memory;
}
#endif

// The two halves of a barrier of all blocks, between which each may do what concerns no other. What
// a block has begun to copy is there for all its threads after the first. It is the last warp that
// looks: the others have loads on their way, which it would wait for.
__device__ inline bool looks() { return thread_number() == block_size() - WARP; }

__device__ inline void arrive(unsigned* arrived) {
    wait_for_copies();
    __syncthreads();
    if (looks()) add_arrival(arrived);
}

__device__ inline void wait(const unsigned* arrived, unsigned number) {
    if (looks()) {
        while (int(look_at(arrived) - number) < 0) {}
        arrivals(arrived);
    }
    __syncthreads();
}

// The sum of the values of all threads of a warp whose numbers differ in bits from LOWEST up to
// below `end`, powers of two.
template <int LOWEST, class T> __device__ T sum_over_lanes(T value, int end) {
#pragma unroll
    for (int bit = end / 2; bit >= LOWEST; bit /= 2) value += of_lane_xor(value, bit);
    return value;
}

// Of as many values of two threads whose numbers differ in a bit, the sums of one half for the
// thread without it, and of the other half for the other: the first COUNT / 2 of `values`.
template <int COUNT, class T> __device__ void add_halves(T* values, int lane, int bit) {
    const bool upper = lane & bit;
#pragma unroll
    for (int i = 0; i < COUNT / 2; i++) {
        const T given = upper ? values[i] : values[i + COUNT / 2];
        values[i] = (upper ? values[i + COUNT / 2] : values[i]) + of_lane_xor(given, bit);
    }
}
