# SPDX-License-Identifier: Apache-2.0
"""Savings against the two baselines, and the summary that other programs read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from e2train.report.baselines import (
    BASELINES,
    FIXED8,
    FLOAT32,
    HYPOTHETICAL,
    OF_A_MODEL,
    Baseline,
    Comparison,
    caveat_of,
    comparison_words,
    is_e2train,
    missing,
    not_comparable,
)
from e2train.runs.events import SCHEMA
from e2train.runs.load import (
    ACCELERATOR,
    FLOAT_ARRAY,
    LAST,
    Energy,
    Run,
    RunResult,
)
from powermeter import PROVENANCES


@dataclass(frozen=True)
class Savings:
    """Savings of one finished cell in percent; None where there is nothing to compare with."""

    macs: float | None
    bit_operations: float | None
    energy: float | None
    against: str


def saving(spent: float, baseline: float) -> float | None:
    """100·(1 - spent/baseline) in percent; below zero where more was spent; None without a base."""
    return 100.0 * (1.0 - spent / baseline) if baseline > 0 else None


def trained_by(run: Run, baseline: Baseline) -> bool:
    """Whether `run` is that baseline, by its settings; its name does not matter."""
    settings = run.settings | {"method.arithmetic": run.arithmetic}
    return baseline.is_trained_by(settings)


def baseline_of(run: Run, runs: list[Run], baseline: Baseline = FLOAT32) -> Run | None:
    """The finished baseline that `run` is compared with: of its own seed if there is one.

    Of several, the one that bears the baseline's usual name.
    """
    cells = [other for other in runs if other.result and trained_by(other, baseline)]
    cells.sort(key=lambda other: (other.seed != run.seed, other.name != baseline.key))
    return next(iter(cells), None)


def compare(run: Run, result: RunResult, runs: list[Run], baseline: Baseline) -> Comparison:
    """The energy of the finished `run` against that of `baseline`'s run.

    Where neither has joules of a meter, operations × cost are compared, which are modelled.
    """
    base = baseline_of(run, runs, baseline)
    if base is None or base.result is None:
        return missing(baseline, run.label)
    ours, theirs = result.energy, base.result.energy
    if ours is None and theirs is None:
        ours = Energy(result.modelled_joules, None, "modelled")
        theirs = Energy(base.result.modelled_joules, None, "modelled")
    saved = energy_saving(ours, theirs)
    if saved is None:
        sides = [energy.provenance if energy else None for energy in (ours, theirs)]
        return not_comparable(baseline, run.label, base.label, *sides)
    models = (run.board_model, base.board_model)
    return Comparison(
        baseline, run.label, base.label, saved,
        provenance=ours.provenance if ours else None,
        board_model=FLOAT_ARRAY if FLOAT_ARRAY in models else ACCELERATOR,
        caveat=caveat_of(run.settings, base.settings),
    )  # fmt: skip


def comparisons_of(run: Run, runs: list[Run]) -> list[Comparison]:
    """The finished `run` against both baselines; a baseline is not compared with itself."""
    if run.result is None:
        return []
    return [compare(run, run.result, runs, one) for one in BASELINES if not trained_by(run, one)]


def savings_of(run: Run, result: RunResult, runs: list[Run]) -> Savings:
    """Savings of the finished `run` against standard mini-batch 32-bit SGD.

    The baseline is the 32-bit SGD cell of the same report. Without one, MACs and bit operations
    are compared with what 32-bit SGD would spend on as many iterations as were offered (its count
    for each iteration is part of the result), and there is no energy saving.
    """
    base = baseline_of(run, runs)
    if base is None or base.result is None:
        offered = result.iterations_offered
        return Savings(
            saving(result.macs, result.smb_macs_per_iteration * offered),
            saving(result.bit_operations, result.smb_bit_operations_per_iteration * offered),
            None,
            "32-bit SGD on every iteration offered, counted for this network, not run",
        )
    return Savings(
        saving(result.macs, base.result.macs),
        saving(result.bit_operations, base.result.bit_operations),
        energy_saving(result.energy, base.result.energy),
        f"the cell {base.label}",
    )


def energy_saving(spent: Energy | None, baseline: Energy | None) -> float | None:
    """Percent of the baseline's joules; None unless both have joules of the same provenance."""
    if spent is None or baseline is None or spent.provenance != baseline.provenance:
        return None
    return saving(spent.joules, baseline.joules)


