// SPDX-License-Identifier: Apache-2.0
// Words from and to 64-bit memory ports, little-endian: lane 0 in the lowest bits of beat 0.
#ifndef E2TRAIN_MEMORY_HPP
#define E2TRAIN_MEMORY_HPP

#include "e2train/types.hpp"

namespace e2 {

constexpr int BYTES_A_BEAT = WIDTHS_BEAT / 8;
constexpr int HALVES_A_BEAT = WIDTHS_BEAT / 16;

// Index of the beat at a byte address.
inline Address beat_of(std::uint32_t byte_address) {
    return byte_address / BYTES_A_BEAT;
}

inline ByteWord read_bytes(const Beat* port, Address index) {
    ByteWord word;
read_bytes_beats:
    for (int beat = 0; beat < LANES / BYTES_A_BEAT; ++beat) {
#pragma HLS UNROLL
        const Beat value = port[index + static_cast<Address>(beat)];
        for (int i = 0; i < BYTES_A_BEAT; ++i) {
#pragma HLS UNROLL
            word.lane[beat * BYTES_A_BEAT + i] = static_cast<std::int8_t>(value >> (8 * i));
        }
    }
    return word;
}

// The first half of the word through one port and the second through another: two cycles a word.
inline HalfWord read_halves(const Beat* first, const Beat* second, Address index) {
    HalfWord word;
read_halves_beats:
    for (int beat = 0; beat < LANES / HALVES_A_BEAT; ++beat) {
#pragma HLS UNROLL
        const Beat* port = beat < LANES / HALVES_A_BEAT / 2 ? first : second;
        const Beat value = port[index + static_cast<Address>(beat)];
        for (int i = 0; i < HALVES_A_BEAT; ++i) {
#pragma HLS UNROLL
            word.lane[beat * HALVES_A_BEAT + i] = static_cast<std::int16_t>(value >> (16 * i));
        }
    }
    return word;
}

inline HalfWord read_halves(const Beat* port, Address index) {
    return read_halves(port, port, index);
}

inline void write_bytes(Beat* port, Address index, const ByteWord& word) {
write_bytes_beats:
    for (int beat = 0; beat < LANES / BYTES_A_BEAT; ++beat) {
#pragma HLS UNROLL
        Beat value = 0;
        for (int i = 0; i < BYTES_A_BEAT; ++i) {
#pragma HLS UNROLL
            const int lane = word.lane[beat * BYTES_A_BEAT + i];
            value |= static_cast<Beat>(static_cast<std::uint8_t>(lane)) << (8 * i);
        }
        port[index + static_cast<Address>(beat)] = value;
    }
}

inline void write_halves(Beat* port, Address index, const HalfWord& word) {
write_halves_beats:
    for (int beat = 0; beat < LANES / HALVES_A_BEAT; ++beat) {
#pragma HLS UNROLL
        Beat value = 0;
        for (int i = 0; i < HALVES_A_BEAT; ++i) {
#pragma HLS UNROLL
            const int lane = word.lane[beat * HALVES_A_BEAT + i];
            value |= static_cast<Beat>(static_cast<std::uint16_t>(lane)) << (16 * i);
        }
        port[index + static_cast<Address>(beat)] = value;
    }
}

}  // namespace e2

#endif
