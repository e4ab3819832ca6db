// What a cooperative kernel takes for granted beyond cuda.h, which this follows: blocks that are
// there at the same time and wait for one another, and threads of a warp that exchange values.
//
// Each block is a thread of the system, and its threads are fibres in it, as in cuda.h. What the
// blocks share they share as blocks of a GPU do: a write is there for others from the barrier on
// that the kernel makes of arrivals, and not before, but for what the machine's caches do.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <sched.h>
#include <sys/mman.h>
#include <thread>
#include <vector>

NOT_WATCHED static unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

NOT_WATCHED static float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof bits);
    return value;
}

namespace cuda_on_cpu {

constexpr int MISSING_BLOCKS = 5, OUT_OF_BOUNDS = 6; // faults
constexpr unsigned char UNINITIALISED = 0xff, GUARD = 0xa5;
constexpr size_t GUARDED = 4096;

// The blocks of the launch under way have to end, because one of them failed.
static bool given_up; // by atomic accesses alone

// What a thread has begun to copy.
struct Copies {
    struct Copy {
        void* to;
        const void* from;
        int bytes;
    }* all;
    int number, room;
};

struct Block {
    dim3 index, thread;
    int threads, turn, current;
    bool backwards;
    jmp_buf end_of_round;
    ucontext_t starter;
    std::vector<Fibre> fibres;
    char* stacks;
    bool ready[MOST_THREADS];           // of each fibre, whether its turn comes in this round
    double exchanged[2][MOST_THREADS];  // of each thread, what it gives to others of its warp
    double matrices[2][MOST_THREADS][6]; // and what of the matrices that its warp multiplies
    bool exchange[MOST_THREADS];        // and in which of the two it did so last
    Copies copies[MOST_THREADS];
    std::unique_ptr<char[]> memory; // shared, with a guard behind it
    size_t bytes;
    void (*body)(void*);
    void* arguments;
    int fault;
};

static thread_local Block* mine;

#ifdef RACES
// What the blocks of the whole grid have arrived for, as far as this one has seen: its threads know
// from their next barrier on.
static thread_local uint32_t seen_arrivals;

NOT_WATCHED static void begin_cooperative_block(Block& block, int number) {
    races::here = {false, number};
    races::here.shared_memory = races::range(block.memory.get(), block.bytes);
    races::here.own[0] = races::range(&builtins);
    races::here.own[1] = races::range(block.stacks, block.threads * STACK);
    races::here.own[2] = races::range(&block);
    races::here.own[3] = races::range(&mine);
    seen_arrivals = 0;
    races::here.watched = true;
}
NOT_WATCHED static void begin_cooperative_interval() {
    begin_interval();
    races::here.waits = seen_arrivals;
}
NOT_WATCHED static void in_threads(bool begin) { races::concurrent = begin; }
NOT_WATCHED static void arriving() { races::here.arrivals++; }
NOT_WATCHED static void have_arrived(unsigned blocks) { seen_arrivals = blocks / (gridDim.x * gridDim.y * gridDim.z); }
#else
static void begin_cooperative_block(Block&, int) {}
static void begin_cooperative_interval() {}
static void in_threads(bool) {}
static void arriving() {}
static void have_arrived(unsigned) {}
#endif

// In place of the number of a barrier: all those of the grid, and where a warp exchanges values.
constexpr int GRID = -1, EXCHANGE = -2, WARP_SIZE = 32;

NOT_WATCHED static void next_fibre(Block& block) {
    do {
        if (block.turn == block.threads) _longjmp(block.end_of_round, 1);
        block.current = block.backwards ? block.threads - 1 - block.turn : block.turn;
        block.turn++;
    } while (!block.ready[block.current]);
    const unsigned number = block.current;
    begin_turn(number);
    block.thread = {number % blockDim.x, number / blockDim.x % blockDim.y, number / blockDim.x / blockDim.y};
    _longjmp(block.fibres[number].place, 1);
}

__attribute__((noinline)) NOT_WATCHED static void block_barrier(int number) {
    if (removed(number)) return;
    Block& block = *mine;
    block.fibres[block.current].stopped_at = number;
    if (!_setjmp(block.fibres[block.current].place)) next_fibre(block);
}

NOT_WATCHED static void live_once() {
    block_barrier(FINISHED);
    mine->body(mine->arguments);
    block_barrier(FINISHED);
}

__attribute__((noinline)) NOT_WATCHED static void start_fibre(Block& block, int number) {
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = block.stacks + number * STACK;
    context.uc_stack.ss_size = STACK;
    makecontext(&context, live_once, 0);
    block.current = number;
    block.turn = block.threads; // so that its first barrier comes back here
    if (!_setjmp(block.end_of_round)) swapcontext(&block.starter, &context);
}

// The value of the thread of this warp that has this number. The other place is for the next
// exchange, which a thread may come to before another has had its value of this one.
template <class T> __attribute__((noinline)) NOT_WATCHED static T exchange(T value, int lane) {
    Block& block = *mine;
    const int number = block.current;
    double* values = block.exchanged[block.exchange[number] ^= true];
    values[number] = value;
    block.fibres[number].stopped_at = EXCHANGE;
    if (!_setjmp(block.fibres[number].place)) next_fibre(block);
    return T(values[mine->current / WARP_SIZE * WARP_SIZE + lane]);
}

// As the processor for matrices does, which leaves out what a float has beyond 19 bits.
NOT_WATCHED static double factor(double value) { return value; }
NOT_WATCHED static float factor(float value) { return __uint_as_float(__float_as_uint(value) & 0xffffe000); }

// What matrix.cu says of the product of two matrices, in the same way.
template <class T, int SLOTS>
__attribute__((noinline)) NOT_WATCHED static void multiply_add(T (&c)[2][2], const T (&a)[2][SLOTS], const T (&b)[SLOTS]) {
    Block& block = *mine;
    const int number = block.current;
    double(*values)[6] = block.matrices[block.exchange[number] ^= true];
    for (int s = 0; s < SLOTS; s++) {
        for (int r = 0; r < 2; r++) values[number][2 * r + s] = factor(a[r][s]);
        values[number][4 + s] = factor(b[s]);
    }
    block.fibres[number].stopped_at = EXCHANGE;
    if (!_setjmp(block.fibres[number].place)) next_fibre(block);
    const int lane = mine->current % WARP_SIZE;
    const double(*warp)[6] = values + (mine->current - lane);
    for (int r = 0; r < 2; r++)
        for (int j = 0; j < 2; j++)
            for (int k = 0; k < 4 * SLOTS; k++)
                c[r][j] += T(warp[lane / 4 * 4 + k % 4][2 * r + k / 4]) * T(warp[(lane % 4 * 2 + j) * 4 + k % 4][4 + k / 4]);
}

// Let the warps go on all threads of which have given a value; whether there are any.
NOT_WATCHED static bool let_warps_go_on(Block& block) {
    bool any = false;
    for (int first = 0; first < block.threads; first += WARP_SIZE) {
        bool all = first + WARP_SIZE <= block.threads;
        for (int lane = 0; all && lane < WARP_SIZE; lane++) all = block.fibres[first + lane].stopped_at == EXCHANGE;
        for (int number = first; number < first + WARP_SIZE && number < block.threads; number++) block.ready[number] = all;
        any |= all;
    }
    return any;
}

__attribute__((noinline)) NOT_WATCHED static int rounds(Block& block) {
    do {
        begin_cooperative_interval();
        for (int number = 0; number < block.threads; number++) block.ready[number] = true;
        do {
            block.turn = 0;
            if (!_setjmp(block.end_of_round)) next_fibre(block);
            if (__atomic_load_n(&given_up, __ATOMIC_RELAXED)) return NONE;
        } while (let_warps_go_on(block));
        for (int number = 1; number < block.threads; number++)
            if (block.fibres[number].stopped_at != block.fibres[0].stopped_at) return BARRIER_NOT_REACHED_BY_ALL;
        block.backwards = !block.backwards;
    } while (block.fibres[0].stopped_at != FINISHED);
    return NONE;
}

NOT_WATCHED static void run_alone(Block& block, int number) {
    mine = &block;
    const size_t size = block.threads * STACK;
    block.stacks = static_cast<char*>(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (block.stacks == MAP_FAILED) block.fault = MISSING_BLOCKS;
    for (int number = 0; !block.fault && number < block.threads; number++) start_fibre(block, number);
    begin_cooperative_block(block, number);
    if (!block.fault) block.fault = rounds(block);
    end_launch();
    for (size_t place = 0; place < GUARDED; place++)
        if ((unsigned char)block.memory[block.bytes + place] != GUARD) block.fault = OUT_OF_BOUNDS;
    if (block.fault) __atomic_store_n(&given_up, true, __ATOMIC_RELAXED);
    if (block.stacks != MAP_FAILED) munmap(block.stacks, size);
}

// As cuLaunchCooperativeKernel.
template <class... T>
NOT_WATCHED int launch_cooperative(
    void (*kernel)(T...), const unsigned grid[3], const unsigned block[3], void** pointers, unsigned shared_bytes
) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    const size_t size = size_t(block[0]) * block[1] * block[2], count = size_t(grid[0]) * grid[1] * grid[2];
    if (size > MOST_THREADS || block[2] > 64) return TOO_MANY_THREADS;
    if (size == 0 || count == 0) return EMPTY_GRID;
    Call<T...> call{kernel, pointers};
    given_up = false;
    std::vector<Block> all(count);
    std::vector<std::thread> threads;
    for (size_t number = 0; number < count; number++) {
        Block& one = all[number];
        one.index = {unsigned(number % grid[0]), unsigned(number / grid[0] % grid[1]), unsigned(number / grid[0] / grid[1])};
        one.threads = int(size);
        one.backwards = number % 2;
        one.fibres.resize(size);
        one.bytes = shared_bytes;
        one.memory.reset(new char[shared_bytes + GUARDED]);
        memset(one.memory.get(), UNINITIALISED, shared_bytes);
        memset(one.memory.get() + shared_bytes, GUARD, GUARDED);
        one.body = run_call<T...>;
        one.arguments = &call;
        one.fault = NONE;
    }
    in_threads(true);
    for (size_t number = 0; number < count; number++) threads.emplace_back(run_alone, std::ref(all[number]), int(number));
    for (std::thread& thread : threads) thread.join();
    in_threads(false);
    for (Block& one : all)
        for (Copies& copies : one.copies) free(copies.all);
    for (Block& one : all)
        if (one.fault) return one.fault;
    return NONE;
}

} // namespace cuda_on_cpu

