# SPDX-License-Identifier: Apache-2.0
"""MobileNetV2 (Sandler et al. 2018, table 2) for 32x32 pictures: the first two strides are 1."""

from __future__ import annotations

from ..device.geometry import Geometry
from .spec import Block, NetworkSpec, Unit, linear

# expansion, output channels, repeats, stride of the first repeat
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280


def _inverted_residual(
    name: str, c: int, size: tuple[int, int], k: int, stride: int, expansion: int
) -> Block:
    hidden = c * expansion
    units = []
    if expansion != 1:
        units.append(Unit(f"{name}.expand", Geometry(c, *size, hidden, (1, 1), 1, 0, 1), "relu6"))
    depthwise = Geometry(hidden, *size, hidden, (3, 3), stride, 1, hidden)
    out = (depthwise.out_height, depthwise.out_width)
    units.append(Unit(f"{name}.depthwise", depthwise, "relu6"))
    units.append(Unit(f"{name}.project", Geometry(hidden, *out, k, (1, 1), 1, 0, 1), "none"))
    return Block(name, tuple(units), "identity" if stride == 1 and c == k else "none")


def mobilenet_v2(shape: tuple[int, int, int], classes: int) -> NetworkSpec:
    """MobileNetV2 of width 1.0 for pictures of `shape` (C, H, W)."""
    stem = Geometry(*shape, STEM_CHANNELS, (3, 3), 1, 1, 1)
    blocks = [Block("stem", (Unit("stem.conv", stem, "relu6"),), "none")]
    channels, size = STEM_CHANNELS, (shape[1], shape[2])
    for stage, (expansion, filters, repeats, first_stride) in enumerate(STAGES, start=1):
        for index in range(1, repeats + 1):
            stride = first_stride if index == 1 else 1
            name = f"stage{stage}.block{index}"
            block = _inverted_residual(name, channels, size, filters, stride, expansion)
            blocks.append(block)
            last = block.units[-1].geometry
            channels, size = filters, (last.out_height, last.out_width)
    head = Geometry(channels, *size, HEAD_CHANNELS, (1, 1), 1, 0, 1)
    blocks.append(Block("head", (Unit("head.conv", head, "relu6"),), "none"))
    return NetworkSpec("mobilenet-v2", tuple(blocks), linear(HEAD_CHANNELS, classes))
