// SPDX-License-Identifier: Apache-2.0
#include "e2train/layer.hpp"

namespace e2 {

Layer layer_of(const Arguments& a) {
    const bool transposed = a.operation == OPERATIONS_INPUT_GRADIENT;
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
    Layer layer;
    layer.weights = is_weights_operation(a);
    layer.transposed = transposed;
    layer.depthwise = a.depthwise != 0;
    layer.groups = (a.samples + LANES - 1) / LANES;
    layer.outer = transposed ? a.channels : a.filters;
    layer.inner = layer.depthwise && !layer.weights ? 1 : transposed ? a.filters : a.channels;
    layer.y = y;
    layer.x = x;
    layer.tile_outer = a.tile_outer;
    layer.tile_inner = a.tile_inner;
    layer.tile_y = a.tile_h;
    layer.tile_x = a.tile_w;
    return layer;
}

}  // namespace e2
