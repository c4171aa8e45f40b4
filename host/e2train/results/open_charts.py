# SPDX-License-Identifier: Apache-2.0
"""Figures of what the paper leaves open: predictors by errors and time, skipping by granularity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING

from ..cost.board import BoardModel, board_cost
from ..cost.counts import OFFERED, PSG, operations
from ..cost.energy import EnergyModel
from ..cost.summary import MethodCase, mix
from ..data.shapes import picture_shape
from ..network.models import network_spec
from ..report.render import Chart, legend_below
from ..report.style import Theme
from .predictor import PAPERS, Outcome, Table, front

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BETA = PAPERS.beta
GRANULARITY = ("resnet-20", 128, 0.6)  # network, batch, predicted share
SKIPS = (0, 20, 40, 60)


def label(one: Outcome) -> str:
    """'4 x 10, beta 0.05'."""
    p = one.predictor
    cut = ", truncated" if p.truncate else ""
    return f"{p.x_msb_bits} x {p.g_msb_bits}, beta {p.beta:g}{cut}"


def kinds(table: Table) -> dict[str, list[Outcome]]:
    """Outcomes by what sets them apart in the figure."""
    return {
        "rounded, two products a DSP": [o for o in table.outcomes if _is(o, False, True)],
        "rounded, plain products": [o for o in table.outcomes if _is(o, False, False)],
        "truncated": [o for o in table.outcomes if o.predictor.truncate],
    }


def _is(one: Outcome, truncate: bool, packed: bool) -> bool:
    return (one.predictor.truncate, one.packed) == (truncate, packed)


def pareto(table: Table) -> Chart:
    """Wrong signs of all against modelled time, every predictor a point."""
    best = front(one for one in table.outcomes if not one.predictor.truncate)
    papers = next(one for one in table.outcomes if one.predictor == PAPERS)

    def draw(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        colors = (theme.methods["psg"], theme.methods["fixed8"], theme.spare[4])
        for color, marker, (name, found) in zip(colors, "osx", kinds(table).items(), strict=True):
            x, y = [o.relative for o in found], [100 * o.wrong for o in found]
            axes.plot(x, y, marker, color=color, markersize=3.5, label=name)
        x, y = [o.relative for o in best], [100 * o.wrong for o in best]
        axes.plot(x, y, color=theme.ink, linewidth=1.0, label="front of the rounded")
        axes.plot(
            papers.relative, 100 * papers.wrong, "*", color=theme.methods["e2train"],
            markersize=13, label=f"the paper's {label(papers)}",
        )  # fmt: skip
        axes.axvline(1.0, color=theme.muted, linewidth=0.8)
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_ylim(0, None)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("Iteration's time over SignSGD's, modelled")
        axes.set_ylabel("Wrong signs [% of all weights]")
        legend_below(figure, axes)

    said = "; ".join(f"{label(o)}: {100 * o.wrong:.2f} % at {o.relative:.3f}" for o in best)
    caption = (
        "Each point is a predictor: width of the activation's slice x that of the gradient's, "
        "threshold ratio, rounded or truncated. Left of the line training is faster than with "
        "every sign in full. Time is the board's model; signs were counted on "
        f"{table.sentence}."
    )
    return Chart("Wrong signs against time", caption, f"{caption} Front: {said}.", 4.6, draw)


def by_width(table: Table) -> Chart:
    """Wrong signs of all against the activation's width, a line a gradient's width."""

    def lines(truncate: bool) -> dict[int, list[tuple[int, float]]]:
        found: dict[int, list[tuple[int, float]]] = {}
        for one in table.outcomes:
            p = one.predictor
            if p.beta == BETA and p.truncate == truncate:
                found.setdefault(p.g_msb_bits, []).append((p.x_msb_bits, 100 * one.wrong))
        return found

    def draw(figure: Figure, theme: Theme) -> None:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, truncate, name in zip(
            panels, (False, True), ("rounded", "truncated"), strict=True
        ):
            for place, (bits, points) in enumerate(lines(truncate).items()):
                x, y = zip(*sorted(points), strict=True)
                color = list(theme.methods.values())[place % len(theme.methods)]
                axes.plot(
                    x, y, marker="o", markersize=4, color=color, label=f"gradient {bits} bits"
                )
            axes.set_title(name, fontsize=9.5)
            axes.set_xlabel("Activation bits")
            axes.set_xticks(sorted({one.predictor.x_msb_bits for one in table.outcomes}))
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
        panels[0].set_ylabel("Wrong signs [% of all weights]")
        legend_below(figure, *panels)

    said = "; ".join(
        f"{'truncated' if truncate else 'rounded'} {x} x {bits}: {y:.2f} %"
        for truncate in (False, True)
        for bits, points in lines(truncate).items()
        for x, y in points
    )
    caption = f"Wrong signs at beta {BETA:g} by the widths of the slices; {table.sentence}."
    return Chart("Wrong signs by width", caption, f"{caption} {said}.", 4.2, draw)


# ---- skipping -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class SkipTime:
    """Modelled seconds and joules of a PSG iteration that skips `skip` percent of the blocks."""

    skip: int
    sample_s: float
    sample_j: float
    batch_s: float
    batch_j: float


@cache
def skip_times() -> tuple[SkipTime, ...]:
    """By sample with gates (SLU), and by mini-batch without (stochastic depth), for GRANULARITY.

    A mini-batch leaves a block out for all samples or none, and blocks take turns on the board, so
    the expected cost lies on the line between running all blocks and none.
    """
    network, batch, predicted = GRANULARITY
    spec = network_spec(network, *picture_shape("cifar10"))
    board = BoardModel(EnergyModel.load(), float32=False)

    def of_samples(ran: int) -> tuple[float, float]:
        work = operations(spec, PSG, batch, ran=lambda _: ran, predicted=predicted)
        found = board_cost(board, [(work, 1)])
        return found.seconds, found.joules

    everything, nothing = of_samples(batch), of_samples(0)
    found = []
    for skip in SKIPS:
        case = MethodCase(f"slu-{skip}", PSG, Fraction(1), skip)
        gated = board_cost(board, mix(spec, case, batch, predicted))
        seconds, joules = (
            a + skip / 100 * (b - a) for a, b in zip(everything, nothing, strict=True)
        )
        found.append(
            SkipTime(skip, gated.seconds / OFFERED, gated.joules / OFFERED, seconds, joules)
        )
    return tuple(found)


def granularity() -> tuple[Chart, str]:
    """Modelled time of an iteration against skip ratio, and the line below its title."""
    found = skip_times()
    network, batch, predicted = GRANULARITY

    def draw(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        skips = [one.skip for one in found]
        for key, name, values in (
            ("slu", "by sample (SLU)", [one.sample_s for one in found]),
            ("sd", "by mini-batch (stochastic depth)", [one.batch_s for one in found]),
        ):
            axes.plot(skips, values, marker="o", color=theme.methods[key], label=name)
        axes.set_ylim(0, None)
        axes.set_xlabel("Skip ratio [%]")
        axes.set_ylabel("Time of a PSG iteration, modelled [s]")
        legend_below(figure, axes)

    said = "; ".join(f"{o.skip} %: {o.sample_s:.3f} s and {o.batch_s:.3f} s" for o in found)
    caption = (
        "Time of a training iteration on the board, modelled, by sample with gates and moves, and "
        "by mini-batch with neither. At 0 % no gate runs."
    )
    place = f"{network}, batch {batch}, {100 * predicted:.0f} % of the signs predicted"
    return Chart("Time by skip ratio", caption, f"{caption} {said}.", 3.9, draw), place


def numbers(best: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Rows of the page's table: predictor, packed, decided, wrong of those, wrong of all, time."""
    return [
        (
            label(one),
            "two a DSP" if one.packed else "plain",
            f"{100 * one.predicted:.1f}",
            f"{100 * one.wrong_share:.2f}",
            f"{100 * one.wrong:.2f}",
            f"{one.seconds:.3f}",
            f"{one.relative:.3f}",
        )
        for one in best
    ]
