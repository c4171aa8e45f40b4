// SPDX-License-Identifier: Apache-2.0
// The core's C++ function on words in memory, to compare the Verilog and the reference with.
#include <cstdint>

#include "e2train/mac_core.hpp"

// Returns how many words of sums come; `sums` has room for `capacity` of 96 bytes each.
extern "C" std::int64_t core_c_model(std::int64_t count, const std::uint32_t* steps,
                                     const std::uint64_t* rows, const std::uint64_t* columns,
                                     std::int64_t capacity, std::uint64_t* sums) {
    constexpr int ROW_PARTS = e2::CORE_ROW_BITS / 64;
    constexpr int COLUMN_PARTS = e2::CORE_COLUMN_BITS / 64;
    constexpr int SUM_PARTS = e2::CORE_SUM_BITS / 64;
    hls::stream<e2::StepFlags> step_words;
    hls::stream<e2::RowBits> row_words;
    hls::stream<e2::ColumnBits> column_words;
    hls::stream<e2::SumBits> sum_words;
    for (std::int64_t at = 0; at < count; ++at) {
        e2::RowBits row;
        e2::ColumnBits column;
        for (int index = 0; index < ROW_PARTS; ++index) {
            e2::set_part(row, index, rows[at * ROW_PARTS + index]);
        }
        for (int index = 0; index < COLUMN_PARTS; ++index) {
            e2::set_part(column, index, columns[at * COLUMN_PARTS + index]);
        }
        step_words.write(e2::StepFlags(steps[at]));
        row_words.write(row);
        column_words.write(column);
    }
    e2::mac_core(step_words, row_words, column_words, sum_words);
    std::int64_t words = 0;
    for (; !sum_words.empty(); ++words) {
        const e2::SumBits word = sum_words.read();
        for (int index = 0; index < SUM_PARTS && words < capacity; ++index) {
            sums[words * SUM_PARTS + index] = e2::part(word, index);
        }
    }
    return words;
}
