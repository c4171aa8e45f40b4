// SPDX-License-Identifier: Apache-2.0
// What the operations of the vector unit share: a beat of four samples a cycle.
//
// Each port has a process of its own that reads or writes it from the first beat to the last, in
// every iteration one: then a tool knows the burst before it begins. What an operation leaves out
// it leaves out of the stream behind.
#ifndef E2TRAIN_VECTOR_STREAMS_HPP
#define E2TRAIN_VECTOR_STREAMS_HPP

#include "e2train/check.hpp"
#include "e2train/memory.hpp"
#include "e2train/types.hpp"
#include "e2train/vector_unit.hpp"
#include "hls_stream.h"

namespace e2 {

constexpr int QUARTER_LANES = HALVES_A_BEAT;         // samples of a beat of 16-bit elements
constexpr int QUARTERS = LANES / QUARTER_LANES;      // beats of a word of 16-bit elements
constexpr int BYTE_QUARTERS = LANES / BYTES_A_BEAT;  // beats of a word of bytes
static_assert(QUARTERS == 4 && BYTE_QUARTERS == 2, "walks count quarters in two bits");
typedef ap_uint<2> QuarterIndex;
constexpr int SIZE_BITS = 12;
static_assert(LIMITS_SIZE < (1 << SIZE_BITS) && LIMITS_CHANNELS < (1 << SIZE_BITS) &&
                  LIMITS_SAMPLES / LANES < (1 << SIZE_BITS),
              "factors of sizes");

// Four samples of a word.
struct Quarter {
    Half lane[QUARTER_LANES];
};

// A product of which the second factor is 0 to 4095 (a size, channels, groups), a bit a step: what
// a launch works out once is worth no DSP.
inline Count multiplied(Count a, Count b) {
#pragma HLS INLINE off
    std::uint32_t sum = 0;
    std::uint32_t shifted = static_cast<std::uint32_t>(a);
multiply_bits:
    for (int bit = 0; bit < SIZE_BITS; ++bit) {
#pragma HLS PIPELINE II = 1
        sum += ((b >> bit) & 1) != 0 ? shifted : 0;
        shifted <<= 1;
    }
    return static_cast<Count>(sum);
}

// As above, for any second factor that is not negative.
inline std::uint64_t multiplied_wide(std::uint64_t a, Count b) {
#pragma HLS INLINE off
    std::uint64_t sum = 0;
    std::uint64_t shifted = a;
multiply_wide_bits:
    for (int bit = 0; bit < 31; ++bit) {
#pragma HLS PIPELINE II = 1
        sum += ((b >> bit) & 1) != 0 ? shifted : 0;
        shifted <<= 1;
    }
    return sum;
}

// How often `step` begins within `size`, both 1 to 4095: a division, a bit a step.
inline Count steps_of(Count size, Count step) {
#pragma HLS INLINE off
    ap_uint<12> quotient = 0;
    ap_uint<24> left = static_cast<std::uint32_t>(size - 1);
steps_of_bits:
    for (int bit = SIZE_BITS - 1; bit >= 0; --bit) {
#pragma HLS PIPELINE II = 1
        const ap_uint<24> part = ap_uint<24>(static_cast<std::uint32_t>(step)) << bit;
        const bool fits = left >= part;
        left = fits ? ap_uint<24>(left - part) : left;
        quotient = ap_uint<12>((quotient << 1) | ap_uint<12>(fits ? 1 : 0));
    }
    return static_cast<Count>(quotient.to_uint()) + 1;
}

inline Count ceil_groups(Count samples) {
    return (samples + LANES - 1) / LANES;
}

inline TensorSize tensor_size(const Arguments& a) {
    TensorSize size;
    size.groups = ceil_groups(a.samples);
    size.plane = multiplied(a.height, a.width);
    size.planes = multiplied(size.groups, a.channels);
    size.words = multiplied(multiplied(size.planes, a.height), a.width);
    return size;
}

// Beats from address 0; below 2^29.
inline Count beat_at(std::uint32_t byte_address) {
    return static_cast<Count>(byte_address / BYTES_A_BEAT);
}

inline Count sums_at(const Arguments& a) {
    return beat_at(a.result_address) + RESULT_SUMS;
}

inline Quarter quarter_of(Beat beat) {
#pragma HLS INLINE
    Quarter quarter;
quarter_lanes:
    for (int lane = 0; lane < QUARTER_LANES; ++lane) {
#pragma HLS UNROLL
        quarter.lane[lane] = static_cast<Half>(beat >> (16 * lane));
    }
    return quarter;
}

inline Beat beat_of_quarter(const Quarter& quarter) {
#pragma HLS INLINE
    Beat beat = 0;
beat_lanes:
    for (int lane = 0; lane < QUARTER_LANES; ++lane) {
#pragma HLS UNROLL
        beat |= static_cast<Beat>(static_cast<std::uint16_t>(quarter.lane[lane])) << (16 * lane);
    }
    return beat;
}

// Four bytes of a beat of eight, made 16 bits wide: its lower or its upper half.
inline Quarter quarter_of_bytes(Beat beat, bool upper) {
#pragma HLS INLINE
    const std::uint32_t bytes = static_cast<std::uint32_t>(beat >> (upper ? 32 : 0));
    Quarter quarter;
byte_lanes:
    for (int lane = 0; lane < QUARTER_LANES; ++lane) {
#pragma HLS UNROLL
        quarter.lane[lane] = static_cast<Byte>(bytes >> (8 * lane));
    }
    return quarter;
}

inline std::uint32_t bytes_of_quarter(const Quarter& quarter) {
#pragma HLS INLINE
    std::uint32_t bytes = 0;
pack_lanes:
    for (int lane = 0; lane < QUARTER_LANES; ++lane) {
#pragma HLS UNROLL
        bytes |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(quarter.lane[lane]))
                 << (8 * lane);
    }
    return bytes;
}

