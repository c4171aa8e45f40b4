// SPDX-License-Identifier: Apache-2.0
// Weight gradient at stride 1 on the processor's matrix tiles (AMX), sixteen channels by sixteen
// filters by 64 positions a product.
//
// Every channel of x is one long row of bytes: padded pictures, row after row and sample after
// sample. g has the same positions, zero where there is no output, so that a kernel tap is an
// offset into x and the sum runs over one range of positions. g is cut into its high byte (signed)
// and its low byte (unsigned), each with 32-bit sums of its own.
#pragma once

#include "tiles.hpp"
#ifdef E2_HAVE_TILES

#include <algorithm>
#include <cstring>

#include "geometry.hpp"
#include "lanes.hpp"
#include "rounding.hpp"

namespace e2 {

constexpr int TILE_POSITIONS = 64;
constexpr int POSITIONS_AT_ONCE = 4096;     // packed operands stay in the L2 cache
constexpr int POSITIONS_AT_MOST = 1 << 16;  // 128 * 255 * 2^16 < 2^31

// Where positions lie in the packed operands of a group of samples.
struct TileLayout {
    int pitch, sample;           // positions of a padded row, of a padded sample
    int group;                   // samples at once
    int lanes;                   // filters, padded
    ptrdiff_t positions, plane;  // of the group; bytes of a channel of x

