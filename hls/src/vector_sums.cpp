// SPDX-License-Identifier: Apache-2.0
// Sums that leave a tensor: per channel for batch norm's backward pass, per sample for the gates.
#include "e2train/vector_streams.hpp"
#include "e2train/vector_unit.hpp"

namespace e2 {

namespace {

constexpr int ADDRESS_BITS = 32;
constexpr int PRODUCT_BITS = 2 * WIDTHS_GRADIENT + 1;  // of one 16-bit number and a difference
// At most 2^31 elements of two bytes fit the memory; a product is at most 2^15 * 2^16 in magnitude.
static_assert((ADDRESS_BITS - 1) + 2 * (WIDTHS_GRADIENT - 1) + 1 < 63,
              "sums over a whole tensor must fit 64 bits");

// Of one channel in one group of samples, or of a channel.
struct ChannelSums {
    WideSum sum;
    WideSum products;
};

// Of four samples.
struct SampleSums {
    WideSum lane[QUARTER_LANES];
};

void sum_planes(Count beats, Count plane, hls::stream<Beat>& gradients, hls::stream<Beat>& outputs,
                hls::stream<ChannelSums>& sums) {
    const Count last = plane * QUARTERS - 1;
    Count left = last;
    bool begins = true;
    ChannelSums running = {0, 0};
sum_beats:
    for (Count i = 0; i < beats; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 256 max = 524288 avg = 131072
#pragma HLS PIPELINE II = 1
        const Quarter g = quarter_of(gradients.read());
        const Quarter y = quarter_of(outputs.read());
        std::int32_t sum = 0;
        WideSum products = 0;
    sum_lanes:
        for (int lane = 0; lane < QUARTER_LANES; ++lane) {
#pragma HLS UNROLL
            const std::int32_t product = g.lane[lane] * y.lane[lane];
            sum += g.lane[lane];
            products += product;
        }
        running.sum = (begins ? WideSum(0) : running.sum) + sum;
        running.products = (begins ? WideSum(0) : running.products) + products;
        const bool ends = left == 0;
        if (ends) {
            sums.write(running);
        }
        begins = ends;
        left = ends ? last : left - 1;
    }
}

// A channel's planes are at least four cycles apart, which a read, a sum and a write of the table
// take, so no dependence is waived.
void add_planes(Count groups, Count channels, hls::stream<ChannelSums>& sums,
                ChannelEntry table[LIMITS_CHANNELS]) {
add_groups:
    for (Count group = 0; group < groups; ++group) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 256 avg = 8
    add_channels:
        for (Count c = 0; c < channels; ++c) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 2048 avg = 64
#pragma HLS PIPELINE II = 4
            const ChannelSums one = sums.read();
            const ChannelEntry before = table[c];
            ChannelEntry after;
            after.first = (group == 0 ? WideSum(0) : before.first) + one.sum;
            after.second = (group == 0 ? WideSum(0) : before.second) + one.products;
            table[c] = after;
        }
    }
}

void sum_channels(Count beats, Count plane, Count groups, Count channels, Count gradient,
                  Count output, const Beat* columns, const Beat* rows,
                  ChannelEntry table[LIMITS_CHANNELS]) {
#pragma HLS DATAFLOW
    hls::stream<Beat> gradients("sum gradients");
    hls::stream<Beat> outputs("sum outputs");
    hls::stream<ChannelSums> sums("channel sums");
#pragma HLS STREAM variable = gradients depth = 16
#pragma HLS STREAM variable = outputs depth = 16
#pragma HLS STREAM variable = sums depth = 4
    read_beats(columns, gradient, beats, gradients);
    read_beats(rows, output, beats, outputs);
    sum_planes(beats, plane, gradients, outputs, sums);
    add_planes(groups, channels, sums, table);
}

void store_channels(Count channels, Count begin, const ChannelEntry table[LIMITS_CHANNELS],
                    Beat* output) {
    Beat* first = output + begin;
store_first:
    for (Count c = 0; c < channels; ++c) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 2048 avg = 64
#pragma HLS PIPELINE II = 1
        first[c] = static_cast<Beat>(table[c].first);
    }
    Beat* second = output + (begin + channels);
store_second:
    for (Count c = 0; c < channels; ++c) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 2048 avg = 64
#pragma HLS PIPELINE II = 1
        second[c] = static_cast<Beat>(table[c].second);
    }
}

