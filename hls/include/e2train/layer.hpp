// SPDX-License-Identifier: Apache-2.0
// A convolution's pass as one launch: its sizes, once worked out from the registers.
//
// Passes along positions (forward, and back to the input) reduce over `inner` channels and the taps
// for every `outer` channel and position. Weight gradients reduce over samples and positions:
// `outer` are filters, whose gradients are read, and `inner` the channels of the activations.
#ifndef E2TRAIN_LAYER_HPP
#define E2TRAIN_LAYER_HPP

#include "e2train/check.hpp"
#include "e2train/products.hpp"
#include "e2train/span.hpp"

namespace e2 {

struct Layer {
    bool weights;     // a weight gradient
    bool transposed;  // back to the input
    bool depthwise;   // outer channel k meets inner channel k alone
    Count groups;     // of 16 samples
    Count outer;
    Count inner;  // of the whole layer; depthwise along positions: 1
    Axis y;
    Axis x;
    Count tile_outer;
    Count tile_inner;
    Count tile_y;
    Count tile_x;
};

Layer layer_of(const Arguments& arguments);

inline bool is_weights_operation(const Arguments& a) {
    return a.operation == OPERATIONS_WEIGHT_GRADIENT || a.operation == OPERATIONS_PSG_GRADIENT;
}

inline Count taps(const Layer& layer) {
    return times(layer.y.kernel, layer.x.kernel);
}

// Channels that a filter has weights for.
inline Count filter_channels(const Layer& layer) {
    return layer.depthwise ? 1 : layer.inner;
}

inline Count all_weights(const Layer& layer) {
    return times(times(layer.outer, filter_channels(layer)), taps(layer));
}

// Filters that a packed visit works on, and channels of each: with at most 16 channels the
// products in LUTs take a second filter, with more the upper half of 32 channels.
constexpr Count TWIN_CHANNELS = PACKED_ROWS;
constexpr Count PACKED_CHANNELS = 2 * PACKED_ROWS;

// Visits of the array that a tile of weights takes a data tile.
inline Count weight_visits(const Layer& layer, bool packed, Count filters, Count channels) {
    const bool twin = layer.depthwise || (packed && channels <= TWIN_CHANNELS);
    const Count steps = twin ? (filters + 1) >> 1 : filters;
    const Count blocks = twin     ? 1
                         : packed ? (channels + PACKED_CHANNELS - 1) >> 5
                                  : (channels + ROWS - 1) >> 3;
    return times(times(steps, blocks), taps(layer));
}

}  // namespace e2

#endif
