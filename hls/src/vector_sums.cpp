// SPDX-License-Identifier: Apache-2.0
// Sums that leave a tensor: per channel for batch norm's backward pass, per sample for the gates.
#include "e2train/vector_unit.hpp"
#include "e2train/vector_words.hpp"

namespace e2 {

namespace {

constexpr int LANE_BITS = 4;
constexpr int ADDRESS_BITS = 32;
static_assert(1 << LANE_BITS == LANES, "sums over lanes");
// At most 2^31 elements of two bytes fit the memory; a product is at most 2^15 * 2^16 in magnitude.
static_assert((ADDRESS_BITS - 1) + 2 * (WIDTHS_GRADIENT - 1) + 1 < 63,
              "sums over a whole tensor must fit 64 bits");

// Cut to these widths, the adder trees take no more logic than that.
typedef ap_int<WIDTHS_GRADIENT + LANE_BITS> LaneSum;          // sixteen 16-bit lanes
typedef ap_int<2 * WIDTHS_GRADIENT + LANE_BITS> LaneProduct;  // sixteen products of two

struct WordSums {
    LaneSum sum;
    LaneProduct products;
};

WordSums sum_lanes(const HalfWord& g, const HalfWord& y) {
// Sixteen products in the four cycles that a word takes on its port: four DSPs.
#pragma HLS INLINE off
#pragma HLS PIPELINE II = 4
#pragma HLS ALLOCATION operation instances = mul limit = 4
    std::int32_t sum = 0;
    WideSum products = 0;
sum_word_lanes:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        const std::int32_t product = g.lane[lane] * y.lane[lane];
        sum += g.lane[lane];
        products += product;
    }
    const WordSums sums = {sum, products};
    return sums;
}

void store_channels(const Arguments& a, const ChannelEntry table[LIMITS_CHANNELS], Beat* output) {
    const Address begin = sums_at(a);
store_first:
    for (Count c = 0; c < a.channels; ++c) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 2048 avg = 64
#pragma HLS PIPELINE II = 1
        output[begin + static_cast<Address>(c)] = static_cast<Beat>(table[c].first);
    }
    const Address second = begin + static_cast<Address>(a.channels);
store_second:
    for (Count c = 0; c < a.channels; ++c) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 2048 avg = 64
#pragma HLS PIPELINE II = 1
        output[second + static_cast<Address>(c)] = static_cast<Beat>(table[c].second);
    }
}

// g * (after - before) of each lane.
WideSums difference_products(const HalfWord& g, const HalfWord& after, const HalfWord& before) {
// Sixteen 16 x 17 bit products in four cycles: four DSPs.
#pragma HLS INLINE off
#pragma HLS PIPELINE II = 4
#pragma HLS ALLOCATION operation instances = mul limit = 4
    WideSums products;
difference_lanes:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        const std::int32_t difference = after.lane[lane] - before.lane[lane];
        products.lane[lane] = g.lane[lane] * difference;  // at most 2^15 * (2^16 - 1) < 2^31
    }
    return products;
}

void store_samples(const WideSums& sums, Address begin, Beat* output) {
store_sample_sums:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS PIPELINE II = 1
        output[begin + static_cast<Address>(lane)] = static_cast<Beat>(sums.lane[lane]);
    }
}

}  // namespace

// A channel's words follow each other, so its sums run in registers and meet the table once when
// the channel begins and once when it ends. One channel of one position is read back in the very
// next iteration: the four cycles of an iteration suffice for that, so no dependence is waived.
void channel_sums(const Arguments& a, const Beat* columns, const Beat* rows, Beat* output,
                  ChannelEntry table[LIMITS_CHANNELS], Counters& counters) {
    const Count plane = times(a.height, a.width);
    const Count words = times(times(group_count(a), a.channels), plane);
    WordWalk at = {0, 0, 0};
    ChannelEntry running = {0, 0};
sum_words:
    for (Count word = 0; word < words; ++word) {
#pragma HLS LOOP_TRIPCOUNT min = 64 max = 131072 avg = 32768
#pragma HLS PIPELINE II = 4
        const HalfWord g = read_halves(columns, halves_at(a.a_address, word));
        const HalfWord y = read_halves(rows, halves_at(a.b_address, word));
        const WordSums sums = sum_lanes(g, y);
        if (at.position == 0) {
            running.first = at.group == 0 ? WideSum(0) : table[at.channel].first;
            running.second = at.group == 0 ? WideSum(0) : table[at.channel].second;
        }
        running.first += sums.sum.to_int64();
        running.second += sums.products.to_int64();
        if (at.position + 1 == plane) {
            table[at.channel] = running;
        }
        advance(at, plane, a.channels);
    }
    store_channels(a, table, output);
    counters.column_beats += static_cast<std::uint64_t>(words) * HALF_WORD_BEATS;
    counters.row_beats += static_cast<std::uint64_t>(words) * HALF_WORD_BEATS;
    counters.output_beats += 2 * static_cast<std::uint64_t>(a.channels);
}

void sample_products(const Arguments& a, const Beat* columns, const Beat* rows, const Beat* extra,
                     Beat* output, Counters& counters) {
    const Count groups = group_count(a);
    const Count group_words = times(times(a.channels, a.height), a.width);
product_groups:
    for (Count group = 0; group < groups; ++group) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 256 avg = 8
        WideSums sums = WideSums();
// All lanes add in every iteration.
#pragma HLS ARRAY_PARTITION variable = sums.lane complete
    product_words:
        for (Count i = 0; i < group_words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 64 max = 16384 avg = 4096
#pragma HLS PIPELINE II = 4
            const Count word = times(group_words, group) + i;
            const HalfWord g = read_halves(columns, halves_at(a.a_address, word));
            const HalfWord after = read_halves(rows, halves_at(a.b_address, word));
            const HalfWord before = read_halves(extra, halves_at(a.residual_address, word));
            const WideSums products = difference_products(g, after, before);
        product_lanes:
            for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
                sums.lane[lane] += products.lane[lane];
            }
        }
        const Address begin = sums_at(a) + static_cast<Address>(group) * RAW_WORD_BEATS;
        store_samples(sums, begin, output);
    }
    const std::uint64_t beats = static_cast<std::uint64_t>(groups) *
                                static_cast<std::uint64_t>(group_words) * HALF_WORD_BEATS;
    counters.column_beats += beats;
    counters.row_beats += beats;
    counters.extra_beats += beats;
    counters.output_beats += static_cast<std::uint64_t>(groups) * RAW_WORD_BEATS;
}

}  // namespace e2
