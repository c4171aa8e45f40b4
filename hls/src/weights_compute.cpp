// SPDX-License-Identifier: Apache-2.0
// Feeds a tile of weights to the MAC core and adds up its sums.
#include "e2train/products.hpp"
#include "e2train/step_words.hpp"
#include "e2train/weights.hpp"

namespace e2 {

namespace {

constexpr Count MAX_STEPS = 1 << 24;

// Visits: filter, block of channels, tap. Steps of each: the tile's positions.
struct WeightWalk {
    Count filter;
    Count block;
    Count tap_y;
    Count tap_x;
    Count y;
    Count x;
};

Count rows_of(const WeightPass& pass, const Slices& slices) {
    return pass.depthwise ? 1 : slices.packed ? PACKED_ROWS : ROWS;
}

Count blocks_of(const WeightPass& pass, const WeightTile& tile, const Slices& slices) {
    return pass.depthwise ? 1 : ceil_divide(tile.channels.count, rows_of(pass, slices));
}

bool first_of_visit(const WeightWalk& walk) {
    return walk.y == 0 && walk.x == 0;
}

// To the next step; false when there is none.
bool advance(const WeightPass& pass, const WeightTile& tile, const DataTile& data, Count blocks,
             WeightWalk& walk) {
#pragma HLS INLINE
    if (++walk.x < data.x.count) {
        return true;
    }
    walk.x = 0;
    if (++walk.y < data.y.count) {
        return true;
    }
    walk.y = 0;
    if (++walk.tap_x < pass.x.kernel) {
        return true;
    }
    walk.tap_x = 0;
    if (++walk.tap_y < pass.y.kernel) {
        return true;
    }
    walk.tap_y = 0;
    if (++walk.block < blocks) {
        return true;
    }
    walk.block = 0;
    return ++walk.filter < tile.filters.count;
}

MacCommand command_of(const WeightPass& pass, const WeightTile& tile, const DataTile& data,
                      const Slices& slices, Count blocks, const WeightWalk& walk) {
    MacCommand command;
    command.depth = times_on_chip(data.y.count, data.x.count);
    command.words = 1;
    command.packed = slices.packed;
    command.across = true;
    command.second = 0;
    command.last = walk.filter == tile.filters.count - 1 && walk.block == blocks - 1 &&
                   walk.tap_y == pass.y.kernel - 1 && walk.tap_x == pass.x.kernel - 1;
    return command;
}

// One word from each bank: all rows of the array at once.
RowWord row_operands(const WeightPass& pass, const WeightTile& tile, const DataTile& data,
                     const Slices& slices, const WeightWalk& walk, const RowBuffer& buffer) {
#pragma HLS INLINE
    const Count rows = rows_of(pass, slices);
    const Count first =
        pass.depthwise ? tile.filters.begin + walk.filter : tile.channels.begin + walk.block * rows;
    const RowSource source =
        row_source(pass, tile.channels.begin, data, first, walk.y, walk.x, walk.tap_y, walk.tap_x);
    const ByteWord zero = zero_bytes();
    RowWord words;
row_operands_rows:
    for (int row = 0; row < PACKED_ROWS; ++row) {
#pragma HLS UNROLL
        const bool idle = row >= rows || source.padding;
        const Count bank = (source.bank + row) % BUFFERS_ROW_BANKS;
        words.row[row] = idle ? zero : buffer.bank[bank][source.at];
    }
    return words;
}

// Sums as they come: filter, block of channels, tap, row of the array.
struct CollectWalk {
    Count filter;
    Count block;
    Count tap;
    Count row;
};

void advance(Count rows, Count taps, Count blocks, CollectWalk& walk) {
#pragma HLS INLINE
    if (++walk.row == rows) {
        walk.row = 0;
        if (++walk.tap == taps) {
            walk.tap = 0;
            if (++walk.block == blocks) {
                walk.block = 0;
                ++walk.filter;
            }
        }
    }
}

}  // namespace

// One big loop, as in the other passes (see pass_compute.cpp).
void feed_weights(const WeightPass& pass, const WeightTile& tile, const DataTile& data,
                  const Slices& slices, const RowBuffer& row_buffer,
                  const ColumnBuffer& column_buffer, hls::stream<StepFlags>& flags,
                  hls::stream<RowBits>& rows, hls::stream<ColumnBits>& columns,
                  hls::stream<Count>& steps) {
    const Count blocks = blocks_of(pass, tile, slices);
    WeightWalk walk = WeightWalk();
    StepWriter writer = StepWriter();
feed_steps:
    for (Count step = 0; step < MAX_STEPS; ++step) {
#pragma HLS LOOP_TRIPCOUNT min = 144 max = 40000 avg = 18432
#pragma HLS PIPELINE II = 1
        if (first_of_visit(walk)) {
            begin_visit(command_of(pass, tile, data, slices, blocks, walk), writer);
        }
        const Count gradient =
            times_on_chip(times_on_chip(walk.filter, data.y.count) + walk.y, data.x.count) + walk.x;
        ColumnWord column;
        column.first = column_buffer.word[gradient];
        column.second = column.first;
        write_step(writer, row_operands(pass, tile, data, slices, walk, row_buffer), column, flags,
                   rows, columns);
        if (!advance(pass, tile, data, blocks, walk)) {
            steps.write(step + 1);
            break;
        }
    }
}

// A visit's word holds sums of neighbouring channels at one tap; sums are kept channel by channel.
// One loop over the rows of all visits, as short visits leave no time to start a loop for each.
void collect_weights(const WeightPass& pass, const WeightTile& tile, const Slices& slices,
                     bool first, hls::stream<SumBits>& words, WeightSums& sums) {
    const Count taps = weight_taps(pass);
    const Count per_visit = rows_of(pass, slices);
    const Count channels = pass.depthwise ? 1 : tile.channels.count;
    const Count blocks = blocks_of(pass, tile, slices);
    const Count rows = smaller(per_visit, channels);
    const Count visits = times_on_chip(times_on_chip(tile.filters.count, blocks), taps);
    CollectWalk walk = {0, 0, 0, 0};
    SumBits word;
collect_sums:
    for (Count step = 0; step < times(visits, rows); ++step) {
#pragma HLS LOOP_TRIPCOUNT min = 9 max = 8192 avg = 2304
// Each sum is read and written once a tile, so no iteration waits for another.
#pragma HLS DEPENDENCE variable = sums.sum inter false
#pragma HLS PIPELINE II = 1
        if (walk.row == 0) {
            word = words.read();
        }
        const Count channel = walk.block * per_visit + walk.row;
        if (channel < channels) {
            const Count at = times(times_on_chip(walk.filter, channels) + channel, taps) + walk.tap;
            const Sum before = first ? Sum(0) : sums.sum[at];
            sums.sum[at] = before + sum_of(word, walk.row);
        }
        advance(rows, taps, blocks, walk);
    }
}

RowSource row_source(const WeightPass& pass, Count first_channel, const DataTile& data,
                     Count channel, Count position_y, Count position_x, Count tap_y, Count tap_x) {
    const Count y = source_of(pass.y, data.y.begin + position_y, tap_y);
    const Count x = source_of(pass.x, data.x.begin + position_x, tap_x);
    const Count block = channel / BUFFERS_ROW_BANKS - first_channel / BUFFERS_ROW_BANKS;
    const Count row = times_on_chip(block, data.from_y.count) + (y - data.from_y.begin);
    RowSource source;
    source.bank = channel % BUFFERS_ROW_BANKS;
    source.padding = y < 0 || y >= pass.y.from || x < 0 || x >= pass.x.from;
    source.at =
        source.padding ? 0 : times_on_chip(row, data.from_x.count) + (x - data.from_x.begin);
    return source;
}

}  // namespace e2
