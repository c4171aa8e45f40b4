// SPDX-License-Identifier: Apache-2.0
// Tensors of another size: option-A shortcuts, their gradients, and one position spread over all.
#include "e2train/vector_unit.hpp"
#include "e2train/vector_words.hpp"

namespace e2 {

namespace {

// How one axis of the source is followed along that of the result.
struct AxisStep {
    Count step;    // source positions a result position: the stride, 1 (up) or 0 (spread)
    Count period;  // result positions a source position: the stride (up), else 1
};

// Where the source stands on an axis; the result takes it where `phase` is 0.
struct Source {
    Count offset;  // in words
    Count phase;
};

struct ResampleWalk {
    Count row;  // of the result
    Count column;
    Count channel;
    Count group;
    Source source_row;
    Source source_column;
    Address plane_word;  // first word of the source's plane; modulo 2^32 where there is none
};

AxisStep axis_step_of(const Arguments& a) {
    AxisStep axis = {a.stride, 1};
    if (option(a, OPTIONS_SPREAD)) {
        axis.step = 0;
    } else if (option(a, OPTIONS_UP)) {
        axis.step = 1;
        axis.period = a.stride;
    }
    return axis;
}

// `words`: from one source position to the next on this axis.
void advance_source(Source& at, const AxisStep& axis, Count words, bool restart) {
#pragma HLS INLINE
    const bool next = at.phase + 1 == axis.period;
    if (restart) {
        at.offset = 0;
        at.phase = 0;
    } else if (next) {
        at.offset += axis.step * words;
        at.phase = 0;
    } else {
        ++at.phase;
    }
}

void advance_walk(const Arguments& a, const AxisStep& axis, ResampleWalk& at) {
#pragma HLS INLINE
    const bool row_ends = at.column + 1 == a.out_width;
    const bool plane_ends = row_ends && at.row + 1 == a.out_height;
    const bool group_ends = plane_ends && at.channel + 1 == a.filters;
    const Address plane = static_cast<Address>(a.height * a.width);
    advance_source(at.source_column, axis, 1, row_ends);
    if (row_ends) {
        advance_source(at.source_row, axis, a.width, plane_ends);
    }
    if (plane_ends) {
        at.plane_word += plane;
    }
    if (group_ends) {  // from behind the result's last channel to the next group's first
        at.plane_word += plane * static_cast<Address>(a.channels - a.filters);
    }
    at.column = row_ends ? 0 : at.column + 1;
    at.row = plane_ends ? 0 : at.row + (row_ends ? 1 : 0);
    at.channel = group_ends ? 0 : at.channel + (plane_ends ? 1 : 0);
    at.group += group_ends ? 1 : 0;
}

ResampleWalk walk_begin(const Arguments& a) {
    ResampleWalk at = {0, 0, 0, 0, {0, 0}, {0, 0}, 0};
    const Address plane = static_cast<Address>(a.height * a.width);
    at.plane_word = plane * static_cast<Address>(-a.channel_offset());
    return at;
}

bool has_source(const Arguments& a, const ResampleWalk& at) {
#pragma HLS INLINE
    const Count channel = at.channel - a.channel_offset();
    return channel >= 0 && channel < a.channels && at.source_row.phase == 0 &&
           at.source_column.phase == 0;
}

}  // namespace

void resample(const Arguments& a, const Beat* columns, Beat* output, Counters& counters) {
    const AxisStep axis = axis_step_of(a);
    const Count words = group_count(a) * a.filters * a.out_height * a.out_width;
    ResampleWalk at = walk_begin(a);
    std::uint64_t taken = 0;
resample_words:
    for (Count word = 0; word < words; ++word) {
#pragma HLS LOOP_TRIPCOUNT min = 64 max = 131072 avg = 32768
#pragma HLS PIPELINE II = 4
        HalfWord value = zero_halves();
        if (has_source(a, at)) {
            const Address position =
                static_cast<Address>(at.source_row.offset + at.source_column.offset);
            const Address source = (at.plane_word + position) * HALF_WORD_BEATS;
            value = read_halves(columns, beat_of(a.a_address) + source);
            ++taken;
        }
        const HalfWord real = only_real(value, real_lanes(a, at.group));
        write_halves(output, halves_at(a.out_address, word), real);
        advance_walk(a, axis, at);
    }
    counters.column_beats += taken * HALF_WORD_BEATS;
    counters.output_beats += static_cast<std::uint64_t>(words) * HALF_WORD_BEATS;
}

}  // namespace e2
