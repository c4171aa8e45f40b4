// SPDX-License-Identifier: Apache-2.0
// Rounding of single values: half up, then saturation.
#pragma once

#include <algorithm>
#include <cstdint>

namespace e2 {

// (v + half) >> shift for 0 <= shift < 31; the sum must fit 32 bits.
inline int32_t rounded(int32_t value, int shift) {
    return (value + ((1 << shift) >> 1)) >> shift;
}

inline int32_t saturated(int32_t value, int bits) {
    const int32_t top = (1 << (bits - 1)) - 1;
    return std::min(std::max(value, -top - 1), top);
}

// The `bits` most significant of 16 bits, saturating to -2^(bits-1) ... 2^(bits-1) - 1.
inline int16_t most_significant(int32_t value, int bits) {
    return (int16_t)saturated(rounded(value, 16 - bits), bits);
}

// The predictor's operand: `msb` of `bits` bits, symmetric.
struct Slice {
    int shift, top;
    Slice(int bits, int msb)
        : shift(bits - msb), top(shift ? (1 << (msb - 1)) - 1 : 1 << (bits - 1)) {}
    int16_t operator()(int32_t value) const {
        return (int16_t)std::min(std::max(rounded(value, shift), -top), top);
    }
};

}  // namespace e2
