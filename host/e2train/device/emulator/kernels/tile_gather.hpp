// SPDX-License-Identifier: Apache-2.0
// A row of a gather on the processor's matrix tiles: up to 16 positions by 16 filters a product,
// over the words of adjacent kernel columns, which lie side by side in the packed input.
#pragma once

#include "tiles.hpp"
#ifdef E2_HAVE_TILES

#include <algorithm>

#include "lanes.hpp"

namespace e2 {

// How a phase's rows are cut: words a product, positions a tile and tiles a row.
struct TileCut {
    int words, positions, tiles;

    TileCut(int run, int columns) : words(std::min(run, 16)) {
        while (run % words) --words;
        tiles = ceil_div(columns, 16);
        positions = ceil_div(columns, tiles);
    }
};

// Adds the products of one or two tiles of positions with one or two vectors of filters to tiles 0
// to 3. SIGNED: the input's bytes. `step` and `second`: words from a position, from a tile, to the
// next.
template <bool SIGNED, int POSITION_TILES, int VECTORS>
void tile_products(const int32_t* const* rows, int row_count, ptrdiff_t at, ptrdiff_t step,
                   ptrdiff_t second, int run, int words, const int32_t* weights) {
    for (int r = 0; r < row_count; ++r)
        for (int c = 0; c < run; c += words, weights += words * VECTORS * LANES) {
            const int32_t* input = rows[r] + at + c;
            _tile_loadd(6, weights, VECTORS * LANES * 4);
            if (VECTORS == 2) _tile_loadd(7, weights + LANES, VECTORS * LANES * 4);
            _tile_loadd(4, input, step * 4);
            if (POSITION_TILES == 2) _tile_loadd(5, input + second, step * 4);
            if (SIGNED) {
                _tile_dpbssd(0, 4, 6);
                if (VECTORS == 2) _tile_dpbssd(1, 4, 7);
                if (POSITION_TILES == 2) _tile_dpbssd(2, 5, 6);
                if (POSITION_TILES == 2 && VECTORS == 2) _tile_dpbssd(3, 5, 7);
            } else {
                _tile_dpbusd(0, 4, 6);
                if (VECTORS == 2) _tile_dpbusd(1, 4, 7);
                if (POSITION_TILES == 2) _tile_dpbusd(2, 5, 6);
                if (POSITION_TILES == 2 && VECTORS == 2) _tile_dpbusd(3, 5, 7);
            }
        }
}

// Sums into tiles 0 to 3 from memory, rows `stride` bytes apart (0: one row for all), or back.
template <int POSITION_TILES, int VECTORS>
void load_sums(const int32_t* first, const int32_t* second, ptrdiff_t stride) {
    tile_fence();
    _tile_loadd(0, first, stride);
    if (VECTORS == 2) _tile_loadd(1, first + LANES, stride);
    if (POSITION_TILES == 2) _tile_loadd(2, second, stride);
    if (POSITION_TILES == 2 && VECTORS == 2) _tile_loadd(3, second + LANES, stride);
}

template <int POSITION_TILES, int VECTORS>
void store_sums(int32_t* first, int32_t* second, ptrdiff_t stride) {
    _tile_stored(0, first, stride);
    if (VECTORS == 2) _tile_stored(1, first + LANES, stride);
    if (POSITION_TILES == 2) _tile_stored(2, second, stride);
    if (POSITION_TILES == 2 && VECTORS == 2) _tile_stored(3, second + LANES, stride);
    tile_fence();
}

// One row: the sums of the kernel rows in `rows`, from `start`, to `out` [columns][lanes]. Where
// the input's high bytes lie `high` words behind its low ones (0: there are none), they come first
// and their sums are shifted.
template <int POSITION_TILES, int VECTORS>
void tile_row_part(const TileCut& cut, const int32_t* const* rows, int row_count, int begin,
                   int next, ptrdiff_t step, int run, ptrdiff_t high, const int32_t* weights,
                   const int32_t* start, int32_t* out) {
    constexpr int WIDE = VECTORS * LANES;
    int32_t* first = out + (ptrdiff_t)begin * WIDE;
    int32_t* second = out + (ptrdiff_t)next * WIDE;
    const ptrdiff_t at = begin * step, apart = (next - begin) * step;
    load_sums<POSITION_TILES, VECTORS>(start, start, 0);
    if (high) {
        tile_products<true, POSITION_TILES, VECTORS>(rows, row_count, at + high, step, apart, run,
                                                     cut.words, weights);
        store_sums<POSITION_TILES, VECTORS>(first, second, WIDE * 4);
        for (int i = 0; i < cut.positions * WIDE; i += LANES)
            store(first + i, load(first + i) << 8);
        if (POSITION_TILES == 2)  // the tiles may overlap: only what is the second's alone
            for (int i = std::max(0, begin + cut.positions - next) * WIDE; i < cut.positions * WIDE;
                 i += LANES)
                store(second + i, load(second + i) << 8);
        load_sums<POSITION_TILES, VECTORS>(first, second, WIDE * 4);
    }
    tile_products<false, POSITION_TILES, VECTORS>(rows, row_count, at, step, apart, run, cut.words,
                                                  weights);
    store_sums<POSITION_TILES, VECTORS>(first, second, WIDE * 4);
}

inline void tile_row(const TileCut& cut, const int32_t* const* rows, int row_count, int columns,
                     ptrdiff_t step, int run, ptrdiff_t high, int vectors, const int32_t* weights,
                     const int32_t* start, int32_t* out) {
    const auto part1 = vectors == 1 ? tile_row_part<1, 1> : tile_row_part<1, 2>;
    const auto part2 = vectors == 1 ? tile_row_part<2, 1> : tile_row_part<2, 2>;
    for (int i = 0; i < cut.tiles; i += 2) {
        const int begin = std::min(i * cut.positions, columns - cut.positions);
        const int next = std::min((i + 1) * cut.positions, columns - cut.positions);
        (i + 1 < cut.tiles ? part2 : part1)(cut, rows, row_count, begin, next, step, run, high,
                                            weights, start, out);
    }
}

}  // namespace e2
#endif
