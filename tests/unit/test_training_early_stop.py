# SPDX-License-Identifier: Apache-2.0
"""Early stop: held-out pictures decide, the best state is kept, and a resumed run agrees."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2train.data.load import load_dataset
from e2train.errors import UserError
from e2train.runs.checkpoint import read_checkpoint
from e2train.training.early_stop import Best, EarlyStopSettings, hold_out
from e2train.training.evaluate import Accuracy, evaluate
from e2train.training.experiment import DataSettings, Experiment, SluSettings, TrainSettings
from e2train.training.trainer import TimeIsUp, Trainer

BASE = Experiment(
    "stops",
    train=TrainSettings(iterations=400, batch=16, log_every=5, checkpoint_every=5, lr=0.05),
    slu=SluSettings(0.2, gated="all", warmup=0.0),
    early_stop=EarlyStopSettings(patience=2, held_out=0.1, every=5),
)


def accuracy(top1: float, loss: float = 1.0) -> Accuracy:
    return Accuracy(top1, 100.0, loss, None, 0.0)


def test_the_best_is_kept_and_the_worse_are_counted() -> None:
    best, weights = Best(2), {"w": np.zeros(2)}
    for iteration, (top1, loss, worse) in enumerate(
        [(50, 1.0, 0), (60, 1.0, 0), (60, 0.9, 0), (60, 0.95, 1), (10, 0.1, 2)]
    ):
        weights["w"] += 1
        best.note(accuracy(top1, loss), iteration, weights, {})
        assert best.worse == worse and best.over == (worse == 2)
    assert best.iteration == 2 and best.arrays["w"].tolist() == [3, 3]


def test_held_out_pictures_are_of_every_class_and_not_trained_on() -> None:
    data = load_dataset("digits")
    left, images, labels = hold_out(data, 0.1, 0)
    assert len(labels) + len(left.train_labels) == len(data.train_labels)
    assert np.bincount(labels).min() > 10
    kept = {one.tobytes() for one in left.train_images}
    assert not any(one.tobytes() in kept for one in images)
    few = replace(data, train_images=data.train_images[:9], train_labels=np.arange(9) % 9)
    with pytest.raises(UserError, match="fewer than 2 training pictures"):
        hold_out(few, 0.1, 0)


def run(folder: Path, seconds: float | None = None, **options: Any) -> Trainer:
    folder.mkdir(exist_ok=True)
    data = load_dataset("digits")
    with Trainer(BASE, data, folder, device=None, meter="none", **options) as trainer:
        if seconds is None:
            trainer.run()
        else:
            with pytest.raises(TimeIsUp):
                trainer.run(seconds=seconds)
    return trainer


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == kind]


def test_training_stops_and_goes_back_to_its_best(tmp_path: Path) -> None:
    trainer = run(tmp_path / "whole")
    held = events(tmp_path / "whole", "held-out")
    assert 15 <= trainer.iteration < 400 and held[-1]["worse"] == 2
    best = max(held, key=lambda one: (one["top1"], -one["loss"], -one["iteration"]))
    assert trainer.held is not None
    found = evaluate(trainer.network, *trainer.held)
    assert (found.top1, found.loss) == (best["top1"], best["loss"])
    cell = json.loads((tmp_path / "whole/result.json").read_text())["cell"]
    assert cell["iterations_run"] == trainer.iteration and cell["iterations_offered"] == 400
    test = load_dataset("digits")
    assert cell["top1"] == evaluate(trainer.network, test.test_images, test.test_labels).top1

    run(tmp_path / "parts", 0.0)
    run(tmp_path / "parts", 0.0, resume=True)
    run(tmp_path / "parts", resume=True)
    assert events(tmp_path / "parts", "held-out") == held
    first, second = (
        read_checkpoint(tmp_path / name / "checkpoint.npz").arrays for name in ("whole", "parts")
    )
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert np.array_equal(array, second[name]), name


def test_streams_hold_nothing_out() -> None:
    from e2train.training.experiment import check

    with pytest.raises(UserError, match=r"early_stop\.patience = 2: expected 0"):
        check(replace(BASE, data=DataSettings(order="stream")))
