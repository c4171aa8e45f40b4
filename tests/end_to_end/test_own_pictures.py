# SPDX-License-Identifier: Apache-2.0
"""A folder of one's own pictures, by one command: as good as the same pixels in an .npz file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from e2train.cli import run
from picture_folders import NAMES, break_files, digit_pictures, write_folder

EXPERIMENT = """\
network = "resnet-8"
[data]
name = "folder"
size = 8
colour = false
mirror = false
[train]
iterations = 100
batch = 32
lr = 0.05
"""
TEST_PART = 5  # every fifth picture of a class is for testing
BROKEN = 10


def train(capsys: pytest.CaptureFixture[str], folder: Path, data: Path) -> tuple[float, str]:
    """Train on `data`; top-1 in percent, and what was said beside the results."""
    file = folder / "own.toml"
    file.write_text(EXPERIMENT)
    out = folder / data.stem
    given = ["train", file, "--data", data, "--out", out, "--meter", "none", "--quiet"]
    code = run(list(map(str, given)))
    said = capsys.readouterr()
    assert code == 0, said.err
    return json.loads((out / "result.json").read_text())["cell"]["top1"], said.err


def test_six_hundred_jpegs_train_as_arrays_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = digit_pictures(100)
    images = images[:, ::2, ::2]  # 8x8
    test = np.arange(len(labels)) % TEST_PART == 0
    root = tmp_path / "pictures"
    write_folder(root / "train", images[~test], labels[~test], "jpg")
    write_folder(root / "test", images[test], labels[test], "jpg")
    assert len(list(root.rglob("*.jpg"))) == 600
    spoiled = np.arange(7, 470, 46)[:BROKEN]
    paths = [root / f"train/{NAMES[labels[~test][i]]}/{i:04}.jpg" for i in spoiled]
    break_files(paths)
    left = np.delete(np.arange(480), spoiled)
    np.savez(
        tmp_path / "arrays.npz",
        train_images=images[~test][left], train_labels=labels[~test][left],
        test_images=images[test], test_labels=labels[test], class_names=NAMES,
    )  # fmt: skip

    decoded, said = train(capsys, tmp_path, root)
    exact, _ = train(capsys, tmp_path, tmp_path / "arrays.npz")
    assert exact > 90 and abs(decoded - exact) <= 2
    told = [line for line in said.splitlines() if "not used" in line]
    assert len(told) == BROKEN
    assert all(any(str(path.relative_to(root)) in line for line in told) for path in paths)
    start = json.loads((tmp_path / "pictures/events.jsonl").read_text().splitlines()[0])
    assert start["class_names"] == sorted(NAMES) and len(start["notes"]) == BROKEN
