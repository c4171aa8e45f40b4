// SPDX-License-Identifier: Apache-2.0
// The schedule of the second phase: written once to memory, read back a tile of slots at a time.
#include "e2train/psg.hpp"

namespace e2 {

namespace {

// A burst of `count` visits, three beats each.
void write_visits(Count filter, Count count, Queues& queues, Beat* to) {
    Visit visit = Visit();
    Count phase = 0;
write_visit_beats:
    for (Count i = 0; i < VISIT_BEATS * count; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 0 max = 1536 avg = 96
#pragma HLS PIPELINE II = 1
        if (phase == 0) {
            const Popped popped = pop(queues);
            visit.slots[0] = 0;
            visit.slots[1] = 0;
        write_slots:
            for (int row = 0; row < ROWS; ++row) {
#pragma HLS UNROLL
                visit.slots[row / 4] |= half_at(popped.entry[row], row % 4);
            }
            visit.head = head_code(filter, popped.valid, popped.second);
        }
        to[i] = phase == 0 ? visit.slots[0] : phase == 1 ? visit.slots[1] : Part(visit.head);
        phase = phase == VISIT_BEATS - 1 ? 0 : phase + 1;
    }
}

}  // namespace

// Filters queue in turn. Once filter f + 1 waits behind f, visits go out until f has none left.
Count schedule_visits(const Layer& layer, std::uint64_t threshold, const Scratch& scratch,
                      Beat* memory, Queues& queues, Codes& codes, Counters& counters) {
    FilterWalk walk = filter_walk(layer, false);
    Address predictor = scratch.predictor;
    Address to = scratch.schedule;
    Count visits = 0;
    Count predicted = 0;
    clear_queues(queues);
schedule_filters:
    for (Count filter = 0; filter <= layer.outer; ++filter) {
#pragma HLS LOOP_TRIPCOUNT min = 16 max = 1280 avg = 64
        if (filter < layer.outer) {
            walk.filter = filter;
            predicted += queue_filter(walk, threshold, memory + predictor, queues, codes);
            predictor += static_cast<Address>(walk.weights);
        }
        const Count count = visits_of_base(queues);
        write_visits(filter - 1, count, queues, memory + to);
        to += static_cast<Address>(VISIT_BEATS * count);
        visits += count;
        next_base(queues);
    }
    counters.predicted = static_cast<std::uint64_t>(predicted);
    counters.output_beats += static_cast<std::uint64_t>(VISIT_BEATS * visits);
    return visits;
}

// As many visits as the sums have room for are read in one burst; those whose gradients do not fit
// beside the first one's are left to the next tile. A visit may need the filter after its own, so a
// span of filters always holds two where the layer has them.
SlotTile load_visits(const Layer& layer, const Scratch& scratch, Count first, Count all,
                     const Beat* memory, SlotVisits& to, Counters& counters) {
    const Count positions = times(layer.tile_y, layer.tile_x);
    Count fit = 0;
count_filters:
    for (Count words = positions; words <= BUFFERS_COLUMN_DEPTH; words += positions) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 2048 avg = 32
        ++fit;
    }
    // Depthwise, the channels of the row buffer go with the filters.
    const Count most_filters = layer.depthwise ? smaller(fit, layer.tile_outer) : fit;
    const Count count = smaller(SLOT_VISITS, all - first);
    const Beat* from = memory + scratch.schedule + static_cast<Address>(VISIT_BEATS * first);
    SlotTile tile = {first, 0, {0, 0}};
    Count phase = 0;
    Count visit = 0;
    bool fits = true;
load_visit_beats:
    for (Count i = 0; i < VISIT_BEATS * count; ++i) {
#pragma HLS LOOP_TRIPCOUNT min = 3 max = 3072 avg = 768
#pragma HLS PIPELINE II = 1
        const Beat beat = from[i];
        if (phase < VISIT_BEATS - 1) {
            to.slots[phase][visit] = beat;
            ++phase;
        } else {
            const std::uint32_t head = static_cast<std::uint32_t>(beat);
            const Count filter = head_of(head).filter;
            const Count begin = visit == 0 ? filter : tile.filters.begin;
            const Count span = smaller(filter + 1, layer.outer - 1) - begin + 1;
            fits = fits && span <= most_filters;
            to.head[visit] = head;
            tile.filters.begin = begin;
            tile.filters.count = fits ? span : tile.filters.count;
            tile.visits += fits ? 1 : 0;
            ++visit;
            phase = 0;
        }
    }
    counters.extra_beats += static_cast<std::uint64_t>(VISIT_BEATS * count);
    return tile;
}

}  // namespace e2
