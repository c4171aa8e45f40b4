// SPDX-License-Identifier: Apache-2.0
#include "e2train/check.hpp"

#include "e2train/psg.hpp"

namespace e2 {

namespace {

typedef std::uint64_t Size;

constexpr Size MEMORY = Size(1) << 32;
constexpr Size SUM_BYTES = 8;
constexpr Count MOST_SHIFT = 47;
constexpr Count LEAST_SHIFT = -15;
constexpr Size SCRATCH_BYTES = 40;  // a weight: predictor 8, visit 24, result 8

bool within(Count value, Count least, Count most) {
    return value >= least && value <= most;
}

Size size(Count value) {
    return static_cast<Size>(value);
}

// A size below 2^48 times a register below 2^17: larger registers are refused by themselves. One
// multiplier, in turn, serves all checks.
Size product(Size a, Count b) {
#pragma HLS INLINE off
#pragma HLS ALLOCATION operation instances = mul limit = 1
    return (ap_uint<48>(a) * ap_uint<17>(b)).to_uint64();
}

Size groups(const Arguments& a) {
    return groups_of(a);
}

bool backward(const Arguments& a) {
    return a.operation == OPERATIONS_INPUT_GRADIENT;
}

bool output_fits(Count from, Count to, Count kernel, const Arguments& a) {
    const Count room = from + 2 * a.padding - kernel;
    return room >= 0 && to == (a.stride == 2 ? room >> 1 : room) + 1;
}

Size taps_of_layer(const Arguments& a) {
    return product(size(a.kernel_h), a.kernel_w);
}

Size weights_of_layer(const Arguments& a) {
    const Size channels = product(size(a.filters), a.depthwise != 0 ? 1 : a.channels);
    return product(product(channels, a.kernel_h), a.kernel_w);
}

Size input_words(const Arguments& a) {
    return product(product(product(groups(a), a.channels), a.height), a.width);
}

Size output_words(const Arguments& a) {
    return product(product(product(groups(a), a.filters), a.out_height), a.out_width);
}

bool geometry_fits(const Arguments& a) {
    const bool sizes = within(a.samples, 1, LIMITS_SAMPLES) &&
                       within(a.channels, 1, LIMITS_CHANNELS) &&
                       within(a.filters, 1, LIMITS_CHANNELS) && within(a.height, 1, LIMITS_SIZE) &&
                       within(a.width, 1, LIMITS_SIZE) && within(a.out_height, 1, LIMITS_SIZE) &&
                       within(a.out_width, 1, LIMITS_SIZE);
    const bool kernel = within(a.kernel_h, 1, LIMITS_KERNEL) &&
                        within(a.kernel_w, 1, LIMITS_KERNEL) && within(a.stride, 1, 2) &&
                        within(a.padding, 0, larger(a.kernel_h, a.kernel_w) - 1);
    const bool words = input_words(a) <= size(LIMITS_WORDS) &&
                       output_words(a) <= size(LIMITS_WORDS) &&
                       weights_of_layer(a) <= size(LIMITS_WORDS);
    return sizes && kernel && words && (a.depthwise == 0 || a.channels == a.filters) &&
           output_fits(a.height, a.out_height, a.kernel_h, a) &&
           output_fits(a.width, a.out_width, a.kernel_w, a);
}

bool tile_sizes_fit(const Arguments& a) {
    const Count height = backward(a) ? a.height : a.out_height;
    const Count width = backward(a) ? a.width : a.out_width;
    return within(a.tile_outer, 1, LIMITS_CHANNELS + LANES) &&
           within(a.tile_inner, 1, LIMITS_CHANNELS + LANES) && within(a.tile_h, 1, height) &&
           within(a.tile_w, 1, width) && within(a.inner_begin, 0, LIMITS_CHANNELS);
}

// A tile of the forward pass or of the one to the input against the three buffers.
bool pass_tile_fits(const Arguments& a) {
    const Layer layer = layer_of(a);
    const bool blocks = bank_of(layer.tile_outer) == 0;
    const bool range = layer.depthwise ? layer.tile_inner == 1 && a.inner_begin == 0
                                       : a.inner_begin + layer.tile_inner <= layer.inner;
    const Size plane =
        product(size(most_sources(layer.y, layer.tile_y)), most_sources(layer.x, layer.tile_x));
    const Size region = product(plane, layer.depthwise ? layer.tile_outer : layer.tile_inner);
    const Size weights =
        product(product(taps_of_layer(a), banks_of(layer.tile_outer)), layer.tile_inner);
    const Size sums = product(product(size(layer.tile_outer), layer.tile_y), layer.tile_x);
    return blocks && range && region <= size(BUFFERS_COLUMN_DEPTH) &&
           weights <= size(BUFFERS_ROW_BANKS * BUFFERS_ROW_DEPTH) &&
           sums <= size(BUFFERS_TILE_SUMS);
}

// Words of x that every bank needs for the positions of a tile.
Size x_words(const Layer& layer, Count blocks) {
    const Size rows = product(size(blocks), most_sources(layer.y, layer.tile_y));
    return product(rows, most_sources(layer.x, layer.tile_x));
}

// A tile of weights and its data tiles against the buffers.
bool weight_tile_fits(const Arguments& a) {
    const Layer layer = layer_of(a);
    const bool packed = a.operation == OPERATIONS_PSG_GRADIENT && slices_pack(a.x_msb, a.g_msb);
    const Count channels = layer.depthwise ? 1 : smaller(layer.tile_inner, layer.inner);
    // Tiles of a depthwise layer begin at any channel and so may reach into one more block.
    const Count blocks =
        layer.depthwise ? (layer.tile_outer + LANES - 1) / LANES + 1 : layer.tile_inner / LANES;
    const Size gradients = product(product(size(layer.tile_outer), layer.tile_y), layer.tile_x);
    const Size visits = size(weight_visits(layer, packed, layer.tile_outer, channels));
    const Size sums = visits << (packed ? 5 : 3);  // 32 lanes a visit, or 8
    const bool aligned = layer.depthwise ? layer.tile_inner == 1 : layer.tile_inner % LANES == 0;
    return aligned && x_words(layer, blocks) <= size(BUFFERS_ROW_DEPTH) &&
           gradients <= size(BUFFERS_COLUMN_DEPTH) && sums <= size(BUFFERS_WEIGHT_SUMS);
}

// The second phase needs all channels at once, gradients of two filters, and room in the queues.
bool psg_tile_fits(const Arguments& a) {
    const Layer layer = layer_of(a);
    const Count two = smaller(2, layer.outer);
    const Size queued = product(taps_of_layer(a), (filter_channels(layer) + ROWS - 1) >> 3);
    const Size positions = product(size(layer.tile_y), layer.tile_x);
    const Count blocks = (layer.inner + LANES - 1) / LANES;
    const bool all_channels = layer.depthwise || x_words(layer, blocks) <= size(BUFFERS_ROW_DEPTH);
    const bool filters = !layer.depthwise || layer.tile_outer >= two;
    return all_channels && filters && queued <= size(ROW_WEIGHTS) &&
           positions << (two - 1) <= size(BUFFERS_COLUMN_DEPTH);
}

bool psg_arguments_fit(const Arguments& a) {
    return within(a.beta_q, 0, 1 << 16) && within(a.x_msb, 2, WIDTHS_ACTIVATION - 1) &&
           within(a.g_msb, 2, WIDTHS_GRADIENT - 1);
}

bool pass_arguments_fit(const Arguments& a) {
    const Count common = (1 << OPTIONS_CARRY) | (1 << OPTIONS_RAW);
    const Count gradient = (1 << OPTIONS_RESIDUAL) | (1 << OPTIONS_MASK8) | (1 << OPTIONS_MASK16) |
                           (1 << OPTIONS_NARROW_GRADIENT);
    const Count allowed = backward(a) ? common | gradient : common;
    const bool masks = option(a, OPTIONS_MASK8) && option(a, OPTIONS_MASK16);
    return (a.options & ~allowed) == 0 && !masks && a.mask_ceiling() >= 0 &&
           within(a.shift, LEAST_SHIFT, MOST_SHIFT);
}

void pass_ranges(const Arguments& a, RangeList& list) {
    const Size read = backward(a) ? 2 * output_words(a) : input_words(a);
    const Size made = backward(a) ? input_words(a) : output_words(a);
    const Count blocks = banks_of((backward(a) ? a.channels : a.filters) + LANES - 1);
    const Count inner = a.depthwise != 0 ? 1 : backward(a) ? a.filters : a.channels;
    const Size sum_words = option(a, OPTIONS_RAW) || backward(a) ? 0 : 2 * size(a.filters);
    add(list, a.a_address, read * LANES, false);
    add(list, a.rows_address, product(product(taps_of_layer(a), inner), blocks) * LANES, false);
    if (option(a, OPTIONS_CARRY)) {
        add(list, a.carry_address, made * LANES * SUM_BYTES, false);
    }
    if (option(a, OPTIONS_MASK8) || option(a, OPTIONS_MASK16)) {
        add(list, a.mask_address, made * LANES * (option(a, OPTIONS_MASK8) ? 1 : 2), false);
    }
    if (option(a, OPTIONS_RESIDUAL)) {
        add(list, a.residual_address, made * LANES * 2, false);
    }
    add(list, a.out_address, made * LANES * (option(a, OPTIONS_RAW) ? SUM_BYTES : 2), true);
    add(list, a.result_address, (size(RESULT_SUMS) + sum_words) * SUM_BYTES, true);
}

void weight_ranges(const Arguments& a, RangeList& list) {
    const bool psg = a.operation == OPERATIONS_PSG_GRADIENT;
    const Size weights = weights_of_layer(a);
    add(list, a.a_address, output_words(a) * LANES * 2, false);
    add(list, a.b_address, input_words(a) * LANES, false);
    if (psg) {
        add(list, a.scratch_address, weights * SCRATCH_BYTES, true);
    }
    add(list, a.out_address, psg ? (weights + 7) / 8 * 8 : weights * SUM_BYTES, true);
    add(list, a.result_address, size(RESULT_SUMS) * SUM_BYTES, true);
}

bool overlap(const Range& a, const Range& b) {
    return a.begin < b.begin + b.bytes && b.begin < a.begin + a.bytes;
}

}  // namespace

std::uint32_t check_ranges(const Range ranges[MAX_RANGES], int count) {
check_each:
    for (int i = 0; i < MAX_RANGES; ++i) {
        if (i < count && ranges[i].begin == 0) {
            return ERRORS_NULL;
        }
        if (i < count && ranges[i].begin % LIMITS_ALIGNMENT != 0) {
            return ERRORS_ALIGNMENT;
        }
        if (i < count && ranges[i].begin + ranges[i].bytes > MEMORY) {
            return ERRORS_GEOMETRY;
        }
    }
check_pairs:
    for (int i = 0; i < MAX_RANGES; ++i) {
    check_others:
        for (int j = 0; j < MAX_RANGES; ++j) {
            const bool pair = i < count && j < count && i != j && ranges[i].written;
            if (pair && overlap(ranges[i], ranges[j])) {
                return ERRORS_OVERLAP;
            }
        }
    }
    return ERRORS_OK;
}

std::uint32_t check_layer(const Arguments& a) {
    if (!within(a.operation, OPERATIONS_CONVOLVE, OPERATIONS_PSG_GRADIENT)) {
        return ERRORS_OPERATION;
    }
    if (!geometry_fits(a)) {
        return ERRORS_GEOMETRY;
    }
    if (!tile_sizes_fit(a)) {
        return ERRORS_TILE;
    }
    if (!is_weights_operation(a)) {
        return !pass_tile_fits(a)      ? ERRORS_TILE
               : pass_arguments_fit(a) ? ERRORS_OK
                                       : ERRORS_ARGUMENT;
    }
    if (!weight_tile_fits(a)) {
        return ERRORS_TILE;
    }
    if (a.operation == OPERATIONS_PSG_GRADIENT) {
        return !psg_tile_fits(a) ? ERRORS_TILE : psg_arguments_fit(a) ? ERRORS_OK : ERRORS_ARGUMENT;
    }
    return a.options == 0 ? ERRORS_OK : ERRORS_ARGUMENT;
}

int layer_ranges(const Arguments& a, Range ranges[MAX_RANGES]) {
    RangeList list = {ranges, 0};
    if (is_weights_operation(a)) {
        weight_ranges(a, list);
    } else {
        pass_ranges(a, list);
    }
    return list.count;
}

}  // namespace e2
