// SPDX-License-Identifier: Apache-2.0
// Batch norm forward and backward, narrowing, masks and additions: one linear map a channel.
#include "e2train/vector_unit.hpp"
#include "e2train/vector_words.hpp"

namespace e2 {

namespace {

constexpr int MULTIPLIER_BITS = 16;
constexpr int SUM_BITS = 34;

typedef std::int16_t Multiplier;
static_assert(sizeof(Multiplier) * 8 == MULTIPLIER_BITS, "multipliers have sixteen bits");
// Cut to its proven width, a sum takes no more logic than that; what follows works on 64 bits of
// which the upper ones are known to be its sign.
typedef ap_int<SUM_BITS> MapSum;
typedef std::int64_t Value;

// |a*m| + |b*n| <= 2 * 2^15 * 2^15, |o| <= 2^31, half <= 2^29: below 2^33.
static_assert(2 * (std::int64_t(1) << (WIDTHS_GRADIENT + MULTIPLIER_BITS - 2)) +
                      (std::int64_t(1) << 31) + (std::int64_t(1) << (MAP_MOST_SHIFT - 1)) <
                  std::int64_t(1) << (SUM_BITS - 1),
              "the map's sums must fit their accumulator");

struct Coefficients {
    Multiplier m;
    Multiplier n;
    std::int32_t o;
};

struct Settings {
    bool second;
    bool residual;
    bool mask;
    bool mask_bytes;
    bool rectify;
    bool clip;
    std::int32_t ceiling;
    std::int32_t mask_ceiling;  // 0: none
    std::int32_t shift;
    Value half;
    Value low;
    Value high;
    bool bytes_out;
};

// What a word of sixteen results adds to the counters.
struct Mapped {
    HalfWord word;
    Value peak;
    Count saturated;
};

Settings settings_of(const Arguments& a) {
    Settings s;
    s.second = option(a, OPTIONS_SECOND);
    s.residual = option(a, OPTIONS_RESIDUAL);
    s.mask_bytes = option(a, OPTIONS_MASK8);
    s.mask = s.mask_bytes || option(a, OPTIONS_MASK16);
    s.rectify = option(a, OPTIONS_RECTIFY);
    s.clip = option(a, OPTIONS_CEILING);
    s.ceiling = a.ceiling;
    s.mask_ceiling = a.mask_ceiling();
    s.shift = a.shift;
    s.half = a.shift == 0 ? Value(0) : Value(1) << (a.shift - 1);
    s.high = (Value(1) << (a.bits - 1)) - 1;
    s.low = -s.high - 1;
    s.bytes_out = a.bits == WIDTHS_ACTIVATION;
    return s;
}

// Two beats a channel, packed into one word of the table: m and n have 16 bits.
void load_coefficients(const Arguments& a, const Beat* rows, ChannelEntry table[LIMITS_CHANNELS]) {
    const Address begin = beat_of(a.rows_address);
load_channels:
    for (Count c = 0; c < a.channels; ++c) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 2048 avg = 64
#pragma HLS PIPELINE II = 2
        const Beat multipliers = rows[begin + 2 * static_cast<Address>(c)];
        const Beat offset = rows[begin + 2 * static_cast<Address>(c) + 1];
        const Beat m = multipliers & 0xffff;
        const Beat n = (multipliers >> 32) & 0xffff;
        table[c].first = static_cast<WideSum>(m | (n << 16) | (offset << 32));
    }
}

Coefficients coefficients_of(const ChannelEntry& entry) {
#pragma HLS INLINE
    Coefficients k;
    k.m = static_cast<std::int16_t>(entry.first);
    k.n = static_cast<std::int16_t>(entry.first >> 16);
    k.o = static_cast<std::int32_t>(entry.first >> 32);
    return k;
}

// v before saturation. `extra`: the mask or the residual, whichever there is.
Value map_lane(const Settings& s, const Coefficients& k, Half a, Half b, Half extra) {
#pragma HLS INLINE
    const std::int32_t first = a * k.m;
    const std::int32_t second = b * k.n;
    const MapSum sum = Value(first) + second + k.o + s.half;
    Value v = sum.to_int64() >> s.shift;
    if (s.residual) {
        v += extra;
    }
    if (s.rectify && v < 0) {
        v = 0;
    }
    if (s.clip && v > s.ceiling) {
        v = s.ceiling;
    }
    const bool positive = extra > 0;
    const bool open = positive && (s.mask_ceiling == 0 || extra < s.mask_ceiling);
    return s.mask && !open ? Value(0) : v;
}

Mapped map_word(const Settings& s, const Coefficients& k, const HalfWord& a, const HalfWord& b,
                const HalfWord& extra, Count real) {
// Sixteen lanes of two products in the four cycles that a word takes on its port: eight DSPs.
#pragma HLS INLINE off
#pragma HLS PIPELINE II = 4
#pragma HLS ALLOCATION operation instances = mul limit = 8
    Mapped result;
    result.peak = 0;
    result.saturated = 0;
map_lanes:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        const Value mapped = map_lane(s, k, a.lane[lane], b.lane[lane], extra.lane[lane]);
        const Value v = lane < real ? mapped : Value(0);  // the offset must not reach idle lanes
        const Value magnitude = v < 0 ? -v : v;
        const Value saturated = v > s.high ? s.high : (v < s.low ? s.low : v);
        result.peak = magnitude > result.peak ? magnitude : result.peak;
        result.saturated += saturated == v ? 0 : 1;
        result.word.lane[lane] = static_cast<Half>(saturated);
    }
    return result;
}

