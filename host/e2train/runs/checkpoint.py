# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: one .npz of arrays and a JSON header, written whole or not at all."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import UserError
from ..files import write_atomically

VERSION = 1
_HEADER = "header"


@dataclass
class Checkpoint:
    """`meta`: JSON-able facts (version, network, iteration, ...); `arrays`: by name."""

    meta: dict[str, Any]
    arrays: dict[str, np.ndarray]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically. Raises UserError when the disk is full or the folder not writable."""
    header = json.dumps({**checkpoint.meta, "version": VERSION})
    arrays: dict[str, Any] = {
        **checkpoint.arrays,
        _HEADER: np.frombuffer(header.encode(), np.uint8),
    }
    try:
        write_atomically(path, lambda stream: _write_arrays(stream, arrays))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error


def _write_arrays(stream: BinaryIO, arrays: dict[str, np.ndarray]) -> None:
    """As `np.savez`; but NumPy 1 leaves the archive open where a disk is full.

    The archive then fails once more, and is heard, when it is collected.
    """
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Raises UserError for a missing, damaged or other-version file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        meta = dict(json.loads(arrays.pop(_HEADER).tobytes()))
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint") from None
    except Exception as error:  # damaged bytes make zipfile, zlib and NumPy raise all sorts
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: not a checkpoint of this program ({reason})") from error
    if meta.get("version") != VERSION:
        raise UserError(f"{path}: checkpoint version {meta.get('version')}, expected {VERSION}")
    return Checkpoint(meta, arrays)
