# SPDX-License-Identifier: Apache-2.0
"""`e2train finetune`: one command from a model and pictures to a run and its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from e2train.cli import run
from e2train.data import load_dataset
from e2train.runs.checkpoint import read_checkpoint
from e2train.training.experiment import Experiment, TrainSettings
from e2train.training.trainer import Trainer
from picture_folders import digit_pictures, write_folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-8 that has seen the digits for a while, and a folder of five of them."""
    folder = tmp_path_factory.mktemp("base")
    train = TrainSettings(iterations=40, batch=32, lr=0.05)
    experiment = Experiment("digits", train=train)
    (folder / "run").mkdir()
    (folder / "run/experiment.toml").write_text(experiment.as_toml())
    data = load_dataset("digits")
    with Trainer(experiment, data, folder / "run", device=None, meter="none") as trainer:
        trainer.run()
    images, labels = digit_pictures(30, 5)
    write_folder(folder / "five", images[:, ::2, ::2], labels)
    return folder


def tuned(capsys: pytest.CaptureFixture[str], *given: object) -> tuple[dict[str, Any], str]:
    """Fine-tune; the run's cell and what was said."""
    fixed = ["--batch", "16", "--every", "5", "--meter", "none", "--quiet"]
    code = run(["finetune", *map(str, given), *fixed])
    said = capsys.readouterr()
    assert code == 0, said.err
    out = Path(given[list(given).index("--out") + 1])  # type: ignore[arg-type]
    return json.loads((out / "result.json").read_text())["cell"], said.out + said.err


def weights_but_the_classifiers(run: Path) -> dict[str, np.ndarray]:
    arrays = read_checkpoint(run / "checkpoint.npz").arrays
    return {
        name: array
        for name, array in arrays.items()
        if name.startswith("parameters/") and "classifier" not in name
    }


def test_the_last_layer_alone(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "last"
    cell, said = tuned(
        capsys, base / "run", base / "five", "--out", out, "--layers", "last", "--method", "sgd",
        "--iterations", 60, "--lr", 0.05,
    )  # fmt: skip
    assert cell["top1"] > 60
    assert "classifier tells 10 classes apart, the pictures have 5: it is replaced" in said
    assert "the best of the held-out pictures is iteration" in said
    assert f"report: {out / 'report.html'}" in said and (out / "figures/confusion.png").exists()
    before, after = (weights_but_the_classifiers(one) for one in (base / "run", out))
    assert all(np.array_equal(before[name], after[name]) for name in before)
    meta = read_checkpoint(out / "checkpoint.npz").meta
    assert meta["class_names"] == ["four", "one", "three", "two", "zero"]
    assert meta["mean"] == [39]  # as the model has learned, not as these pictures are


def test_all_layers_from_a_weights_file(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("e2train.cli.finetune._report", lambda out: None)
    arrays = read_checkpoint(base / "run/checkpoint.npz").arrays
    file = tmp_path / "model.pt"
    own = {n[11:]: torch.from_numpy(a) for n, a in arrays.items() if n.startswith("parameters/")}
    torch.save(own, file)
    given = [file, base / "five", "--size", 8, "--grey", "--out", tmp_path / "all"]
    code = run(["finetune", *map(str, given)])
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2 and "does not tell its network: name it with --network" in line
    cell, said = tuned(capsys, *given, "--network", "resnet-8", "--iterations", 10)
    assert cell["method"] == "PSG + SMD + fine-tuning (all-layers)"
    assert "its classifier of 10 classes is replaced by a new one of 5" in said
    assert cell["iterations_offered"] == 10


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--layers", "first"], "--layers first: expected all or last"),
        (["--method", "adam"], "--method adam: expected e2train or sgd"),
        (["--size", "2"], "data.size = 2"),
        (["--batch", "500"], "train.batch = 500: the training set has 1"),
        (["--grey", "--network", "resnet-14"], "is of resnet-8, expected resnet-14"),
    ],
)
def test_mistakes_are_one_line(
    base: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    told: str,
) -> None:
    given = [base / "run", base / "five", "--out", tmp_path / "out", *options]
    assert run(["finetune", *map(str, given)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
