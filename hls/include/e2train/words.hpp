// SPDX-License-Identifier: Apache-2.0
// Words packed by hand: lane l of a word is at its bits from l times the lane's width on, lane 0
// lowest, as in memory. A word crosses streams and memories whole.
#ifndef E2TRAIN_WORDS_HPP
#define E2TRAIN_WORDS_HPP

#include "e2train/types.hpp"

namespace e2 {

constexpr int PART = 64;  // bits of a part of a word
constexpr int BYTES_A_PART = PART / WIDTHS_ACTIVATION;
constexpr int HALVES_A_PART = PART / WIDTHS_GRADIENT;

typedef ap_uint<LANES * WIDTHS_ACTIVATION> ByteBits;  // one 8-bit element of 16 samples
typedef ap_uint<LANES * WIDTHS_GRADIENT> HalfBits;    // one 16-bit element of 16 samples

// Bits 64 * index to 64 * index + 63. Both branches are the same wires; the simulation's own way to
// a range of a wide word copies and shifts all of it.
template <int WIDTH>
inline std::uint64_t part(const ap_uint<WIDTH>& word, int index) {
#ifdef __SYNTHESIS__
    return word.range(PART * index + PART - 1, PART * index).to_uint64();
#else
    return word.V.get_pVal(index);
#endif
}

template <int WIDTH>
inline void set_part(ap_uint<WIDTH>& word, int index, std::uint64_t value) {
#ifdef __SYNTHESIS__
    word.range(PART * index + PART - 1, PART * index) = value;
#else
    word.V.set_pVal(index, value);
#endif
}

inline Byte byte_of(std::uint64_t bits, int index) {
    return static_cast<Byte>(bits >> (WIDTHS_ACTIVATION * index));
}

inline Half half_of(std::uint64_t bits, int index) {
    return static_cast<Half>(bits >> (WIDTHS_GRADIENT * index));
}

// The two slices that a byte may hold (predictor): signed, the low one in the low bits.
inline Byte low_nibble(Byte value) {
    return static_cast<Byte>(static_cast<std::uint8_t>(value) << 4) >> 4;
}

inline Byte high_nibble(Byte value) {
    return static_cast<Byte>(value >> 4);
}

inline std::uint64_t byte_at(Byte value, int index) {
    return static_cast<std::uint64_t>(static_cast<std::uint8_t>(value))
           << (WIDTHS_ACTIVATION * index);
}

inline std::uint64_t half_at(Half value, int index) {
    return static_cast<std::uint64_t>(static_cast<std::uint16_t>(value))
           << (WIDTHS_GRADIENT * index);
}

inline ByteBits byte_bits(const ByteWord& word) {
    ByteBits bits;
byte_bits_parts:
    for (int at = 0; at < LANES / BYTES_A_PART; ++at) {
#pragma HLS UNROLL
        std::uint64_t value = 0;
        for (int i = 0; i < BYTES_A_PART; ++i) {
#pragma HLS UNROLL
            value |= byte_at(word.lane[at * BYTES_A_PART + i], i);
        }
        set_part(bits, at, value);
    }
    return bits;
}

typedef ap_uint<LANES * WIDTHS_SUM> SumBits;  // a 48-bit sum of 16 rows or columns
constexpr int SUMS_A_RUN = 4;                 // four sums fill three parts
constexpr int PARTS_A_RUN = 3;
static_assert(SUMS_A_RUN * WIDTHS_SUM == PARTS_A_RUN * PART, "lanes of sums are cut as below");

inline std::int64_t sum_of(const SumBits& word, int lane) {
    const int at = lane / SUMS_A_RUN * PARTS_A_RUN;
    const std::uint64_t first = part(word, at);
    const std::uint64_t second = part(word, at + 1);
    const std::uint64_t third = part(word, at + 2);
    const int place = lane % SUMS_A_RUN;
    const std::uint64_t bits = place == 0   ? first
                               : place == 1 ? first >> 48 | second << 16
                               : place == 2 ? second >> 32 | third << 32
                                            : third >> 16;
    return Sum(bits).to_int64();
}

inline void set_sums(SumBits& word, int run, const Sum sums[SUMS_A_RUN]) {
    std::uint64_t bits[SUMS_A_RUN];
set_sums_lanes:
    for (int i = 0; i < SUMS_A_RUN; ++i) {
#pragma HLS UNROLL
        bits[i] = static_cast<std::uint64_t>(sums[i].to_int64()) & ((1ULL << WIDTHS_SUM) - 1);
    }
    set_part(word, PARTS_A_RUN * run, bits[0] | bits[1] << 48);
    set_part(word, PARTS_A_RUN * run + 1, bits[1] >> 16 | bits[2] << 32);
    set_part(word, PARTS_A_RUN * run + 2, bits[2] >> 32 | bits[3] << 16);
}

}  // namespace e2

#endif
