// SPDX-License-Identifier: Apache-2.0
#include "e2train/tiles.hpp"

namespace e2 {

void run_tiles(const Job& job, const Beat* columns, const Beat* rows, const Beat* extra,
               const Beat* second, Beat* output, Memories& memories,
               ChannelEntry channels[LIMITS_CHANNELS], Counters& counters) {
    const Count tiles = job.tiles;
run_tiles_loop:
    for (Count index = 0; index < tiles; ++index) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 4096 avg = 256
// Ten processes side by side. The column buffer and the tile's sums exist twice (ping-pong), so the
// next tile loads while this one is multiplied and the one before is stored; the row buffer has two
// halves, which tiles take in turn. There is this one region for all passes: a region of its own
// for each would build the array and the buffers three times. The job goes to the walker alone,
// and each memory to the processes at its two ends.
#pragma HLS DATAFLOW
        ColumnBuffer column_buffer;
        TileSums tile_sums;
// The row buffer's halves are kept apart by `begun` and `loaded` (stages.hpp), not by copies: two
// copies of 256 words a bank would leave half of every block RAM empty.
#pragma HLS STREAM variable = memories.row_buffer.low type = unsync
#pragma HLS STREAM variable = memories.row_buffer.high type = unsync
        hls::stream<ColumnLoad> column_tiles("column_tiles");
        hls::stream<RowLoad> row_tiles("row_tiles");
        hls::stream<VisitTile> visit_tiles("visit_tiles");
        hls::stream<FeedTile> feed_tiles("feed_tiles");
        hls::stream<CollectTile> collect_tiles("collect_tiles");
        hls::stream<StoreTile> beside_tiles("beside_tiles");
        hls::stream<StoreTile> finish_tiles("finish_tiles");
        hls::stream<StoreTile> store_tiles("store_tiles");
        hls::stream<PassVisit> pass_visits("pass_visits");
        hls::stream<WeightVisit> weight_visits("weight_visits");
        hls::stream<bool> begun("begun");
        hls::stream<bool> loaded("loaded");
        hls::stream<StepFlags> flags("flags");
        hls::stream<RowBits> row_words("row_words");
        hls::stream<ColumnBits> column_words("column_words");
        hls::stream<SumBits> sums("sums");
        hls::stream<OpenBits> opens("opens");
        hls::stream<Part> residuals("residuals");
        hls::stream<QuarterBits> carries("carries");
        hls::stream<Part> halves("halves");
        hls::stream<QuarterBits> raws("raws");
        hls::stream<TileTally> tallies("tallies");
        hls::stream<Count> steps("steps");
        hls::stream<Count> column_beats("column_beats");
        hls::stream<Count> second_beats("second_beats");
        hls::stream<Count> row_beats("row_beats");
        hls::stream<Count> beside_beats("beside_beats");
// Wide words wait in registers alone: what is deeper than 2 would be shift registers of LUTs.
#pragma HLS STREAM variable = begun depth = 2
#pragma HLS STREAM variable = loaded depth = 2
#pragma HLS STREAM variable = flags depth = 2
#pragma HLS STREAM variable = row_words depth = 2
#pragma HLS STREAM variable = column_words depth = 2
#pragma HLS STREAM variable = sums depth = 2
#pragma HLS STREAM variable = pass_visits depth = 4
#pragma HLS STREAM variable = weight_visits depth = 2
#pragma HLS STREAM variable = opens depth = 128
#pragma HLS STREAM variable = residuals depth = 128
#pragma HLS STREAM variable = carries depth = 2
#pragma HLS STREAM variable = halves depth = 64
#pragma HLS STREAM variable = raws depth = 2
#pragma HLS STREAM variable = steps depth = 4
#pragma HLS STREAM variable = column_beats depth = 4
#pragma HLS STREAM variable = second_beats depth = 4
#pragma HLS STREAM variable = row_beats depth = 4
#pragma HLS STREAM variable = beside_beats depth = 4
#pragma HLS STREAM variable = collect_tiles depth = 4
#pragma HLS STREAM variable = finish_tiles depth = 4
#pragma HLS STREAM variable = store_tiles depth = 4
        walk_tiles(job, index, column_tiles, row_tiles, visit_tiles, feed_tiles, collect_tiles,
                   beside_tiles, finish_tiles, store_tiles);
        load_columns(column_tiles, columns, second, column_buffer, column_beats, second_beats);
        load_rows(row_tiles, rows, memories.row_buffer, begun, loaded, row_beats);
        walk_visits(visit_tiles, memories.slot_visits, pass_visits, weight_visits);
        feed(feed_tiles, pass_visits, weight_visits, memories.row_buffer, column_buffer, begun,
             loaded, flags, row_words, column_words, steps);
        mac_core(flags, row_words, column_words, sums);
        collect(collect_tiles, sums, tile_sums, memories.weight_sums);
        load_beside(beside_tiles, extra, opens, residuals, carries, beside_beats);
        finish_sums(finish_tiles, tile_sums, opens, residuals, carries, halves, raws, tallies,
                    channels);
        store_words(store_tiles, halves, raws, tallies, steps, column_beats, second_beats,
                    row_beats, beside_beats, output, counters);
    }
}

}  // namespace e2
