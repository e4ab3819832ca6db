// What the model of the GPU assumes, by itself: a kernel that does nothing, and barriers of all blocks.
// It follows cooperative.cu, whose functions these are.

extern "C" __global__ void nothing() {}

// One counter that all blocks add to, by the first thread of each.
template <class Arrive, class Wait>
__device__ void meet(unsigned* arrived, int rounds, Arrive arrive, Wait wait) {
    for (int round = 1; round <= rounds; round++) {
        __syncthreads();
        if (threadIdx.x == 0) {
            arrive(arrived);
            wait(arrived, round * gridDim.x);
        }
        __syncthreads();
    }
}

__device__ inline void look_until(const unsigned* arrived, unsigned number) {
    while (int(look_at(arrived) - number) < 0) {}
}

// Each look acquires.
extern "C" __global__ void __launch_bounds__(512, 1) counter(unsigned* arrived, int rounds) {
    meet(arrived, rounds, add_arrival, [](const unsigned* arrived, unsigned number) {
        while (int(arrivals(arrived) - number) < 0) {}
    });
}

// None does until it has been seen.
extern "C" __global__ void __launch_bounds__(512, 1) looking(unsigned* arrived, int rounds) {
    meet(arrived, rounds, add_arrival, [](const unsigned* arrived, unsigned number) {
        look_until(arrived, number);
        arrivals(arrived);
    });
}

// And without any order of memory: what order costs.
extern "C" __global__ void __launch_bounds__(512, 1) unordered(unsigned* arrived, int rounds) {
    const auto add = [](unsigned* arrived) {
        asm volatile("red.relaxed.gpu.global.add.u32 [%0], 1;" ::"l"(arrived) : "memory");
    };
    meet(arrived, rounds, add, look_until);
}

// Ten counters, each watched by a thread of one warp.
extern "C" __global__ void __launch_bounds__(512, 1) several(unsigned* arrived, int rounds) {
    constexpr int COUNTERS = 10;
    const int own = blockIdx.x % COUNTERS, t = threadIdx.x;
    const unsigned members = (gridDim.x - t % COUNTERS + COUNTERS - 1) / COUNTERS;
    for (int round = 1; round <= rounds; round++) {
        __syncthreads();
        if (t == 0) add_arrival(arrived + own * 64);
        if (t < COUNTERS)
            while (int(arrivals(arrived + t * 64) - round * members) < 0) {}
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
            while (int(arrivals(arrived + blockIdx.x * 128 + threadIdx.x) - round) < 0) {}
        }
        __syncthreads();
    }
}

// The latency of a value in the second-level cache: each load waits for the one before it.
extern "C" __global__ void chase(unsigned* places, int rounds) {
    unsigned place = 0;
    for (int round = 0; round < rounds; round++) place = fresh(places + place);
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
            add_arrival(arrived);
            while (int(arrivals(arrived) - round * (gridDim.x / 8)) < 0) {}
        }
        asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
        asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
    }
#endif
}
