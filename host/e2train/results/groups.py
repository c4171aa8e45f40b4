# SPDX-License-Identifier: Apache-2.0
"""Runs by what they trained: repeats over seeds, their means, and intervals of differences.

Two seeds a method say little about scatter each, so it is pooled: over all methods of one size that
update alike (by signs, or by gradients), as an analysis of variance does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..campaign.statistics import CONFIDENCE, Estimate, estimate, student_quantile
from ..errors import UserError
from ..methods import psg
from ..runs.load import FLOAT_ARRAY, Run, RunResult, flattened
from ..training.experiment import Experiment

DEFAULTS = flattened(Experiment("defaults").as_dict())
# What tells no two trainings apart: names, how often something is written down, the repeat.
_ASIDE = ("name", "network", "train.seed", "train.log_every", "train.evaluate_every",
          "train.checkpoint_every")  # fmt: skip


@dataclass(frozen=True, order=True)
class Size:
    """What two trainings share that compare: network, data set as it is labelled, length."""

    network: str
    dataset: str
    dataset_label: str
    iterations: int
    batch: int
    schedule: str

    @property
    def text(self) -> str:
        """'resnet-20, CIFAR-10 (JPEG), 16,000 iterations of 128, rate linear'."""
        return (
            f"{self.network}, {self.dataset_label}, {self.iterations:,} iterations of "
            f"{self.batch}, rate {self.schedule}"
        )


def settings_of(run: Run) -> dict[str, Any]:
    """All settings, flattened, with the defaults that the record leaves out.

    The path of a checkpoint that a run began with becomes "given": it differs from seed to seed.
    """
    found = DEFAULTS | run.settings
    fixed_sgd = (found["method.arithmetic"], found["method.update"]) == ("fixed", "sgd")
    if found["method.input_gradient_bits"] is None and found["method.arithmetic"] == "fixed":
        found["method.input_gradient_bits"] = 8 if fixed_sgd else 16
    if found["train.lr"] is None:
        found["train.lr"] = 0.1 if found["method.update"] == "sgd" else psg.LEARNING_RATE
    if found["finetune.checkpoint"] is not None:
        found["finetune.checkpoint"] = "given"
    return found


def size_of(run: Run) -> Size:
    """The size of one run. Its length is that of standard training, whatever SMD makes of it."""
    settings = settings_of(run)
    return Size(
        run.network, run.dataset, run.dataset_label, int(settings["train.iterations"]),
        run.batch, str(settings["train.schedule"]),
    )  # fmt: skip


@dataclass(frozen=True)
class Group:
    """The repeats of one training, one a seed, in the order of seeds; all have finished."""

    size: Size
    settings: dict[str, Any]
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """The name of the first repeat."""
        return self.runs[0].name

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the repeats."""
        return tuple(run.seed for run in self.runs)

    @property
    def ratio(self) -> float:
        """Mini-batches to execute over those of standard training (the paper's energy ratio)."""
        offered = self.runs[0].iterations
        return offered * (1.0 - self.settings["smd.drop"]) / self.size.iterations

    @property
    def hypothetical(self) -> bool:
        """Whether its joules are those of float32 hardware that this board has not got."""
        return self.runs[0].board_model == FLOAT_ARRAY

    @property
    def by_signs(self) -> bool:
        """Whether signs replace gradients."""
        return self.settings["method.update"] != "sgd"

    def values(self, of: Callable[[RunResult], float | None]) -> dict[int, float]:
        """A number of each repeat's result, by seed, where it has it."""
        found = {run.seed: of(run.result) for run in self.runs if run.result is not None}
        return {seed: value for seed, value in found.items() if value is not None}

    def mean(self, of: Callable[[RunResult], float | None]) -> float | None:
        """Over the repeats that have it."""
        found = self.values(of).values()
        return math.fsum(found) / len(found) if found else None


