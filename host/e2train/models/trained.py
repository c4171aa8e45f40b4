# SPDX-License-Identifier: Apache-2.0
"""A run's trained network, as its last evaluation had it: averaged weights where it averages."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.batches import augment, batch_indices
from ..data.dataset import Dataset
from ..data.load import load_data
from ..device.base import Device
from ..errors import UserError
from ..methods.stochastic_depth import StochasticDepth
from ..methods.swa import WeightAverage
from ..network.network import Network
from ..network.parameters import Parameters
from ..runs.checkpoint import Checkpoint, read_checkpoint
from ..training.assembly import Parts, assemble
from ..training.averaging import renew_statistics
from ..training.experiment import Experiment, load_experiment
from ..training.record import RESULT

CURRENT, AVERAGED = "current", "averaged"


@dataclass
class Trained:
    """A run that can be asked, or exported.

    start, cell: the run's start event and the cell of its result (empty where there is none yet);
    weights: `current` or `averaged`; iteration: mini-batches offered so far.
    """

    folder: Path
    experiment: Experiment
    parts: Parts
    start: dict[str, Any]
    cell: dict[str, Any]
    mean: tuple[int, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    weights: str
    iteration: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the network's pictures."""
        first = next(self.parts.spec.units()).geometry
        return first.channels, first.height, first.width

    @property
    def label(self) -> str:
        """What the data is called in tables."""
        return str(self.start["dataset_label"])

    @property
    def plain_parameters(self) -> Parameters:
        """Parameters of the network with all blocks: stochastic depth's scales are in them."""
        found = {name: value.copy() for name, value in self.parts.network.parameters.items()}
        policy = self.parts.policy
        if isinstance(policy, StochasticDepth):
            for index, block in enumerate(self.parts.spec.skippable_blocks):
                for kind in ("gamma", "beta"):
                    name = f"{block.units[-1].name}.{kind}"
                    found[name] *= np.float32(policy.survival[index])
        return found

    def all_blocks(self) -> Network:
        """The network with every block, for every picture."""
        return Network(self.parts.spec, self.parts.network.arithmetic, self.plain_parameters)


def needs_device(folder: Path) -> bool:
    """Whether the run's arithmetic is integers, which a device computes."""
    return load_experiment(_file(folder, "experiment.toml")).method.arithmetic == "fixed"


def load_trained(folder: Path, data: Path | None, device: Device | None) -> Trained:
    """The network of a run folder. UserError where it has no checkpoint, or one of something else.

    The data set is read only where the run does not tell enough by itself: averaged weights need
    batch-norm statistics over training pictures.
    """
    experiment = load_experiment(_file(folder, "experiment.toml"))
    start = _start(_file(folder, "events.jsonl"))
    saved = read_checkpoint(_file(folder, "checkpoint.npz"))
    finished = (folder / RESULT).exists()
    averages = finished and bool(saved.meta.get("average_count"))
    told = "picture" in start
    if averages or not told:
        dataset = load_data(experiment.data, data)
        if told:  # of a run that starts from another's normalisation, that
            dataset = replace(dataset, mean=tuple(start["mean"]), std=tuple(start["std"]))
    else:
        dataset = _told(start)
    parts = assemble(experiment, dataset, device)
    _restore(folder, saved, parts)
    if averages:
        _average(experiment, dataset, parts, saved)
    cell = json.loads((folder / RESULT).read_text())["cell"] if finished else {}
    return Trained(
        folder,
        experiment,
        parts,
        start,
        cell,
        dataset.mean,
        dataset.std,
        dataset.names,
        AVERAGED if averages else CURRENT,
        int(saved.meta["iteration"]),
    )


def _file(folder: Path, name: str) -> Path:
    if not (folder / name).exists():
        raise UserError(f"{folder / name}: missing, so {folder} holds no trained run")
    return folder / name


def _start(events: Path) -> dict[str, Any]:
    """The start event, which is the first line."""
    with open(events, encoding="utf-8", errors="replace") as stream:
        line = stream.readline()
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("event") != "start":
        raise UserError(f"{events}: does not begin with a start event")
    return found


def _told(start: dict[str, Any]) -> Dataset:
    """A data set without pictures: what the run's record says of the one it was trained on."""
    none = np.zeros((0, *start["picture"]), np.uint8)
    labels = np.zeros(0, np.int64)
    names = tuple(start["class_names"])
    return Dataset(
        name=start["dataset"],
        label=start["dataset_label"],
        train_images=none,
        train_labels=labels,
        test_images=none,
        test_labels=labels,
        classes=len(names),
        mean=tuple(start["mean"]),
        std=tuple(start["std"]),
        mirror=False,
        shift=0,
        class_names=names,
    )


def _restore(folder: Path, saved: Checkpoint, parts: Parts) -> None:
    groups = {"parameters": parts.network.parameters}
    if parts.gates is not None:
        groups["gates"] = parts.gates.parameters
        vars(parts.gates.controller).update(saved.meta["controller"])
    for group, table in groups.items():
        for name, value in table.items():
            found = saved.arrays.get(f"{group}/{name}")
            if found is None or found.shape != value.shape:
                raise UserError(
                    f"{folder / 'checkpoint.npz'}: {name} is missing or not of shape {value.shape}"
                )
            value[...] = found
    parts.network.arithmetic.restore(saved.meta["arithmetic"])


def _average(experiment: Experiment, dataset: Dataset, parts: Parts, saved: Checkpoint) -> None:
    """The averaged weights in place of the current ones, with statistics as the run's end had."""
    average, prefix = WeightAverage(), "average/"
    average.count = int(saved.meta["average_count"])
    average.mean = {
        name[len(prefix) :]: array
        for name, array in saved.arrays.items()
        if name.startswith(prefix)
    }
    averaged = average.parameters(parts.network.parameters)
    total, train = len(dataset.train_labels), experiment.train

    def pictures(iteration: int) -> np.ndarray:
        images = dataset.train_images[batch_indices(total, train.batch, iteration, train.seed)]
        if not experiment.data.augment:
            return images
        return augment(images, iteration, train.seed, dataset.mirror, dataset.shift, dataset.mean)

    first = experiment.offered
    iterations = range(first, first + experiment.swa.statistics_batches)
    renew_statistics(parts.network, averaged, ((i, pictures(i)) for i in iterations))
    parts.network.parameters = averaged
