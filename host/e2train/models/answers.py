# SPDX-License-Identifier: Apache-2.0
"""Answers of exported files: each is read back and run by the program that it was written for."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..device.counter import Counter
from ..network.float32 import FloatArithmetic
from ..network.float_backend import float_backend
from ..network.network import Network
from ..network.parameters import Parameters
from ..network.spec import NetworkSpec
from ..training.bring import answers
from ..weights.files import read_weights
from ..weights.fit import Normalisation, fit
from .graph import LOGITS, PICTURE
from .plain_torch import plain_network

BATCH = 250
QONNX_BATCH = 50  # the executor holds every tensor of a batch at once


def in_batches(
    run: Callable[[np.ndarray], np.ndarray], images: np.ndarray, size: int = BATCH
) -> np.ndarray:
    """The largest logit's class of each picture, int64 [N]; `run` gives logits of a batch."""
    parts = [run(images[at : at + size]).argmax(axis=1) for at in range(0, len(images), size)]
    return np.concatenate(parts)


def torch_answers(
    path: Path, spec: NetworkSpec, input_: Normalisation, images: np.ndarray
) -> np.ndarray:
    """Of a torch file, in torch's own modules."""
    import torch

    channels, classes = images.shape[1], spec.classifier.filters
    network = plain_network(spec.name, channels, classes)
    network.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    network.eval()
    mean, deviation = (
        torch.tensor(values, dtype=torch.float32)[:, None, None]
        for values in (input_.mean, input_.deviation)
    )

    def run(part: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = network((torch.from_numpy(part).float() - mean) / deviation).numpy()
        return found

    return in_batches(run, images)


def weights_answers(
    path: Path, spec: NetworkSpec, parameters: Parameters, input_: Normalisation, images: np.ndarray
) -> np.ndarray:
    """Of a safetensors file, read back as another's would be, in float32 here.

    `parameters` give the shapes; their values are not used.
    """
    read = {name: np.zeros_like(value) for name, value in parameters.items()}
    fit(read_weights(path), spec, read, False)
    mean = tuple(int(value) for value in input_.mean)
    arithmetic = FloatArithmetic(float_backend(), Counter(), mean, input_.deviation)
    return answers(Network(spec, arithmetic, read), images)


def onnx_answers(path: Path, images: np.ndarray) -> np.ndarray:
    """Of an ONNX file, in onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(part: np.ndarray) -> np.ndarray:
        found: np.ndarray = session.run([LOGITS], {PICTURE: part.astype(np.float32)})[0]
        return found

    return in_batches(run, images)


def qonnx_answers(path: Path, images: np.ndarray) -> np.ndarray:
    """Of a QONNX file, in the executor of the package qonnx."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.change_batchsize import ChangeBatchSize
    from qonnx.transformation.infer_shapes import InferShapes

    size = min(QONNX_BATCH, len(images))
    model = ModelWrapper(str(path)).transform(ChangeBatchSize(size)).transform(InferShapes())

    def run(part: np.ndarray) -> np.ndarray:
        whole = np.zeros((size, *part.shape[1:]), np.float32)
        whole[: len(part)] = part
        found: np.ndarray = execute_onnx(model, {PICTURE: whole})[LOGITS]
        return found[: len(part)]

    return in_batches(run, images, size)


def hls_answers(model: Any, pictures: np.ndarray) -> np.ndarray:
    """Of an hls4ml project that has been compiled; `pictures` as `hls_input` makes them."""
    with contextlib.redirect_stdout(io.StringIO()):
        logits = np.asarray(model.predict(pictures)).reshape(len(pictures), -1)
    return logits.argmax(axis=1)
