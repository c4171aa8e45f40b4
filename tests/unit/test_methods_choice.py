# SPDX-License-Identifier: Apache-2.0
"""The choice of mini-batches by loss: its share, its cost, and what it leaves as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2train.data.load import load_dataset
from e2train.device import open_device
from e2train.errors import UserError
from e2train.methods.choice import LossChoice
from e2train.runs.checkpoint import read_checkpoint
from e2train.training.experiment import (
    DataSettings,
    Experiment,
    FinetuneSettings,
    MethodSettings,
    SluSettings,
    SmdSettings,
    SwaSettings,
    TrainSettings,
    check,
)
from e2train.training.trainer import Trainer

BASE = Experiment(
    "chosen",
    data=DataSettings(order="stream"),
    train=TrainSettings(iterations=12, batch=16, log_every=3, checkpoint_every=4, lr=0.05),
    smd=SmdSettings(0.5, "loss"),
)


@pytest.mark.parametrize("drop", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("trend", [0.0, -0.004])
def test_the_share_is_met_while_losses_fall(drop: float, trend: float) -> None:
    random = np.random.default_rng(1)
    losses = 2.0 * np.exp(trend * np.arange(1000) + 0.3 * random.standard_normal(1000))
    choice = LossChoice(drop)
    chosen = np.array([choice.trains(float(loss)) for loss in losses])
    assert np.mean(chosen) == pytest.approx(1 - drop, abs=0.05)
    late = losses[200:][chosen[200:]].mean(), losses[200:][~chosen[200:]].mean()
    assert trend or late[0] > 1.2 * late[1]


def run(experiment: Experiment, folder: Path, **options: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    fixed = experiment.method.arithmetic == "fixed"
    device = open_device("emulator") if fixed else None
    data = load_dataset("digits")
    with Trainer(experiment, data, folder, device=device, meter="none", **options) as trainer:
        return trainer.run()


@pytest.mark.parametrize("method", [MethodSettings(), MethodSettings("fixed", "psg")])
def test_forward_passes_are_counted(tmp_path: Path, method: MethodSettings) -> None:
    result = run(replace(BASE, method=method), tmp_path)
    trained = result["cell"]["iterations_run"]
    assert 0 < trained < 12
    whole = run(replace(BASE, smd=SmdSettings(), method=method), tmp_path / "all")

    def macs(found: dict[str, Any], name: str) -> int:
        return sum(found["macs_by_pass"][name].values())

    assert macs(result, "forward") == macs(whole, "forward")
    # in integers a layer whose exponent is not known yet computes its gradient twice
    within = 0.15 if method.arithmetic == "fixed" else 0.0
    share = macs(result, "backward_input") / macs(whole, "backward_input")
    assert share == pytest.approx(trained / 12, rel=within)
    assert result["board"]["joules"] < whole["board"]["joules"]


def test_a_mini_batch_that_is_not_chosen_changes_no_weight(tmp_path: Path) -> None:
    tmp_path.joinpath("run").mkdir()
    with Trainer(BASE, load_dataset("digits"), tmp_path / "run", device=None) as trainer:
        assert trainer.choice is not None
        trainer.mini_batch(0)
        weights = {n: a.copy() for n, a in trainer.network.parameters.items()}
        trainer.choice.threshold = 1e9
        trainer.mini_batch(1)
        assert trainer.run_count == 1
        for name, before in weights.items():
            changed = not np.array_equal(before, trainer.network.parameters[name])
            assert changed == (".running_" in name), name


def test_a_resumed_run_chooses_alike(tmp_path: Path) -> None:
    run(BASE, tmp_path / "whole")
    from e2train.training.trainer import TimeIsUp

    (tmp_path / "parts").mkdir()
    data = load_dataset("digits")
    with (
        pytest.raises(TimeIsUp),
        Trainer(BASE, data, tmp_path / "parts", device=None, meter="none") as trainer,
    ):
        trainer.run(lambda done, total, loss: None, seconds=0.0)
    run(BASE, tmp_path / "parts", resume=True)
    names = ("whole", "parts")
    first, second = (read_checkpoint(tmp_path / name / "checkpoint.npz") for name in names)
    assert first.meta["choice"] == second.meta["choice"]
    for name, array in first.arrays.items():
        assert np.array_equal(array, second.arrays[name]), name


def test_a_stream_shows_each_picture_once(tmp_path: Path) -> None:
    whole = replace(BASE, smd=SmdSettings(), data=DataSettings(order="stream", augment=False))
    seen: list[bytes] = []
    (tmp_path / "run").mkdir()
    with Trainer(whole, load_dataset("digits"), tmp_path / "run", device=None) as trainer:
        for iteration in range(whole.offered):
            seen += [one.tobytes() for one in trainer._pictures(iteration)[0]]
    assert len(seen) == len(set(seen)) == 12 * 16
    with pytest.raises(UserError, match="89 mini-batches of 16"):
        run(replace(whole, train=replace(whole.train, iterations=90)), tmp_path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"smd": SmdSettings(0.5, "luck")}, "smd.by = 'luck': expected chance or loss"),
        ({"slu": SluSettings(0.2, gated="all")}, "smd.by = 'loss'"),
        ({"train": TrainSettings(iterations=9, energy_ratio=0.5)}, "smd.by = 'loss'"),
        ({"finetune": FinetuneSettings("x", "last-layer")}, "smd.by = 'loss'"),
        ({"swa": SwaSettings(0.5)}, "swa.start = 0.5: expected 1 with data.order"),
        ({"data": DataSettings(order="twice")}, "data.order = 'twice'"),
        ({"data": DataSettings(path="x")}, "data.path = 'x': expected none"),
        ({"data": DataSettings("folder", path="-")}, "data.path = '-': expected data.order"),
        ({"data": DataSettings("folder", size=3)}, "data.size = 3: expected 4"),
        ({"data": DataSettings("folder", size=1024)}, "1023 (the accelerator's limit)"),
        ({"data": DataSettings("folder", test_share=1.0)}, "data.test_share = 1.0"),
    ],
)
def test_settings_that_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as caught:
        check(replace(BASE, **changes))
    assert told in str(caught.value)


def test_the_record_names_the_method(tmp_path: Path) -> None:
    run(BASE, tmp_path)
    start = json.loads((tmp_path / "events.jsonl").read_text().splitlines()[0])
    assert start["method"] == "SGD, 32-bit float + SMD by loss"
