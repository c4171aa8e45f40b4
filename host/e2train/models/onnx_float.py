# SPDX-License-Identifier: Apache-2.0
"""The float network as plain ONNX: pixels in, logits out, normalisation included."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..network.parameters import Parameters
from ..network.spec import Block, NetworkSpec, Unit
from ..numerics.normalisation import EPSILON
from ..weights.fit import Normalisation
from .graph import BATCH, PICTURE, Graph


def float_model(
    spec: NetworkSpec, parameters: Parameters, input_: Normalisation, facts: dict[str, str]
) -> Any:
    """An onnx.ModelProto: float32 pixels 0 to 255 [N,C,H,W] -> logits [N, classes]."""
    graph = Graph()
    mean = graph.constant("mean", np.reshape(input_.mean, (1, -1, 1, 1)))
    deviation = graph.constant("deviation", np.reshape(input_.deviation, (1, -1, 1, 1)))
    centred = graph.node("Sub", "centred", [PICTURE, mean])
    x = graph.node("Div", "normalised", [centred, deviation])
    for block in spec.blocks:
        x = _block(graph, block, x, parameters)
    pooled = graph.node("GlobalAveragePool", "pool", [x])
    features = graph.node("Flatten", "features", [pooled], axis=1)
    weight = graph.constant("classifier.weight", parameters["classifier.weight"][:, :, 0, 0].T)
    graph.linear(features, weight, parameters["classifier.bias"])
    first = next(spec.units()).geometry
    shape = (first.channels, first.height, first.width)
    return graph.model(spec.name, shape, spec.classifier.filters, BATCH, facts)


def _block(graph: Graph, block: Block, x: str, parameters: Parameters) -> str:
    h = x
    for unit in block.units:
        h = _unit(graph, unit, h, parameters)
        if unit is block.units[-1] and block.skippable:
            h = graph.node("Add", f"{block.name}.sum", [h, _shortcut(graph, block, x)])
        h = graph.activation(unit.name, h, unit.activation)
    return h


def _unit(graph: Graph, unit: Unit, x: str, parameters: Parameters) -> str:
    name = unit.name
    weight = graph.constant(f"{name}.weight", parameters[f"{name}.weight"])
    y = graph.convolution(name, x, weight, unit.geometry)
    kinds = ("gamma", "beta", "running_mean", "running_variance")
    norm = [graph.constant(f"{name}.{kind}", parameters[f"{name}.{kind}"]) for kind in kinds]
    return graph.node("BatchNormalization", f"{name}.norm", [y, *norm], epsilon=EPSILON)


def _shortcut(graph: Graph, block: Block, x: str) -> str:
    """The block's input; of option A every second position, between channels of zeros."""
    if block.shortcut == "identity":
        return x
    first, last = block.units[0].geometry, block.units[-1].geometry
    more = last.filters - first.channels
    before, name = more // 2, f"{block.name}.shortcut"
    ends = {
        "starts": [0, 0],
        "ends": [first.height, first.width],
        "axes": [2, 3],
        "steps": [first.stride] * 2,
    }
    places = [graph.constant(f"{name}.{key}", value, np.int64) for key, value in ends.items()]
    kept = graph.node("Slice", f"{name}.positions", [x, *places])
    pads = [0, before, 0, 0, 0, more - before, 0, 0]
    return graph.node("Pad", name, [kept, graph.constant(f"{name}.pads", pads, np.int64)])
