// A race detector: what GCC's -fsanitize=thread calls at each access of memory, and behind it, in
// place of its library, a memory of who accessed what since which barrier.
//
// Found are: two accesses of the same four bytes in one launch, one of which writes, that no barrier
// orders (races.h says when one does); reads of shared memory that the block has not written; and
// accesses outside of the arrays that a kernel was given.
#include "races.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace races {

thread_local Place here = {};
bool concurrent = false;

namespace {

struct Access {
    int block;
    uint16_t thread, block_interval, warp_interval, arrivals;
    uint32_t code; // where in the library it was made
};

constexpr int NOBODY = -1;
constexpr Access NONE = {NOBODY, 0, 0, 0, 0, 0};

// What is known of four bytes in one launch: the last write, two threads of one block that have read
// since its last barrier, and the two blocks whose reads have the most arrivals before them. The
// second of each is there because the first may be the one that writes next. That is enough: what
// is ordered after these is ordered after all others, or a race with those has been found.
struct alignas(64) Cell {
    uint32_t launch;
    int owner; // of shared memory: its block
    Access write, thread, block;
};
struct More { Access thread, block; };

constexpr int CELL = 4, PAGE = 4096;
struct Page {
    Cell cells[PAGE / CELL];
    More more[PAGE / CELL];
};

std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;
struct Recent { uintptr_t number; Page* page; } recent[64]; // by the last bits of their numbers

uint32_t launch = 0;
uintptr_t image = 0;        // where the library lies
std::string kernel;
std::vector<Range> given;   // the arrays that the kernel was given
std::vector<Range> rooms;   // the memory that they are part of, out of which they shall not reach
std::vector<Range> others;  // more arrays, to which arrays may hold pointers
std::map<std::string, long> found;
long long accesses = 0;
int removed_barrier = 0;
constexpr int MOST_BARRIERS = 1024;
bool reached[MOST_BARRIERS];
std::atomic_flag busy = ATOMIC_FLAG_INIT;

void report(const std::string& what, uint32_t code, uint32_t other) {
    char text[64];
    snprintf(text, sizeof text, "|%x|%x", std::min(code, other), std::max(code, other));
    found[kernel + "|" + what + text]++;
}

Page& page_at(uintptr_t address) {
    const uintptr_t number = address / PAGE;
    Recent& entry = recent[number % 64];
    if (entry.number != number || !entry.page) {
        auto& page = pages[number];
        if (!page) page = std::make_unique<Page>();
        entry = {number, page.get()};
    }
    return *entry.page;
}

bool in_an_array(uintptr_t address, uintptr_t size) {
    auto holds = [=](const Range& range) { return range.holds(address, size); };
    static thread_local Range last = {0, 0};
    static thread_local uint32_t at = 0;
    if (at == launch && holds(last)) return true;
    for (const auto& range : given)
        if (holds(range)) return last = range, at = launch, true;
    return std::none_of(rooms.begin(), rooms.end(), holds) && std::any_of(others.begin(), others.end(), holds);
}

// Whether a barrier lies between an earlier access and one here.
bool ordered(const Access& earlier, const Access& now) {
    if (earlier.block == NOBODY) return true;
    if (earlier.block != now.block) return here.waits > earlier.arrivals;
    if (earlier.thread == now.thread || earlier.block_interval != now.block_interval) return true;
    return earlier.thread / 32 == now.thread / 32 && earlier.warp_interval != now.warp_interval;
}

void check(const char* what, const Access& earlier, const Access& now) {
    if (ordered(earlier, now)) return;
    const bool far = earlier.block != now.block;
    report(std::string(what) + (far ? " by two blocks" : " by two threads of a block"), now.code, earlier.code);
}

void access(void* pointer, uintptr_t size, bool writes, void* from) {
    const Place& place = here;
    if (!place.watched) return;
    const uintptr_t address = uintptr_t(pointer);
    for (const Range& own : place.own)
        if (own.holds(address, size)) return;
    const bool shared = place.shared_memory.holds(address, size);
    const Access now = {place.block, uint16_t(place.thread), uint16_t(place.block_interval), uint16_t(place.warp_interval),
                        uint16_t(place.arrivals), uint32_t(uintptr_t(from) - 1 - image)};
    while (concurrent && busy.test_and_set(std::memory_order_acquire)) {}
    accesses++;
    if (!shared && !in_an_array(address, size)) report("an access outside of every array", now.code, now.code);
    for (uintptr_t at = address & ~uintptr_t(CELL - 1); at < address + size; at += CELL) {
        Page& page = page_at(at);
        Cell& cell = page.cells[at % PAGE / CELL];
        More& more = page.more[at % PAGE / CELL];
        // The blocks of a harness that runs one after the other share the same memory.
        if (cell.launch != launch || (shared && cell.owner != now.block)) {
            cell = {launch, now.block, NONE, NONE, NONE};
            more = {NONE, NONE};
        }
        check(writes ? "two writes" : "a read and a write", cell.write, now);
        if (writes) {
            for (const Access& read : {cell.thread, more.thread, cell.block, more.block}) check("a read and a write", read, now);
            cell.write = now;
            continue;
        }
        if (shared && cell.write.block == NOBODY) report("a read of shared memory that nobody has written", now.code, now.code);
        const Access& thread = cell.thread;
        if (thread.block != now.block || thread.block_interval != now.block_interval) cell.thread = now, more.thread = NONE;
        else if ((thread.thread != now.thread || thread.warp_interval != now.warp_interval) && more.thread.block == NOBODY) more.thread = now;
        if (cell.block.block == now.block || cell.block.block == NOBODY) cell.block = now;
        else if (now.arrivals >= cell.block.arrivals) more.block = cell.block, cell.block = now;
        else if (more.block.block == now.block || now.arrivals >= more.block.arrivals) more.block = now;
    }
    if (concurrent) busy.clear(std::memory_order_release);
}

} // namespace

