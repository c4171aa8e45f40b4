# SPDX-License-Identifier: Apache-2.0
"""docs/one-pass.md: is a choice of mini-batches by their loss worth its forward passes?

The page and its figure are made from the tables beside it (`one-pass/NAME.csv`, a row a run), which
`keep` takes out of finished campaigns. What the page concludes is computed from them, too.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from ..campaign.statistics import Estimate, cell_rows, estimate, to_csv
from ..campaign.store import Store
from ..errors import UserError
from ..files import write_text
from ..report.render import Chart, render, write_png
from ..report.style import LIGHT, Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE, TABLES = "one-pass.md", "one-pass"
WIDTH = 110
MADE = "<!-- From here on made by `e2train results one-pass`. -->"
ALL, CHOICE, CHANCE, SAME_WORK = "all", "loss-50", "chance-50", "chance-33"
WORDS = {
    ALL: "every mini-batch",
    CHOICE: "half, chosen by loss",
    CHANCE: "half, by chance",
    SAME_WORK: "two thirds, by chance",
}
COLUMNS = (
    "method", "network", "dataset_label", "seed", "top1", "energy_j", "energy_provenance", "macs",
    "iterations_offered", "iterations_run",
)  # fmt: skip
COLOURS = {ALL: "sgd-fp32", CHOICE: "e2train", CHANCE: "smd", SAME_WORK: "psg"}
MARKERS = {ALL: "s", CHOICE: "*", CHANCE: "^", SAME_WORK: "o"}


@dataclass(frozen=True)
class Trial:
    """The runs of one table: the rows of each method, by seed."""

    name: str
    rows: dict[str, dict[int, dict[str, str]]]

    @property
    def place(self) -> str:
        """Data set, network and seeds, in words."""
        first = next(iter(self.rows[ALL].values()))
        return f"{first['dataset_label']}, {first['network']}, {len(self.rows[ALL])} seeds"

    @property
    def provenance(self) -> str:
        """Of all the joules."""
        return next(iter(self.rows[ALL].values()))["energy_provenance"]

    def values(self, method: str, column: str) -> list[float]:
        """A column of a method, in the order of the seeds."""
        return [float(self.rows[method][seed][column]) for seed in sorted(self.rows[method])]

    def mean(self, method: str, column: str) -> Estimate:
        """With half of the 95 % confidence interval."""
        return _estimate(self.values(method, column))

    def difference(self, first: str, second: str, column: str) -> Estimate:
        """Of two methods, formed within each seed."""
        pairs = zip(self.values(first, column), self.values(second, column), strict=True)
        return _estimate([one - other for one, other in pairs])


def _estimate(values: list[float]) -> Estimate:
    found = estimate(values)
    assert found is not None
    return found


def keep(campaign: Path, docs: Path) -> Path:
    """Write the finished cells of a campaign's folder as a table of the page; its path."""
    rows = [row for row in cell_rows(Store(campaign)) if row["state"] == "finished"]
    if not rows:
        raise UserError(f"{campaign}: has no finished cells")
    rows.sort(key=lambda row: (list(WORDS).index(row["method"]), row["seed"]))
    file = docs / TABLES / f"{Store(campaign).get('name')}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, to_csv(rows, COLUMNS))
    return file


def read_trials(docs: Path) -> list[Trial]:
    """All tables of the page. UserError for one that lacks a method, or seeds of one."""
    trials = []
    for file in sorted((docs / TABLES).glob("*.csv")):
        rows: dict[str, dict[int, dict[str, str]]] = {method: {} for method in WORDS}
        for row in csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))):
            rows.setdefault(row["method"], {})[int(row["seed"])] = row
        seeds = rows[ALL].keys()
        if len(seeds) < 3 or any(table.keys() != seeds for table in rows.values()):
            raise UserError(f"{file}: expected {', '.join(WORDS)} with the same 3 seeds or more")
        trials.append(Trial(file.stem, rows))
    if not trials:
        raise UserError(f"{docs / TABLES}: no tables; give the folder of a finished campaign")
    return trials


def page_text(docs: Path, trials: list[Trial]) -> str:
    """The page: what was written by hand, up to the line MADE, and what the tables say."""
    page = docs / PAGE
    head, found, _ = page.read_text(encoding="utf-8").partition(MADE)
    if not found:
        raise UserError(f"{page}: has no line {MADE}")
    parts = [head + MADE, "", *_conclusion(trials), *(_section(one) for one in trials)]
    return "\n".join(parts).rstrip() + "\n"


