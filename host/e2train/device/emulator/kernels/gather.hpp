// SPDX-License-Identifier: Apache-2.0
// Dense convolution as a gather: every output position sums words of the input times words of
// weights, a word being 32 bits of adjacent channels (two int16, or four bytes with VNNI).
//
// The forward pass is one such gather; the backward pass to the input is one for every combination
// of row and column parity of the input (one at stride 1, four at stride 2), each with the kernel
// taps that meet it. A sample is first packed into rows of words with horizontal padding; rows of
// padding are never stored: their taps are left out.
#pragma once

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "finish.hpp"
#include "lanes.hpp"
#include "threads.hpp"
#include "tile_gather.hpp"

namespace e2 {

// One kernel row of a phase: reads input row i * step + row; columns are offsets in words.
struct TapRow {
    int row;
    std::vector<ptrdiff_t> columns;
};

// One grid of output positions that share their taps.
struct Phase {
    int rows, columns;             // output positions
    ptrdiff_t at, row_step, step;  // tensor offset of the first, of the next row and next position
    std::vector<TapRow> taps;
    const int32_t* weights;  // [block][tap][word][lanes of the block]
    const int32_t* offsets;  // [tap row][filters, padded]: added to cancel the bytes' zero point
};

struct Gather {
    int samples, rows, words, row_words;  // packed input: words a position and a row
    int input_step;                       // rows and positions from one output to the next
    int filters;
    ptrdiff_t sample_outputs;
    std::vector<Phase> phases;
    bool tiles = false;  // on matrix tiles: a tap row's columns are adjacent
    ptrdiff_t high = 0;  // words from the input's low bytes to its high ones; 0: it has none
};

// Whether a phase runs on matrix tiles; one without taps has nothing to multiply.
inline bool on_tiles(const Gather& gather, const Phase& phase) {
    return gather.tiles && !phase.taps.empty() && !phase.taps[0].columns.empty();
}

struct HalvesDot {
    static constexpr int PER_WORD = 2;
    static Vec dot(Vec acc, Vec input, Vec weights) { return dot_halves(acc, input, weights); }
};

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
struct BytesDot {
    static constexpr int PER_WORD = 4;
    static Vec dot(Vec acc, Vec input, Vec weights) { return dot_bytes(acc, input, weights); }
};
#endif

// A register tile: POSITIONS adjacent outputs of VECTORS vectors of filters.
template <class Dot, int POSITIONS, int VECTORS>
void tile(const int32_t* const* taps, int tap_count, ptrdiff_t at, int words, ptrdiff_t step,
          const int32_t* weights, const int32_t* start, int32_t* out) {
    Vec acc[POSITIONS][VECTORS];
#pragma GCC unroll 16
    for (int p = 0; p < POSITIONS; ++p)
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; ++v) acc[p][v] = load(start + v * LANES);
    for (int t = 0; t < tap_count; ++t) {
        const int32_t* input = taps[t] + at;
        for (int c = 0; c < words; ++c, ++input, weights += VECTORS * LANES) {
            Vec w[VECTORS];
#pragma GCC unroll 2
            for (int v = 0; v < VECTORS; ++v) w[v] = load(weights + v * LANES);
#pragma GCC unroll 16
            for (int p = 0; p < POSITIONS; ++p) {
                const Vec x = splat(input[p * step]);
#pragma GCC unroll 2
                for (int v = 0; v < VECTORS; ++v) acc[p][v] = Dot::dot(acc[p][v], x, w[v]);
            }
        }
    }
#pragma GCC unroll 16
    for (int p = 0; p < POSITIONS; ++p)
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; ++v) store(out + (p * VECTORS + v) * LANES, acc[p][v]);
}

using Tile = void (*)(const int32_t* const*, int, ptrdiff_t, int, ptrdiff_t, const int32_t*,
                      const int32_t*, int32_t*);

constexpr int TILE_1 = REGISTERS == 32 ? 16 : 12;  // positions a tile of one vector of filters
constexpr int TILE_2 = REGISTERS == 32 ? 12 : 6;   // and of two

template <class Dot, int VECTORS, int... P>
Tile pick_tile(int positions, std::integer_sequence<int, P...>) {
    static constexpr Tile table[] = {tile<Dot, P + 1, VECTORS>...};
    return table[positions - 1];
}

template <class Dot>
Tile pick_tile(int positions, int vectors) {
    return vectors == 1 ? pick_tile<Dot, 1>(positions, std::make_integer_sequence<int, TILE_1>())
                        : pick_tile<Dot, 2>(positions, std::make_integer_sequence<int, TILE_2>());
}

