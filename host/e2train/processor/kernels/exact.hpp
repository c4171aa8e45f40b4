// SPDX-License-Identifier: Apache-2.0
// Float64 arithmetic that comes out alike on every IEEE-754 machine (numerics.portable).
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace e2p {

// 2^e times v, rounded once; unlike ldexp it is inlined, which a loop over channels feels.
inline double scaled(double v, int e) {
    constexpr int LARGEST = 1023, SMALLEST = -1022;
    if (e < SMALLEST || e > LARGEST) {
        return std::ldexp(v, e);
    }
    const std::uint64_t bits = static_cast<std::uint64_t>(e + LARGEST) << 52;
    double power;
    std::memcpy(&power, &bits, sizeof power);
    return v * power;
}

// Smallest e with peak <= limit * 2^e; 0 for a peak of 0 (numerics.fixedpoint.exponent_for).
inline int exponent_for(double peak, double limit) {
    if (!(peak > 0)) {
        return 0;
    }
    int exponent;
    const double mantissa = std::frexp(peak / limit, &exponent);
    return mantissa == 0.5 ? exponent - 1 : exponent;
}

// e^x by range reduction and a Taylor polynomial of degree 13.
inline double exponential(double x) {
    constexpr double LN2_HIGH = 0.693147180369123816490, LN2_LOW = 1.90821492927058770002e-10;
    constexpr double INVERSE_LN2 = 1.4426950408889634;
    constexpr int DEGREE = 13;
    x = std::min(std::max(x, -700.0), 700.0);
    const double k = std::floor(x * INVERSE_LN2 + 0.5);
    const double r = (x - k * LN2_HIGH) - k * LN2_LOW;
    double factorial[DEGREE + 1] = {1.0};
    for (int order = 1; order <= DEGREE; ++order) {
        factorial[order] = factorial[order - 1] * order;
    }
    double value = 1.0 / factorial[DEGREE];
    for (int order = DEGREE - 1; order >= 0; --order) {
        value = value * r + 1.0 / factorial[order];
    }
    return scaled(value, static_cast<int>(k));
}

inline double sigmoid(double x) {
    const double small = exponential(-std::fabs(x));
    return (x >= 0 ? 1.0 : small) / (1.0 + small);
}

inline double hyperbolic_tangent(double x) {
    const double small = exponential(-2.0 * std::fabs(x));
    return (x >= 0 ? 1.0 : -1.0) * (1.0 - small) / (1.0 + small);
}

}  // namespace e2p
