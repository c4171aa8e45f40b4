# SPDX-License-Identifier: Apache-2.0
"""The decoded pictures of a folder in one .npz file beside them: read without Pillow, as on boards.

The file is `FOLDER/.e2train/HxW-colour.npz`, written whole or not at all. It holds a checksum of
itself and, of every picture's file, size, time and SHA-256: it counts for as long as the contents
of the files are the same, wherever the folder is copied to. Copied alone, it is a data set, too.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from e2train.data.collection import (
    Collection,
    Decoded,
    check_still,
    decode_folder,
    load_arrays,
)
from e2train.data.folder import Refused, Scan, read_entry, scan
from e2train.data.pictures import PictureError
from e2train.errors import UserError
from e2train.files import locked, write_arrays

CACHE = ".e2train"
VERSION = 1
_HEADER, _ARRAYS = "header", ("images", "labels", "parts")


class Damaged(UserError):
    """A cache file that is not what it was when it was written."""


def load_folder(root: Path, shape: tuple[int, int, int]) -> tuple[Collection, str]:
    """The pictures of a folder, and a note where they could not be kept (else "").

    Raises UserError as `scan` and `decode_folder` do.
    """
    found = scan(root)
    folder = root / CACHE
    path = folder / f"{shape[1]}x{shape[2]}-{'colour' if shape[0] == 3 else 'grey'}.npz"
    cached = _valid(path, found)
    if cached is not None:
        return cached, ""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        reason = f"decoded pictures are not kept: {folder}: {error.strerror}"
        return decode_folder(found, shape).collection, reason
    with locked(folder / "lock", wait=True, needed=False):
        cached = _valid(path, found)  # by another process, meanwhile
        if cached is not None:
            return cached, ""
        decoded = decode_folder(found, shape)
        try:
            _write(path, decoded)
        except OSError as error:
            path.with_name(path.name + ".part").unlink(missing_ok=True)
            return decoded.collection, f"decoded pictures are not kept: {path}: {error.strerror}"
    return decoded.collection, ""


def load_npz(path: Path) -> Collection:
    """The pictures of an .npz file: a cache that was copied alone, or arrays of one's own.

    Raises UserError for a file that is missing, damaged or neither.
    """
    content = _read(path)
    return _collection(path, content)[0] if _HEADER in content else load_arrays(path, content)


def _valid(path: Path, found: Scan) -> Collection | None:
    """The cached pictures, if there are any and all files are still those they were made of."""
    if not path.exists():
        return None
    try:
        collection, files = _collection(path, _read(path))
    except UserError:
        return None  # damaged or of another version: decoded anew
    return collection if _same(files, found) else None


def _same(files: dict[str, list[Any]], found: Scan) -> bool:
    if files.keys() != {entry.name for entry in found.entries}:
        return False
    for entry in found.entries:
        size, modified, digest = files[entry.name]
        if size != entry.size:
            return False
        if modified != entry.modified_ns:  # copied, touched, or changed: only its content tells
            try:
                content = read_entry(found.root, entry)
            except PictureError:
                return False
            if hashlib.sha256(content).hexdigest() != digest:
                return False
    check_still(found)
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # damaged bytes make zipfile, zlib and NumPy raise all sorts
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: not an .npz file of arrays ({reason})") from error


def _digest(header: dict[str, Any], arrays: dict[str, Any]) -> str:
    total = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in _ARRAYS:
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(array.data)
    return total.hexdigest()


def _write(path: Path, decoded: Decoded) -> None:
    one = decoded.collection
    header = {
        "version": VERSION,
        "class_names": one.class_names,
        "names": one.names,
        "refused": [[item.name, item.reason] for item in one.refused],
        "files": decoded.files,
    }
    header = json.loads(json.dumps(header))
    arrays: dict[str, Any] = {name: getattr(one, name) for name in _ARRAYS}
    signed = json.dumps({**header, "sha256": _digest(header, arrays)})
    arrays[_HEADER] = np.frombuffer(signed.encode(), np.uint8)
    write_arrays(path, arrays)
    os.chmod(path, 0o644)


def _collection(path: Path, content: dict[str, Any]) -> tuple[Collection, dict[str, list[Any]]]:
    """Check a cache's content; its pictures, and the files that they were made of."""
    try:
        header = json.loads(content[_HEADER].tobytes())
        told = header.pop("sha256")
        if header["version"] != VERSION:
            raise Damaged(f"{path}: cache version {header['version']}, expected {VERSION}")
        if _digest(header, content) != told:
            raise Damaged(f"{path}: its checksum is wrong; remove it and decode the folder again")
        collection = Collection(
            **{name: content[name] for name in _ARRAYS},
            names=tuple(header["names"]),
            class_names=tuple(header["class_names"]),
            refused=tuple(Refused(name, reason) for name, reason in header["refused"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"{path}: not a cache of this program ({error})") from error
    return collection, header["files"]
