// Where a thread is, as the harness tells the race detector in races.cpp.
//
// Two accesses of the same memory by two threads are ordered if a barrier lies between them. Within
// a block that is one of the block, or for the threads of a warp one of the warp: a harness counts
// the intervals that they end. Blocks have barriers of two parts: each arrives, and then waits until
// all have. What a block did before its arrival number r comes before what another does once it has
// waited for the arrivals of number r. So a harness counts both; a barrier of the whole grid in one
// part is an arrival and a wait.
#pragma once

#include <cstdint>

// What the harness itself does is not an access of a kernel.
#define NOT_WATCHED __attribute__((no_sanitize("thread")))

namespace races {

struct Range {
    uintptr_t first, end;
    bool holds(uintptr_t address, uintptr_t size) const { return first <= address && address + size <= end; }
};

template <class T> NOT_WATCHED Range range(const T* first, uintptr_t count = 1) {
    return {uintptr_t(first), uintptr_t(first + count)};
}

struct Place {
    bool watched; // whether a kernel runs in this thread
    int block, thread;
    uint32_t block_interval, warp_interval;
    uint32_t arrivals, waits;
    Range shared_memory; // of this block
    Range own[4];        // memory of the harness, and stacks
};

// A harness may run blocks, or all threads, by threads of the system: each says where it is.
extern thread_local Place here;

// Whether several threads of the system run a kernel.
extern bool concurrent;

// Whether a barrier, by its number in the source, is to be taken for removed.
bool removed(int number);

} // namespace races