def write_page(docs: Path) -> list[Path]:
    """Write the page anew, and a figure of each table."""
    trials = read_trials(docs)
    text = page_text(docs, trials)
    written = []
    for trial in trials:
        file = docs / TABLES / f"{trial.name}.png"
        write_png(file, render(_chart(trial), LIGHT, trial.place))
        written.append(file)
    write_text(docs / PAGE, text)
    return [docs / PAGE, *written]


def _told(found: Estimate, places: int = 1) -> str:
    half = "" if found.half is None else f" ± {found.half:.{places}f}"
    return f"{found.mean:.{places}f}{half}".replace("-", "−")


def _verdict(found: Estimate) -> str:
    half = found.half or 0.0
    told = f"({_told(found)} points)"
    if found.mean - half > 0:
        return f"better, outside the confidence interval {told}"
    if found.mean + half < 0:
        return f"worse, outside the confidence interval {told}"
    return f"neither better nor worse by more than the confidence interval {told}"


def _conclusion(trials: list[Trial]) -> list[str]:
    """Whether the choice beats chance, as often as it was tried."""
    lines = ["## What came out", ""]
    for trial in trials:
        same, work = (trial.difference(CHOICE, other, "top1") for other in (CHANCE, SAME_WORK))
        line = (
            f"- **{trial.place}** (`{trial.name}`): with about as many mini-batches trained on, "
            f"the choice is {_verdict(same)}; with about as much work, it is {_verdict(work)}."
        )
        lines.append(fill(line, WIDTH, subsequent_indent="  ", break_long_words=False))
    beats = [trial.difference(CHOICE, SAME_WORK, "top1") for trial in trials]
    if all(one.mean - (one.half or 0.0) > 0 for one in beats):
        said = "The choice is worth its forward passes."
    else:
        said = (
            "**The choice by loss does not beat random dropping at the same work**: whoever can\n"
            "afford its forward passes does at least as well to drop fewer mini-batches by chance."
        )
    return [*lines, "", said, ""]


def _section(trial: Trial) -> str:
    full = trial.mean(ALL, "macs").mean
    lines = [
        f"## {trial.name}: {trial.place}",
        "",
        f"![Accuracy against energy of the four ways]({TABLES}/{trial.name}.png)",
        "",
        "| trained on | mini-batches run | multiply-accumulates [%] | "
        f"energy, {trial.provenance} [J] | top-1 [%] |",
        "|---|---:|---:|---:|---:|",
    ]
    for method, words in WORDS.items():
        macs = 100.0 * trial.mean(method, "macs").mean / full
        run, top1 = (_told(trial.mean(method, key)) for key in ("iterations_run", "top1"))
        energy = _told(trial.mean(method, "energy_j"), 2)
        lines.append(f"| {words} (`{method}`) | {run} | {macs:.1f} | {energy} | {top1} |")
    lines += ["", "| difference within each seed | top-1 [points] | energy [J] |"]
    lines += ["|---|---:|---:|"]
    for first, second in ((CHOICE, CHANCE), (CHOICE, SAME_WORK), (CHOICE, ALL)):
        points, joules = (trial.difference(first, second, key) for key in ("top1", "energy_j"))
        lines.append(f"| {WORDS[first]} − {WORDS[second]} | {_told(points)} | {_told(joules, 2)} |")
    return "\n".join([*lines, ""])


def _chart(trial: Trial) -> Chart:
    def draw(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        for method, words in WORDS.items():
            energy, top1 = trial.mean(method, "energy_j"), trial.mean(method, "top1")
            axes.errorbar(
                energy.mean, top1.mean, xerr=energy.half, yerr=top1.half, label=words,
                color=theme.methods[COLOURS[method]], marker=MARKERS[method], markersize=9,
                capsize=3, linestyle="none",
            )  # fmt: skip
        axes.set_xlabel(f"energy, {trial.provenance} [J]")
        axes.set_ylabel("top-1 accuracy [%]")
        axes.legend(loc="lower right")

    said = "; ".join(
        f"{words}: {trial.mean(method, 'top1').mean:.1f} % at "
        f"{trial.mean(method, 'energy_j').mean:.2f} J"
        for method, words in WORDS.items()
    )
    return Chart(
        title="One pass: which mini-batches?",
        caption="Means over the seeds with 95 % confidence intervals.",
        alt=said,
        height=3.6,
        draw=draw,
    )
