# SPDX-License-Identifier: Apache-2.0
"""The networks by name: ResNet-(6n+2) and MobileNetV2 for small pictures.

ResNets for CIFAR follow He et al. 2016, section 4.2, with shortcuts of option A (no parameters);
MobileNetV2 follows Sandler et al. 2018, table 2, with strides of 1 in the first two places.
"""

from __future__ import annotations

import re

from ..device.geometry import Geometry
from ..errors import UserError
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


def network_spec(name: str, shape: tuple[int, int, int], classes: int) -> NetworkSpec:
    """The network called `name` (`resnet-8`, ..., `mobilenet-v2`) for pictures (C, H, W)."""
    if name == "mobilenet-v2":
        return mobilenet_v2(shape, classes)
    match = re.fullmatch(r"resnet-(\d{1,4})", name)
    if match is None:
        raise UserError(f"unknown network {name!r}: expected resnet-8/20/38/74/110 or mobilenet-v2")
    try:
        return resnet(int(match[1]), shape, classes)
    except ValueError as error:
        raise UserError(str(error)) from error