#define threadIdx (cuda_on_cpu::mine->thread)
#define blockIdx (cuda_on_cpu::mine->index)
#undef __syncthreads
#define __syncthreads() cuda_on_cpu::block_barrier(BARRIER_NUMBER)

// What kernels/cooperative.cu has of PTX on a GPU.
NOT_WATCHED static void add_arrival(unsigned* arrived) {
    cuda_on_cpu::arriving();
    __atomic_fetch_add(arrived, 1u, __ATOMIC_RELEASE);
}

NOT_WATCHED static unsigned arrivals(const unsigned* arrived) {
    cuda_on_cpu::Block& block = *cuda_on_cpu::mine;
    if (__atomic_load_n(&cuda_on_cpu::given_up, __ATOMIC_RELAXED)) _longjmp(block.end_of_round, 1);
    sched_yield(); // there are more blocks than processors
    if (cuda_on_cpu::removed(cuda_on_cpu::GRID)) return ~0u >> 1; // as if all had arrived
    const unsigned seen = __atomic_load_n(arrived, __ATOMIC_ACQUIRE);
    cuda_on_cpu::have_arrived(seen);
    return seen;
}

NOT_WATCHED static unsigned look_at(const unsigned* arrived) { return arrivals(arrived); }

template <class T> static T fresh(const T* place) { return *place; }

