// What the model of the GPU assumes, by itself: a kernel that does nothing, and barriers of all blocks.

extern "C" __global__ void nothing() {}

__device__ inline unsigned acquired(const unsigned* place) {
    unsigned seen;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(place) : "memory");
    return seen;
}

// One counter that all blocks add to.
extern "C" __global__ void __launch_bounds__(512, 1) counter(unsigned* arrived, int rounds) {
    for (int round = 1; round <= rounds; round++) {
        __syncthreads();
        if (threadIdx.x == 0) {
            asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(arrived) : "memory");
            while (int(acquired(arrived) - round * gridDim.x) < 0) {}
        }
        __syncthreads();
    }
}

__device__ inline unsigned relaxed(const unsigned* place) {
    unsigned seen;
    asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(place) : "memory");
    return seen;
}

// The same, which looks without acquiring until it has seen.
extern "C" __global__ void __launch_bounds__(512, 1) looking(unsigned* arrived, int rounds) {
    for (int round = 1; round <= rounds; round++) {
        __syncthreads();
        if (threadIdx.x == 0) {
            asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(arrived) : "memory");
            while (int(relaxed(arrived) - round * gridDim.x) < 0) {}
            acquired(arrived);
        }
        __syncthreads();
    }
}

// And without any order of memory: what order costs.
extern "C" __global__ void __launch_bounds__(512, 1) unordered(unsigned* arrived, int rounds) {
    for (int round = 1; round <= rounds; round++) {
        __syncthreads();
        if (threadIdx.x == 0) {
            asm volatile("red.relaxed.gpu.global.add.u32 [%0], 1;" ::"l"(arrived) : "memory");
            while (int(relaxed(arrived) - round * gridDim.x) < 0) {}
        }
        __syncthreads();
    }
}

// Ten counters, each watched by a thread of one warp.
extern "C" __global__ void __launch_bounds__(512, 1) several(unsigned* arrived, int rounds) {
    constexpr int COUNTERS = 10;
    const int own = blockIdx.x % COUNTERS, t = threadIdx.x;
    const unsigned members = (gridDim.x - t % COUNTERS + COUNTERS - 1) / COUNTERS;
    for (int round = 1; round <= rounds; round++) {
        __syncthreads();
        if (t == 0)
            asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(arrived + own * 64)
                         : "memory");
        if (t < COUNTERS)
            while (int(acquired(arrived + t * 64) - round * members) < 0) {}
        __syncthreads();
    }
}

// Each block has flags of its own, one from each block, that nobody else looks at.
extern "C" __global__ void __launch_bounds__(512, 1) mail(unsigned* arrived, int rounds) {
    for (int round = 1; round <= rounds; round++) {
        __syncthreads();
        if (threadIdx.x < gridDim.x) {
            asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(
                             arrived + threadIdx.x * 128 + blockIdx.x
                         ),
                         "r"(round)
                         : "memory");
            while (int(acquired(arrived + blockIdx.x * 128 + threadIdx.x) - round) < 0) {}
        }
        __syncthreads();
    }
}

// The latency of a value in the second-level cache: each load waits for the one before it.
extern "C" __global__ void chase(unsigned* places, int rounds) {
    unsigned place = 0;
    for (int round = 0; round < rounds; round++) place = __ldcg(places + place);
    if (place == 0xffffffff) places[0] = 0;
}

// Blocks of a cluster meet first, and one of them goes for all.
extern "C" __global__ void
#if __CUDA_ARCH__ >= 900
    __cluster_dims__(8, 1, 1)
#endif
    __launch_bounds__(512, 1) clusters(unsigned* arrived, int rounds) {
#if __CUDA_ARCH__ >= 900
    for (int round = 1; round <= rounds; round++) {
        asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
        asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
        if (blockIdx.x % 8 == 0 && threadIdx.x == 0) {
            asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(arrived) : "memory");
            while (int(acquired(arrived) - round * (gridDim.x / 8)) < 0) {}
        }
        asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
        asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
    }
#endif
}
