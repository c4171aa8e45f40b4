// SPDX-License-Identifier: Apache-2.0
#include "e2train/weights.hpp"

#include "e2train/memory.hpp"

namespace e2 {

WeightPass weight_pass_of(const Arguments& a) {
    const Axis y = {a.height, a.out_height, a.kernel_h, a.stride, a.padding, false};
    const Axis x = {a.width, a.out_width, a.kernel_w, a.stride, a.padding, false};
    WeightPass pass;
    pass.depthwise = a.depthwise != 0;
    pass.samples = a.samples;
    pass.groups = ceil_divide(a.samples, LANES);
    pass.channels = a.channels;
    pass.filters = a.filters;
    pass.y = y;
    pass.x = x;
    pass.tile_filters = a.tile_outer;
    pass.tile_channels = a.tile_inner;
    pass.tile_y = a.tile_h;
    pass.tile_x = a.tile_w;
    return pass;
}

namespace {

Span part(Count index, Count size, Count whole) {
    const Span span = {index * size, smaller(size, whole - index * size)};
    return span;
}

Count channel_tiles(const WeightPass& pass) {
    return pass.depthwise ? 1 : ceil_divide(pass.channels, pass.tile_channels);
}

Count y_tiles(const WeightPass& pass) {
    return ceil_divide(pass.y.to, pass.tile_y);
}
Count x_tiles(const WeightPass& pass) {
    return ceil_divide(pass.x.to, pass.tile_x);
}

std::uint64_t magnitude(Sum sum) {
    const std::int64_t value = sum.to_int64();
    return static_cast<std::uint64_t>(value < 0 ? -value : value);
}

}  // namespace

Count weight_tiles_of(const WeightPass& pass) {
    return ceil_divide(pass.filters, pass.tile_filters) * channel_tiles(pass);
}

WeightTile weight_tile_at(const WeightPass& pass, Count index) {
    WeightTile tile;
    tile.filters = part(index / channel_tiles(pass), pass.tile_filters, pass.filters);
    tile.channels = pass.depthwise
                        ? tile.filters
                        : part(index % channel_tiles(pass), pass.tile_channels, pass.channels);
    return tile;
}

Count data_tiles_of(const WeightPass& pass) {
    return pass.groups * y_tiles(pass) * x_tiles(pass);
}

DataTile data_tile_at(const WeightPass& pass, Count index) {
    const Count row = index / x_tiles(pass);
    DataTile data;
    data.group = row / y_tiles(pass);
    data.y = part(row % y_tiles(pass), pass.tile_y, pass.y.to);
    data.x = part(index % x_tiles(pass), pass.tile_x, pass.x.to);
    data.from_y = source_span(pass.y, data.y);
    data.from_x = source_span(pass.x, data.x);
    return data;
}

std::uint64_t store_weights(const WeightPass& pass, const WeightTile& tile, const WeightSums& sums,
                            std::uint32_t address, Beat* output) {
    const Count row = times(pass.depthwise ? 1 : tile.channels.count, weight_taps(pass));
    const Count first = times(pass.depthwise ? 0 : tile.channels.begin, weight_taps(pass));
    std::uint64_t largest = 0;
    Count at = 0;
store_filters:
    for (Count filter = 0; filter < tile.filters.count; ++filter) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 512 avg = 16
        const Count begin =
            times(times(tile.filters.begin + filter, filter_channels(pass)), weight_taps(pass)) +
            first;
        const Address burst = beat_of(address) + static_cast<Address>(begin);
    store_row:
        for (Count i = 0; i < row; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 9 max = 960 avg = 144
#pragma HLS PIPELINE II = 1
            const Sum sum = sums.sum[at];
            ++at;
            output[burst + static_cast<Address>(i)] = static_cast<Beat>(sum.to_int64());
            largest = magnitude(sum) > largest ? magnitude(sum) : largest;
        }
    }
    return largest;
}

}  // namespace e2
