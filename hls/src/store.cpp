// SPDX-License-Identifier: Apache-2.0
// Words of a finished tile to memory, a burst a run; and what the tile has counted.
#include "e2train/stages.hpp"

namespace e2 {

namespace {

void store_halves(Beat* to, Count words, hls::stream<Part>& halves) {
store_half_beats:
    for (Count i = 0; i < HALF_PARTS * words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 4 max = 128 avg = 64
#pragma HLS PIPELINE II = 1
        to[i] = halves.read();
    }
}

void store_raws(Beat* to, Count words, hls::stream<QuarterBits>& raws) {
    QuarterBits quarter = 0;
store_raw_beats:
    for (Count i = 0; i < LANES * words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 512 avg = 256
#pragma HLS PIPELINE II = 1
        if (i % QUARTER == 0) {
            quarter = raws.read();
        }
        to[i] = chosen_part(quarter, i % QUARTER);
    }
}

}  // namespace

void store_words(hls::stream<StoreTile>& tiles, hls::stream<Part>& halves,
                 hls::stream<QuarterBits>& raws, hls::stream<TileTally>& tallies,
                 hls::stream<Count>& steps, hls::stream<Count>& column_beats,
                 hls::stream<Count>& second_beats, hls::stream<Count>& row_beats,
                 hls::stream<Count>& beside_beats, Beat* output, Counters& counters) {
    const StoreTile tile = tiles.read();
    const Address beats = tile.raw ? RAW_WORD_BEATS : HALF_WORD_BEATS;
    Address plane = tile.begin;
    Count words = 0;
store_planes:
    for (Count i = 0; i < tile.planes; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 0 max = 512 avg = 32
        Address run_begin = plane;
    store_runs:
        for (Count run = 0; run < tile.runs; ++run) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 32 avg = 2
            Beat* to = output + tile.output + beats * run_begin;
            if (tile.raw) {
                store_raws(to, tile.words, raws);
            } else {
                store_halves(to, tile.words, halves);
            }
            words += tile.words;
            run_begin += tile.run_step;
        }
        plane += tile.plane_step;
    }
    const TileTally tally = tallies.read();
    const Count extra = second_beats.read() + beside_beats.read();
    counters.peak = tally.peak > counters.peak ? tally.peak : counters.peak;
    counters.saturations += static_cast<std::uint64_t>(tally.saturations);
    counters.output_beats += static_cast<std::uint64_t>(words) * beats;
    counters.column_beats += static_cast<std::uint64_t>(column_beats.read());
    counters.row_beats += static_cast<std::uint64_t>(row_beats.read());
    counters.extra_beats += static_cast<std::uint64_t>(extra);
    counters.core_steps += static_cast<std::uint64_t>(steps.read());
    ++counters.tiles;
}

}  // namespace e2
