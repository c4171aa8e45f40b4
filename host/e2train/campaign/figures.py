# SPDX-License-Identifier: Apache-2.0
"""Figures in the paper's manner: accuracy against energy ratio, energy against iterations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..report.render import Chart, legend_below
from ..report.style import ALIASES, LIGHT, MARKERS, SPARE_MARKERS, Theme, shown
from .statistics import MODELLED, Estimate, Group, baseline_of, estimate, ratios
from .store import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Look:
    """Colour and marker of a family of methods."""

    color: str
    marker: str
    size: float


@dataclass(frozen=True)
class Panel:
    """Groups of one network and data set with joules of one provenance."""

    groups: tuple[Group, ...]
    baseline: str
    provenance: str

    @property
    def place(self) -> str:
        """'CIFAR-10, resnet-74, 5 repeats': what the figure stands on."""
        first, repeats = self.groups[0], {len(group.rows) for group in self.groups}
        low, high = min(repeats), max(repeats)
        count = f"{low}" if low == high else f"{low} to {high}"
        word = "repeat" if high == 1 else "repeats"
        return f"{first.rows[0]['dataset_label']}, {first.network}, {count} {word}"


def looks(panel: Panel, theme: Theme) -> dict[str, Look]:
    """A look for each family; known methods look as in every other report."""
    families = list(dict.fromkeys(group.family for group in panel.groups))
    known = {name: ALIASES.get(name, name) for name in families}
    known = {name: key for name, key in known.items() if key in LIGHT.methods}
    worn = {theme.methods[key] for key in known.values()}
    spare = [color for color in theme.spare if color not in worn] or list(theme.spare)
    found, place = {}, 0
    for name in families:
        if name in known:
            size = 12.0 if known[name] == "e2train" else 8.0
            found[name] = Look(theme.methods[known[name]], MARKERS[known[name]], size)
        else:
            marker = SPARE_MARKERS[place % len(SPARE_MARKERS)]
            found[name] = Look(spare[place % len(spare)], marker, 8.0)
            place += 1
    return found


def accuracy_ratio(panel: Panel) -> Chart | None:
    """Top-1 against energy ratio (paper, figures 3 and 4); None where no ratio can be formed."""
    points: list[tuple[Group, Estimate, Estimate]] = []
    for group in panel.groups:
        base = baseline_of(group, panel.groups, panel.baseline)
        ratio = ratios(group, base, "energy_j", panel.provenance)
        top1 = estimate(list(group.by_seed("top1").values()))
        if ratio is not None and top1 is not None:
            points.append((group, ratio, top1))
    if not points:
        return None

    def draw(figure: Figure, theme: Theme) -> None:
        axes, styles = figure.subplots(), looks(panel, theme)
        for family, look in styles.items():
            own = [(x, y) for group, x, y in points if group.family == family]
            own.sort(key=lambda point: point[0].mean)
            axes.errorbar(
                [x.mean for x, _ in own],
                [y.mean for _, y in own],
                xerr=[x.half or 0.0 for x, _ in own],
                yerr=[y.half or 0.0 for _, y in own],
                color=look.color, marker=look.marker, markersize=look.size, capsize=3,
                linestyle="-" if len(own) > 1 else "", linewidth=1.0, elinewidth=1.2,
                label=shown(family),
            )  # fmt: skip
        axes.set_xlabel(f"Energy ratio to {shown(panel.baseline)}, {panel.provenance}")
        axes.set_ylabel("Top-1 accuracy [%]")
        axes.set_xlim(0, None)
        legend_below(figure, axes)

    said = "; ".join(f"{g.method} {y.mean:.2f} % at {x.mean:.3f}" for g, x, y in points)
    return Chart(
        title="Accuracy against energy ratio",
        caption=(
            "Mean top-1 accuracy on the test data against the energy of the whole training over "
            f"the baseline's of the same seed ({panel.provenance}). Bars: 95 % confidence "
            "intervals over repeats (Student's t); none where there is one repeat. Cells of one "
            "method are joined."
        ),
        alt=f"Top-1 accuracy against energy ratio. {said}.",
        height=4.2,
        draw=draw,
    )


@dataclass(frozen=True)
class Curve:
    """Means over repeats at the iterations that all of them have; `low`, `high`: their range."""

    iterations: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]


def energy_iteration(store: Store, panel: Panel) -> Chart | None:
    """Cumulative energy against iterations offered; None without any energy on the way."""
    curves = {group.method: _curve(store, group, panel, "loss") for group in panel.groups}
    if not any(curve.iterations for curve in curves.values()):
        return None

    def draw(figure: Figure, theme: Theme) -> None:
        axes, styles = figure.subplots(), looks(panel, theme)
        for group, line in _lines(panel):
            curve, color = curves[group.method], styles[group.family].color
            if not curve.iterations:
                continue
            axes.plot(
                curve.iterations, curve.mean, color=color, linestyle=line, label=shown(group.method)
            )
            axes.fill_between(curve.iterations, curve.low, curve.high, color=color, alpha=0.2, lw=0)
        axes.set_xlabel("Iterations offered")
        axes.set_ylabel(f"Energy, {panel.provenance} [J]")
        axes.set_xlim(0, None)
        axes.set_ylim(min(0.0, axes.get_ylim()[0]), None)
        legend_below(figure, axes)

    said = "; ".join(
        f"{method} {curve.mean[-1]:.4g} J after {curve.iterations[-1]}"
        for method, curve in curves.items()
        if curve.iterations
    )
    return Chart(
        title="Energy against iterations",
        caption=(
            f"Energy spent so far ({panel.provenance}) against iterations offered; mini-batches "
            "that SMD drops count as offered. Lines: mean over repeats; bands: their range."
        ),
        alt=f"Energy against iterations. {said}.",
        height=3.9,
        draw=draw,
    )


def accuracy_energy(store: Store, panel: Panel) -> Chart | None:
    """Accuracy at stages of training against the energy up to there (paper, figure 5)."""
    paths = {group.method: _path(store, group, panel) for group in panel.groups}
    if not any(paths.values()):
        return None

    def draw(figure: Figure, theme: Theme) -> None:
        axes, styles = figure.subplots(), looks(panel, theme)
        for group, line in _lines(panel):
            path, look = paths[group.method], styles[group.family]
            if path:
                x, y = zip(*path, strict=True)
                axes.plot(
                    x, y, color=look.color, linestyle=line, marker=look.marker,
                    markersize=look.size * 0.6, label=shown(group.method),
                )  # fmt: skip
        axes.set_xlabel(f"Energy spent so far, {panel.provenance} [J]")
        axes.set_ylabel("Top-1 accuracy [%]")
        axes.set_xlim(0, None)
        legend_below(figure, axes)

    said = "; ".join(f"{m} ends at {p[-1][1]:.1f} %" for m, p in paths.items() if p)
    return Chart(
        title="Accuracy against energy, at stages of training",
        caption=(
            "Top-1 accuracy of the weights as trained against the energy spent up to that "
            f"evaluation ({panel.provenance}); means over repeats."
        ),
        alt=f"Accuracy against energy at stages of training. {said}.",
        height=4.2,
        draw=draw,
    )


def _lines(panel: Panel) -> list[tuple[Group, str]]:
    """Each group with a line that tells it from others of its family."""
    seen: dict[str, int] = {}
    found = []
    for group in panel.groups:
        number = seen.get(group.family, 0)
        seen[group.family] = number + 1
        found.append((group, ("-", "--", ":", "-.")[number % 4]))
    return found


def _spent(store: Store, group: Group, panel: Panel, event: str) -> list[dict[int, dict[str, Any]]]:
    """For each repeat, its points with that event's value and an energy, by iteration."""
    repeats = []
    for row in group.rows:
        points = store.rows(
            f"SELECT * FROM points WHERE cell = ? AND {event} IS NOT NULL", (row["cell"],)
        )
        if panel.provenance == MODELLED:
            points = [point | {"joules": point["modelled_joules"]} for point in points]
        else:
            points = [point for point in points if point["provenance"] == panel.provenance]
        repeats.append({point["iteration"]: point for point in points})
    return repeats


