# SPDX-License-Identifier: Apache-2.0
"""The comparison table and the table of settings, as HTML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from e2train.report.style import LIGHT, cell_styles, joules, sentence_of
from e2train.report.summary import last_energy, provenances_of, savings_of
from e2train.runs.load import Energy, Run

NONE = "–"


@dataclass(frozen=True)
class Column:
    """A heading and what stands below it for a run, as plain text."""

    heading: str
    cell: Callable[[Run], str]


def comparison_table(runs: list[Run]) -> str:
    """One row a cell. Every heading over joules says where the joules come from."""
    columns = _columns(runs)
    styles = cell_styles(runs, LIGHT)
    head = "".join(f'<th scope="col">{escape(column.heading)}</th>' for column in columns)
    rows = "".join(
        f'<tr><th scope="row"><span class="swatch" style="background:{styles[run.label].color}">'
        f"</span>{escape(run.label)}{_state(run)}</th>"
        + "".join(f"<td>{escape(column.cell(run))}</td>" for column in columns)
        + "</tr>"
        for run in runs
    )
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="Comparison of the cells"><table>'
        f"<caption>{escape(sentence_of(runs))}. Savings against {escape(_against(runs))}.</caption>"
        f'<thead><tr><th scope="col" class="text">Cell</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _state(run: Run) -> str:
    return "" if run.result else f'<span class="state">{escape(run.state)}</span>'


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
        return joules(energy.joules, energy.uncertainty) if energy else NONE

    def saved(run: Run) -> str:
        return _percent(_saving(run, runs, "energy")) if own(run) else NONE

    return [
        Column(f"Energy, {provenance} [J]", amount),
        Column(f"Energy saving, {provenance} [%]", saved),
    ]


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
    return joules(last.modelled_joules, None) if last else NONE


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


def settings_table(runs: list[Run]) -> str:
    """Settings of each cell side by side; those in which the cells differ come first."""
    tables = [_settings(run) for run in runs]
    keys = list(dict.fromkeys(key for table in tables for key in table))
    differ = {key: len({table.get(key) for table in tables}) > 1 for key in keys}
    keys.sort(key=lambda key: not differ[key])
    head = "".join(f'<th scope="col" class="text">{escape(run.label)}</th>' for run in runs)
    rows = "".join(
        f"<tr{'' if differ[key] else ' class=' + chr(34) + 'same' + chr(34)}>"
        f'<th scope="row">{escape(key)}</th>'
        + "".join(f'<td class="text">{escape(table.get(key, NONE))}</td>' for table in tables)
        + "</tr>"
        for key in keys
    )
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="Experiment settings"><table>'
        "<caption>Settings in which the cells differ come first; the rest is grey.</caption>"
        f'<thead><tr><th scope="col" class="text">Setting</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
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
