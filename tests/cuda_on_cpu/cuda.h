// What a CUDA kernel takes for granted, for a C++ compiler: its built-in variables, shared memory,
// barriers and a way to launch it.
//
// The blocks of a grid run one after the other. Within a block every thread is a fibre with a stack
// of its own, which runs until it reaches a barrier or its end; then the next one does. Every other
// round goes through the threads backwards, and every other block begins with such a round, so that
// a result that depends on the order of the threads between two barriers does not pass for right.
// With -DRACES it tells the race detector where each thread is.
#pragma once

#include <cstddef>
#include <math.h>
#include <setjmp.h>
#include <type_traits>
#include <ucontext.h>
#include <utility>

#ifdef RACES
#include "races.h"
#else
#define NOT_WATCHED
#endif

struct dim3 {
    unsigned x, y, z;
};

static struct Builtins {
    dim3 threadIdx, blockIdx, blockDim, gridDim;
} builtins;

#define threadIdx builtins.threadIdx
#define blockIdx builtins.blockIdx
#define blockDim builtins.blockDim
#define gridDim builtins.gridDim

#define __global__ static
#define __device__
#define __shared__ static // by all threads of a block; the blocks follow each other
#define __launch_bounds__(...)
// The number of a barrier is its place in the source, from 1 on: one macro counts them all.
#define BARRIER_NUMBER (__COUNTER__ - cuda_on_cpu::FIRST_NUMBER)
#define __syncthreads() cuda_on_cpu::barrier(BARRIER_NUMBER)

