// SPDX-License-Identifier: Apache-2.0
#include "e2train/psg.hpp"
#include "e2train/memory.hpp"
#include "e2train/products.hpp"

namespace e2 {

// Predictor over all weights, its maximum, the threshold, then full precision for the unsure ones.
// The maximum is known only when all samples have passed, so their operands come a second time.
void run_psg(const Arguments& arguments, const Beat* columns, const Beat* rows, Beat* output,
             Counters& counters) {
    static Queues queues;
    static Codes codes;
// Eight queues are pushed and popped in the same cycle.
#pragma HLS ARRAY_PARTITION variable = queues.waiting complete dim = 1
#pragma HLS ARRAY_PARTITION variable = queues.head complete
#pragma HLS ARRAY_PARTITION variable = queues.length complete
    const WeightPass pass = weight_pass_of(arguments);
    const Slices slices = {arguments.x_msb, arguments.g_msb,
                           slices_pack(arguments.x_msb, arguments.g_msb)};
    const Scratch scratch = scratch_of(arguments, all_weights(pass));
    const std::uint64_t weights = static_cast<std::uint64_t>(all_weights(pass));
    counters.max_msb = write_weight_gradients(pass, slices, arguments, arguments.scratch_address,
                                              columns, rows, output, counters);
    const std::uint64_t threshold = static_cast<std::uint64_t>(arguments.beta_q) * counters.max_msb;
    const Count visits = schedule_visits(pass, threshold, scratch, output, queues, codes, counters);
    run_slots(pass, arguments, scratch, visits, columns, rows, output, counters);
    merge_signs(pass, threshold, scratch, beat_of(arguments.out_address), output, queues, codes);
    counters.weights = weights;
    counters.visits = static_cast<std::uint64_t>(visits);
    counters.extra_beats += 2 * weights + static_cast<std::uint64_t>(visits);
    counters.output_beats += (weights + 7) / 8;
}

}  // namespace e2
