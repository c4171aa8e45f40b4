// SPDX-License-Identifier: Apache-2.0
#include "e2train/sequence.hpp"

#include "e2train/memory.hpp"
#include "e2train/products.hpp"

namespace e2 {

namespace {

constexpr Count MAX_JOBS = 1 << 24;

// Where a launch stands.
struct Sequence {
    Job job;
    bool psg;
    bool done;
    Count index;  // of the tile of weights
    Count tiles;
    std::uint32_t address;  // where the gradients of all weights go
    Scratch scratch;
    std::uint64_t largest;
    std::uint64_t threshold;
    Count visits;  // of the second phase
    Count first;   // visits that are done
};

Sequence begin_pass(const Arguments& arguments) {
    Sequence s = Sequence();
    s.job.kind = JOB_PASS;
    s.job.pass = pass_of(arguments);
    s.job.finish = finish_of(arguments);
    s.job.narrow = option(arguments, OPTIONS_NARROW_GRADIENT);
    s.job.tiles = tiles_of(s.job.pass);
    return s;
}

Sequence begin_weights(const Arguments& a) {
    const Slices all = {WIDTHS_ACTIVATION, WIDTHS_GRADIENT, false};
    Sequence s = Sequence();
    s.psg = a.operation == OPERATIONS_PSG_GRADIENT;
    // The registers of the predictor's widths say nothing in other operations.
    const Slices sliced = {a.x_msb, a.g_msb, s.psg && slices_pack(a.x_msb, a.g_msb)};
    s.job.kind = JOB_WEIGHTS;
    s.job.weights = weight_pass_of(a);
    s.job.slices = s.psg ? sliced : all;
    s.job.tile = weight_tile_at(s.job.weights, 0);
    s.job.tiles = data_tiles_of(s.job.weights);
    s.tiles = weight_tiles_of(s.job.weights);
    s.scratch = scratch_of(a, all_weights(s.job.weights));
    s.address = s.psg ? a.scratch_address : a.out_address;
    return s;
}

void finish_pass(const Arguments& arguments, Sequence& s,
                 const ChannelEntry channels[LIMITS_CHANNELS], Beat* output, Counters& counters) {
    if (s.job.finish.statistics) {
        const Address begin = beat_of(arguments.result_address) + RESULT_SUMS;
        write_channels(channels, s.job.pass.outer, begin, output);
        counters.output_beats += 2 * static_cast<std::uint64_t>(s.job.pass.outer);
    }
    s.done = true;
}

void finish_signs(const Arguments& arguments, Sequence& s, Memories& memories, Beat* output,
                  Counters& counters) {
    const std::uint64_t weights = counters.weights;
    merge_signs(s.job.weights, s.threshold, s.scratch, beat_of(arguments.out_address), output,
                memories.queues, memories.codes);
    counters.visits = static_cast<std::uint64_t>(s.visits);
    counters.extra_beats += 2 * weights + static_cast<std::uint64_t>(s.visits);
    counters.output_beats += (weights + 7) / 8;
    s.done = true;
}

// The next slots of the second phase, or its end.
void next_slots(const Arguments& arguments, Sequence& s, Memories& memories, Beat* output,
                Counters& counters) {
    if (s.first == s.visits) {
        finish_signs(arguments, s, memories, output, counters);
        return;
    }
    s.job.slots =
        load_visits(s.job.weights, s.scratch, s.first, s.visits, output, memories.slot_visits);
    counters.extra_beats += static_cast<std::uint64_t>(VISIT_BEATS * s.job.slots.visits);
}

// The predictor has seen all samples: only now is its maximum known, and with it who is unsure.
void begin_slots(const Arguments& arguments, Sequence& s, Memories& memories, Beat* output,
                 Counters& counters) {
    const Slices all = {WIDTHS_ACTIVATION, WIDTHS_GRADIENT, false};
    counters.max_msb = s.largest;
    // 17 by 48 bits: three DSPs, where 64 by 64 would take ten.
    s.threshold = (ap_uint<17>(arguments.beta_q) * ap_uint<WIDTHS_SUM>(s.largest)).to_uint64();
    s.visits = schedule_visits(s.job.weights, s.threshold, s.scratch, output, memories.queues,
                               memories.codes, counters);
    s.job.kind = JOB_SLOTS;
    s.job.slices = all;
    next_slots(arguments, s, memories, output, counters);
}

void finish_weights(const Arguments& arguments, Sequence& s, Memories& memories, Beat* output,
                    Counters& counters) {
    const std::uint64_t largest =
        store_weights(s.job.weights, s.job.tile, memories.weight_sums, s.address, output);
    s.largest = largest > s.largest ? largest : s.largest;
    if (++s.index < s.tiles) {
        s.job.tile = weight_tile_at(s.job.weights, s.index);
        return;
    }
    counters.weights = static_cast<std::uint64_t>(all_weights(s.job.weights));
    counters.output_beats += counters.weights;
    if (s.psg) {
        begin_slots(arguments, s, memories, output, counters);
    } else {
        counters.peak = s.largest;
        s.done = true;
    }
}

void finish_slots(const Arguments& arguments, Sequence& s, Memories& memories, Beat* output,
                  Counters& counters) {
    write_results(s.job.slots, memories.weight_sums, s.scratch.results, output);
    counters.output_beats += static_cast<std::uint64_t>(s.job.slots.visits);
    s.first += s.job.slots.visits;
    next_slots(arguments, s, memories, output, counters);
}

}  // namespace

// One call of run_tiles for all jobs, so that there is one array and one set of buffers.
void run_layer(const Arguments& arguments, const Beat* columns, const Beat* rows, const Beat* extra,
               const Beat* second, Beat* output, ChannelEntry channels[LIMITS_CHANNELS],
               Counters& counters) {
    static Memories memories;
// Eight queues are pushed and popped in the same cycle.
#pragma HLS ARRAY_PARTITION variable = memories.queues.waiting complete dim = 1
#pragma HLS AGGREGATE variable = memories.queues.waiting
#pragma HLS AGGREGATE variable = memories.slot_visits.visit
#pragma HLS ARRAY_PARTITION variable = memories.queues.head complete
#pragma HLS ARRAY_PARTITION variable = memories.queues.length complete
    const bool weights = arguments.operation == OPERATIONS_WEIGHT_GRADIENT ||
                         arguments.operation == OPERATIONS_PSG_GRADIENT;
    Sequence sequence = weights ? begin_weights(arguments) : begin_pass(arguments);
    if (sequence.job.kind == JOB_PASS) {
        clear_channels(channels, sequence.job.pass.outer);
    }
run_layer_jobs:
    for (Count turn = 0; turn < MAX_JOBS; ++turn) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 64 avg = 4
        run_tiles(sequence.job, arguments, columns, rows, extra, second, output, memories, channels,
                  counters);
        if (sequence.job.kind == JOB_PASS) {
            finish_pass(arguments, sequence, channels, output, counters);
        } else if (sequence.job.kind == JOB_WEIGHTS) {
            finish_weights(arguments, sequence, memories, output, counters);
        } else {
            finish_slots(arguments, sequence, memories, output, counters);
        }
        if (sequence.done) {
            break;
        }
    }
}

}  // namespace e2
