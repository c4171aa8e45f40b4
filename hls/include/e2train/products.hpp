// SPDX-License-Identifier: Apache-2.0
// How one DSP48E1 multiplies: policies for the packed and the plain product.
//
// The 25-bit port takes the operand of the row (a weight or an activation), the 18-bit port that of
// the column. Packed, the row port carries two narrow operands, (high << 17) + low, and the product
// carries both results: the low one in 17 bits, signed, and the high one above it, less one where
// the low one is negative. That holds as long as the low sums stay within 17 bits.
#ifndef E2TRAIN_PRODUCTS_HPP
#define E2TRAIN_PRODUCTS_HPP

#include "e2train/types.hpp"

namespace e2 {

constexpr int DSP_PORT = 25;
constexpr int LOW_LIMIT = (1 << (ARRAY_LANE_OFFSET - 1)) - 1;  // largest low sum
constexpr int NARROW_WEIGHT = 127;
constexpr int NIBBLE = 4;  // bits of a packed slice of an activation
constexpr int LARGEST_ACTIVATION = 128;

typedef ap_int<DSP_PORT> RowPort;
typedef ap_int<ARRAY_LANE_OFFSET> LowSum;

// What a DSP multiplies in every pass: 25 by 16 bits. (Native types, since ap_int's own product is
// slow to simulate.)
inline std::int64_t multiply(RowPort port, Half column) {
    return static_cast<std::int64_t>(port.to_int()) * column;
}

// Two products a DSP: 8x8 with weights in [-127, 127], or slices such as 4x10.
struct Packed {
    static RowPort port(Byte high, Byte low) {
        return RowPort((high * (1 << ARRAY_LANE_OFFSET)) + low);
    }

    static Sum low(Sum product) { return LowSum(product); }

    static Sum high(Sum product) {
        // Half up: takes back the one that a negative low sum has borrowed.
        return (product + (1 << (ARRAY_LANE_OFFSET - 1))) >> ARRAY_LANE_OFFSET;
    }
};

// One product a DSP: 8x16, summed in the DSP's own 48-bit register.
struct Plain {
    static RowPort port(Byte operand) { return operand; }

    static Sum low(Sum product) { return product; }

    static Sum high(Sum) { return 0; }
};

// Both operands of a pair fit the port: 127 * 2^17 + 127 < 2^24.
static_assert((NARROW_WEIGHT << ARRAY_LANE_OFFSET) + NARROW_WEIGHT < (1 << (DSP_PORT - 1)),
              "a packed pair must fit the 25-bit port");
// Packed 8x8: 4 products of 127 * 128 = 65,024 are summed in the DSP before they are taken apart.
static_assert(ARRAY_PACKED_RUN * NARROW_WEIGHT * LARGEST_ACTIVATION <= LOW_LIMIT,
              "a run of packed 8x8 products must fit the low lane");
// Packed 4x10: the products of all 16 columns are summed at once, 16 * 7 * 511 = 57,232.
static_assert(ARRAY_COLUMNS * 7 * 511 <= LOW_LIMIT, "a row of 4x10 products must fit the low lane");
// 8x16 in 48 bits: 2^22 a product leaves room for 2^25 of them.
static_assert(WIDTHS_ACTIVATION + WIDTHS_GRADIENT - 2 + 25 < WIDTHS_SUM, "sums need more bits");

// Whether slices of these widths may be packed: both must fit those of the bound above.
inline bool slices_pack(Count x_msb, Count g_msb) {
    return x_msb <= NIBBLE && g_msb <= 10;
}

}  // namespace e2

#endif