// The mask or the residual, through one access.
HalfWord read_extra(const Settings& s, const Arguments& a, const Beat* extra, Count word) {
#pragma HLS INLINE
    const std::uint32_t address = s.mask ? a.mask_address : a.residual_address;
    HalfWord value = zero_halves();
    if (s.mask || s.residual) {
        value = read_either(extra, word_at(address, word, s.mask_bytes), s.mask_bytes);
    }
    return value;
}

void count_beats(const Settings& s, const Arguments& a, std::uint64_t words, Counters& counters) {
    const bool halves = s.residual || (s.mask && !s.mask_bytes);
    const std::uint64_t extra =
        halves ? HALF_WORD_BEATS : (s.mask_bytes ? BYTE_WORD_BEATS : Address(0));
    counters.column_beats += words * HALF_WORD_BEATS;
    counters.row_beats += 2 * static_cast<std::uint64_t>(a.channels);
    counters.row_beats += s.second ? words * HALF_WORD_BEATS : 0;
    counters.extra_beats += words * extra;
    counters.output_beats += words * (s.bytes_out ? BYTE_WORD_BEATS : HALF_WORD_BEATS);
}

}  // namespace

void vector_map(const Arguments& a, const Beat* columns, const Beat* rows, const Beat* extra,
                Beat* output, ChannelEntry table[LIMITS_CHANNELS], Counters& counters) {
    const Settings settings = settings_of(a);
    load_coefficients(a, rows, table);
    const Count plane = times(a.height, a.width);
    const Count words = times(times(group_count(a), a.channels), plane);
    WordWalk at = {0, 0, 0};
    Value peak = 0;
    std::uint64_t saturations = 0;
// Addresses count up by one word an iteration, so that each port's accesses join into long bursts.
map_words:
    for (Count word = 0; word < words; ++word) {
#pragma HLS LOOP_TRIPCOUNT min = 64 max = 131072 avg = 32768
#pragma HLS PIPELINE II = 4
        const HalfWord first = read_halves(columns, halves_at(a.a_address, word));
        const HalfWord second =
            settings.second ? read_halves(rows, halves_at(a.b_address, word)) : zero_halves();
        const HalfWord third = read_extra(settings, a, extra, word);
        const Coefficients k = coefficients_of(table[at.channel]);
        const Mapped mapped = map_word(settings, k, first, second, third, real_lanes(a, at.group));
        const Address at_out = word_at(a.out_address, word, settings.bytes_out);
        write_either(output, at_out, mapped.word, settings.bytes_out);
        peak = mapped.peak > peak ? mapped.peak : peak;
        saturations += static_cast<std::uint64_t>(mapped.saturated);
        advance(at, plane, a.channels);
    }
    counters.peak = static_cast<std::uint64_t>(peak);
    counters.saturations += saturations;
    count_beats(settings, a, static_cast<std::uint64_t>(words), counters);
}

}  // namespace e2
