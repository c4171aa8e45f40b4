// SPDX-License-Identifier: Apache-2.0
// The geometry of one convolution as Python passes it; tensors are [N,H,W,C] in memory.
#pragma once

#include <cstdint>

namespace e2 {

extern "C" struct Geometry {
    int32_t samples, channels, height, width, filters, kernel_h, kernel_w, stride, padding,
        depthwise, out_height, out_width;
};

// What is done with the accumulators of an input gradient as they are stored.
extern "C" struct GradientStore {
    int32_t shift;        // v = round(acc >> shift); negative multiplies
    int32_t output_bits;  // 8 or 16: element type of `output`; 0: no mask
    int32_t ceiling;      // mask keeps 0 < output < ceiling
    const void* output;
    const int16_t* residual;  // added after the mask; may be null
};

}  // namespace e2