bool removed(int number) {
    if (number > 0 && number < MOST_BARRIERS) reached[number] = true;
    return number && number == removed_barrier;
}

} // namespace races

#define FROM __builtin_return_address(0)
#define ACCESSES(SIZE) \
    void __tsan_read##SIZE(void* a) { races::access(a, SIZE, false, FROM); } \
    void __tsan_write##SIZE(void* a) { races::access(a, SIZE, true, FROM); } \
    void __tsan_unaligned_read##SIZE(void* a) { races::access(a, SIZE, false, FROM); } \
    void __tsan_unaligned_write##SIZE(void* a) { races::access(a, SIZE, true, FROM); }

extern "C" {

extern __attribute__((visibility("hidden"))) char __ehdr_start; // the linker's: where the library begins

void __tsan_init() { races::image = uintptr_t(&__ehdr_start); }
ACCESSES(1) ACCESSES(2) ACCESSES(4) ACCESSES(8) ACCESSES(16)
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_read_range(void* a, uintptr_t size) { races::access(a, size, false, FROM); }
void __tsan_write_range(void* a, uintptr_t size) { races::access(a, size, true, FROM); }

// Pairs of addresses: the arrays given to the kernel that is launched next, what these are part of,
// and other arrays that there are.
void races_begin(const char* kernel, const uintptr_t* pairs, int given, int rooms, int others) {
    auto take = [&](std::vector<races::Range>& ranges, int count) {
        ranges.clear();
        for (; count > 0; count--, pairs += 2) ranges.push_back({pairs[0], pairs[1]});
    };
    races::launch++;
    races::kernel = kernel;
    take(races::given, given);
    take(races::rooms, rooms);
    take(races::others, others);
}

// Forget one barrier, or none for 0.
void races_remove(int number) { races::removed_barrier = number; }

// Whether a barrier has been reached since the last call for it.
bool races_reached(int number) {
    const bool found = races::reached[number];
    races::reached[number] = false;
    return found;
}

long long races_accesses() { return races::accesses; }

// What was found, a line each, and forget it. The text lives until the next call.
const char* races_found() {
    static std::string text;
    text.clear();
    for (const auto& [what, count] : races::found) text += what + "|" + std::to_string(count) + "\n";
    races::found.clear();
    return text.c_str();
}

}
