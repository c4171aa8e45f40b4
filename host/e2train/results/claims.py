# SPDX-License-Identifier: Apache-2.0
"""claims.toml as checked data: pages, their rows (which runs), their claims (which rule)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from ..checked import read_toml
from ..errors import UserError
from ..report.paper import PaperRow, paper_tables
from .groups import DEFAULTS, Group

FILE = Path(__file__).with_name("claims.toml")
SMD_RATIO = 2 / 3
FULL = (0.99, 1.01)  # executed mini-batches over those of standard training
PAPER_ITERATIONS = 64_000
# Settings that decide the method: a row that does not name one wants its default.
_DECISIVE = (
    "method.arithmetic", "method.update", "method.stream_bits", "smd.drop", "slu.skip",
    "stochastic_depth.skip", "finetune.checkpoint", "finetune.weights",
    "finetune.mode", "data.half",
    "data.validation", "data.augment", "psg.beta", "psg.x_msb_bits", "psg.g_msb_bits",
)  # fmt: skip
WIDTH = "method.input_gradient_bits"
KINDS = ("accuracy", "more", "energy", "computing", "share", "spread", "stages", "open")
AXES = ("energy", "skip", "ratio", "stages")


@dataclass(frozen=True)
class Row:
    """A way of training: the paper's printed figures, and which of our runs are it.

    `gain`: points over the page's first row that the paper's text gives, where it prints no table.
    A run is of this row on any network of the same family and on the same data set.
    """

    name: str
    network: str
    dataset: str
    select: dict[str, Any]
    ratio: tuple[float, float]
    printed: PaperRow | None = None
    gain: float | None = None

    @property
    def executed(self) -> float:
        """The share of mini-batches that the paper executes: two thirds, where SMD leaves it."""
        low, high = self.ratio
        return SMD_RATIO if low < SMD_RATIO < high else (low + high) / 2

    def holds(self, group: Group) -> bool:
        """Whether these repeats are trained as the row says."""
        family = self.network.partition("-")[0]
        low, high = self.ratio
        if (group.size.network.partition("-")[0], group.size.dataset) != (family, self.dataset):
            return False
        return low <= group.ratio <= high and all(
            self._agrees(key, group.settings) for key in {*_DECISIVE, WIDTH, *self.select}
        )

    def _agrees(self, key: str, settings: dict[str, Any]) -> bool:
        wanted, found = self.select.get(key, DEFAULTS.get(key)), settings[key]
        if key == WIDTH and key not in self.select:
            return found in (None, natural_width(settings))
        return found in wanted if isinstance(wanted, list) else found == wanted


def natural_width(settings: dict[str, Any]) -> int:
    """Bits of the gradient in the pass to the input where nobody sets them."""
    return 8 if settings["method.update"] == "sgd" else 16


@dataclass(frozen=True)
class Claim:
    """One claim: a rule of judge.py on pairs of rows (ours, theirs), and the paper's figure.

    `across`: lengths may differ. `equal`: both sides must execute as many mini-batches.
    """

    says: str
    kind: str
    paper: float
    pairs: tuple[tuple[Row, Row], ...]
    across: bool = False
    size: str = ""
    equal: bool = False
    figure: str = ""

    @property
    def paper_size(self) -> str:
        """Network, data set and length of the paper's run."""
        if self.size:
            return self.size
        row = self.pairs[0][0]
        data = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}[row.dataset]
        return f"{row.network}, {data}, {PAPER_ITERATIONS:,} iterations, one run each"


@dataclass(frozen=True)
class Page:
    """One page of docs/results."""

    file: str
    title: str
    summary: str
    x: str
    open: bool = False
    across: bool = False
    rows: tuple[Row, ...] = ()
    claims: tuple[Claim, ...] = field(default=())

    @property
    def stem(self) -> str:
        """The start of its figures' names."""
        return self.file.rpartition("/")[2]


@cache
def pages() -> tuple[Page, ...]:
    """All pages. Raises UserError, one line, where claims.toml contradicts itself."""
    return tuple(_page(table) for table in read_toml(FILE)["pages"])


def _page(table: dict[str, Any]) -> Page:
    rows = {entry["name"]: _row(entry, table.get("table")) for entry in table["rows"]}
    page = Page(
        file=table["file"],
        title=table["title"],
        summary=" ".join(table["summary"].split()),
        x=table["x"],
        open=table.get("open", False),
        across=table.get("across", False),
        rows=tuple(rows.values()),
    )
    if page.x not in AXES:
        raise UserError(f"{FILE.name}: {page.file}: x = {page.x!r}: expected {' or '.join(AXES)}")
    own = [_claim(entry, rows, page) for entry in table["claims"]]
    derived = _derived(page.rows, table["baseline"]) if "baseline" in table else []
    return replace(page, claims=(*derived, *own))


def _row(entry: dict[str, Any], table: str | None) -> Row:
    network = entry.get("network", "resnet-74")
    dataset = entry.get("dataset", "cifar10")
    select = entry.get("select", {})
    for key in select:
        if key not in DEFAULTS:
            raise UserError(f"{FILE.name}: {entry['name']}: {key!r} is no setting")
    source, name = entry.get("from", (table, entry.get("printed")))
    low, high = entry.get("ratio", FULL)
    return Row(
        entry["name"], network, dataset, select, (low, high),
        None if name is None else _printed(str(source), str(name), network, dataset),
        entry.get("gain"),
    )  # fmt: skip


def _printed(table: str, name: str, network: str, dataset: str) -> PaperRow:
    for row in paper_tables()[table].rows:
        if (row.row, row.network, row.dataset) == (name, network, dataset):
            return row
    raise UserError(f"{FILE.name}: {table} prints no {name!r} for {network} on {dataset}")


def _claim(entry: dict[str, Any], rows: dict[str, Row], page: Page) -> Claim:
    if entry["kind"] not in KINDS:
        raise UserError(f"{FILE.name}: kind = {entry['kind']!r}: expected {' or '.join(KINDS)}")
    unknown = [name for pair in entry["pairs"] for name in pair if name not in rows]
    if unknown:
        raise UserError(f"{FILE.name}: {page.file}: {unknown[0]!r} is no row")
    pairs = tuple((rows[ours], rows[theirs]) for ours, theirs in entry["pairs"])
    return Claim(
        entry["says"], entry["kind"], entry["paper"], pairs, page.across,
        entry.get("size", ""), entry.get("equal", False), entry.get("figure", ""),
    )  # fmt: skip


def _derived(rows: Sequence[Row], baseline: str) -> list[Claim]:
    """Loss and savings of each printed row against the baseline of its network and data set."""
    bases = {(row.network, row.dataset): row for row in rows if row.name.split(", ")[0] == baseline}
    claims: list[Claim] = []
    for row in rows:
        base = bases[row.network, row.dataset]
        if row is base or row.printed is None or base.printed is None:
            continue
        loss = round(row.printed.top1 - base.printed.top1, 2)
        figures = [("accuracy", f"top-1 at most {-loss:.2f} points below {base.name}", loss)]
        if loss >= 0:
            figures = [("accuracy", f"top-1 at least {loss:.2f} points above {base.name}", loss)]
        if row.printed.energy_saving is not None:
            figures.append(("energy", f"less energy than {base.name}", row.printed.energy_saving))
        if row.printed.computational_saving is not None:
            saved = row.printed.computational_saving
            figures.append(("computing", "less computing than 32-bit SGD", saved))
        claims += [
            Claim(f"{row.name}: {says}", kind, figure, ((row, base),))
            for kind, says, figure in figures
        ]
    return claims
