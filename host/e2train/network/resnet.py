# SPDX-License-Identifier: Apache-2.0
"""ResNet-(6n+2) for CIFAR (He et al. 2016, section 4.2), shortcuts of option A (no parameters)."""

from __future__ import annotations

from ..device.geometry import Geometry
from .spec import Block, NetworkSpec, Unit, linear

STAGE_CHANNELS = (16, 32, 64)


def _basic_block(name: str, c: int, size: tuple[int, int], k: int, stride: int) -> Block:
    first = Geometry(c, *size, k, (3, 3), stride, 1, 1)
    second = Geometry(k, first.out_height, first.out_width, k, (3, 3), 1, 1, 1)
    return Block(
        name,
        (Unit(f"{name}.conv1", first, "relu"), Unit(f"{name}.conv2", second, "relu")),
        "identity" if stride == 1 and c == k else "pad",
    )


def resnet(depth: int, shape: tuple[int, int, int], classes: int) -> NetworkSpec:
    """ResNet of `depth` = 6n+2 layers for pictures of `shape` (C, H, W).

    Raises ValueError for a depth that is not 6n+2.
    """
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"ResNet depth {depth}: expected 6n+2, such as 8, 20, 38, 74 or 110")
    stem = Geometry(*shape, STAGE_CHANNELS[0], (3, 3), 1, 1, 1)
    blocks = [Block("stem", (Unit("stem.conv", stem, "relu"),), "none")]
    channels, size = STAGE_CHANNELS[0], (shape[1], shape[2])
    for stage, filters in enumerate(STAGE_CHANNELS, start=1):
        for index in range(1, (depth - 2) // 6 + 1):
            stride = 2 if stage > 1 and index == 1 else 1
            block = _basic_block(f"stage{stage}.block{index}", channels, size, filters, stride)
            blocks.append(block)
            last = block.units[-1].geometry
            channels, size = filters, (last.out_height, last.out_width)
    return NetworkSpec(f"resnet-{depth}", tuple(blocks), linear(channels, classes))
