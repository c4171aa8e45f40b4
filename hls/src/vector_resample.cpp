// SPDX-License-Identifier: Apache-2.0
// Tensors of another size: option-A shortcuts, their gradients, and one position spread over all.
#include "e2train/vector_streams.hpp"
#include "e2train/vector_unit.hpp"

namespace e2 {

namespace {

// The result, and which of its words take one of the source.
struct Placing {
    Count width;
    Count height;
    Count channels;
    Count samples;
    Count begin;   // first channel that has a source
    Count end;     // and the first behind them
    Count period;  // up: of rows and columns with a source
    bool spread;   // each plane's only source goes everywhere
    Count beats;
};

// Where the result stands. Everything counts down but what is compared with a few values.
struct PlaceWalk {
    QuarterIndex quarter;
    Count columns_left;
    Count rows_left;
    Count channel;
    Count channels_left;
    Count column_phase;  // 0: a column with a source
    Count row_phase;
    bool first;  // position of its plane
    Count samples;
};

void next_column(const Placing& to, PlaceWalk& at, bool row_ends, bool plane_ends) {
#pragma HLS INLINE
    const bool column_again = row_ends || at.column_phase == to.period - 1;
    const bool row_again = plane_ends || at.row_phase == to.period - 1;
    at.column_phase = column_again ? 0 : at.column_phase + 1;
    at.row_phase = !row_ends ? at.row_phase : row_again ? 0 : at.row_phase + 1;
    at.columns_left = row_ends ? to.width - 1 : at.columns_left - 1;
    at.rows_left = plane_ends ? to.height - 1 : at.rows_left - (row_ends ? 1 : 0);
    at.first = plane_ends;
}

void advance_place(const Placing& to, PlaceWalk& at) {
#pragma HLS INLINE
    const bool word_ends = at.quarter == QUARTERS - 1;
    const bool row_ends = word_ends && at.columns_left == 0;
    const bool plane_ends = row_ends && at.rows_left == 0;
    const bool group_ends = plane_ends && at.channels_left == 0;
    at.quarter = QuarterIndex(at.quarter + 1);
    if (word_ends) {
        next_column(to, at, row_ends, plane_ends);
    }
    at.channel = group_ends ? 0 : at.channel + (plane_ends ? 1 : 0);
    at.channels_left = group_ends ? to.channels - 1 : at.channels_left - (plane_ends ? 1 : 0);
    at.samples -= group_ends ? LANES : 0;
}

void place_words(const Placing& to, hls::stream<Beat>& source, hls::stream<Beat>& results) {
    PlaceWalk at = {0, to.width - 1, to.height - 1, 0, to.channels - 1, 0, 0, true, to.samples};
    Beat ring[QUARTERS] = {};  // of the word that was taken last
#pragma HLS ARRAY_PARTITION variable = ring complete
place_beats:
    for (Count i = 0; i < to.beats; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 256 max = 524288 avg = 131072
#pragma HLS PIPELINE II = 1
        const bool exists = at.channel >= to.begin && at.channel < to.end;
        const bool on_grid = at.column_phase == 0 && at.row_phase == 0;
        const bool takes = exists && on_grid && (!to.spread || at.first);
        const Beat again = to.spread && exists ? ring[0] : Beat(0);
        const Beat value = takes ? source.read() : again;
    turn_ring:
        for (int place = 0; place < QUARTERS - 1; ++place) {
#pragma HLS UNROLL
            ring[place] = ring[place + 1];
        }
        ring[QUARTERS - 1] = value;
        results.write(beat_of_quarter(only_real(quarter_of(value), at.quarter, at.samples)));
        advance_place(to, at);
    }
}

void resample_words(const Gather& parts, Count begin, Count read, Count columns, Count step,
                    const Placing& placing, Count out, Count out_beats, const Beat* port,
                    Beat* output) {
#pragma HLS DATAFLOW
    hls::stream<Beat> rows("resample rows");
    hls::stream<Beat> source("resample source");
    hls::stream<Beat> results("resample results");
#pragma HLS STREAM variable = rows depth = 16
#pragma HLS STREAM variable = source depth = 16
#pragma HLS STREAM variable = results depth = 16
    read_gather(port, begin, parts, rows);
    keep_every(rows, read, columns, step, source);
    place_words(placing, source, results);
    write_beats(results, out, out_beats, output);
}

// Rows, or columns, that the result's `to` positions take; check.cpp has made sure they exist.
Count sources_of(const Arguments& a, Count to) {
    const bool up = option(a, OPTIONS_UP);
    return option(a, OPTIONS_SPREAD) ? 1 : up ? steps_of(to, a.stride) : to;
}

}  // namespace

void resample(const Arguments& a, const TensorSize& size, const Beat* columns, Beat* output,
              Counters& counters) {
    const bool down = !option(a, OPTIONS_UP) && !option(a, OPTIONS_SPREAD);
    const Count step = down ? a.stride : 1;
    const Count offset = a.channel_offset();
    const Count begin = offset > 0 ? offset : 0;
    const Count end = a.channels + offset < a.filters ? a.channels + offset : a.filters;
    const Count channels = end > begin ? end - begin : 0;
    const Count rows = sources_of(a, a.out_height);
    const Count row_words = multiplied(sources_of(a, a.out_width) - 1, step) + 1;
    const Count group_rows = multiplied(channels, rows);
    const Count read = multiplied(multiplied(group_rows, row_words), size.groups) * QUARTERS;
    const Count out_planes = multiplied(size.groups, a.filters);
    const Count out_words = multiplied(multiplied(out_planes, a.out_height), a.out_width);
    const Gather parts = {row_words,  rows,        multiplied(step, a.width),         channels,
                          size.plane, size.groups, multiplied(size.plane, a.channels)};
    const Placing placing = {a.out_width,
                             a.out_height,
                             a.filters,
                             a.samples,
                             begin,
                             end,
                             option(a, OPTIONS_UP) ? a.stride : Count(1),
                             option(a, OPTIONS_SPREAD),
                             out_words * QUARTERS};
    const Count first = multiplied(size.plane, begin - offset) * QUARTERS;
    resample_words(joined(parts), beat_at(a.a_address) + first, read, row_words, step, placing,
                   beat_at(a.out_address), out_words * QUARTERS, columns, output);
    counters.column_beats += static_cast<std::uint64_t>(read);
    counters.output_beats += static_cast<std::uint64_t>(out_words * QUARTERS);
}

}  // namespace e2
