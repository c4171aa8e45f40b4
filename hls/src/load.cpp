// SPDX-License-Identifier: Apache-2.0
// From memory to the buffers. Every burst is one loop of known length that reads its port in every
// iteration, a beat further each: the form in which HLS finds bursts.
#include "e2train/stages.hpp"

namespace e2 {

namespace {

// slice(v, bits, msb) of docs/numerics.md: the msb most significant bits, rounded half up and
// clipped to both sides alike. Truncation instead would flip a fifth of the predicted signs.
Count slice(Count value, Count bits, Count msb) {
#pragma HLS INLINE
    if (msb == bits) {
        return value;
    }
    const Count drop = bits - msb;
    const Count top = (1 << (msb - 1)) - 1;
    const Count rounded = (value + (1 << (drop - 1))) >> drop;
    return rounded > top ? top : rounded < -top ? -top : rounded;
}

// The eight most significant bits, rounded half up and saturated: Banner et al.'s 8-bit copy.
Count top_bits(Count value) {
#pragma HLS INLINE
    return smaller((value + 128) >> 8, 127);
}

// Four 16-bit elements as the array takes them.
Part column_part(Beat beat, bool narrow, Count msb) {
#pragma HLS INLINE
    Part made = 0;
column_part_lanes:
    for (int i = 0; i < HALVES_A_PART; ++i) {
#pragma HLS UNROLL
        const Count value = half_of(beat, i);
        made |= half_at(narrow ? top_bits(value) : slice(value, WIDTHS_GRADIENT, msb), i);
    }
    return made;
}

// The parts of a word that have come, and where the next word goes.
struct Assembly {
    Part part[HALF_PARTS];
    Count at;
};

// One beat more of 16-bit elements; the fourth completes a word.
void add_halves(Part made, Count phase, Assembly& to, ColumnBuffer& buffer) {
#pragma HLS INLINE
    to.part[phase] = made;
    if (phase == HALF_PARTS - 1) {
        HalfBits word;
    add_halves_parts:
        for (int i = 0; i < HALF_PARTS; ++i) {
#pragma HLS UNROLL
            set_part(word, i, to.part[i]);
        }
        buffer.word[to.at] = word;
        ++to.at;
    }
}

void load_halves(const ColumnLoad& load, const Beat* from, Assembly& to, ColumnBuffer& buffer) {
    const Count beats = HALF_PARTS * load.words;
load_halves_beats:
    for (Count i = 0; i < beats; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 4 max = 4096 avg = 64
#pragma HLS PIPELINE II = 1
        add_halves(column_part(from[i], load.narrow, load.msb), i % HALF_PARTS, to, buffer);
    }
}

// Two planes at once, one a port.
void load_two(const ColumnLoad& load, const Beat* from, const Beat* other, Assembly& to,
              Assembly& beside, ColumnBuffer& buffer) {
    const Count beats = HALF_PARTS * load.words;
load_two_beats:
    for (Count i = 0; i < beats; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 4 max = 4096 avg = 64
#pragma HLS PIPELINE II = 1
        add_halves(column_part(from[i], load.narrow, load.msb), i % HALF_PARTS, to, buffer);
        add_halves(column_part(other[i], load.narrow, load.msb), i % HALF_PARTS, beside, buffer);
    }
}

// A beat holds eight bytes, which become eight halves: half a word.
void load_bytes(const ColumnLoad& load, const Beat* from, Assembly& to, ColumnBuffer& buffer) {
    const Count beats = BYTE_PARTS * load.words;
load_bytes_beats:
    for (Count i = 0; i < beats; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 2 max = 4096 avg = 64
#pragma HLS PIPELINE II = 1
        const Beat beat = from[i];
        Part wide[2] = {0, 0};
    widen_lanes:
        for (int lane = 0; lane < BYTES_A_PART; ++lane) {
#pragma HLS UNROLL
            wide[lane / HALVES_A_PART] |= half_at(byte_of(beat, lane), lane % HALVES_A_PART);
        }
        const Count phase = i % BYTE_PARTS;
        to.part[2 * phase] = wide[0];
        add_halves(wide[1], 2 * phase + 1, to, buffer);
    }
}

// Words of weights lie over the banks in turn.
void load_weights(const RowLoad& load, const Beat* from, Count& at, RowBuffer& buffer) {
    const Count beats = BYTE_PARTS * load.words;
    Part before = 0;
load_weights_beats:
    for (Count i = 0; i < beats; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 2 max = 8192 avg = 288
#pragma HLS PIPELINE II = 1
        const Part beat = from[i];
        if (i % BYTE_PARTS == 1) {
            const Count word = load.half + banks_of(at);
            buffer.low[bank_of(at)][word] =
                static_cast<Part>(squeezed(beat)) << 32 | squeezed(before);
            buffer.high[bank_of(at)][word] =
                static_cast<Part>(squeezed(beat >> 4)) << 32 | squeezed(before >> 4);
            ++at;
        }
        before = beat;
    }
}

Part sliced_bytes(Beat beat, Count msb) {
#pragma HLS INLINE
    Part made = 0;
sliced_lanes:
    for (int lane = 0; lane < BYTES_A_PART; ++lane) {
#pragma HLS UNROLL
        made |= byte_at(slice(byte_of(beat, lane), WIDTHS_ACTIVATION, msb), lane);
    }
    return made;
}

// Where a channel's words go.
struct ChannelPlace {
    Count bank;
    Count base;
    bool upper;  // packed: channels 16 to 31 of their group
};

// One run of a channel. Slices of four bits are all in the low nibbles of what is read.
void load_channel(const RowLoad& load, const Beat* from, const ChannelPlace& place, Count& at,
                  RowBuffer& buffer) {
    const Count beats = BYTE_PARTS * load.words;
    const bool to_low = !load.nibbles || load.twin || !place.upper;
    const bool to_high = !load.nibbles || load.twin || place.upper;
    Part before = 0;
load_channel_beats:
    for (Count i = 0; i < beats; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 2 max = 512 avg = 64
#pragma HLS PIPELINE II = 1
        const Part bytes = sliced_bytes(from[i], load.msb);
        const Part low = static_cast<Part>(squeezed(bytes)) << 32 | squeezed(before);
        const Part high = static_cast<Part>(squeezed(bytes >> 4)) << 32 | squeezed(before >> 4);
        if (i % BYTE_PARTS == 1) {
            if (to_low) {
                buffer.low[place.bank][at] = low;
            }
            if (to_high) {
                buffer.high[place.bank][at] = load.nibbles ? low : high;
            }
            ++at;
        }
        before = bytes;
    }
}

void next_channel(const RowLoad& load, ChannelPlace& place) {
    const bool wraps = place.bank == BUFFERS_ROW_BANKS - 1;
    const bool halves = load.nibbles && !load.twin;
    if (wraps && (!halves || place.upper)) {
        place.base += load.region;
    }
    place.upper = wraps ? !place.upper : place.upper;
    place.bank = wraps ? 0 : place.bank + 1;
}

Count load_activations(const RowLoad& load, const Beat* port, RowBuffer& buffer) {
    ChannelPlace place = {load.first, load.half, false};
    Address plane = load.begin;
    Count beats = 0;
load_channels:
    for (Count i = 0; i < load.planes; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 960 avg = 32
        Count at = place.base;
        Address run_begin = plane;
    load_channel_runs:
        for (Count run = 0; run < load.runs; ++run) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 32 avg = 6
            load_channel(load, port + run_begin, place, at, buffer);
            beats += BYTE_PARTS * load.words;
            run_begin += load.run_step;
        }
        next_channel(load, place);
        plane += load.plane_step;
    }
    return beats;
}

}  // namespace

