// SPDX-License-Identifier: Apache-2.0
// The vector unit alone, for ctypes: all ports see one memory.
#include <cstring>

#include "e2train/vector_unit.hpp"

namespace {

constexpr int FIELDS_A_RANGE = 3;

e2::Arguments arguments_from(const std::int32_t* registers) {
    e2::Arguments arguments;
    std::memcpy(&arguments, registers, sizeof arguments);
    return arguments;
}

}  // namespace

extern "C" int vector_argument_count() {
    return sizeof(e2::Arguments) / sizeof(std::int32_t);
}

// `registers`: the arguments in the order of the configuration. Counters are added to.
extern "C" std::uint32_t vector_launch(const std::int32_t* registers, std::uint64_t* memory,
                                       e2::Counters* counters) {
    const e2::Arguments arguments = arguments_from(registers);
    const std::uint32_t refused = e2::check_vector(arguments);
    if (refused != e2::ERRORS_OK) {
        return refused;
    }
    static e2::ChannelEntry table[e2::LIMITS_CHANNELS];
    return e2::run_vector(arguments, memory, memory, memory, memory, table, *counters);
}

// Fills rows of begin, bytes, written; returns how many.
extern "C" int vector_memory_ranges(const std::int32_t* registers, std::uint64_t* rows) {
    e2::Range ranges[e2::MAX_RANGES];
    const int count = e2::vector_ranges(arguments_from(registers), ranges);
    for (int i = 0; i < count; ++i) {
        rows[FIELDS_A_RANGE * i] = ranges[i].begin;
        rows[FIELDS_A_RANGE * i + 1] = ranges[i].bytes;
        rows[FIELDS_A_RANGE * i + 2] = ranges[i].written ? 1 : 0;
    }
    return count;
}
