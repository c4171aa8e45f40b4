# SPDX-License-Identifier: Apache-2.0
"""`e2train data check`: what it says of a folder, and the sheet of pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from e2train.cli import run
from picture_folders import break_files, digit_pictures, small_folder, write_folder


def check(capsys: pytest.CaptureFixture[str], *given: object) -> list[str]:
    code = run(["data", "check", *map(str, given)])
    said = capsys.readouterr()
    assert code == 0, said.err
    return said.out.splitlines()


def test_what_is_said_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = digit_pictures(20, 3)
    keep = (labels != 2) | (np.arange(len(labels)) % 4 == 0)
    root = write_folder(tmp_path / "own/train", images[keep], labels[keep])
    small_folder(tmp_path / "own/test", 3, 3)  # the first three of each class, seen in training
    Image.new("RGB", (640, 480)).save(root / "one/large.jpg")
    break_files([root / "zero/0005.png"])
    (root / "two/readme.txt").write_text("")
    sheet = tmp_path / "sheet.png"
    said = check(capsys, tmp_path / "own", "--size", 24, "--grey", "--sheet", sheet)
    assert said[0] == f"{tmp_path / 'own'}: 54 pictures in 3 classes"
    assert said[1] == "45 to train on, 9 to test on: divided already"
    assert said[2] == "sizes: 16x16 (53), 640x480 (1); all become 24x24 in grey"
    assert said[3] == "smaller than that, so enlarged: 53 pictures"
    table = [line.split() for line in said[5:8]]
    assert table == [["one", "21", "3"], ["two", "5", "3"], ["zero", "19", "3"]]
    assert said[8] == ("imbalance: class 'one' has 4.2 times the training pictures of class 'two'")
    twins = [line for line in said if line.startswith("in both parts")]
    assert (
        twins[0] == "in both parts: test/one/0003.png to test on is train/one/0020.png to train on"
    )
    assert "not used: train/zero/0005.png is empty" in said
    assert "no pictures by their names: 1 files (train/two/readme.txt)" in said
    with Image.open(sheet) as image:
        pixels = np.asarray(image)
    assert pixels.shape[0] > 3 * 64 and len(np.unique(pixels)) > 10


def test_arrays_and_the_sheets_usual_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = digit_pictures(10, 2)
    np.savez(tmp_path / "own.npz", images=images, labels=labels)
    monkeypatch.chdir(tmp_path)
    said = check(capsys, "own.npz", "--size", 16)
    assert said[1] == "16 to train on, 4 to test on: divided by data.split_seed = 0"
    assert said[-1] == "augmented pictures: own-sheet.png"
    assert (tmp_path / "own-sheet.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["nowhere"], "nowhere: expected a folder of pictures or an .npz file"),
        (["own", "--size", "2"], "data.size = 2: expected 4"),
        (["own", "--sheet", "none/sheet.png"], "none/sheet.png.part: No such file"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    given: list[str],
    told: str,
) -> None:
    small_folder(tmp_path / "own")
    monkeypatch.chdir(tmp_path)
    assert run(["data", "check", *given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_a_class_that_is_never_tested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_folder(tmp_path / "train", classes=3)
    small_folder(tmp_path / "test", classes=3)
    shutil.rmtree(tmp_path / "test/two")
    said = check(capsys, tmp_path, "--sheet", tmp_path / "sheet.png")
    assert "class 'two' has no pictures to test on" in said
