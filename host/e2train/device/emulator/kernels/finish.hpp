// SPDX-License-Identifier: Apache-2.0
// What happens to accumulators on their way to memory, so that no tensor is read a second time.
#pragma once

#include <algorithm>

#include "geometry.hpp"
#include "lanes.hpp"

namespace e2 {

// A stretch of accumulators: `positions` x `lanes` in a buffer, of which `valid` lanes are real
// channels; `at` is the tensor offset of the first one and `step` that of the next position.
struct Stretch {
    const int32_t* accumulators;
    int positions, lanes, channel, valid;
    ptrdiff_t at, step;
};

// A finisher is called for every stretch. Each thread works on one of its own, made by fresh(),
// which reads only what never changes, and joins what it gathered at the end.

constexpr int SUMMED_AT_ONCE = 32768;  // 16-bit values that a 32-bit lane can sum

// Stores accumulators as they are.
class StoreExact {
  public:
    explicit StoreExact(int32_t* out) : out_(out) {}
    void operator()(const Stretch& s) {
        for (int q = 0; q < s.positions; ++q)
            std::memcpy(out_ + s.at + q * s.step, s.accumulators + (ptrdiff_t)q * s.lanes,
                        sizeof(int32_t) * s.valid);
    }
    StoreExact fresh() const { return StoreExact(out_); }
    void join(const StoreExact&) {}

  private:
    int32_t* out_;
};

// Adds accumulators to 64-bit sums.
class AddWide {
  public:
    explicit AddWide(int64_t* out) : out_(out) {}
    void operator()(const Stretch& s) {
        for (int q = 0; q < s.positions; ++q)
            for (int k = 0; k < s.valid; ++k)
                out_[s.at + q * s.step + k] += s.accumulators[(ptrdiff_t)q * s.lanes + k];
    }
    AddWide fresh() const { return AddWide(out_); }
    void join(const AddWide&) {}

  private:
    int64_t* out_;
};

// Requantises to 16 bits; gathers the largest |accumulator| and the channels' sums of y and y^2.
class Requantise {
  public:
    Requantise(int shift, int channels, int16_t* y)
        : shift_(shift), channels_(channels), y_(y), sums_(2 * channels, 0) {}

    void operator()(const Stretch& s) {
        for (int v = 0; v < s.valid; v += LANES)
            for (int q = 0; q < s.positions; q += SUMMED_AT_ONCE)
                if (s.valid - v >= LANES)
                    column<true>(s, v, q, std::min(s.positions, q + SUMMED_AT_ONCE));
                else
                    column<false>(s, v, q, std::min(s.positions, q + SUMMED_AT_ONCE));
    }
    Requantise fresh() const { return Requantise(shift_, channels_, y_); }
    void join(const Requantise& o) {
        peak_ = max(peak_, o.peak_);
        for (int i = 0; i < 2 * channels_; ++i) sums_[i] += o.sums_.get()[i];
    }
    int64_t peak() const { return largest(peak_); }
    const int64_t* total() const { return sums_.get(); }
    const int64_t* squares() const { return sums_.get() + channels_; }

  private:
    static Vec narrowed(Vec accumulator, int shift) {
        if (shift > 0) return saturate16(round_shift(accumulator, shift));
        // saturating before the shift as well keeps it inside 32 bits and changes nothing
        return saturate16(saturate16(accumulator) << std::min(-shift, 15));
    }

    template <bool FULL>
    void column(const Stretch& s, int v, int begin, int end) {
        const int count = FULL ? LANES : s.valid - v, shift = shift_;
        Vec top{}, total{}, low{}, high{};
        for (int q = begin; q < end; ++q) {
            const Vec accumulator = load(s.accumulators + (ptrdiff_t)q * s.lanes + v, count);
            const Vec y = narrowed(accumulator, shift);
            const Vec square = y * y;  // at most 2^30: two 15-bit halves and a carry
            top = max(top, magnitude(accumulator));
            total += y;
            low += square & 0x7fff;
            high += square >> 15;
            store(y_ + s.at + q * s.step + v, y, count);
        }
        peak_ = max(peak_, top);
        for (int i = 0; i < count; ++i) {
            const int k = s.channel + v + i;
            sums_[k] += total[i];
            sums_[channels_ + k] += ((int64_t)high[i] << 15) + low[i];
        }
    }

    int shift_, channels_;
    int16_t* y_;
    Buffer<int64_t> sums_;
    Vec peak_{};
};

// Requantises an input gradient, masks it by the unit's output and adds the residual's gradient.
// Accumulators, shifted and with the residual, must fit 32 bits.
template <class Output>
class MaskedGradient {
  public:
    MaskedGradient(const GradientStore& how, int16_t* out) : how_(how), out_(out) {}

    void operator()(const Stretch& s) {
        for (int v = 0; v < s.valid; v += LANES)
            if (s.valid - v >= LANES)
                column<true>(s, v);
            else
                column<false>(s, v);
    }
    MaskedGradient fresh() const { return MaskedGradient(how_, out_); }
    void join(const MaskedGradient& o) { peak_ = max(peak_, o.peak_); }
    int64_t peak() const { return largest(peak_); }

  private:
    template <bool FULL>
    void column(const Stretch& s, int v) {
        const int count = FULL ? LANES : s.valid - v, shift = how_.shift;
        const Output* output = how_.output_bits ? static_cast<const Output*>(how_.output) : nullptr;
        const int16_t* residual = how_.residual;
        const Vec ceiling = splat(how_.ceiling);
        Vec top{};
        for (int q = 0; q < s.positions; ++q) {
            const ptrdiff_t at = s.at + q * s.step + v;
            Vec g = load(s.accumulators + (ptrdiff_t)q * s.lanes + v, count);
            g = shift > 0 ? round_shift(g, shift) : g << -shift;
            if (output) {
                const Vec o = load(output + at, count);
                g &= (o > 0) & (o < ceiling);
            }
            if (residual) g += load(residual + at, count);
            top = max(top, magnitude(g));
            store(out_ + at, saturate16(g), count);
        }
        peak_ = max(peak_, top);
    }

    GradientStore how_;
    int16_t* out_;
    Vec peak_{};
};

}  // namespace e2
