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

#include "e2train/weights.hpp"

namespace e2 {

constexpr int TAP_BITS = 3;  // a tap's row or column, 0 to 6
static_assert(LIMITS_KERNEL <= (1 << TAP_BITS) - 1, "taps need more bits");
constexpr Count QUEUE_DEPTH = BUFFERS_SCHEDULE_DEPTH;
constexpr Count FILTER_WEIGHTS = ROWS * QUEUE_DEPTH / 2;   // of one filter; two share the queues
constexpr Count SLOT_VISITS = BUFFERS_WEIGHT_SUMS / ROWS;  // visits whose sums fit the chip

// Memory of a launch behind scratch_address, in beats.
constexpr Count VISIT_BEATS = 3;

// An unsure weight of a filter: channel = 8 * block + row.
struct Slot {
    ap_uint<16 - 2 * TAP_BITS> block;
    ap_uint<TAP_BITS> tap_y;
    ap_uint<TAP_BITS> tap_x;
};

// What the rows of the array work on at once.
struct Visit {
    Count filter;
    ap_uint<ARRAY_ROWS> valid;
    ap_uint<ARRAY_ROWS> second;  // slots of the filter after
    Slot slot[ARRAY_ROWS];
};

// A weight waiting for a slot. `odd`: its filter's number is odd, which tells two filters apart.
struct Waiting {
    Slot slot;
    bool odd;
};

// One queue a row of the array.
struct Queues {
    Waiting waiting[ARRAY_ROWS][QUEUE_DEPTH];
    Count head[ARRAY_ROWS];
    Count length[ARRAY_ROWS];
};

// Signs of the two filters whose visits may still come, three bits a weight.
struct Codes {
    ap_uint<3> code[2][FILTER_WEIGHTS];
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
inline ap_uint<2> sign_code(std::int64_t value) {
    return ap_uint<2>(value > 0 ? 1 : value < 0 ? 3 : 0);
}

Visit read_visit(const Beat* port, Address index);
void write_visit(const Visit& visit, Address index, Beat* port);

// Walk over m: find the unsure weights and write the visits that hold them. Returns their number.
Count schedule_visits(const WeightPass& pass, std::uint64_t threshold, const Scratch& scratch,
                      Beat* memory, Queues& queues, Codes& codes, Counters& counters);

// Visits whose gradients fit the column buffer and whose sums fit the chip.
struct SlotTile {
    Count first;
    Count visits;
    Span filters;
};

struct SlotVisits {
    Visit visit[SLOT_VISITS];
};

// The next visits of `all`, from the schedule.
SlotTile load_visits(const WeightPass& pass, const Scratch& scratch, Count first, Count all,
                     const Beat* memory, SlotVisits& to);

// Channels whose activations a slot tile reads.
inline Span slot_channels(const WeightPass& pass, const SlotTile& tile) {
    const Span every = {0, pass.channels};
    return pass.depthwise ? tile.filters : every;
}

// Stages of a data tile, as in weights.hpp; sums in [visit][row] order.
void feed_slots(const WeightPass& pass, const SlotTile& tile, const DataTile& data,
                const SlotVisits& visits, Count first_channel, const RowBuffer& row_buffer,
                const ColumnBuffer& column_buffer, hls::stream<StepFlags>& flags,
                hls::stream<RowBits>& rows, hls::stream<ColumnBits>& columns,
                hls::stream<Count>& counted);
void collect_slots(const SlotTile& tile, bool first, hls::stream<SumBits>& words, WeightSums& sums);

// Signs of a slot tile to scratch.results.
void write_results(const SlotTile& tile, const WeightSums& sums, Address results, Beat* memory);

// Walk over m as the schedule did and write one byte a weight: sign, and 4 where predicted.
void merge_signs(const WeightPass& pass, std::uint64_t threshold, const Scratch& scratch,
                 Address out, Beat* memory, Queues& queues, Codes& codes);

}  // namespace e2

#endif
