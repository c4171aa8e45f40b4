# SPDX-License-Identifier: Apache-2.0
"""Class names and answers travel with a run and appear in its report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from e2train.data import DataSettings, load_data
from e2train.errors import UserError
from e2train.report import write_report
from e2train.report.charts_classes import class_accuracy, confusion, worst_pictures
from e2train.report.render import render
from e2train.report.style import DARK
from e2train.report.summary import leading
from e2train.runs.answers import ANSWERS, Answers, answers_of, read_answers, write_answers
from e2train.runs.load import load_run
from e2train.training.experiment import Experiment, TrainSettings
from e2train.training.trainer import Trainer
from picture_folders import small_folder

EXPERIMENT = Experiment(
    "own",
    data=DataSettings("folder", size=8, colour=False),
    train=TrainSettings(iterations=3, batch=8, log_every=3),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three mini-batches on a folder of three classes."""
    base = tmp_path_factory.mktemp("classes")
    root = small_folder(base / "pictures", 12, 3)
    out = base / "run"
    out.mkdir()
    (out / "experiment.toml").write_text(EXPERIMENT.as_toml())
    data = load_data(EXPERIMENT.data, root)
    with Trainer(EXPERIMENT, data, out, device=None) as trainer:
        trainer.run()
    return out


def test_answers_agree_with_the_accuracy(trained: Path) -> None:
    found, top1 = (
        read_answers(trained),
        json.loads((trained / "result.json").read_text())["cell"]["top1"],
    )
    assert found is not None and found.class_names == ("one", "two", "zero")
    assert 100 * np.trace(found.confusion) / found.confusion.sum() == pytest.approx(top1)
    assert found.confusion.sum(axis=1).tolist() == [2, 2, 2]
    wrong = np.flatnonzero(found.predicted != found.labels)
    assert sorted(found.worst) == sorted(wrong) and found.worst_images.shape == (
        len(wrong),
        1,
        8,
        8,
    )
    assert (np.diff(found.own[found.worst]) >= 0).all()
    for place, name in zip(found.worst, found.worst_names, strict=True):
        assert name.startswith(found.class_names[found.labels[place]] + "/")


def test_the_report_shows_them(trained: Path, tmp_path: Path) -> None:
    report = write_report([trained], tmp_path)
    assert {"confusion", "class-accuracy", "worst-pictures"} <= {p.stem for p in report.figures}
    page = report.page.read_text()
    assert "Confusion matrix, own" in page and "is taken for" in page and "zero" in page
    start = json.loads((trained / "events.jsonl").read_text().splitlines()[0])
    assert start["class_names"] == ["one", "two", "zero"] and start["picture"] == [1, 8, 8]


@pytest.mark.parametrize("classes", [2, 100])
def test_any_number_of_classes_is_drawn(trained: Path, classes: int) -> None:
    random = np.random.default_rng(classes)
    labels, said = random.integers(0, classes, (2, 500))
    worst = np.flatnonzero(labels != said)[:16]
    answers = Answers(
        labels, said, random.random(500), tuple(f"class ${i}$" for i in range(classes)),
        worst, random.integers(0, 256, (len(worst), 3, 8, 8), np.uint8), ("",) * len(worst),
    )  # fmt: skip
    runs = [replace(load_run(trained), answers=answers)]
    for make in (confusion, class_accuracy, worst_pictures):
        chart = make(runs)
        assert chart is not None and render(chart, DARK, "").startswith(b"\x89PNG")


def test_runs_without_answers_have_no_such_figures(trained: Path) -> None:
    runs = [replace(load_run(trained), answers=None)]
    assert leading(runs) is not None
    assert confusion(runs) is None and class_accuracy(runs) is None and worst_pictures(runs) is None


def test_names_of_any_bytes_and_damaged_files(trained: Path, tmp_path: Path) -> None:
    settings = replace(EXPERIMENT.data, name="digits")
    data = replace(load_data(settings), test_names=("caf\udce9.png",) * 360)
    said = (data.test_labels + 1) % 10
    write_answers(tmp_path, answers_of(data, said, np.linspace(0, 1, 360)))
    found = read_answers(tmp_path)
    assert found is not None and found.worst_names[0] == "caf\\xe9.png"
    assert found.worst.tolist() == list(range(16))
    content = (tmp_path / ANSWERS).read_bytes()
    for damaged in (b"", content[:100], b"text"):
        (tmp_path / ANSWERS).write_bytes(damaged)
        with pytest.raises(UserError, match="not the answers of a run"):
            read_answers(tmp_path)