template <class T> NOT_WATCHED static T of_lane(T value, int lane) { return cuda_on_cpu::exchange(value, lane); }

template <class T> NOT_WATCHED static T of_lane_xor(T value, int bits) {
    return of_lane(value, cuda_on_cpu::mine->current % cuda_on_cpu::WARP_SIZE ^ bits);
}

using cuda_on_cpu::multiply_add;

// What a thread copies in the meantime is there when it waits for it, and no sooner.
template <int BYTES> NOT_WATCHED static void begin_copy(void* to, const void* from) {
    cuda_on_cpu::Copies& copies = cuda_on_cpu::mine->copies[cuda_on_cpu::mine->current];
    if (copies.number == copies.room) {
        copies.room = 2 * copies.room + 16;
        copies.all = static_cast<cuda_on_cpu::Copies::Copy*>(realloc(copies.all, copies.room * sizeof *copies.all));
    }
    copies.all[copies.number++] = {to, from, BYTES};
}

__attribute__((noinline)) static void copy_word(unsigned* to, const unsigned* from) { *to = *from; }

NOT_WATCHED static void wait_for_copies() {
    cuda_on_cpu::Copies& copies = cuda_on_cpu::mine->copies[cuda_on_cpu::mine->current];
    for (; copies.number; copies.number--) {
        const cuda_on_cpu::Copies::Copy& copy = copies.all[copies.number - 1];
        for (int i = 0; i < copy.bytes / 4; i++)
            copy_word(static_cast<unsigned*>(copy.to) + i, static_cast<const unsigned*>(copy.from) + i);
    }
}

NOT_WATCHED static char* shared_memory() { return cuda_on_cpu::mine->memory.get(); }
