// SPDX-License-Identifier: Apache-2.0
// The multiply-accumulate array that every pass of a convolution shares.
#ifndef E2TRAIN_MAC_CORE_HPP
#define E2TRAIN_MAC_CORE_HPP

#include "e2train/words.hpp"
#include "hls_stream.h"

namespace e2 {

constexpr int WORDS_BITS = 5;  // of the flags' count of words

typedef ap_uint<CORE_WORDS + 8> StepFlags;                         // [core] of hardware.toml
typedef ap_uint<PACKED_ROWS * LANES * WIDTHS_ACTIVATION> RowBits;  // byte (row, lane)
typedef ap_uint<2 * LANES * WIDTHS_GRADIENT> ColumnBits;           // first, then second
static_assert(CORE_AHEAD + ROWS <= CORE_WORDS, "a bit a row of DSPs");
static_assert(PACKED_ROWS < (1 << WORDS_BITS), "a visit sends a word a row at most");

// The array: 8 rows by 16 columns of DSPs, and as many 4-bit products in LUTs beside each row as
// its DSPs do. Streams in, streams out, and no state but accumulators, so that a Verilog core can
// take this function's place (an RTL blackbox with this as its C model).
//
// Each step takes a word of each stream; the flags say where it stands in its visit.
//   along (not across): DSP (r, c) sums its row's operands, lane 0 of the row word, times
//     column c over the steps. Out go `words` words, word k with the 16 columns' sums of row k.
//     Packed: rows 2r and 2r + 1 share a DSP; runs of at most 4 products are summed in it.
//   across, plain: row r of the DSPs sums over steps and columns; its operands differ by column.
//     Out goes one word, lane r with the sum of row r.
//   across, packed: the low nibbles of rows 2r and 2r + 1 share a DSP, the high nibble of each row
//     goes to LUTs. Word 0 has the sums of the low nibbles, lane r of row r; word 1, if two are
//     wanted, those of the high nibbles.
// Idle rows and columns hold zeros. Sums of a visit leave, one word a cycle, while the next one
// runs; a visit of fewer steps than words that the one before it sends waits for them.
void mac_core(hls::stream<StepFlags>& steps, hls::stream<RowBits>& rows,
              hls::stream<ColumnBits>& columns, hls::stream<SumBits>& sums);

}  // namespace e2

#endif
