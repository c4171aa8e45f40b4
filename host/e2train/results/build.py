# SPDX-License-Identifier: Apache-2.0
"""docs/results out of its logs and data: what `make results` writes, and what a test compares."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..campaign.tables import words
from ..cost.text_table import TextTable
from ..errors import UserError
from ..files import write_text
from ..report.html import NONE
from ..report.render import Chart, load_matplotlib, render, write_png
from ..report.style import LIGHT, shown
from .charts import charts_of
from .claims import pages
from .groups import Group, accuracy, groups_of
from .judge import by_size
from .open_charts import BETA, by_width, granularity, label, numbers, pareto, skip_times
from .pack import read_archives
from .pages import MADE, figure_block, index, page_text, said
from .predictor import PAPERS, Outcome, Table, front, read_table

LOGS, DATA, FIGURES = "logs", "data", "figures"
SIGNS = f"{DATA}/predictor-signs.csv"
PREDICTOR = "open/predictor"
SLOWEST = 1.05  # of SignSGD's time: what is slower still has no use for a predictor
README = "README.md"
_BLOCK = re.compile(r"(<!-- claims -->\n).*?(<!-- /claims -->)", re.DOTALL)


@dataclass(frozen=True)
class Built:
    """What docs/results consists of: texts by file, charts by stem with their second line."""

    texts: dict[str, str]
    charts: dict[str, tuple[Chart, str]]


def build(folder: Path) -> Built:
    """All pages and figures from what lies in `folder` (logs/, data/, README.md); writes nothing.

    Raises UserError, one line, for what is missing or damaged.
    """
    groups = groups_of(read_archives(folder / LOGS))
    texts: dict[str, str] = {}
    charts: dict[str, tuple[Chart, str]] = {}
    for page in pages():
        drawn, extra = charts_of(page, groups), []
        if page.file.endswith("granularity"):
            drawn["skip-granularity-time"] = granularity()
            extra = ["\n".join(_times().markdown())]
        texts[f"{page.file}.md"] = page_text(page, groups, drawn, extra)
        charts |= drawn
    table = read_table(folder / SIGNS)
    drawn = {
        "predictor-pareto": (pareto(table), table.place),
        "predictor-widths": (by_width(table), table.place),
    }
    texts[f"{PREDICTOR}.md"] = _predictor_page(table, drawn, groups)
    charts |= drawn
    texts[README] = _readme(folder / README, groups)
    return Built(texts, charts)


def write(folder: Path, built: Built) -> list[Path]:
    """Write pages and figures, each whole or not at all; removes figures that are no more made."""
    load_matplotlib()
    (folder / FIGURES).mkdir(exist_ok=True)
    (folder / "open").mkdir(exist_ok=True)
    written = []
    for stem, (chart, place) in built.charts.items():
        file = folder / FIGURES / f"{stem}.png"
        write_png(file, render(chart, LIGHT, shown(place, 72)))
        written.append(file)
    for old in set((folder / FIGURES).glob("*.png")) - set(written):
        old.unlink()
    for name, text in built.texts.items():
        write_text(folder / name, text)
        written.append(folder / name)
    return written


def _readme(file: Path, groups: Sequence[Group]) -> str:
    """README.md with the table of claims between its marks renewed."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    table = "\n".join(index(pages(), groups))
    made, count = _BLOCK.subn(lambda match: f"{match[1]}{table}\n{match[2]}", text)
    if count != 1:
        raise UserError(f"{file}: expected one pair of marks <!-- claims --> and <!-- /claims -->")
    return made


# ---- the predictor's page -----------------------------------------------------------------------


def _predictor_page(
    table: Table, drawn: dict[str, tuple[Chart, str]], groups: Sequence[Group]
) -> str:
    papers = next(one for one in table.outcomes if one.predictor == PAPERS)
    rounded = [one for one in table.outcomes if not one.predictor.truncate]
    columns = ("predictor (x bits x g bits)", "products", "signs decided [%]", "wrong of these [%]",
               "wrong of all [%]", "iteration, modelled [s]", "over SignSGD's")  # fmt: skip
    shown_front = [one for one in front(rounded) if one.relative <= SLOWEST]
    best = TextTable("", columns, numbers([papers, *shown_front]))
    truncated = [one for one in table.outcomes if one.predictor.truncate]
    at_beta = sorted(
        (one for one in truncated if one.predictor.beta == BETA), key=lambda one: one.wrong
    )
    cut = TextTable("", columns, numbers(at_beta[:5]))
    blocks = [
        "# Open: the predictor's bits, rounding and threshold",
        MADE,
        said("predictor.summary", sentence=table.sentence),
        *(figure_block(f"{PREDICTOR}.md", stem, chart) for stem, (chart, _) in drawn.items()),
        "## The paper's predictor and the front of the rounded ones",
        _finding(rounded, papers),
        said("predictor.front", slowest=SLOWEST),
        "\n".join(best.markdown()),
        f"## Truncated instead of rounded, beta {BETA:g}",
        said("predictor.truncated"),
        "\n".join(cut.markdown()),
        "## Accuracy where runs exist",
        "\n".join(_predictor_runs(groups).markdown()),
        said("predictor.accuracy"),
        "The counts were made by",
        "    e2train results sign-errors experiments/cifar10/resnet20/psg-linear.toml --after 600 "
        "--batches 3 --out docs/results/data/predictor-signs.csv",
    ]
    return "\n\n".join(blocks) + "\n"


def _finding(rounded: Sequence[Outcome], papers: Outcome) -> str:
    """The rounded predictor with the fewest wrong signs at the paper's threshold and speed."""
    alike = [one for one in rounded if one.predictor.beta == BETA and one.packed]
    best = min(alike, key=lambda one: one.wrong)
    return said(
        "predictor.finding",
        papers=label(papers), papers_wrong=f"{100 * papers.wrong:.2f}",
        papers_time=f"{papers.relative:.3f}",
        best=label(best), best_wrong=f"{100 * best.wrong:.2f}", best_time=f"{best.relative:.3f}",
    )  # fmt: skip


def _predictor_runs(groups: Sequence[Group]) -> TextTable:
    """Runs of PSG alone, by the predictor they used."""
    table = TextTable("", ("predictor", "run", "seeds", "top-1 [%]"))
    for size, inside in by_size(groups):
        for group in inside:
            s = group.settings
            alone = not (s["smd.drop"] or s["slu.skip"] or s["stochastic_depth.skip"])
            if s["method.update"] == "psg" and alone and s["finetune.checkpoint"] is None:
                used = f"{s['psg.x_msb_bits']} x {s['psg.g_msb_bits']}, beta {s['psg.beta']:g}"
                seeds = ", ".join(map(str, group.seeds))
                table.add(used, f"{group.name}: {size.text}", seeds, words(accuracy(group, groups)))
    if not table.rows:
        table.add("not run", *[NONE] * 3)
    return table


def _times() -> TextTable:
    columns = ("skip ratio [%]", "by sample, modelled [s]", "[J]", "by mini-batch, modelled [s]",
               "[J]")  # fmt: skip
    table = TextTable("", columns)
    for one in skip_times():
        table.add(
            one.skip, f"{one.sample_s:.3f}", f"{one.sample_j:.2f}",
            f"{one.batch_s:.3f}", f"{one.batch_j:.2f}",
        )  # fmt: skip
    return table
