# SPDX-License-Identifier: Apache-2.0
"""`e2train predict`: the classes of picture files, what was skipped, and modelled energy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from e2train.cli import run
from e2train.data.load import load_dataset
from e2train.device import open_device
from e2train.models.trained import load_trained
from trained_runs import trained_run

DATA = load_dataset("digits")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("runs")
    return {kind: trained_run(kind, parent) for kind in ("psg", "sgd", "e2train")}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The first twenty test digits as PNG files."""
    folder = tmp_path_factory.mktemp("digits")
    paths = [folder / f"{number:02}.png" for number in range(20)]
    for path, image in zip(paths, DATA.test_images, strict=False):
        Image.fromarray(image[0]).save(path)
    return paths


def predicted(
    folder: Path, files: list[Path], capsys: pytest.CaptureFixture[str], *options: str
) -> dict:
    assert run(["predict", str(folder), *map(str, files), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["psg", "sgd", "e2train"])
def test_answers_are_the_networks(
    kind: str, runs: dict[str, Path], files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    found = predicted(runs[kind], files, capsys, "--top", "10")
    device = None if kind == "sgd" else open_device("emulator")
    network = load_trained(runs[kind], None, device).parts.network
    logits = network.logits(DATA.test_images[:20], 0, training=False)
    for path, one, row in zip(files, found["pictures"], logits, strict=True):
        assert one["file"] == str(path)
        assert [g["number"] for g in one["top"]] == np.argsort(-row, kind="stable").tolist()
        assert [g["class"] for g in one["top"]] == [str(g["number"]) for g in one["top"]]
        probabilities = [g["probability"] for g in one["top"]]
        assert abs(sum(probabilities) - 1) < 1e-9 and min(probabilities) > 0
    skips = [one["skip_percent"] for one in found["pictures"]]
    if kind == "e2train":
        assert abs(np.mean(skips) - 100 * network.policy.skip_ratio) < 1e-9
        assert len(set(skips)) > 1
    else:
        assert skips == [None] * 20


def test_energy_is_modelled_and_says_whose(
    runs: dict[str, Path], files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    integer, real = (predicted(runs[k], files, capsys)["energy"] for k in ("psg", "sgd"))
    assert integer["provenance"] == real["provenance"] == "modelled"
    assert integer["board_model"] == "accelerator"
    assert real["board_model"] == "hypothetical-float-array"
    assert integer["pictures_at_once"] == 20 and 0 < integer["joules_a_picture"] < 1
    alone = predicted(runs["psg"], files[:1], capsys)["energy"]
    assert alone["joules_a_picture"] > integer["joules_a_picture"], "starting costs are shared"


def test_other_pictures_are_adapted(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Colour to grey, and any size to 8x8."""
    images = []
    for number, image in enumerate(DATA.test_images[:4]):
        large = np.repeat(np.repeat(image[0], 16, axis=0), 16, axis=1)
        images.append(tmp_path / f"{number}.png")
        Image.fromarray(np.stack([large] * 3, axis=-1)).save(images[-1])
    found = predicted(runs["psg"], images, capsys, "--top", "1")
    first = [one["top"][0]["number"] for one in found["pictures"]]
    assert first == DATA.test_labels[:4].tolist()


def test_for_people(
    runs: dict[str, Path], files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", str(runs["e2train"]), str(files[0]), "--top", "2"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{files[0]}: 0 ") and "% of the blocks)" in first
    assert first.count(" %,") == 1
    assert "mJ a picture, modelled (accelerator), 1 at once" in last


def test_what_is_no_picture_is_named_and_the_rest_answered(
    runs: dict[str, Path], files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    command = ["predict", str(runs["psg"]), str(files[0]), str(bad), str(tmp_path / "none.png")]
    assert run(command) == 2
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2
    first, second = said.err.splitlines()
    assert first.startswith(f"e2train: {bad}: is none of")
    assert second == f"e2train: {tmp_path / 'none.png'}: No such file or directory"
    assert run([*command, "--json"]) == 2
    pictures = json.loads(capsys.readouterr().out)["pictures"]
    assert "top" in pictures[0] and "error" in pictures[1] and "error" in pictures[2]


@pytest.mark.parametrize("top", ["0", "11"])
def test_impossible_top(
    top: str, runs: dict[str, Path], files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", str(runs["psg"]), str(files[0]), "--top", top]) == 2
    assert f"--top {top}: expected 1 to 10" in capsys.readouterr().err
