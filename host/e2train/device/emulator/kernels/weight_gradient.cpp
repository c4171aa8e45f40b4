// SPDX-License-Identifier: Apache-2.0
// Weight gradient of a convolution: for every weight, the sum over samples and positions of x * g.
//
// Two neighbouring positions of a row share a 32-bit word, so one dot product takes both: words of
// g [row][pair][K] are the lanes, words of x [row][column][C] (x of a column and of the next output
// position's column) are broadcast. For one kernel row the words of all kernel columns and channels
// lie side by side, S * C of them, and are cut into register tiles. A tile's 32-bit sums are
// carried over to 64 bits before the operands' largest magnitudes allow an overflow.
#include <algorithm>
#include <cstdlib>
#include <utility>

#include "depthwise.hpp"
#include "geometry.hpp"
#include "lanes.hpp"
#include "rounding.hpp"
#include "threads.hpp"
#include "tile_gradient.hpp"

namespace e2 {
namespace {

constexpr size_t PACKED_BYTES = 384
                                << 10;  // packed operands of a group of samples: in the L2 cache

// Packed operands of `samples` samples; strides in words.
struct Packed {
    Buffer<int32_t> x, g;
    ptrdiff_t x_row, x_sample, g_row, g_sample;
    int pairs, lanes;  // pairs of positions a row; filters, padded
    int x_top, g_top;  // largest magnitudes
};

// Rows [begin, end) of pairs [first, last) of `samples` samples.
struct Chunk {
    int samples, begin, end, first, last;
};

// acc[COUNT x VECTORS] += sum over the chunk of x words [COUNT] by g words [VECTORS * LANES].
template <int COUNT, int VECTORS>
void tile(const int32_t* x, ptrdiff_t x_sample, ptrdiff_t x_row, ptrdiff_t x_pair, const int32_t* g,
          ptrdiff_t g_sample, ptrdiff_t g_row, ptrdiff_t g_pair, int samples, int rows, int pairs,
          int32_t* out) {
    Vec acc[COUNT][VECTORS]{};
    for (int n = 0; n < samples; ++n)
        for (int row = 0; row < rows; ++row) {
            const int32_t* xs = x + n * x_sample + row * x_row;
            const int32_t* gs = g + n * g_sample + row * g_row;
            for (int pair = 0; pair < pairs; ++pair, xs += x_pair, gs += g_pair) {
                Vec lanes[VECTORS];
#pragma GCC unroll 2
                for (int v = 0; v < VECTORS; ++v) lanes[v] = load(gs + v * LANES);
#pragma GCC unroll 24
                for (int i = 0; i < COUNT; ++i)
#pragma GCC unroll 2
                    for (int v = 0; v < VECTORS; ++v)
                        acc[i][v] = dot_halves(acc[i][v], splat(xs[i]), lanes[v]);
            }
        }
#pragma GCC unroll 24
    for (int i = 0; i < COUNT; ++i)
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; ++v) store(out + (i * VECTORS + v) * LANES, acc[i][v]);
}

using Tile = void (*)(const int32_t*, ptrdiff_t, ptrdiff_t, ptrdiff_t, const int32_t*, ptrdiff_t,
                      ptrdiff_t, ptrdiff_t, int, int, int, int32_t*);

constexpr int TILE_1 = REGISTERS == 32 ? 24 : 12;
constexpr int TILE_2 = REGISTERS == 32 ? 12 : 6;

template <int VECTORS, int... I>
Tile pick_tile(int count, std::integer_sequence<int, I...>) {
    static constexpr Tile table[] = {tile<I + 1, VECTORS>...};
    return table[count - 1];
}

Tile pick_tile(int count, int vectors) {
    return vectors == 1 ? pick_tile<1>(count, std::make_integer_sequence<int, TILE_1>())
                        : pick_tile<2>(count, std::make_integer_sequence<int, TILE_2>());
}

// ---- packing ---------------------------------------------------------------------------------

typedef int16_t Halves __attribute__((vector_size(4 * LANES)));  // the two halves of every word

// Smallest and largest values of each lane.
struct Range {
    Halves low{}, high{};
    void add(Halves v) {
        low = v < low ? v : low;
        high = v > high ? v : high;
    }
    int top() const {  // the largest magnitude
        int top = 1;
        for (int i = 0; i < 2 * LANES; ++i) top = std::max({top, -(int)low[i], (int)high[i]});
        return top;
    }
};

// Rows of x as words [columns][C]; columns beyond the picture are zero.
void pack_x(const Geometry& g, const int8_t* x, int samples, int16_t* row, Packed& packed) {
    const ptrdiff_t next = (ptrdiff_t)g.stride * g.channels, size = (ptrdiff_t)g.width * g.channels;
    int16_t* __restrict picture = row + (ptrdiff_t)g.padding * g.channels;
    std::fill(row, row + packed.x_row + next, 0);
    for (int i = 0; i < samples * g.height; ++i) {
        const int8_t* __restrict from = x + i * size;
        for (ptrdiff_t j = 0; j < size; ++j) picture[j] = from[j];
        int32_t* __restrict to = packed.x.get() + i * packed.x_row;
        for (ptrdiff_t j = 0; j < packed.x_row; ++j)
            to[j] = (int32_t)((uint16_t)row[j] | (uint32_t)(uint16_t)row[j + next] << 16);
    }
    packed.x_top = 128;
}

// Rows of g as words [pairs][filters, padded].
void pack_g(const Geometry& g, const int16_t* gradient, int samples, Packed& packed) {
    const int filters = g.filters;
    Range range;
    int32_t* to = packed.g.get();
    for (int i = 0; i < samples * g.out_height; ++i, gradient += (ptrdiff_t)g.out_width * filters)
        for (int q = 0; q < g.out_width; q += 2) {
            const int16_t* from = gradient + (ptrdiff_t)q * filters;
            for (int k = 0; k < packed.lanes; k += LANES, to += LANES) {
                const int count = std::min(LANES, filters - k);
                const Vec high = q + 1 < g.out_width ? load(from + filters + k, count) : Vec{};
                const Vec words = (load(from + k, count) & 0xffff) | (high << 16);
                range.add((Halves)words);
                store(to, words);
            }
        }
    packed.g_top = range.top();
}

// Replaces both halves of `count` words by their slices; the buffer is whole vectors long.
void slice_words(int32_t* words, ptrdiff_t count, const Slice& slice) {
    const int first = slice.shift - 1;
    const Halves top = Halves{} + (int16_t)slice.top;
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        const Halves v = (Halves)load(words + i);
        const Halves rounded = (v >> slice.shift) + ((v >> first) & 1);
        const Halves capped = rounded > top ? top : rounded;
        store(words + i, (Vec)(capped < -top ? -top : capped));
    }
}

