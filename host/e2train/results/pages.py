# SPDX-License-Identifier: Apache-2.0
"""Pages of docs/results as Markdown: figures first, then claims, runs and rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..campaign.tables import words
from ..checked import read_toml
from ..cost.board import HYPOTHETICAL
from ..cost.text_table import TextTable
from ..report.baselines import FIXED8, FLOAT32
from ..report.html import NONE
from ..report.paper import SOURCE
from ..report.render import Chart
from ..runs.load import RunResult, flattened
from .claims import Page, Row
from .groups import (
    Group,
    Size,
    accuracy,
    board_joules,
    computing_saving,
    energy_saving,
    scatter,
)
from .judge import (
    CONFIRMED,
    LEAST_SPREAD_SEEDS,
    NOT_CONFIRMED,
    NOT_RUN,
    TOLERANCE,
    Verdict,
    by_size,
    fitting,
    judge,
)

TEXTS = Path(__file__).with_name("texts.toml")
MADE = "<!-- Made by `make results`; do not edit. -->"
MARK = " †"
Drawn = Mapping[str, tuple[Chart, str]]


@cache
def _texts() -> dict[str, object]:
    return flattened(read_toml(TEXTS))


def said(key: str, **known: object) -> str:
    """A paragraph of texts.toml as one line, filled in."""
    return " ".join(str(_texts()[key]).split()).format(**known)


def _up(page: Page) -> str:
    """From the page to docs."""
    return "../" * (page.file.count("/") + 1)


def verdicts(page: Page, groups: Sequence[Group]) -> list[Verdict]:
    """The words for all claims of a page."""
    return [judge(claim, groups) for claim in page.claims]


def page_text(page: Page, groups: Sequence[Group], drawn: Drawn, extra: Sequence[str] = ()) -> str:
    """One page. `drawn`: its figures by file stem; `extra`: blocks behind the figures."""
    blocks = [f"# {page.title}", MADE, page.summary]
    blocks += [figure_block(page.file, stem, chart) for stem, (chart, _) in drawn.items()]
    blocks += extra
    found = verdicts(page, groups)
    heading = "## What our runs say" if page.open else "## The claims"
    blocks += [heading, "\n".join(_text_table(_claims(page, found)))]
    runs = _runs(page, groups)
    blocks += ["## The runs", "\n".join(runs.markdown())]
    if any(MARK in cell for row in runs.rows for cell in row):
        blocks.append(f"{MARK.strip()} {HYPOTHETICAL}; what one would take is modelled.")
    blocks += [_reading(page, groups), "## Rules", _rules(page)]
    return "\n\n".join(blocks) + "\n"


def figure_block(file: str, stem: str, chart: Chart) -> str:
    """A picture with its caption, seen from the page `file`."""
    up = "../" * file.count("/")
    alt = chart.title.replace("[", "(").replace("]", ")")
    return f"![{alt}]({up}figures/{stem}.png)\n\n*{chart.title}.* {chart.caption}"


def _text_table(table: TextTable) -> list[str]:
    """A table of words: every column to the left."""
    head, rule, *body = table.markdown()
    return [head, rule.replace("---:", "---"), *body]


def _claims(page: Page, found: Sequence[Verdict]) -> TextTable:
    if page.open:
        table = TextTable("", ("question", "ours [95 % interval]", "our size", "word"))
        for one in found:
            table.add(one.claim.says, one.ours, one.where, one.word)
        return table
    columns = ("claim", "paper", "paper's size", "ours [95 % interval]", "our size", "word")
    table = TextTable("", columns)
    for one in found:
        ours = (one.ours, one.where, f"**{one.word}**")
        table.add(one.claim.says, _paper_figure(one), one.claim.paper_size, *ours)
    return table


_UNITS = {"accuracy": "points", "more": "points", "energy": "% (metered)", "computing": "%",
          "share": "%", "spread": "points", "stages": "points"}  # fmt: skip


def _paper_figure(one: Verdict) -> str:
    claim = one.claim
    if claim.figure:
        return claim.figure
    if claim.kind in ("more", "stages") and claim.paper == 0.0:
        return "more (no figure)"
    sign = "+" if claim.kind in ("accuracy", "more") and claim.paper > 0 else ""
    return f"{sign}{claim.paper:g} {_UNITS[claim.kind]}".replace("-", "−")


# ---- the runs -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One row at one size: the group that stands for it and the baselines of that size."""

    row: Row
    size: Size | None = None
    group: Group | None = None
    inside: Sequence[Group] = ()


Cell = Callable[[Line, Group], str]


def _runs(page: Page, groups: Sequence[Group]) -> TextTable:
    lines = [line for row in page.rows for line in _lines(page, row, groups)]
    columns = _columns(groups)
    cells = [
        [NONE if line.group is None else cell(line, line.group) for _, cell in columns]
        for line in lines
    ]
    kept = [
        place
        for place in range(len(columns))
        if place < 3 or any(cell[place] != NONE for cell in cells)
    ]
    if all(line.group is None for line in lines):
        kept = []
    table = TextTable(
        "",
        ("row", "paper: top-1 [%]", f"energy saving, {SOURCE} [%]", "our run",
         *(columns[place][0] for place in kept)),
    )  # fmt: skip
    for line, own in zip(lines, cells, strict=True):
        printed = line.row.printed
        table.add(
            line.row.name,
            NONE if printed is None else _top(printed.top1, printed.top5),
            NONE if printed is None else _number(printed.energy_saving),
            "not run" if line.group is None else f"{line.group.name}: {line.group.size.text}",
            *(own[place] for place in kept),
        )
    return table