// Blocks of filters: pairs of vectors, and a single one at the end where the number is odd.
inline int block_vectors(int filters, int first) {
    return ceil_div(filters - first, LANES) >= 2 ? 2 : 1;
}

// One row of one block of filters, into `out` [columns][lanes of the block].
template <class Dot>
void gather_row(const Gather& gather, const Phase& phase, const int32_t* sample, int row,
                int vectors, int first_filter, const int32_t* weights, int32_t* out) {
    const int32_t* taps[49];
    int count = 0;
    size_t skipped = 0;
    Vec start[2]{};
    for (size_t r = 0; r < phase.taps.size(); ++r) {
        const TapRow& tap_row = phase.taps[r];
        const int input_row = row * gather.input_step + tap_row.row;
        if (input_row < 0 || input_row >= gather.rows) {
            skipped += count == 0 ? tap_row.columns.size() : 0;  // valid rows are contiguous
            continue;
        }
        for (ptrdiff_t column : tap_row.columns)
            taps[count++] = sample + (ptrdiff_t)input_row * gather.row_words + column;
        if (phase.offsets)
            for (int v = 0; v < vectors; ++v)
                start[v] += load(phase.offsets + r * (ceil_div(gather.filters, LANES) * LANES) +
                                 first_filter + v * LANES);
    }
    const int32_t* used = weights + skipped * gather.words * vectors * LANES;
    const ptrdiff_t step = (ptrdiff_t)gather.input_step * gather.words;
#ifdef E2_HAVE_TILES
    if (on_tiles(gather, phase)) {
        const int across = (int)phase.taps[0].columns.size();
        const int32_t* rows[49];
        for (int r = 0; r < count / across; ++r) rows[r] = taps[r * across];
        const int run = across * gather.words;
        tile_row(TileCut(run, phase.columns), rows, count / across, phase.columns, step, run,
                 gather.high, vectors, used, reinterpret_cast<const int32_t*>(start), out);
        return;
    }
#endif
    const int tiles = ceil_div(phase.columns, vectors == 1 ? TILE_1 : TILE_2);
    for (int i = 0; i < tiles; ++i) {
        const int begin = phase.columns * i / tiles, end = phase.columns * (i + 1) / tiles;
        pick_tile<Dot>(end - begin, vectors)(taps, count, begin * step, gather.words, step, used,
                                             reinterpret_cast<const int32_t*>(start),
                                             out + (ptrdiff_t)begin * vectors * LANES);
    }
}

template <class Dot, class Finish>
void gather_phase(const Gather& gather, const Phase& phase, const int32_t* packed, int sample,
                  int32_t* row_buffer, Finish& finish) {
    size_t taps = 0;
    for (const TapRow& tap_row : phase.taps) taps += tap_row.columns.size();
    const int32_t* weights = phase.weights;
    for (int first = 0; first < gather.filters;) {
        const int vectors = block_vectors(gather.filters, first);
        const int valid = std::min(vectors * LANES, gather.filters - first);
        for (int row = 0; row < phase.rows; ++row) {
            gather_row<Dot>(gather, phase, packed, row, vectors, first, weights, row_buffer);
            finish(Stretch{row_buffer, phase.columns, vectors * LANES, first, valid,
                           sample * gather.sample_outputs + phase.at + row * phase.row_step + first,
                           phase.step});
        }
        weights += taps * gather.words * vectors * LANES;
        first += vectors * LANES;
    }
}

// Runs the gather over all samples; `pack(sample, words)` fills the packed input of one.
template <class Dot, class Pack, class Finish>
void run_gather(const Gather& gather, const Pack& pack, Finish& finish, int threads) {
    int widest = 1;
    for (const Phase& phase : gather.phases) widest = std::max(widest, phase.columns);
    Pieces samples(gather.samples);
    std::mutex joining;
    share(samples, threads, [&] {
        Buffer<int32_t> packed((size_t)gather.rows * gather.row_words + gather.high + 64);
        Buffer<int32_t> row_buffer((size_t)widest * 2 * LANES);
        Finish mine = finish.fresh();
        for (int64_t n; samples.take(n);) {
            pack((int)n, packed.get());
            for (const Phase& phase : gather.phases) {
#ifdef E2_HAVE_TILES
                std::optional<Tiles> tiles;
                if (on_tiles(gather, phase)) {
                    const int run = (int)phase.taps[0].columns.size() * gather.words;
                    const TileCut cut(run, phase.columns);
                    tiles.emplace(cut.positions, cut.words);
                }
#endif
                gather_phase<Dot>(gather, phase, packed.get(), (int)n, row_buffer.get(), mine);
            }
        }
        const std::lock_guard<std::mutex> lock(joining);
        finish.join(mine);
    });
}

}  // namespace e2
