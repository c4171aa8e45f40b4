# SPDX-License-Identifier: Apache-2.0
"""Take a model away: a run's network as a file of another program, checked before it is kept.

The file is written beside its place, read back, and asked about test pictures; only if it answers
as the emulator does is it moved to its place, whole.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.load import load_data
from ..device.base import Device
from ..errors import UserError
from ..files import write_atomically, write_text
from ..network.parameters import Parameters
from ..training.bring import answers
from ..weights.layouts import layouts
from . import answers as asked
from .facts import KEY, facts_of, metadata, normalisation_of
from .graph import load_onnx
from .hls_project import PART, hls_input, hls_model
from .integers import NetworkIntegers, integers_of
from .onnx_float import float_model
from .onnx_integer import integer_model
from .trained import Trained, load_trained, needs_device

TORCH, SAFETENSORS, ONNX, QONNX, HLS4ML = "torch", "safetensors", "onnx", "qonnx", "hls4ml"


@dataclass(frozen=True)
class Format:
    """name: of the file in the run's folder; bound: percent of answers that must be the emulator's;
    float_bound: the same of float weights that integers trained; pictures: test pictures asked.
    """

    name: str
    integers: bool
    bound: float
    float_bound: float
    pictures: int


#: Float files of integer runs leave the roundings out, which moves answers near a tie.
FORMATS = {
    TORCH: Format("model.pt", False, 99.9, 95.0, 10_000),
    SAFETENSORS: Format("model.safetensors", False, 99.9, 95.0, 10_000),
    ONNX: Format("model.onnx", False, 99.9, 95.0, 10_000),
    QONNX: Format("model.qonnx.onnx", True, 99.5, 99.5, 1000),
    HLS4ML: Format("hls4ml", True, 98.0, 98.0, 360),
}


@dataclass(frozen=True)
class Request:
    """What to export, and where to; force: whatever the answers, and over what is there."""

    run: Path
    format: str
    out: Path | None = None
    data: Path | None = None
    pictures: int | None = None
    part: str = PART
    force: bool = False


@dataclass(frozen=True)
class Exported:
    """alike: percent of `pictures` test pictures with the emulator's answer; top-1 in percent."""

    path: Path
    format: str
    alike: float
    bound: float
    pictures: int
    emulator_top1: float
    exported_top1: float
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """For people."""
        return [
            *self.notes,
            f"{self.format}: the same answer as the emulator to {self.alike:.2f} % of "
            f"{self.pictures:,} test pictures; top-1 {self.emulator_top1:.2f} % in the emulator, "
            f"{self.exported_top1:.2f} % exported",
        ]


def export(request: Request, device: Device | None) -> Exported:
    """Write, check and keep one file. UserError where it cannot be, and then there is none."""
    kind = FORMATS[request.format]
    if kind.integers and not needs_device(request.run):
        raise UserError(
            f"--format {request.format}: {request.run} was trained in float32 and has no integers: "
            "start an experiment with method.arithmetic = 'fixed' from its weights "
            "(finetune.weights), or take --format onnx"
        )
    place = request.run / kind.name if request.out is None else request.out
    if place.exists() and not request.force:
        raise UserError(f"{place}: exists already: pass --force to replace it, or another --out")
    _check_packages(request.format)
    trained = load_trained(request.run, request.data, device)
    data = load_data(trained.experiment.data, request.data)
    count = min(request.pictures or kind.pictures, len(data.test_labels))
    images, labels = data.test_images[:count], data.test_labels[:count]
    part = place.with_name(place.name + ".part")
    _remove(part)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        found = _WRITERS[request.format](trained, part, images, request)
        expected = answers(trained.all_blocks(), images)
        float_path = trained.parts.fixed is None or kind.integers
        bound = kind.bound if float_path else kind.float_bound
        alike = 100.0 * float((found == expected).mean())
        if alike < bound and not request.force:
            raise UserError(
                f"{place}: not written: the exported model gives the emulator's answer to only "
                f"{alike:.2f} % of {count:,} test pictures, {bound} % are expected: "
                "pass --force to keep it"
            )
        _keep(part, place)
    finally:
        _remove(part)
    tops = [100.0 * float((one == labels).mean()) for one in (expected, found)]
    notes = _notes(trained, tops[0], count)
    return Exported(place, request.format, alike, bound, count, tops[0], tops[1], notes)


def _check_packages(format_: str) -> None:
    """UserError now, and not after minutes, for a package that is missing."""
    needed = {
        TORCH: (("torch",), "emulator"),
        SAFETENSORS: (("safetensors",), "models"),
        ONNX: (("onnx", "onnxruntime"), "models"),
        QONNX: (("onnx", "qonnx"), "models"),
        HLS4ML: (("hls4ml",), "hls"),
    }
    from importlib.util import find_spec

    packages, extra = needed[format_]
    for package in packages:
        if find_spec(package) is None:
            raise UserError(f"--format {format_} needs {package}: pip install 'e2train[{extra}]'")


