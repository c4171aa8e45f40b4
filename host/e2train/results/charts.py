# SPDX-License-Identifier: Apache-2.0
"""Figures of the claims: our runs with intervals, and the paper's points beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..campaign.statistics import Estimate
from ..campaign.tables import words
from ..cost.board import HYPOTHETICAL
from ..report.render import Chart, legend_below
from ..report.style import MARKERS, Theme
from .claims import Page, Row
from .groups import Group, Size, accuracy, board_joules, difference, energy_saving
from .judge import by_size, path_of, standing_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {
    "sgd-fp32": "32-bit SGD (SMB)", "fixed8": "8-bit training", "signsgd": "SignSGD", "psg": "PSG",
    "smd": "SMD", "slu": "SLU", "sd": "stochastic depth", "e2train": "E2-Train",
}  # fmt: skip
PAPER_NAME = "hollow: the paper"


@dataclass(frozen=True)
class Point:
    """One way of training in a figure: x, y and half of their intervals (0: none)."""

    row: Row
    key: str
    x: float
    y: float
    x_half: float = 0.0
    y_half: float = 0.0
    paper: bool = False

    @property
    def said(self) -> str:
        """All of it in words."""
        whose = "paper's " if self.paper else ""
        half = f" ± {self.y_half:.2f}" if self.y_half else ""
        return f"{whose}{self.row.name}: {self.y:.2f}{half} at {self.x:.4g}"


@dataclass(frozen=True)
class Shown:
    """What a page's figures show: the size they stand on and the group of each row."""

    page: Page
    groups: Sequence[Group]
    size: Size | None
    chosen: dict[str, Group]

    @property
    def place(self) -> str:
        """The line below a figure's title."""
        return "no run of ours yet" if self.size is None else self.size.text


def style_key(row: Row) -> str:
    """The method whose colour and marker a row wears."""
    s = row.select
    if s.get("method.update") == "psg":
        parts = [key for key in ("slu.skip", "stochastic_depth.skip") if s.get(key)]
        return "e2train" if "slu.skip" in parts else "sd" if parts else "psg"
    if s.get("method.update") == "signsgd":
        return "signsgd"
    if s.get("slu.skip"):
        return "slu"
    if s.get("stochastic_depth.skip"):
        return "sd"
    if s.get("smd.drop"):
        return "smd"
    return "fixed8" if s.get("method.arithmetic") == "fixed" else "sgd-fp32"


def shown(page: Page, groups: Sequence[Group]) -> Shown:
    """The largest size at which two rows of the page were run, else the largest with one."""
    best: tuple[Size | None, dict[str, Group]] = (None, {})
    for size, inside in by_size(groups, page.across):
        found = {row.name: standing_for(row, inside) for row in page.rows}
        chosen = {name: group for name, group in found.items() if group is not None}
        if len(chosen) > min(1, len(best[1])):
            best = (size, chosen)
        if len(chosen) > 1:
            break
    return Shown(page, groups, *best)


def charts_of(page: Page, groups: Sequence[Group]) -> dict[str, tuple[Chart, str]]:
    """Figures of a page by file stem, each with the line below its title."""
    seen = shown(page, groups)
    if page.x == "stages":
        made = {"stages": stages(seen)}
    else:
        made = {page.x: against_paper(seen), "joules": against_joules(seen)}
    return {f"{page.stem}-{name}": (chart, seen.place) for name, chart in made.items() if chart}


# ---- beside the paper ---------------------------------------------------------------------------

XLABELS = {
    "energy": "Energy over that of 32-bit SGD (ours: modelled, hypothetical; paper: metered)",
    "skip": "Skip ratio [%]",
    "ratio": "Executed mini-batches over those of standard training",
}


