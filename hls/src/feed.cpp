// SPDX-License-Identifier: Apache-2.0
// The words of the array's steps, one step a cycle. All visits of a tile are one flat loop, since a
// nest whose inner bounds change would drain the pipeline at every visit: with 144 steps a visit,
// ten lost cycles are 7 %. What is carried from step to step is counters and addresses alone.
#include "e2train/stages.hpp"

namespace e2 {

namespace {

std::uint32_t flag_if(bool set, int bit) {
#pragma HLS INLINE
    return static_cast<std::uint32_t>(set) << bit;
}

// ---- along positions ----------------------------------------------------------------------------

// Taps and channels that are done; both addresses and where their row of taps and channel begin.
struct PassWalk {
    Count inner;
    Count tap_y;
    Count tap_x;
    Count column;
    Count column_y;
    Count column_inner;
    Count row;
    Count row_y;
    Count row_inner;
    Count y;
    Count x;
};

PassWalk begin_visit(const PassVisit& visit) {
#pragma HLS INLINE
    const PassWalk walk = {
        0,         0,         0,         visit.column, visit.column, visit.column,
        visit.row, visit.row, visit.row, visit.y,      visit.x};
    return walk;
}

// One tap, row of taps or channel further: each choice is added on its own, so that no addition
// waits for a comparison.
PassWalk next_step(const FeedTile& tile, const PassVisit& visit, const PassWalk& at, bool end_x,
                   bool end_y) {
#pragma HLS INLINE
    const Count down = tile.step < 0 ? -tile.from_x : tile.from_x;
    const Count column_y = at.column_y + down;
    const Count column_inner = at.column_inner + tile.region;
    const Count row_y = at.row_y + tile.row_tap_y;
    const Count row_inner = at.row_inner + tile.row_inner;
    PassWalk next;
    next.inner = end_y ? at.inner + 1 : at.inner;
    next.tap_y = end_y ? 0 : end_x ? at.tap_y + 1 : at.tap_y;
    next.tap_x = end_x ? 0 : at.tap_x + 1;
    next.column_inner = end_y ? column_inner : at.column_inner;
    next.column_y = end_y ? column_inner : end_x ? column_y : at.column_y;
    next.column = end_y ? column_inner : end_x ? column_y : at.column + tile.step;
    next.row_inner = end_y ? row_inner : at.row_inner;
    next.row_y = end_y ? row_inner : end_x ? row_y : at.row_y;
    next.row = end_y ? row_inner : end_x ? row_y : at.row + tile.row_tap_x;
    next.y = end_y ? visit.y : end_x ? at.y + tile.step : at.y;
    next.x = end_x ? visit.x : at.x + tile.step;
    return next;
}

// A word of 16 weights: its rows from lane `lane` on, each in lane 0 of its row of operands.
RowBits weight_operands(const FeedTile& tile, Count lane, Part low, Part high) {
#pragma HLS INLINE
    const bool upper = lane >= ROWS;
    const Part first =
        spread(static_cast<std::uint32_t>(low)) | spread(static_cast<std::uint32_t>(high)) << 4;
    const Part second = spread(static_cast<std::uint32_t>(low >> 32)) |
                        spread(static_cast<std::uint32_t>(high >> 32)) << 4;
    const Part used = upper ? second : first;
    const Part one = used >> (WIDTHS_ACTIVATION * row_of(lane));  // the row of a depthwise channel
    RowBits bits = 0;
weight_operand_rows:
    for (int row = 0; row < PACKED_ROWS; ++row) {
#pragma HLS UNROLL
        const Part word = row < ROWS ? used : second;
        const bool idle = tile.depthwise || (!tile.packed && row >= ROWS);
        const Part value = row == 0 && tile.depthwise ? one : word >> (8 * (row % ROWS));
        set_part(bits, BYTE_PARTS * row, idle && row > 0 ? 0 : value & 0xff);
    }
    return bits;
}

ColumnBits column_operands(const HalfBits& word, bool padding) {
#pragma HLS INLINE
    ColumnBits bits = 0;
column_operand_parts:
    for (int i = 0; i < HALF_PARTS; ++i) {
#pragma HLS UNROLL
        set_part(bits, i, padding ? 0 : part(word, i));
    }
    return bits;
}

bool inside(Count at, Count size) {
#pragma HLS INLINE
    return at >= 0 && at < size;
}

// ---- to the weights -----------------------------------------------------------------------------

// Where the positions of a visit stand: in the gradients' order, and in the region of x.
struct PositionWalk {
    Count position;
    Count x;
    Count y_at;
    Count x_at;
    Count word;  // y_at * width of the region + x_at
    Count row;   // the same at the row's begin
};

PositionWalk first_position(const FeedTile& tile) {
    const Count word = on_chip(tile.y_begin, tile.from_x) + tile.x_begin;
    const PositionWalk walk = {0, 0, tile.y_begin, tile.x_begin, word, word};
    return walk;
}

PositionWalk next_position(const FeedTile& tile, const PositionWalk& begin, const PositionWalk& at,
                           bool end_x, bool end) {
#pragma HLS INLINE
    const Count down = tile.stride == 2 ? 2 * tile.from_x : tile.from_x;
    PositionWalk next;
    next.position = end ? 0 : at.position + 1;
    next.x = end_x ? 0 : at.x + 1;
    next.y_at = end ? begin.y_at : end_x ? at.y_at + tile.stride : at.y_at;
    next.x_at = end_x ? begin.x_at : at.x_at + tile.stride;
    next.row = end ? begin.row : end_x ? at.row + down : at.row;
    next.word = end ? begin.row : end_x ? at.row + down : at.word + tile.stride;
    return next;
}

// Nibbles of a bank at the address of its row.
struct Nibbles {
    Part low;
    Part high;
};

struct RowsRead {
    Nibbles bank[BUFFERS_ROW_BANKS];
};

// Every bank reads once, at its row's own address; outside the region it is padding.
RowsRead read_banks(const FeedTile& tile, const WeightVisit& visit, const PositionWalk& at,
                    const RowBuffer& buffer) {
#pragma HLS INLINE
    RowsRead read;
read_banks_rows:
    for (int row = 0; row < ROWS; ++row) {
#pragma HLS UNROLL
        const bool within = inside(at.y_at + visit.tap_y[row], tile.from_y) &&
                            inside(at.x_at + visit.tap_x[row], tile.from_x);
        const Count word = within ? tile.half + visit.offset[row] + at.word : 0;
        for (int bank = row; bank < BUFFERS_ROW_BANKS; bank += ROWS) {
#pragma HLS UNROLL
            const Nibbles found = {buffer.low[bank][word], buffer.high[bank][word]};
            const Nibbles zero = {0, 0};
            read.bank[bank] = within ? found : zero;
        }
    }
    return read;
}

// Packed: both nibbles of a bank, those that hold a channel. Plain: a row's lower or upper bank.
RowBits row_operands(const FeedTile& tile, const WeightVisit& visit, const RowsRead& read) {
#pragma HLS INLINE
    RowBits bits = 0;
row_operand_rows:
    for (int row = 0; row < PACKED_ROWS; ++row) {
#pragma HLS UNROLL
        const int slot = row % ROWS;
        const bool upper = tile.packed ? row >= ROWS : (visit.odd >> slot & 1U) != 0;
        const Nibbles found = upper ? read.bank[slot + ROWS] : read.bank[slot];
        const bool low = (visit.low >> row & 1U) != 0;
        const bool high = tile.packed ? (visit.high >> row & 1U) != 0 : low;
        const Part low_bits = low ? found.low : 0;
        const Part high_bits = high ? found.high : 0;
    row_operand_parts:
        for (int i = 0; i < BYTE_PARTS; ++i) {
#pragma HLS UNROLL
            const Part bytes = spread(static_cast<std::uint32_t>(low_bits >> (32 * i))) |
                               spread(static_cast<std::uint32_t>(high_bits >> (32 * i))) << 4;
            set_part(bits, BYTE_PARTS * row + i, bytes);
        }
    }
    return bits;
}

}  // namespace

Count feed_pass(const FeedTile& tile, hls::stream<PassVisit>& visits, const RowBuffer& row_buffer,
                const ColumnBuffer& column_buffer, hls::stream<StepFlags>& flags,
                hls::stream<RowBits>& rows, hls::stream<ColumnBits>& columns) {
    // The next visit waits in registers, so that no step waits for the stream.
    PassVisit next = visits.read();
    PassVisit visit = next;
    PassWalk walk = PassWalk();
    Count run = 0;
    bool fresh = true;
feed_pass_steps:
    for (Count step = 0; step < tile.steps; ++step) {
#pragma HLS LOOP_TRIPCOUNT min = 144 max = 40000 avg = 9216
#pragma HLS PIPELINE II = 1
        if (fresh) {
            visit = next;
            walk = begin_visit(visit);
            if (!visit.end) {
                next = visits.read();
            }
        }
        const bool end_x = walk.tap_x == visit.last_x;
        const bool end_y = end_x && walk.tap_y == visit.last_y;
        const bool end = end_y && walk.inner == visit.last_inner;
        const bool padding =
            visit.empty || !inside(walk.y, tile.from_y) || !inside(walk.x, tile.from_x);
        const Count bank = bank_of(walk.row);
        const Count word = tile.half + banks_of(walk.row);
        flags.write(
            StepFlags(flag_if(fresh, CORE_FIRST) | flag_if(end, CORE_LAST) |
                      flag_if(tile.packed && run == 0, CORE_RUN_FIRST) |
                      flag_if(tile.packed && (run == ARRAY_PACKED_RUN - 1 || end), CORE_RUN_LAST) |
                      flag_if(tile.packed, CORE_PACKED) | flag_if(end && visit.end, CORE_END) |
                      static_cast<std::uint32_t>(visit.words) << CORE_WORDS));
        rows.write(weight_operands(tile, visit.lane, row_buffer.low[bank][word],
                                   row_buffer.high[bank][word]));
        columns.write(column_operands(column_buffer.word[padding ? 0 : walk.column], padding));
        walk = next_step(tile, visit, walk, end_x, end_y);
        run = end || run == ARRAY_PACKED_RUN - 1 ? 0 : run + 1;
        fresh = end;
    }
    return tile.steps;
}

Count feed_weights(const FeedTile& tile, hls::stream<WeightVisit>& visits,
                   const RowBuffer& row_buffer, const ColumnBuffer& column_buffer,
                   hls::stream<StepFlags>& flags, hls::stream<RowBits>& rows,
                   hls::stream<ColumnBits>& columns) {
    const PositionWalk begin = first_position(tile);
    PositionWalk walk = begin;
    WeightVisit visit = WeightVisit();
feed_weight_steps:
    for (Count step = 0; step < tile.steps; ++step) {
#pragma HLS LOOP_TRIPCOUNT min = 144 max = 130000 avg = 18432
#pragma HLS PIPELINE II = 1
        const bool fresh = walk.position == 0;
        const bool end_x = walk.x == tile.x_count - 1;
        const bool end = walk.position == tile.positions - 1;
        if (fresh) {
            visit = visits.read();
        }
        flags.write(StepFlags(flag_if(fresh, CORE_FIRST) | flag_if(end, CORE_LAST) |
                              flag_if(true, CORE_ACROSS) | flag_if(tile.packed, CORE_PACKED) |
                              flag_if(tile.twin, CORE_OTHER) | flag_if(end && visit.end, CORE_END) |
                              static_cast<std::uint32_t>(visit.ahead) << CORE_AHEAD |
                              (tile.packed ? 2U : 1U) << CORE_WORDS));
        rows.write(row_operands(tile, visit, read_banks(tile, visit, walk, row_buffer)));
        const HalfBits first = column_buffer.word[visit.first + walk.position];
        const HalfBits second = column_buffer.word[visit.second + walk.position];
        ColumnBits column;
    feed_column_parts:
        for (int i = 0; i < HALF_PARTS; ++i) {
#pragma HLS UNROLL
            set_part(column, i, part(first, i));
            set_part(column, HALF_PARTS + i, part(second, i));
        }
        columns.write(column);
        walk = next_position(tile, begin, walk, end_x, end);
    }
    return tile.steps;
}

void feed(hls::stream<FeedTile>& tiles, hls::stream<PassVisit>& pass_visits,
          hls::stream<WeightVisit>& weight_visits, const RowBuffer& row_buffer,
          const ColumnBuffer& column_buffer, hls::stream<bool>& begun, hls::stream<bool>& loaded,
          hls::stream<StepFlags>& flags, hls::stream<RowBits>& rows,
          hls::stream<ColumnBits>& columns, hls::stream<Count>& steps) {
    const FeedTile tile = tiles.read();
    loaded.read();
    const Count taken =
        tile.kind == JOB_PASS
            ? feed_pass(tile, pass_visits, row_buffer, column_buffer, flags, rows, columns)
            : feed_weights(tile, weight_visits, row_buffer, column_buffer, flags, rows, columns);
    steps.write(taken);
    begun.read();
}

}  // namespace e2
