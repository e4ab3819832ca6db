// Where a thread is, as the harness tells the race detector in races.cpp.
//
// Two accesses of the same memory by two threads are ordered if a barrier lies between them: one
// of the grid for threads of different blocks, one of the grid or of the block within a block, and
// within a warp one of the warp, too. So a harness counts, for each thread, the intervals that its
// barriers have ended: a barrier of the grid also ends the interval of the block.
#pragma once

#include <cstdint>

// What the harness itself does is not an access of a kernel.
#define NOT_WATCHED __attribute__((no_sanitize("thread")))

namespace races {

struct Range {
    uintptr_t first, end;
    bool holds(uintptr_t address, uintptr_t size) const { return first <= address && address + size <= end; }
};

struct Place {
    bool watched;                                      // whether a kernel runs in this thread
    int block, thread;
    uint32_t grid_interval, block_interval, warp_interval;
    Range shared_memory;                               // of this block
    Range own[2];                                      // memory of the harness, and stacks
};

// A harness may run blocks, or all threads, by threads of the system: each says where it is.
extern thread_local Place here;

// Whether several threads of the system run a kernel.
extern bool concurrent;

// Whether a barrier, by its number in the source, is to be taken for removed.
bool removed(int number);

} // namespace races
