# SPDX-License-Identifier: Apache-2.0
"""What a run leaves behind: start event, result.json; whether a checkpoint is its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..cost.counts import FLOAT32, iteration
from ..data.dataset import Dataset
from ..errors import UserError
from ..files import write_text
from ..network.spec import NetworkSpec
from ..runs.checkpoint import Checkpoint
from ..runs.events import SCHEMA
from .assembly import Parts
from .evaluate import Accuracy
from .experiment import Experiment
from .metering import RunEnergy
from .tallies import Tallies

OLD_GATES = "gates/gate.output_bias"
RESULT = "result.json"


def start(
    experiment: Experiment, dataset: Dataset, spec: NetworkSpec, board_model: str, notes: list[str]
) -> dict[str, Any]:
    """Facts of the start event."""
    return {
        "schema": SCHEMA,
        "name": experiment.name,
        "method": experiment.method_name,
        "network": spec.name,
        "dataset": dataset.name,
        "dataset_label": dataset.label,
        "arithmetic": experiment.method.arithmetic,
        "board_model": board_model,
        "iterations": experiment.offered,
        "batch": experiment.train.batch,
        "seed": experiment.train.seed,
        "layers": [unit.name for unit in spec.units()] + ["classifier"],
        "blocks": [block.name for block in spec.skippable_blocks],
        "picture": list(dataset.train_images.shape[1:]),
        "class_names": list(dataset.names),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "notes": [*dataset.notes, *notes],
    }


def result(
    experiment: Experiment,
    dataset: Dataset,
    parts: Parts,
    tallies: Tallies,
    metering: RunEnergy,
    accuracy: Accuracy,
    *,
    meter: str,
    iterations_run: int,
    seconds: float,
) -> dict[str, Any]:
    """The finished cell: accuracy, exact counts and energy with its provenance.

    `meter` is what the run was metered with, as given; `seconds` the training's wall-clock time.
    """
    e, energy = experiment, metering.joules() or {}
    standard = iteration(parts.spec, FLOAT32, e.train.batch)
    counter = parts.counter
    return {
        "schema": SCHEMA,
        "cell": {
            "name": e.name,
            "method": e.method_name,
            "iterations_offered": e.offered,
            "iterations_run": iterations_run,
            "top1": accuracy.top1,
            "top5": accuracy.top5,
            "energy_joules": energy.get("joules"),
            "energy_uncertainty_joules": energy.get("uncertainty_joules"),
            "energy_provenance": energy.get("provenance"),
            "energy_missing": metering.reason(),
            "skip_ratio": tallies.skip_ratio,
            "evaluation_skip": accuracy.skip,
            "evaluation_macs": accuracy.macs,
            "predictor_share": tallies.predictor_share,
            "seconds": seconds,
        },
        "dataset": dataset.name,
        "dataset_label": dataset.label,
        "network": parts.spec.name,
        "seed": e.train.seed,
        "meter": meter,
        "macs": counter.macs,
        "bit_operations": counter.bit_operations,
        "bytes": {"dram": counter.moved("dram"), "buffer": counter.moved("buffer")},
        "smb_macs_per_iteration": standard.macs,
        "smb_bit_operations_per_iteration": standard.bit_operations,
        "modelled_joules": metering.modelled()["joules"],
        "board_model": metering.board_model,
        "board": {**metering.board, "provenance": "modelled"},
        "block_skip": tallies.block_skip,
        "predictor_share_by_layer": tallies.share_by_layer,
        "macs_by_pass": counter.by_pass(),
    }


def write_result(folder: Path, found: dict[str, Any]) -> None:
    """Write result.json, whole or not at all."""
    write_text(folder / RESULT, json.dumps(found, indent=1) + "\n")


def same_run(
    path: Path, saved: Checkpoint, experiment: Experiment, network: str, metered: bool
) -> None:
    """UserError unless the checkpoint is of this very experiment, with or without a meter as it."""
    if OLD_GATES in saved.arrays:
        raise UserError(
            f"{path}: is of the earlier gate layout ({OLD_GATES}: one bias for all blocks), which "
            "cannot go on; train the run anew"
        )
    if saved.meta.get("network") != network:
        raise UserError(f"{path}: is of network {saved.meta.get('network')}, not of {network}")
    wanted = json.loads(json.dumps(experiment.as_dict()))
    usual = json.loads(json.dumps(Experiment(experiment.name).as_dict()))
    for key, value in wanted.items():
        before = saved.meta["experiment"].get(key)
        if isinstance(value, dict):  # what a checkpoint of an earlier version does not tell of
            before = {**usual[key], **(before or {})}
        if before != value:
            raise UserError(f"{path}: was trained with {key} = {before}, not {value}")
    if metered != (saved.meta["meter"] is not None):
        was, now = ("without", "with") if metered else ("with", "without")
        raise UserError(f"{path}: the run was begun {was} a meter and cannot go on {now} one")


def restore(path: Path, saved: Checkpoint, groups: dict[str, dict[str, np.ndarray]]) -> None:
    """Copy a checkpoint's arrays into their places; UserError unless each has one and fits it."""
    places = {f"{group}/{name}": a for group, table in groups.items() for name, a in table.items()}
    for name in sorted(places.keys() | saved.arrays.keys()):
        place, found = places.get(name), saved.arrays.get(name)
        if place is None or found is None or found.shape != place.shape:
            shapes = ["none" if a is None else str(a.shape) for a in (found, place)]
            raise UserError(f"{path}: {name} is {shapes[0]}, expected {shapes[1]}")
        place[...] = found
