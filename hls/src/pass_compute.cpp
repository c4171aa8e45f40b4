// SPDX-License-Identifier: Apache-2.0
// Feeds a tile to the MAC core, visit by visit, and collects its sums.
#include "e2train/pass.hpp"
#include "e2train/step_words.hpp"

namespace e2 {

namespace {

constexpr Count MAX_STEPS = 1 << 24;

// The visits of a tile and the steps of each: blocks of rows, positions; channels, taps.
struct Walk {
    Count block;
    Count y;
    Count x;
    Count inner;
    Count tap_y;  // which of the taps that meet this position
    Count tap_x;
    Count taps_y;  // at least 1: a position that no tap meets takes one step of zeros
    Count taps_x;
    bool empty;
    bool first;  // step of its visit
    bool last;
};

Count blocks_of(const Pass& pass, const Tile& tile) {
    return ceil_divide(tile.outers, rows_a_visit(pass));
}

void begin_visit(const Pass& pass, const Tile& tile, Walk& walk) {
#pragma HLS INLINE
    const Count taps_y = taps_of(pass.y, tile.y.begin + walk.y);
    const Count taps_x = taps_of(pass.x, tile.x.begin + walk.x);
    walk.empty = taps_y == 0 || taps_x == 0;
    walk.taps_y = walk.empty ? 1 : taps_y;
    walk.taps_x = walk.empty ? 1 : taps_x;
    walk.inner = 0;
    walk.tap_y = 0;
    walk.tap_x = 0;
    walk.first = true;
}

Count depth_of(const Pass& pass, const Walk& walk) {
    return times_on_chip(walk.empty || pass.depthwise ? 1 : pass.inner,
                         times_on_chip(walk.taps_y, walk.taps_x));
}

Walk first_step(const Pass& pass, const Tile& tile) {
    Walk walk = Walk();
    begin_visit(pass, tile, walk);
    return walk;
}

// To the next visit; false when there is none.
bool advance_visit(const Pass& pass, const Tile& tile, Walk& walk) {
#pragma HLS INLINE
    if (++walk.x == tile.x.count) {
        walk.x = 0;
        if (++walk.y == tile.y.count) {
            walk.y = 0;
            if (++walk.block == blocks_of(pass, tile)) {
                return false;
            }
        }
    }
    begin_visit(pass, tile, walk);
    return true;
}

// To the next step of the tile; false when there is none.
bool advance(const Pass& pass, const Tile& tile, Walk& walk) {
#pragma HLS INLINE
    walk.first = false;
    if (++walk.tap_x == walk.taps_x) {
        walk.tap_x = 0;
        if (++walk.tap_y == walk.taps_y) {
            walk.tap_y = 0;
            const Count channels = walk.empty || pass.depthwise ? 1 : pass.inner;
            if (++walk.inner == channels) {
                return advance_visit(pass, tile, walk);
            }
        }
    }
    return true;
}

MacCommand command_of(const Pass& pass, const Tile& tile, const Walk& walk) {
    const Count per_visit = rows_a_visit(pass);
    const bool last_block = walk.block == blocks_of(pass, tile) - 1;
    MacCommand command;
    command.depth = depth_of(pass, walk);
    command.words =
        static_cast<std::uint8_t>(smaller(per_visit, tile.outers - walk.block * per_visit));
    command.packed = !pass.transposed;
    command.across = false;
    command.second = 0;
    command.last = last_block && walk.y == tile.y.count - 1 && walk.x == tile.x.count - 1;
    return command;
}

// Weights of this step: a word holds 16 rows; plain visits take half of it, depthwise ones one.
RowWord row_operands(const Pass& pass, const Walk& walk, Count tap, const RowBuffer& buffer) {
#pragma HLS INLINE
    const Count per_visit = rows_a_visit(pass);
    const Count block = walk.block * per_visit / LANES;
    const Count offset = walk.block * per_visit % LANES;
    const Count inner = pass.depthwise ? block : times_on_chip(pass.inner, block) + walk.inner;
    const Count at = times_on_chip(inner, taps(pass)) + tap;
    const ByteWord word = buffer.bank[at % BUFFERS_ROW_BANKS][at / BUFFERS_ROW_BANKS];
    RowWord rows;
row_operands_rows:
    for (int row = 0; row < PACKED_ROWS; ++row) {
#pragma HLS UNROLL
        rows.row[row].lane[0] = row < per_visit ? word.lane[(row + offset) % LANES] : Byte(0);
    }
    return rows;
}

ColumnWord column_operands(const Pass& pass, const Tile& tile, const Walk& walk, Count tap_y,
                           Count tap_x, const ColumnBuffer& buffer) {
#pragma HLS INLINE
    const Count plane = pass.depthwise ? walk.block : walk.inner;
    const Count y = source_of(pass.y, tile.y.begin + walk.y, tap_y);
    const Count x = source_of(pass.x, tile.x.begin + walk.x, tap_x);
    const bool padding = y < 0 || y >= pass.y.from || x < 0 || x >= pass.x.from || walk.empty;
    const Count row = times_on_chip(plane, tile.from_y.count) + (y - tile.from_y.begin);
    const Count at = padding ? 0 : times_on_chip(row, tile.from_x.count) + (x - tile.from_x.begin);
    ColumnWord columns;
column_operands_lanes:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        columns.first.lane[lane] = padding ? Half(0) : buffer.word[at].lane[lane];
    }
    return columns;
}

}  // namespace