// g * (after - before) of each lane, summed over a group's words: the sums of the sixteen samples
// go around in four steps, as the samples do.
void sum_samples(Count beats, Count group_words, hls::stream<Beat>& gradients,
                 hls::stream<Beat>& afters, hls::stream<Beat>& befores,
                 hls::stream<SampleSums>& sums) {
    const Count last = group_words * QUARTERS - 1;
    Count left = last;
    SampleSums ring[QUARTERS] = {};
#pragma HLS ARRAY_PARTITION variable = ring complete dim = 0
sample_beats:
    for (Count i = 0; i < beats; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 256 max = 524288 avg = 131072
#pragma HLS PIPELINE II = 1
        const Quarter g = quarter_of(gradients.read());
        const Quarter after = quarter_of(afters.read());
        const Quarter before = quarter_of(befores.read());
        const bool begins = left > last - QUARTERS;
        SampleSums running;
    sample_lanes:
        for (int lane = 0; lane < QUARTER_LANES; ++lane) {
#pragma HLS UNROLL
            const std::int32_t difference = after.lane[lane] - before.lane[lane];
            const ap_int<PRODUCT_BITS> product =
                ap_int<WIDTHS_GRADIENT>(g.lane[lane]) * ap_int<WIDTHS_GRADIENT + 1>(difference);
            const WideSum earlier = begins ? WideSum(0) : ring[0].lane[lane];
            running.lane[lane] = earlier + product.to_int64();
        }
    turn_ring:
        for (int place = 0; place < QUARTERS - 1; ++place) {
#pragma HLS UNROLL
            ring[place] = ring[place + 1];
        }
        ring[QUARTERS - 1] = running;
        if (left < QUARTERS) {
            sums.write(running);
        }
        left = left == 0 ? last : left - 1;
    }
}

void store_samples(Count groups, hls::stream<SampleSums>& sums, Count begin, Beat* output) {
    Beat* to = output + begin;
    SampleSums word = SampleSums();
#pragma HLS ARRAY_PARTITION variable = word.lane complete
store_sample_beats:
    for (Count i = 0; i < groups * LANES; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 4096 avg = 128
#pragma HLS PIPELINE II = 1
        const int lane = i % QUARTER_LANES;
        if (lane == 0) {
            word = sums.read();
        }
        to[i] = static_cast<Beat>(word.lane[lane]);
    }
}

void multiply_samples(Count beats, Count group_words, Count groups, Count gradient, Count after,
                      Count before, Count begin, const Beat* columns, const Beat* rows,
                      const Beat* extra, Beat* output) {
#pragma HLS DATAFLOW
    hls::stream<Beat> gradients("product gradients");
    hls::stream<Beat> afters("product afters");
    hls::stream<Beat> befores("product befores");
    hls::stream<SampleSums> sums("sample sums");
#pragma HLS STREAM variable = gradients depth = 16
#pragma HLS STREAM variable = afters depth = 16
#pragma HLS STREAM variable = befores depth = 16
#pragma HLS STREAM variable = sums depth = 4
    read_beats(columns, gradient, beats, gradients);
    read_beats(rows, after, beats, afters);
    read_beats(extra, before, beats, befores);
    sum_samples(beats, group_words, gradients, afters, befores, sums);
    store_samples(groups, sums, begin, output);
}

}  // namespace

void channel_sums(const Arguments& a, const TensorSize& size, const Beat* columns, const Beat* rows,
                  Beat* output, ChannelEntry table[LIMITS_CHANNELS], Counters& counters) {
    const Count beats = size.words * QUARTERS;
    sum_channels(beats, size.plane, size.groups, a.channels, beat_at(a.a_address),
                 beat_at(a.b_address), columns, rows, table);
    store_channels(a.channels, sums_at(a), table, output);
    counters.column_beats += static_cast<std::uint64_t>(beats);
    counters.row_beats += static_cast<std::uint64_t>(beats);
    counters.output_beats += 2 * static_cast<std::uint64_t>(a.channels);
}

void sample_products(const Arguments& a, const TensorSize& size, const Beat* columns,
                     const Beat* rows, const Beat* extra, Beat* output, Counters& counters) {
    const Count beats = size.words * QUARTERS;
    const Count group_words = multiplied(size.plane, a.channels);
    multiply_samples(beats, group_words, size.groups, beat_at(a.a_address), beat_at(a.b_address),
                     beat_at(a.residual_address), sums_at(a), columns, rows, extra, output);
    counters.column_beats += static_cast<std::uint64_t>(beats);
    counters.row_beats += static_cast<std::uint64_t>(beats);
    counters.extra_beats += static_cast<std::uint64_t>(beats);
    counters.output_beats += static_cast<std::uint64_t>(size.groups * LANES);
}

}  // namespace e2