def against_paper(seen: Shown) -> Chart | None:
    """Top-1 less that of the page's first row, against energy, skip ratio or mini-batches."""
    papers = _paper_points(seen.page)
    points = [*_our_points(seen), *papers]
    if not points or (seen.page.x == "energy" and not papers):
        return None
    base = seen.page.rows[0].name
    caption = (
        f"Top-1 accuracy less that of the first row of its data set ({base}), in points, against "
        f"{XLABELS[seen.page.x][0].lower()}{XLABELS[seen.page.x][1:]}. Bars: 95 % intervals. "
        f"Hollow: the paper's figures, at the paper's size. "
        + (_hypothetical(seen) if seen.page.x == "energy" else "")
    ).strip()

    def draw(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        _scatter(axes, points, theme)
        axes.axhline(0.0, color=theme.muted, linewidth=0.8)
        axes.set_xlabel(XLABELS[seen.page.x].replace(" (", "\n("))
        axes.set_ylabel("Top-1 less the baseline's [points]")
        legend_below(figure, axes)

    return Chart(
        title=seen.page.title.split(":")[0] + ": ours and the paper's",
        caption=caption,
        alt=f"{caption} {'; '.join(point.said for point in points)}.",
        height=4.4,
        draw=draw,
    )


def _hypothetical(seen: Shown) -> str:
    floats = any(group.hypothetical for group in seen.chosen.values())
    return f"Energy of 32-bit runs is {HYPOTHETICAL}." if floats else ""


def _first(page: Page, row: Row) -> Row:
    """The first row of the same network and data set, which others are taken against."""
    return next(r for r in page.rows if (r.network, r.dataset) == (row.network, row.dataset))


def _x_of_paper(page: Page, row: Row) -> float | None:
    if page.x == "energy":
        saved = row.printed.energy_saving if row.printed else None
        if row is _first(page, row):
            saved = 0.0
        return None if saved is None else 1.0 - saved / 100.0
    if page.x == "ratio":
        low, high = row.ratio
        return 0.67 if high - low > 0.1 else round((low + high) / 2, 3)
    return 100.0 * float(row.select.get("slu.skip", row.select.get("stochastic_depth.skip", 0.0)))


def _paper_points(page: Page) -> list[Point]:
    found = []
    for row in page.rows:
        first, x, y = _first(page, row), _x_of_paper(page, row), row.gain
        if row.printed is not None and first.printed is not None:
            y = row.printed.top1 - first.printed.top1
        if x is not None and y is not None:
            found.append(Point(row, style_key(row), x, y, paper=True))
    return found


def _our_points(seen: Shown) -> list[Point]:
    found = []
    for row in seen.page.rows:
        group, base = seen.chosen.get(row.name), seen.chosen.get(_first(seen.page, row).name)
        if group is None or base is None:
            continue
        x = _our_x(seen.page.x, group, base)
        if x is not None:
            gap = difference(group, base, seen.groups)
            y_half = 0.0 if group is base else gap.half or 0.0
            found.append(Point(row, style_key(row), x.mean, gap.mean, x.half or 0.0, y_half))
    return found


def _our_x(axis: str, group: Group, base: Group) -> Estimate | None:
    if axis == "energy":
        saved = energy_saving(group, base)
        if saved is None:
            return None
        half = None if saved.half is None else saved.half / 100.0
        return Estimate(1.0 - saved.mean / 100.0, half, saved.n)
    if axis == "ratio":
        return Estimate(group.ratio, None, 1)
    skipped = group.mean(lambda result: result.skip_ratio)
    return Estimate(skipped or 0.0, None, 1)


def _scatter(axes: Axes, points: Sequence[Point], theme: Theme) -> None:
    named: set[str] = set()
    for point in points:
        color, label = theme.methods[point.key], NAMES[point.key]
        axes.errorbar(
            point.x, point.y, xerr=point.x_half or None, yerr=point.y_half or None,
            color=color, marker=MARKERS[point.key], markersize=11 if point.key == "e2train" else 7,
            markerfacecolor="none" if point.paper else color, linestyle="", capsize=3,
            elinewidth=1.1, label=None if label in named else label,
        )  # fmt: skip
        named.add(label)
    if any(point.paper for point in points):
        axes.plot([], [], "o", color=theme.muted, markerfacecolor="none", label=PAPER_NAME)


# ---- ours alone ---------------------------------------------------------------------------------


def against_joules(seen: Shown) -> Chart | None:
    """Top-1 against modelled joules of the board; None where no run has any."""
    found: list[tuple[Row, Group, Estimate, float]] = []
    for row in seen.page.rows:
        group = seen.chosen.get(row.name)
        joules = None if group is None else group.mean(board_joules)
        if group is not None and joules is not None:
            found.append((row, group, accuracy(group, seen.groups), joules))
    if not found:
        return None
    points = [
        Point(row, style_key(row), joules / 1e3, top.mean, 0.0, top.half or 0.0)
        for row, _, top, joules in found
    ]
    caption = (
        "Top-1 accuracy against the board's energy for the whole training, modelled. Bars: 95 % "
        f"intervals. {_hypothetical(seen)}"
    ).strip()
    said = "; ".join(
        f"{row.name}: {words(top)} % at {joules:,.0f} J" for row, _, top, joules in found
    )

    def draw(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        _scatter(axes, points, theme)
        axes.set_xlim(0, None)
        axes.set_xlabel("Energy of the board, modelled [kJ]" + _dagger(found))
        axes.set_ylabel("Top-1 accuracy [%]")
        legend_below(figure, axes)

    return Chart("Accuracy against modelled energy", caption, f"{caption} {said}.", 4.2, draw)


def _dagger(found: Sequence[tuple[Row, Group, Estimate, float]]) -> str:
    return (
        "\n(32-bit: hypothetical hardware)" if any(g.hypothetical for _, g, _, _ in found) else ""
    )


def stages(seen: Shown) -> Chart | None:
    """Top-1 at stages of training against simulated joules so far, means over seeds."""
    paths = {
        row.name: path
        for row in seen.page.rows
        if row.name in seen.chosen and len(path := _mean_path(seen.chosen[row.name]))
    }
    if not paths:
        return None
    caption = (
        "Top-1 accuracy of the weights as trained against the energy spent up to there, simulated "
        f"(the simulated meter on the board's model); means over seeds. {_hypothetical(seen)}"
    ).strip()
    said = "; ".join(f"{n} ends at {p[-1, 1]:.2f} % and {p[-1, 0]:.0f} J" for n, p in paths.items())

    def draw(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        worn: list[str] = []
        for row in seen.page.rows:
            if row.name in paths:
                key, path = style_key(row), paths[row.name]
                twins = worn.count(key)
                worn.append(key)
                axes.plot(
                    path[:, 0] / 1e3, path[:, 1], color=theme.methods[key],
                    linestyle=("-", "--", ":")[twins % 3], label=row.name,
                )  # fmt: skip
        axes.set_xlim(0, None)
        axes.set_xlabel("Energy so far, simulated [kJ]")
        axes.set_ylabel("Top-1 accuracy [%]")
        legend_below(figure, axes)

    return Chart(
        "Accuracy against energy, at stages of training", caption, f"{caption} {said}.", 4.4, draw
    )


def _mean_path(group: Group) -> np.ndarray:
    """Of the repeats with as many evaluations as the first, float64 [evaluations, 2]."""
    paths = [path_of(run) for run in group.runs]
    alike = [path for path in paths if len(path) == len(paths[0])]
    return np.asarray(np.mean(alike, axis=0))
