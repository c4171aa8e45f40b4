// SPDX-License-Identifier: Apache-2.0
// The queues of unsure weights, which the schedule fills and empties and the merge does again.
#include "e2train/psg.hpp"

namespace e2 {

namespace {

constexpr int BETA_BITS = 16;

// What is known of a weight from the predictor alone.
struct Decision {
    bool sure;
    std::uint32_t sign;
};

Decision decide(std::int64_t m, std::uint64_t threshold) {
#pragma HLS INLINE
    const std::uint64_t magnitude = static_cast<std::uint64_t>(m < 0 ? -m : m);
    Decision decision;
    // |m| < 2^47 and beta_q <= 2^16: both sides fit 64 bits.
    decision.sure = m != 0 && (magnitude << BETA_BITS) >= threshold;
    decision.sign = sign_code(m);
    return decision;
}

// Where the weights of a filter are, one after the other: row, block of channels, tap, and the
// place among the weights of the row.
struct WeightCursor {
    Count row;
    Count block;
    Count tap_y;
    Count tap_x;
    Count place;
    Count begin;  // place of the channel's first weight
};

void advance(const FilterWalk& walk, WeightCursor& cursor) {
#pragma HLS INLINE
    const bool end_x = cursor.tap_x == walk.kernel_x - 1;
    const bool end = end_x && cursor.tap_y == walk.kernel_y - 1;
    const bool wraps = end && cursor.row == ROWS - 1;
    cursor.tap_x = end_x ? 0 : cursor.tap_x + 1;
    cursor.tap_y = end ? 0 : end_x ? cursor.tap_y + 1 : cursor.tap_y;
    cursor.begin += wraps ? walk.taps : 0;
    cursor.place = end ? cursor.begin : cursor.place + 1;
    cursor.row = wraps ? 0 : end ? cursor.row + 1 : cursor.row;
    cursor.block += wraps ? 1 : 0;
}

}  // namespace

FilterWalk filter_walk(const Layer& layer, bool merging) {
    FilterWalk walk;
    walk.filter = 0;
    walk.taps = taps(layer);
    walk.weights = times(filter_channels(layer), walk.taps);
    walk.kernel_y = layer.y.kernel;
    walk.kernel_x = layer.x.kernel;
    walk.depthwise = layer.depthwise;
    walk.merging = merging;
    return walk;
}

// Queue the unsure weights of one filter; note what the predictor says of all. Returns how many
// are sure.
Count queue_filter(const FilterWalk& walk, std::uint64_t threshold, const Beat* from,
                   Queues& queues, Codes& codes) {
    const Count codes_begin = (walk.filter & 1) * ROW_WEIGHTS;
    WeightCursor cursor = WeightCursor();
    cursor.row = walk.depthwise ? row_of(walk.filter) : 0;
    cursor.block = walk.depthwise ? walk.filter >> 3 : 0;
    Count predicted = 0;
queue_weights:
    for (Count i = 0; i < walk.weights; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 9 max = 960 avg = 288
#pragma HLS PIPELINE II = 1
// Entries are written behind those that are read, and each code once.
#pragma HLS DEPENDENCE variable = queues.waiting inter false
#pragma HLS DEPENDENCE variable = codes.code inter false
        const Decision decision = decide(static_cast<std::int64_t>(from[i]), threshold);
        const Count row = cursor.row;
        const Count at =
            (queues.head[row] + queues.base[row] + queues.after[row]) & (QUEUE_DEPTH - 1);
        const std::uint16_t entry = walk.merging
                                        ? static_cast<std::uint16_t>(cursor.place)
                                        : slot_code(cursor.block, cursor.tap_y, cursor.tap_x);
        if (!decision.sure) {
            queues.waiting[row][at] = entry;
        }
        queues.after[row] += decision.sure ? 0 : 1;
        predicted += decision.sure ? 1 : 0;
        codes.code[row][codes_begin + cursor.place] =
            ap_uint<3>(decision.sure ? decision.sign + 4U : 0U);
        advance(walk, cursor);
    }
    return predicted;
}

void clear_queues(Queues& queues) {
clear_rows:
    for (int row = 0; row < ROWS; ++row) {
#pragma HLS UNROLL
        queues.head[row] = 0;
        queues.base[row] = 0;
        queues.after[row] = 0;
    }
}

Count visits_of_base(const Queues& queues) {
    Count most = 0;
longest_row:
    for (int row = 0; row < ROWS; ++row) {
#pragma HLS UNROLL
        most = larger(most, queues.base[row]);
    }
    return most;
}

// The first of every queue, whichever of the two filters it belongs to.
Popped pop(Queues& queues) {
#pragma HLS INLINE
    Popped popped;
    popped.valid = 0;
    popped.second = 0;
pop_rows:
    for (int row = 0; row < ROWS; ++row) {
#pragma HLS UNROLL
        const bool base = queues.base[row] > 0;
        const bool after = !base && queues.after[row] > 0;
        popped.entry[row] =
            base || after ? queues.waiting[row][queues.head[row]] : static_cast<std::uint16_t>(0);
        popped.valid |= base || after ? 1U << row : 0U;
        popped.second |= after ? 1U << row : 0U;
        queues.head[row] = (queues.head[row] + (base || after ? 1 : 0)) & (QUEUE_DEPTH - 1);
        queues.base[row] -= base ? 1 : 0;
        queues.after[row] -= after ? 1 : 0;
    }
    return popped;
}

void next_base(Queues& queues) {
next_base_rows:
    for (int row = 0; row < ROWS; ++row) {
#pragma HLS UNROLL
        queues.base[row] = queues.after[row];
        queues.after[row] = 0;
    }
}

}  // namespace e2
