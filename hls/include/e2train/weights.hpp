// SPDX-License-Identifier: Apache-2.0
// Weight gradients: dot products over samples and positions of activations and output gradients.
//
// A step of the array takes one word (16 samples) of the gradient of one filter and words of 8 (or,
// packed, 16) channels at one position, and sums over the samples: rows of the array are channels.
// Sums of a tile of weights stay on chip while all samples pass.
#ifndef E2TRAIN_WEIGHTS_HPP
#define E2TRAIN_WEIGHTS_HPP

#include "e2train/pass.hpp"

namespace e2 {

// One launch. Depthwise: filter k meets channel k alone.
struct WeightPass {
    bool depthwise;
    Count samples;
    Count groups;
    Count channels;
    Count filters;
    Axis y;  // of x: from rows of x to rows of g
    Axis x;
    Count tile_filters;
    Count tile_channels;
    Count tile_y;
    Count tile_x;
};

// Operands of a product: as they are, or their most significant bits.
struct Slices {
    Count x_msb;  // 8: all of x
    Count g_msb;  // 16: all of g
    bool packed;  // two products a DSP
};

// Weights whose sums are on chip at a time.
struct WeightTile {
    Span filters;
    Span channels;
};

// Positions whose operands are on chip at a time.
struct DataTile {
    Count group;
    Span y;  // of the output plane
    Span x;
    Span from_y;  // and of the input plane
    Span from_x;
};

struct WeightSums {
    Sum sum[BUFFERS_WEIGHT_SUMS];
};

WeightPass weight_pass_of(const Arguments& arguments);

inline Count weight_taps(const WeightPass& pass) {
    return times(pass.y.kernel, pass.x.kernel);
}

// Channels that a filter has weights for.
inline Count filter_channels(const WeightPass& pass) {
    return pass.depthwise ? 1 : pass.channels;
}

inline Count all_weights(const WeightPass& pass) {
    return times(times(pass.filters, filter_channels(pass)), weight_taps(pass));
}

Count weight_tiles_of(const WeightPass& pass);
WeightTile weight_tile_at(const WeightPass& pass, Count index);
Count data_tiles_of(const WeightPass& pass);
DataTile data_tile_at(const WeightPass& pass, Count index);

void load_gradients(const WeightPass& pass, const Span& filters, const DataTile& data,
                    const Slices& slices, std::uint32_t address, const Beat* first,
                    const Beat* second, ColumnBuffer& buffer);
void load_activations(const WeightPass& pass, const Span& channels, const DataTile& data,
                      const Slices& slices, std::uint32_t address, const Beat* port,
                      RowBuffer& buffer);

// Word of channel `channel` at a position, in its bank; zero where the position is padding.
struct RowSource {
    Count bank;
    Count at;
    bool padding;
};

RowSource row_source(const WeightPass& pass, Count first_channel, const DataTile& data,
                     Count channel, Count position_y, Count position_x, Count tap_y, Count tap_x);

// Stages of a data tile: visits to the array, then their sums added to those of the data before,
// in [filter][channel][tap] order. `first`: there is no data before.
void feed_weights(const WeightPass& pass, const WeightTile& tile, const DataTile& data,
                  const Slices& slices, const RowBuffer& row_buffer,
                  const ColumnBuffer& column_buffer, hls::stream<StepFlags>& flags,
                  hls::stream<RowBits>& rows, hls::stream<ColumnBits>& columns,
                  hls::stream<Count>& steps);
void collect_weights(const WeightPass& pass, const WeightTile& tile, const Slices& slices,
                     bool first, hls::stream<SumBits>& words, WeightSums& sums);

// Sums of a tile to 64-bit words at `address`, in the layer's order; returns the largest magnitude.
std::uint64_t store_weights(const WeightPass& pass, const WeightTile& tile, const WeightSums& sums,
                            std::uint32_t address, Beat* output);

}  // namespace e2

#endif
