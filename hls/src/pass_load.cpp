// SPDX-License-Identifier: Apache-2.0
#include "e2train/memory.hpp"
#include "e2train/pass.hpp"

namespace e2 {

namespace {

HalfWord widen(const ByteWord& word) {
    HalfWord wide;
widen_lanes:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        wide.lane[lane] = word.lane[lane];
    }
    return wide;
}

// The eight most significant bits, rounded half up and saturated: Banner et al.'s 8-bit copy.
HalfWord top_bits(const HalfWord& word) {
    HalfWord top;
top_bits_lanes:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        const Count rounded = (word.lane[lane] + 128) >> 8;
        top.lane[lane] = static_cast<Half>(smaller(rounded, 127));
    }
    return top;
}

// Two loops, as two beats bring a word of activations and four one of gradients.
void load_activation_row(const Beat* port, Address burst, Count words, Count at,
                         ColumnBuffer& buffer) {
load_activations:
    for (Count x = 0; x < words; ++x) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 32 avg = 16
#pragma HLS PIPELINE II = 2
        const Address index = burst + static_cast<Address>(x) * BYTE_WORD_BEATS;
        buffer.word[at + x] = widen(read_bytes(port, index));
    }
}

void load_gradient_row(const Beat* port, Address burst, Count words, bool narrow, Count at,
                       ColumnBuffer& buffer) {
load_gradients:
    for (Count x = 0; x < words; ++x) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 32 avg = 16
#pragma HLS PIPELINE II = 4
        const Address index = burst + static_cast<Address>(x) * HALF_WORD_BEATS;
        const HalfWord word = read_halves(port, index);
        buffer.word[at + x] = narrow ? top_bits(word) : word;
    }
}

}  // namespace

void load_pass_columns(const Pass& pass, const Tile& tile, bool narrow, std::uint32_t address,
                       const Beat* port, ColumnBuffer& buffer) {
    const Count first = pass.depthwise ? tile.outer : pass.inner_begin;
    const Count planes = pass.depthwise ? tile.outers : pass.inner;
    const Count all_planes = pass.depthwise ? pass.outer : pass.inner_total;
    const Address beats = pass.transposed ? HALF_WORD_BEATS : BYTE_WORD_BEATS;
    const Runs runs = runs_of(tile.from_y, tile.from_x, pass.x.from);
    Count at = 0;
load_planes:
    for (Count plane = 0; plane < planes; ++plane) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 2048 avg = 32
    load_runs:
        for (Count run = 0; run < runs.count; ++run) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 32 avg = 4
            const Count row = times(times(tile.group, all_planes) + first + plane, pass.y.from) +
                              tile.from_y.begin + run;
            const Count word = times(row, pass.x.from) + tile.from_x.begin;
            const Address burst = beat_of(address) + static_cast<Address>(word) * beats;
            if (pass.transposed) {
                load_gradient_row(port, burst, runs.words, narrow, at, buffer);
            } else {
                load_activation_row(port, burst, runs.words, at, buffer);
            }
            at += runs.words;
        }
    }
}

// Weights of 16 rows a word; a block's words for this launch's channels are one burst.
void load_pass_rows(const Pass& pass, const Tile& tile, std::uint32_t address, const Beat* port,
                    RowBuffer& buffer) {
    const Count blocks = ceil_divide(tile.outers, LANES);
    const Count words = times(pass.depthwise ? 1 : pass.inner, taps(pass));
    const Count first = pass.depthwise ? 0 : pass.inner_begin;
    Count at = 0;
load_blocks:
    for (Count block = 0; block < blocks; ++block) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 60 avg = 4
        const Count channel = times(pass.inner_total, tile.outer / LANES + block) + first;
        const Address burst =
            beat_of(address) + static_cast<Address>(times(channel, taps(pass))) * BYTE_WORD_BEATS;
    load_weights:
        for (Count word = 0; word < words; ++word) {
#pragma HLS LOOP_TRIPCOUNT min = 9 max = 960 avg = 144
#pragma HLS PIPELINE II = 2
            const Address index = burst + static_cast<Address>(word) * BYTE_WORD_BEATS;
            buffer.bank[at % BUFFERS_ROW_BANKS][at / BUFFERS_ROW_BANKS] = read_bytes(port, index);
            ++at;
        }
    }
}

}  // namespace e2