void load_columns(hls::stream<ColumnLoad>& tiles, const Beat* port, const Beat* second,
                  ColumnBuffer& buffer, hls::stream<Count>& beats,
                  hls::stream<Count>& second_beats) {
    const ColumnLoad load = tiles.read();
    const Count words = on_chip(load.runs, load.words);  // of a plane
    const Count step = load.shared ? 2 : 1;
    const Count run_beats = (load.halves ? HALF_PARTS : BYTE_PARTS) * load.words;
    Assembly to = Assembly();
    Address plane = load.begin;
    Count first_count = 0;
    Count second_count = 0;
load_planes:
    for (Count i = 0; i < load.planes; i += step) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 2048 avg = 32
        const bool two = load.shared && i + 1 < load.planes;
        Assembly beside = to;
        beside.at = to.at + words;
        Address run_begin = plane;
    load_runs:
        for (Count run = 0; run < load.runs; ++run) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 32 avg = 4
            const Beat* from = port + run_begin;
            if (two) {
                load_two(load, from, second + run_begin + load.plane_step, to, beside, buffer);
                second_count += run_beats;
            } else if (load.halves) {
                load_halves(load, from, to, buffer);
            } else {
                load_bytes(load, from, to, buffer);
            }
            first_count += run_beats;
            run_begin += load.run_step;
        }
        to.at = two ? beside.at : to.at;
        plane += load.shared ? load.plane_step << 1 : load.plane_step;
    }
    beats.write(first_count);
    second_beats.write(second_count);
}

void load_rows(hls::stream<RowLoad>& tiles, const Beat* port, RowBuffer& buffer,
               hls::stream<bool>& begun, hls::stream<bool>& loaded, hls::stream<Count>& beats) {
    const RowLoad load = tiles.read();
    begun.write(true);
    Count count = 0;
    if (load.weights) {
        Address block = load.begin;
        Count at = 0;
    load_blocks:
        for (Count i = 0; i < load.planes; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 60 avg = 4
            load_weights(load, port + block, at, buffer);
            count += BYTE_PARTS * load.words;
            block += load.plane_step;
        }
    } else {
        count = load_activations(load, port, buffer);
    }
    beats.write(count);
    loaded.write(true);
}

}  // namespace e2
