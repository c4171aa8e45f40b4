# SPDX-License-Identifier: Apache-2.0
"""docs/emulator out of its records ratios.json and growth.json: the page and its figure."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UserError
from ..files import write_text
from ..report.render import Chart, render, write_png
from ..report.style import LIGHT, Theme
from .growth import Exponent, Point, exponents
from .machine import Machine
from .ratios import Ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATIOS, GROWTH, PAGE, FIGURE = "ratios.json", "growth.json", "README.md", "growth.png"
MIB = 1 << 20
VERDICTS = {True: "yes", False: "**no**", None: "not judged: machine too busy"}
LABELS = {
    "depth": "depth [layers]",
    "batch": "pictures a mini-batch",
    "skip": "share that runs",
}
HEADS = {"depth": "depth", "batch": "batch", "skip": "skip ratio", "threads": "threads"}
BUSY = (
    " Other programs ran on the machine meanwhile. Processor time does not count what they take, "
    "but they share its caches and memory, and wall times include waiting for them."
)


def ratios_record(
    machine: Machine, batch: int, iterations: int, ratios: Sequence[Ratio]
) -> dict[str, Any]:
    """The record of `e2train bench emulator`."""
    return {
        "machine": asdict(machine),
        "batch": batch,
        "iterations": iterations,
        "ratios": [ratio.record() for ratio in ratios],
    }


def growth_record(
    machine: Machine, network: str, batch: int, points: Sequence[Point]
) -> dict[str, Any]:
    """The record of `e2train bench growth`."""
    return {
        "machine": asdict(machine),
        "network": network,
        "batch": batch,
        "points": [asdict(point) for point in points],
    }


def check_place(file: Path) -> None:
    """Make a record's folder. Raises UserError, before minutes of measuring, where it cannot."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror}") from error
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise UserError(f"{file}: cannot be written: a folder, or in one that cannot be written to")


def write_record(file: Path, record: dict[str, Any]) -> None:
    """Write a record as JSON, whole or not at all. Raises UserError where it cannot be."""
    try:
        write_text(file, json.dumps(record, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror}") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{file}: not a record in JSON: {error}") from error
    return found


def build(folder: Path) -> tuple[str, Chart]:
    """The page's text and its chart. Raises UserError for what is missing or damaged."""
    ratios, growth = _read(folder / RATIOS), _read(folder / GROWTH)
    try:
        points = [Point(**one) for one in growth["points"]]
        fits = exponents(points)
        text = "\n".join((*_ratio_lines(ratios), "", *_growth_lines(growth, points, fits)))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder}: a record is damaged: {error!r}") from error
    return text + "\n", _chart(growth, points, fits)


def write(folder: Path) -> list[Path]:
    """Write page and figure beside the records."""
    text, chart = build(folder)
    write_png(folder / FIGURE, render(chart, LIGHT, chart.caption))
    write_text(folder / PAGE, text)
    return [folder / PAGE, folder / FIGURE]


def _ratio_lines(record: dict[str, Any]) -> list[str]:
    machine = Machine(**record["machine"])
    rows = [
        f"| {one['network']} | {one['name']} | {one['value']:.3f} | {min(one['turns']):.3f} to "
        f"{max(one['turns']):.3f} | {one['aim']} | {VERDICTS[one['met']]} "
        f"| {_sides(one)} |"
        for one in record["ratios"]
    ]
    notes = [f"- {one['network']}, {one['name']}: {one['note']}." for one in record["ratios"]
             if one["note"]]  # fmt: skip
    return [
        "# What the emulator costs",
        "",
        "`e2train bench page docs/emulator` writes this page out of [ratios.json](ratios.json) and",
        "[growth.json](growth.json), which `e2train bench emulator --out` and `e2train bench",
        "growth --out` measure.",
        "",
        "## Against float32 torch",
        "",
        f"{machine.sentence}. Batch {record['batch']}, 32x32 pictures, PSG. Both sides of a ratio "
        f"take turns, {record['iterations']} each, and the ratio is the median of the turns' own; "
        "seconds are medians of an iteration's processor time on one thread unless said. Torch's "
        f"memory is channels-last, and torch is the better of eager and torch.compile, where peak "
        f"memory is compared eager.{BUSY if machine.load >= 1 else ''}",
        "",
        "| network | ratio | measured | turns | aim | met | of |",
        "|---|---|---:|---|---|---|---|",
        *rows,
        "",
        *notes,
    ]


