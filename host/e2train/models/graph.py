# SPDX-License-Identifier: Apache-2.0
"""The parts of an ONNX graph that the float network and the integer network share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import __version__
from ..device.geometry import Geometry
from ..errors import UserError
from ..network.spec import Block

OPSET, IR_VERSION = 13, 8  # what FINN, hls4ml and runtimes of some years ago read
QONNX_DOMAIN = "qonnx.custom_op.general"
PICTURE, LOGITS = "pixels", "logits"
BATCH = "N"


def load_onnx() -> Any:
    """The package onnx, or UserError that says how to install it."""
    try:
        import onnx
    except ImportError:
        raise UserError("ONNX files need a package: pip install 'e2train[models]'") from None
    return onnx


class Graph:
    """Nodes in order, and constants; a tensor is its name."""

    def __init__(self) -> None:
        self.onnx = load_onnx()
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, values: Any, dtype: type = np.float32) -> str:
        """A named array."""
        array: np.ndarray = np.asarray(values, dtype)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def node(
        self, kind: str, name: str, inputs: Sequence[str], domain: str | None = None, **options: Any
    ) -> str:
        """A node called `name`, whose one output has that name."""
        make = self.onnx.helper.make_node
        self.nodes.append(make(kind, list(inputs), [name], name, domain=domain, **options))
        return name

    def convolution(self, name: str, x: str, weight: str, geometry: Geometry, *bias: str) -> str:
        """A convolution."""
        return self.node(
            "Conv",
            name,
            [x, weight, *bias],
            kernel_shape=list(geometry.kernel),
            strides=[geometry.stride] * 2,
            pads=[geometry.padding] * 4,
            dilations=[1, 1],
            group=geometry.groups,
        )

    def activation(self, name: str, x: str, kind: str) -> str:
        """ReLU, ReLU6 or nothing."""
        if kind == "none":
            return x
        if kind == "relu":
            return self.node("Relu", f"{name}.relu", [x])
        limits = [self.constant(f"{name}.{end}", value) for end, value in (("low", 0), ("high", 6))]
        return self.node("Clip", f"{name}.relu6", [x, *limits])

    def linear(self, features: str, weight: str, bias: np.ndarray) -> str:
        """[N, C] times [C, K], plus bias."""
        product = self.node("MatMul", "classifier.product", [features, weight])
        return self.node("Add", LOGITS, [product, self.constant("classifier.bias", bias)])

    def model(
        self, name: str, shape: Sequence[int], classes: int, batch: int | str, facts: dict[str, str]
    ) -> Any:
        """The whole model, checked. facts: metadata that viewers and runtimes show."""
        helper, kind = self.onnx.helper, self.onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info(PICTURE, kind, [batch, *shape])],
            [helper.make_tensor_value_info(LOGITS, kind, [batch, classes])],
            self.constants,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        if any(node.domain == QONNX_DOMAIN for node in self.nodes):
            opsets.append(helper.make_opsetid(QONNX_DOMAIN, 1))
        made = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=IR_VERSION,
            producer_name="e2train",
            producer_version=__version__,
        )
        helper.set_model_props(made, facts)
        if len(opsets) == 1:
            self.onnx.checker.check_model(made, full_check=True)
        return made


def shortcut_kernel(block: Block) -> np.ndarray:
    """Option A's shortcut as a 1x1 convolution: ones that copy channels, float32 [K,C,1,1]."""
    channels, filters = block.units[0].geometry.channels, block.units[-1].geometry.filters
    before = (filters - channels) // 2
    kernel = np.zeros((filters, channels, 1, 1), np.float32)
    kernel[before + np.arange(channels), np.arange(channels)] = 1.0
    return kernel
