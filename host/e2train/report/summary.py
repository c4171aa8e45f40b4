# SPDX-License-Identifier: Apache-2.0
"""Savings against 32-bit SGD, and the summary that other programs read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from e2train.runs.events import SCHEMA
from e2train.runs.load import BASELINE, LAST, Energy, Result, Run
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


def baseline_of(run: Run, runs: list[Run]) -> Run | None:
    """The finished 32-bit SGD cell that `run` is compared with: of its own seed if there is one."""
    cells = [other for other in runs if other.name == BASELINE and other.result]
    own_seed = [other for other in cells if other.seed == run.seed]
    return next(iter(own_seed or cells), None)


def savings_of(run: Run, result: Result, runs: list[Run]) -> Savings:
    """Savings of the finished `run` against standard mini-batch 32-bit SGD.

    The baseline is the cell `sgd-fp32` of the same report. Without one, MACs and bit operations
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

    `cells` holds finished cells only, so that no number of a half-trained network is taken for a
    result; a key `unfinished` lists the others, where there are any.
    """
    summary: dict[str, Any] = {
        "schema": SCHEMA,
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


def _cell(run: Run, result: Result, runs: list[Run]) -> dict[str, Any]:
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
        "skip_ratio": result.skip_ratio,
        "predictor_share": result.predictor_share,
        "seconds": result.seconds,
    }


def headline(runs: list[Run]) -> str:
    """One line out of the data: the E2-Train cell, else the one that saves most computing."""
    finished = [(run, run.result) for run in runs if run.result]
    if not finished:
        return "No finished cell yet"
    savings = {run.label: savings_of(run, result, runs) for run, result in finished}

    def prominence(item: tuple[Run, Result]) -> tuple[bool, float]:
        run = item[0]
        computing = savings[run.label].bit_operations
        return LAST in (run.name, run.method), computing if computing is not None else -1e9

    run, result = max(finished, key=prominence)
    line = f"{run.label}: {result.top1:.1f} % top-1"
    if run.name == BASELINE:
        return line
    saved = savings[run.label]
    if saved.energy is not None and result.energy:
        line += f", {_more_or_less(saved.energy)} energy ({result.energy.provenance})"
    elif saved.bit_operations is not None:
        line += f", {_more_or_less(saved.bit_operations)} computing (bit operations)"
    return line


def _more_or_less(percent: float) -> str:
    return f"{abs(percent):.0f} % {'less' if percent >= 0 else 'more'}"
