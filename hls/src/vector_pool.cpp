// SPDX-License-Identifier: Apache-2.0
// Sums over a grid of positions, per channel and sample: global pooling and the gates' inputs.
#include "e2train/vector_streams.hpp"
#include "e2train/vector_unit.hpp"

namespace e2 {

namespace {

constexpr int POOL_BITS = 40;
static_assert(std::int64_t(LIMITS_SIZE) * LIMITS_SIZE <= std::int64_t(1)
                                                             << (POOL_BITS - WIDTHS_GRADIENT),
              "sums over a plane of 16-bit values must fit");

typedef ap_int<POOL_BITS> PoolSum;

// Of four samples.
struct PoolSums {
    PoolSum lane[QUARTER_LANES];
};

// The sums of the sixteen samples go around in four steps, as the samples do.
void gather_sums(Count beats, Count points, hls::stream<Beat>& from, hls::stream<PoolSums>& sums) {
    const Count last = points * QUARTERS - 1;
    Count left = last;
    PoolSums ring[QUARTERS] = {};
#pragma HLS ARRAY_PARTITION variable = ring complete dim = 0
gather_beats:
    for (Count i = 0; i < beats; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 64 max = 524288 avg = 131072
#pragma HLS PIPELINE II = 1
        const Quarter value = quarter_of(from.read());
        const bool begins = left > last - QUARTERS;
        PoolSums running;
    gather_lanes:
        for (int lane = 0; lane < QUARTER_LANES; ++lane) {
#pragma HLS UNROLL
            const PoolSum before = begins ? PoolSum(0) : ring[0].lane[lane];
            running.lane[lane] = before + value.lane[lane];
        }
    turn_ring:
        for (int place = 0; place < QUARTERS - 1; ++place) {
#pragma HLS UNROLL
            ring[place] = ring[place + 1];
        }
        ring[QUARTERS - 1] = running;
        if (left < QUARTERS) {
            sums.write(running);
        }
        left = left == 0 ? last : left - 1;
    }
}

void store_sums(Count beats, hls::stream<PoolSums>& sums, Count begin, Beat* output) {
    Beat* to = output + begin;
    PoolSums word = PoolSums();
#pragma HLS ARRAY_PARTITION variable = word.lane complete
store_beats:
    for (Count i = 0; i < beats; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 256 max = 32768 avg = 8192
#pragma HLS PIPELINE II = 1
        const int lane = i % QUARTER_LANES;
        if (lane == 0) {
            word = sums.read();
        }
        to[i] = static_cast<Beat>(word.lane[lane].to_int64());
    }
}

// Sums leave while the next channels are gathered: at one position a channel the sixteen beats of
// a result take longer than the four that are read.
void pool_planes(const Gather& parts, Count begin, Count read, Count columns, Count step,
                 Count kept, Count points, Count stored, Count sums_begin, const Beat* port,
                 Beat* output) {
#pragma HLS DATAFLOW
    hls::stream<Beat> rows("pool rows");
    hls::stream<Beat> grid("pool grid");
    hls::stream<PoolSums> sums("pool sums");
#pragma HLS STREAM variable = rows depth = 16
#pragma HLS STREAM variable = grid depth = 16
#pragma HLS STREAM variable = sums depth = 4
    read_gather(port, begin, parts, rows);
    keep_every(rows, read, columns, step, grid);
    gather_sums(kept, points, grid, sums);
    store_sums(stored, sums, sums_begin, output);
}

}  // namespace

void pool(const Arguments& a, const TensorSize& size, const Beat* columns, Beat* output,
          Counters& counters) {
    const Count rows = steps_of(a.height, a.row_step());
    const Count row_points = steps_of(a.width, a.column_step());
    const Count points = multiplied(rows, row_points);
    const Count row_words = multiplied(row_points - 1, a.column_step()) + 1;
    const Count all_rows = multiplied(size.planes, rows);
    const Count read = multiplied(all_rows, row_words) * QUARTERS;
    const Count kept = multiplied(all_rows, row_points) * QUARTERS;
    const Gather parts = {row_words,  rows,        multiplied(a.row_step(), a.width), a.channels,
                          size.plane, size.groups, multiplied(size.plane, a.channels)};
    pool_planes(joined(parts), beat_at(a.a_address), read, row_words, a.column_step(), kept, points,
                size.planes * LANES, sums_at(a), columns, output);
    counters.column_beats += static_cast<std::uint64_t>(read);
    counters.output_beats += static_cast<std::uint64_t>(size.planes * LANES);
}

}  // namespace e2
