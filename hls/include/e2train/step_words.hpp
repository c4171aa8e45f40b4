// SPDX-License-Identifier: Apache-2.0
// From a visit's operands to the words of the MAC core's streams.
#ifndef E2TRAIN_STEP_WORDS_HPP
#define E2TRAIN_STEP_WORDS_HPP

#include "e2train/mac_core.hpp"

namespace e2 {

// One visit of the array: `depth` steps into fresh accumulators, then their sums go out.
struct MacCommand {
    Count depth;  // at least 1
    std::uint8_t words;
    bool packed;          // two products a DSP
    bool across;          // sum over the columns too (weight gradients)
    std::uint8_t second;  // bit r: row r takes the second column word
    bool last;            // no visit follows in this call
};

struct RowWord {
    ByteWord row[PACKED_ROWS];
};

struct ColumnWord {
    HalfWord first;
    HalfWord second;
};

inline RowBits row_bits(const RowWord& rows) {
    RowBits bits;
row_bits_rows:
    for (int row = 0; row < PACKED_ROWS; ++row) {
#pragma HLS UNROLL
        const ByteBits word = byte_bits(rows.row[row]);
        set_part(bits, 2 * row, part(word, 0));
        set_part(bits, 2 * row + 1, part(word, 1));
    }
    return bits;
}

inline ColumnBits column_bits(const ColumnWord& columns) {
    ColumnBits bits;
column_bits_parts:
    for (int at = 0; at < LANES / HALVES_A_PART; ++at) {
#pragma HLS UNROLL
        std::uint64_t first = 0;
        std::uint64_t second = 0;
        for (int i = 0; i < HALVES_A_PART; ++i) {
#pragma HLS UNROLL
            first |= half_at(columns.first.lane[at * HALVES_A_PART + i], i);
            second |= half_at(columns.second.lane[at * HALVES_A_PART + i], i);
        }
        set_part(bits, at, first);
        set_part(bits, LANES / HALVES_A_PART + at, second);
    }
    return bits;
}

// Counts a visit's steps and sets their flags.
struct StepWriter {
    MacCommand command;
    Count step;
};

inline void begin_visit(const MacCommand& command, StepWriter& writer) {
    writer.command = command;
    writer.step = 0;
}

inline void write_step(StepWriter& writer, const RowWord& row, const ColumnWord& column,
                       hls::stream<StepFlags>& flags, hls::stream<RowBits>& rows,
                       hls::stream<ColumnBits>& columns) {
    const MacCommand& command = writer.command;
    const bool last = writer.step == command.depth - 1;
    const Count place = writer.step % ARRAY_PACKED_RUN;
    StepFlags word =
        step_flags(writer.step == 0, last, command.across, command.packed, command.words);
    word |= flag_if(place == 0, CORE_RUN_FIRST);
    word |= flag_if(place == ARRAY_PACKED_RUN - 1 || last, CORE_RUN_LAST);
    word |= flag_if(last && command.last, CORE_END);
    word |= StepFlags(static_cast<unsigned>(command.second) << CORE_AHEAD);
    flags.write(word);
    rows.write(row_bits(row));
    columns.write(column_bits(column));
    ++writer.step;
}

}  // namespace e2

#endif