inline Quarter zero_quarter() {
    return quarter_of(0);
}

// A quarter with the lanes of samples that do not exist at zero, as every tensor keeps them.
// `samples`: how many exist from this group's first on.
inline Quarter only_real(const Quarter& from, QuarterIndex quarter, Count samples) {
#pragma HLS INLINE
    const int first = static_cast<int>(quarter.to_uint()) * QUARTER_LANES;
    Quarter result;
real_lanes:
    for (int lane = 0; lane < QUARTER_LANES; ++lane) {
#pragma HLS UNROLL
        result.lane[lane] = first + lane < samples ? from.lane[lane] : Half(0);
    }
    return result;
}

// Where a walk in memory order stands, quarter by quarter. Everything counts down, so that no
// comparison waits for a sum.
struct QuarterWalk {
    QuarterIndex quarter;
    Count beats_left;  // of the channel, behind this one
    Count channel;
    Count channels_left;
    Count samples;  // from the group's first on
};

inline void advance(QuarterWalk& at, Count plane, Count channels) {
#pragma HLS INLINE
    const bool channel_ends = at.beats_left == 0;
    const bool group_ends = channel_ends && at.channels_left == 0;
    at.quarter = QuarterIndex(at.quarter + 1);
    at.beats_left = channel_ends ? plane * QUARTERS - 1 : at.beats_left - 1;
    at.channel = group_ends ? 0 : at.channel + (channel_ends ? 1 : 0);
    at.channels_left = group_ends ? channels - 1 : at.channels_left - (channel_ends ? 1 : 0);
    at.samples -= group_ends ? LANES : 0;
}

// One burst.
inline void read_beats(const Beat* port, Count begin, Count beats, hls::stream<Beat>& to) {
    const Beat* from = port + begin;
read_beats_loop:
    for (Count i = 0; i < beats; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 0 max = 524288 avg = 131072
#pragma HLS PIPELINE II = 1
        to.write(from[i]);
    }
}

inline void write_beats(hls::stream<Beat>& from, Count begin, Count beats, Beat* port) {
    Beat* to = port + begin;
write_beats_loop:
    for (Count i = 0; i < beats; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 524288 avg = 131072
#pragma HLS PIPELINE II = 1
        to[i] = from.read();
    }
}

// Parts of a tensor that are read in order: runs of words that follow one another, `runs` of them
// a plane. Where everything between two is read too, they are one: each run is a burst and waits
// for the memory once.
struct Gather {
    Count words;  // of a run
    Count runs;
    Count run_step;  // words from one run to the next
    Count planes;
    Count plane_step;
    Count groups;
    Count group_step;
};

inline Gather joined(const Gather& parts) {
    Gather one = parts;
    if (one.runs == 1 || one.run_step == one.words) {
        one.words = multiplied(one.words, one.runs);
        one.runs = 1;
        if (one.planes == 1 || one.plane_step == one.words) {
            one.words = multiplied(one.words, one.planes);
            one.planes = 1;
            if (one.groups == 1 || one.group_step == one.words) {
                one.words = multiplied(one.words, one.groups);
                one.groups = 1;
            }
        }
    }
    return one;
}

inline void read_gather(const Beat* port, Count begin, const Gather& parts, hls::stream<Beat>& to) {
    Count group_begin = begin;
gather_groups:
    for (Count group = 0; group < parts.groups; ++group) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 256 avg = 8
        Count plane_begin = group_begin;
    gather_planes:
        for (Count plane = 0; plane < parts.planes; ++plane) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 2048 avg = 16
            Count run_begin = plane_begin;
        gather_runs:
            for (Count run = 0; run < parts.runs; ++run) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 4095 avg = 8
                read_beats(port, run_begin, parts.words * QUARTERS, to);
                run_begin += parts.run_step * QUARTERS;
            }
            plane_begin += parts.plane_step * QUARTERS;
        }
        group_begin += parts.group_step * QUARTERS;
    }
}

// Of rows of `columns` words every `step`-th one, the first always.
inline void keep_every(hls::stream<Beat>& from, Count beats, Count columns, Count step,
                       hls::stream<Beat>& to) {
    Count left = columns * QUARTERS - 1;  // of the row
    Count skipped = 0;
    QuarterIndex quarter = 0;
keep_beats:
    for (Count i = 0; i < beats; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 64 max = 524288 avg = 131072
#pragma HLS PIPELINE II = 1
        const Beat beat = from.read();
        if (skipped == 0) {
            to.write(beat);
        }
        const bool word_ends = quarter == QUARTERS - 1;
        const bool row_ends = left == 0;
        if (word_ends) {
            skipped = row_ends || skipped == step - 1 ? 0 : skipped + 1;
        }
        quarter = QuarterIndex(quarter + 1);
        left = row_ends ? columns * QUARTERS - 1 : left - 1;
    }
}

}  // namespace e2

#endif
