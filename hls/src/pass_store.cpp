// SPDX-License-Identifier: Apache-2.0
// From a tile's sums to memory: carry, rounding, mask, residual, peak, saturation, statistics.
#include "e2train/memory.hpp"
#include "e2train/pass.hpp"
#include "e2train/vector_words.hpp"

namespace e2 {

namespace {

constexpr int WIDE = 64;
typedef ap_int<WIDE> Wide;

constexpr Count HALF_TOP = (1 << (WIDTHS_GRADIENT - 1)) - 1;

struct WideWord {
    Wide lane[LANES];
};

// What the store reads beside the sums: words of one position.
struct Beside {
    HalfWord mask;
    HalfWord residual;
};

// What the store of a tile adds up.
struct Tally {
    std::uint64_t peak;
    Count saturations;
    std::int64_t total;
    std::int64_t squares;
};

// (value + half) >> shift; a negative shift multiplies. The sum of a launch has 48 bits, and 15
// more at most come from a negative shift.
Wide shifted(Wide value, Count shift) {
    if (shift <= 0) {
        return value << -shift;
    }
    return (value + (Wide(1) << (shift - 1))) >> shift;
}

WideWord read_sums(const Finish& finish, const TileSumWord& sums, const Beat* extra,
                   Address index) {
#pragma HLS INLINE
    WideWord word;
read_sums_lanes:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        const Wide carried =
            finish.carry
                ? Wide(static_cast<std::int64_t>(extra[index + static_cast<Address>(lane)]))
                : Wide(0);
        word.lane[lane] = carried + sums.lane[lane];
    }
    return word;
}

void write_raw(const WideWord& word, Count lanes, Address index, Beat* output) {
#pragma HLS INLINE
write_raw_lanes:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        const std::int64_t value = lane < lanes ? word.lane[lane].to_int64() : 0;
        output[index + static_cast<Address>(lane)] = static_cast<Beat>(value);
    }
}

// One word beside the sums: what the pass has of mask and residual, through one access.
Beside read_one(const Finish& finish, const Arguments& a, const Beat* extra, Count word) {
#pragma HLS INLINE
    Beside beside = Beside();
    const std::uint32_t base = finish.residual ? a.residual_address : a.mask_address;
    const bool bytes = !finish.residual && finish.mask_bits == 8;
    const HalfWord found = read_either(extra, word_at(base, word, bytes), bytes);
    beside.mask = found;
    beside.residual = found;
    return beside;
}

Beside read_both(const Finish& finish, const Arguments& a, const Beat* extra, Count word) {
#pragma HLS INLINE
    Beside beside = Beside();
    const bool bytes = finish.mask_bits == 8;
    if (finish.mask_bits != 0) {
        beside.mask = read_either(extra, word_at(a.mask_address, word, bytes), bytes);
    }
    if (finish.residual) {
        beside.residual = read_halves(extra, halves_at(a.residual_address, word));
    }
    return beside;
}

// The activation let this position's gradient through.
bool passes(const Finish& finish, Half output) {
    return output > 0 && (finish.mask_ceiling == 0 || output < finish.mask_ceiling);
}

std::uint64_t magnitude(Wide value) {
    const std::int64_t v = value.to_int64();
    return v < 0 ? ~static_cast<std::uint64_t>(v) + 1 : static_cast<std::uint64_t>(v);
}

Half saturated(Wide value, Tally& tally) {
#pragma HLS INLINE
    if (value > HALF_TOP) {
        ++tally.saturations;
        return HALF_TOP;
    }
    if (value < -HALF_TOP - 1) {
        ++tally.saturations;
        return -HALF_TOP - 1;
    }
    return Half(value);
}

// What one lane's sum becomes before it saturates.
Wide finished_lane(const Finish& finish, Wide sum, Half mask, Half residual) {
#pragma HLS INLINE off
    const Wide value = shifted(sum, finish.shift);
    const bool closed = finish.mask_bits != 0 && !passes(finish, mask);
    const Wide open = closed ? Wide(0) : value;
    return finish.residual ? Wide(open + residual) : open;
}

// The forward pass takes the peak of its sums, the backward pass that of what it stores.
HalfWord finished(const Finish& finish, const WideWord& sums, const Beside& beside, Count lanes,
                  Tally& tally) {
#pragma HLS INLINE
// A 64-bit shifter in both directions is large: four of them serve 16 lanes in four cycles.
#pragma HLS ALLOCATION function instances = finished_lane limit = 4
    HalfWord word;
finished_lanes:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        const Wide value = finished_lane(finish, sums.lane[lane], beside.mask.lane[lane],
                                         beside.residual.lane[lane]);
        word.lane[lane] = 0;
        if (lane < lanes) {
            const std::uint64_t peak = magnitude(finish.statistics ? sums.lane[lane] : value);
            tally.peak = peak > tally.peak ? peak : tally.peak;
            word.lane[lane] = saturated(value, tally);
        }
    }
    return word;
}

void add_statistics(const HalfWord& word, Tally& tally) {
#pragma HLS INLINE
    ap_int<WIDTHS_GRADIENT + 4> total = 0;
    ap_int<2 * WIDTHS_GRADIENT + 4> squares = 0;
add_statistics_lanes:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        total += word.lane[lane];
        squares += word.lane[lane] * word.lane[lane];
    }
    tally.total += total.to_int64();
    tally.squares += squares.to_int64();
}

