# SPDX-License-Identifier: Apache-2.0
"""An hls4ml project of the integer network: inference alone, on the programmable logic.

hls4ml 1.3.0's own ONNX reader stops at constants a channel, so the layers are given to it one by
one, each with the fixed-point types that make it compute the integer contract: `AP_RND` rounds
halves up, `AP_SAT` saturates. Built and run here with g++; synthesis needs Vitis HLS.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..device.geometry import Geometry
from ..errors import UserError
from ..network.spec import Block
from .graph import LOGITS, PICTURE, shortcut_kernel
from .integers import NetworkIntegers, UnitIntegers
from .onnx_integer import PICTURE_EXPONENT

PART, CLOCK_NS = "xc7z020clg484-1", 10
MULTIPLIERS = 16  # a layer may have at a time: the part has 220 DSP slices in all
PROJECT = "network"
ROUNDED = "AP_RND, AP_SAT"


def load_hls4ml() -> Any:
    """The package hls4ml, or UserError that says how to install it."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import hls4ml
    except ImportError:
        raise UserError("--format hls4ml needs hls4ml: pip install 'e2train[hls]'") from None
    return hls4ml


def fixed(bits: int, exponent: int, modes: str = "") -> str:
    """The type of integers of `bits` times 2^exponent."""
    return f"ap_fixed<{bits},{bits + exponent}{', ' + modes if modes else ''}>"


