// SPDX-License-Identifier: Apache-2.0
// The visits of a tile to the array, each with the addresses at which its operands begin.
#include "e2train/stages.hpp"

namespace e2 {

namespace {

// First tap that meets a position, where it reads, and the last of the taps.
struct AxisStart {
    Count tap;
    Count at;  // coordinate in the region
    Count last;
    bool empty;
};

// With stride 2 a transposed convolution meets only every second tap.
AxisStart start_of(const VisitTile& tile, Count begin, Count from, Count kernel, Count position) {
#pragma HLS INLINE
    const Count place = begin + position;
    AxisStart start;
    start.tap = tile.halved ? place & 1 : 0;
    const Count reads = tile.halved ? (place - start.tap) >> 1 : place;
    const Count forward = begin + (tile.stride == 2 ? 2 * position : position);
    const Count room = kernel - start.tap;
    const Count count = tile.halved ? (room + 1) >> 1 : room;
    start.at = tile.transposed ? reads - from : forward;
    start.empty = count == 0;
    start.last = start.empty ? 0 : count - 1;
    return start;
}

// Blocks of rows, positions in each.
struct PassWalk {
    Count y;
    Count x;
    Count outer;   // first of the block
    Count lane;    // of a word of weights
    Count row;     // first word of the block's weights
    Count column;  // and of its plane (depthwise)
};

void next_block(const VisitTile& tile, Count rows, PassWalk& walk) {
#pragma HLS INLINE
    walk.outer += rows;
    walk.lane += rows;
    if (walk.lane == LANES) {
        walk.lane = 0;
        walk.row += tile.block_words;
    }
    walk.column += tile.depthwise ? tile.region : 0;
}

void advance(const VisitTile& tile, Count rows, PassWalk& walk) {
#pragma HLS INLINE
    const bool end_x = walk.x == tile.x_count - 1;
    const bool end_y = end_x && walk.y == tile.y_count - 1;
    walk.x = end_x ? 0 : walk.x + 1;
    walk.y = end_y ? 0 : end_x ? walk.y + 1 : walk.y;
    if (end_y) {
        next_block(tile, rows, walk);
    }
}

void walk_pass(const VisitTile& tile, hls::stream<PassVisit>& visits) {
    const Count rows = tile.depthwise ? 1 : tile.packed ? PACKED_ROWS : ROWS;
    PassWalk walk = PassWalk();
walk_positions:
    for (Count i = 0; i < tile.visits; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 512 avg = 64
#pragma HLS PIPELINE II = 1
        const AxisStart y = start_of(tile, tile.y_begin, tile.y_from, tile.kernel_y, walk.y);
        const AxisStart x = start_of(tile, tile.x_begin, tile.x_from, tile.kernel_x, walk.x);
        PassVisit visit;
        visit.empty = y.empty || x.empty;
        visit.y = place(y.at);
        visit.x = place(x.at);
        visit.column = place(walk.column + on_chip(y.at, tile.from_x) + x.at);
        visit.row = place(visit.empty ? 0 : walk.row + on_chip(y.tap, tile.kernel_x) + x.tap);
        visit.last_y = place(visit.empty ? 0 : y.last);
        visit.last_x = place(visit.empty ? 0 : x.last);
        visit.last_inner = place(visit.empty ? 0 : tile.inners - 1);
        visit.lane = place(walk.lane);
        visit.words = place(smaller(rows, tile.outers - walk.outer));
        visit.end = i == tile.visits - 1;
        visits.write(visit);
        advance(tile, rows, walk);
    }
}

// Filters (or pairs of them), blocks of channels, taps; and the row of the array, since a visit
// takes longer than its eight rows need to be set one after the other.
struct WeightWalk {
    Count filter;
    Count block;
    Count tap_y;
    Count tap_x;
};

std::uint32_t first_rows(Count count) {
    const Count rows = smaller(larger(count, 0), PACKED_ROWS);
    return (1U << rows) - 1U;
}

// The rows of a visit that hold channels of a block, or the two filters' own (depthwise).
void choose_rows(const VisitTile& tile, const WeightWalk& walk, WeightVisit& visit) {
#pragma HLS INLINE
    const Count channel = tile.first + walk.filter;  // depthwise
    const bool two = tile.twin && walk.filter + 1 < tile.filters;
    const Count after = channel + 1;
    const Count channels = tile.inners - (walk.block << (tile.packed ? 5 : 3));
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    if (tile.depthwise && tile.packed) {
        low = 1U << (bank_of(channel));
        high = two ? 1U << (bank_of(after)) : 0U;
    } else if (tile.depthwise) {
        high = two ? 1U << (row_of(after)) : 0U;
        low = 1U << (row_of(channel)) | high;
        visit.ahead = static_cast<std::uint8_t>(high);
    } else if (tile.packed) {
        low = first_rows(channels);
        high = tile.twin ? two ? low : 0U : first_rows(channels - PACKED_ROWS);
    } else {
        low = first_rows(smaller(channels, ROWS));
    }
    visit.low = static_cast<std::uint16_t>(low);
    visit.high = static_cast<std::uint16_t>(tile.depthwise && !tile.packed ? 0 : high);
}

// Where a row of the visit reads, before positions: the block of its channel, and the tap.
void place_row(const VisitTile& tile, Count block, Count tap_y, Count tap_x, bool odd, int row,
               WeightVisit& visit) {
#pragma HLS INLINE
    visit.offset[row] = place(on_chip(block, tile.region) + on_chip(tap_y, tile.from_x) + tap_x);
    visit.tap_y[row] = static_cast<std::uint8_t>(tap_y);
    visit.tap_x[row] = static_cast<std::uint8_t>(tap_x);
    visit.odd = static_cast<std::uint8_t>(visit.odd | (odd ? 1U << row : 0U));
}

// The block of 16 channels, in the buffer, that a row reads; `odd`: its upper eight banks.
void place_weight(const VisitTile& tile, const WeightWalk& walk, int row, WeightVisit& visit) {
#pragma HLS INLINE
    const Count channel = tile.first + walk.filter;
    const Count own = row_of(channel) == row ? channel : channel + 1;  // depthwise
    const Count block = tile.depthwise ? banks_of(own) : tile.packed ? walk.block : walk.block >> 1;
    const bool odd = tile.depthwise ? bank_of(own) >= ROWS : (walk.block & 1) != 0;
    place_row(tile, block, walk.tap_y, walk.tap_x, odd && !tile.packed, row, visit);
}

void advance(const VisitTile& tile, Count blocks, WeightWalk& walk) {
#pragma HLS INLINE
    const bool end_x = walk.tap_x == tile.kernel_x - 1;
    const bool end_y = end_x && walk.tap_y == tile.kernel_y - 1;
    const bool end_block = end_y && walk.block == blocks - 1;
    walk.tap_x = end_x ? 0 : walk.tap_x + 1;
    walk.tap_y = end_y ? 0 : end_x ? walk.tap_y + 1 : walk.tap_y;
    walk.block = end_block ? 0 : end_y ? walk.block + 1 : walk.block;
    walk.filter += !end_block ? 0 : tile.twin ? 2 : 1;
}

void walk_weights(const VisitTile& tile, hls::stream<WeightVisit>& visits) {
    const Count blocks = tile.twin     ? 1
                         : tile.packed ? (tile.inners + PACKED_CHANNELS - 1) >> 5
                                       : (tile.inners + ROWS - 1) >> 3;
    WeightWalk walk = WeightWalk();
    WeightVisit visit = WeightVisit();
walk_weight_visits:
    for (Count i = 0; i < tile.visits; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 9 max = 1024 avg = 288
    walk_weight_rows:
        for (int row = 0; row < ROWS; ++row) {
#pragma HLS PIPELINE II = 1
            if (row == 0) {
                visit = WeightVisit();
                visit.first = place(on_chip(walk.filter, tile.positions));
                const bool two = tile.twin && walk.filter + 1 < tile.filters;
                visit.second = place(visit.first + (two ? tile.positions : 0));
                visit.end = i == tile.visits - 1;
                choose_rows(tile, walk, visit);
            }
            place_weight(tile, walk, row, visit);
            if (row == ROWS - 1) {
                visits.write(visit);
                advance(tile, blocks, walk);
            }
        }
    }
}

void walk_slots(const VisitTile& tile, const SlotVisits& slots, hls::stream<WeightVisit>& visits) {
    WeightVisit visit = WeightVisit();
walk_slot_visits:
    for (Count i = 0; i < tile.visits; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 1024 avg = 256
    walk_slot_rows:
        for (int row = 0; row < ROWS; ++row) {
#pragma HLS PIPELINE II = 1
            if (row == 0) {
                const VisitHead head = head_of(slots.head[i]);
                const Count filter = head.filter - tile.filter;
                const bool two = filter + 1 < tile.filters;
                visit = WeightVisit();
                visit.first = place(on_chip(filter, tile.positions));
                visit.second = place(visit.first + (two ? tile.positions : 0));
                visit.low = static_cast<std::uint16_t>(head.valid);
                visit.ahead = static_cast<std::uint8_t>(head.second);
                visit.end = i == tile.visits - 1;
            }
            const Slot slot = slot_of(slots.slots[row / 4][i], row % 4);
            const Count block = (slot.block >> 1) - tile.slot_base;
            place_row(tile, block, slot.tap_y, slot.tap_x, (slot.block & 1) != 0, row, visit);
            if (row == ROWS - 1) {
                visits.write(visit);
            }
        }
    }
}

}  // namespace

void walk_visits(hls::stream<VisitTile>& tiles, const SlotVisits& slots,
                 hls::stream<PassVisit>& pass_visits, hls::stream<WeightVisit>& weight_visits) {
    const VisitTile tile = tiles.read();
    if (tile.kind == JOB_PASS) {
        walk_pass(tile, pass_visits);
    } else if (tile.kind == JOB_WEIGHTS) {
        walk_weights(tile, weight_visits);
    } else {
        walk_slots(tile, slots, weight_visits);
    }
}

}  // namespace e2
