// SPDX-License-Identifier: Apache-2.0
// The one pipeline that all passes share: load, feed, multiply, collect, store, tile after tile.
#ifndef E2TRAIN_TILES_HPP
#define E2TRAIN_TILES_HPP

#include "e2train/psg.hpp"

namespace e2 {

constexpr int JOB_PASS = 0;     // forward or back to the input
constexpr int JOB_WEIGHTS = 1;  // gradients of a tile of weights
constexpr int JOB_SLOTS = 2;    // gradients of a tile of slots

// What the pipeline works through in one go; only the parts of its kind are set.
struct Job {
    int kind;
    Count tiles;
    Pass pass;
    Finish finish;
    bool narrow;
    WeightPass weights;
    Slices slices;
    WeightTile tile;
    SlotTile slots;
};

// Memories that outlive a tile.
struct Memories {
    WeightSums weight_sums;
    SlotVisits slot_visits;
    Queues queues;
    Codes codes;
};

// All tiles of a job.
void run_tiles(const Job& job, const Arguments& arguments, const Beat* columns, const Beat* rows,
               const Beat* extra, const Beat* second, Beat* output, Memories& memories,
               ChannelEntry channels[LIMITS_CHANNELS], Counters& counters);

}  // namespace e2

#endif