// One big loop over the steps of all visits, one a cycle: the counters of `Walk` replace a nest of
// loops whose bounds change from visit to visit, which would not flatten into one pipeline.
void feed_pass(const Pass& pass, const Tile& tile, const RowBuffer& row_buffer,
               const ColumnBuffer& column_buffer, hls::stream<StepFlags>& flags,
               hls::stream<RowBits>& rows, hls::stream<ColumnBits>& columns,
               hls::stream<Count>& steps) {
    Walk walk = first_step(pass, tile);
    StepWriter writer = StepWriter();
feed_steps:
    for (Count step = 0; step < MAX_STEPS; ++step) {
#pragma HLS LOOP_TRIPCOUNT min = 144 max = 40000 avg = 9216
#pragma HLS PIPELINE II = 1
        const Count tap_y =
            first_tap(pass.y, tile.y.begin + walk.y) + walk.tap_y * tap_step(pass.y);
        const Count tap_x =
            first_tap(pass.x, tile.x.begin + walk.x) + walk.tap_x * tap_step(pass.x);
        const Count tap = walk.empty ? 0 : times_on_chip(tap_y, pass.x.kernel) + tap_x;
        if (walk.first) {
            begin_visit(command_of(pass, tile, walk), writer);
        }
        write_step(writer, row_operands(pass, walk, tap, row_buffer),
                   column_operands(pass, tile, walk, tap_y, tap_x, column_buffer), flags, rows,
                   columns);
        if (!advance(pass, tile, walk)) {
            steps.write(step + 1);
            break;
        }
    }
}

// Sums come visit by visit; they are kept by channel and position, as they will be stored.
void collect_pass(const Pass& pass, const Tile& tile, hls::stream<SumBits>& words, TileSums& to) {
    const Count per_visit = rows_a_visit(pass);
    const Count positions = times_on_chip(tile.y.count, tile.x.count);
collect_blocks:
    for (Count block = 0; block < blocks_of(pass, tile); ++block) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 60 avg = 4
        const Count rows = smaller(per_visit, tile.outers - block * per_visit);
    collect_positions:
        for (Count position = 0; position < positions; ++position) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 512 avg = 32
        collect_rows:
            for (Count row = 0; row < rows; ++row) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 16 avg = 16
#pragma HLS PIPELINE II = 1
                const SumBits word = words.read();
                const Count at = times_on_chip(positions, block * per_visit + row) + position;
            collect_lanes:
                for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
                    to.word[at].lane[lane] = sum_of(word, lane);
                }
            }
        }
    }
}

}  // namespace e2
