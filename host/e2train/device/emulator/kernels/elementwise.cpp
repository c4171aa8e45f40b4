// SPDX-License-Identifier: Apache-2.0
// Per-element operations of the training step, each in one pass over its tensors [N,H,W,C].
//
// Channels vary fastest. Per-channel factors are repeated to a period of at least PERIOD elements,
// so that the inner loops are long, whatever the number of channels, and compile to plain vector
// code. Work is cut into spans of whole periods; sums are integers, so threads change nothing.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "lanes.hpp"
#include "rounding.hpp"
#include "threads.hpp"
#include "tiles.hpp"

namespace e2 {
namespace {

constexpr int PERIOD = 512;
constexpr int SPAN = 1 << 16;  // elements that a thread takes at a time

// `channels` values repeated up to the period.
std::vector<int32_t> repeated(const int32_t* values, int channels, int period) {
    std::vector<int32_t> out(period);
    for (int i = 0; i < period; ++i) out[i] = values[i % channels];
    return out;
}

int period_of(int channels) {
    return ceil_div(PERIOD, channels) * channels;
}

// Runs body(start, count) on stretches of at most `period` elements and returns the largest result.
template <class Body>
int32_t for_periods(int64_t count, int period, int threads, const Body& body) {
    const int64_t span = (int64_t)period * std::max(1, SPAN / period);
    Pieces spans((count + span - 1) / span);
    std::mutex joining;
    int32_t top = 0;
    share(spans, threads, [&] {
        int32_t mine = 0;
        for (int64_t piece; spans.take(piece);) {
            const int64_t end = std::min(count, (piece + 1) * span);
            for (int64_t at = piece * span; at < end; at += period)
                mine = std::max(mine, body(at, (int)std::min<int64_t>(period, end - at)));
        }
        const std::lock_guard<std::mutex> lock(joining);
        top = std::max(top, mine);
    });
    return top;
}

// Runs body(sample) for every sample.
template <class Body>
void for_samples(int samples, int threads, const Body& body) {
    Pieces pieces(samples);
    share(pieces, threads, [&] {
        for (int64_t n; pieces.take(n);) body(n);
    });
}

struct Affine {
    const int32_t *multiplier, *offset;
    int shift;
    int32_t low, high;  // activation
    int bits;
};

// Pointers are restricted and scalars copied: int8 stores may alias anything, which would keep the
// loops from being compiled to vector code.
template <bool RESIDUAL, class Out>
int32_t normalise_stretch(const Affine& affine, const int16_t* __restrict y,
                          const int16_t* __restrict residual, int count, Out* __restrict out) {
    const int32_t* __restrict multiplier = affine.multiplier, * __restrict offset = affine.offset;
    const int32_t shift = affine.shift, half = 1 << (shift - 1), low = affine.low,
                  high = affine.high;
    const int32_t top = (1 << (affine.bits - 1)) - 1, bottom = -top - 1;
    int32_t peak = 0;
    for (int i = 0; i < count; ++i) {
        int32_t v = (y[i] * multiplier[i] + offset[i] + half) >> shift;
        if (RESIDUAL) v += residual[i];
        v = std::min(std::max(v, low), high);
        peak = std::max(peak, std::abs(v));
        out[i] = (Out)std::min(std::max(v, bottom), top);
    }
    return peak;
}

template <class Out>
int32_t normalise(Affine affine, const int16_t* y, int64_t count, int channels,
                  const int16_t* residual, Out* out, int threads) {
    const int period = period_of(channels);
    const auto multiplier = repeated(affine.multiplier, channels, period);
    const auto offset = repeated(affine.offset, channels, period);
    affine.multiplier = multiplier.data();
    affine.offset = offset.data();
    return for_periods(count, period, threads, [&](int64_t at, int n) {
        return residual ? normalise_stretch<true>(affine, y + at, residual + at, n, out + at)
                        : normalise_stretch<false>(affine, y + at, residual, n, out + at);
    });
}

template <class Output>
void mask(const int16_t* g, const Output* output, int ceiling, int64_t count, int16_t* out,
          int threads) {
    const int16_t top = (int16_t)std::min(ceiling - 1, 32767);  // the largest output that is kept
    for_periods(count, PERIOD, threads, [=](int64_t at, int n) {
        const int16_t* __restrict gs = g + at;
        const Output* __restrict os = output + at;
        int16_t* __restrict to = out + at;
        for (int i = 0; i < n; ++i) {
            const int16_t o = os[i];
            to[i] = (int16_t)(gs[i] & -(int16_t)((o > 0) & (o <= top)));
        }
        return 0;
    });
}

// Adds the sums of g and g * y over the periods [begin, end) to total, products [period]. A span
// holds at most SPAN 16-bit values a channel position, which 32 bits can sum.
void sum_periods(const int16_t* g, const int16_t* y, int64_t begin, int64_t end, int64_t count,
                 int period, int64_t* total, int64_t* products) {
    std::vector<int32_t> sums(period, 0);
    int32_t* __restrict to = sums.data();
    int64_t* __restrict dots = products;
    for (int64_t i = begin; i < end; ++i) {
        const int n = (int)std::min<int64_t>(period, count - i * period);
        const int16_t* __restrict gs = g + i * period, * __restrict ys = y + i * period;
        for (int j = 0; j < n; ++j) {
            to[j] += gs[j];
            dots[j] += gs[j] * ys[j];
        }
    }
    for (int j = 0; j < period; ++j) total[j] += sums[j];
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

// saturate8(round(v >> shift)), shift 0 to 15.
void e2_narrow(const int16_t* stream, int64_t count, int shift, int8_t* out, int threads) {
    for_periods(count, PERIOD, threads, [=](int64_t at, int n) {
        const int16_t* __restrict from = stream + at;
        int8_t* __restrict to = out + at;
        const int32_t half = (1 << shift) >> 1;
        for (int i = 0; i < n; ++i)
            to[i] = (int8_t)std::min(std::max((from[i] + half) >> shift, -128), 127);
        return 0;
    });
}

// min(max(round((y * multiplier[c] + offset[c]) >> shift) + residual, low), high), saturated to
// `bits` (8: int8 out, else int16); returns the largest magnitude before saturation.
int64_t e2_normalise(const int16_t* y, int64_t count, int channels, const int32_t* multiplier,
                     const int32_t* offset, int shift, const int16_t* residual, int32_t low,
                     int32_t high, int bits, void* out, int threads) {
    const Affine affine{multiplier, offset, shift, low, high, bits};
    return bits == 8 ? normalise(affine, y, count, channels, residual, (int8_t*)out, threads)
                     : normalise(affine, y, count, channels, residual, (int16_t*)out, threads);
}

// g where 0 < output < ceiling, else 0; output of 8 or 16 bits.
void e2_mask(const int16_t* g, const void* output, int output_bits, int ceiling, int64_t count,
             int16_t* out, int threads) {
    if (output_bits == 8)
        mask(g, (const int8_t*)output, ceiling, count, out, threads);
    else
        mask(g, (const int16_t*)output, ceiling, count, out, threads);
}

// Sums of g and of g * y a channel, int64 [C].
void e2_gradient_sums(const int16_t* g, const int16_t* y, int64_t count, int channels,
                      int64_t* total, int64_t* products, int threads) {
    const int period = period_of(channels);
    const int64_t periods = (count + period - 1) / period, span = std::max(1, SPAN / period);
    std::fill(total, total + channels, 0);
    std::fill(products, products + channels, 0);
    Pieces spans((periods + span - 1) / span);
    std::mutex adding;
    share(spans, threads, [&] {
        std::vector<int64_t> sums(period), dots(period);
        for (int64_t piece; spans.take(piece);)
            sum_periods(g, y, piece * span, std::min(periods, (piece + 1) * span), count, period,
                        sums.data(), dots.data());
        const std::lock_guard<std::mutex> lock(adding);
        for (int j = 0; j < period; ++j) {
            total[j % channels] += sums[j];
            products[j % channels] += dots[j];
        }
    });
}

// saturate16(round((a[c] * g + b[c] * y + c[c]) >> shift)); returns the largest magnitude before.
int64_t e2_normalise_backward(const int16_t* g, const int16_t* y, int64_t count, int channels,
                              const int32_t* a, const int32_t* b, const int32_t* c, int shift,
                              int16_t* out, int threads) {
    const int period = period_of(channels);
    const auto as = repeated(a, channels, period), bs = repeated(b, channels, period),
               cs = repeated(c, channels, period);
    const int32_t half = 1 << (shift - 1);
    return for_periods(count, period, threads, [&](int64_t at, int n) {
        const int32_t* __restrict ap = as.data(), * __restrict bp = bs.data(), * __restrict cp = cs.data();
        const int16_t* __restrict gs = g + at, * __restrict ys = y + at;
        int16_t* __restrict to = out + at;
        int32_t peak = 0;
        for (int i = 0; i < n; ++i) {
            const int32_t v = (ap[i] * gs[i] + bp[i] * ys[i] + (cp[i] + half)) >> shift;
            peak = std::max(peak, std::abs(v));
            to[i] = (int16_t)std::min(std::max(v, -32768), 32767);
        }
        return peak;
    });
}

// saturate16(a + b).
void e2_add(const int16_t* a, const int16_t* b, int64_t count, int16_t* out, int threads) {
    for_periods(count, PERIOD, threads, [=](int64_t at, int n) {
        const int16_t* __restrict as = a + at, * __restrict bs = b + at;
        int16_t* __restrict to = out + at;
        for (int i = 0; i < n; ++i) to[i] = (int16_t)saturated(as[i] + bs[i], 16);
        return 0;
    });
}

// Sums of g * (after - before) a sample, int64 [N].
void e2_gate_products(const int16_t* g, const int16_t* after, const int16_t* before, int samples,
                      int64_t size, int64_t* out, int threads) {
    for_samples(samples, threads, [=](int64_t n) {
        int64_t sum = 0;
        for (int64_t i = n * size; i < (n + 1) * size; ++i)
            sum += (int64_t)g[i] * (after[i] - before[i]);
        out[n] = sum;
    });
}

// Sums over rows 0, row_step, ... and columns 0, column_step, ...: int64 [N][C].
void e2_pool(const int16_t* stream, int samples, int height, int width, int channels, int row_step,
             int column_step, int64_t* out, int threads) {
    for_samples(samples, threads, [=](int64_t n) {
        int64_t* sums = out + n * channels;
        std::fill(sums, sums + channels, 0);
        for (int h = 0; h < height; h += row_step)
            for (int w = 0; w < width; w += column_step) {
                const int16_t* from = stream + ((n * height + h) * width + w) * channels;
                for (int c = 0; c < channels; ++c) sums[c] += from[c];
            }
    });
}

// The samples of `size` bytes at `chosen`, in that order.
void e2_take(const char* from, const int64_t* chosen, int count, int64_t size, char* out,
             int threads) {
    for_samples(count, threads,
                [=](int64_t n) { std::memcpy(out + n * size, from + chosen[n] * size, size); });
}

// Samples of `size` bytes: those at `chosen` (rising) from `part`, one after the other, the others
// from `base`.
void e2_merge(const char* base, const char* part, const int64_t* chosen, int count, int samples,
              int64_t size, char* out, int threads) {
    for_samples(samples, threads, [=](int64_t n) {
        const int64_t* at = std::lower_bound(chosen, chosen + count, n);
        const bool inside = at < chosen + count && *at == n;
        std::memcpy(out + n * size, inside ? part + (at - chosen) * size : base + n * size, size);
    });
}

// Every stride-th row and column, with `before` zero channels in front: out [N,P,Q,wide].
void e2_shortcut_pad(const int16_t* stream, int samples, int height, int width, int channels,
                     int stride, int before, int wide, int16_t* out) {
    const int rows = ceil_div(height, stride), columns = ceil_div(width, stride);
    std::fill(out, out + (int64_t)samples * rows * columns * wide, (int16_t)0);
    for (int64_t i = 0; i < (int64_t)samples * rows; ++i) {
        const int64_t n = i / rows, h = i % rows * stride;
        for (int64_t q = 0; q < columns; ++q)
            std::copy_n(stream + ((n * height + h) * width + q * stride) * channels, channels,
                        out + (i * columns + q) * wide + before);
    }
}

// The gradient of e2_shortcut_pad: out [N,H,W,C] from g [N,P,Q,wide].
void e2_shortcut_pad_backward(const int16_t* g, int samples, int height, int width, int channels,
                              int stride, int before, int wide, int16_t* out) {
    const int rows = ceil_div(height, stride), columns = ceil_div(width, stride);
    std::fill(out, out + (int64_t)samples * height * width * channels, (int16_t)0);
    for (int64_t i = 0; i < (int64_t)samples * rows; ++i) {
        const int64_t n = i / rows, h = i % rows * stride;
        for (int64_t q = 0; q < columns; ++q)
            std::copy_n(g + (i * columns + q) * wide + before, channels,
                        out + ((n * height + h) * width + q * stride) * channels);
    }
}

// How convolutions multiply: 1 for bytes on matrix tiles, 2 for bytes in a single exact
// instruction, 3 for pairs of 16 bits; and the lanes of a vector.
int e2_describe(int* lanes) {
    *lanes = LANES;
    return tiles_allowed() ? 1 : HAVE_BYTE_DOT ? 2 : 3;
}

}  // extern "C"
#pragma GCC visibility pop
}  // namespace e2