// Beats of this tile on every port.
void count_tile(const Pass& pass, const Tile& tile, const Finish& finish, Count steps,
                Counters& counters) {
    const Count planes = pass.depthwise ? tile.outers : pass.inner;
    const Address beats = pass.transposed ? HALF_WORD_BEATS : BYTE_WORD_BEATS;
    const Count read = times(times(planes, tile.from_y.count), tile.from_x.count);
    const Count weights = times(pass.depthwise ? 1 : pass.inner, ceil_divide(tile.outers, LANES));
    const Count words = times(times(tile.outers, tile.y.count), tile.x.count);
    const Address beside = (finish.mask_bits == 8 ? BYTE_WORD_BEATS : 0) +
                           (finish.mask_bits == 16 ? HALF_WORD_BEATS : 0) +
                           (finish.residual ? HALF_WORD_BEATS : 0) +
                           (finish.carry ? RAW_WORD_BEATS : 0);
    counters.column_beats += static_cast<std::uint64_t>(read) * beats;
    counters.row_beats += static_cast<std::uint64_t>(times(weights, taps(pass))) * BYTE_WORD_BEATS;
    counters.extra_beats += static_cast<std::uint64_t>(words) * beside;
    counters.output_beats +=
        static_cast<std::uint64_t>(words) * (finish.raw ? RAW_WORD_BEATS : HALF_WORD_BEATS);
    counters.core_steps += static_cast<std::uint64_t>(steps);
    ++counters.tiles;
}

// Four ways to store, since a pipelined loop has one interval for all its words: in cycles, the
// beats that the busiest port carries a word.
struct StoreAlone {  // requantised sums
    static constexpr int interval = HALF_WORD_BEATS;
    static constexpr int beside = 0;
    static constexpr bool wide = false;
};

struct StoreOne {  // with a mask or a residual
    static constexpr int interval = HALF_WORD_BEATS;
    static constexpr int beside = 1;
    static constexpr bool wide = false;
};

struct StoreBoth {  // with both, on one port
    static constexpr int interval = 2 * HALF_WORD_BEATS;
    static constexpr int beside = 2;
    static constexpr bool wide = false;
};

struct StoreWide {  // 64-bit sums in or out
    static constexpr int interval = RAW_WORD_BEATS + 2 * HALF_WORD_BEATS;
    static constexpr int beside = 2;
    static constexpr bool wide = true;
};

// What a way of storing leaves out costs it nothing.
template <class Way>
Finish only(const Finish& finish) {
    Finish left = finish;
    left.raw = Way::wide && finish.raw;
    left.carry = Way::wide && finish.carry;
    left.residual = Way::beside > 0 && finish.residual;
    left.mask_bits = Way::beside > 0 ? finish.mask_bits : 0;
    return left;
}

// One burst of a channel's positions: `words` words from number `row` on.
template <class Way>
void store_row(const Finish& all, const Arguments& arguments, const TileSums& sums, Count row,
               Count words, Count lanes, Count at, const Beat* extra, Beat* output, Tally& tally) {
    const Finish finish = only<Way>(all);
store_words:
    for (Count x = 0; x < words; ++x) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 32 avg = 16
// Over the interval the 16 lanes of a word share multipliers and shifters.
#pragma HLS PIPELINE II = Way::interval
        const Address word = static_cast<Address>(row + x);
        const Address raw = word * RAW_WORD_BEATS;
        const WideWord wide =
            read_sums(finish, sums.word[at + x], extra, beat_of(arguments.carry_address) + raw);
        if (finish.raw) {
            write_raw(wide, lanes, beat_of(arguments.out_address) + raw, output);
        } else {
            const Beside beside = Way::beside == 0   ? Beside()
                                  : Way::beside == 1 ? read_one(finish, arguments, extra, row + x)
                                                     : read_both(finish, arguments, extra, row + x);
            const HalfWord half = finished(finish, wide, beside, lanes, tally);
            add_statistics(half, tally);
            write_halves(output, beat_of(arguments.out_address) + word * HALF_WORD_BEATS, half);
        }
    }
}

}  // namespace

void store_pass(const Pass& pass, const Tile& tile, const Finish& finish,
                const Arguments& arguments, const TileSums& sums, Count steps, const Beat* extra,
                Beat* output, ChannelEntry channels[LIMITS_CHANNELS], Counters& counters) {
    const Count lanes = lanes_of(pass.samples, tile.group);
    const Runs runs = runs_of(tile.y, tile.x, pass.x.to);
    Tally tally = Tally();
    tally.peak = counters.peak;
    Count at = 0;
store_channels:
    for (Count outer = 0; outer < tile.outers; ++outer) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 512 avg = 32
        const Count channel = times(tile.group, pass.outer) + tile.outer + outer;
        tally.total = 0;
        tally.squares = 0;
    store_runs:
        for (Count run = 0; run < runs.count; ++run) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 32 avg = 2
            const Count row =
                times(times(channel, pass.y.to) + tile.y.begin + run, pass.x.to) + tile.x.begin;
            if (finish.raw || finish.carry) {
                store_row<StoreWide>(finish, arguments, sums, row, runs.words, lanes, at, extra,
                                     output, tally);
            } else if (finish.residual && finish.mask_bits != 0) {
                store_row<StoreBoth>(finish, arguments, sums, row, runs.words, lanes, at, extra,
                                     output, tally);
            } else if (finish.residual || finish.mask_bits != 0) {
                store_row<StoreOne>(finish, arguments, sums, row, runs.words, lanes, at, extra,
                                    output, tally);
            } else {
                store_row<StoreAlone>(finish, arguments, sums, row, runs.words, lanes, at, extra,
                                      output, tally);
            }
            at += runs.words;
        }
        channels[tile.outer + outer].first += tally.total;
        channels[tile.outer + outer].second += tally.squares;
    }
    counters.peak = tally.peak;
    counters.saturations += static_cast<std::uint64_t>(tally.saturations);
    count_tile(pass, tile, finish, steps, counters);
}

}  // namespace e2
