# SPDX-License-Identifier: Apache-2.0
"""The report: finished (or running) run folders to one HTML page, PNGs and a summary."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from e2train.errors import UserError
from e2train.files import write_text
from e2train.report import charts_classes, charts_cost, charts_training
from e2train.report.html import environment
from e2train.report.page import build_page
from e2train.report.render import Picture, load_matplotlib, picture_of, write_png
from e2train.report.style import sentence_of, shown
from e2train.report.summary import headline, summarise
from e2train.runs.load import Run, load_runs

# File stem of each figure, in the order of the page. One that has nothing to show is left out.
CHARTS = {
    "accuracy-energy": charts_training.accuracy_energy,
    "accuracy-iterations": charts_training.accuracy_iterations,
    "training-loss": charts_training.training_loss,
    "skip-ratio": charts_cost.block_skip,
    "predictor-share": charts_cost.predictor_share,
    "power-trace": charts_cost.power_trace,
    "macs": charts_cost.macs_by_pass,
    "confusion": charts_classes.confusion,
    "class-accuracy": charts_classes.class_accuracy,
    "worst-pictures": charts_classes.worst_pictures,
}


@dataclass(frozen=True)
class Report:
    """Where a report was written, and its first line."""

    page: Path
    summary: Path
    figures: tuple[Path, ...]
    headline: str


def write_report(paths: list[Path], out: Path | None = None) -> Report:
    """Report on the run folders `paths` in the folder `out`.

    Writes report.html (self-contained), summary.json and figures/*.png. Without `out`: into the
    single folder given, or into the folder that holds all the runs. Raises UserError for missing
    or broken files, runs that cannot be compared, a folder that cannot be written, and where
    matplotlib or jinja2 is not installed.
    """
    load_matplotlib()  # before reading hours of logs
    environment()
    runs = load_runs(paths)
    folder = out if out is not None else default_folder(paths)
    subtitle = shown(sentence_of(runs), 72)
    charts = {key: chart for key, make in CHARTS.items() if (chart := make(runs))}
    pictures = {key: picture_of(chart, subtitle) for key, chart in charts.items()}
    try:
        return _write(folder, runs, pictures)
    except OSError as error:
        raise UserError(f"{folder}: cannot write the report ({error.strerror})") from None


def default_folder(paths: list[Path]) -> Path:
    """Where the report goes when nobody says: beside the runs, if they share a folder."""
    if len(paths) == 1:
        return paths[0]
    parents = {Path(os.path.abspath(path)).parent for path in paths}
    if len(parents) > 1:
        raise UserError("the runs lie in different folders: say with --out where the report goes")
    return paths[0].parent


def _write(folder: Path, runs: list[Run], pictures: dict[str, Picture]) -> Report:
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for key in CHARTS:
        if key in pictures:
            write_png(figures / f"{key}.png", pictures[key].light)
        else:  # an older report may have had something to show
            (figures / f"{key}.png").unlink(missing_ok=True)
    page, summary = folder / "report.html", folder / "summary.json"
    write_text(page, build_page(runs, list(pictures.values())))
    text = json.dumps(summarise(runs), indent=2, allow_nan=False, ensure_ascii=False)
    write_text(summary, text + "\n")
    drawn = tuple(figures / f"{key}.png" for key in pictures)
    return Report(page, summary, drawn, headline(runs))
