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
constexpr int BYTE_PARTS = LANES / BYTES_A_PART;   // of a word of 16 bytes
constexpr int HALF_PARTS = LANES / HALVES_A_PART;  // and of one of 16 halves

typedef std::uint64_t Part;
typedef ap_uint<LANES * WIDTHS_GRADIENT> HalfBits;     // a 16-bit element of 16 samples
typedef ap_uint<LANES * WIDTHS_SUM> SumBits;           // a 48-bit sum of 16 rows or columns
typedef ap_uint<LANES * WIDTHS_TILE_SUM> TileSumBits;  // a sum of one launch

// Bits 64 * index to 64 * index + 63. Both branches are the same wires; the simulation's own way to
// a range of a wide word copies and shifts all of it.
template <int WIDTH>
inline Part part(const ap_uint<WIDTH>& word, int index) {
#ifdef __SYNTHESIS__
    return word.range(PART * index + PART - 1, PART * index).to_uint64();
#else
    return word.V.get_pVal(index);
#endif
}

template <int WIDTH>
inline void set_part(ap_uint<WIDTH>& word, int index, Part value) {
#ifdef __SYNTHESIS__
    word.range(PART * index + PART - 1, PART * index) = value;
#else
    word.V.set_pVal(index, value);
#endif
}

inline Byte byte_of(Part bits, int index) {
    return static_cast<Byte>(bits >> (WIDTHS_ACTIVATION * index));
}

inline Half half_of(Part bits, int index) {
    return static_cast<Half>(bits >> (WIDTHS_GRADIENT * index));
}

inline Part byte_at(Count value, int index) {
    return static_cast<Part>(static_cast<std::uint8_t>(value)) << (WIDTHS_ACTIVATION * index);
}

inline Part half_at(Count value, int index) {
    return static_cast<Part>(static_cast<std::uint16_t>(value)) << (WIDTHS_GRADIENT * index);
}

// Lane `lane` of `LANE` bits, signed, of a word whose lanes cross its parts.
template <int LANE, int WIDTH>
inline std::int64_t lane_of(const ap_uint<WIDTH>& word, int lane) {
    const int at = LANE * lane;
    const int begin = at % PART;
    const int next = begin + LANE > PART ? at / PART + 1 : at / PART;
    const int above = begin == 0 ? 0 : PART - begin;  // where begin is 0 nothing crosses
    const Part low = part(word, at / PART) >> begin;
    const Part high = begin + LANE > PART ? part(word, next) << above : 0;
    return static_cast<std::int64_t>((low | high) << (PART - LANE)) >> (PART - LANE);
}

// The same of a part or lane that is known only as the circuit runs: one of a few, rather than a
// word shifted to any place.
template <int WIDTH>
inline Part chosen_part(const ap_uint<WIDTH>& word, Count index) {
    Part found = 0;
chosen_parts:
    for (int i = 0; i < WIDTH / PART; ++i) {
#pragma HLS UNROLL
        found = i == index ? part(word, i) : found;
    }
    return found;
}

template <int LANE, int WIDTH>
inline std::int64_t chosen_lane(const ap_uint<WIDTH>& word, Count lane) {
    std::int64_t found = 0;
chosen_lanes:
    for (int i = 0; i < WIDTH / LANE; ++i) {
#pragma HLS UNROLL
        found = i == lane ? lane_of<LANE>(word, i) : found;
    }
    return found;
}

// A word from the values of its lanes; what does not fit a lane is cut off.
template <int LANE, int WIDTH, typename Value>
inline void set_lanes(ap_uint<WIDTH>& word, const Value values[WIDTH / LANE]) {
    Part parts[WIDTH / PART] = {};
set_lanes_lanes:
    for (int lane = 0; lane < WIDTH / LANE; ++lane) {
#pragma HLS UNROLL
        const Part bits = static_cast<Part>(static_cast<std::int64_t>(values[lane]))
                              << (PART - LANE) >>
                          (PART - LANE);
        const int at = LANE * lane;
        parts[at / PART] |= bits << (at % PART);
        if (at % PART + LANE > PART) {
            parts[at / PART + 1] |= bits >> (PART - at % PART);
        }
    }
set_lanes_parts:
    for (int index = 0; index < WIDTH / PART; ++index) {
#pragma HLS UNROLL
        set_part(word, index, parts[index]);
    }
}

// The two slices that a byte may hold (predictor): signed, the low one in the low bits.
inline Byte low_nibble(Byte value) {
    return static_cast<Byte>(static_cast<Byte>(static_cast<std::uint8_t>(value) << 4) >> 4);
}

inline Byte high_nibble(Byte value) {
    return static_cast<Byte>(value >> 4);
}

// The low nibbles of eight bytes side by side, and back: wires.
inline std::uint32_t squeezed(Part bytes) {
    Part bits = bytes & 0x0f0f0f0f0f0f0f0fULL;
    bits = (bits | bits >> 4) & 0x00ff00ff00ff00ffULL;
    bits = (bits | bits >> 8) & 0x0000ffff0000ffffULL;
    return static_cast<std::uint32_t>(bits | bits >> 16);
}

inline Part spread(std::uint32_t nibbles) {
    Part bits = nibbles;
    bits = (bits | bits << 16) & 0x0000ffff0000ffffULL;
    bits = (bits | bits << 8) & 0x00ff00ff00ff00ffULL;
    return (bits | bits << 4) & 0x0f0f0f0f0f0f0f0fULL;
}

}  // namespace e2

#endif
