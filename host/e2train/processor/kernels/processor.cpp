// SPDX-License-Identifier: Apache-2.0
// What the processor computes between the device's operations, to the last bit as NumPy does it:
// every product, sum and quotient is rounded once, in NumPy's order (-ffp-contract=off).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "exact.hpp"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace {

using e2p::exponent_for;
using e2p::scaled;

constexpr double EPSILON = 1e-5;  // numerics.normalisation
constexpr int MAX_SHIFT = 30;
constexpr int FORWARD_BITS = 15;
constexpr int BACKWARD_BITS = 14;
constexpr int OFFSET_BITS = 30;
constexpr double WEIGHT_LIMIT = 127.0;

// The largest of |v| for one multiplier's bits; the shift that all groups of values allow.
int shift_within(int shift, const double* values, int count, int bits) {
    double peak = 0.0;
    for (int k = 0; k < count; ++k) {
        peak = std::max(peak, std::fabs(values[k]));
    }
    while (shift > 1 && scaled(peak, shift) > static_cast<double>((1LL << bits) - 2)) {
        --shift;
    }
    return shift;
}

void integers(const double* values, int count, int shift, int bits, std::int32_t* out) {
    const double top = static_cast<double>((1LL << bits) - 1);
    for (int k = 0; k < count; ++k) {
        const double clipped = std::min(std::max(scaled(values[k], shift), -top), top);
        out[k] = static_cast<std::int32_t>(std::floor(clipped + 0.5));
    }
}

double inverse_deviation(double variance) {
    return 1.0 / std::sqrt(variance + EPSILON);
}

}  // namespace

// Master weights -> int8 mantissas; returns the exponent.
EXPORTED int e2p_quantise(const float* weights, std::int64_t count, std::int8_t* out) {
    std::uint32_t magnitude = 0;  // floats without their sign are ordered as their bits are
    for (std::int64_t i = 0; i < count; ++i) {
        std::uint32_t bits;
        std::memcpy(&bits, weights + i, sizeof bits);
        magnitude = std::max(magnitude, bits & 0x7fffffffu);
    }
    float peak;
    std::memcpy(&peak, &magnitude, sizeof peak);
    const int exponent = exponent_for(peak, WEIGHT_LIMIT);
    if (exponent < -100 || exponent > 100) {  // near where float32 has no such power of two
        for (std::int64_t i = 0; i < count; ++i) {
            const double rounded = std::floor(std::ldexp(double(weights[i]), -exponent) + 0.5);
            out[i] =
                static_cast<std::int8_t>(std::min(std::max(rounded, -WEIGHT_LIMIT), WEIGHT_LIMIT));
        }
        return exponent;
    }
    // All exact in float32: a product with a power of two, the next integer below, what is above
    // it.
    const float power = static_cast<float>(std::ldexp(1.0, -exponent));
    for (std::int64_t i = 0; i < count; ++i) {
        const float value = weights[i] * power;
        const float below = std::floor(value);
        const float rounded = below + (value - below >= 0.5f ? 1.0f : 0.0f);
        out[i] = static_cast<std::int8_t>(
            static_cast<std::int32_t>(std::min(std::max(rounded, -127.0f), 127.0f)));
    }
    return exponent;
}

// uint8 pictures [samples, channels, plane] minus the integer mean of each channel, saturated.
EXPORTED void e2p_centre(const std::uint8_t* pictures, std::int64_t samples, int channels,
                         std::int64_t plane, const std::int16_t* mean, std::int8_t* out) {
    for (std::int64_t n = 0; n < samples; ++n) {
        for (int c = 0; c < channels; ++c) {
            const std::int64_t begin = (n * channels + c) * plane;
            for (std::int64_t i = 0; i < plane; ++i) {
                const int centred = int(pictures[begin + i]) - mean[c];
                out[begin + i] = static_cast<std::int8_t>(std::min(std::max(centred, -128), 127));
            }
        }
    }
}

namespace {

template <typename Gradient>
void step(float* value, float* velocity, const Gradient* gradient, std::int64_t count, float decay,
          float momentum, float rate) {
    for (std::int64_t i = 0; i < count; ++i) {
        float v = velocity[i] * momentum;
        v += static_cast<float>(gradient[i]);
        v += decay * value[i];
        velocity[i] = v;
        value[i] -= rate * v;
    }
}

}  // namespace