def _curve(store: Store, group: Group, panel: Panel, event: str) -> Curve:
    repeats = _spent(store, group, panel, event)
    common = sorted(set.intersection(*(set(repeat) for repeat in repeats)))
    values = [[repeat[step]["joules"] for repeat in repeats] for step in common]
    return Curve(
        common,
        [sum(column) / len(column) for column in values],
        [min(column) for column in values],
        [max(column) for column in values],
    )


def _path(store: Store, group: Group, panel: Panel) -> list[tuple[float, float]]:
    """(mean joules, mean top-1) at the evaluations that every repeat has."""
    repeats = _spent(store, group, panel, "top1")
    common = sorted(set.intersection(*(set(repeat) for repeat in repeats)))
    n = len(repeats)
    return [
        (
            sum(repeat[step]["joules"] for repeat in repeats) / n,
            sum(repeat[step]["top1"] for repeat in repeats) / n,
        )
        for step in common
    ]


def charts(store: Store, all_groups: Sequence[Group], panels: Sequence[Panel]) -> dict[str, Chart]:
    """Every figure that has something to show, by file stem."""
    found: dict[str, Chart] = {}
    for panel in panels:
        first = panel.groups[0]
        stem = f"{first.network}-{first.dataset}-{panel.provenance}"
        for name, chart in (
            ("accuracy-energy-ratio", accuracy_ratio(panel)),
            ("energy-iterations", energy_iteration(store, panel)),
            ("accuracy-energy", accuracy_energy(store, panel)),
        ):
            if chart is not None:
                found[f"{name}-{stem}"] = chart
    return found
