// SPDX-License-Identifier: Apache-2.0
// What a store reads beside the sums: masks, residual gradients, sums of an earlier launch. Each is
// a burst a run; four lanes of a word go on at a time.
#include "e2train/stages.hpp"

namespace e2 {

namespace {

// The activation let this position's gradient through.
bool passes(Count output, Count ceiling) {
#pragma HLS INLINE
    return output > 0 && (ceiling == 0 || output < ceiling);
}

void load_byte_masks(const Beat* from, Count words, Count ceiling, hls::stream<OpenBits>& opens) {
    Beat beat = 0;
load_byte_mask_quarters:
    for (Count i = 0; i < BYTE_PARTS * words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 2 max = 64 avg = 32
#pragma HLS PIPELINE II = 2
        beat = from[i];
    open_halves:
        for (int half = 0; half < 2; ++half) {
#pragma HLS UNROLL
            std::uint32_t open = 0;
            for (int lane = 0; lane < QUARTER; ++lane) {
#pragma HLS UNROLL
                const bool through = passes(byte_of(beat, QUARTER * half + lane), ceiling);
                open |= through ? 1U << lane : 0U;
            }
            opens.write(OpenBits(open));
        }
    }
}

void load_half_masks(const Beat* from, Count words, Count ceiling, hls::stream<OpenBits>& opens) {
load_half_mask_quarters:
    for (Count i = 0; i < HALF_PARTS * words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 4 max = 128 avg = 64
#pragma HLS PIPELINE II = 1
        const Beat beat = from[i];
        std::uint32_t open = 0;
    open_lanes:
        for (int lane = 0; lane < QUARTER; ++lane) {
#pragma HLS UNROLL
            open |= passes(half_of(beat, lane), ceiling) ? 1U << lane : 0U;
        }
        opens.write(OpenBits(open));
    }
}

void load_residuals(const Beat* from, Count words, hls::stream<Part>& residuals) {
load_residual_quarters:
    for (Count i = 0; i < HALF_PARTS * words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 4 max = 128 avg = 64
#pragma HLS PIPELINE II = 1
        residuals.write(from[i]);
    }
}

void load_carries(const Beat* from, Count words, hls::stream<QuarterBits>& carries) {
    Part parts[QUARTER] = {};
load_carry_beats:
    for (Count i = 0; i < LANES * words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 512 avg = 256
#pragma HLS PIPELINE II = 1
        parts[i % QUARTER] = from[i];
        if (i % QUARTER == QUARTER - 1) {
            QuarterBits quarter;
        carry_parts:
            for (int k = 0; k < QUARTER; ++k) {
#pragma HLS UNROLL
                set_part(quarter, k, parts[k]);
            }
            carries.write(quarter);
        }
    }
}

}  // namespace

void load_beside(hls::stream<StoreTile>& tiles, const Beat* port, hls::stream<OpenBits>& opens,
                 hls::stream<Part>& residuals, hls::stream<QuarterBits>& carries,
                 hls::stream<Count>& beats) {
    const StoreTile tile = tiles.read();
    const Count words = tile.words;
    Address plane = tile.begin;
    Count count = 0;
beside_planes:
    for (Count i = 0; i < tile.planes; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 0 max = 512 avg = 32
        Address run_begin = plane;
    beside_runs:
        for (Count run = 0; run < tile.runs; ++run) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 32 avg = 2
            if (tile.mask_bits == WIDTHS_ACTIVATION) {
                const Beat* from = port + tile.mask + BYTE_WORD_BEATS * run_begin;
                load_byte_masks(from, words, tile.mask_ceiling, opens);
                count += BYTE_PARTS * words;
            } else if (tile.mask_bits == WIDTHS_GRADIENT) {
                const Beat* from = port + tile.mask + HALF_WORD_BEATS * run_begin;
                load_half_masks(from, words, tile.mask_ceiling, opens);
                count += HALF_PARTS * words;
            }
            if (tile.residual) {
                load_residuals(port + tile.residual_begin + HALF_WORD_BEATS * run_begin, words,
                               residuals);
                count += HALF_PARTS * words;
            }
            if (tile.carry) {
                load_carries(port + tile.carry_begin + RAW_WORD_BEATS * run_begin, words, carries);
                count += LANES * words;
            }
            run_begin += tile.run_step;
        }
        plane += tile.plane_step;
    }
    beats.write(count);
}

}  // namespace e2
