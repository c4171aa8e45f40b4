// SPDX-License-Identifier: Apache-2.0
// The one pipeline that all passes share: load, feed, multiply, collect, store, tile after tile.
#ifndef E2TRAIN_TILES_HPP
#define E2TRAIN_TILES_HPP

#include "e2train/stages.hpp"

namespace e2 {

// Memories that outlive a tile.
struct Memories {
    RowBuffer row_buffer;
    WeightSums weight_sums;
    SlotVisits slot_visits;
    Queues queues;
    Codes codes;
};

// All tiles of a job.
void run_tiles(const Job& job, const Beat* columns, const Beat* rows, const Beat* extra,
               const Beat* second, Beat* output, Memories& memories,
               ChannelEntry channels[LIMITS_CHANNELS], Counters& counters);

}  // namespace e2

#endif
