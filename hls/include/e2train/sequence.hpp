// SPDX-License-Identifier: Apache-2.0
// The jobs of a launch, one after the other: passes have one, weight gradients one a tile of
// weights, PSG then more for its second phase.
#ifndef E2TRAIN_SEQUENCE_HPP
#define E2TRAIN_SEQUENCE_HPP

#include "e2train/tiles.hpp"

namespace e2 {

// Operations convolve, input_gradient, weight_gradient and psg_gradient.
void run_layer(const Arguments& arguments, const Beat* columns, const Beat* rows, const Beat* extra,
               const Beat* second, Beat* output, ChannelEntry channels[LIMITS_CHANNELS],
               Counters& counters);

}  // namespace e2

#endif
