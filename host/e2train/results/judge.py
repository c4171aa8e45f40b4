# SPDX-License-Identifier: Apache-2.0
"""The word for each claim, by rules that texts.toml states on the pages and this module applies."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..campaign.statistics import Estimate, estimate
from ..campaign.tables import words
from ..cost.board import HYPOTHETICAL
from ..runs.load import Run, RunResult
from .claims import Claim, Row
from .groups import Group, Size, computing_saving, difference, energy_saving, top1

CONFIRMED, NOT_CONFIRMED, NOT_RUN = "confirmed", "not confirmed at this size", "not run"
MEASURED = "see figure"  # of an open question, which the paper answers nowhere
# The paper's figures are single runs, which scatter too: by 0.132 points (section 4.2). Twice that
# of a difference of two.
TOLERANCE = round(2 * math.sqrt(2) * 0.132, 2)
LEAST_SPREAD_SEEDS = 10
SAME_RATIO = 0.01  # of standard training: within it two executed as many mini-batches


@dataclass(frozen=True)
class Verdict:
    """A claim's word, what it rests on, and where it was found; `size` is None where not run."""

    claim: Claim
    word: str
    ours: str
    size: Size | None
    seeds: tuple[int, ...] = ()

    @property
    def where(self) -> str:
        """'resnet-20, CIFAR-10 (JPEG), 16,000 iterations of 128, rate linear; seeds 0, 1'."""
        if self.size is None:
            return "–"
        word = "seed" if len(self.seeds) == 1 else "seeds"
        return f"{self.size.text}; {word} {', '.join(map(str, self.seeds))}"


@dataclass(frozen=True)
class Pair:
    """The groups that answer one pair of rows at one size."""

    ours: Group
    theirs: Group
    label: str


def fitting(row: Row, groups: Sequence[Group]) -> list[Group]:
    """All settings that fit a row: most seeds first, then nearest to the paper's mini-batches."""
    found = [group for group in groups if row.holds(group)]
    found.sort(key=lambda group: (-len(group.runs), abs(group.ratio - row.executed), group.name))
    return found


def standing_for(row: Row, groups: Sequence[Group]) -> Group | None:
    """Of several settings that fit a row, the first."""
    return next(iter(fitting(row, groups)), None)


def _pair(claim: Claim, row: Row, other: Row, inside: Sequence[Group]) -> Pair | None:
    """The groups that stand for two rows, if both were run (and alike in length if they must)."""
    label = f"{row.name}: " if len(claim.pairs) > 1 else ""
    for ours in fitting(row, inside):
        for theirs in fitting(other, inside):
            if not claim.equal or abs(ours.ratio - theirs.ratio) < SAME_RATIO:
                return Pair(ours, theirs, label)
    return None


def judge(claim: Claim, groups: Sequence[Group]) -> Verdict:
    """The word for a claim, at the largest size at which any of its pairs was run."""
    for size, inside in _by_size(groups, claim.across):
        found = [_pair(claim, row, other, inside) for row, other in claim.pairs]
        pairs = [pair for pair in found if pair is not None]
        if pairs:
            word, said = _RULES[claim.kind](claim, pairs, groups)
            seeds = sorted({seed for pair in pairs for seed in pair.ours.seeds})
            return Verdict(claim, word, said, pairs[0].ours.size or size, tuple(seeds))
    return Verdict(claim, NOT_RUN, "–", None)


def _by_size(groups: Sequence[Group], across: bool) -> Iterator[tuple[Size, list[Group]]]:
    """Groups that compare, the longest training of the deepest network first.

    `across`: lengths and halves of the data may differ, network and data set may not.
    """

    def key(size: Size) -> tuple[object, ...]:
        return (size.network, size.dataset) if across else (size,)

    def rank(size: Size) -> tuple[int, int]:
        depth = size.network.rpartition("-")[2]
        return size.iterations, int(depth) if depth.isdigit() else 0

    done: set[tuple[object, ...]] = set()
    for size in sorted({group.size for group in groups}, key=rank, reverse=True):
        if key(size) not in done:
            done.add(key(size))
            yield size, [group for group in groups if key(group.size) == key(size)]


def by_size(groups: Sequence[Group], across: bool = False) -> list[tuple[Size, list[Group]]]:
    """Groups that compare, the largest size first."""
    return list(_by_size(groups, across))


# ---- rules --------------------------------------------------------------------------------------

Found = tuple[str, str]


def _lower(found: Estimate | None) -> float | None:
    """The lower end of an interval; None of one seed, which has none."""
    return None if found is None or found.half is None else found.mean - found.half


