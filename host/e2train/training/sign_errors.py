# SPDX-License-Identifier: Apache-2.0
"""Sign errors of many predictors on a partly trained network, as a table of counts (CSV)."""

from __future__ import annotations

import csv
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..data.dataset import Dataset
from ..device.base import Device
from ..methods.sign_bound import Predictor
from ..methods.sign_errors import Grid, SignCount, sign_counts
from .experiment import Experiment
from .metering import NO_METER
from .sign_bound import WatchedDevice
from .trainer import Trainer

COLUMNS = ("layer", "x_bits", "g_bits", "cut", "beta", "weights", "predicted", "wrong")
ROUNDED, TRUNCATED = "rounded", "truncated"


@dataclass(frozen=True)
class Measured:
    """Counts of the mini-batches looked at, by (layer, predictor), and where they come from."""

    network: str
    dataset_label: str
    batch: int
    seed: int
    trained: int
    mini_batches: int
    counts: dict[tuple[str, Predictor], SignCount]

    def text(self) -> str:
        """RFC 4180 text below one comment line that says what was measured."""
        stream = io.StringIO()
        stream.write(
            f"# network={self.network}; dataset={self.dataset_label}; batch={self.batch}; "
            f"seed={self.seed}; trained={self.trained}; mini_batches={self.mini_batches}\n"
        )
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for (layer, p), one in self.counts.items():
            how = TRUNCATED if p.truncate else ROUNDED
            counts = (one.weights, one.predicted, one.wrong)
            writer.writerow((layer, p.x_msb_bits, p.g_msb_bits, how, p.beta, *counts))
        return stream.getvalue()


def measure(
    experiment: Experiment,
    dataset: Dataset,
    device: Device,
    *,
    iterations: int,
    mini_batches: int,
    grid: Grid,
) -> Measured:
    """Train `iterations` mini-batches as the experiment says, then count on the following ones.

    The network goes on training while it is looked at, with the experiment's own predictor.
    """
    watched = WatchedDevice(device)
    counts: dict[tuple[str, Predictor], SignCount] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        Trainer(experiment, dataset, Path(folder), device=watched, meter=NO_METER) as trainer,  # type: ignore[arg-type]
    ):
        layers = [unit.name for unit in reversed(list(trainer.parts.spec.units()))]
        for iteration in range(iterations + mini_batches):
            watched.watching = iteration >= iterations
            trainer.mini_batch(iteration)
            if not watched.watching:
                continue
            for layer, (x, g, geometry) in zip(layers, watched.seen, strict=True):
                for one in sign_counts(device, x, g, geometry, grid):
                    key = (layer, one.predictor)
                    counts[key] = one if key not in counts else counts[key].plus(one)
            watched.seen.clear()
        network = trainer.parts.spec.name
    return Measured(
        network,
        dataset.label,
        experiment.train.batch,
        experiment.train.seed,
        iterations,
        mini_batches,
        counts,
    )
