# SPDX-License-Identifier: Apache-2.0
"""Geometries to draw, and what a tile touches, for tests of plans and of the performance model."""

from hypothesis import strategies as st

from e2train.device.geometry import Geometry


@st.composite
def geometries(draw, channels=300, filters=300, size=40):
    kernel = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    padding = draw(st.integers(0, max(kernel) - 1))
    height, width = (
        draw(st.integers(max(1, side - 2 * padding), max(side, size))) for side in kernel
    )
    count = draw(st.integers(1, channels))
    depthwise = draw(st.booleans())
    if depthwise:
        count = filters = draw(st.integers(1, min(channels, filters)))
    else:
        filters = draw(st.integers(1, filters))
    groups = count if depthwise else 1
    stride = draw(st.integers(1, 2))
    return Geometry(count, height, width, filters, kernel, stride, padding, groups)


def touched(begin, count, kernel, stride, padding, read, transposed):
    """Positions of the plane read from the first to the last that a run of produced ones spans."""
    last = begin + count - 1
    if transposed:
        low, high = begin + padding - kernel + 1, last + padding
        return sum(low <= source * stride <= high for source in range(read))
    low, high = begin * stride - padding, last * stride - padding + kernel - 1
    return sum(low <= source <= high for source in range(read))
