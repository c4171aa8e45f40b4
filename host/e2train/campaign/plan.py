# SPDX-License-Identifier: Apache-2.0
"""Campaign files: methods, networks, data sets and seeds (TOML) to an ordered list of cells.

A cell is one training run. Methods differ by the tables of an experiment file; `base` holds what
they share. docs/campaigns.md lists every key.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checked import Settings, build, decoded, is_number, read_toml
from ..errors import UserError
from ..report.paper import repeated_rows
from ..training.experiment import Experiment, check

INTERLEAVED, RANDOMISED = "interleaved", "randomised"
CONTINUE, RESTART = "continue", "restart"
CHECKPOINT = "checkpoint.npz"
LONGEST_S = 86_400.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
# What the plan itself sets in each experiment; a file that sets it too would be overruled silently.
_OURS = ("name", "network", "data.name", "train.seed")
_METHOD_KEYS = ("name", "on", "seeds", "after", "sweep")


@dataclass(frozen=True)
class Cell:
    """One training run. `family` is the method's name without what a sweep appended to it.

    `after` is the id of the cell whose checkpoint this one starts from, if any.
    """

    id: str
    method: str
    family: str
    network: str
    dataset: str
    seed: int
    experiment: Experiment
    after: str | None


@dataclass(frozen=True)
class Campaign:
    """A checked campaign file. `cells` stand in the order in which they are to run."""

    name: str
    baseline: str
    order: str
    idle_s: float
    settle_s: float
    interrupted: str
    meter: str
    cells: tuple[Cell, ...]
    text: str


def load_campaign(path: Path) -> Campaign:
    """Read and check a campaign file. Raises UserError naming file, key and what was expected."""
    keys = Settings(read_toml(path), str(path))
    name = keys.text("name", path.stem)
    keys.need(_fits(name), "name", "letters, digits and . _ + - (it names a folder)")
    order = keys.one_of("order", (INTERLEAVED, RANDOMISED))
    order_seed = keys.count("order_seed", 0)
    cells = _cells(keys)
    places = [(cell.method, cell.network, cell.dataset) for cell in cells]
    repeated_rows(keys.table("paper"), places, keys.source)  # refuses what the paper has not
    baseline = keys.text("baseline", cells[0].method)
    keys.need(any(cell.method == baseline for cell in cells), "baseline", "the name of a method")
    campaign = Campaign(
        name=name,
        baseline=baseline,
        order=order,
        idle_s=keys.number("idle_seconds", 60.0, 0, LONGEST_S, "seconds"),
        settle_s=keys.number("settle_seconds", 10.0, 0, LONGEST_S, "seconds"),
        interrupted=keys.one_of("interrupted", (CONTINUE, RESTART)),
        meter=keys.text("meter", "simulated"),
        cells=tuple(ordered(cells, order, order_seed)),
        text=decoded(path.read_bytes()),
    )
    keys.finish()
    return campaign


def ordered(cells: list[Cell], order: str, seed: int) -> list[Cell]:
    """Repeat by repeat, so that slow drift meets every method alike.

    Within a repeat (one seed) cells stand as listed, or shuffled: a randomised block design.
    """
    seeds = list(dict.fromkeys(cell.seed for cell in cells))
    blocks = [[cell for cell in cells if cell.seed == one] for one in seeds]
    if order == RANDOMISED:
        for one, block in zip(seeds, blocks, strict=True):
            random.Random(f"{seed}/{one}").shuffle(block)
    return [cell for block in blocks for cell in block]


def _cells(keys: Settings) -> list[Cell]:
    on, seeds, base = _pairs(keys), keys.counts("seeds", [0]), keys.table("base")
    cells: list[Cell] = []
    for number, method in enumerate(keys.tables("methods"), start=1):
        where = f"{keys.source}: methods {method.get('name', number)!r}"
        cells += _method_cells(method, where, base, on, seeds)
    if not cells:
        raise UserError(f"{keys.source}: methods: expected at least one [[methods]] table")
    seen: set[str] = set()
    for cell in cells:
        if cell.id in seen:
            raise UserError(f"{keys.source}: the cell {cell.id} is listed twice")
        seen.add(cell.id)
    for cell in cells:
        if cell.after is not None and cell.after not in seen:
            raise UserError(f"{keys.source}: {cell.id} comes after {cell.after}, which is no cell")
    return _without_circles(cells, keys.source)


def _method_cells(
    table: dict[str, Any],
    where: str,
    base: dict[str, Any],
    on: list[tuple[str, str]],
    seeds: list[int],
) -> Iterator[Cell]:
    keys = Settings({k: v for k, v in table.items() if k in _METHOD_KEYS}, where)
    family = keys.text("name")
    keys.need(_fits(family), "name", "letters, digits and . _ + - (it names a folder)")
    after = keys.text("after", "")
    own_on, own_seeds = _pairs(keys, on), keys.counts("seeds", seeds)
    sweep = _sweep(keys)
    own = {k: v for k, v in table.items() if k not in _METHOD_KEYS}
    for values in itertools.product(*sweep.values()):
        settings = _merged(base, own)
        label = family
        for key, value in zip(sweep, values, strict=True):
            label += f"-{key.rpartition('.')[2]}{value:g}"
            settings = _merged(settings, _nested(key, value))
        for network, dataset in own_on:
            for seed in own_seeds:
                yield _cell(where, family, label, network, dataset, seed, settings, after)


def _cell(
    where: str,
    family: str,
    label: str,
    network: str,
    dataset: str,
    seed: int,
    settings: dict[str, Any],
    after: str,
) -> Cell:
    for key in _OURS:
        if _lookup(settings, key) is not None:
            raise UserError(f"{where}: {key}: not for a method to set: `on` and `seeds` do")
    ours: dict[str, Any] = {"name": label, "network": network, "data": {"name": dataset}}
    parent = cell_id(after, network, dataset, seed) if after else None
    settings = _merged(settings, ours | {"train": {"seed": seed}})
    if parent:
        # relative to the cell's own folder; resolved where the cell runs
        found = {"finetune": {"checkpoint": f"../{parent}/{CHECKPOINT}"}}
        settings = _merged(settings, found)
    return Cell(
        cell_id(label, network, dataset, seed),
        label, family, network, dataset, seed, experiment_from(settings, where), parent,
    )  # fmt: skip


def experiment_from(settings: dict[str, Any], where: str) -> Experiment:
    """The checked experiment of nested tables as `Experiment.as_dict()` gives them.

    Raises UserError that begins with `where`.
    """
    experiment: Experiment = build(Experiment, _given(settings), where)
    try:
        check(experiment)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return experiment


def _given(table: dict[str, Any]) -> dict[str, Any]:
    """Without keys that are None: a file leaves them out."""
    return {
        key: _given(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value is not None
    }


def cell_id(method: str, network: str, dataset: str, seed: int) -> str:
    """The name of a cell and of its folder."""
    return f"{method}.{network}.{dataset}.seed{seed}"


def _without_circles(cells: list[Cell], source: str) -> list[Cell]:
    """The cells, if every chain of `after` ends."""
    parents = {cell.id: cell.after for cell in cells}
    for cell in cells:
        step, passed = cell.after, {cell.id}
        while step is not None:
            if step in passed:
                raise UserError(f"{source}: {cell.id} comes after itself")
            passed.add(step)
            step = parents[step]
    return cells


def _pairs(keys: Settings, default: list[tuple[str, str]] | None = None) -> list[tuple[str, str]]:
    """The key `on`: a list of [network, data set]."""

    def holds(value: object) -> bool:
        return isinstance(value, list) and bool(value) and all(map(_is_pair, value))

    expected = 'pairs of network and data set such as [["resnet-8", "digits"]]'
    return [(network, data) for network, data in keys.value("on", default, holds, expected)]


def _is_pair(value: object) -> bool:
    two = isinstance(value, (list, tuple)) and len(value) == 2
    return two and all(isinstance(one, str) for one in value)  # type: ignore[attr-defined]


def _sweep(keys: Settings) -> dict[str, list[float]]:
    """The key `sweep`: a table of lists of numbers, such as {"train.lr" = [0.1, 0.2]}."""
    found = keys.table("sweep")
    for name, numbers in found.items():
        right = isinstance(numbers, list) and numbers and all(map(is_number, numbers))
        keys.need(bool(right), "sweep", f"a list of numbers for {name!r}")
    return found


def _fits(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def _lookup(table: dict[str, Any], key: str) -> Any:
    found: Any = table
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, table by table."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[key] = _merged(old, value) if both else value  # type: ignore[arg-type]
    return result