def _lines(page: Page, row: Row, groups: Sequence[Group]) -> list[Line]:
    """The row with every setting that fits it, the largest size first."""
    found = [
        Line(row, size, group, inside)
        for size, inside in by_size(groups, page.across)
        for group in fitting(row, inside)
    ]
    return found or [Line(row)]


def _columns(groups: Sequence[Group]) -> list[tuple[str, Cell]]:
    def mean(of: Callable[[RunResult], float | None], places: int, scale: float = 1.0) -> Cell:
        def cell(_: Line, group: Group) -> str:
            value = group.mean(of)
            return NONE if value is None else f"{value * scale:,.{places}f}"

        return cell

    def joules(_: Line, group: Group) -> str:
        value = group.mean(board_joules)
        if value is None:
            return NONE
        return f"{value:,.0f}" + MARK * group.hypothetical

    return [
        ("seeds", lambda _, g: ", ".join(map(str, g.seeds))),
        ("mini-batches executed", lambda _, g: _executed(g)),
        ("top-1 [%]", lambda _, g: words(accuracy(g, groups))),
        ("top-5 [%]", mean(lambda r: r.top5, 2)),
        ("skipped in training [%]", mean(lambda r: r.skip_ratio, 1)),
        ("skipped in evaluation [%]", mean(lambda r: r.evaluation_skip, 1)),
        ("evaluation, MACs a picture [million]", mean(lambda r: r.evaluation_macs, 2, 1e-6)),
        ("signs predicted [%]", mean(lambda r: r.predictor_share, 1)),
        ("board, modelled [s]", mean(lambda r: r.board_seconds, 0)),
        ("board, modelled [J]", joules),
        ("saving against hypothetical float32, modelled [%]", _saved_from(FLOAT32.key)),
        ("saving against fixed8, modelled [%]", _saved_from(FIXED8.key)),
        ("computational saving, bit operations [%]", lambda _, g: words(computing_saving(g))),
    ]


def _executed(group: Group) -> str:
    ran = group.mean(lambda result: float(result.iterations_run))
    return NONE if ran is None else f"{ran:,.0f} of {group.size.iterations:,}"


def _saved_from(key: str) -> Cell:
    """Saving in modelled joules against a plain baseline of the same size."""
    baseline = {one.key: one for one in (FLOAT32, FIXED8)}[key]

    def cell(line: Line, group: Group) -> str:
        bases = [g for g in line.inside if baseline.is_trained_by(g.settings) and g.ratio == 1.0]
        base = max(bases, key=lambda g: len(g.runs), default=None)
        if base is None or base is group:
            return NONE
        text = words(energy_saving(group, base))
        marked = group.hypothetical and not base.hypothetical and text != NONE
        return text + MARK * marked

    return cell


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def _top(top1: float, top5: float | None) -> str:
    return f"{top1:.2f}" if top5 is None else f"{top1:.2f} (top-5 {top5:.2f})"


# ---- what the numbers are -----------------------------------------------------------------------


def _reading(page: Page, groups: Sequence[Group]) -> str:
    lines = [said("reading", up=_up(page))]
    used: dict[tuple[Size, bool], Group] = {}
    for row in page.rows:
        for line in _lines(page, row, groups):
            if line.group is not None:
                used.setdefault((line.group.size, line.group.by_signs), line.group)
    for (size, by_signs), group in used.items():
        pooled = scatter(group, groups)
        kind = "signs" if by_signs else "gradients"
        deviation = f"{pooled.variance**0.5:.3f} points" if pooled.freedom else "unknown (one seed)"
        lines.append(
            f"Scatter over seeds, {size.text}, updates by {kind}: standard deviation {deviation}, "
            f"{pooled.freedom} degrees of freedom."
        )
    return "\n".join(f"- {line}" for line in lines)


def _rules(page: Page) -> str:
    kinds = dict.fromkeys(claim.kind for claim in page.claims)
    known = {"tolerance": TOLERANCE, "least_seeds": LEAST_SPREAD_SEEDS, "up": _up(page)}
    rules = [*(said(f"rules.{kind}", **known) for kind in kinds), said("choice")]
    return "\n".join(f"- {rule}" for rule in rules)


# ---- the index ----------------------------------------------------------------------------------


def index(pages: Sequence[Page], groups: Sequence[Group]) -> list[str]:
    """The table of README.md: a line a page with the number of claims by word."""
    table = TextTable("", ("page", "our largest size", CONFIRMED, NOT_CONFIRMED, NOT_RUN))
    for page in pages:
        if page.open:
            continue
        found = verdicts(page, groups)
        counts = Counter(one.word for one in found)
        sizes = [one.size for one in found if one.size is not None]
        table.add(
            f"[{page.title}]({page.file}.md)",
            max(sizes, key=lambda size: size.iterations).text if sizes else NONE,
            *(counts[word] for word in (CONFIRMED, NOT_CONFIRMED, NOT_RUN)),
        )
    return table.markdown()