// One step of SGD with momentum and decay (methods.sgd), float32 throughout. A tensor a row of
// `table`: addresses of value, velocity and gradient, how many elements, and the gradient's bytes
// an element (4: float32; 1: signs, int8).
EXPORTED void e2p_steps(const std::int64_t* table, int tensors, const float* decays,
                        const float* rates, float momentum) {
    for (int t = 0; t < tensors; ++t, table += 5) {
        float* value = reinterpret_cast<float*>(table[0]);
        float* velocity = reinterpret_cast<float*>(table[1]);
        if (table[4] == 1) {
            step(value, velocity, reinterpret_cast<const std::int8_t*>(table[2]), table[3],
                 decays[t], momentum, rates[t]);
        } else {
            step(value, velocity, reinterpret_cast<const float*>(table[2]), table[3], decays[t],
                 momentum, rates[t]);
        }
    }
}

// uint8 pictures [samples, channels, height, width], each cut out of a border of `shift` pixels of
// the colour `border` [channels] from (down, right) on, then mirrored where asked.
EXPORTED void e2p_move(const std::uint8_t* pictures, std::int64_t samples, int channels, int height,
                       int width, const std::int64_t* down, const std::int64_t* right,
                       const std::uint8_t* mirrored, int shift, const std::uint8_t* border,
                       std::uint8_t* out) {
    const std::int64_t plane = std::int64_t(height) * width;
    for (std::int64_t n = 0; n < samples; ++n) {
        const int dy = int(down[n]) - shift, dx = int(right[n]) - shift;
        const int first = std::max(0, -dx), last = std::min(width, width - dx);
        for (int c = 0; c < channels; ++c) {
            const std::uint8_t* from = pictures + (n * channels + c) * plane;
            std::uint8_t* to = out + (n * channels + c) * plane;
            std::memset(to, border[c], static_cast<std::size_t>(plane));
            for (int y = std::max(0, -dy); y < std::min(height, height - dy); ++y) {
                const std::uint8_t* row = from + (y + dy) * width + dx;
                std::copy(row + first, row + std::max(first, last), to + y * width + first);
            }
            for (int y = 0; mirrored[n] && y < height; ++y) {
                std::reverse(to + y * width, to + (y + 1) * width);
            }
        }
    }
}

// Mean and biased variance [channels] from the exact sums of y and y^2, y * 2^exponent.
EXPORTED void e2p_moments(const std::int64_t* total, const std::int64_t* squares, int channels,
                          std::int64_t count, int exponent, double* mean, double* variance) {
    const double n = static_cast<double>(count);
    for (int k = 0; k < channels; ++k) {
        const double m = static_cast<double>(total[k]) / n;
        const double v = std::max(static_cast<double>(squares[k]) / n - m * m, 0.0);
        mean[k] = scaled(m, exponent);
        variance[k] = scaled(v, 2 * exponent);
    }
}

// Running statistics move by `share` towards a mini-batch's mean and unbiased variance.
EXPORTED void e2p_follow(float* running_mean, float* running_variance, const double* mean,
                         const double* variance, int channels, std::int64_t count, double share) {
    const double correction = static_cast<double>(count) / static_cast<double>(count - 1);
    for (int k = 0; k < channels; ++k) {
        running_mean[k] += static_cast<float>(share * (mean[k] - double(running_mean[k])));
        const double unbiased = variance[k] * correction;
        running_variance[k] += static_cast<float>(share * (unbiased - double(running_variance[k])));
    }
}

// Batch norm forward: multipliers and offsets [channels] of `Device.normalise`; returns the shift.
// `room`: 2 * channels doubles.
EXPORTED int e2p_forward(const float* gamma, const float* beta, float scale, const double* mean,
                         const double* variance, int channels, int y_exponent, int out_exponent,
                         double* room, std::int32_t* multiplier, std::int32_t* offset) {
    double* slopes = room;
    double* offsets = room + channels;
    for (int k = 0; k < channels; ++k) {
        const double slope = double(gamma[k] * scale) * inverse_deviation(variance[k]);
        slopes[k] = scaled(slope, y_exponent - out_exponent);
        offsets[k] = scaled(double(beta[k] * scale) - slope * mean[k], -out_exponent);
    }
    int shift = shift_within(MAX_SHIFT, slopes, channels, FORWARD_BITS);
    shift = shift_within(shift, offsets, channels, OFFSET_BITS - 1);
    integers(slopes, channels, shift, FORWARD_BITS, multiplier);
    integers(offsets, channels, shift, OFFSET_BITS - 1, offset);
    return shift;
}

