# SPDX-License-Identifier: Apache-2.0
"""Weights files: what is read, and what is refused in one line without running anything."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from e2train.errors import UserError
from e2train.weights.files import read_weights


class RunsCode:
    """Unpickled without care, it makes a file."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.made}",)


def refused(path: Path, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        read_weights(path)
    line = str(caught.value)
    assert line.startswith(str(path)) and "\n" not in line and "\x1b" not in line
    for word in words:
        assert word in line


def tensors() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([0.5, -1.0])}


WRITERS: dict[str, Callable[[Path], None]] = {
    "safetensors": lambda path: save_file(tensors(), path),
    "state-dict": lambda path: torch.save(tensors(), path),
    "old-pickle": lambda path: torch.save(tensors(), path, _use_new_zipfile_serialization=False),
    "wrapped": lambda path: torch.save({"epoch": 3, "state_dict": tensors()}, path),
    "parallel": lambda path: torch.save({f"module.{n}": t for n, t in tensors().items()}, path),
    "float64": lambda path: torch.save({n: t.double() for n, t in tensors().items()}, path),
    "bfloat16": lambda path: torch.save({n: t.bfloat16() for n, t in tensors().items()}, path),
    "counters": lambda path: torch.save(
        tensors() | {"a.num_batches_tracked": torch.tensor(7)}, path
    ),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_reads(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file-without-a-telling-name"
    WRITERS[kind](path)
    found = read_weights(path).arrays
    assert found.keys() == {"a.weight", "a.bias"}
    for name, tensor in tensors().items():
        assert found[name].dtype == np.float32
        assert np.array_equal(found[name], tensor.numpy())


@pytest.mark.parametrize("new", [True, False])
def test_code_in_a_pickle_is_refused_and_not_run(new: bool, tmp_path: Path) -> None:
    made, path = tmp_path / "made", tmp_path / "model.pt"
    torch.save({"a": RunsCode(made)}, path, _use_new_zipfile_serialization=new)
    refused(path, "run code", "posix.system", "torch.save(model.state_dict()", "safetensors")
    assert not made.exists()


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(nn.Linear(2, 2), path)
    refused(path, "run code", "torch.nn.modules.linear.Linear", "torch.save(model.state_dict()")


@pytest.mark.parametrize("kind", ["safetensors", "state-dict", "old-pickle"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.98])
def test_truncated(kind: str, part: float, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    WRITERS[kind](path)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(int(len(whole) * part), 1)])
    refused(path)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"hello world, this is text", "neither safetensors nor a PyTorch state dict"),
        (b"PK\x03\x04" + b"\0" * 80, "no whole PyTorch file"),
        (b"\x80\x02}q\x00junk", "no whole PyTorch file"),
        ((1 << 62).to_bytes(8, "little") + b"{}", "safetensors"),
        ((10).to_bytes(8, "little") + b"{\xff\xff\xff", "safetensors"),
    ],
)
def test_no_weights_file(content: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(content)
    refused(path, word)


def test_an_onnx_model_is_told_what_to_do(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
    path = tmp_path / "other.onnx"
    save(helper.make_model(graph), path)
    refused(path, "of an ONNX model, bring the weights")


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (torch.tensor([1.0, float("nan")]), "NaN"),
        (torch.tensor([1e300], dtype=torch.float64), "infinities"),
        (torch.tensor([1, 2]), "int64"),
        (torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "quantised"),
        (3.5, "is no tensor"),
    ],
)
def test_other_tensors(value: object, word: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"a.weight": value}, path)
    refused(path, "a.weight", word)


def test_no_tensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    for held, word in (({}, "no tensors"), ([1, 2], "holds a list")):
        torch.save(held, path)
        refused(path, word)


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.pt", "No such file")
    refused(tmp_path, "directory")
