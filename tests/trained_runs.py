# SPDX-License-Identifier: Apache-2.0
"""Short runs on the digits, for what is done with a trained network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from e2train.data.load import load_data
from e2train.device import open_device
from e2train.files import write_text
from e2train.training.experiment import (
    DepthSettings,
    Experiment,
    MethodSettings,
    SluSettings,
    SwaSettings,
    TrainSettings,
)
from e2train.training.trainer import Trainer

TRAIN = TrainSettings(iterations=40, batch=64, lr=0.01, log_every=20, checkpoint_every=20)
FIXED = MethodSettings("fixed", "psg")
RUNS = {
    "psg": Experiment("psg", train=TRAIN, method=FIXED),
    "sgd": Experiment("sgd", train=replace(TRAIN, lr=0.1)),
    "e2train": Experiment(
        "e2train",
        train=TRAIN,
        method=FIXED,
        slu=SluSettings(0.2, gated="all"),
        swa=SwaSettings(0.5, every=2, statistics_batches=4),
    ),
    "depth": Experiment(
        "depth", train=TRAIN, method=FIXED, stochastic_depth=DepthSettings(0.3, per="sample")
    ),
}


def trained_run(kind: str, parent: Path) -> Path:
    """The folder of a finished run of RUNS."""
    experiment, folder = RUNS[kind], parent / kind
    folder.mkdir()
    device = open_device("emulator") if experiment.method.arithmetic == "fixed" else None
    data = load_data(experiment.data)
    write_text(folder / "experiment.toml", experiment.as_toml())
    with Trainer(experiment, data, folder, device=device, meter="none") as trainer:
        trainer.run()
    return folder
