// SPDX-License-Identifier: Apache-2.0
// Batch norm forward and backward, narrowing, masks and additions: one linear map a channel.
#include "e2train/vector_streams.hpp"
#include "e2train/vector_unit.hpp"

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
    Count samples;
    Count channels;
    Count plane;
    Count beats;  // of the first operand
};

// What a quarter of a word adds to the counters.
struct Mapped {
    Quarter quarter;
    Value peak;
    Count saturated;
};

// Where the ports begin and how many beats each brings.
struct MapBursts {
    Count second;
    Count second_beats;
    Count extra;
    Count extra_beats;
    Count out;
    Count out_beats;
};

struct MapTotals {
    Value peak;
    std::uint64_t saturations;
};

Settings settings_of(const Arguments& a, const TensorSize& size) {
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
    s.samples = a.samples;
    s.channels = a.channels;
    s.plane = size.plane;
    s.beats = size.words * QUARTERS;
    return s;
}

MapBursts bursts_of(const Arguments& a, const Settings& s, const TensorSize& size) {
    const bool halves = s.residual || (s.mask && !s.mask_bytes);
    MapBursts bursts;
    bursts.second = beat_at(a.b_address);
    bursts.second_beats = s.second ? size.words * QUARTERS : 0;
    bursts.extra = beat_at(s.mask ? a.mask_address : a.residual_address);
    bursts.extra_beats = halves ? size.words * QUARTERS : s.mask ? size.words * BYTE_QUARTERS : 0;
    bursts.out = beat_at(a.out_address);
    bursts.out_beats = size.words * (s.bytes_out ? BYTE_QUARTERS : QUARTERS);
    return bursts;
}

// Two beats a channel, packed into one word of the table: m and n have 16 bits.
void load_coefficients(const Arguments& a, const Beat* rows, ChannelEntry table[LIMITS_CHANNELS]) {
    const Beat* from = rows + beat_at(a.rows_address);
load_channels:
    for (Count c = 0; c < a.channels; ++c) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 2048 avg = 64
#pragma HLS PIPELINE II = 2
        const Beat multipliers = from[2 * c];
        const Beat offset = from[2 * c + 1];
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

// Four lanes of two products: eight DSPs.
Mapped map_quarter(const Settings& s, const Coefficients& k, const Quarter& a, const Quarter& b,
                   const Quarter& extra, const QuarterWalk& at) {
#pragma HLS INLINE
    const int first = static_cast<int>(at.quarter.to_uint()) * QUARTER_LANES;
    Mapped result;
    result.peak = 0;
    result.saturated = 0;
map_lanes:
    for (int lane = 0; lane < QUARTER_LANES; ++lane) {
#pragma HLS UNROLL
        const Value mapped = map_lane(s, k, a.lane[lane], b.lane[lane], extra.lane[lane]);
        const bool real = first + lane < at.samples;
        const Value v = real ? mapped : Value(0);  // the offset must not reach idle lanes
        const Value magnitude = v < 0 ? -v : v;
        const Value saturated = v > s.high ? s.high : (v < s.low ? s.low : v);
        result.peak = magnitude > result.peak ? magnitude : result.peak;
        result.saturated += saturated == v ? 0 : 1;
        result.quarter.lane[lane] = static_cast<Half>(saturated);
    }
    return result;
}

void map_beats(const Settings& s, const ChannelEntry table[LIMITS_CHANNELS],
               hls::stream<Beat>& firsts, hls::stream<Beat>& seconds, hls::stream<Beat>& extras,
               hls::stream<Beat>& results, MapTotals& totals) {
    QuarterWalk at = {0, s.plane * QUARTERS - 1, 0, s.channels - 1, s.samples};
    Value peak = 0;
    std::uint64_t saturations = 0;
    Beat extra = 0;           // of bytes a beat serves two quarters
    std::uint32_t lower = 0;  // as does a beat of the result
map_beats_loop:
    for (Count i = 0; i < s.beats; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 256 max = 524288 avg = 131072
#pragma HLS PIPELINE II = 1
        const bool upper = at.quarter[0];
        const Quarter first = quarter_of(firsts.read());
        const Quarter second = s.second ? quarter_of(seconds.read()) : zero_quarter();
        if (s.residual || (s.mask && !(s.mask_bytes && upper))) {
            extra = extras.read();
        }
        const Quarter third = s.mask_bytes ? quarter_of_bytes(extra, upper) : quarter_of(extra);
        const Coefficients k = coefficients_of(table[at.channel]);
        const Mapped mapped = map_quarter(s, k, first, second, third, at);
        const std::uint32_t bytes = bytes_of_quarter(mapped.quarter);
        const Beat packed = (static_cast<Beat>(bytes) << 32) | lower;
        if (!s.bytes_out || upper) {
            results.write(s.bytes_out ? packed : beat_of_quarter(mapped.quarter));
        }
        lower = bytes;
        peak = mapped.peak > peak ? mapped.peak : peak;
        saturations += static_cast<std::uint64_t>(mapped.saturated);
        advance(at, s.plane, s.channels);
    }
    totals.peak = peak;
    totals.saturations = saturations;
}

void map_tensor(const Settings& settings, Count first, Count beats, Count second,
                Count second_beats, Count extra, Count extra_beats, Count out, Count out_beats,
                const Beat* columns, const Beat* rows, const Beat* extra_port, Beat* output,
                const ChannelEntry table[LIMITS_CHANNELS], MapTotals& totals) {
#pragma HLS DATAFLOW
    hls::stream<Beat> firsts("map firsts");
    hls::stream<Beat> seconds("map seconds");
    hls::stream<Beat> extras("map extras");
    hls::stream<Beat> results("map results");
#pragma HLS STREAM variable = firsts depth = 16
#pragma HLS STREAM variable = seconds depth = 16
#pragma HLS STREAM variable = extras depth = 16
#pragma HLS STREAM variable = results depth = 16
    read_beats(columns, first, beats, firsts);
    read_beats(rows, second, second_beats, seconds);
    read_beats(extra_port, extra, extra_beats, extras);
    map_beats(settings, table, firsts, seconds, extras, results, totals);
    write_beats(results, out, out_beats, output);
}

}  // namespace

void vector_map(const Arguments& a, const TensorSize& size, const Beat* columns, const Beat* rows,
                const Beat* extra, Beat* output, ChannelEntry table[LIMITS_CHANNELS],
                Counters& counters) {
    const Settings settings = settings_of(a, size);
    const MapBursts bursts = bursts_of(a, settings, size);
    MapTotals totals = {0, 0};
    load_coefficients(a, rows, table);
    map_tensor(settings, beat_at(a.a_address), settings.beats, bursts.second, bursts.second_beats,
               bursts.extra, bursts.extra_beats, bursts.out, bursts.out_beats, columns, rows, extra,
               output, table, totals);
    counters.peak = static_cast<std::uint64_t>(totals.peak);
    counters.saturations += totals.saturations;
    counters.column_beats += static_cast<std::uint64_t>(settings.beats);
    counters.row_beats += static_cast<std::uint64_t>(2 * a.channels + bursts.second_beats);
    counters.extra_beats += static_cast<std::uint64_t>(bursts.extra_beats);
    counters.output_beats += static_cast<std::uint64_t>(bursts.out_beats);
}

}  // namespace e2
