# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: whole or not at all, and refused by name when they are not what is wanted."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2train.errors import UserError
from e2train.runs.checkpoint import VERSION, Checkpoint, read_checkpoint, write_checkpoint

ARRAYS = {
    "parameters/a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "average/a.weight": np.linspace(0, 1, 5),
    "gates/gate.bias": np.zeros(0, np.float32),
}
META = {"network": "resnet-8", "iteration": 7, "nested": {"peak": 0.1, "list": [1, None]}}


def written(path: Path) -> Path:
    write_checkpoint(path, Checkpoint(META, ARRAYS))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a good checkpoint."""
    return written(tmp_path_factory.mktemp("whole") / "c.npz").read_bytes()


def refused(path: Path, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    for word in (str(path), *words):
        assert word in line, line


def same(found: Checkpoint) -> None:
    assert {k: v for k, v in found.meta.items() if k != "version"} == META
    assert found.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found.arrays[name].dtype == array.dtype
        assert np.array_equal(found.arrays[name], array)


def test_round_trip(tmp_path: Path) -> None:
    path = written(tmp_path / "c.npz")
    same(read_checkpoint(path))
    assert os.listdir(tmp_path) == ["c.npz"], "no temporary file stays"


def test_the_same_checkpoint_has_the_same_bytes(tmp_path: Path) -> None:
    assert written(tmp_path / "a").read_bytes() == written(tmp_path / "b").read_bytes()


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1, exclude_max=True))
def test_truncated(tmp_path_factory: pytest.TempPathFactory, whole: bytes, share: float) -> None:
    path = tmp_path_factory.getbasetemp() / "truncated.npz"
    path.write_bytes(whole[: int(share * len(whole))])
    refused(path)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damaged_bytes(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, data: st.DataObject
) -> None:
    """One byte changed anywhere: refused in one line, or what was read is what was written."""
    path, damaged = tmp_path_factory.getbasetemp() / "damaged.npz", bytearray(whole)
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    try:
        found = read_checkpoint(path)
    except UserError as error:
        assert len(str(error).splitlines()) == 1 and str(path) in str(error)
    else:
        same(found)


@pytest.mark.parametrize(
    "content",
    [b"", b"not a zip", b"PK\x05\x06" + b"\0" * 18, b"\x93NUMPY\x01\x00"],
)
def test_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.npz"
    path.write_bytes(content)
    refused(path)


def test_an_array_alone_is_no_checkpoint(tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", np.zeros(3))
    refused(tmp_path / "c.npy")


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    """A checkpoint from elsewhere must not run code."""
    np.savez(tmp_path / "c.npz", header=np.array([{"version": VERSION}], object))
    refused(tmp_path / "c.npz")


def test_missing(tmp_path: Path) -> None:
    refused(tmp_path / "none.npz", "no such checkpoint")


def test_a_folder(tmp_path: Path) -> None:
    refused(tmp_path)


def rewritten(path: Path, header: Any) -> Path:
    text = json.dumps(header).encode()
    np.savez(path, header=np.frombuffer(text, np.uint8), **ARRAYS)
    return path


@pytest.mark.parametrize("version", [0, VERSION + 1, "1", None])
def test_other_version(tmp_path: Path, version: Any) -> None:
    path = rewritten(tmp_path / "c.npz", {**META, "version": version})
    refused(path, f"version {version}", f"expected {VERSION}")


@pytest.mark.parametrize("header", [[], None, "text", 3])
def test_header_of_another_kind(tmp_path: Path, header: Any) -> None:
    refused(rewritten(tmp_path / "c.npz", header))


def test_without_header(tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", **ARRAYS)
    refused(tmp_path / "c.npz")


def test_compressed_archives_are_read_too(tmp_path: Path) -> None:
    path = written(tmp_path / "c.npz")
    small = tmp_path / "small.npz"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as out:
        for name in source.namelist():
            out.writestr(name, source.read(name))
    same(read_checkpoint(small))


def test_failed_writing_keeps_the_last_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "c.npz")
    real = os.fsync

    def full(descriptor: int) -> None:
        real(descriptor)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError) as caught:
        write_checkpoint(path, Checkpoint({"network": "x"}, {}))
    assert str(path) in str(caught.value) and "No space left" in str(caught.value)
    monkeypatch.undo()
    same(read_checkpoint(path))


def test_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        write_checkpoint(tmp_path / "gone" / "c.npz", Checkpoint(META, ARRAYS))
