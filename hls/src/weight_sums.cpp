// SPDX-License-Identifier: Apache-2.0
// What a tile of weights or slots has summed, to memory.
#include "e2train/psg.hpp"

namespace e2 {

namespace {

// Where a weight's sum is: the visit that made it, its word of two, and the lane.
struct SumWalk {
    Count visit;
    Count block;  // first visit of the block of channels
    Count tap;
    Count lane;
    Count upper;
};

struct SumShape {
    bool packed;
    bool twin;
    Count taps;
    Count lanes;  // of a word
};

void advance(const SumShape& shape, SumWalk& walk) {
#pragma HLS INLINE
    const bool end = walk.tap == shape.taps - 1;
    const bool wraps = end && walk.lane == shape.lanes - 1;
    const bool next_block = wraps && (!shape.packed || walk.upper == 1);
    const Count block = next_block ? walk.block + shape.taps : walk.block;
    walk.upper = next_block ? 0 : wraps ? 1 : walk.upper;
    walk.lane = wraps ? 0 : end ? walk.lane + 1 : walk.lane;
    walk.visit = end ? block : walk.visit + 1;
    walk.tap = end ? 0 : walk.tap + 1;
    walk.block = block;
}

std::int64_t sum_at(const SumShape& shape, const SumWalk& walk, const WeightSums& sums) {
#pragma HLS INLINE
    const Count at = shape.packed ? 2 * walk.visit + walk.upper : walk.visit >> 1;
    const Count half = shape.packed ? walk.lane >> 3 : walk.visit & 1;
    const ap_uint<ROWS * WIDTHS_SUM> word = half != 0 ? sums.half[1][at] : sums.half[0][at];
    return chosen_lane<WIDTHS_SUM>(word, row_of(walk.lane));
}

// The sums of a filter's weights of this tile: one burst.
std::uint64_t store_filter(const SumShape& shape, SumWalk walk, Count weights,
                           const WeightSums& sums, Beat* to, std::uint64_t largest) {
store_filter_weights:
    for (Count i = 0; i < weights; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 9 max = 960 avg = 144
#pragma HLS PIPELINE II = 1
        const std::int64_t sum = sum_at(shape, walk, sums);
        const std::uint64_t magnitude = static_cast<std::uint64_t>(sum < 0 ? -sum : sum);
        to[i] = static_cast<Beat>(sum);
        largest = magnitude > largest ? magnitude : largest;
        advance(shape, walk);
    }
    return largest;
}

}  // namespace

std::uint64_t store_weights(const Job& job, Address begin, const WeightSums& sums, Beat* output) {
    const Layer& layer = job.layer;
    const Count count = layer.depthwise ? 1 : job.inners;
    SumShape shape;
    shape.packed = job.packed;
    shape.twin = layer.depthwise || (job.packed && count <= TWIN_CHANNELS);
    shape.taps = taps(layer);
    shape.lanes = job.packed ? PACKED_ROWS : ROWS;
    const Count weights = times(count, shape.taps);
    const Count step = times(filter_channels(layer), shape.taps);
    const Count first = layer.depthwise ? 0 : times(job.inner, shape.taps);
    const Count visits = weight_visits(layer, job.packed, shape.twin ? 2 : 1, count);
    Address to = begin + static_cast<Address>(times(step, job.outer) + first);
    std::uint64_t largest = 0;
    SumWalk walk = SumWalk();
store_filters:
    for (Count filter = job.outer; filter < job.end; ++filter) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 512 avg = 16
        const bool odd = shape.twin && (filter - job.outer) % 2 == 1;
        walk.lane = layer.depthwise ? filter & (shape.lanes - 1) : 0;
        walk.upper = odd && job.packed ? 1 : 0;
        walk.visit = walk.block;
        largest = store_filter(shape, walk, weights, sums, output + to, largest);
        walk.block += shape.twin && !odd ? 0 : visits;
        to += static_cast<Address>(step);
    }
    return largest;
}

void write_results(const SlotTile& tile, const WeightSums& sums, Address results, Beat* memory) {
    Beat* to = memory + results + static_cast<Address>(tile.first);
write_result_visits:
    for (Count visit = 0; visit < tile.visits; ++visit) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 1024 avg = 256
#pragma HLS PIPELINE II = 1
        const Count at = visit >> 1;
        const ap_uint<ROWS * WIDTHS_SUM> word =
            (visit & 1) != 0 ? sums.half[1][at] : sums.half[0][at];
        Beat signs = 0;
    write_result_rows:
        for (int row = 0; row < ROWS; ++row) {
#pragma HLS UNROLL
            const std::uint32_t code = sign_code(lane_of<WIDTHS_SUM>(word, row));
            signs |= byte_at(static_cast<Count>(code), row);
        }
        to[visit] = signs;
    }
}

}  // namespace e2
