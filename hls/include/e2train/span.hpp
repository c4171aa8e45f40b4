// SPDX-License-Identifier: Apache-2.0
// Which input positions an output position needs, along one axis.
#ifndef E2TRAIN_SPAN_HPP
#define E2TRAIN_SPAN_HPP

#include "e2train/types.hpp"

namespace e2 {

// Positions begin .. begin + count - 1.
struct Span {
    Count begin;
    Count count;
};

// One axis of a convolution. `transposed`: from output gradient to input gradient.
struct Axis {
    Count from;  // size of the plane that is read
    Count to;    // size of the plane that is produced
    Count kernel;
    Count stride;
    Count padding;
    bool transposed;
};

inline Count smaller(Count a, Count b) {
    return a < b ? a : b;
}
inline Count larger(Count a, Count b) {
    return a > b ? a : b;
}
inline Count ceil_divide(Count a, Count b) {
    return (a + b - 1) / b;
}

// First tap that meets `position`, and the distance to the next: with stride 2 a transposed
// convolution meets only every second tap.
inline Count first_tap(const Axis& axis, Count position) {
    return axis.transposed ? (position + axis.padding) % axis.stride : 0;
}

inline Count tap_step(const Axis& axis) {
    return axis.transposed ? axis.stride : 1;
}

inline Count taps_of(const Axis& axis, Count position) {
    const Count first = first_tap(axis, position);
    return first < axis.kernel ? ceil_divide(axis.kernel - first, tap_step(axis)) : 0;
}

// Position that tap `tap` reads for `position`; outside 0 .. from-1 it is padding, thus zero.
inline Count source_of(const Axis& axis, Count position, Count tap) {
    const Count shifted = position + axis.padding - tap;  // a multiple of the stride
    // Halving floors, as an arithmetic shift does: positions before the plane stay negative.
    const Count halved = axis.stride == 2 ? shifted >> 1 : shifted;
    return axis.transposed ? halved : position * axis.stride - axis.padding + tap;
}

// Positions of the read plane that a span of the produced plane touches, padding left out.
inline Span source_span(const Axis& axis, Span span) {
    const Count last = span.begin + span.count - 1;
    Count begin = span.begin * axis.stride - axis.padding;
    Count end = last * axis.stride - axis.padding + axis.kernel;
    if (axis.transposed) {
        const Count first = larger(span.begin + axis.padding - axis.kernel + 1, 0);
        begin = ceil_divide(first, axis.stride);
        end = (last + axis.padding) / axis.stride + 1;
    }
    begin = smaller(larger(begin, 0), axis.from);
    end = larger(smaller(end, axis.from), begin);
    const Span source = {begin, end - begin};
    return source;
}

// Most positions of the read plane that any span of `count` produced positions touches.
inline Count most_sources(const Axis& axis, Count count) {
    const Count most = axis.transposed ? (count + axis.kernel - 2) / axis.stride + 1
                                       : (count - 1) * axis.stride + axis.kernel;
    return smaller(most, axis.from);
}

}  // namespace e2

#endif