def _at_least(found: Estimate | None, bound: float, unit: str) -> Found:
    if found is None:
        return NOT_RUN, "no modelled joules in the records"
    low = _lower(found)
    text = f"{words(found)} {unit}" + (" (one seed: no interval)" if found.half is None else "")
    return (CONFIRMED if low is not None and low >= bound else NOT_CONFIRMED), text


def _accuracy(claim: Claim, pairs: list[Pair], groups: Sequence[Group]) -> Found:
    found = difference(pairs[0].ours, pairs[0].theirs, groups)
    return _at_least(found, claim.paper - TOLERANCE, "points")


def _more(claim: Claim, pairs: list[Pair], groups: Sequence[Group]) -> Found:
    found = [_above_zero(difference(pair.ours, pair.theirs, groups)) for pair in pairs]
    said = "; ".join(f"{pair.label}{text}" for pair, (_, text) in zip(pairs, found, strict=True))
    if len(claim.pairs) > 1:
        said += f" ({len(pairs)} of {len(claim.pairs)} pairs run)"
    return (CONFIRMED if all(word == CONFIRMED for word, _ in found) else NOT_CONFIRMED), said


def _above_zero(found: Estimate) -> Found:
    low = _lower(found)
    word, text = _at_least(found, 0.0, "points")
    return (NOT_CONFIRMED if low == 0.0 else word), text  # equal is not more


def _energy(claim: Claim, pairs: list[Pair], groups: Sequence[Group]) -> Found:
    ours, theirs = pairs[0].ours, pairs[0].theirs
    word, text = _at_least(energy_saving(ours, theirs), claim.paper, "% (modelled)")
    if ours.hypothetical or theirs.hypothetical:
        return NOT_RUN, f"{text}, {HYPOTHETICAL}"
    return word, text


def _computing(claim: Claim, pairs: list[Pair], groups: Sequence[Group]) -> Found:
    return _at_least(computing_saving(pairs[0].ours), claim.paper, "% (bit operations)")


def _share(claim: Claim, pairs: list[Pair], groups: Sequence[Group]) -> Found:
    def share(result: RunResult) -> float | None:
        return result.predictor_share

    found = estimate(list(pairs[0].ours.values(share).values()))
    return _at_least(found, claim.paper, "%")


def _spread(claim: Claim, pairs: list[Pair], groups: Sequence[Group]) -> Found:
    values = list(pairs[0].ours.values(top1).values())
    if len(values) < LEAST_SPREAD_SEEDS:
        return NOT_RUN, f"{len(values)} of {LEAST_SPREAD_SEEDS} seeds"
    spread = statistics.stdev(values)
    word = CONFIRMED if spread <= claim.paper else NOT_CONFIRMED
    return word, f"{spread:.3f} points over {len(values)} seeds"


def _stages(claim: Claim, pairs: list[Pair], groups: Sequence[Group]) -> Found:
    ours, theirs = pairs[0].ours, pairs[0].theirs
    others = {run.seed: run for run in theirs.runs}
    found = [_lead(run, others[run.seed]) for run in ours.runs if run.seed in others]
    known = estimate([lead for lead in found if lead is not None])
    if known is None:
        return NOT_RUN, "no evaluations of one seed at equal energy"
    word, text = _above_zero(known)
    if ours.hypothetical or theirs.hypothetical:
        return NOT_RUN, f"{text}, {HYPOTHETICAL}"
    return word, f"{text} (simulated energy)"


def path_of(run: Run) -> np.ndarray:
    """(joules so far, top-1) of the weights as trained, float64 [evaluations, 2]; simulated."""
    points = [(e.energy.joules, e.top1) for e in run.evaluations if _shown(e) and e.energy]
    return np.array(points, dtype=np.float64).reshape(-1, 2)


def _shown(evaluation: object) -> bool:
    return getattr(evaluation, "weights", None) == "current"


def _lead(run: Run, other: Run) -> float | None:
    """Points by which `run` is ahead at its end, if `other` had taken as much by some time."""
    ours, theirs = path_of(run), path_of(other)
    if not len(ours) or not len(theirs):
        return None
    spent, reached = ours[-1]
    if not theirs[0, 0] <= spent <= theirs[-1, 0]:
        return None
    return float(reached - np.interp(spent, theirs[:, 0], theirs[:, 1]))


def _open(claim: Claim, pairs: list[Pair], groups: Sequence[Group]) -> Found:
    _, text = _at_least(difference(pairs[0].ours, pairs[0].theirs, groups), 0.0, "points")
    return MEASURED, text


_RULES: dict[str, Callable[[Claim, list[Pair], Sequence[Group]], Found]] = {
    "accuracy": _accuracy,
    "more": _more,
    "energy": _energy,
    "computing": _computing,
    "share": _share,
    "spread": _spread,
    "stages": _stages,
    "open": _open,
}
