# SPDX-License-Identifier: Apache-2.0
"""Colours, markers and wording shared by every figure and by the page."""

from __future__ import annotations

from dataclasses import dataclass

from e2train.runs.load import Run


@dataclass(frozen=True)
class Theme:
    """The colours of one appearance, light or dark."""

    name: str
    paper: str
    ink: str
    muted: str
    grid: str
    methods: dict[str, str]
    spare: tuple[str, ...]
    passes: dict[str, str]


# One colour a method, the same in all figures. With the Machado (2009) simulation of red-, green-
# and blue-blindness every two of a theme stay at least 10 apart in CIELAB; markers differ as well.
LIGHT = Theme(
    name="light",
    paper="#ffffff",
    ink="#1f2328",
    muted="#59636e",
    grid="#dfe3e8",
    methods={
        "sgd-fp32": "#2b3138",
        "fixed8": "#c98a00",
        "psg": "#0067b1",
        "smd": "#00806a",
        "slu": "#c766a8",
        "e2train": "#c43c00",
        "signsgd": "#3fa3dc",
        "sd": "#8a4a1c",
    },
    spare=("#8a4a1c", "#3fa3dc", "#7a7f2a", "#6f5bb5", "#59636e"),
    passes={
        "forward": "#26547c",
        "backward_input": "#5d8fb5",
        "backward_weight": "#a3c4dc",
        "predictor": "#e8c468",
    },
)
DARK = Theme(
    name="dark",
    paper="#151b23",
    ink="#e6edf3",
    muted="#9aa5b1",
    grid="#2d3742",
    methods={
        "sgd-fp32": "#eef2f6",
        "fixed8": "#f0b429",
        "psg": "#3f8fdd",
        "smd": "#1fbf98",
        "slu": "#e08cc4",
        "e2train": "#ff6f3c",
        "signsgd": "#8fd3ff",
        "sd": "#a9744a",
    },
    spare=("#a9744a", "#8fd3ff", "#b5bb4a", "#a594ea", "#9aa5b1"),
    passes={
        "forward": "#3d7fb8",
        "backward_input": "#7fb0d6",
        "backward_weight": "#c2dcef",
        "predictor": "#e8c468",
    },
)
ALIASES = {"sgd": "sgd-fp32", "smb": "sgd-fp32", "stochastic-depth": "sd"}
MARKERS = {
    "sgd-fp32": "s",
    "fixed8": "D",
    "psg": "o",
    "smd": "^",
    "slu": "v",
    "e2train": "*",
    "signsgd": "P",
    "sd": "X",
}
SPARE_MARKERS = ("<", ">", "p", "h", "d")
LINES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class CellStyle:
    """How one cell looks: `line` tells apart cells of one method, which share a colour."""

    color: str
    marker: str
    line: str
    size: float


def cell_styles(runs: list[Run], theme: Theme) -> dict[str, CellStyle]:
    """A style for the label of each run."""
    known = {run.label: _known(run) for run in runs}
    keys = {run.label: known[run.label] or run.method for run in runs}
    unknown = list(dict.fromkeys(keys[run.label] for run in runs if known[run.label] is None))
    # A spare colour that a known method of this report already wears is not given away again.
    worn = {theme.methods[key] for key in known.values() if key}
    spare = [color for color in theme.spare if color not in worn] or list(theme.spare)
    styles: dict[str, CellStyle] = {}
    for run in runs:
        key = keys[run.label]
        twins = sum(1 for label in styles if keys[label] == key)
        place = unknown.index(key) if key in unknown else 0
        styles[run.label] = CellStyle(
            color=spare[place % len(spare)] if key in unknown else theme.methods[key],
            marker=SPARE_MARKERS[place % 5] if key in unknown else MARKERS[key],
            line=LINES[twins % len(LINES)],
            size=12.0 if key == "e2train" else 8.0,
        )
    return styles


def _known(run: Run) -> str | None:
    """The entry of the palette for this cell: by its method, else by its name."""
    for word in (run.method, run.name):
        word = ALIASES.get(word, word)
        if word in LIGHT.methods:
            return word
    return None


def shown(label: str, limit: int = 28) -> str:
    """A label fit for a figure: one line, printable, not too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in label).split())
    # Matplotlib leaves labels that begin with an underscore out of legends.
    line = " " + line if line.startswith("_") else line
    return line if len(line) <= limit else line[: limit - 1] + "…"


def decimals_for(uncertainty: float | None, value: float) -> int:
    """Digits after the point that show two figures of the uncertainty (four of a bare value)."""
    size, figures = (uncertainty, 2) if uncertainty else (abs(value), 4)
    if not size:
        return 1
    exponent = int(f"{size:e}".split("e")[1])
    return max(0, figures - 1 - exponent)


def joules(value: float, uncertainty: float | None) -> str:
    """'12.34 ± 0.06', without unit."""
    places = decimals_for(uncertainty, value)
    text = f"{value:,.{places}f}".replace(",", "\u202f")
    return text if uncertainty is None else f"{text} ± {uncertainty:.{places}f}"


def sentence_of(runs: list[Run]) -> str:
    """'CIFAR-10 (JPEG), resnet-8, seeds 0 and 1': what every figure stands on."""
    seeds = [str(seed) for seed in sorted({run.seed for run in runs})]
    listed = seeds[0] if len(seeds) == 1 else ", ".join(seeds[:-1]) + " and " + seeds[-1]
    word = "seed" if len(seeds) == 1 else "seeds"
    return f"{runs[0].dataset_label}, {runs[0].network}, {word} {listed}"
