# SPDX-License-Identifier: Apache-2.0
"""Skip ratio per block, predictor share per layer, power trace, MACs by pass and bit width."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from e2train.report.charts_training import draw_smoothed, legend_label
from e2train.report.power import PowerTrace, read_trace
from e2train.report.render import Chart, legend_below
from e2train.report.style import Theme, cell_styles, joules, shown
from e2train.report.summary import hypothetical_words, last_energy
from e2train.runs.load import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MANY_TICKS = 24
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "++++", "oooo", "----")
PASS_NAMES = {
    "forward": "forward",
    "backward_input": "input gradient",
    "backward_weight": "weight gradient",
    "predictor": "sign predictor",
}


def block_skip_of(run: Run) -> dict[str, float]:
    """Percent of samples that skipped each block; empty where the method cannot skip."""
    if run.result:
        return run.result.block_skip
    return run.progress[-1].block_skip if run.progress else {}


def block_skip(runs: list[Run]) -> Chart | None:
    """Bars of the skip ratio per block; None where no cell can skip."""
    ratios = {run.label: block_skip_of(run) for run in runs if block_skip_of(run)}
    if not ratios:
        return None
    skipping = [run for run in runs if run.label in ratios]
    blocks = list(
        dict.fromkeys([*skipping[0].blocks, *(b for ratio in ratios.values() for b in ratio)])
    )

    def draw(figure: Figure, theme: Theme) -> None:
        styles = cell_styles(runs, theme)
        axes = figure.subplots()
        width = 0.8 / len(skipping)
        for place, run in enumerate(skipping):
            heights = [ratios[run.label].get(block, np.nan) for block in blocks]
            left = np.arange(len(blocks)) - 0.4 + width * (place + 0.5)
            style = styles[run.label]
            axes.bar(
                left,
                heights,
                width * 0.94,
                color=style.color,
                label=legend_label(run),
                hatch=None if style.line == "-" else "////",
                edgecolor=theme.paper,
                linewidth=0,
            )
        name_ticks(axes, blocks)
        axes.set_ylabel("Skipped [% of samples]")
        axes.set_ylim(0, None)
        axes.grid(axis="x", visible=False)
        legend_below(figure, axes)

    said = "; ".join(
        f"{label}: " + ", ".join(f"{block} {value:.0f} %" for block, value in ratio.items())
        for label, ratio in ratios.items()
    )
    return Chart(
        title="Skip ratio per block",
        caption=(
            "Share of the samples for which a block was not computed, forward or backward, over "
            "the iterations that ran. Blocks without a bar cannot be skipped."
        ),
        alt=f"Skip ratio per block. {said}.",
        height=3.9,
        draw=draw,
    )


def predictor_share(runs: list[Run]) -> Chart | None:
    """Share of signs taken from the predictor, by layer and over time; None without PSG."""
    shares = {run.label: _layer_shares(run) for run in runs if _layer_shares(run)}
    if not shares:
        return None
    predicting = [run for run in runs if run.label in shares]
    layers = list(
        dict.fromkeys([*predicting[0].layers, *(n for share in shares.values() for n in share)])
    )

    def draw(figure: Figure, theme: Theme) -> None:
        styles = cell_styles(runs, theme)
        by_layer, over_time = figure.subplots(2, 1)
        for run in predicting:
            style = styles[run.label]
            values = [shares[run.label].get(layer, np.nan) for layer in layers]
            by_layer.plot(
                values,
                color=style.color,
                linestyle=style.line,
                linewidth=0.8,
                marker=style.marker,
                label=legend_label(run),
                markersize=style.size * min(0.75, 12 / len(layers)),
            )
            events = [event for event in run.progress if event.predictor_share]
            means = np.array([np.mean(list(event.predictor_share.values())) for event in events])
            draw_smoothed(over_time, [event.iteration for event in events], means, style)
        name_ticks(by_layer, layers)
        by_layer.set_ylabel("Predicted [%]")
        over_time.set_ylabel("Mean of layers [%]")
        over_time.set_xlabel("Iterations offered")
        over_time.set_xlim(0, None)
        legend_below(figure, by_layer)

    said = "; ".join(
        f"{label}: {min(share.values()):.0f} to {max(share.values()):.0f} % over its layers"
        for label, share in shares.items()
    )
    return Chart(
        title="Predictor share per layer",
        caption=(
            "Share of the weight-gradient signs that the low-precision predictor decided, so that "
            "the full product was not needed: by layer (above, whole run) and over the training "
            "(below, unweighted mean of the layers: faint, and its moving average over a "
            "thirtieth of the run)."
        ),
        alt=f"Predictor share per layer and over iterations. {said}.",
        height=5.4,
        draw=draw,
    )


def _layer_shares(run: Run) -> dict[str, float]:
    if run.result:
        return run.result.predictor_share_by_layer
    return run.progress[-1].predictor_share if run.progress else {}


def name_ticks(axes: Axes, names: list[str]) -> None:
    """Names of blocks or layers below an axis; of many, only some, so that all can be read."""
    step = -(-len(names) // MANY_TICKS)
    places = range(0, len(names), step)
    axes.set_xticks(list(places), [shown(names[place], 22) for place in places])
    axes.tick_params(axis="x", labelrotation=90 if len(names) > 5 else 30, labelsize=8)
    if len(names) <= 5:
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")


def power_trace(runs: list[Run]) -> Chart | None:
    """Watts over time as the meter logged them, one panel a cell; None without any meter log."""
    traces: dict[str, PowerTrace] = {}
    for run in runs:
        file = run.folder / "meter" / "samples.csv"
        trace = read_trace(file) if file.exists() else None
        if trace:
            traces[run.label] = trace
    if not traces:
        return None
    logged = [run for run in runs if run.label in traces]

    def draw(figure: Figure, theme: Theme) -> None:
        styles = cell_styles(runs, theme)
        grid = figure.subplots(len(logged), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, run in zip(grid, logged, strict=True):
            color = styles[run.label].color
            _draw_trace(axes, traces[run.label], color)
            axes.set_title(f"{legend_label(run)}, {_energy_words(run)}", loc="left", fontsize=9.0)
        lowest = min(float(np.nanmin(trace.low)) for trace in traces.values())
        grid[0].set_ylim(min(0.0, lowest), None)
        grid[-1].set_xlabel("Time of the meter [s]")
        figure.supylabel("Power [W]", fontsize=9.5)

    long = any(trace.decimated for trace in traces.values())
    said = "; ".join(
        f"{label}: {np.nanmin(trace.low):.3g} to {np.nanmax(trace.high):.3g} W "
        f"over {np.nanmax(trace.seconds):.3g} s"
        for label, trace in traces.items()
    )
    absent = [run.label for run in runs if run.label not in traces]
    return Chart(
        title="Power trace",
        caption=(
            "Power as the meter logged it, all cells on the same scales: the area below a line "
            "is energy. "
            + (
                "Long logs are summarised: the band spans minimum to maximum, the line is the "
                "mean. "
                if long
                else ""
            )
            + "A break in a line is a gap in the log. "
            + (f"Without a log: {', '.join(absent)}. " if absent else "")
            + hypothetical_words(logged)
        ),
        alt=f"Power over time. {said}.",
        height=1.2 + max(1.9, 0.95 * len(logged)),
        draw=draw,
    )


def _energy_words(run: Run) -> str:
    """'simulated, 13.20 ± 0.20 J'."""
    energy = last_energy(run)
    if energy is None:
        return "no energy from this log"
    return f"{energy.provenance}, {joules(energy.joules, energy.uncertainty)} J"


def _draw_trace(axes: Axes, trace: PowerTrace, color: str) -> None:
    axes.fill_between(trace.seconds, trace.mean, color=color, alpha=0.13, linewidth=0)
    if trace.decimated:
        axes.fill_between(
            trace.seconds, trace.low, trace.high, color=color, alpha=0.3, linewidth=0.3
        )
    axes.plot(trace.seconds, trace.mean, color=color, linewidth=1.0)


def macs_by_pass(runs: list[Run]) -> Chart | None:
    """Stacked bars of MACs and of bit operations by pass and operand widths, finished cells."""
    tables = {run.label: run.result.macs_by_pass for run in runs if run.result}
    if not any(tables.values()):
        return None
    passes = [*PASS_NAMES, *(p for t in tables.values() for p in t if p not in PASS_NAMES)]
    passes = [p for p in dict.fromkeys(passes) if any(p in table for table in tables.values())]
    widths = sorted({w for t in tables.values() for c in t.values() for w in c}, reverse=True)
    used = {(p, w) for table in tables.values() for p, column in table.items() for w in column}
    segments = [(p, w) for p in passes for w in widths if (p, w) in used]

    def draw(figure: Figure, theme: Theme) -> None:
        above, below = figure.subplots(2, 1)
        for axes, weigh, name in ((above, False, "MACs"), (below, True, "Bit operations")):
            values = np.array(
                [
                    [
                        table.get(p, {}).get(w, 0) * (w[0] * w[1] if weigh else 1)
                        for p, w in segments
                    ]
                    for table in tables.values()
                ],
                dtype=np.float64,
            )
            unit = _stack(axes, values, segments, widths, theme)
            axes.set_xlabel(f"{name} [{_power_of_ten(unit)}]")
            _name_rows(axes, list(tables))
        legend_below(figure, above)

    said = "; ".join(
        f"{label} {sum(n for column in table.values() for n in column.values()):.3g}"
        for label, table in tables.items()
    )
    return Chart(
        title="MACs by pass and bit width",
        caption=(
            "Multiply-accumulates counted by the engine as it ran (what was skipped is not in "
            "them), and the same as bit operations: each multiply-accumulate times the widths of "
            "both operands."
        ),
        alt=f"Multiply-accumulates by pass and bit width. In all: {said}.",
        height=1.9 + 0.62 * len(tables) + 0.12 * len(segments),
        draw=draw,
    )


def _stack(
    axes: Axes,
    values: NDArray[np.float64],
    segments: list[tuple[str, tuple[int, int]]],
    widths: list[tuple[int, int]],
    theme: Theme,
) -> float:
    """Horizontal bars. `values` is [cells, segments]; a colour a pass, a hatch a pair of widths.

    Returns the power of a thousand that the axis counts in.
    """
    unit = 10.0 ** (3 * int(np.log10(max(values.sum(axis=1).max(), 1.0)) // 3))
    rows = np.arange(len(values))
    left = np.zeros(len(values))
    for column, (name, width) in enumerate(segments):
        axes.barh(
            rows,
            values[:, column] / unit,
            left=left,
            height=0.72,
            color=theme.passes.get(name, theme.muted),
            edgecolor=theme.paper,
            linewidth=0.6,
            hatch=HATCHES[widths.index(width) % len(HATCHES)],
            label=f"{PASS_NAMES.get(name, shown(name))}, {width[0]}×{width[1]}",
        )
        left += values[:, column] / unit
    return unit


def _name_rows(axes: Axes, labels: list[str]) -> None:
    axes.set_yticks(range(len(labels)), [shown(label) for label in labels])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.04 * axes.dataLim.x1)
    axes.grid(axis="y", visible=False)


def _power_of_ten(unit: float) -> str:
    exponent = round(float(np.log10(unit)))
    return (
        "1"
        if exponent == 0
        else "10" + str(exponent).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    )