// ---- sums --------------------------------------------------------------------------------------

// All tiles of one chunk; x and g point at its first sample and row.
// Sums land in out int64 [R][S * C][filters, padded].
void chunk_sums(const Geometry& g, const Packed& packed, const Chunk& chunk, int sample,
                int64_t* out) {
    const int run = g.kernel_w * g.channels;
    int32_t sums[24 * LANES];
    for (int r = 0; r < g.kernel_h; ++r) {
        // output rows whose input row p * stride + r - padding exists
        const int low = g.padding - r, high = g.height - 1 + g.padding - r;
        const int begin = std::max(chunk.begin, low > 0 ? ceil_div(low, g.stride) : 0);
        const int end = std::min(chunk.end, high < 0 ? 0 : high / g.stride + 1);
        if (begin >= end) continue;
        const ptrdiff_t x_pair = 2 * (ptrdiff_t)g.stride * g.channels;
        const int32_t* x = packed.x.get() + sample * packed.x_sample +
                           ((ptrdiff_t)begin * g.stride + r - g.padding) * packed.x_row +
                           chunk.first * x_pair;
        const int32_t* gs = packed.g.get() + sample * packed.g_sample + begin * packed.g_row +
                            (ptrdiff_t)chunk.first * packed.lanes;
        for (int k = 0; k < packed.lanes;) {
            const int vectors = packed.lanes - k >= 2 * LANES ? 2 : 1;
            const int tiles = ceil_div(run, vectors == 1 ? TILE_1 : TILE_2);
            for (int t = 0; t < tiles; ++t) {
                const int from = (int)((int64_t)run * t / tiles);
                const int to = (int)((int64_t)run * (t + 1) / tiles);
                pick_tile(to - from, vectors)(x + from, packed.x_sample, packed.x_row * g.stride,
                                              x_pair, gs + k, packed.g_sample, packed.g_row,
                                              packed.lanes, chunk.samples, end - begin,
                                              chunk.last - chunk.first, sums);
                for (int i = from; i < to; ++i) {
                    int64_t* total = out + ((ptrdiff_t)r * run + i) * packed.lanes + k;
                    const int32_t* part = sums + (ptrdiff_t)(i - from) * vectors * LANES;
                    for (int lane = 0; lane < vectors * LANES; ++lane) total[lane] += part[lane];
                }
            }
            k += vectors * LANES;
        }
    }
}

