// SPDX-License-Identifier: Apache-2.0
#include "e2train/sequence.hpp"

#include "e2train/memory.hpp"

namespace e2 {

namespace {

constexpr Count MAX_JOBS = 1 << 24;

// Where a launch stands.
struct Sequence {
    Job job;
    SlotTile slots;
    bool psg;
    bool done;
    Address sums;  // where the gradients of all weights go
    Scratch scratch;
    std::uint64_t largest;
    std::uint64_t threshold;
    Count visits;  // of the second phase
    Count first;   // visits that are done
};

Finish finish_of(const Arguments& a) {
    Finish finish;
    finish.raw = option(a, OPTIONS_RAW);
    finish.carry = option(a, OPTIONS_CARRY);
    finish.statistics = a.operation == OPERATIONS_CONVOLVE && !finish.raw;
    finish.residual = option(a, OPTIONS_RESIDUAL);
    finish.mask_bits = option(a, OPTIONS_MASK8) ? 8 : option(a, OPTIONS_MASK16) ? 16 : 0;
    finish.mask_ceiling = a.mask_ceiling();
    finish.shift = a.shift;
    return finish;
}

// Pieces of `size` that cover `whole`: counted, once a launch, rather than divided.
Count pieces(Count whole, Count size) {
    Count count = 0;
count_pieces:
    for (Count at = 0; at < whole; at += size) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 4095 avg = 4
        ++count;
    }
    return count;
}

Job begin_job(const Arguments& a, int kind) {
    const Layer layer = layer_of(a);
    const Count places = times(pieces(layer.y.to, layer.tile_y), pieces(layer.x.to, layer.tile_x));
    Job job = Job();
    job.kind = kind;
    job.layer = layer;
    job.tiles = times(places, layer.groups);
    job.x_msb = WIDTHS_ACTIVATION;
    job.g_msb = WIDTHS_GRADIENT;
    job.columns = beat_of(a.a_address);
    job.rows = beat_of(kind == JOB_PASS ? a.rows_address : a.b_address);
    job.mask = beat_of(a.mask_address);
    job.residual = beat_of(a.residual_address);
    job.carry = beat_of(a.carry_address);
    job.output = beat_of(a.out_address);
    return job;
}

Sequence begin_pass(const Arguments& a) {
    Sequence s = Sequence();
    s.job = begin_job(a, JOB_PASS);
    const Layer& layer = s.job.layer;
    s.job.narrow = option(a, OPTIONS_NARROW_GRADIENT);
    s.job.packed = !layer.transposed || s.job.narrow;
    s.job.end = layer.outer;
    s.job.tile_outer = layer.tile_outer;
    s.job.inner = a.inner_begin;
    s.job.inners = layer.tile_inner;
    s.job.tiles = times(s.job.tiles, pieces(layer.outer, layer.tile_outer));
    s.job.finish = finish_of(a);
    return s;
}

// The tile of weights that begins at a filter and a channel.
void set_weight_tile(Job& job, Count filter, Count channel) {
    const Layer& layer = job.layer;
    job.outer = filter;
    job.tile_outer = smaller(layer.tile_outer, layer.outer - filter);
    job.end = filter + job.tile_outer;
    job.inner = layer.depthwise ? filter : channel;
    job.inners =
        layer.depthwise ? job.tile_outer : smaller(layer.tile_inner, layer.inner - channel);
}

Sequence begin_weights(const Arguments& a) {
    Sequence s = Sequence();
    s.job = begin_job(a, JOB_WEIGHTS);
    s.psg = a.operation == OPERATIONS_PSG_GRADIENT;
    // The registers of the predictor's widths say nothing in other operations.
    if (s.psg) {
        s.job.x_msb = a.x_msb;
        s.job.g_msb = a.g_msb;
        s.job.packed = slices_pack(a.x_msb, a.g_msb);
    }
    set_weight_tile(s.job, 0, 0);
    s.scratch = scratch_of(a, all_weights(s.job.layer));
    s.sums = s.psg ? s.scratch.predictor : beat_of(a.out_address);
    return s;
}

void finish_pass(const Arguments& arguments, Sequence& s,
                 const ChannelEntry channels[LIMITS_CHANNELS], Beat* output, Counters& counters) {
    if (s.job.finish.statistics) {
        const Address begin = beat_of(arguments.result_address) + RESULT_SUMS;
        write_channels(channels, s.job.layer.outer, begin, output);
        counters.output_beats += 2 * static_cast<std::uint64_t>(s.job.layer.outer);
    }
    s.done = true;
}

void finish_signs(const Arguments& arguments, Sequence& s, Memories& memories, Beat* output,
                  Counters& counters) {
    const std::uint64_t weights = counters.weights;
    merge_signs(s.job.layer, s.threshold, s.scratch, beat_of(arguments.out_address), output,
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
    Job& job = s.job;
    s.slots = load_visits(job.layer, s.scratch, s.first, s.visits, output, memories.slot_visits,
                          counters);
    job.visits = s.slots.visits;
    job.outer = s.slots.filters.begin;
    job.tile_outer = s.slots.filters.count;
    job.end = job.outer + job.tile_outer;
    job.inner = job.layer.depthwise ? job.outer : 0;
    job.inners = job.layer.depthwise ? job.tile_outer : job.layer.inner;
}

// The predictor has seen all samples: only now is its maximum known, and with it who is unsure.
void begin_slots(const Arguments& arguments, Sequence& s, Memories& memories, Beat* output,
                 Counters& counters) {
    counters.max_msb = s.largest;
    // 17 by 48 bits: three DSPs, where 64 by 64 would take ten.
    s.threshold = (ap_uint<17>(arguments.beta_q) * ap_uint<WIDTHS_SUM>(s.largest)).to_uint64();
    s.visits = schedule_visits(s.job.layer, s.threshold, s.scratch, output, memories.queues,
                               memories.codes, counters);
    s.job.kind = JOB_SLOTS;
    s.job.packed = false;
    s.job.x_msb = WIDTHS_ACTIVATION;
    s.job.g_msb = WIDTHS_GRADIENT;
    next_slots(arguments, s, memories, output, counters);
}

void finish_weights(const Arguments& arguments, Sequence& s, Memories& memories, Beat* output,
                    Counters& counters) {
    Job& job = s.job;
    const std::uint64_t largest = store_weights(job, s.sums, memories.weight_sums, output);
    s.largest = largest > s.largest ? largest : s.largest;
    const Count channel = job.inner + job.inners;
    const bool next_filters = job.layer.depthwise || channel == job.layer.inner;
    const Count filter = next_filters ? job.end : job.outer;
    if (filter < job.layer.outer) {
        set_weight_tile(job, filter, next_filters ? 0 : channel);
        return;
    }
    counters.weights = static_cast<std::uint64_t>(all_weights(job.layer));
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
    write_results(s.slots, memories.weight_sums, s.scratch.results, output);
    counters.output_beats += static_cast<std::uint64_t>(s.slots.visits);
    s.first += s.slots.visits;
    next_slots(arguments, s, memories, output, counters);
}

}  // namespace

// One call of run_tiles for all jobs, so that there is one array and one set of buffers.
void run_layer(const Arguments& arguments, const Beat* columns, const Beat* rows, const Beat* extra,
               const Beat* second, Beat* output, ChannelEntry channels[LIMITS_CHANNELS],
               Counters& counters) {
    static Memories memories;
// All rows of the array read in the same cycle, each from its own banks; eight queues are pushed
// and popped in the same cycle.
#pragma HLS ARRAY_PARTITION variable = memories.row_buffer.low complete dim = 1
#pragma HLS ARRAY_PARTITION variable = memories.row_buffer.high complete dim = 1
#pragma HLS ARRAY_PARTITION variable = memories.weight_sums.half complete dim = 1
#pragma HLS ARRAY_PARTITION variable = memories.slot_visits.slots complete dim = 1
#pragma HLS ARRAY_PARTITION variable = memories.queues.waiting complete dim = 1
#pragma HLS ARRAY_PARTITION variable = memories.codes.code complete dim = 1
#pragma HLS ARRAY_PARTITION variable = memories.queues.head complete
#pragma HLS ARRAY_PARTITION variable = memories.queues.base complete
#pragma HLS ARRAY_PARTITION variable = memories.queues.after complete
    const bool weights = is_weights_operation(arguments);
    Sequence sequence = weights ? begin_weights(arguments) : begin_pass(arguments);
    if (sequence.job.kind == JOB_PASS) {
        clear_channels(channels, sequence.job.layer.outer);
    }
run_layer_jobs:
    for (Count turn = 0; turn < MAX_JOBS; ++turn) {
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 64 avg = 4
        run_tiles(sequence.job, columns, rows, extra, second, output, memories, channels, counters);
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