class _Layers:
    """hls4ml's layers, with their types beside them; a layer is its name."""

    def __init__(self) -> None:
        self.layers: list[dict[str, Any]] = []
        self.types: dict[str, dict[str, Any]] = {}

    def add(
        self, kind: str, name: str, inputs: list[str], types: dict[str, str], **facts: Any
    ) -> str:
        plain = name.replace(".", "_")
        layer = {"class_name": kind, "name": plain, "data_format": "channels_last", **facts}
        if inputs:
            layer["inputs"] = inputs
        self.layers.append(layer)
        self.types[plain] = {"Precision": types}
        return plain

    def convolution(
        self, name: str, x: str, weight: np.ndarray, geometry: Geometry, types: dict[str, str]
    ) -> str:
        """`weight` [K,C/groups,R,S] in real numbers."""
        (rows, columns), padding = geometry.kernel, geometry.padding
        facts = {
            "in_height": geometry.height,
            "in_width": geometry.width,
            "n_chan": geometry.channels,
            "n_filt": geometry.filters,
            "filt_height": rows,
            "filt_width": columns,
            "stride_height": geometry.stride,
            "stride_width": geometry.stride,
            "out_height": geometry.out_height,
            "out_width": geometry.out_width,
            **{f"pad_{side}": padding for side in ("top", "bottom", "left", "right")},
            "weight_data": weight.transpose(2, 3, 1, 0).astype(np.float64),
            "bias_data": np.zeros(geometry.filters),
        }
        made = self.add("Conv2D", name, [x], types, **facts)
        self.types[made]["ReuseFactor"] = max(geometry.weights // MULTIPLIERS, 1)
        self.types[made]["Strategy"] = "Resource"
        return made


def hls_model(network: NetworkIntegers, folder: Path, part: str) -> Any:
    """hls4ml's ModelGraph, to be written to `folder`; nothing is written yet.

    Its input: (pixel - mean) x 2^-7, saturated to 8 bits, [H,W,C] a picture. UserError for networks
    with layers that hls4ml does not have.
    """
    spec = network.spec
    if any(unit.activation == "relu6" or unit.geometry.groups > 1 for unit in spec.units()):
        raise UserError(
            f"--format hls4ml: {spec.name} has ReLU6 and depthwise layers, which are not written "
            "for hls4ml: take --format qonnx"
        )
    hls4ml = load_hls4ml()
    layers = _Layers()
    first = next(spec.units()).geometry
    shape = [first.height, first.width, first.channels]
    picture = {"result": fixed(8, PICTURE_EXPONENT)}
    x = layers.add("InputLayer", PICTURE, [], picture, input_shape=shape)
    for block in spec.blocks:
        x = _block(layers, network, block, x)
    _classifier(layers, network, x)
    settings = {"Model": {"Precision": "ap_fixed<32,16>", "ReuseFactor": 1, "Strategy": "Latency"}}
    options = {"output_dir": str(folder), "project_name": PROJECT, "backend": "Vitis"}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own passes, about each other's attributes
        config = hls4ml.utils.config.create_config(
            **options, part=part, clock_period=CLOCK_NS, io_type="io_stream"
        )
        config["HLSConfig"] = {**settings, "LayerName": layers.types}
        return hls4ml.model.graph.ModelGraph.from_layer_list(config, layers.layers)


def _block(layers: _Layers, network: NetworkIntegers, block: Block, stream: str) -> str:
    stream_type = fixed(network.stream_bits, network.stream_exponent)
    h, exponent = stream, PICTURE_EXPONENT
    if block.name != "stem":
        exponent = network.block_exponents[block.name]
        narrowed = {"result": fixed(8, exponent, ROUNDED)}
        h = layers.add("Activation", f"{block.name}.x", [stream], narrowed, activation="linear")
    for unit in block.units:
        found, last = network.units[unit.name], unit is block.units[-1]
        h = _unit(layers, found, h, exponent, 32 if last else 8)
        exponent = found.out_exponent
        if last and block.skippable:
            shortcut = _shortcut(layers, block, stream, stream_type)
            summed = {"result": fixed(33, exponent)}
            inputs = [h, shortcut]
            h = layers.add("Merge", f"{block.name}.sum", inputs, summed, op="add")
        result = fixed(network.stream_bits if last else 8, exponent, "AP_TRN, AP_SAT")
        types = {"result": result}
        h = layers.add("Activation", f"{unit.name}.relu", [h], types, activation=unit.activation)
    return h


def _unit(layers: _Layers, found: UnitIntegers, x: str, x_exponent: int, bits: int) -> str:
    """Convolution to 16 bits, then batch norm to `bits`."""
    unit, product = found.unit, x_exponent + found.weight_exponent
    weight = np.ldexp(found.weight.astype(np.float64), found.weight_exponent)
    types = {
        "weight": fixed(8, found.weight_exponent),
        "bias": fixed(8, product),
        "accum": fixed(32, product),
        "result": fixed(16, found.y_exponent, ROUNDED),
    }
    y = layers.convolution(unit.name, x, weight, unit.geometry, types)
    types = {
        "scale": fixed(16, found.out_exponent - found.y_exponent - found.bn_shift),
        "bias": fixed(31, found.out_exponent - found.bn_shift),
        "result": fixed(bits, found.out_exponent, ROUNDED),
    }
    return layers.add(
        "BatchNormalization",
        f"{unit.name}.norm",
        [y],
        types,
        n_in=unit.geometry.output_size,
        n_filt=unit.geometry.filters,
        scale_data=found.slope,
        bias_data=found.constant,
    )


def _shortcut(layers: _Layers, block: Block, stream: str, stream_type: str) -> str:
    """Option A as a 1x1 convolution of ones."""
    if block.shortcut == "identity":
        return stream
    first, last = block.units[0].geometry, block.units[-1].geometry
    geometry = Geometry(
        first.channels, first.height, first.width, last.filters, (1, 1), first.stride, 0, 1
    )
    types = {
        "weight": "ap_fixed<2,2>",
        "bias": "ap_fixed<2,2>",
        "accum": stream_type,
        "result": stream_type,
    }
    return layers.convolution(
        f"{block.name}.shortcut", stream, shortcut_kernel(block), geometry, types
    )


def _classifier(layers: _Layers, network: NetworkIntegers, stream: str) -> None:
    last = network.spec.blocks[-1].units[-1].geometry
    area = last.out_height * last.out_width
    finer = network.stream_exponent - (area.bit_length() - 1)  # so that the mean is exact
    types = {"accum": fixed(40, finer), "result": fixed(8, network.features_exponent, ROUNDED)}
    features = layers.add(
        "GlobalAveragePooling2D",
        "pool",
        [stream],
        types,
        in_height=last.out_height,
        in_width=last.out_width,
        n_filt=last.filters,
        pool_op="Average",
        keepdims=False,
    )
    weight = np.ldexp(
        network.classifier[:, :, 0, 0].astype(np.float64), network.classifier_exponent
    )
    product = network.features_exponent + network.classifier_exponent
    types = {
        "weight": fixed(8, network.classifier_exponent),
        "bias": fixed(32, product - 8),
        "accum": fixed(40, product - 8),
        "result": fixed(40, product - 8),
    }
    layers.add(
        "Dense",
        LOGITS,
        [features],
        types,
        n_in=last.filters,
        n_out=len(weight),
        weight_data=weight.T,
        bias_data=network.bias.astype(np.float64),
    )


def hls_input(images: np.ndarray, mean: tuple[int, ...]) -> np.ndarray:
    """What the project takes: uint8 pictures [N,C,H,W] -> float32 [N,H,W,C]."""
    centred = images.astype(np.int16) - np.asarray(mean, np.int16)[:, None, None]
    scaled = np.clip(centred, -128, 127).astype(np.float32) * np.float32(2.0**PICTURE_EXPONENT)
    return np.ascontiguousarray(scaled.transpose(0, 2, 3, 1))
