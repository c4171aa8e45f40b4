// SPDX-License-Identifier: Apache-2.0
// Predicted gradient signs (docs/psg.md): which weights are unsure, and visits that hold only them.
//
// In a visit of the second phase every row of the array works on one unsure weight, its slot. Row
// r reads the banks of channels that are r modulo 8, so the unsure weights of each row queue up,
// and a visit takes the first of every queue. Rows share the gradient word of one filter; a row
// whose queue has run out for that filter takes the next filter's already, as the column memory
// has two ports. So sure weights take no slot, and rows wait little for each other.
#ifndef E2TRAIN_PSG_HPP
#define E2TRAIN_PSG_HPP

#include "e2train/counters.hpp"
#include "e2train/job.hpp"
#include "e2train/words.hpp"

namespace e2 {

constexpr int TAP_BITS = 3;    // a tap's row or column, 0 to 6
constexpr int SLOT_BITS = 16;  // of a slot: block of channels, tap
static_assert(LIMITS_KERNEL <= (1 << TAP_BITS) - 1, "taps need more bits");
static_assert(LIMITS_CHANNELS / ROWS <= 1 << (SLOT_BITS - 2 * TAP_BITS), "blocks need more bits");
constexpr Count QUEUE_DEPTH = BUFFERS_SCHEDULE_DEPTH;
static_assert((QUEUE_DEPTH & (QUEUE_DEPTH - 1)) == 0, "queues wrap by a mask");
constexpr Count ROW_WEIGHTS = QUEUE_DEPTH / 2;  // of a filter, in a row's queue: two share it
constexpr Count FILTER_WEIGHTS = ROWS * ROW_WEIGHTS;
constexpr Count SUM_WORDS = BUFFERS_WEIGHT_SUMS / LANES;
constexpr Count SLOT_VISITS = BUFFERS_WEIGHT_SUMS / ROWS;  // visits whose sums fit the chip

// Memory of a launch behind scratch_address, in beats.
constexpr Count VISIT_BEATS = 3;

// An unsure weight of a filter: channel = 8 * block + row.
struct Slot {
    Count block;
    Count tap_y;
    Count tap_x;
};

inline std::uint16_t slot_code(Count block, Count tap_y, Count tap_x) {
    return static_cast<std::uint16_t>(block << (2 * TAP_BITS) | tap_y << TAP_BITS | tap_x);
}

// What the rows of the array work on at once, as it lies in memory: four slots a beat, and the
// filter, the rows that have a slot, and those whose slot is of the filter after.
struct Visit {
    Part slots[2];
    std::uint32_t head;
};

struct VisitHead {
    Count filter;
    std::uint32_t valid;
    std::uint32_t second;
};

inline std::uint32_t head_code(Count filter, std::uint32_t valid, std::uint32_t second) {
    return static_cast<std::uint32_t>(filter) | valid << 16 | second << 24;
}

inline VisitHead head_of(std::uint32_t code) {
    const VisitHead head = {static_cast<Count>(code & 0xffffU), code >> 16 & 0xffU, code >> 24};
    return head;
}

inline Slot slot_of(Part slots, int index) {
    const Count code = static_cast<Count>(slots >> (SLOT_BITS * index)) & 0xffff;
    const Slot slot = {code >> (2 * TAP_BITS), code >> TAP_BITS & ((1 << TAP_BITS) - 1),
                       code & ((1 << TAP_BITS) - 1)};
    return slot;
}

// The visits of a tile of slots.
struct SlotVisits {
    Part slots[2][SLOT_VISITS];
    std::uint32_t head[SLOT_VISITS];
};

// Unsure weights that wait, a queue a row of the array: of the base filter, whose visits go out,
// then of the filter after.
struct Queues {
    std::uint16_t waiting[ROWS][QUEUE_DEPTH];
    Count head[ROWS];
    Count base[ROWS];
    Count after[ROWS];
};

// Signs of these two filters, three bits a weight, by the row and the place of a weight in it.
struct Codes {
    ap_uint<3> code[ROWS][2 * ROW_WEIGHTS];
};

// Sums of a tile of weights or slots: words of 16 lanes, or two visits' eight, over two memories.
struct WeightSums {
    ap_uint<ROWS * WIDTHS_SUM> half[2][SUM_WORDS];
};

// Where the parts of the scratch memory begin, in beats.
struct Scratch {
    Address predictor;  // m of every weight
    Address schedule;   // visits
    Address results;    // a byte a slot: sign in two bits
};

inline Scratch scratch_of(const Arguments& arguments, Count weights) {
    const Address base = arguments.scratch_address / (WIDTHS_BEAT / 8);
    const Address count = static_cast<Address>(weights);
    const Scratch scratch = {base, base + count, base + count + VISIT_BEATS * count};
    return scratch;
}

// Sign in two's complement, two bits: 0, 1, 3.
inline std::uint32_t sign_code(std::int64_t value) {
    return value > 0 ? 1U : value < 0 ? 3U : 0U;
}

// Walks over m, filter by filter, as both the schedule and the merge do: queue what is unsure.
struct FilterWalk {
    Count filter;
    Count weights;  // of a filter
    Count taps;
    Count kernel_y;
    Count kernel_x;
    bool depthwise;
    bool merging;  // queue places in the rows, else slots
};

FilterWalk filter_walk(const Layer& layer, bool merging);
Count queue_filter(const FilterWalk& walk, std::uint64_t threshold, const Beat* from,
                   Queues& queues, Codes& codes);
// Visits until the base filter has none left, and what a visit takes: a bit a row, and its entry.
Count visits_of_base(const Queues& queues);
void clear_queues(Queues& queues);
void next_base(Queues& queues);

struct Popped {
    std::uint32_t valid;
    std::uint32_t second;
    std::uint16_t entry[ROWS];
};

Popped pop(Queues& queues);

// Find the unsure weights and write the visits that hold them. Returns their number.
Count schedule_visits(const Layer& layer, std::uint64_t threshold, const Scratch& scratch,
                      Beat* memory, Queues& queues, Codes& codes, Counters& counters);

// Write one byte a weight: sign, and 4 where predicted.
void merge_signs(const Layer& layer, std::uint64_t threshold, const Scratch& scratch, Address out,
                 Beat* memory, Queues& queues, Codes& codes);

// Visits whose gradients fit the column buffer and whose sums fit the chip.
struct SlotTile {
    Count first;
    Count visits;
    Span filters;
};

// The next visits of `all`, from the schedule; counts the beats that are read.
SlotTile load_visits(const Layer& layer, const Scratch& scratch, Count first, Count all,
                     const Beat* memory, SlotVisits& to, Counters& counters);

// Signs of a slot tile to scratch.results.
void write_results(const SlotTile& tile, const WeightSums& sums, Address results, Beat* memory);

// Sums of a tile of weights to 64-bit words in the layer's order; returns the largest magnitude.
std::uint64_t store_weights(const Job& job, Address begin, const WeightSums& sums, Beat* output);

}  // namespace e2

#endif