def is_hypothetical(run: Run, provenance: str | None) -> bool:
    """Whether such joules of `run` are those of float32 hardware that this board has not got."""
    return run.board_model == FLOAT_ARRAY and provenance in OF_A_MODEL


def hypothetical_words(runs: list[Run]) -> str:
    """Whose joules are those of no board, as a sentence; empty where there are none."""
    names = [r.label for r in runs if (e := last_energy(r)) and is_hypothetical(r, e.provenance)]
    return f"Energy of {', '.join(names)} is {HYPOTHETICAL}." if names else ""


def provenances_of(energies: Iterable[Energy | None]) -> list[str]:
    """The provenances that occur, in the fixed order of PROVENANCES."""
    found = {energy.provenance for energy in energies if energy}
    return [provenance for provenance in PROVENANCES if provenance in found]


def last_energy(run: Run) -> Energy | None:
    """The energy of a finished run, or what a running one has used so far."""
    if run.result:
        return run.result.energy
    return run.progress[-1].energy if run.progress else None


def summarise(runs: list[Run]) -> dict[str, Any]:
    """The content of summary.json.

    `headline` and `comparisons` are what the page opens with. `cells` holds finished cells only,
    so that no number of a half-trained network is taken for a result; a key `unfinished` lists
    the others, where there are any.
    """
    shown = leading(runs)
    summary: dict[str, Any] = {
        "schema": SCHEMA,
        "headline": headline(runs),
        "comparisons": [one.as_dict() for one in comparisons_of(shown, runs)] if shown else [],
        "dataset": runs[0].dataset,
        "network": runs[0].network,
        "cells": [_cell(run, run.result, runs) for run in runs if run.result],
    }
    unfinished = [
        {"name": run.label, "iteration": run.iteration, "iterations": run.iterations}
        for run in runs
        if not run.result
    ]
    if unfinished:
        summary["unfinished"] = unfinished
    return summary


def _cell(run: Run, result: RunResult, runs: list[Run]) -> dict[str, Any]:
    savings = savings_of(run, result, runs)
    energy = result.energy
    return {
        "name": run.label,
        "method": run.method,
        "iterations_offered": result.iterations_offered,
        "iterations_run": result.iterations_run,
        "top1": result.top1,
        "mac_saving": savings.macs,
        "computational_saving": savings.bit_operations,
        "energy_joules": energy.joules if energy else None,
        "energy_uncertainty_joules": energy.uncertainty if energy else None,
        "energy_provenance": energy.provenance if energy else None,
        "energy_saving": savings.energy,
        "energy_saving_fixed8": compare(run, result, runs, FIXED8).saving,
        "skip_ratio": result.skip_ratio,
        "predictor_share": result.predictor_share,
        "seconds": result.seconds,
    }


def leading(runs: list[Run]) -> Run | None:
    """The finished cell that the report opens with; None where no cell has finished.

    E2-Train, else the cell that saves most computing; a baseline only if there is nothing else.
    """

    def prominence(item: tuple[Run, RunResult]) -> tuple[bool, bool, float]:
        run, result = item
        computing = savings_of(run, result, runs).bit_operations
        return (
            is_e2train(run.settings) or LAST in (run.name, run.method),
            not any(trained_by(run, baseline) for baseline in BASELINES),
            computing if computing is not None else -1e9,
        )

    finished = [(run, run.result) for run in runs if run.result]
    return max(finished, key=prominence)[0] if finished else None


def headline(runs: list[Run]) -> str:
    """One line out of the data: the leading cell's accuracy, and its energy against baselines."""
    run = leading(runs)
    if run is None or run.result is None:
        return "No finished cell yet"
    line = f"{run.label}: {run.result.top1:.1f} % top-1"
    comparisons = comparisons_of(run, runs)
    if any(one.saving is not None for one in comparisons):
        return f"{line}, {comparison_words(comparisons)}"
    saved = savings_of(run, run.result, runs).bit_operations
    if saved is None or trained_by(run, FLOAT32):
        return line
    amount = f"{abs(saved):.0f} % {'less' if saved >= 0 else 'more'}"
    return f"{line}, {amount} computing (bit operations)"
