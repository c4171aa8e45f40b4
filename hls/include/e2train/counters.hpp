// SPDX-License-Identifier: Apache-2.0
// What a launch reports besides its tensors: the header of the result block.
#ifndef E2TRAIN_COUNTERS_HPP
#define E2TRAIN_COUNTERS_HPP

#include "e2train/types.hpp"

namespace e2 {

struct Counters {
    std::uint64_t peak;          // largest magnitude before saturation
    std::uint64_t max_msb;       // M of PSG
    std::uint64_t predicted;     // weights that the predictor decided
    std::uint64_t weights;       // weights of the layer
    std::uint64_t visits;        // visits of the second phase, eight slots each
    std::uint64_t tiles;         // steps of load, compute and store
    std::uint64_t core_steps;    // operand words that the MAC core took
    std::uint64_t column_beats;  // beats read on the columns port
    std::uint64_t row_beats;     // on the rows port
    std::uint64_t extra_beats;   // on the extra port
    std::uint64_t output_beats;  // written
    std::uint64_t saturations;   // values that saturated as they were stored
};

inline Counters no_counts() {
    const Counters counters = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    return counters;
}

}  // namespace e2

#endif