    explicit TileLayout(const Geometry& g) {
        const auto up = [](ptrdiff_t value, int step) { return (value + step - 1) / step * step; };
        pitch = (int)up(g.width + 2 * g.padding, 4);
        sample = pitch * (g.height + 2 * g.padding);
        group = std::max(1, std::min(g.samples, POSITIONS_AT_ONCE / sample));
        lanes = (int)up(g.filters, LANES);
        positions = up((ptrdiff_t)group * sample, TILE_POSITIONS);
        // an odd number of cache lines: the rows of a tile must not share the same few sets
        const ptrdiff_t read = positions + (g.kernel_h - 1) * (ptrdiff_t)pitch + g.kernel_w + 64;
        plane = (read / 64 | 1) * 64 + 128;
    }
    static bool fits(const Geometry& g) {
        return g.stride == 1 &&
               (int64_t)(g.width + 2 * g.padding + 3) * (g.height + 2 * g.padding) +
                       TILE_POSITIONS <=
                   POSITIONS_AT_MOST;
    }
};

// One pair of packed operands: x int8 [C, padded][plane], g words [filters / 16][2][positions / 4]
// [16] with low bytes and high bytes of four positions.
struct TileOperands {
    Buffer<int8_t> x;
    Buffer<int32_t> g;
    TileOperands(const TileLayout& at, int channels)
        : x((size_t)(ceil_div(channels, LANES) * LANES * at.plane), 0),
          g((size_t)(at.positions / 2 * at.lanes), 0) {}
};

inline Vec tile_slice(Vec v, const Slice& slice) {
    return min(max((v + ((1 << slice.shift) >> 1)) >> slice.shift, splat(-slice.top)),
               splat(slice.top));
}

// The lowest bytes of four vectors, as words.
inline Vec bytes_of(const Vec* v) {
    return (v[0] & 0xff) | ((v[1] & 0xff) << 8) | ((v[2] & 0xff) << 16) | (v[3] << 24);
}

// x int8 [samples,H,W,C], whole and (where `slice` is given) sliced.
inline void pack_tile_x(const Geometry& g, const TileLayout& layout, const int8_t* x, int samples,
                        TileOperands& whole, const Slice* slice, TileOperands* sliced) {
    const auto put = [&](const Vec* v, int c, ptrdiff_t at, int count, int8_t* to) {
        int32_t words[LANES];
        store(words, bytes_of(v));
        for (int i = 0; i < count; ++i)
            std::memcpy(to + (c + i) * layout.plane + at, &words[i], sizeof(int32_t));
    };
    for (int row = 0; row < samples * g.height; ++row) {
        const int8_t* from = x + (ptrdiff_t)row * g.width * g.channels;
        const ptrdiff_t start = (ptrdiff_t)(row / g.height) * layout.sample +
                                (row % g.height + g.padding) * layout.pitch + g.padding;
        // what four positions write beyond a row is zero, and the next row comes afterwards
        for (int q = 0; q < g.width; q += 4)
            for (int c = 0; c < g.channels; c += LANES) {
                const int count = std::min(LANES, g.channels - c);
                Vec v[4];
                for (int i = 0; i < 4; ++i)
                    v[i] = q + i < g.width ? load(from + (q + i) * g.channels + c, count) : Vec{};
                put(v, c, start + q, count, whole.x.get());
                if (!slice) continue;
                for (Vec& value : v) value = tile_slice(value, *slice);
                put(v, c, start + q, count, sliced->x.get());
            }
    }
}

// g int16 [samples,P,Q,K], whole and (where `slice` is given) sliced.
inline void pack_tile_g(const Geometry& g, const TileLayout& layout, const int16_t* gradient,
                        int samples, TileOperands& whole, const Slice* slice,
                        TileOperands* sliced) {
    const ptrdiff_t words = layout.positions / 4 * LANES;  // of a block's low or high bytes
    const auto put = [&](Vec* v, ptrdiff_t at, int32_t* to) {
        store(to + at, bytes_of(v));
        for (int i = 0; i < 4; ++i) v[i] >>= 8;
        store(to + at + words, bytes_of(v));
    };
    for (int row = 0; row < samples * g.out_height; ++row) {
        const int16_t* from = gradient + (ptrdiff_t)row * g.out_width * g.filters;
        const ptrdiff_t start = (ptrdiff_t)(row / g.out_height) * layout.sample +
                                (ptrdiff_t)(row % g.out_height) * layout.pitch;
        for (int q = 0; q < g.out_width; q += 4)
            for (int k = 0; k < g.filters; k += LANES) {
                const int count = std::min(LANES, g.filters - k);
                const ptrdiff_t at = k / LANES * 2 * words + (start + q) / 4 * LANES;
                Vec v[4], parts[4];
                for (int i = 0; i < 4; ++i)
                    parts[i] = v[i] =
                        q + i < g.out_width ? load(from + (q + i) * g.filters + k, count) : Vec{};
                put(parts, at, whole.g.get());
                if (!slice) continue;
                for (Vec& value : v) value = tile_slice(value, *slice);
                put(v, at, sliced->g.get());
            }
    }
    // a group with fewer samples than the one before ends inside a product
    const ptrdiff_t used = (ptrdiff_t)samples * layout.sample / 4;
    const ptrdiff_t end = std::min(layout.positions / 4, used + TILE_POSITIONS / 4);
    for (int block = 0; block < layout.lanes / LANES * 2; ++block)
        for (TileOperands* operands : {&whole, sliced})
            if (operands)
                std::fill(operands->g.get() + block * words + used * LANES,
                          operands->g.get() + block * words + end * LANES, 0);
}

// Adds 256 * high + low, of 16 channels by 16 filters, to out [C][lanes].
inline void add_tile(const int32_t* low, const int32_t* high, int channels, int lanes,
                     int64_t* out) {
    for (int c = 0; c < channels; ++c)
        for (int k = 0; k < LANES; ++k)
            out[(ptrdiff_t)c * lanes + k] +=
                (int64_t)high[c * LANES + k] * 256 + low[c * LANES + k];
}

// Sums of two taps, or of one twice: x points at the first positions of 16 channels.
inline void tap_pair(const int8_t* first, const int8_t* second, ptrdiff_t plane, const int32_t* g,
                     ptrdiff_t words, int steps, int32_t sums[4][LANES * LANES]) {
    tile_fence();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int i = 0; i < steps; ++i, g += 16 * LANES) {
        _tile_loadd(6, g, 64);
        _tile_loadd(7, g + words, 64);
        _tile_loadd(4, first + (ptrdiff_t)i * TILE_POSITIONS, plane);
        _tile_dpbsud(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        _tile_loadd(5, second + (ptrdiff_t)i * TILE_POSITIONS, plane);
        _tile_dpbsud(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[1], 64);
    _tile_stored(2, sums[2], 64);
    _tile_stored(3, sums[3], 64);
    tile_fence();
}

// Adds the sums of a group of samples to out int64 [R][S][C][filters, padded].
inline void tile_sums(const Geometry& g, const TileLayout& layout, const TileOperands& operands,
                      int samples, int64_t* out) {
    const int taps = g.kernel_h * g.kernel_w;
    const int steps = ceil_div(samples * layout.sample, TILE_POSITIONS);
    const ptrdiff_t words = layout.positions / 4 * LANES;
    alignas(64) int32_t sums[4][LANES * LANES];
    const auto offset = [&](int tap) {
        return (ptrdiff_t)(tap / g.kernel_w) * layout.pitch + tap % g.kernel_w;
    };
    for (int c = 0; c < g.channels; c += LANES)
        for (int k = 0; k < layout.lanes; k += LANES)
            for (int tap = 0; tap < taps; tap += 2) {
                const int8_t* x = operands.x.get() + c * layout.plane;
                const int second = std::min(tap + 1, taps - 1);
                tap_pair(x + offset(tap), x + offset(second), layout.plane,
                         operands.g.get() + k / LANES * 2 * words, words, steps, sums);
                for (int i = 0; i <= second - tap; ++i)
                    add_tile(sums[2 * i], sums[2 * i + 1], std::min(LANES, g.channels - c),
                             layout.lanes,
                             out + ((ptrdiff_t)(tap + i) * g.channels + c) * layout.lanes + k);
            }
}

}  // namespace e2
#endif