// Batch norm backward, first half: from the exact sums of g and g*y the gradients of beta and gamma
// (float32, a mean over `batch`) and the line dy = a*g + b*y + c, `line` [3, channels].
EXPORTED void e2p_backward_line(const std::int64_t* sum_g, const std::int64_t* sum_g_y,
                                const float* gamma, const double* mean, const double* variance,
                                int channels, std::int64_t count, int batch, int g_exponent,
                                int y_exponent, double* line, float* g_beta, float* g_gamma) {
    const double n = static_cast<double>(count), samples = static_cast<double>(batch);
    for (int k = 0; k < channels; ++k) {
        const double inverse = inverse_deviation(variance[k]);
        const double g = scaled(static_cast<double>(sum_g[k]), g_exponent);
        const double g_y = scaled(static_cast<double>(sum_g_y[k]), g_exponent + y_exponent);
        const double g_y_hat = (g_y - mean[k] * g) * inverse;
        const double slope = double(gamma[k]) * inverse;
        const double b = -(slope * inverse) * (g_y_hat / n);
        line[k] = slope;
        line[channels + k] = b;
        line[2 * channels + k] = -slope * (g / n) - b * mean[k];
        g_beta[k] = static_cast<float>(g / samples);
        g_gamma[k] = static_cast<float>(g_y_hat / samples);
    }
}

// Second half: integers a, b, c [channels] of `Device.normalise_backward`; returns the shift.
// `room`: 3 * channels doubles.
EXPORTED int e2p_backward(const double* line, int channels, int g_exponent, int y_exponent,
                          int out_exponent, double* room, std::int32_t* out) {
    const int exponents[3] = {g_exponent - out_exponent, y_exponent - out_exponent, -out_exponent};
    const int bits[3] = {BACKWARD_BITS, BACKWARD_BITS, OFFSET_BITS - 1};
    int shift = MAX_SHIFT;
    for (int part = 0; part < 3; ++part) {
        double* values = room + part * channels;
        for (int k = 0; k < channels; ++k) {
            values[k] = scaled(line[part * channels + k], exponents[part]);
        }
        shift = shift_within(shift, values, channels, bits[part]);
    }
    for (int part = 0; part < 3; ++part) {
        integers(room + part * channels, channels, shift, bits[part], out + part * channels);
    }
    return shift;
}

// A unit's forward pass in training: batch statistics, running ones (`share` of 0: left alone),
// coefficients. `stats`: mean and variance [2, channels]; `out`: multiplier and offset.
EXPORTED int e2p_train_forward(const std::int64_t* total, const std::int64_t* squares, int channels,
                               std::int64_t count, double share, float* running_mean,
                               float* running_variance, const float* gamma, const float* beta,
                               float scale, int y_exponent, int out_exponent, double* stats,
                               std::int32_t* out) {
    double* mean = stats;
    double* variance = stats + channels;
    double* room = stats + 2 * channels;
    e2p_moments(total, squares, channels, count, y_exponent, mean, variance);
    if (share != 0.0) {
        e2p_follow(running_mean, running_variance, mean, variance, channels, count, share);
    }
    return e2p_forward(gamma, beta, scale, mean, variance, channels, y_exponent, out_exponent, room,
                       out, out + channels);
}

// A unit's backward pass: both halves. `room`: 6 * channels doubles, the line comes first.
EXPORTED int e2p_train_backward(const std::int64_t* sum_g, const std::int64_t* sum_g_y,
                                const float* gamma, const double* mean, const double* variance,
                                int channels, std::int64_t count, int batch, int g_exponent,
                                int y_exponent, int out_exponent, double* room, float* gradients,
                                std::int32_t* out) {
    e2p_backward_line(sum_g, sum_g_y, gamma, mean, variance, channels, count, batch, g_exponent,
                      y_exponent, room, gradients, gradients + channels);
    return e2p_backward(room, channels, g_exponent, y_exponent, out_exponent, room + 3 * channels,
                        out);
}
