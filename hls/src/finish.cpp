// SPDX-License-Identifier: Apache-2.0
// From a tile's sums to what is stored: carry, rounding, mask, residual, peak, saturation and the
// sums of each channel; four lanes a cycle.
#include "e2train/stages.hpp"

namespace e2 {

namespace {

constexpr std::int64_t HALF_TOP = (1 << (WIDTHS_GRADIENT - 1)) - 1;

// (value + half) >> shift; a negative shift multiplies. The sum of a launch has 48 bits, and 15
// more at most come from a negative shift.
std::int64_t shifted(std::int64_t value, Count shift) {
#pragma HLS INLINE
    const std::uint64_t bits = static_cast<std::uint64_t>(value);
    if (shift <= 0) {
        return static_cast<std::int64_t>(bits << -shift);
    }
    return static_cast<std::int64_t>(bits + (std::uint64_t(1) << (shift - 1))) >> shift;
}

std::uint64_t magnitude(std::int64_t value) {
#pragma HLS INLINE
    return value < 0 ? ~static_cast<std::uint64_t>(value) + 1 : static_cast<std::uint64_t>(value);
}

// Four lanes of a word, and what they have beside them.
struct Quarter {
    std::int64_t sum[QUARTER];
    std::uint32_t open;
    Part residual;
};

// What a quarter adds to the tile's and the channel's tallies: reduced within the quarter first.
struct Found {
    Part halves;
    std::uint64_t peak;
    Count saturations;
    Count total;
    std::int64_t squares;
};

// The forward pass takes the peak of its sums, the backward pass that of what it stores.
Found finish_quarter(const StoreTile& tile, const Quarter& quarter) {
#pragma HLS INLINE
    Found found = Found();
finish_lanes:
    for (int lane = 0; lane < QUARTER; ++lane) {
#pragma HLS UNROLL
        const std::int64_t sum = quarter.sum[lane];
        const bool closed = (quarter.open >> lane & 1U) == 0;
        const std::int64_t open = closed ? 0 : shifted(sum, tile.shift);
        const std::int64_t value = open + half_of(quarter.residual, lane);
        const bool above = value > HALF_TOP;
        const bool below = value < -HALF_TOP - 1;
        const std::int64_t kept = above ? HALF_TOP : below ? -HALF_TOP - 1 : value;
        const Half half = static_cast<Half>(kept);
        const std::uint64_t peak = magnitude(tile.statistics ? sum : value);
        found.halves |= half_at(half, lane);
        found.peak = peak > found.peak ? peak : found.peak;
        found.saturations += above || below ? 1 : 0;
        found.total += half;
        const std::uint32_t square = static_cast<std::uint32_t>(half * half);
        found.squares += square;
    }
    return found;
}

Quarter quarter_of(const StoreTile& tile, const TileSumBits& word, Count place,
                   hls::stream<OpenBits>& opens, hls::stream<Part>& residuals,
                   hls::stream<QuarterBits>& carries) {
#pragma HLS INLINE
    const QuarterBits carried = tile.carry ? carries.read() : QuarterBits(0);
    Quarter quarter;
quarter_lanes:
    for (int lane = 0; lane < QUARTER; ++lane) {
#pragma HLS UNROLL
        std::int64_t own = 0;
    choose_quarter:
        for (int i = 0; i < QUARTERS; ++i) {
#pragma HLS UNROLL
            own = i == place ? lane_of<WIDTHS_TILE_SUM>(word, QUARTER * i + lane) : own;
        }
        quarter.sum[lane] = own + static_cast<std::int64_t>(part(carried, lane));
    }
    quarter.open = tile.mask_bits != 0 ? opens.read().to_uint() : (1U << QUARTER) - 1U;
    quarter.residual = tile.residual ? residuals.read() : 0;
    return quarter;
}

QuarterBits raw_bits(const Quarter& quarter) {
#pragma HLS INLINE
    QuarterBits bits;
raw_lanes:
    for (int lane = 0; lane < QUARTER; ++lane) {
#pragma HLS UNROLL
        set_part(bits, lane, static_cast<Part>(quarter.sum[lane]));
    }
    return bits;
}

// What a tile and its channel under way have added up.
struct Tally {
    TileTally tile;
    std::int64_t total;
    std::int64_t squares;
};

void add(const Found& found, bool fresh, Tally& tally) {
#pragma HLS INLINE
    tally.tile.peak = found.peak > tally.tile.peak ? found.peak : tally.tile.peak;
    tally.tile.saturations += found.saturations;
    tally.total = fresh ? found.total : tally.total + found.total;
    tally.squares = fresh ? found.squares : tally.squares + found.squares;
}

}  // namespace

void finish_sums(hls::stream<StoreTile>& tiles, const TileSums& sums, hls::stream<OpenBits>& opens,
                 hls::stream<Part>& residuals, hls::stream<QuarterBits>& carries,
                 hls::stream<Part>& halves, hls::stream<QuarterBits>& raws,
                 hls::stream<TileTally>& tallies, ChannelEntry channels[LIMITS_CHANNELS]) {
    const StoreTile tile = tiles.read();
    const Count quarters = QUARTERS * on_chip(tile.runs, tile.words);  // of a channel
    const Count all = on_chip(quarters, tile.planes);
    Tally tally = Tally();
    Count channel = tile.outer;
    Count place = 0;
finish_quarters:
    for (Count i = 0; i < all; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 0 max = 2048 avg = 2048
#pragma HLS PIPELINE II = 1
// A channel's sums are read and written once a tile.
#pragma HLS DEPENDENCE variable = channels inter false
        const bool end = place == quarters - 1;
        const Quarter quarter =
            quarter_of(tile, sums.word[i >> 2], i & (QUARTERS - 1), opens, residuals, carries);
        if (tile.raw) {
            raws.write(raw_bits(quarter));
        } else {
            const Found found = finish_quarter(tile, quarter);
            halves.write(found.halves);
            add(found, place == 0, tally);
            if (end) {
                const ChannelEntry before = channels[channel];
                const ChannelEntry after = {before.first + tally.total,
                                            before.second + tally.squares};
                channels[channel] = after;
            }
        }
        channel += end ? 1 : 0;
        place = end ? 0 : place + 1;
    }
    tallies.write(tally.tile);
}

void clear_channels(ChannelEntry channels[LIMITS_CHANNELS], Count count) {
clear_channels_loop:
    for (Count c = 0; c < count; ++c) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 1280 avg = 64
#pragma HLS PIPELINE II = 1
        const ChannelEntry zero = {0, 0};
        channels[c] = zero;
    }
}

void write_channels(const ChannelEntry channels[LIMITS_CHANNELS], Count count, Address begin,
                    Beat* output) {
    Beat* totals = output + begin;
write_totals:
    for (Count c = 0; c < count; ++c) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 1280 avg = 64
#pragma HLS PIPELINE II = 1
        totals[c] = static_cast<Beat>(channels[c].first);
    }
    Beat* squares = totals + count;
write_squares:
    for (Count c = 0; c < count; ++c) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 1280 avg = 64
#pragma HLS PIPELINE II = 1
        squares[c] = static_cast<Beat>(channels[c].second);
    }
}

}  // namespace e2
