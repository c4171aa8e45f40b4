// SPDX-License-Identifier: Apache-2.0
#include "e2train/memory.hpp"
#include "e2train/weights.hpp"

namespace e2 {

namespace {

// slice(v, bits, msb) of docs/numerics.md: the msb most significant bits, rounded half up and
// clipped to both sides alike. Truncation instead would flip a fifth of the predicted signs.
template <typename Element>
Element slice(Element value, Count msb) {
#pragma HLS INLINE
    const Count bits = 8 * sizeof(Element);
    if (msb == bits) {
        return value;
    }
    const Count drop = bits - msb;
    const Count top = (1 << (msb - 1)) - 1;
    const Count rounded = (value + (1 << (drop - 1))) >> drop;
    return static_cast<Element>(rounded > top ? top : rounded < -top ? -top : rounded);
}

}  // namespace

// Output gradients of some filters, [filter][y][x]. Two ports share each word: where few weights
// are unsure, the second phase of PSG waits for this load.
void load_gradients(const WeightPass& pass, const Span& filters, const DataTile& data,
                    const Slices& slices, std::uint32_t address, const Beat* first,
                    const Beat* second, ColumnBuffer& buffer) {
    const Runs runs = runs_of(data.y, data.x, pass.x.to);
    Count at = 0;
load_filters:
    for (Count filter = 0; filter < filters.count; ++filter) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 512 avg = 16
    load_gradient_runs:
        for (Count run = 0; run < runs.count; ++run) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 32 avg = 4
            const Count plane = times(data.group, pass.filters) + filters.begin + filter;
            const Count row = times(plane, pass.y.to) + data.y.begin + run;
            const Address burst =
                beat_of(address) +
                static_cast<Address>(times(row, pass.x.to) + data.x.begin) * HALF_WORD_BEATS;
        load_gradient_words:
            for (Count x = 0; x < runs.words; ++x) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 32 avg = 32
#pragma HLS PIPELINE II = 2
                const HalfWord word =
                    read_halves(first, second, burst + static_cast<Address>(x) * HALF_WORD_BEATS);
            slice_gradients:
                for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
                    buffer.word[at].lane[lane] = slice(word.lane[lane], slices.g_msb);
                }
                ++at;
            }
        }
    }
}

// Activations of some channels, each in the bank of its row of the array.
void load_activations(const WeightPass& pass, const Span& channels, const DataTile& data,
                      const Slices& slices, std::uint32_t address, const Beat* port,
                      RowBuffer& buffer) {
    const Count region = times(data.from_y.count, data.from_x.count);
    const Runs runs = runs_of(data.from_y, data.from_x, pass.x.from);
load_channels:
    for (Count i = 0; i < channels.count; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 960 avg = 32
        const Count channel = channels.begin + i;
        const Count bank = channel % BUFFERS_ROW_BANKS;
        const Count block = channel / BUFFERS_ROW_BANKS - channels.begin / BUFFERS_ROW_BANKS;
        Count at = times(region, block);
    load_activation_runs:
        for (Count run = 0; run < runs.count; ++run) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 32 avg = 6
            const Count row = times(times(data.group, pass.channels) + channel, pass.y.from) +
                              data.from_y.begin + run;
            const Address burst =
                beat_of(address) +
                static_cast<Address>(times(row, pass.x.from) + data.from_x.begin) * BYTE_WORD_BEATS;
        load_activation_words:
            for (Count x = 0; x < runs.words; ++x) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 32 avg = 32
#pragma HLS PIPELINE II = 2
                const ByteWord word =
                    read_bytes(port, burst + static_cast<Address>(x) * BYTE_WORD_BEATS);
            slice_activations:
                for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
                    buffer.bank[bank][at].lane[lane] = slice(word.lane[lane], slices.x_msb);
                }
                ++at;
            }
        }
    }
}

}  // namespace e2
