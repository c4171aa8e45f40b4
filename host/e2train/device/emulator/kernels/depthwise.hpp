// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution: lanes are channels, and every row is summed in 32 bits before it is
// finished. At most 49 products of 2^22 meet in an accumulator.
#pragma once

#include <algorithm>
#include <vector>

#include "finish.hpp"
#include "geometry.hpp"
#include "lanes.hpp"
#include "rounding.hpp"
#include "threads.hpp"

namespace e2 {

// sums[c] += values[c] * weights[c]
template <class Value>
inline void multiply_add(int32_t* sums, const Value* values, const int32_t* weights, int channels) {
    for (int c = 0; c < channels; ++c) sums[c] += values[c] * weights[c];
}

// Weights [C][R][S] as rows of channels [R][S][C].
inline std::vector<int32_t> by_tap(const Geometry& g, const int8_t* w) {
    const int taps = g.kernel_h * g.kernel_w;
    std::vector<int32_t> rows((size_t)taps * g.channels);
    for (int c = 0; c < g.channels; ++c)
        for (int t = 0; t < taps; ++t) rows[(size_t)t * g.channels + c] = w[(size_t)c * taps + t];
    return rows;
}

// The output columns q of kernel column s whose input column q * stride + s - padding exists.
struct ColumnRange {
    int begin, end;
};

inline ColumnRange columns_of(int s, const Geometry& g) {
    const int first = g.padding - s, last = g.width - 1 + g.padding - s;
    const int begin = first > 0 ? ceil_div(first, g.stride) : 0;
    const int end = last < 0 ? 0 : std::min(g.out_width, last / g.stride + 1);
    return {begin, std::max(begin, end)};
}

// Calls finish on a row of sums [columns][channels] that starts at tensor offset `at`.
template <class Finish>
void finish_row(Finish& finish, const int32_t* sums, int columns, int channels, ptrdiff_t at) {
    finish(Stretch{sums, columns, channels, 0, channels, at, channels});
}

template <class Finish>
void depthwise_forward(const Geometry& g, const int8_t* x, const int8_t* w, Finish& finish,
                       int threads) {
    const std::vector<int32_t> weights = by_tap(g, w);
    const int channels = g.channels;
    Pieces rows((int64_t)g.samples * g.out_height);
    std::mutex joining;
    share(rows, threads, [&] {
        const size_t size = (size_t)g.out_width * channels;
        Buffer<int32_t> sums(size);
        Finish mine = finish.fresh();
        for (int64_t row; rows.take(row);) {
            const int64_t n = row / g.out_height, p = row % g.out_height;
            std::fill(sums.get(), sums.get() + size, 0);
            for (int r = 0; r < g.kernel_h; ++r) {
                const int h = p * g.stride + r - g.padding;
                if (h < 0 || h >= g.height) continue;
                const int8_t* from = x + ((ptrdiff_t)n * g.height + h) * g.width * channels;
                for (int s = 0; s < g.kernel_w; ++s) {
                    const ColumnRange range = columns_of(s, g);
                    const int32_t* tap =
                        weights.data() + (ptrdiff_t)(r * g.kernel_w + s) * channels;
                    for (int q = range.begin; q < range.end; ++q)
                        multiply_add(sums.get() + (ptrdiff_t)q * channels,
                                     from + (ptrdiff_t)(q * g.stride + s - g.padding) * channels,
                                     tap, channels);
                }
            }
            finish_row(mine, sums.get(), g.out_width, channels, (ptrdiff_t)row * size);
        }
        const std::lock_guard<std::mutex> lock(joining);
        finish.join(mine);
    });
}

template <class Finish>
void depthwise_input_gradient(const Geometry& g, const int16_t* gradient, int g_bits,
                              const int8_t* w, Finish& finish, int threads) {
    const std::vector<int32_t> weights = by_tap(g, w);
    const int channels = g.channels;
    const size_t from_size = (size_t)g.out_width * channels;
    Pieces rows((int64_t)g.samples * g.height);
    std::mutex joining;
    share(rows, threads, [&] {
        const size_t size = (size_t)g.width * channels;
        Buffer<int32_t> sums(size);
        Buffer<int16_t> narrowed(from_size);
        Finish mine = finish.fresh();
        for (int64_t row; rows.take(row);) {
            const int64_t n = row / g.height, h = row % g.height;
            std::fill(sums.get(), sums.get() + size, 0);
            for (int r = 0; r < g.kernel_h; ++r) {
                const int meets = h + g.padding - r, p = meets / g.stride;
                if (meets < 0 || meets % g.stride || p >= g.out_height) continue;
                const int16_t* from = gradient + ((ptrdiff_t)n * g.out_height + p) * from_size;
                if (g_bits < 16) {
                    for (size_t i = 0; i < from_size; ++i)
                        narrowed[i] = most_significant(from[i], g_bits);
                    from = narrowed.get();
                }
                for (int s = 0; s < g.kernel_w; ++s) {
                    const ColumnRange range = columns_of(s, g);
                    const int32_t* tap =
                        weights.data() + (ptrdiff_t)(r * g.kernel_w + s) * channels;
                    for (int q = range.begin; q < range.end; ++q)
                        multiply_add(
                            sums.get() + (ptrdiff_t)(q * g.stride + s - g.padding) * channels,
                            from + (ptrdiff_t)q * channels, tap, channels);
                }
            }
            finish_row(mine, sums.get(), g.width, channels, (ptrdiff_t)row * size);
        }
        const std::lock_guard<std::mutex> lock(joining);
        finish.join(mine);
    });
}

// Weight gradient: out[tap][C] += sum of x * g, int64; x and g rows as int16. Up to 510 products of
// 2^22 meet in 32 bits before they are carried over.
inline void depthwise_weight_row(const Geometry& g, int r, const int16_t* x,
                                 const int16_t* gradient, int32_t* sums, int64_t* out) {
    constexpr int AT_ONCE = 510;
    const int channels = g.channels;
    for (int s = 0; s < g.kernel_w; ++s) {
        const ColumnRange range = columns_of(s, g);
        int64_t* total = out + (ptrdiff_t)(r * g.kernel_w + s) * channels;
        for (int begin = range.begin; begin < range.end; begin += AT_ONCE) {
            std::fill(sums, sums + channels, 0);
            for (int q = begin; q < std::min(range.end, begin + AT_ONCE); ++q) {
                const int16_t* xs = x + (ptrdiff_t)(q * g.stride + s - g.padding) * channels;
                const int16_t* gs = gradient + (ptrdiff_t)q * channels;
                for (int c = 0; c < channels; ++c) sums[c] += xs[c] * gs[c];
            }
            for (int c = 0; c < channels; ++c) total[c] += sums[c];
        }
    }
}

}  // namespace e2