def groups_of(runs: Iterable[Run]) -> list[Group]:
    """Repeats together; UserError where one training has two runs of one seed."""
    found: dict[tuple[Any, ...], dict[int, Run]] = {}
    for run in runs:
        settings = {k: v for k, v in settings_of(run).items() if k not in _ASIDE}
        key = (size_of(run), tuple(sorted((k, str(v)) for k, v in settings.items())))
        twin = found.setdefault(key, {}).setdefault(run.seed, run)
        if twin is not run:
            raise UserError(f"{twin.folder} and {run.folder}: the same training and seed, twice")
    made = []
    for (size, _), by_seed in found.items():
        ordered = tuple(by_seed[seed] for seed in sorted(by_seed))
        made.append(Group(size, settings_of(ordered[0]), ordered))
    return sorted(made, key=lambda group: (group.size, group.name, group.ratio))


# ---- accuracy and its interval ------------------------------------------------------------------


def top1(result: RunResult) -> float:
    """Top-1 accuracy in percent."""
    return result.top1


@dataclass(frozen=True)
class Scatter:
    """Pooled variance over seeds, in points squared, and its degrees of freedom."""

    variance: float
    freedom: int


def scatter(group: Group, all_groups: Sequence[Group]) -> Scatter:
    """Of the top-1 of all groups of this one's size that update as it does."""
    squares, freedom = 0.0, 0
    for other in all_groups:
        if (other.size, other.by_signs) != (group.size, group.by_signs):
            continue
        values = list(other.values(top1).values())
        mean = math.fsum(values) / len(values)
        squares += math.fsum((value - mean) ** 2 for value in values)
        freedom += len(values) - 1
    return Scatter(squares / freedom if freedom else 0.0, freedom)


def accuracy(group: Group, all_groups: Sequence[Group]) -> Estimate:
    """Mean top-1 of the repeats with half of its 95 % interval."""
    values, pooled = list(group.values(top1).values()), scatter(group, all_groups)
    n = len(values)
    half = None
    if pooled.freedom:
        half = _quantile(pooled.freedom) * math.sqrt(pooled.variance / n)
    return Estimate(math.fsum(values) / n, half, n)


def difference(ours: Group, theirs: Group, all_groups: Sequence[Group]) -> Estimate:
    """Top-1 of `ours` less that of `theirs`, in points; degrees of freedom after Welch.

    Seeds are not paired, which widens the interval where they go together.
    """
    a, b = accuracy(ours, all_groups), accuracy(theirs, all_groups)
    s, t = scatter(ours, all_groups), scatter(theirs, all_groups)
    mean, n = a.mean - b.mean, min(a.n, b.n)
    if not (s.freedom and t.freedom):
        return Estimate(mean, None, n)
    parts = (s.variance / a.n, t.variance / b.n)
    freedom: float = s.freedom
    if (ours.size, ours.by_signs) != (theirs.size, theirs.by_signs):
        weight = parts[0] ** 2 / s.freedom + parts[1] ** 2 / t.freedom
        freedom = sum(parts) ** 2 / weight if weight else s.freedom + t.freedom
    return Estimate(mean, _quantile(freedom) * math.sqrt(sum(parts)), n)


def _quantile(freedom: float) -> float:
    return student_quantile((1 + CONFIDENCE) / 2, freedom)


# ---- energy and computing -----------------------------------------------------------------------


def board_joules(result: RunResult) -> float | None:
    """Modelled joules at the board's input."""
    return result.board_joules


def energy_saving(ours: Group, theirs: Group) -> Estimate | None:
    """Percent of `theirs` modelled joules that `ours` does not take, seed by seed where it can.

    Student's t over the seeds that both have; None without such a seed.
    """
    a, b = ours.values(board_joules), theirs.values(board_joules)
    return estimate([100.0 * (1.0 - a[seed] / b[seed]) for seed in a if b.get(seed, 0.0) > 0])


def computing_saving(group: Group) -> Estimate | None:
    """Percent of the bit operations of 32-bit SGD on all mini-batches, which are counted."""

    def saved(result: RunResult) -> float:
        base = result.smb_bit_operations_per_iteration * group.size.iterations
        return 100.0 * (1.0 - result.bit_operations / base)

    return estimate(list(group.values(saved).values()))