// Cuts a group of samples into chunks whose sums fit 32 bits.
void group_sums(const Geometry& g, const Packed& packed, int samples, int64_t* out) {
    const int64_t product = std::max<int64_t>(1, (int64_t)packed.x_top * packed.g_top);
    const int64_t positions = (((int64_t)1 << 31) - 1) / product / 2 * 2;
    const int64_t pairs = std::min<int64_t>(packed.pairs, positions / 2);
    const int64_t rows = std::min<int64_t>(g.out_height, positions / (2 * pairs));
    const bool whole = pairs == packed.pairs && rows == g.out_height;
    const int64_t together = whole ? std::min<int64_t>(samples, positions / (2 * pairs * rows)) : 1;
    const int row_chunks = ceil_div(g.out_height, (int)rows);
    for (int n = 0; n < samples; n += (int)together)
        for (int i = 0; i < row_chunks; ++i)
            for (int first = 0; first < packed.pairs; first += (int)pairs) {
                const Chunk chunk{std::min((int)together, samples - n),
                                  g.out_height * i / row_chunks,
                                  g.out_height * (i + 1) / row_chunks, first,
                                  std::min(packed.pairs, first + (int)pairs)};
                chunk_sums(g, packed, chunk, n, out);
            }
}

// Adds sums [R][S][C][filters, padded] to out [K][C][R][S].
void add_transposed(const Geometry& g, const int64_t* sums, int lanes, int64_t* out) {
    const int taps = g.kernel_h * g.kernel_w;
    for (int k = 0; k < g.filters; ++k)
        for (int c = 0; c < g.channels; ++c)
            for (int t = 0; t < taps; ++t) *out++ += sums[((size_t)t * g.channels + c) * lanes + k];
}

// The predictor's operands and its sums; `out` null without a predictor.
struct Predictor {
    Slice x, g;
    int64_t* out;
};

void dense_vectors(const Geometry& g, const int8_t* x, const int16_t* gradient, int64_t* out,
                   const Predictor& predictor, int threads) {
    const int pairs = ceil_div(g.out_width, 2), lanes = ceil_div(g.filters, LANES) * LANES;
    // columns that pairs of positions read first: the last pair starts at 2 (pairs - 1) * stride
    const int columns = std::max(2 * (pairs - 1) * g.stride + g.kernel_w, g.width + 2 * g.padding);
    const ptrdiff_t x_row = (ptrdiff_t)columns * g.channels, g_row = (ptrdiff_t)pairs * lanes;
    const ptrdiff_t x_sample = g.height * x_row, g_sample = g.out_height * g_row;
    const int fitting = (int)(PACKED_BYTES / (4 * (size_t)(x_sample + g_sample)));
    const int group = std::max(1, std::min(g.samples, fitting));
    const size_t sums_size = (size_t)g.kernel_h * g.kernel_w * g.channels * lanes;
    const size_t weights = (size_t)g.filters * g.channels * g.kernel_h * g.kernel_w;
    std::fill(out, out + weights, 0);
    if (predictor.out) std::fill(predictor.out, predictor.out + weights, 0);
    Pieces groups(ceil_div(g.samples, group));
    std::mutex adding;
    share(groups, threads, [&] {
        Packed packed{Buffer<int32_t>((size_t)(group * x_sample)),
                      Buffer<int32_t>((size_t)(group * g_sample)),
                      x_row,
                      x_sample,
                      g_row,
                      g_sample,
                      pairs,
                      lanes,
                      0,
                      0};
        Buffer<int16_t> row((size_t)(x_row + g.stride * g.channels));
        Buffer<int64_t> sums(sums_size, 0), predicted(predictor.out ? sums_size : 0, 0);
        for (int64_t piece; groups.take(piece);) {
            const int n = (int)piece * group;
            const int samples = std::min(group, g.samples - n);
            pack_x(g, x + (ptrdiff_t)n * g.height * g.width * g.channels, samples, row.get(),
                   packed);
            pack_g(g, gradient + (ptrdiff_t)n * g.out_height * g.out_width * g.filters, samples,
                   packed);
            group_sums(g, packed, samples, sums.get());
            if (!predictor.out) continue;
            slice_words(packed.x.get(), samples * x_sample, predictor.x);
            slice_words(packed.g.get(), samples * g_sample, predictor.g);
            packed.x_top = predictor.x.top;
            packed.g_top = predictor.g.top;
            group_sums(g, packed, samples, predicted.get());
        }
        const std::lock_guard<std::mutex> lock(adding);
        add_transposed(g, sums.get(), lanes, out);
        if (predictor.out) add_transposed(g, predicted.get(), lanes, predictor.out);
    });
}

