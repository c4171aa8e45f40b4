// SPDX-License-Identifier: Apache-2.0
// Sums over a grid of positions, per channel and sample: global pooling and the gates' inputs.
#include "e2train/vector_unit.hpp"
#include "e2train/vector_words.hpp"
#include "hls_stream.h"

namespace e2 {

namespace {

constexpr int POOL_BITS = 40;
static_assert(std::int64_t(LIMITS_SIZE) * LIMITS_SIZE <= std::int64_t(1)
                                                             << (POOL_BITS - WIDTHS_GRADIENT),
              "sums over a plane of 16-bit values must fit");

struct PoolSums {
    ap_int<POOL_BITS> lane[LANES];
};

// The grid's word that is read next: its place in the plane, and the plane's in the tensor.
struct GridWalk {
    Count row;
    Count column;
    Count row_word;    // of the row's first position, from the plane's
    Count plane_word;  // of the plane's first position
};

void advance_grid(const Arguments& a, GridWalk& at) {
#pragma HLS INLINE
    const bool row_ends = at.column + a.column_step() >= a.width;
    const bool plane_ends = row_ends && at.row + a.row_step() >= a.height;
    at.column = row_ends ? 0 : at.column + a.column_step();
    if (plane_ends) {
        at.row = 0;
        at.row_word = 0;
        at.plane_word += times(a.height, a.width);
    } else if (row_ends) {
        at.row += a.row_step();
        at.row_word += times(a.row_step(), a.width);
    }
}

Count grid_points(const Arguments& a) {
    return times((a.height - 1) / a.row_step() + 1, (a.width - 1) / a.column_step() + 1);
}

// One word of sums a channel; a flat loop, so that short channels do not drain the pipeline.
void gather_sums(const Arguments& a, const Beat* columns, Count points, Count planes,
                 hls::stream<PoolSums>& sums) {
    GridWalk at = {0, 0, 0, 0};
    PoolSums running = PoolSums();
// All lanes add in every iteration.
#pragma HLS ARRAY_PARTITION variable = running.lane complete
    Count point = 0;
    const Count words = planes * points;
gather_words:
    for (Count i = 0; i < words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 131072 avg = 32768
#pragma HLS PIPELINE II = 4
        const Count word = at.plane_word + at.row_word + at.column;
        const HalfWord value = read_halves(columns, halves_at(a.a_address, word));
    gather_lanes:
        for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
            const ap_int<POOL_BITS> before = point == 0 ? ap_int<POOL_BITS>(0) : running.lane[lane];
            running.lane[lane] = before + value.lane[lane];
        }
        if (point + 1 == points) {
            sums.write(running);
        }
        point = point + 1 == points ? 0 : point + 1;
        advance_grid(a, at);
    }
}

void store_sums(const Arguments& a, Count planes, hls::stream<PoolSums>& sums, Beat* output) {
    const Address begin = sums_at(a);
    PoolSums word = PoolSums();
#pragma HLS ARRAY_PARTITION variable = word.lane complete
    const Count beats = planes * LANES;
store_beats:
    for (Count i = 0; i < beats; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 256 max = 32768 avg = 8192
#pragma HLS PIPELINE II = 1
        const Count lane = i % LANES;
        if (lane == 0) {
            word = sums.read();
        }
        output[begin + static_cast<Address>(i)] = static_cast<Beat>(word.lane[lane].to_int64());
    }
}

// Sums leave while the next channels are gathered: at one position a channel the sixteen beats of
// a result take longer than the four that are read.
void pool_planes(const Arguments& a, const Beat* columns, Count points, Count planes,
                 Beat* output) {
#pragma HLS DATAFLOW
    hls::stream<PoolSums> sums("pool sums");
#pragma HLS STREAM variable = sums depth = 2
    gather_sums(a, columns, points, planes, sums);
    store_sums(a, planes, sums, output);
}

}  // namespace

void pool(const Arguments& a, const Beat* columns, Beat* output, Counters& counters) {
    const Count points = grid_points(a);
    const Count planes = group_count(a) * a.channels;
    pool_planes(a, columns, points, planes, output);
    counters.column_beats +=
        static_cast<std::uint64_t>(planes) * static_cast<std::uint64_t>(points) * HALF_WORD_BEATS;
    counters.output_beats += static_cast<std::uint64_t>(planes) * RAW_WORD_BEATS;
}

}  // namespace e2
