# SPDX-License-Identifier: Apache-2.0
"""The comparison table and the table of settings of the run report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from e2train.report.baselines import FIXED8, HYPOTHETICAL
from e2train.report.html import NONE, Table, TableRow
from e2train.report.style import LIGHT, cell_styles, joules, sentence_of
from e2train.report.summary import (
    compare,
    is_hypothetical,
    last_energy,
    provenances_of,
    savings_of,
)
from e2train.runs.load import Energy, Run

MARK = " †"


@dataclass(frozen=True)
class Column:
    """A heading and what stands below it for a run, as plain text."""

    heading: str
    cell: Callable[[Run], str]


def comparison_table(runs: list[Run]) -> Table:
    """One row a cell. Every heading over joules says where the joules come from."""
    columns = _columns(runs)
    styles = cell_styles(runs, LIGHT)
    rows = [
        TableRow(
            run.label,
            [column.cell(run) for column in columns],
            swatch=styles[run.label].color,
            state="" if run.result else run.state,
        )
        for run in runs
    ]
    marked = any(MARK in cell for row in rows for cell in row.cells)
    return Table(
        caption=(
            f"{sentence_of(runs)}. Savings are against {_against(runs)}, unless a heading names "
            "another baseline."
        ),
        label="Comparison of the cells",
        corner="Cell",
        headings=[column.heading for column in columns],
        rows=rows,
        footnote=f"{MARK.strip()} {HYPOTHETICAL}; what it would take is modelled."
        if marked
        else "",
    )


def _against(runs: list[Run]) -> str:
    bases = [savings_of(run, run.result, runs).against for run in runs if run.result]
    return "; ".join(dict.fromkeys(bases)) or "32-bit SGD"


def _columns(runs: list[Run]) -> list[Column]:
    columns = [
        Column("Top-1 [%]", lambda run: _percent(_top(run, 1), 2)),
        Column("Top-5 [%]", lambda run: _percent(_top(run, 5), 2)),
        Column("MAC saving [%]", lambda run: _percent(_saving(run, runs, "macs"))),
        Column(
            "Computational saving, bit operations [%]",
            lambda run: _percent(_saving(run, runs, "bit_operations")),
        ),
    ]
    for provenance in provenances_of(last_energy(run) for run in runs):
        columns += _energy_columns(provenance, runs)
    return [
        *columns,
        Column("Energy, modelled (operations × cost) [J]", _modelled),
        Column("Skip ratio [%]", lambda run: _percent(_skip_ratio(run))),
        Column("Predictor share [%]", lambda run: _percent(_predictor(run))),
        Column("Iterations run of offered", _iterations),
        Column("Time [s]", lambda run: f"{run.result.seconds:.1f}" if run.result else NONE),
    ]


def _energy_columns(provenance: str, runs: list[Run]) -> list[Column]:
    """Joules of one provenance and the saving in them; cells of another stay empty."""

    def own(run: Run) -> Energy | None:
        energy = last_energy(run)
        return energy if energy and energy.provenance == provenance else None

    def amount(run: Run) -> str:
        energy = own(run)
        return _marked_joules(run, energy) if energy else NONE

    def saved(run: Run) -> str:
        return _percent(_saving(run, runs, "energy")) if own(run) else NONE

    def saved_from_fixed8(run: Run) -> str:
        if not run.result or not own(run):
            return NONE
        return _percent(compare(run, run.result, runs, FIXED8).saving)

    return [
        Column(f"Energy, {provenance} [J]", amount),
        Column(f"Energy saving, {provenance} [%]", saved),
        Column(f"Energy saving against {FIXED8.key}, {provenance} [%]", saved_from_fixed8),
    ]


def _marked_joules(run: Run, energy: Energy) -> str:
    """'13.20 ± 0.20', marked where no such hardware exists."""
    text = joules(energy.joules, energy.uncertainty)
    return text + MARK if is_hypothetical(run, energy.provenance) else text


def _percent(value: float | None, places: int = 1) -> str:
    return NONE if value is None else f"{value:.{places}f}".replace("-", "−")


def _top(run: Run, k: int) -> float | None:
    last = run.result or (run.evaluations[-1] if run.evaluations else None)
    return None if last is None else (last.top1 if k == 1 else last.top5)


def _saving(run: Run, runs: list[Run], what: str) -> float | None:
    if run.result is None:
        return None
    value: float | None = getattr(savings_of(run, run.result, runs), what)
    return value


def _modelled(run: Run) -> str:
    last = run.result or (run.progress[-1] if run.progress else None)
    return _marked_joules(run, Energy(last.modelled_joules, None, "modelled")) if last else NONE


def _skip_ratio(run: Run) -> float | None:
    if run.result:
        return run.result.skip_ratio
    return run.progress[-1].skip_ratio if run.progress and run.progress[-1].block_skip else None


def _predictor(run: Run) -> float | None:
    return run.result.predictor_share if run.result else None


def _iterations(run: Run) -> str:
    if run.result:
        return f"{run.result.iterations_run} of {run.result.iterations_offered}"
    ran = run.progress[-1].iterations_run if run.progress else 0
    return f"{ran} of {run.iteration} so far"


def settings_table(runs: list[Run]) -> Table:
    """Settings of each cell side by side; those in which the cells differ come first."""
    tables = [_settings(run) for run in runs]
    keys = list(dict.fromkeys(key for table in tables for key in table))
    differ = {key: len({table.get(key) for table in tables}) > 1 for key in keys}
    keys.sort(key=lambda key: not differ[key])
    return Table(
        caption="Settings in which the cells differ come first; the rest is grey.",
        label="Experiment settings",
        corner="Setting",
        headings=[run.label for run in runs],
        rows=[
            TableRow(key, [table.get(key, NONE) for table in tables], grey=not differ[key])
            for key in keys
        ],
        is_text=True,
    )


def _settings(run: Run) -> dict[str, str]:
    """What the run says of itself, then its experiment file."""
    own = {
        "cell: method": run.method,
        "cell: arithmetic": run.arithmetic,
        "cell: iterations": str(run.iterations),
        "cell: batch": str(run.batch),
        "cell: seed": str(run.seed),
    }
    return own | {key: _value(value) for key, value in run.settings.items()}


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_value(item) for item in value)
    return str(value)
