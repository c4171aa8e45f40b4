# SPDX-License-Identifier: Apache-2.0
"""`e2train divergence`: where the integer arithmetic parts from float32, unit by unit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UserError

if TYPE_CHECKING:
    from ..training.divergence import UnitFinding

HEADER = (
    "| unit | output | input gradient | weight gradient | input gradient, cosine "
    "| weight gradient, cosine | gamma's gradient | beta's gradient |",
    "|---|---:|---:|---:|---:|---:|---:|---:|",
)


def divergence(
    experiment: Annotated[Path, typer.Argument(help="Experiment file (TOML), arithmetic fixed.")],
    after: Annotated[int, typer.Option(help="Iterations to train before the comparison.")] = 50,
    data: Annotated[Path | None, typer.Option(help="Folder that holds the data set.")] = None,
) -> None:
    """Train, then compare one mini-batch's tensors with those of float32, unit by unit.

    The first three columns are relative errors that a unit adds by itself (float32 on the same
    operands). The others show what adds up from the loss down to the unit: the angle to float32's
    gradients, and the errors in gamma's and beta's, relative to the length of both together (the
    gradient of some betas is all but zero: beside itself alone any error would be boundless).
    """
    from ..data.load import load_data
    from ..device import open_device
    from ..training.divergence import findings
    from ..training.experiment import load_experiment

    chosen = load_experiment(experiment)
    if chosen.method.arithmetic != "fixed":
        kind = chosen.method.arithmetic
        raise UserError(f"{experiment}: method.arithmetic = {kind!r}: expected 'fixed'")
    if chosen.slu.skip or chosen.stochastic_depth.skip:
        raise UserError(f"{experiment}: skips blocks: every unit must see every picture here")
    if not 0 <= after < chosen.offered:
        raise UserError(f"--after {after}: expected iterations 0 to {chosen.offered - 1}")
    dataset = load_data(chosen.data, data)
    with open_device("emulator") as device:
        found = findings(chosen, dataset, device, after)
    typer.echo("\n".join((*HEADER, *map(_row, found))))


def _row(found: UnitFinding) -> str:
    errors = [
        f"{found.alone[kind].error:.3f}" if kind in found.alone else "-"
        for kind in ("output", "input", "weight")
    ]
    cosines = [
        f"{found.in_a_row[kind].cosine:.3f}" if kind in found.in_a_row else "-"
        for kind in ("input", "weight")
    ]
    affine = [f"{error:.3f}" for error in found.affine_errors]
    return f"| {found.unit} | " + " | ".join(errors + cosines + affine) + " |"