#ifdef E2_HAVE_TILES
void dense_tiles(const Geometry& g, const int8_t* x, const int16_t* gradient, int64_t* out,
                 const Predictor& predictor, int threads) {
    const TileLayout layout(g);
    const size_t sums_size = (size_t)g.kernel_h * g.kernel_w * g.channels * layout.lanes;
    const size_t weights = (size_t)g.filters * g.channels * g.kernel_h * g.kernel_w;
    const bool predict = predictor.out != nullptr;
    std::fill(out, out + weights, 0);
    if (predict) std::fill(predictor.out, predictor.out + weights, 0);
    Pieces groups(ceil_div(g.samples, layout.group));
    std::mutex adding;
    share(groups, threads, [&] {
        const Tiles tiles(16, 16);
        TileOperands whole(layout, g.channels), sliced(layout, predict ? g.channels : 0);
        Buffer<int64_t> sums(sums_size, 0), predicted(predict ? sums_size : 0, 0);
        for (int64_t piece; groups.take(piece);) {
            const ptrdiff_t n = piece * layout.group;
            const int samples = (int)std::min<ptrdiff_t>(layout.group, g.samples - n);
            pack_tile_x(g, layout, x + n * g.height * g.width * g.channels, samples, whole,
                        predict ? &predictor.x : nullptr, &sliced);
            pack_tile_g(g, layout, gradient + n * g.out_height * g.out_width * g.filters, samples,
                        whole, predict ? &predictor.g : nullptr, predict ? &sliced : nullptr);
            tile_sums(g, layout, whole, samples, sums.get());
            if (predict) tile_sums(g, layout, sliced, samples, predicted.get());
        }
        const std::lock_guard<std::mutex> lock(adding);
        add_transposed(g, sums.get(), layout.lanes, out);
        if (predict) add_transposed(g, predicted.get(), layout.lanes, predictor.out);
    });
}
#endif

void dense(const Geometry& g, const int8_t* x, const int16_t* gradient, int64_t* out,
           const Predictor& predictor, int threads) {
#ifdef E2_HAVE_TILES
    if (TileLayout::fits(g) && tiles_allowed()) {
        dense_tiles(g, x, gradient, out, predictor, threads);
        return;
    }
#endif
    dense_vectors(g, x, gradient, out, predictor, threads);
}

void depthwise(const Geometry& g, const int8_t* x, const int16_t* gradient, const Slice& x_slice,
               const Slice& g_slice, int64_t* out, int threads) {
    const int taps = g.kernel_h * g.kernel_w, channels = g.channels;
    const ptrdiff_t x_size = (ptrdiff_t)g.width * channels;
    const ptrdiff_t g_size = (ptrdiff_t)g.out_width * channels;
    std::fill(out, out + (size_t)channels * taps, 0);
    Pieces rows((int64_t)g.samples * g.out_height);
    std::mutex adding;
    share(rows, threads, [&] {
        Buffer<int16_t> x_row(x_size), g_row(g_size);
        Buffer<int32_t> sums(channels);
        Buffer<int64_t> total((size_t)taps * channels, 0);
        for (int64_t row; rows.take(row);) {
            const int64_t n = row / g.out_height;
            const int p = (int)(row % g.out_height);
            for (ptrdiff_t i = 0; i < g_size; ++i) g_row[i] = g_slice(gradient[row * g_size + i]);
            for (int r = 0; r < g.kernel_h; ++r) {
                const int h = p * g.stride + r - g.padding;
                if (h < 0 || h >= g.height) continue;
                const int8_t* from = x + ((ptrdiff_t)n * g.height + h) * x_size;
                for (ptrdiff_t i = 0; i < x_size; ++i) x_row[i] = x_slice(from[i]);
                depthwise_weight_row(g, r, x_row.get(), g_row.get(), sums.get(), total.get());
            }
        }
        const std::lock_guard<std::mutex> lock(adding);
        for (int c = 0; c < channels; ++c)
            for (int t = 0; t < taps; ++t)
                out[(size_t)c * taps + t] += total[(size_t)t * channels + c];
    });
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

// Weight gradient of x int8 [N,H,W,C] and g int16 [N,P,Q,K] -> out int64 [K,C/groups,R,S].
void e2_weight_gradient(const Geometry* geometry, const int8_t* x, const int16_t* g, int64_t* out,
                        int threads) {
    const Slice x_whole(8, 8), g_whole(16, 16);
    if (geometry->depthwise)
        depthwise(*geometry, x, g, x_whole, g_whole, out, threads);
    else
        dense(*geometry, x, g, out, Predictor{x_whole, g_whole, nullptr}, threads);
}

// The same, and `predicted` from the x_bits < 8 most significant bits of x and the g_bits < 16 of
// g, sliced as the predictor does.
void e2_psg_gradients(const Geometry* geometry, const int8_t* x, const int16_t* g, int x_bits,
                      int g_bits, int64_t* out, int64_t* predicted, int threads) {
    const Slice x_slice(8, x_bits), g_slice(16, g_bits);
    if (!geometry->depthwise) {
        dense(*geometry, x, g, out, Predictor{x_slice, g_slice, predicted}, threads);
        return;
    }
    depthwise(*geometry, x, g, Slice(8, 8), Slice(16, 16), out, threads);
    depthwise(*geometry, x, g, x_slice, g_slice, predicted, threads);
}

}  // extern "C"
#pragma GCC visibility pop

}  // namespace e2
