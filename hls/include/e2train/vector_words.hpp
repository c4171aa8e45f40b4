// SPDX-License-Identifier: Apache-2.0
// What the operations of the vector unit share: walking over a tensor word by word.
#ifndef E2TRAIN_VECTOR_WORDS_HPP
#define E2TRAIN_VECTOR_WORDS_HPP

#include "e2train/check.hpp"
#include "e2train/memory.hpp"
#include "e2train/types.hpp"

namespace e2 {

// Where a walk in memory order stands. Loops over words are flat and count these on: nested loops
// would drain the pipeline after every channel, which of 4x4 positions costs more than it works.
struct WordWalk {
    Count position;
    Count channel;
    Count group;
};

inline void advance(WordWalk& at, Count plane, Count channels) {
    const bool channel_ends = at.position + 1 == plane;
    const bool group_ends = channel_ends && at.channel + 1 == channels;
    at.position = channel_ends ? 0 : at.position + 1;
    at.channel = group_ends ? 0 : at.channel + (channel_ends ? 1 : 0);
    at.group += group_ends ? 1 : 0;
}

inline Count ceil_groups(Count samples) {
    return (samples + LANES - 1) / LANES;
}

inline Count group_count(const Arguments& a) {
    return ceil_groups(a.samples);
}

// Lanes of a group that hold samples: below 1 for none, above 15 for all.
inline Count real_lanes(const Arguments& a, Count group) {
    return a.samples - group * LANES;
}

inline Address halves_at(std::uint32_t byte_address, Count word) {
    return beat_of(byte_address) + static_cast<Address>(word) * HALF_WORD_BEATS;
}

inline Address bytes_at(std::uint32_t byte_address, Count word) {
    return beat_of(byte_address) + static_cast<Address>(word) * BYTE_WORD_BEATS;
}

inline Address sums_at(const Arguments& a) {
    return beat_of(a.result_address) + RESULT_SUMS;
}

// Sign-extended, so that one path serves masks and samples of both widths.
inline HalfWord read_widened(const Beat* port, Address index) {
    const ByteWord bytes = read_bytes(port, index);
    HalfWord word;
widen_lanes:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        word.lane[lane] = bytes.lane[lane];
    }
    return word;
}

// The lanes' eight low bits.
inline void write_narrowed(Beat* port, Address index, const HalfWord& word) {
    ByteWord bytes;
narrow_lanes:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        bytes.lane[lane] = static_cast<Byte>(word.lane[lane]);
    }
    write_bytes(port, index, bytes);
}

inline HalfWord zero_halves() {
    HalfWord word;
zero_lanes:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        word.lane[lane] = 0;
    }
    return word;
}

// A word with the lanes of samples that do not exist at zero, as every tensor keeps them.
inline HalfWord only_real(const HalfWord& from, Count real) {
    HalfWord word;
real_lanes:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        word.lane[lane] = lane < real ? from.lane[lane] : Half(0);
    }
    return word;
}

}  // namespace e2

#endif
