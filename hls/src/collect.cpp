// SPDX-License-Identifier: Apache-2.0
// The array's sums, a word a cycle, to where they are kept.
#include "e2train/stages.hpp"

namespace e2 {

namespace {

// Visits come block by block and position by position; sums are kept by channel and position, as
// they will be stored.
struct CollectWalk {
    Count row;
    Count position;
    Count at;
    Count begin;  // of the position's first row
    Count block;  // of the block's first row
    Count rows;   // of this block
    Count left;   // rows from this block on
};

void advance(const CollectTile& tile, Count block_words, CollectWalk& walk) {
#pragma HLS INLINE
    const bool end = walk.row == walk.rows - 1;
    const bool end_block = end && walk.position == tile.positions - 1;
    const Count next_block = walk.block + block_words;
    const Count left = walk.left - tile.rows;
    walk.at = end_block ? next_block : end ? walk.begin + 1 : walk.at + tile.positions;
    walk.begin = end_block ? next_block : end ? walk.begin + 1 : walk.begin;
    walk.row = end ? 0 : walk.row + 1;
    walk.position = end_block ? 0 : end ? walk.position + 1 : walk.position;
    walk.block = end_block ? next_block : walk.block;
    walk.rows = end_block ? smaller(tile.rows, left) : walk.rows;
    walk.left = end_block ? left : walk.left;
}

void collect_pass(const CollectTile& tile, hls::stream<SumBits>& words, TileSums& to) {
    const Count block_words = on_chip(tile.rows, tile.positions);
    CollectWalk walk = CollectWalk();
    walk.left = tile.outers;
    walk.rows = smaller(tile.rows, tile.outers);
collect_words:
    for (Count i = 0; i < tile.words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 512 avg = 512
#pragma HLS PIPELINE II = 1
        const SumBits word = words.read();
        std::int64_t lanes[LANES];
    collect_lanes:
        for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
            lanes[lane] = lane_of<WIDTHS_SUM>(word, lane);
        }
        TileSumBits kept;
        set_lanes<WIDTHS_TILE_SUM>(kept, lanes);
        to.word[walk.at] = kept;
        advance(tile, block_words, walk);
    }
}

// Packed, a word fills both memories; plain, its eight lanes go to one or the other in turn.
void collect_weights(const CollectTile& tile, hls::stream<SumBits>& words,
                     WeightSums& weight_sums) {
collect_weight_words:
    for (Count i = 0; i < tile.words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 9 max = 1024 avg = 288
#pragma HLS PIPELINE II = 1
// Each sum is read and written once a tile, so no iteration waits for another.
#pragma HLS DEPENDENCE variable = weight_sums.half inter false
        const SumBits word = words.read();
        const Count at = tile.packed ? i : i >> 1;
    collect_halves:
        for (int half = 0; half < 2; ++half) {
#pragma HLS UNROLL
            const ap_uint<ROWS * WIDTHS_SUM> before = weight_sums.half[half][at];
            std::int64_t lanes[ROWS];
        add_lanes:
            for (int row = 0; row < ROWS; ++row) {
#pragma HLS UNROLL
                const std::int64_t found = lane_of<WIDTHS_SUM>(word, row);
                const std::int64_t above = lane_of<WIDTHS_SUM>(word, ROWS + row);
                const std::int64_t old = lane_of<WIDTHS_SUM>(before, row);
                const std::int64_t more = tile.packed && half == 1 ? above : found;
                lanes[row] = tile.first ? more : old + more;
            }
            ap_uint<ROWS * WIDTHS_SUM> kept;
            set_lanes<WIDTHS_SUM>(kept, lanes);
            if (tile.packed || (i & 1) == half) {
                weight_sums.half[half][at] = kept;
            }
        }
    }
}

}  // namespace

void collect(hls::stream<CollectTile>& tiles, hls::stream<SumBits>& words, TileSums& tile_sums,
             WeightSums& weight_sums) {
    const CollectTile tile = tiles.read();
    if (tile.kind == JOB_PASS) {
        collect_pass(tile, words, tile_sums);
    } else {
        collect_weights(tile, words, weight_sums);
    }
}

}  // namespace e2
