# SPDX-License-Identifier: Apache-2.0
"""Charts to PNG files. No other module of the report loads matplotlib."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from e2train.errors import UserError
from e2train.files import write_atomically
from e2train.report.style import DARK, LIGHT, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches. So narrow that the text is still readable when a phone shows the figure at full width.
WIDTH = 4.6
DPI = 220
# Letters that fit beside each other in a legend of that width, handles counted as 7 letters each.
LEGEND_LETTERS = 66


@dataclass(frozen=True)
class Chart:
    """A figure that is not drawn yet.

    `title` stands in the picture; `caption` and `alt` are plain text for the page;
    `draw(figure, theme)` fills an empty matplotlib figure of `height` inches.
    """

    title: str
    caption: str
    alt: str
    height: float
    draw: Callable[[Figure, Theme], None]


@dataclass(frozen=True)
class Picture:
    """A chart with its two PNGs."""

    chart: Chart
    light: bytes
    dark: bytes


def load_matplotlib() -> Any:
    """Import matplotlib with the Agg backend, or raise UserError saying how to install it."""
    try:
        import matplotlib
    except ImportError:
        raise UserError("the report needs matplotlib: pip install e2train[report]") from None
    matplotlib.use("Agg")
    return matplotlib


def picture_of(chart: Chart, subtitle: str) -> Picture:
    """Draw `chart` for light and for dark pages."""
    return Picture(chart, render(chart, LIGHT, subtitle), render(chart, DARK, subtitle))


def write_png(file: Path, png: bytes) -> None:
    """Write a picture, whole or not at all."""

    def put(stream: BinaryIO) -> None:
        stream.write(png)

    write_atomically(file, put)


def render(chart: Chart, theme: Theme, subtitle: str) -> bytes:
    """Draw `chart` and return the PNG. Its pixels depend on the data and on matplotlib alone."""
    matplotlib = load_matplotlib()
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_settings(theme)):
        figure = Figure(figsize=(WIDTH, chart.height), layout="constrained")
        figure.suptitle(
            f"{chart.title}\n", x=0.012, ha="left", fontsize=11.5, fontweight="bold", va="top"
        )
        chart.draw(figure, theme)
        # The second line of the title, in a lighter hand: what a PNG taken out of the page needs.
        step = 0.2 / chart.height
        figure.text(0.012, 0.985 - step, subtitle, fontsize=8.5, color=theme.muted, va="top")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI, metadata=_metadata(chart))
    return buffer.getvalue()


def _metadata(chart: Chart) -> dict[str, str | None]:
    """A picture says what it shows; it does not name the software, whose version changes bytes."""
    return {"Software": None, "Description": chart.alt}


def _settings(theme: Theme) -> dict[str, Any]:
    ink, paper, muted = theme.ink, theme.paper, theme.muted
    return {
        "text.parse_math": False,  # a dollar sign in a cell's name is a dollar sign
        "font.family": ["DejaVu Sans"],
        "font.size": 9.5,
        "axes.labelsize": 9.5,
        "legend.fontsize": 9.0,
        "text.color": ink,
        "axes.labelcolor": ink,
        "xtick.color": muted,
        "ytick.color": muted,
        "xtick.labelcolor": ink,
        "ytick.labelcolor": ink,
        "axes.edgecolor": muted,
        "axes.facecolor": paper,
        "figure.facecolor": paper,
        "savefig.facecolor": paper,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": theme.grid,
        "grid.linewidth": 0.7,
        "legend.frameon": False,
        "legend.labelcolor": ink,
        "lines.linewidth": 1.7,
        "lines.markeredgewidth": 0.8,
        "hatch.linewidth": 0.6,
    }


def legend_below(figure: Figure, *panels: Axes) -> None:
    """One legend for all `panels`, under the figure, each label once."""
    entries: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        columns = LEGEND_LETTERS // (max(len(label) for label in entries) + 7)
        figure.legend(
            list(entries.values()),
            list(entries),
            loc="outside lower center",
            ncols=max(1, min(3, columns, len(entries))),
            handlelength=1.6,
            columnspacing=1.2,
        )
