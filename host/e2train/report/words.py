# SPDX-License-Identifier: Apache-2.0
"""What the report says in words: definitions, notes on the runs, versions."""

from __future__ import annotations

import platform

import numpy as np

import e2train
from e2train.report.baselines import FIXED8, FLOAT32
from e2train.report.render import load_matplotlib
from e2train.report.summary import hypothetical_words, last_energy, provenances_of, trained_by
from e2train.runs.load import Run

PROVENANCE_MEANING = {
    "metered": "Joules of an external instrument at the supply of the machine that trained.",
    "on-chip": "Joules of a counter inside the machine that trained, such as RAPL.",
    "modelled": (
        "Operations and bytes moved, as the engine counted them, times published costs of each. "
        "Nothing was measured."
    ),
    "simulated": (
        "Joules of a simulated meter. Its power follows the energy model and its samples pass, "
        "byte by byte, through the serial line, driver, recorder and integrator that a real meter "
        "would use. This tests the measuring procedure. No instrument was attached, so the joules "
        "say what the model says of a board and nothing more."
    ),
}


def method_of_measurement(runs: list[Run]) -> list[tuple[str, str]]:
    """Terms and their definitions: every column, the baselines, every provenance."""
    terms = [
        (
            "Top-1 and top-5 accuracy",
            "Percent of all test samples, evaluated at the end of the training. Methods that "
            "average weights (SWA) are evaluated with the averaged weights, all others with the "
            "last.",
        ),
        ("Baseline", _baseline(runs)),
        (
            f"Saving against {FIXED8.key} (energy_saving_fixed8)",
            "The same ratio of energies against 8-bit fixed-point training without any of the "
            "paper's methods. Both sides run on the same accelerator, so this saving is the "
            "methods' own.",
        ),
        (
            "MAC saving (mac_saving)",
            "100 · (1 - MACs / MACs of the baseline). Multiply-accumulates are counted by the "
            "engine as it runs, forward and backward, predictors and gates included; a dropped "
            "mini-batch or a skipped block adds nothing.",
        ),
        (
            "Computational saving (computational_saving)",
            "100 · (1 - bit operations / bit operations of the baseline), where a bit operation "
            "count is MACs times the widths of both operands: 32 × 32 for the baseline, 8 × 8 in "
            "an 8-bit forward pass, 4 × 10 in the sign predictor.",
        ),
        (
            "Energy and energy saving (energy_joules, energy_saving)",
            "Joules of the whole training, from the meter's samples inside the training window, "
            "with their expanded uncertainty (k = 2); the saving is 100 · (1 - energy / energy of "
            "the baseline), only between joules of one provenance. A gap in the meter's log leaves "
            "the energy empty.",
        ),
        (
            "Skip ratio and predictor share (skip_ratio, predictor_share)",
            "Percent of block executions left out, by sample, over the iterations that ran; and "
            "percent of weight-gradient signs decided by the low-precision predictor.",
        ),
        ("Time", "Seconds on the machine that ran the training, not on a board."),
    ]
    found = provenances_of(last_energy(run) for run in runs)
    for provenance in dict.fromkeys([*found, "modelled"]):
        cells = [
            run.label for run in runs if (e := last_energy(run)) and e.provenance == provenance
        ]
        listed = f" Energy of: {', '.join(cells)}." if cells else ""
        terms.append((f"Provenance: {provenance}", PROVENANCE_MEANING[provenance] + listed))
    return terms


def _baseline(runs: list[Run]) -> str:
    text = "Every saving is against standard mini-batch SGD in 32-bit arithmetic"
    names = [run.label for run in runs if run.result and trained_by(run, FLOAT32)]
    if names:
        return (
            f"{text}: the cell {' or '.join(names)} of this report (of the same seed, where there "
            "are several). It is recognised by its settings, not by its name."
        )
    return (
        f"{text}. No finished cell of this report trains so. MACs and bit operations are therefore "
        "compared with what it would count for as many iterations as were offered, and there is "
        "no energy saving."
    )


def notes(runs: list[Run]) -> list[str]:
    """What a reader must know before the figures, one line each."""
    lines = []
    energies = [last_energy(run) for run in runs]
    if "simulated" in provenances_of(energies):
        lines.append(
            "Simulated energy comes from a simulated meter driven by an energy model: it is no "
            "measurement of hardware."
        )
    if words := hypothetical_words(runs):
        lines.append(f"{words} What one would take is modelled.")
    if len(provenances_of(energies)) > 1:
        lines.append(
            "The cells differ in where their energy comes from "
            f"({', '.join(provenances_of(energies))}); joules of different provenance are not "
            "compared."
        )
    for run in runs:
        if not run.result:
            lines.append(f"{run.label}: {run.state}; its numbers are those so far.")
        if run.torn:
            lines.append(
                f"{run.label}: the last line of events.jsonl is incomplete (the run was "
                "interrupted) and was left out."
            )
        if run.result and run.result.energy is None:
            lines.append(f"{run.label}: no energy (no meter, or a gap in its log).")
        lines += _miscounted(run)
    return lines


def _miscounted(run: Run) -> list[str]:
    """Totals that do not equal the sum of their parts are shown, not mended."""
    if not run.result or not run.result.macs_by_pass:
        return []
    parts = [item for column in run.result.macs_by_pass.values() for item in column.items()]
    macs = sum(count for _, count in parts)
    bits = sum(count * width[0] * width[1] for width, count in parts)
    found = ((macs, run.result.macs, "MACs"), (bits, run.result.bit_operations, "bit operations"))
    return [
        f"{run.label}: its {name} by pass sum to {parts_sum:,}, its total is {total:,}."
        for parts_sum, total, name in found
        if parts_sum != total
    ]


def versions() -> str:
    """Software that made this report."""
    matplotlib = load_matplotlib()
    return (
        f"Report by e2train {e2train.__version__} with Python {platform.python_version()}, "
        f"NumPy {np.__version__} and matplotlib {matplotlib.__version__}. Run folders and "
        "summary: schema 1."
    )
