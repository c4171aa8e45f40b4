# SPDX-License-Identifier: Apache-2.0
"""Accuracy against energy, accuracy against iterations, training loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e2train.report.render import Chart, legend_below
from e2train.report.style import CellStyle, Theme, cell_styles, joules, shown
from e2train.report.summary import hypothetical_words, provenances_of
from e2train.runs.load import Energy, Evaluation, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Point:
    """Where a cell stands: joules and top-1 (percent), and its way there, evaluation by evaluation.

    `path` is float64 [evaluations, 2] of (joules, top-1), in time order.
    """

    run: Run
    energy: Energy
    top1: float
    path: NDArray[np.float64]


def legend_label(run: Run) -> str:
    """The cell's label; a running cell says so."""
    label = shown(run.label)
    return label if run.result else f"{label} (running, {run.iteration} of {run.iterations})"


def accuracy_energy(runs: list[Run]) -> Chart | None:
    """Top-1 against joules, one panel for each provenance; None when nothing is evaluated yet."""
    points = [point for run in runs if (point := _metered_point(run))]
    if not points:
        points = [point for run in runs if (point := _modelled_point(run))]
    if not points:
        return None
    panels = provenances_of(point.energy for point in points)

    def draw(figure: Figure, theme: Theme) -> None:
        styles = cell_styles(runs, theme)
        grid = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for axes, provenance in zip(grid, panels, strict=True):
            inside = [point for point in points if point.energy.provenance == provenance]
            _draw_points(axes, inside, styles, theme)
            axes.set_xlabel(f"Energy, {provenance} [J]")
            axes.set_ylabel("Top-1 accuracy [%]")
        legend_below(figure, *grid)

    said = "; ".join(
        f"{point.run.label} {point.top1:.1f} % at "
        f"{joules(point.energy.joules, point.energy.uncertainty)} J {point.energy.provenance}"
        + ("" if point.run.result else f" ({point.run.state})")
        for point in points
    )
    return Chart(
        title="Accuracy against energy",
        caption=(
            "Top-1 accuracy on the test data against the energy of the whole training; up and to "
            "the left is better. Horizontal bars: uncertainty of the energy (k = 2). Thin lines: "
            "accuracy and energy so far at each evaluation during the training. Hollow markers: "
            "cells that have not finished. "
            + ("A panel for each provenance: they do not compare. " if len(panels) > 1 else "")
            + hypothetical_words(runs)
        ),
        alt=f"Top-1 accuracy against energy. {said}.",
        height=1.4 + 2.5 * len(panels),
        draw=draw,
    )


def _metered_point(run: Run) -> Point | None:
    """The cell with the energy of its meter."""
    path = [(e.energy.joules, e.top1) for e in _current(run) if e.energy]
    last = run.evaluations[-1] if run.evaluations else None
    if run.result:
        return _point(run, run.result.energy, run.result.top1, path)
    return _point(run, last.energy, last.top1, path) if last else None


def _modelled_point(run: Run) -> Point | None:
    """The cell with operations times published cost, for reports without any meter."""
    path = [(e.modelled_joules, e.top1) for e in _current(run)]
    if run.result:
        spent, top1 = run.result.modelled_joules, run.result.top1
    elif run.evaluations:
        spent, top1 = run.evaluations[-1].modelled_joules, run.evaluations[-1].top1
    else:
        return None
    return _point(run, Energy(spent, None, "modelled"), top1, path)


def _point(
    run: Run, energy: Energy | None, top1: float, path: list[tuple[float, float]]
) -> Point | None:
    if energy is None:
        return None
    return Point(run, energy, top1, np.array([*path, (energy.joules, top1)], dtype=np.float64))


def _current(run: Run) -> list[Evaluation]:
    """Evaluations of the weights as trained (those of averaged weights are another curve)."""
    return [event for event in run.evaluations if event.weights == "current"]


def _draw_points(
    axes: Axes, points: list[Point], styles: dict[str, CellStyle], theme: Theme
) -> None:
    for point in points:
        style = styles[point.run.label]
        axes.plot(
            point.path[:, 0],
            point.path[:, 1],
            color=style.color,
            linestyle=style.line,
            linewidth=1.0,
            alpha=0.45,
        )
        axes.errorbar(
            point.energy.joules,
            point.top1,
            xerr=point.energy.uncertainty,
            color=style.color,
            marker=style.marker,
            markersize=style.size,
            linestyle="",
            capsize=3,
            zorder=3,
            markerfacecolor=style.color if point.run.result else theme.paper,
            label=legend_label(point.run),
        )
    # Early evaluations would squeeze the final markers together, and those are what matters.
    finals = [point.top1 for point in points]
    spread = max(finals) - min(finals)
    bottom = min(finals) - max(4.0, 1.2 * spread)
    axes.set_ylim(max(bottom, -1.0), min(max(finals) + 0.5 + 0.15 * spread, 101.0))
    axes.set_xlim(min(0.0, *(p.energy.joules for p in points)), None)


