// SPDX-License-Identifier: Apache-2.0
// Words and widths that all parts of the accelerator share.
#ifndef E2TRAIN_TYPES_HPP
#define E2TRAIN_TYPES_HPP

#include <cstdint>

#include "ap_int.h"
#include "e2train/generated/arguments.hpp"
#include "e2train/generated/hardware.hpp"
#ifdef E2TRAIN_SIMULATED_BOARD
#include "port_beat.hpp"
#endif

namespace e2 {

constexpr int LANES = ARRAY_COLUMNS;   // samples of a word
constexpr int ROWS = ARRAY_ROWS;       // DSP rows of the array
constexpr int PACKED_ROWS = 2 * ROWS;  // rows of operands where two products share a DSP
static_assert(PACKED_ROWS == LANES, "a word of 16 weights feeds one packed block of rows");
static_assert(PACKED_ROWS == BUFFERS_ROW_BANKS, "one bank a row");

#ifdef E2TRAIN_SIMULATED_BOARD  // tests: one that knows which port it goes through
typedef e2sim::Beat Beat;
#else
typedef std::uint64_t Beat;  // what one AXI transfer carries
#endif
typedef std::uint32_t Address;  // in beats from address 0
typedef std::int32_t Count;     // loop bounds and coordinates
typedef std::int16_t Place;     // coordinates and places on the chip, as they travel

// Exactly the configured widths; native types, as words of them are copied often in simulation.
typedef std::int8_t Byte;
typedef std::int16_t Half;
static_assert(8 * sizeof(Byte) == WIDTHS_ACTIVATION && WIDTHS_WEIGHT == WIDTHS_ACTIVATION,
              "activations and weights are bytes");
static_assert(8 * sizeof(Half) == WIDTHS_GRADIENT, "gradients are half words");
typedef ap_int<WIDTHS_SUM> Sum;

// One 8-bit element of 16 samples, or the weights of 16 rows.
struct ByteWord {
    Byte lane[LANES];
};

// Padding, and rows of the array that have nothing to do.
inline ByteWord zero_bytes() {
    ByteWord word;
zero_lanes:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        word.lane[lane] = 0;
    }
    return word;
}

// One 16-bit element of 16 samples.
struct HalfWord {
    Half lane[LANES];
};

// What a channel keeps on chip, in one memory for the operations that need some: sums (of y and
// y^2 in a convolution, of g and g*y in channel_sums), or map's coefficients (multiplier in bits 0
// to 15 of `first`, second multiplier in 16 to 31, offset above).
struct ChannelEntry {
    std::int64_t first;
    std::int64_t second;
};

// Product of a count below 2^24 and one below 2^17. Told so, one DSP48E1 does it; 32 by 32 bits
// would take three. Words of a tensor and weights of a layer stay below 2^24 (check.cpp).
inline Count times(Count large, Count small) {
#pragma HLS ALLOCATION operation instances = mul limit = 1
    return static_cast<Count>((static_cast<std::uint32_t>(large) & 0xffffffU) *
                              (static_cast<std::uint32_t>(small) & 0x1ffffU));
}

// Product of two places on the chip, for addresses there: small enough for LUTs. Places before a
// region are negative.
inline Count on_chip(Count a, Count b) {
    const Count product = static_cast<std::int16_t>(a) * static_cast<std::int16_t>(b);
#pragma HLS BIND_OP variable = product op = mul impl = fabric
    return product;
}

inline Place place(Count value) {
    return static_cast<Place>(value);
}

// Division by what is a power of two, of counts that are not negative: no divider, no sign.
inline Count banks_of(Count channel) {
    return channel >> 4;
}
inline Count bank_of(Count channel) {
    return channel & (LANES - 1);
}
inline Count row_of(Count channel) {
    return channel & (ROWS - 1);
}
static_assert(LANES == 1 << 4 && ROWS == 1 << 3, "blocks of channels are found by shifts");

constexpr Address BYTE_WORD_BEATS = LANES * WIDTHS_ACTIVATION / WIDTHS_BEAT;
constexpr Address HALF_WORD_BEATS = LANES * WIDTHS_GRADIENT / WIDTHS_BEAT;
constexpr Address RAW_WORD_BEATS = LANES;  // 64-bit sums

}  // namespace e2

#endif
