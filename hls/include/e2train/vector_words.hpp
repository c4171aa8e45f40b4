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

inline Address word_at(std::uint32_t byte_address, Count word, bool bytes) {
    return bytes ? bytes_at(byte_address, word) : halves_at(byte_address, word);
}

// A word of 16-bit elements, or of bytes made 16 bits wide. The first two beats are read in either
// case: reads in two branches would each take their own turn on the port.
inline HalfWord read_either(const Beat* port, Address index, bool bytes) {
    Beat beat[HALF_WORD_BEATS];
read_either_beats:
    for (Address i = 0; i < HALF_WORD_BEATS; ++i) {
#pragma HLS UNROLL
        beat[i] = i < BYTE_WORD_BEATS || !bytes ? port[index + i] : Beat(0);
    }
    HalfWord word;
read_either_lanes:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        const Beat narrow = beat[lane / BYTES_A_BEAT] >> (8 * (lane % BYTES_A_BEAT));
        const Beat wide = beat[lane / HALVES_A_BEAT] >> (16 * (lane % HALVES_A_BEAT));
        word.lane[lane] =
            bytes ? static_cast<Half>(static_cast<Byte>(narrow)) : static_cast<Half>(wide);
    }
    return word;
}

// A word of 16-bit elements, or their low bytes; as above with one turn a beat.
inline void write_either(Beat* port, Address index, const HalfWord& word, bool bytes) {
    Beat beat[HALF_WORD_BEATS] = {};
write_either_lanes:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        const Beat value = static_cast<std::uint16_t>(word.lane[lane]);
        if (bytes) {
            beat[lane / BYTES_A_BEAT] |= (value & 0xff) << (8 * (lane % BYTES_A_BEAT));
        } else {
            beat[lane / HALVES_A_BEAT] |= value << (16 * (lane % HALVES_A_BEAT));
        }
    }
write_either_beats:
    for (Address i = 0; i < HALF_WORD_BEATS; ++i) {
#pragma HLS UNROLL
        if (i < BYTE_WORD_BEATS || !bytes) {
            port[index + i] = beat[i];
        }
    }
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
