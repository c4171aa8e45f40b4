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

uint32_t word(int16_t low, int16_t high) {
    return (uint16_t)low | (uint32_t)(uint16_t)high << 16;
}

// Slices `count` values into `row`; returns the largest magnitude of the slices.
template <class Value>
int slice_row(const Value* __restrict from, ptrdiff_t count, Slice slice, int16_t* __restrict row) {
    const int32_t shift = slice.shift, half = (1 << shift) >> 1, top = slice.top;
    int32_t low = 0, high = 0;
    for (ptrdiff_t i = 0; i < count; ++i) {
        const int32_t v = std::min(std::max((from[i] + half) >> shift, -top), top);
        low = std::min(low, v);
        high = std::max(high, v);
        row[i] = (int16_t)v;
    }
    return std::max(-low, high);
}

// Words of pairs: element i of `row` with element i + `next`.
void pair_up(const int16_t* __restrict row, ptrdiff_t next, ptrdiff_t count,
             int32_t* __restrict to) {
    for (ptrdiff_t i = 0; i < count; ++i) to[i] = (int32_t)word(row[i], row[i + next]);
}

// Rows of x as words [columns][C]; columns beyond the picture are zero.
void pack_x(const Geometry& g, const int8_t* x, const Slice& slice, int samples, int16_t* row,
            Packed& packed) {
    const ptrdiff_t next = (ptrdiff_t)g.stride * g.channels, all = packed.x_row + next;
    const ptrdiff_t before = (ptrdiff_t)g.padding * g.channels;
    const ptrdiff_t size = (ptrdiff_t)g.width * g.channels;
    std::fill(row, row + all, 0);
    int top = 0;
    for (int i = 0; i < samples * g.height; ++i) {
        top = std::max(top, slice_row(x + i * size, size, slice, row + before));
        pair_up(row, next, packed.x_row, packed.x.get() + i * packed.x_row);
    }
    packed.x_top = top;
}

// Rows of g as words [pairs][filters, padded].
void pack_g(const Geometry& g, const int16_t* gradient, const Slice& slice, int samples,
            int16_t* row, Packed& packed) {
    const int filters = g.filters;
    const ptrdiff_t size = (ptrdiff_t)g.out_width * filters;
    std::fill(row + size, row + (ptrdiff_t)packed.pairs * 2 * filters, 0);
    int top = 0;
    for (int i = 0; i < samples * g.out_height; ++i) {
        top = std::max(top, slice_row(gradient + i * size, size, slice, row));
        for (int pair = 0; pair < packed.pairs; ++pair) {
            int32_t* to = packed.g.get() + i * packed.g_row + (ptrdiff_t)pair * packed.lanes;
            pair_up(row + (ptrdiff_t)pair * 2 * filters, filters, filters, to);
            std::fill(to + filters, to + packed.lanes, 0);
        }
    }
    packed.g_top = top;
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

void dense(const Geometry& g, const int8_t* x, const int16_t* gradient, const Slice& x_slice,
           const Slice& g_slice, int64_t* out, int threads) {
    const int pairs = ceil_div(g.out_width, 2), lanes = ceil_div(g.filters, LANES) * LANES;
    // columns that pairs of positions read first: the last pair starts at 2 (pairs - 1) * stride
    const int columns = std::max(2 * (pairs - 1) * g.stride + g.kernel_w, g.width + 2 * g.padding);
    const ptrdiff_t x_row = (ptrdiff_t)columns * g.channels, g_row = (ptrdiff_t)pairs * lanes;
    const size_t a_sample = 4 * (size_t)(g.height * x_row + g.out_height * g_row);
    const int group = std::max(1, std::min(g.samples, (int)(PACKED_BYTES / a_sample)));
    const size_t row_size = std::max((columns + g.stride) * g.channels, 2 * pairs * g.filters);
    const size_t sums_size = (size_t)g.kernel_h * g.kernel_w * g.channels * lanes;
    std::fill(out, out + (size_t)g.filters * g.channels * g.kernel_h * g.kernel_w, 0);
    Pieces groups(ceil_div(g.samples, group));
    std::mutex adding;
    share(groups, threads, [&] {
        Packed packed{Buffer<int32_t>((size_t)group * g.height * x_row),
                      Buffer<int32_t>((size_t)group * g.out_height * g_row),
                      x_row,
                      g.height * x_row,
                      g_row,
                      g.out_height * g_row,
                      pairs,
                      lanes,
                      0,
                      0};
        Buffer<int16_t> row(row_size);
        Buffer<int64_t> sums(sums_size, 0);
        for (int64_t piece; groups.take(piece);) {
            const int n = (int)piece * group;
            const int samples = std::min(group, g.samples - n);
            pack_x(g, x + (ptrdiff_t)n * g.height * g.width * g.channels, x_slice, samples,
                   row.get(), packed);
            pack_g(g, gradient + (ptrdiff_t)n * g.out_height * g.out_width * g.filters, g_slice,
                   samples, row.get(), packed);
            group_sums(g, packed, samples, sums.get());
        }
        const std::lock_guard<std::mutex> lock(adding);
        add_transposed(g, sums.get(), lanes, out);
    });
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
// Weight gradient of the x_bits most significant bits of x int8 [N,H,W,C] and the g_bits of
// g int16 [N,P,Q,K], sliced as the predictor does (8 and 16: unsliced) -> out int64
// [K,C/groups,R,S].
extern "C" void e2_weight_gradient(const Geometry* geometry, const int8_t* x, const int16_t* g,
                                   int x_bits, int g_bits, int64_t* out, int threads) {
    const auto run = geometry->depthwise ? depthwise : dense;
    run(*geometry, x, g, Slice(8, x_bits), Slice(16, g_bits), out, threads);
}
#pragma GCC visibility pop

}  // namespace e2
