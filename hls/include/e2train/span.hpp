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

// Divisions by the stride, which is 1 or 2: a divider in the array's feed loop would stall it.
inline Count floor_stride(const Axis& axis, Count value) {
    return axis.stride == 2 ? value >> 1 : value;
}

inline Count ceil_stride(const Axis& axis, Count value) {
    return axis.stride == 2 ? (value + 1) >> 1 : value;
}

inline Count by_stride(const Axis& axis, Count value) {
    return axis.stride == 2 ? 2 * value : value;
}

// Positions of the read plane that a span of the produced plane touches, padding left out.
inline Span source_span(const Axis& axis, Span span) {
    const Count last = span.begin + span.count - 1;
    Count begin = by_stride(axis, span.begin) - axis.padding;
    Count end = by_stride(axis, last) - axis.padding + axis.kernel;
    if (axis.transposed) {
        const Count first = larger(span.begin + axis.padding - axis.kernel + 1, 0);
        begin = ceil_stride(axis, first);
        end = floor_stride(axis, last + axis.padding) + 1;
    }
    begin = smaller(larger(begin, 0), axis.from);
    end = larger(smaller(end, axis.from), begin);
    const Span source = {begin, end - begin};
    return source;
}

// A region's words as bursts. Where it is as wide as its plane, its rows follow one another in
// memory and make one burst; each burst waits for the memory once.
struct Runs {
    Count count;
    Count words;  // of each
};

inline Runs runs_of(const Span& y, const Span& x, Count width) {
    const bool whole = x.count == width;
    const Runs runs = {whole ? 1 : y.count, whole ? times(y.count, x.count) : x.count};
    return runs;
}

// Most positions of the read plane that any span of `count` produced positions touches.
inline Count most_sources(const Axis& axis, Count count) {
    const Count most = axis.transposed ? floor_stride(axis, count + axis.kernel - 2) + 1
                                       : by_stride(axis, count - 1) + axis.kernel;
    return smaller(most, axis.from);
}

}  // namespace e2

#endif
