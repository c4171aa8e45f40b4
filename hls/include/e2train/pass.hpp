// SPDX-License-Identifier: Apache-2.0
// Passes that produce a plane of positions: the forward convolution and the one back to the input.
//
// Both reduce over `inner` channels and the taps, for every `outer` channel and position. Columns
// of the array are the 16 samples of a word, rows are outer channels, so a word of operands is
// read where it lies: no stride, padding or kernel size shifts anything.
#ifndef E2TRAIN_PASS_HPP
#define E2TRAIN_PASS_HPP

#include "e2train/check.hpp"
#include "e2train/counters.hpp"
#include "e2train/mac_core.hpp"
#include "e2train/span.hpp"

namespace e2 {

// One launch. Depthwise: outer channels alone count, each reduces over its own plane.
struct Pass {
    bool transposed;  // back to the input
    bool depthwise;
    Count samples;
    Count groups;       // of 16 samples
    Count inner_total;  // reduced channels of the layer
    Count inner_begin;  // and of this launch
    Count inner;
    Count outer;
    Axis y;
    Axis x;
    Count tile_outer;
    Count tile_y;
    Count tile_x;
};

// Part of a launch that fits the buffers.
struct Tile {
    Count group;
    Count outer;   // first outer channel
    Count outers;  // and how many
    Span y;        // positions that are produced
    Span x;
    Span from_y;  // and the region that they read
    Span from_x;
};

// How sums become what is stored.
struct Finish {
    bool raw;    // 64-bit sums as they are
    bool carry;  // sums of an earlier launch come first
    bool statistics;
    bool residual;
    int mask_bits;  // 0: none
    Count mask_ceiling;
    Count shift;
};

struct RowBuffer {
    ByteWord bank[BUFFERS_ROW_BANKS][BUFFERS_ROW_DEPTH];
};

struct ColumnBuffer {
    HalfWord word[BUFFERS_COLUMN_DEPTH];
};

struct TileSums {
    TileSumWord word[BUFFERS_TILE_SUMS];
};

// Rows of sums of a visit: packed passes fill 16, plain ones 8, depthwise ones 1.
inline Count rows_a_visit(const Pass& pass) {
    return pass.depthwise ? 1 : pass.transposed ? ROWS : PACKED_ROWS;
}

inline Count taps(const Pass& pass) {
    return times(pass.y.kernel, pass.x.kernel);
}

Pass pass_of(const Arguments& arguments);
Finish finish_of(const Arguments& arguments);

Count tiles_of(const Pass& pass);
Tile tile_at(const Pass& pass, Count index);

// Samples of the group that exist; the other lanes of its words are zero.
inline Count lanes_of(Count samples, Count group) {
    return smaller(samples - group * LANES, LANES);
}

void load_pass_columns(const Pass& pass, const Tile& tile, bool narrow, std::uint32_t address,
                       const Beat* port, ColumnBuffer& buffer);
void load_pass_rows(const Pass& pass, const Tile& tile, std::uint32_t address, const Beat* port,
                    RowBuffer& buffer);
// Stages of a tile: visits to the array, their sums, and what becomes of them.
void feed_pass(const Pass& pass, const Tile& tile, const RowBuffer& row_buffer,
               const ColumnBuffer& column_buffer, hls::stream<StepFlags>& flags,
               hls::stream<RowBits>& rows, hls::stream<ColumnBits>& columns,
               hls::stream<Count>& steps);
void collect_pass(const Pass& pass, const Tile& tile, hls::stream<SumBits>& words, TileSums& to);
void store_pass(const Pass& pass, const Tile& tile, const Finish& finish,
                const Arguments& arguments, const TileSums& sums, Count steps, const Beat* extra,
                Beat* output, ChannelEntry channels[LIMITS_CHANNELS], Counters& counters);

// Sums of y and y^2, gathered by channel while y is stored.
void clear_channels(ChannelEntry channels[LIMITS_CHANNELS], Count count);
void write_channels(const ChannelEntry channels[LIMITS_CHANNELS], Count count, Address begin,
                    Beat* output);

}  // namespace e2

#endif
