// SPDX-License-Identifier: Apache-2.0
// What the vector unit refuses, and the memory that its operations touch.
#include "e2train/vector_streams.hpp"
#include "e2train/vector_unit.hpp"

namespace e2 {

namespace {

constexpr std::uint64_t HALF_WORD_BYTES = LANES * 2;
constexpr std::uint64_t COEFFICIENT_BYTES = 16;
constexpr std::uint64_t ENTRY_BYTES = 24;
constexpr std::uint64_t SUM_BYTES = 8;

bool within(std::int32_t value, std::int32_t least, std::int32_t most) {
    return value >= least && value <= most;
}

// Whether no option but those in `allowed` is set.
bool only_options(const Arguments& a, std::int32_t allowed) {
    return (a.options & ~allowed) == 0;
}

constexpr std::int32_t bit(int option_number) {
    return std::int32_t(1) << option_number;
}

bool tensor_fits(const Arguments& a) {
    return within(a.samples, 1, LIMITS_SAMPLES) && within(a.channels, 1, LIMITS_CHANNELS) &&
           within(a.height, 1, LIMITS_SIZE) && within(a.width, 1, LIMITS_SIZE);
}

std::uint32_t check_map(const Arguments& a) {
    const bool mask8 = option(a, OPTIONS_MASK8);
    const bool mask16 = option(a, OPTIONS_MASK16);
    const bool extra_free =
        !(mask8 && mask16) && !((mask8 || mask16) && option(a, OPTIONS_RESIDUAL));
    const std::int32_t allowed = bit(OPTIONS_SECOND) | bit(OPTIONS_RESIDUAL) | bit(OPTIONS_MASK8) |
                                 bit(OPTIONS_MASK16) | bit(OPTIONS_RECTIFY) | bit(OPTIONS_CEILING);
    const bool fits = extra_free && only_options(a, allowed) && a.mask_ceiling() >= 0 &&
                      within(a.shift, 0, MAP_MOST_SHIFT) &&
                      within(a.bits, WIDTHS_ACTIVATION, WIDTHS_GRADIENT);
    return fits ? ERRORS_OK : ERRORS_ARGUMENT;
}

std::uint32_t check_pool(const Arguments& a) {
    const bool steps =
        within(a.row_step(), 1, LIMITS_SIZE) && within(a.column_step(), 1, LIMITS_SIZE);
    return !steps ? ERRORS_GEOMETRY : (only_options(a, 0) ? ERRORS_OK : ERRORS_ARGUMENT);
}

// Whether the last position of an axis of the result finds its source.
bool axis_fits(const Arguments& a, std::int32_t from, std::int32_t to) {
    const std::int32_t last = to - 1;
    // Up: last / stride < from, without dividing.
    const bool fits = option(a, OPTIONS_UP) ? last < multiplied(a.stride, from)
                                            : multiplied(last, a.stride) < from;
    return option(a, OPTIONS_SPREAD) || fits;
}

std::uint32_t check_resample(const Arguments& a) {
    const bool both = option(a, OPTIONS_UP) && option(a, OPTIONS_SPREAD);
    if (both || !only_options(a, bit(OPTIONS_UP) | bit(OPTIONS_SPREAD))) {
        return ERRORS_ARGUMENT;
    }
    const bool sizes = within(a.filters, 1, LIMITS_CHANNELS) &&
                       within(a.out_height, 1, LIMITS_SIZE) &&
                       within(a.out_width, 1, LIMITS_SIZE) && within(a.stride, 1, LIMITS_SIZE) &&
                       within(a.channel_offset(), -LIMITS_CHANNELS, LIMITS_CHANNELS);
    const bool fits =
        sizes && axis_fits(a, a.height, a.out_height) && axis_fits(a, a.width, a.out_width);
    return fits ? ERRORS_OK : ERRORS_GEOMETRY;
}

std::uint32_t check_move(const Arguments& a) {
    const bool second = option(a, OPTIONS_SECOND);
    const bool sources = within(a.first_samples(), 1, LIMITS_SAMPLES) &&
                         (!second || within(a.second_samples(), 1, LIMITS_SAMPLES));
    if (!sources) {
        return ERRORS_GEOMETRY;
    }
    const bool width = a.bits == WIDTHS_ACTIVATION || a.bits == WIDTHS_GRADIENT;
    const bool fits = width && only_options(a, bit(OPTIONS_SECOND)) && a.table_entries() >= 1;
    return fits ? ERRORS_OK : ERRORS_ARGUMENT;
}

std::uint64_t unsigned_of(std::int32_t value) {
    return static_cast<std::uint64_t>(value);
}

std::uint64_t volume(std::int32_t groups, std::int32_t channels, std::int32_t height,
                     std::int32_t width) {
#pragma HLS INLINE off
    const std::uint64_t planes = multiplied_wide(unsigned_of(groups), channels);
    return multiplied_wide(multiplied_wide(planes, height), width);
}

// Words of a tensor of `samples` with the planes of a.
std::uint64_t words_of(const Arguments& a, std::int32_t samples) {
    return volume(ceil_groups(samples), a.channels, a.height, a.width);
}

void add_result(RangeList& list, const Arguments& a, std::uint64_t sums) {
    add(list, a.result_address, (RESULT_SUMS + sums) * SUM_BYTES, true);
}

void map_ranges(const Arguments& a, RangeList& list) {
    const std::uint64_t words = words_of(a, a.samples);
    const std::uint64_t bytes = words * HALF_WORD_BYTES;
    add(list, a.a_address, bytes, false);
    add(list, a.rows_address, unsigned_of(a.channels) * COEFFICIENT_BYTES, false);
    if (option(a, OPTIONS_SECOND)) {
        add(list, a.b_address, bytes, false);
    }
    if (option(a, OPTIONS_MASK8) || option(a, OPTIONS_MASK16)) {
        add(list, a.mask_address, option(a, OPTIONS_MASK8) ? bytes / 2 : bytes, false);
    }
    if (option(a, OPTIONS_RESIDUAL)) {
        add(list, a.residual_address, bytes, false);
    }
    add(list, a.out_address, a.bits == WIDTHS_ACTIVATION ? bytes / 2 : bytes, true);
    add_result(list, a, 0);
}

void sums_ranges(const Arguments& a, RangeList& list) {
    const std::uint64_t bytes = words_of(a, a.samples) * HALF_WORD_BYTES;
    add(list, a.a_address, bytes, false);
    if (a.operation == OPERATIONS_POOL) {
        add_result(list, a, multiplied_wide(groups_of(a), a.channels) * LANES);
        return;
    }
    add(list, a.b_address, bytes, false);
    if (a.operation == OPERATIONS_CHANNEL_SUMS) {
        add_result(list, a, 2 * unsigned_of(a.channels));
    } else {
        add(list, a.residual_address, bytes, false);
        add_result(list, a, groups_of(a) * LANES);
    }
}

void resample_ranges(const Arguments& a, RangeList& list) {
    const std::uint64_t out_words =
        volume(ceil_groups(a.samples), a.filters, a.out_height, a.out_width);
    add(list, a.a_address, words_of(a, a.samples) * HALF_WORD_BYTES, false);
    add(list, a.out_address, out_words * HALF_WORD_BYTES, true);
    add_result(list, a, 0);
}

void move_ranges(const Arguments& a, RangeList& list) {
    const int word_shift = a.bits == WIDTHS_ACTIVATION ? 4 : 5;  // 16 or 32 bytes a word
    add(list, a.a_address, words_of(a, a.first_samples()) << word_shift, false);
    add(list, a.rows_address, unsigned_of(a.table_entries()) * ENTRY_BYTES, false);
    if (option(a, OPTIONS_SECOND)) {
        add(list, a.b_address, words_of(a, a.second_samples()) << word_shift, false);
    }
    add(list, a.out_address, words_of(a, a.samples) << word_shift, true);
    add_result(list, a, 0);
}

}  // namespace

bool is_vector_operation(std::int32_t operation) {
    return operation >= OPERATIONS_MAP && operation <= OPERATIONS_MOVE;
}

std::uint32_t check_vector(const Arguments& a) {
    if (!is_vector_operation(a.operation)) {
        return ERRORS_OPERATION;
    }
    if (!tensor_fits(a) || words_of(a, a.samples) > LIMITS_WORDS) {
        return ERRORS_GEOMETRY;
    }
    switch (a.operation) {
        case OPERATIONS_MAP:
            return check_map(a);
        case OPERATIONS_POOL:
            return check_pool(a);
        case OPERATIONS_RESAMPLE:
            return check_resample(a);
        case OPERATIONS_MOVE:
            return check_move(a);
        default:
            return only_options(a, 0) ? ERRORS_OK : ERRORS_ARGUMENT;
    }
}

int vector_ranges(const Arguments& a, Range ranges[MAX_RANGES]) {
    RangeList list = {ranges, 0};
    switch (a.operation) {
        case OPERATIONS_MAP:
            map_ranges(a, list);
            break;
        case OPERATIONS_RESAMPLE:
            resample_ranges(a, list);
            break;
        case OPERATIONS_MOVE:
            move_ranges(a, list);
            break;
        default:
            sums_ranges(a, list);
            break;
    }
    return list.count;
}

}  // namespace e2