def _sides(one: dict[str, Any]) -> str:
    if one["unit"] == "bytes":
        return ", ".join(f"{said} {size / MIB:.0f} MiB" for said, size in one["sides"].items())
    return ", ".join(f"{said} {seconds:.3f} s" for said, seconds in one["sides"].items())


def _growth_lines(
    record: dict[str, Any], points: Sequence[Point], fits: dict[str, dict[str, Exponent]]
) -> list[str]:
    machine = Machine(**record["machine"])
    lines = [
        "## Growth",
        "",
        f"{machine.sentence}. {record['network']} at batch {record['batch']} without gates on one "
        "thread, unless the table changes it. Medians of an iteration; memory is what training "
        "adds to interpreter and libraries, the largest amount that was resident. Exponents are "
        "slopes of a straight line through the logarithms (least squares, with its standard "
        "error): 1 is in proportion. Skipping is fitted against the share that runs, 1 - skip "
        "ratio.",
        "",
        f"![Time and memory of an iteration against depth, batch and skip ratio]({FIGURE})",
        "",
        "| grows with | exponent of time | exponent of memory |",
        "|---|---:|---:|",
        *(f"| {LABELS[axis]} | {fit['time']} | {fit['memory']} |" for axis, fit in fits.items()),
    ]
    for axis, head in HEADS.items():
        along = [point for point in points if point.axis == axis]
        if not along:
            continue
        lines += ["", f"| {head} | processor [s] | wall [s] | memory [MiB] | whole process [MiB] |",
                  "|---:|---:|---:|---:|---:|"]  # fmt: skip
        lines += [
            f"| {point.value:g} | {point.seconds:.3f} | {point.wall_seconds:.3f} "
            f"| {point.bytes / MIB:.0f} | {max(point.peak) / MIB:.0f} |"
            for point in along
        ]
    return lines


def _chart(
    record: dict[str, Any], points: Sequence[Point], fits: dict[str, dict[str, Exponent]]
) -> Chart:
    def draw(figure: Figure, theme: Theme) -> None:
        panels = figure.subplots(len(fits), 2, squeeze=False)
        for row, (axis, fit) in zip(panels, fits.items(), strict=True):
            along = sorted((p for p in points if p.axis == axis), key=lambda point: point.size)
            x = [point.size for point in along]
            series = {
                "time": ("time [s]", [point.seconds for point in along]),
                "memory": ("memory [MiB]", [point.bytes / MIB for point in along]),
            }
            for panel, (what, (label, y)) in zip(row, series.items(), strict=True):
                _panel(panel, theme, x, y, fit[what])
                panel.set_xlabel(LABELS[axis])
                panel.set_ylabel(label)

    return Chart(
        "Growth of an iteration",
        f"PSG, processor time; {record['network']}, batch {record['batch']} but for the axis",
        "Time and memory against depth, batch and skip ratio, both axes logarithmic",
        2.1 * len(fits),
        draw,
    )


def _panel(panel: Axes, theme: Theme, x: list[float], y: list[float], fit: Exponent) -> None:
    """Measured points and the line that is fitted to them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    color = theme.methods["psg"]
    a, b = np.log(x), np.log(y)
    panel.loglog(x, np.exp(b.mean() + fit.slope * (a - a.mean())), "--", color=theme.muted)
    panel.loglog(x, y, "o", color=color)
    panel.set_xticks(x, [f"{value:g}" for value in x])
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.set_title(f"exponent {fit}", fontsize="small")