namespace cuda_on_cpu {

constexpr int FIRST_NUMBER = __COUNTER__;
constexpr int MOST_THREADS = 1024;
// No power of two, which would give all stacks the same few lines of the cache.
constexpr size_t STACK = 32 * 1024 + 5 * 64;

// How a launch can fail, as the CUDA runtime would report or, worse, not report.
enum Fault { NONE, TOO_MANY_THREADS, EMPTY_GRID, TOO_MANY_BLOCKS, BARRIER_NOT_REACHED_BY_ALL };

constexpr int FINISHED = 0; // in place of the number of a barrier

struct Fibre {
    jmp_buf place;
    int stopped_at;
};

static Fibre fibres[MOST_THREADS];
static char stacks[MOST_THREADS][STACK];
static int started = 0;                          // fibres that there are
static int threads = 0, turn = 0, current;       // of the block; whose turn is next; whose it was
static unsigned blocks = 0;                      // run so far
static bool backwards;                           // whether this round begins with the last thread
static jmp_buf end_of_round;
static ucontext_t starter;
static void (*body)(void*);
static void* arguments;

#ifdef RACES
extern "C" {
// The linker's: where the data begin that are zero at first, and where they end. Shared memory is
// among them, and nothing else that kernels access but the built-in variables.
extern __attribute__((visibility("hidden"))) char __bss_start, _end;
}

NOT_WATCHED static void begin_launch() {
    races::here = {true};
    races::here.shared_memory = races::range(&__bss_start, &_end - &__bss_start);
    races::here.own[0] = races::range(&builtins);
    races::here.own[1] = races::range(stacks, MOST_THREADS);
}
NOT_WATCHED static void end_launch() { races::here.watched = false; }
NOT_WATCHED static void begin_block(int number) {
    races::here.block = number;
    races::here.block_interval = 0;
}
NOT_WATCHED static void begin_interval() { races::here.block_interval++; }
NOT_WATCHED static void begin_turn(int thread) { races::here.thread = thread; }
NOT_WATCHED static bool removed(int number) { return races::removed(number); }
#else
static void begin_launch() {}
static void end_launch() {}
static void begin_block(int) {}
static void begin_interval() {}
static void begin_turn(int) {}
static bool removed(int) { return false; }
#endif

// Go on with the next thread of this round; after the last one, with the next round.
NOT_WATCHED static void pass_on() {
    if (turn == threads) _longjmp(end_of_round, 1);
    current = backwards ? threads - 1 - turn : turn;
    turn++;
    begin_turn(current);
    threadIdx = {current % blockDim.x, current / blockDim.x % blockDim.y, current / blockDim.x / blockDim.y};
    _longjmp(fibres[current].place, 1);
}

// Let the others have their turn, and return in the next round.
__attribute__((noinline)) NOT_WATCHED static void barrier(int number) {
    if (removed(number)) return;
    fibres[current].stopped_at = number;
    if (!_setjmp(fibres[current].place)) pass_on();
}

// A fibre outlives its thread: it waits at the end of one kernel for its part in the next.
NOT_WATCHED static void live() {
    for (;;) {
        barrier(FINISHED);
        body(arguments);
    }
}

__attribute__((noinline)) NOT_WATCHED static void start(int number) {
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = stacks[number];
    context.uc_stack.ss_size = STACK;
    makecontext(&context, live, 0);
    current = number;
    threads = turn = 0;
    if (!_setjmp(end_of_round)) swapcontext(&starter, &context);
}

// One block: rounds until all threads have ended, which each must reach by way of the same
// barriers.
__attribute__((noinline)) NOT_WATCHED static Fault run_block() {
    do {
        turn = 0;
        begin_interval();
        if (!_setjmp(end_of_round)) pass_on();
        for (int number = 1; number < threads; number++)
            if (fibres[number].stopped_at != fibres[0].stopped_at) return BARRIER_NOT_REACHED_BY_ALL;
        backwards = !backwards;
    } while (fibres[0].stopped_at != FINISHED);
    return NONE;
}

template <class... T> struct Call {
    void (*kernel)(T...);
    void** pointers;
    template <size_t... I> NOT_WATCHED void run(std::index_sequence<I...>) { kernel(*static_cast<T*>(pointers[I])...); }
};

template <class... T> NOT_WATCHED void run_call(void* call) {
    static_cast<Call<T...>*>(call)->run(std::index_sequence_for<T...>{});
}

// As cuLaunchKernel: `pointers` are the addresses of the arguments.
template <class... T> NOT_WATCHED Fault launch(void (*kernel)(T...), const unsigned grid[3], const unsigned block[3], void** pointers) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    const size_t size = size_t(block[0]) * block[1] * block[2];
    if (size > MOST_THREADS || block[2] > 64) return TOO_MANY_THREADS;
    if (size == 0 || grid[0] == 0 || grid[1] == 0 || grid[2] == 0) return EMPTY_GRID;
    if (grid[0] > 0x7fffffff || grid[1] > 65535 || grid[2] > 65535) return TOO_MANY_BLOCKS;
    for (; started < int(size); started++) start(started);
    threads = int(size);
    begin_launch();
    Call<T...> call{kernel, pointers};
    body = run_call<T...>;
    arguments = &call;
    for (unsigned z = 0; z < grid[2]; z++)
        for (unsigned y = 0; y < grid[1]; y++)
            for (unsigned x = 0; x < grid[0]; x++) {
                blockIdx = {x, y, z};
                backwards = ++blocks % 2;
                begin_block((z * grid[1] + y) * grid[0] + x);
                if (const Fault fault = run_block()) {
                    end_launch();
                    started = 0; // the fibres that wait in the middle of the kernel are given up
                    return fault;
                }
            }
    end_launch();
    return NONE;
}

// The kinds of a kernel's arguments, a letter each: (P)ointer, long long (q) or (d)ouble.
template <class T> constexpr char kind = std::is_pointer_v<T> ? 'P' : std::is_same_v<T, long long> ? 'q' : std::is_same_v<T, double> ? 'd' : '?';

template <class... T> const char* kinds(void (*)(T...)) {
    static const char letters[] = {kind<T>..., 0};
    return letters;
}

} // namespace cuda_on_cpu
