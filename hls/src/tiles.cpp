// SPDX-License-Identifier: Apache-2.0
#include "e2train/tiles.hpp"

namespace e2 {

namespace {

Span job_filters(const Job& job) {
    return job.kind == JOB_SLOTS ? job.slots.filters : job.tile.filters;
}

Span job_channels(const Job& job) {
    return job.kind == JOB_SLOTS ? slot_channels(job.weights, job.slots) : job.tile.channels;
}

// Each stage finds its tile by number: a DATAFLOW region passes values from one to one only.
void load_columns(const Job& job, Count index, const Arguments& arguments, const Beat* columns,
                  const Beat* second, ColumnBuffer& buffer) {
    if (job.kind == JOB_PASS) {
        load_pass_columns(job.pass, tile_at(job.pass, index), job.narrow, arguments.a_address,
                          columns, buffer);
    } else {
        load_gradients(job.weights, job_filters(job), data_tile_at(job.weights, index), job.slices,
                       arguments.a_address, columns, second, buffer);
    }
}

void load_rows(const Job& job, Count index, const Arguments& arguments, const Beat* rows,
               RowBuffer& buffer) {
    if (job.kind == JOB_PASS) {
        load_pass_rows(job.pass, tile_at(job.pass, index), arguments.rows_address, rows, buffer);
    } else {
        load_activations(job.weights, job_channels(job), data_tile_at(job.weights, index),
                         job.slices, arguments.b_address, rows, buffer);
    }
}

void feed(const Job& job, Count index, const SlotVisits& visits, const RowBuffer& row_buffer,
          const ColumnBuffer& column_buffer, hls::stream<StepFlags>& flags,
          hls::stream<RowBits>& rows, hls::stream<ColumnBits>& columns, hls::stream<Count>& steps) {
    if (job.kind == JOB_PASS) {
        feed_pass(job.pass, tile_at(job.pass, index), row_buffer, column_buffer, flags, rows,
                  columns, steps);
    } else if (job.kind == JOB_WEIGHTS) {
        feed_weights(job.weights, job.tile, data_tile_at(job.weights, index), job.slices,
                     row_buffer, column_buffer, flags, rows, columns, steps);
    } else {
        feed_slots(job.weights, job.slots, data_tile_at(job.weights, index), visits,
                   job_channels(job).begin, row_buffer, column_buffer, flags, rows, columns, steps);
    }
}

void collect(const Job& job, Count index, hls::stream<SumBits>& words, TileSums& tile_sums,
             WeightSums& weight_sums) {
    const bool first = index == 0;
    if (job.kind == JOB_PASS) {
        collect_pass(job.pass, tile_at(job.pass, index), words, tile_sums);
    } else if (job.kind == JOB_WEIGHTS) {
        collect_weights(job.weights, job.tile, job.slices, first, words, weight_sums);
    } else {
        collect_slots(job.slots, first, words, weight_sums);
    }
}

// Weight gradients stay on chip until their last data tile: nothing but counts to store here.
void count_data(const Job& job, const DataTile& data, Count steps, Counters& counters) {
    const Count gradients = times(times(job_filters(job).count, data.y.count), data.x.count);
    const Count activations =
        times(times(job_channels(job).count, data.from_y.count), data.from_x.count);
    const std::uint64_t gradient_beats =
        static_cast<std::uint64_t>(gradients) * (HALF_WORD_BEATS / 2);
    counters.column_beats += gradient_beats;
    counters.extra_beats += gradient_beats;  // on the second port
    counters.row_beats += static_cast<std::uint64_t>(activations) * BYTE_WORD_BEATS;
    counters.core_steps += static_cast<std::uint64_t>(steps);
    ++counters.tiles;
}

void store(const Job& job, Count index, const Arguments& arguments, const TileSums& sums,
           hls::stream<Count>& steps, const Beat* extra, Beat* output,
           ChannelEntry channels[LIMITS_CHANNELS], Counters& counters) {
    const Count taken = steps.read();
    if (job.kind == JOB_PASS) {
        store_pass(job.pass, tile_at(job.pass, index), job.finish, arguments, sums, taken, extra,
                   output, channels, counters);
    } else {
        count_data(job, data_tile_at(job.weights, index), taken, counters);
    }
}

}  // namespace

void run_tiles(const Job& job, const Arguments& arguments, const Beat* columns, const Beat* rows,
               const Beat* extra, const Beat* second, Beat* output, Memories& memories,
               ChannelEntry channels[LIMITS_CHANNELS], Counters& counters) {
run_tiles_loop:
    for (Count index = 0; index < job.tiles; ++index) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 4096 avg = 256
// Six processes side by side. Buffers between them exist twice (ping-pong), so the next tile loads
// while this one is multiplied and the one before is stored. There is this one region for all
// passes: a region of its own for each would build the array and the buffers three times.
#pragma HLS DATAFLOW
        RowBuffer row_buffer;
        ColumnBuffer column_buffer;
        TileSums tile_sums;
// All rows of the array read in the same cycle, each from its own bank.
#pragma HLS ARRAY_PARTITION variable = row_buffer.bank complete dim = 1
// All 16 lanes of a word are read and written at once: a word is one wide memory word.
#pragma HLS AGGREGATE variable = row_buffer.bank
// Both copies of a bank in one memory: 256 words would leave half of a block RAM empty.
#pragma HLS STREAM variable = row_buffer.bank type = shared
#pragma HLS AGGREGATE variable = column_buffer.word
#pragma HLS AGGREGATE variable = tile_sums.word
        hls::stream<StepFlags> flags("flags");
        hls::stream<RowBits> row_words("row_words");
        hls::stream<ColumnBits> column_words("column_words");
        hls::stream<SumBits> sums("sums");
        hls::stream<Count> steps("steps");
#pragma HLS STREAM variable = flags depth = 4
#pragma HLS STREAM variable = row_words depth = 4
#pragma HLS STREAM variable = column_words depth = 4
#pragma HLS STREAM variable = sums depth = 32
#pragma HLS STREAM variable = steps depth = 4
        load_columns(job, index, arguments, columns, second, column_buffer);
        load_rows(job, index, arguments, rows, row_buffer);
        feed(job, index, memories.slot_visits, row_buffer, column_buffer, flags, row_words,
             column_words, steps);
        mac_core(flags, row_words, column_words, sums);
        collect(job, index, sums, tile_sums, memories.weight_sums);
        store(job, index, arguments, tile_sums, steps, extra, output, channels, counters);
    }
}

}  // namespace e2
