// SPDX-License-Identifier: Apache-2.0
#include "e2train/accelerator.hpp"

#include "e2train/check.hpp"
#include "e2train/counters.hpp"
#include "e2train/memory.hpp"
#include "e2train/sequence.hpp"
#include "e2train/vector_unit.hpp"

namespace e2 {

namespace {

std::uint32_t check(const Arguments& arguments) {
    const bool vector = is_vector_operation(arguments.operation);
    const std::uint32_t wrong = vector ? check_vector(arguments) : check_layer(arguments);
    if (wrong != ERRORS_OK) {
        return wrong;
    }
    Range ranges[MAX_RANGES] = {};
    const int count = vector ? vector_ranges(arguments, ranges) : layer_ranges(arguments, ranges);
    return check_ranges(ranges, count);
}

void write_header(const Counters& counters, std::uint32_t address, Beat* output) {
    Beat header[RESULT_SUMS] = {};
    header[RESULT_PEAK] = counters.peak;
    header[RESULT_MAX_MSB] = counters.max_msb;
    header[RESULT_PREDICTED] = counters.predicted;
    header[RESULT_WEIGHTS] = counters.weights;
    header[RESULT_VISITS] = counters.visits;
    header[RESULT_TILES] = counters.tiles;
    header[RESULT_CORE_STEPS] = counters.core_steps;
    header[RESULT_COLUMN_BEATS] = counters.column_beats;
    header[RESULT_ROW_BEATS] = counters.row_beats;
    header[RESULT_EXTRA_BEATS] = counters.extra_beats;
    header[RESULT_OUTPUT_BEATS] = counters.output_beats + RESULT_SUMS;
    header[RESULT_SATURATIONS] = counters.saturations;
write_header_words:
    for (int word = 0; word < RESULT_SUMS; ++word) {
#pragma HLS PIPELINE II = 1
        output[beat_of(address) + static_cast<Address>(word)] = header[word];
    }
}

}  // namespace

std::uint32_t run(const Arguments& arguments, const Beat* columns, const Beat* rows,
                  const Beat* extra, const Beat* second, Beat* output) {
    const std::uint32_t refused = check(arguments);
    if (refused != ERRORS_OK) {
        return refused;
    }
    static ChannelEntry channels[LIMITS_CHANNELS];
// Both halves of an entry are read and written at once.
#pragma HLS AGGREGATE variable = channels
    Counters counters = no_counts();
    std::uint32_t error = ERRORS_OK;
    switch (arguments.operation) {
        case OPERATIONS_CONVOLVE:
        case OPERATIONS_INPUT_GRADIENT:
        case OPERATIONS_WEIGHT_GRADIENT:
        case OPERATIONS_PSG_GRADIENT:
            run_layer(arguments, columns, rows, extra, second, output, channels, counters);
            break;
        default:
            error = run_vector(arguments, columns, rows, extra, output, channels, counters);
            break;
    }
    if (error == ERRORS_OK) {
        write_header(counters, arguments.result_address, output);
    }
    return error;
}

}  // namespace e2
