# SPDX-License-Identifier: Apache-2.0
"""Made-up finished runs of known settings, accuracies and joules, for the tests of docs/results."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from e2train.checked import build
from e2train.runs.load import Run, load_run
from e2train.training.experiment import Experiment
from report_folders import Made, make_run

LABEL = "CIFAR-10 (JPEG)"
SGD: dict[str, Any] = {}
FIXED8 = {"method": {"arithmetic": "fixed"}}
PSG = {"method": {"arithmetic": "fixed", "update": "psg"}}


def made_run(
    folder: Path,
    name: str,
    settings: dict[str, Any],
    *,
    seed: int = 0,
    top1: float = 90.0,
    joules: float | None = 1000.0,
    network: str = "resnet-20",
    iterations: int = 600,
    dataset: str = "cifar10",
) -> Path:
    """A finished run folder whose experiment file has these settings (nested tables)."""
    arithmetic = settings.get("method", {}).get("arithmetic", "float32")

    def change(result: dict[str, Any]) -> None:
        if joules is not None:
            result["board"] = {"seconds": joules / 2.6, "joules": joules, "provenance": "modelled"}
        result["cell"] |= {"evaluation_skip": 12.5, "evaluation_macs": 4.1e7}

    made = Made(name, top1, 1.0, predicts=arithmetic == "fixed")
    make_run(
        folder, made, iterations=iterations, seed=seed, dataset=dataset, label=LABEL,
        network=network, samples=0, change=change,
    )  # fmt: skip
    tables = settings | {"name": name, "network": network}
    tables["data"] = {"name": dataset} | settings.get("data", {})
    tables["train"] = {"iterations": iterations, "seed": seed} | settings.get("train", {})
    experiment: Experiment = build(Experiment, tables, name)
    (folder / "experiment.toml").write_text(experiment.as_toml())
    events = (folder / "events.jsonl").read_text().splitlines()
    start = json.loads(events[0]) | {"arithmetic": arithmetic, "iterations": experiment.offered}
    (folder / "events.jsonl").write_text("\n".join([json.dumps(start), *events[1:]]) + "\n")
    return folder


def runs_of(
    folder: Path, name: str, settings: dict[str, Any], top1s: list[float], **options: Any
) -> list[Run]:
    """One finished run a seed from 0, with these accuracies."""
    return [
        replace(
            load_run(made_run(folder / f"{name}{seed}", name, settings, seed=seed, top1=top1,
                              **options)),
            folder=Path(f"{name}{seed}"),
        )
        for seed, top1 in enumerate(top1s)
    ]  # fmt: skip
