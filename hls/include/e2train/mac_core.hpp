// SPDX-License-Identifier: Apache-2.0
// The multiply-accumulate array that every pass of a convolution shares.
#ifndef E2TRAIN_MAC_CORE_HPP
#define E2TRAIN_MAC_CORE_HPP

#include "e2train/types.hpp"
#include "hls_stream.h"

namespace e2 {

// One visit of the array: `depth` steps into fresh accumulators, then their sums go out.
struct MacCommand {
    Count depth;           // operand words of this visit, at least 1
    std::uint8_t rows;     // rows of sums that are wanted, 1 to 16 (packed) or 1 to 8
    std::uint8_t columns;  // columns that hold samples, 1 to 16; the others stay idle
    bool packed;           // two products a DSP
    bool across;           // sum over the columns too (weight gradients)
    std::uint8_t second;   // bit r: row r takes the second column word
    bool last;             // no visit follows in this call
};

// Operands of the rows for one step. Where all columns share them (weights), they are in lane 0.
struct RowWord {
    ByteWord row[PACKED_ROWS];
};

// Operands of the columns for one step; `second` is for rows that are one filter ahead.
struct ColumnWord {
    HalfWord first;
    HalfWord second;
};

// The array: 8 rows by 16 columns of DSPs. Streams in, streams out, and accumulators of its own, so
// that a Verilog core can take this function's place (an RTL blackbox with this as its C model).
//
// For each command, `depth` words of `rows` and of `columns` are taken, one of each a cycle.
//   across = false: cell (r, c) sums row operand r times column operand c over the steps. Out go
//     `rows` words, word r with the 16 columns' sums. Packed: 16 rows, two a DSP row.
//   across = true: row r sums over steps and columns; row operands differ by column. Out goes one
//     word, lane r with the sum of row r.
// Sums of a visit leave while the next one runs; a visit of fewer steps than words that the
// one before it sends waits for them.
void mac_core(hls::stream<MacCommand>& commands, hls::stream<RowWord>& rows,
              hls::stream<ColumnWord>& columns, hls::stream<SumWord>& sums);

}  // namespace e2

#endif
