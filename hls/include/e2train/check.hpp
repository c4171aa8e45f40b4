// SPDX-License-Identifier: Apache-2.0
// Refusing a launch: every check happens before the first write.
#ifndef E2TRAIN_CHECK_HPP
#define E2TRAIN_CHECK_HPP

#include "e2train/types.hpp"

namespace e2 {

constexpr int MAX_RANGES = 8;

// Bytes of memory that a launch reads or writes. Sizes may pass 2^32: then the range fits nowhere.
struct Range {
    std::uint32_t begin;
    std::uint64_t bytes;
    bool written;
};

// The ranges of a launch as they are listed, in an array of MAX_RANGES.
struct RangeList {
    Range* ranges;
    int count;
};

inline void add(RangeList& list, std::uint32_t begin, std::uint64_t bytes, bool written) {
    const Range range = {begin, bytes, written};
    list.ranges[list.count] = range;
    ++list.count;
}

inline bool option(const Arguments& a, int bit) {
    return ((a.options >> bit) & 1) != 0;
}

inline std::uint64_t groups_of(const Arguments& a) {
    return (static_cast<std::uint64_t>(a.samples) + LANES - 1) / LANES;
}

// ERRORS_OK, or ERRORS_NULL, ERRORS_ALIGNMENT or ERRORS_OVERLAP.
std::uint32_t check_ranges(const Range ranges[MAX_RANGES], int count);

// Registers of the passes of a convolution (operations 1 to 4).
std::uint32_t check_layer(const Arguments& a);
int layer_ranges(const Arguments& a, Range ranges[MAX_RANGES]);

}  // namespace e2

#endif
