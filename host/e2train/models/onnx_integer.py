# SPDX-License-Identifier: Apache-2.0
"""The integer network as QONNX: Quant nodes carry the bits and scales of weights and activations.

QONNX (Pappalardo et al. 2022) is what FINN reads. Every scale is a power of two, and all
are the integer contract's. Batch norm is one multiplication and one addition a channel, by the
very multipliers and offsets of the accelerator; option A's shortcut is a 1x1 convolution of ones,
since such tools take no strided slices.

Quant nodes round halves to even, the contract rounds them up. Half of a step of the grid that the
exact sums lie on is added before: halves go up then, and nothing else changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..network.spec import Block
from .graph import PICTURE, QONNX_DOMAIN, Graph, shortcut_kernel
from .integers import NetworkIntegers, UnitIntegers

PICTURE_EXPONENT = -7


def integer_model(network: NetworkIntegers, facts: dict[str, str]) -> Any:
    """An onnx.ModelProto with Quant nodes: float32 pixels 0 to 255 [1,C,H,W] -> logits."""
    graph, spec = Graph(), network.spec
    mean = graph.constant("mean", np.reshape(network.mean, (1, -1, 1, 1)))
    scale = graph.constant("pixel_scale", np.float32(2.0**PICTURE_EXPONENT))
    centred = graph.node("Sub", "centred", [PICTURE, mean])
    scaled = graph.node("Mul", "scaled", [centred, scale])
    x = _quant(graph, "picture", scaled, PICTURE_EXPONENT, 8)
    for block in spec.blocks:
        x = _block(graph, network, block, x)
    pooled = graph.node("GlobalAveragePool", "pool", [x])
    flat = graph.node("Flatten", "flat", [pooled], axis=1)
    positions = spec.blocks[-1].units[-1].geometry
    step = network.stream_exponent - (positions.out_height * positions.out_width).bit_length() + 1
    features = _rounded(graph, "features", flat, step, network.features_exponent)
    weight = network.classifier[:, :, 0, 0].T
    quantised = _weight(graph, "classifier", weight, network.classifier_exponent)
    graph.linear(features, quantised, network.bias)
    first = next(spec.units()).geometry
    shape = (first.channels, first.height, first.width)
    return graph.model(spec.name, shape, spec.classifier.filters, 1, facts)


def _block(graph: Graph, network: NetworkIntegers, block: Block, stream: str) -> str:
    h = stream
    if block.name != "stem":
        exponents = network.stream_exponent, network.block_exponents[block.name]
        h = _rounded(graph, f"{block.name}.x", stream, *exponents)
    x_exponent = PICTURE_EXPONENT if block.name == "stem" else network.block_exponents[block.name]
    for unit in block.units:
        found = network.units[unit.name]
        h = _unit(graph, found, h, x_exponent)
        x_exponent = found.out_exponent
        last = unit is block.units[-1]
        if last and block.skippable:
            shortcut = _shortcut(graph, network, block, stream)
            h = graph.node("Add", f"{block.name}.sum", [h, shortcut])
        h = graph.activation(unit.name, h, unit.activation)
        bits = network.stream_bits if last else 8
        h = _quant(graph, f"{unit.name}.z", h, found.out_exponent, bits)
    return h


def _unit(graph: Graph, found: UnitIntegers, x: str, x_exponent: int) -> str:
    """Convolution and batch norm, as a multiplication and an addition a channel."""
    name = found.unit.name
    weight = _weight(graph, name, found.weight, found.weight_exponent)
    step = x_exponent + found.weight_exponent
    bias = []
    if found.y_exponent > step:
        halves = np.full(len(found.weight), 2.0 ** (step - 1))
        bias = [graph.constant(f"{name}.half_step", halves)]
    y = graph.convolution(name, x, weight, found.unit.geometry, *bias)
    rounded = _quant(graph, f"{name}.y", y, found.y_exponent, 16)
    slope = graph.constant(f"{name}.slope", found.slope.reshape(1, -1, 1, 1))
    constant = graph.constant(f"{name}.constant", found.constant.reshape(1, -1, 1, 1))
    scaled = graph.node("Mul", f"{name}.scaled", [rounded, slope])
    return graph.node("Add", f"{name}.norm", [scaled, constant])


def _shortcut(graph: Graph, network: NetworkIntegers, block: Block, stream: str) -> str:
    if block.shortcut == "identity":
        return stream
    name = f"{block.name}.shortcut"
    weight = _weight(graph, name, shortcut_kernel(block), 0, bits=2)
    stride = block.units[0].geometry.stride
    return graph.node(
        "Conv",
        name,
        [stream, weight],
        kernel_shape=[1, 1],
        strides=[stride, stride],
        pads=[0] * 4,
        dilations=[1, 1],
        group=1,
    )


def _weight(graph: Graph, name: str, integers: np.ndarray, exponent: int, bits: int = 8) -> str:
    real = np.ldexp(integers.astype(np.float32), exponent)
    constant = graph.constant(f"{name}.weight", real)
    return _quant(graph, f"{name}.quantised", constant, exponent, bits, narrow=True)


def _rounded(graph: Graph, name: str, x: str, step: int, exponent: int) -> str:
    """Narrow to 8 bits times 2^exponent what is a multiple of 2^step; halves go up."""
    if exponent > step:
        half_step = graph.constant(f"{name}.half_step", np.float32(2.0 ** (step - 1)))
        x = graph.node("Add", f"{name}.sum", [x, half_step])
    return _quant(graph, name, x, exponent, 8)


def _quant(
    graph: Graph, name: str, x: str, exponent: int, bits: int, *, narrow: bool = False
) -> str:
    """Round to signed integers of `bits` times 2^exponent; `narrow` leaves the lowest out."""
    values = {"scale": np.float32(2.0**exponent), "zero": 0.0, "bits": float(bits)}
    given = [graph.constant(f"{name}.{key}", value) for key, value in values.items()]
    return graph.node(
        "Quant",
        name,
        [x, *given],
        domain=QONNX_DOMAIN,
        signed=1,
        narrow=int(narrow),
        rounding_mode="ROUND",
    )
