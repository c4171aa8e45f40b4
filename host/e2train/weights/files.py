# SPDX-License-Identifier: Apache-2.0
"""Reads the tensors of a safetensors file, a PyTorch state dict or a checkpoint; runs no code.

What kind of file it is, is told by its first bytes, not by its name. PyTorch's files are pickles:
they are loaded with `weights_only=True`, which builds tensors and plain containers and refuses
everything else that a pickle could ask for.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..runs.checkpoint import read_checkpoint

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
PARALLEL = "module."  # what DataParallel puts before every name
SAFE_WAY = (
    "save the tensors alone, with torch.save(model.state_dict(), FILE) or as a safetensors file"
)
PICTURE_UNIT = 128.0  # the integer network's pictures are (pixel - mean) x 2^-7
_ZIP, _CHECKPOINT = b"PK\x03\x04", b"header.npy"
_OLD_PICKLE = b"\x80"


@dataclass(frozen=True)
class Weights:
    """float32 arrays by the file's own names, and what the file says of itself.

    facts: of files that this program wrote, JSON-able (classes, normalisation, training); else
    empty. normalisation: mean and deviation a channel on pixels of 0 to 255, where it is known.
    """

    path: Path
    arrays: dict[str, np.ndarray]
    facts: dict[str, Any] = field(default_factory=dict)


def read_weights(path: Path) -> Weights:
    """Read a weights file. Raises UserError, in one line, for whatever is not one."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(64)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    if not start:
        raise UserError(f"{path}: is empty")
    if start[8:9] == b"{":  # after the eight bytes of its length, a safetensors file's header
        return _safetensors(path)
    if start.startswith(_ZIP) and _is_checkpoint(path):
        return _checkpoint(path)
    if start.startswith((_ZIP, _OLD_PICKLE)):
        return _torch(path)
    raise UserError(
        f"{path}: is no weights file, neither safetensors nor a PyTorch state dict"
        + (" (of an ONNX model, bring the weights as one of these)" if _onnx(path) else "")
    )


def _onnx(path: Path) -> bool:
    return path.suffix.lower() == ".onnx"


def _is_checkpoint(path: Path) -> bool:
    from zipfile import BadZipFile, ZipFile

    try:
        with ZipFile(path) as archive:
            return _CHECKPOINT.decode() in archive.namelist()
    except (BadZipFile, OSError):
        return False


def _checkpoint(path: Path) -> Weights:
    found = read_checkpoint(path)
    prefix = "parameters/"
    arrays = {n[len(prefix) :]: a for n, a in found.arrays.items() if n.startswith(prefix)}
    meta = found.meta
    arithmetic = meta.get("experiment", {}).get("method", {}).get("arithmetic")
    facts: dict[str, Any] = {"network": meta.get("network"), "trained_in": arithmetic}
    if "mean" in meta:  # which earlier versions do not tell
        deviation = [PICTURE_UNIT] * len(meta["mean"]) if arithmetic == "fixed" else meta["std"]
        facts["normalisation"] = {"mean": meta["mean"], "deviation": deviation}
    return Weights(path, arrays, facts)


def _safetensors(path: Path) -> Weights:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise UserError(
            f"{path}: safetensors files need a package: pip install 'e2train[models]'"
        ) from None
    try:
        with safe_open(path, "np") as opened:
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            told = opened.metadata() or {}
    except (SafetensorError, TypeError, ValueError, OSError) as error:
        raise UserError(f"{path}: no whole safetensors file ({_line(error)})") from error
    return Weights(path, _floats(path, arrays), _facts(told.get("e2train")))


def _torch(path: Path) -> Weights:
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{path}: PyTorch's files need torch: pip install 'e2train[emulator]', or bring the "
            "weights as a safetensors file"
        ) from None
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"(?:GLOBAL|global:?) (?:GLOBAL )?([\w.]+)", str(error))
        if wanted is None:
            raise UserError(f"{path}: no whole PyTorch file ({_line(error)[:120]})") from error
        raise UserError(
            f"{path}: wants to run code while it is loaded ({wanted[1]}), which is refused: "
            + SAFE_WAY
        ) from error
    except Exception as error:  # damaged bytes make zip, pickle and torch raise all sorts
        reason = _line(error).split(". ")[0] or type(error).__name__
        raise UserError(f"{path}: no whole PyTorch file ({reason[:120]})") from error
    table, facts = _state_dict(path, loaded)
    arrays = {}
    for name, value in table.items():
        if not isinstance(value, torch.Tensor):
            raise UserError(f"{path}: {name} is no tensor: {SAFE_WAY}")
        if value.is_quantized or value.layout != torch.strided:
            raise UserError(
                f"{path}: {name} is a quantised or sparse tensor: expected plain floats"
            )
        plain = value.detach()
        arrays[str(name)] = (plain.float() if plain.is_floating_point() else plain).numpy()
    return Weights(path, _floats(path, arrays), facts)


def _state_dict(path: Path, loaded: object) -> tuple[Mapping[Any, Any], dict[str, Any]]:
    """The table of tensors, which many programs wrap in another with the state of training."""
    if not isinstance(loaded, Mapping):
        raise UserError(f"{path}: holds a {type(loaded).__name__}, expected a state dict")
    for key in WRAPPERS:
        inner = loaded.get(key)
        if isinstance(inner, Mapping):
            return inner, _facts(loaded.get("e2train"))
    return loaded, {}


def _floats(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays as float32, without counters; UserError for what is no number."""
    found = {}
    for name, array in arrays.items():
        plain = name.removeprefix(PARALLEL)
        if plain.rsplit(".", 1)[-1] == "num_batches_tracked":
            continue
        if array.dtype.kind != "f":
            raise UserError(f"{path}: {name} is of {array.dtype}, expected floating point")
        with np.errstate(over="ignore"):
            value = array.astype(np.float32)
        if not np.isfinite(value).all():
            raise UserError(f"{path}: {name} holds infinities or NaN")
        found[plain] = value
    if not found:
        raise UserError(f"{path}: holds no tensors")
    return found


def _facts(text: object) -> dict[str, Any]:
    """What this program wrote about the weights; nothing where another wrote the file."""
    try:
        found = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