def _blocks(trained: Trained) -> str:
    """What became of skipping."""
    if trained.parts.gates is not None:
        return "all blocks run for every picture; the gates that chose among them are left out"
    if trained.parts.policy is not None:
        return "all blocks run; stochastic depth's scales are in the batch norms"
    return "all blocks run"


def _notes(trained: Trained, top1: float, count: int) -> tuple[str, ...]:
    found = []
    if not trained.cell:
        found.append(
            f"the run is not finished: {trained.iteration} of {trained.experiment.offered} "
            "mini-batches offered"
        )
    if trained.parts.gates is not None:
        skip, own = trained.cell.get("evaluation_skip"), trained.cell.get("top1")
        found.append(
            f"exported with all blocks, without gates: top-1 {top1:.2f} % of {count:,} pictures"
            + (
                ""
                if own is None
                else f"; with gates the run had {own:.2f} % at {skip:.1f} % skipped"
            )
        )
    return tuple(found)


def _facts(trained: Trained) -> dict[str, Any]:
    return facts_of(trained, _blocks(trained))


def _common(trained: Trained, parameters: Parameters) -> dict[str, np.ndarray]:
    """The parameters by the names of other programs, as their state dicts have them."""
    found = {}
    for here, there in layouts(trained.parts.spec)[0].keys.items():
        value = parameters[here]
        found[there] = value[:, :, 0, 0].copy() if here == "classifier.weight" else value
        if there.endswith("running_var"):
            counted = there.removesuffix("running_var") + "num_batches_tracked"
            found[counted] = np.array(trained.iteration, np.int64)
    return found


def _torch(trained: Trained, path: Path, images: np.ndarray, _: Request) -> np.ndarray:
    import torch

    arrays = _common(trained, trained.plain_parameters)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
    held = {"state_dict": tensors, KEY: json.dumps(_facts(trained))}
    write_atomically(path, lambda stream: torch.save(held, stream))
    return asked.torch_answers(path, trained.parts.spec, normalisation_of(trained), images)


def _safetensors(trained: Trained, path: Path, images: np.ndarray, _: Request) -> np.ndarray:
    from safetensors.numpy import save

    parameters = trained.plain_parameters
    content = save(_common(trained, parameters), metadata(_facts(trained)))
    path.write_bytes(content)
    input_ = normalisation_of(trained)
    return asked.weights_answers(path, trained.parts.spec, parameters, input_, images)


def _save_onnx(model: Any, path: Path) -> None:
    write_atomically(path, lambda stream: load_onnx().save(model, stream))


def _onnx(trained: Trained, path: Path, images: np.ndarray, _: Request) -> np.ndarray:
    input_, facts = normalisation_of(trained), metadata(_facts(trained))
    _save_onnx(float_model(trained.parts.spec, trained.plain_parameters, input_, facts), path)
    return asked.onnx_answers(path, images)


def _integers(trained: Trained) -> NetworkIntegers:
    fixed = trained.parts.fixed
    assert fixed is not None  # asked for before
    return integers_of(trained.parts.spec, fixed, trained.plain_parameters)


def _qonnx(trained: Trained, path: Path, images: np.ndarray, _: Request) -> np.ndarray:
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.infer_shapes import InferShapes

    model = ModelWrapper(integer_model(_integers(trained), metadata(_facts(trained))))
    _save_onnx(model.transform(InferShapes()).model, path)
    return asked.qonnx_answers(path, images)


def _hls4ml(trained: Trained, path: Path, images: np.ndarray, request: Request) -> np.ndarray:
    network = _integers(trained)
    model = hls_model(network, path, request.part)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            model.compile()
        except Exception as error:  # what its build script and its passes raise is of any kind
            tail = " ".join((said.getvalue() or str(error)).split())[-200:]
            raise UserError(f"hls4ml could not build the project with g++: ...{tail}") from error
    write_text(path / "e2train.json", json.dumps(_facts(trained), indent=1) + "\n")
    return asked.hls_answers(model, hls_input(images, network.mean))


_WRITERS: dict[str, Callable[[Trained, Path, np.ndarray, Request], np.ndarray]] = {
    TORCH: _torch,
    SAFETENSORS: _safetensors,
    ONNX: _onnx,
    QONNX: _qonnx,
    HLS4ML: _hls4ml,
}


def _keep(part: Path, place: Path) -> None:
    """Move what is whole to its place, over what is there."""
    if part.is_dir():
        _relocate(part, place)
        _remove(place)
    os.replace(part, place)


def _relocate(part: Path, place: Path) -> None:
    """hls4ml writes its folder's path into the project's settings."""
    for file in part.glob("*.yml"):
        write_text(file, file.read_text().replace(str(part), str(place)))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