def accuracy_iterations(runs: list[Run]) -> Chart | None:
    """Top-1 against offered iterations; None when nothing is evaluated yet."""
    shown_runs = [run for run in runs if run.evaluations]
    if not shown_runs:
        return None
    averaged = any(event.weights == "swa" for run in shown_runs for event in run.evaluations)

    def draw(figure: Figure, theme: Theme) -> None:
        styles = cell_styles(runs, theme)
        axes = figure.subplots()
        for run in shown_runs:
            style = styles[run.label]
            for weights, line, face in (("current", style.line, style.color), ("swa", "", "none")):
                events = [event for event in run.evaluations if event.weights == weights]
                axes.plot(
                    [event.iteration for event in events],
                    [event.top1 for event in events],
                    color=style.color,
                    linestyle=line,
                    marker=style.marker,
                    markevery=1 + len(events) // 16,
                    markersize=style.size * (0.6 if weights == "current" else 1.1),
                    markerfacecolor=face,
                    label=legend_label(run),
                )
        axes.set_xlabel("Iterations offered")
        axes.set_ylabel("Top-1 accuracy [%]")
        axes.set_xlim(0, None)
        legend_below(figure, axes)

    said = "; ".join(
        f"{run.label} {run.evaluations[-1].top1:.1f} % after {run.evaluations[-1].iteration}"
        for run in shown_runs
    )
    return Chart(
        title="Accuracy against iterations",
        caption=(
            "Top-1 accuracy on the test data against iterations offered; mini-batches that SMD "
            "drops count as offered."
            + (" Hollow markers: averaged weights (SWA)." if averaged else "")
        ),
        alt=f"Top-1 accuracy against iterations. {said}.",
        height=3.9,
        draw=draw,
    )


def training_loss(runs: list[Run]) -> Chart | None:
    """Loss of the training batches against offered iterations; None before the first progress."""
    curves = {run.label: _losses(run) for run in runs}
    shown_runs = [run for run in runs if curves[run.label].shape[1]]
    if not shown_runs:
        return None

    def draw(figure: Figure, theme: Theme) -> None:
        styles = cell_styles(runs, theme)
        axes = figure.subplots()
        for run in shown_runs:
            style = styles[run.label]
            steps, losses = curves[run.label]
            draw_smoothed(axes, steps, losses, style, legend_label(run))
        if all((curves[run.label][1] > 0).all() for run in shown_runs):
            axes.set_yscale("log")
            plain_log_ticks(axes)
        axes.set_xlabel("Iterations offered")
        axes.set_ylabel("Training loss")
        axes.set_xlim(0, None)
        legend_below(figure, axes)

    said = "; ".join(f"{run.label} ends at {curves[run.label][1][-1]:.3g}" for run in shown_runs)
    return Chart(
        title="Training loss",
        caption=(
            "Cross-entropy of the training batches as each progress event reports it (faint) and "
            "its moving average over a thirtieth of the run (strong)."
        ),
        alt=f"Training loss against iterations. {said}.",
        height=3.9,
        draw=draw,
    )


def _losses(run: Run) -> NDArray[np.float64]:
    """float64 [2, events]: iterations and losses of the progress events that have a loss."""
    pairs = [(event.iteration, event.loss) for event in run.progress if event.loss is not None]
    return np.array(pairs, dtype=np.float64).reshape(-1, 2).T


def draw_smoothed(
    axes: Axes,
    steps: ArrayLike,
    values: NDArray[np.float64],
    style: CellStyle,
    label: str | None = None,
) -> None:
    """A noisy curve, faint, and its moving average over a thirtieth of it, strong."""
    axes.plot(steps, values, color=style.color, linewidth=0.7, alpha=0.3)
    average = smoothed(values, len(values) // 60)
    axes.plot(steps, average, color=style.color, linestyle=style.line, label=label)


def smoothed(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Moving average over `reach` values to either side, over fewer at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(len(values))
    first, last = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(values))
    return np.asarray((sums[last] - sums[first]) / (last - first))


def plain_log_ticks(axes: Axes) -> None:
    """Numbers such as 0.05 on a logarithmic axis: exponents would need math text."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
