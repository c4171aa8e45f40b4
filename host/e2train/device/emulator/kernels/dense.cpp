// SPDX-License-Identifier: Apache-2.0
// Dense convolution: forward, and backward to the input.
#include "depthwise.hpp"
#include "gather.hpp"

namespace e2 {
namespace {

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
using ForwardDot = BytesDot;
#else
using ForwardDot = HalvesDot;
#endif

// Unsigned bytes carry x + 128, which padding and unused channels hold as well.
constexpr uint8_t ZERO_POINT = HAVE_BYTE_DOT ? 128 : 0;

// Packed words of one phase; value(filter, channel, tap row, tap column) is a weight of the gather
// (0 outside), whose filters are the outputs and whose channels are the inputs.
template <class Dot, class Value>
void pack_weights(const Phase& phase, int filters, int words, const Value& value, int32_t* out) {
    for (int first = 0; first < filters;) {
        const int lanes = block_vectors(filters, first) * LANES;
        for (size_t r = 0; r < phase.taps.size(); ++r)
            for (size_t s = 0; s < phase.taps[r].columns.size(); ++s)
                for (int c = 0; c < words; ++c, out += lanes)
                    for (int k = 0; k < lanes; ++k) {
                        uint32_t word = 0;
                        for (int i = 0; i < Dot::PER_WORD; ++i) {
                            const int bits = 32 / Dot::PER_WORD;
                            const uint32_t mask = Dot::PER_WORD == 2 ? 0xffff : 0xff;
                            const int weight = value(first + k, c * Dot::PER_WORD + i, r, s);
                            word |= ((uint32_t)weight & mask) << (bits * i);
                        }
                        out[k] = (int32_t)word;
                    }
        first += lanes;
    }
}

size_t packed_size(const Phase& phase, int filters, int words) {
    size_t taps = 0;
    for (const TapRow& tap_row : phase.taps) taps += tap_row.columns.size();
    return taps * words * ceil_div(filters, LANES) * LANES;
}

// ---- forward ---------------------------------------------------------------------------------

// What the zero point of the bytes adds to the sums of tap row r, negated: [R][filters, padded].
void zero_point_offsets(const Geometry& g, const int8_t* w, int32_t* offsets) {
    const int padded = ceil_div(g.filters, LANES) * LANES, r_count = g.kernel_h;
    std::fill(offsets, offsets + (size_t)r_count * padded, 0);
    for (int k = 0; k < g.filters; ++k)
        for (int c = 0; c < g.channels; ++c)
            for (int r = 0; r < r_count; ++r)
                for (int s = 0; s < g.kernel_w; ++s) offsets[r * padded + k] -= ZERO_POINT * *w++;
}

void pack_forward_row(const Geometry& g, const int8_t* x, uint8_t* row, int words) {
    const int pixel = words * 4;
    uint8_t* to = row + g.padding * pixel;
    std::memset(row, ZERO_POINT, (size_t)g.padding * pixel);
    if constexpr (HAVE_BYTE_DOT) {
        if (g.channels == pixel) {
            const ptrdiff_t count = (ptrdiff_t)g.width * pixel;
            for (ptrdiff_t i = 0; i < count; ++i) to[i] = (uint8_t)x[i] ^ ZERO_POINT;
        } else {
            std::memset(to, ZERO_POINT, (size_t)g.width * pixel);
            for (int q = 0; q < g.width; ++q)
                for (int c = 0; c < g.channels; ++c)
                    to[q * pixel + c] = (uint8_t)x[q * g.channels + c] ^ ZERO_POINT;
        }
    } else {
        int16_t* halves = reinterpret_cast<int16_t*>(to);
        if (g.channels % 2) std::memset(to, 0, (size_t)g.width * pixel);
        for (int q = 0; q < g.width; ++q)
            for (int c = 0; c < g.channels; ++c) halves[q * words * 2 + c] = x[q * g.channels + c];
    }
    std::memset(to + (size_t)g.width * pixel, ZERO_POINT, (size_t)g.padding * pixel);
}

template <class Finish>
void forward(const Geometry& g, const int8_t* x, const int8_t* w, Finish& finish, int threads) {
    const int words = ceil_div(g.channels, ForwardDot::PER_WORD);
    Phase phase{g.out_height, g.out_width, 0,       (ptrdiff_t)g.out_width * g.filters,
                g.filters,    {},          nullptr, nullptr};
    for (int r = 0; r < g.kernel_h; ++r) {
        phase.taps.push_back({r - g.padding, {}});
        for (int s = 0; s < g.kernel_w; ++s)
            phase.taps.back().columns.push_back((ptrdiff_t)s * words);
    }
    Buffer<int32_t> weights(packed_size(phase, g.filters, words));
    pack_weights<ForwardDot>(
        phase, g.filters, words,
        [&](int k, int c, int r, int s) -> int {
            if (k >= g.filters || c >= g.channels) return 0;
            return w[(((ptrdiff_t)k * g.channels + c) * g.kernel_h + r) * g.kernel_w + s];
        },
        weights.get());
    Buffer<int32_t> offsets((size_t)g.kernel_h * ceil_div(g.filters, LANES) * LANES);
    zero_point_offsets(g, w, offsets.get());
    phase.weights = weights.get();
    phase.offsets = HAVE_BYTE_DOT ? offsets.get() : nullptr;

    const int row_words = (g.width + 2 * g.padding) * words;
    const ptrdiff_t sample_outputs = (ptrdiff_t)g.out_height * phase.row_step;
    const Gather gather{g.samples, g.height,       words,   row_words,       g.stride,
                        g.filters, sample_outputs, {phase}, tiles_allowed(), 0};
    const auto pack = [&](int n, int32_t* packed) {
        for (int h = 0; h < g.height; ++h)
            pack_forward_row(g, x + ((ptrdiff_t)n * g.height + h) * g.width * g.channels,
                             reinterpret_cast<uint8_t*>(packed + (ptrdiff_t)h * row_words), words);
    };
    run_gather<ForwardDot>(gather, pack, finish, threads);
}

// ---- backward to the input -------------------------------------------------------------------

// The filters that one gather sums over, and how their gradients are read.
struct Source {
    const int16_t* g;
    int g_bits, first, count;
};

struct TapColumns {
    std::vector<int> kernel, offset;
};

// The kernel positions that meet inputs of parity `phase`, and where their outputs lie: one after
// the other.
TapColumns taps_of(int phase, int kernel, int stride, int padding) {
    TapColumns taps;
    for (int s = kernel - 1; s >= 0; --s)
        if ((phase + padding - s) % stride == 0) {
            taps.kernel.push_back(s);
            taps.offset.push_back((phase + padding - s) / stride);
        }
    return taps;
}

// Horizontal padding of the packed gradient: columns before and after the real ones.
std::pair<int, int> column_padding(const Geometry& g) {
    int before = 0, after = 0;
    for (int b = 0; b < std::min(g.stride, g.width); ++b)
        for (int offset : taps_of(b, g.kernel_w, g.stride, g.padding).offset) {
            const int last = ceil_div(g.width - b, g.stride) - 1 + offset;
            before = std::max(before, -offset);
            after = std::max(after, last - (g.out_width - 1));
        }
    return {before, after};
}

void pack_gradient_row(const Geometry& g, const Source& source, const int16_t* from, int before,
                       int after, int words, int32_t* row) {
    int16_t* to = reinterpret_cast<int16_t*>(row + (ptrdiff_t)before * words);
    std::memset(row, 0, sizeof(int32_t) * before * words);
    if (source.count == g.filters && g.filters % 2 == 0) {
        const ptrdiff_t count = (ptrdiff_t)g.out_width * g.filters;
        if (source.g_bits == 16)
            std::memcpy(to, from, sizeof(int16_t) * count);
        else
            for (ptrdiff_t i = 0; i < count; ++i) to[i] = most_significant(from[i], source.g_bits);
    } else {
        std::memset(to, 0, sizeof(int32_t) * g.out_width * words);
        for (int q = 0; q < g.out_width; ++q)
            for (int k = 0; k < source.count; ++k)
                to[q * words * 2 + k] = most_significant(
                    from[(ptrdiff_t)q * g.filters + source.first + k], source.g_bits);
    }
    std::memset(row + (ptrdiff_t)(before + g.out_width) * words, 0,
                sizeof(int32_t) * after * words);
}

// The same for matrix tiles: low bytes, and `high` words behind them high bytes.
void pack_gradient_bytes(const Geometry& g, const Source& source, const int16_t* from, int before,
                         int after, int words, ptrdiff_t high, int32_t* row) {
    const size_t size = sizeof(int32_t) * words * (before + g.out_width + after);
    int8_t* __restrict low = reinterpret_cast<int8_t*>(row);
    int8_t* __restrict top = reinterpret_cast<int8_t*>(row + high);
    std::memset(low, 0, size);
    std::memset(top, 0, size);
    low += before * words * 4;
    top += before * words * 4;
    if (source.count == words * 4 && source.count == g.filters && source.g_bits == 16) {
        const int16_t* __restrict values = from;
        const ptrdiff_t count = (ptrdiff_t)g.out_width * g.filters;  // bytes may alias g
        for (ptrdiff_t i = 0; i < count; ++i) low[i] = (int8_t)values[i];
        for (ptrdiff_t i = 0; i < count; ++i) top[i] = (int8_t)(values[i] >> 8);
        return;
    }
    for (int q = 0; q < g.out_width; ++q)
        for (int k = 0; k < source.count; ++k) {
            const int16_t v =
                most_significant(from[(ptrdiff_t)q * g.filters + source.first + k], source.g_bits);
            low[q * words * 4 + k] = (int8_t)v;
            top[q * words * 4 + k] = (int8_t)(v >> 8);
        }
}

template <class Dot, class Finish>
void input_gradient_on(const Geometry& g, const Source& source, const int8_t* w, Finish& finish,
                       int threads) {
    const int words = ceil_div(source.count, Dot::PER_WORD), stride = g.stride;
    const auto [before, after] = column_padding(g);
    const int row_words = (before + g.out_width + after) * words;
    constexpr bool BYTES = Dot::PER_WORD == 4;  // in two planes, which tiles alone take
    const ptrdiff_t high = BYTES ? (ptrdiff_t)g.out_height * row_words : 0;
    const ptrdiff_t sample_outputs = (ptrdiff_t)g.height * g.width * g.channels;
    Gather gather{g.samples,  g.out_height,   words, row_words, 1,
                  g.channels, sample_outputs, {},    BYTES,     high};
    std::vector<std::vector<int32_t>> weights;
    for (int a = 0; a < std::min(stride, g.height); ++a)
        for (int b = 0; b < std::min(stride, g.width); ++b) {
            const ptrdiff_t row_size = (ptrdiff_t)g.width * g.channels;
            Phase phase{ceil_div(g.height - a, stride),
                        ceil_div(g.width - b, stride),
                        a * row_size + (ptrdiff_t)b * g.channels,
                        stride * row_size,
                        (ptrdiff_t)stride * g.channels,
                        {},
                        nullptr,
                        nullptr};
            const TapColumns rows = taps_of(a, g.kernel_h, stride, g.padding);
            const TapColumns columns = taps_of(b, g.kernel_w, stride, g.padding);
            for (int offset : rows.offset) {
                phase.taps.push_back({offset, {}});
                for (int column : columns.offset)
                    phase.taps.back().columns.push_back((ptrdiff_t)(column + before) * words);
            }
            weights.emplace_back(packed_size(phase, g.channels, words));
            pack_weights<Dot>(
                phase, g.channels, words,
                [&](int c, int k, int r, int s) -> int {
                    if (c >= g.channels || k >= source.count) return 0;
                    const ptrdiff_t filter = source.first + k;
                    return w[((filter * g.channels + c) * g.kernel_h + rows.kernel[r]) *
                                 g.kernel_w +
                             columns.kernel[s]];
                },
                weights.back().data());
            phase.weights = weights.back().data();
            gather.phases.push_back(phase);
        }
    const auto pack = [&](int n, int32_t* packed) {
        for (int p = 0; p < g.out_height; ++p) {
            const int16_t* from =
                source.g + ((ptrdiff_t)n * g.out_height + p) * g.out_width * g.filters;
            int32_t* row = packed + (ptrdiff_t)p * row_words;
            if (BYTES)
                pack_gradient_bytes(g, source, from, before, after, words, high, row);
            else
                pack_gradient_row(g, source, from, before, after, words, row);
        }
    };
    run_gather<Dot>(gather, pack, finish, threads);
}

template <class Finish>
void input_gradient(const Geometry& g, const Source& source, const int8_t* w, Finish& finish,
                    int threads) {
#ifdef E2_HAVE_TILES
    if (tiles_allowed()) {
        input_gradient_on<BytesDot>(g, source, w, finish, threads);
        return;
    }
#endif
    input_gradient_on<HalvesDot>(g, source, w, finish, threads);
}

// Largest sum of |weights| that any input gradient can meet.
int64_t weight_norm(const Geometry& g, const int8_t* w) {
    const int taps = g.kernel_h * g.kernel_w, across = g.depthwise ? 1 : g.channels;
    std::vector<int64_t> norms(g.depthwise ? g.filters : g.channels, 0);
    for (int k = 0; k < g.filters; ++k)
        for (int c = 0; c < across; ++c)
            for (int t = 0; t < taps; ++t) norms[g.depthwise ? k : c] += std::abs((int)*w++);
    return *std::max_element(norms.begin(), norms.end());
}

// Whether every accumulator, shifted and with a residual added, fits 32 bits, by weight_norm.
bool fits_32_bits(const Geometry& g, const int8_t* w, int g_bits, int shift) {
    const int64_t bound = weight_norm(g, w) << (g_bits - 1);
    const int64_t stored = shift < 0 ? bound << std::min(-shift, 15) : bound;
    return std::max(bound, stored) + 65536 < (int64_t)1 << 31;
}

template <class Output>
int64_t masked_gradient(const Geometry& g, const Source& source, const int8_t* w,
                        const GradientStore& store, int16_t* out, int threads) {
    MaskedGradient<Output> finish(store, out);
    if (g.depthwise)
        depthwise_input_gradient(g, source.g, source.g_bits, w, finish, threads);
    else
        input_gradient(g, source, w, finish, threads);
    return finish.peak();
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

// x int8 [N,H,W,C] * w int8 [K,C/groups,R,S] -> y int16 [N,P,Q,K] = saturate(round(acc >> shift));
// total, squares int64 [K]; returns the largest |acc|.
int64_t e2_convolve(const Geometry* g, const int8_t* x, const int8_t* w, int shift, int16_t* y,
                    int64_t* total, int64_t* squares, int threads) {
    Requantise finish(shift, g->filters, y);
    if (g->depthwise)
        depthwise_forward(*g, x, w, finish, threads);
    else
        forward(*g, x, w, finish, threads);
    std::copy(finish.total(), finish.total() + g->filters, total);
    std::copy(finish.squares(), finish.squares() + g->filters, squares);
    return finish.peak();
}

// The same accumulators as they are: int32 [N,P,Q,K].
void e2_forward(const Geometry* g, const int8_t* x, const int8_t* w, int32_t* out, int threads) {
    StoreExact finish(out);
    if (g->depthwise)
        depthwise_forward(*g, x, w, finish, threads);
    else
        forward(*g, x, w, finish, threads);
}

// g int16 [N,P,Q,K], w -> out int16 [N,H,W,C]; returns the largest |v| before saturation, or -1,
// with nothing stored, where the weights' norm does not prove that 32 bits hold every sum.
int64_t e2_input_gradient(const Geometry* geometry, const int16_t* g, int g_bits, const int8_t* w,
                          const GradientStore* store, int16_t* out, int threads) {
    if (!fits_32_bits(*geometry, w, g_bits, store->shift)) return -1;
    const Source source{g, g_bits, 0, geometry->filters};
    return store->output_bits == 16
               ? masked_gradient<int16_t>(*geometry, source, w, *store, out, threads)
               : masked_gradient<int8_t>(*geometry, source, w, *store, out, threads);
}

// Exact input gradient for any operands: adds to out int64 [N,H,W,C], as many filters at a time as
// 32 bits hold for every weight.
void e2_input_gradient_exact(const Geometry* geometry, const int16_t* g, int g_bits,
                             const int8_t* w, int64_t* out, int threads) {
    AddWide finish(out);
    if (geometry->depthwise) {
        depthwise_input_gradient(*geometry, g, g_bits, w, finish, threads);
        return;
    }
    const int taps = geometry->kernel_h * geometry->kernel_w;
    const int at_once = std::max(1, (int)(((int64_t)1 << 31) / ((int64_t)taps * 127 * 32768)) - 1);
    for (int first = 0; first < geometry->filters; first += at_once) {
        const Source source{g, g_bits, first, std::min(at_once, geometry->filters - first)};
        input_gradient(*geometry, source, w, finish, threads);
    }
}

}  // extern "C"
#pragma GCC visibility pop
}  // namespace e2
