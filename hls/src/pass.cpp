// SPDX-License-Identifier: Apache-2.0
#include "e2train/pass.hpp"

namespace e2 {

Pass pass_of(const Arguments& a) {
    const bool transposed = a.operation == OPERATIONS_INPUT_GRADIENT;
    Pass pass;
    pass.transposed = transposed;
    pass.depthwise = a.depthwise != 0;
    pass.samples = a.samples;
    pass.groups = ceil_divide(a.samples, LANES);
    pass.inner_total = pass.depthwise ? 1 : transposed ? a.filters : a.channels;
    pass.inner_begin = a.inner_begin;
    pass.inner = a.tile_inner;
    pass.outer = transposed ? a.channels : a.filters;
    const Axis y = {transposed ? a.out_height : a.height,
                    transposed ? a.height : a.out_height,
                    a.kernel_h,
                    a.stride,
                    a.padding,
                    transposed};
    const Axis x = {transposed ? a.out_width : a.width,
                    transposed ? a.width : a.out_width,
                    a.kernel_w,
                    a.stride,
                    a.padding,
                    transposed};
    pass.y = y;
    pass.x = x;
    pass.tile_outer = a.tile_outer;
    pass.tile_y = a.tile_h;
    pass.tile_x = a.tile_w;
    return pass;
}

Finish finish_of(const Arguments& a) {
    Finish finish;
    finish.raw = option(a, OPTIONS_RAW);
    finish.carry = option(a, OPTIONS_CARRY);
    finish.statistics = a.operation == OPERATIONS_CONVOLVE && !finish.raw;
    finish.residual = option(a, OPTIONS_RESIDUAL);
    finish.mask_bits = option(a, OPTIONS_MASK8) ? 8 : option(a, OPTIONS_MASK16) ? 16 : 0;
    finish.mask_ceiling = a.mask_ceiling();
    finish.shift = a.shift;
    return finish;
}

namespace {

Count outer_tiles(const Pass& pass) {
    return ceil_divide(pass.outer, pass.tile_outer);
}
Count x_tiles(const Pass& pass) {
    return ceil_divide(pass.x.to, pass.tile_x);
}
Count y_tiles(const Pass& pass) {
    return ceil_divide(pass.y.to, pass.tile_y);
}

Span part(Count index, Count size, Count whole) {
    const Span span = {index * size, smaller(size, whole - index * size)};
    return span;
}

}  // namespace

Count tiles_of(const Pass& pass) {
    return pass.groups * y_tiles(pass) * x_tiles(pass) * outer_tiles(pass);
}

// Tiles by number, outer channels first: a divider a tile costs nothing beside its thousands of
// cycles, and each stage of the pipeline below can find its own tile.
Tile tile_at(const Pass& pass, Count index) {
    const Count outer = index % outer_tiles(pass);
    const Count plane = index / outer_tiles(pass);
    const Count x = plane % x_tiles(pass);
    const Count row = plane / x_tiles(pass);
    const Span outers = part(outer, pass.tile_outer, pass.outer);
    Tile tile;
    tile.group = row / y_tiles(pass);
    tile.outer = outers.begin;
    tile.outers = outers.count;
    tile.y = part(row % y_tiles(pass), pass.tile_y, pass.y.to);
    tile.x = part(x, pass.tile_x, pass.x.to);
    tile.from_y = source_span(pass.y, tile.y);
    tile.from_x = source_span(pass.x, tile.x);
    return tile;
}

void clear_channels(ChannelEntry channels[LIMITS_CHANNELS], Count count) {
clear_channels_loop:
    for (Count c = 0; c < count; ++c) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 1280 avg = 64
#pragma HLS PIPELINE II = 1
        channels[c].first = 0;
        channels[c].second = 0;
    }
}

void write_channels(const ChannelEntry channels[LIMITS_CHANNELS], Count count, Address begin,
                    Beat* output) {
write_totals:
    for (Count c = 0; c < count; ++c) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 1280 avg = 64
#pragma HLS PIPELINE II = 1
        output[begin + static_cast<Address>(c)] = static_cast<Beat>(channels[c].first);
    }
write_squares:
    for (Count c = 0; c < count; ++c) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 1280 avg = 64
#pragma HLS PIPELINE II = 1
        output[begin + static_cast<Address>(count + c)] = static_cast<Beat>(channels[c].second);
    }
}

}  // namespace e2
