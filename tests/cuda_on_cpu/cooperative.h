// What a cooperative kernel takes for granted beyond cuda.h, which this follows: blocks that are
// there at the same time and wait for one another.
//
// Each block is a thread of the system, and its threads are fibres in it, as in cuda.h. What the
// blocks share they share as blocks of a GPU do: a write is there for others from the barrier on
// that the kernel makes of arrivals, and not before, but for what the machine's caches do.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <sched.h>
#include <sys/mman.h>
#include <thread>
#include <vector>

namespace cuda_on_cpu {

constexpr int MISSING_BLOCKS = 5, OUT_OF_BOUNDS = 6; // faults
constexpr unsigned char UNINITIALISED = 0xff, GUARD = 0xa5;
constexpr size_t GUARDED = 4096;

// The blocks of the launch under way have to end, because one of them failed.
static std::atomic<bool> given_up;

struct Block {
    dim3 index, thread;
    int threads, turn, current;
    bool backwards;
    jmp_buf end_of_round;
    ucontext_t starter;
    std::vector<Fibre> fibres;
    char* stacks;
    std::unique_ptr<char[]> memory; // shared, with a guard behind it
    size_t bytes;
    void (*body)(void*);
    void* arguments;
    int fault;
};

static thread_local Block* mine;

static void next_fibre(Block& block) {
    if (block.turn == block.threads) _longjmp(block.end_of_round, 1);
    block.current = block.backwards ? block.threads - 1 - block.turn : block.turn;
    block.turn++;
    const unsigned number = block.current;
    block.thread = {number % blockDim.x, number / blockDim.x % blockDim.y, number / blockDim.x / blockDim.y};
    _longjmp(block.fibres[number].place, 1);
}

__attribute__((noinline)) static void block_barrier(int line) {
    Block& block = *mine;
    block.fibres[block.current].stopped_at = line;
    if (!_setjmp(block.fibres[block.current].place)) next_fibre(block);
}

static void live_once() {
    block_barrier(FINISHED);
    mine->body(mine->arguments);
    block_barrier(FINISHED);
}

__attribute__((noinline)) static void start_fibre(Block& block, int number) {
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = block.stacks + number * STACK;
    context.uc_stack.ss_size = STACK;
    makecontext(&context, live_once, 0);
    block.current = number;
    block.turn = block.threads; // so that its first barrier comes back here
    if (!_setjmp(block.end_of_round)) swapcontext(&block.starter, &context);
}

__attribute__((noinline)) static int rounds(Block& block) {
    do {
        block.turn = 0;
        if (!_setjmp(block.end_of_round)) next_fibre(block);
        if (given_up) return NONE;
        for (int number = 1; number < block.threads; number++)
            if (block.fibres[number].stopped_at != block.fibres[0].stopped_at) return BARRIER_NOT_REACHED_BY_ALL;
        block.backwards = !block.backwards;
    } while (block.fibres[0].stopped_at != FINISHED);
    return NONE;
}

static void run_alone(Block& block) {
    mine = &block;
    const size_t size = block.threads * STACK;
    block.stacks = static_cast<char*>(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (block.stacks == MAP_FAILED) block.fault = MISSING_BLOCKS;
    for (int number = 0; !block.fault && number < block.threads; number++) start_fibre(block, number);
    if (!block.fault) block.fault = rounds(block);
    for (size_t place = 0; place < GUARDED; place++)
        if ((unsigned char)block.memory[block.bytes + place] != GUARD) block.fault = OUT_OF_BOUNDS;
    if (block.fault) given_up = true;
    if (block.stacks != MAP_FAILED) munmap(block.stacks, size);
}

// As cuLaunchCooperativeKernel.
template <class... T>
int launch_cooperative(
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
    for (Block& one : all) threads.emplace_back([&one] { run_alone(one); });
    for (std::thread& thread : threads) thread.join();
    for (Block& one : all)
        if (one.fault) return one.fault;
    return NONE;
}

} // namespace cuda_on_cpu

#define threadIdx (cuda_on_cpu::mine->thread)
#define blockIdx (cuda_on_cpu::mine->index)
#undef __syncthreads
#define __syncthreads() cuda_on_cpu::block_barrier(__LINE__)

// What kernels/cooperative.cu has of PTX on a GPU.
static void add_arrival(unsigned* arrived) { __atomic_fetch_add(arrived, 1u, __ATOMIC_RELEASE); }

static unsigned arrivals(const unsigned* arrived) {
    cuda_on_cpu::Block& block = *cuda_on_cpu::mine;
    if (cuda_on_cpu::given_up) _longjmp(block.end_of_round, 1);
    sched_yield(); // there are more blocks than processors
    return __atomic_load_n(arrived, __ATOMIC_ACQUIRE);
}

template <class T> static T fresh(const T* place) { return *place; }

static char* shared_memory() { return cuda_on_cpu::mine->memory.get(); }
