# SPDX-License-Identifier: Apache-2.0
"""`e2train bound`: the paper's bound on wrong signs (eq. 3) against a real training run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError


def bound(
    experiment: Annotated[Path, typer.Argument(help="Experiment file (TOML) with update psg.")],
    at: Annotated[str, typer.Option(help="Iterations to look at, such as 10,100.")] = "10,100",
    data: Annotated[Path | None, typer.Option(help="Folder that holds the data set.")] = None,
) -> None:
    """Train, and print for every layer eq. 3's bound, ours, and the signs that were wrong."""
    from ..data.load import load_data
    from ..device import open_device
    from ..training.experiment import load_experiment
    from ..training.sign_bound import findings

    chosen = load_experiment(experiment)
    if chosen.method.update != "psg":
        raise UserError(f"{experiment}: method.update = {chosen.method.update!r}: expected 'psg'")
    if chosen.slu.skip or chosen.stochastic_depth.skip:
        raise UserError(f"{experiment}: skips blocks: every layer must see every mini-batch here")
    try:
        iterations = sorted({int(part) for part in at.split(",")})
    except ValueError:
        raise UserError(f"--at {at!r}: expected iterations such as 10,100") from None
    if iterations[0] < 0 or iterations[-1] >= chosen.offered:
        raise UserError(f"--at {at}: expected iterations 0 to {chosen.offered - 1}")
    dataset = load_data(chosen.data, data)
    typer.echo("| iteration | layer | predicted | eq. 3 | per weight | observed |")
    typer.echo("|---:|---|---:|---:|---:|---:|")
    with open_device("emulator") as device:
        for found in findings(chosen, dataset, device, iterations):
            b = found.bound
            typer.echo(
                f"| {found.iteration} | {found.layer} | {b.predicted / b.weights:.1%} | "
                f"{b.bound:.2g} | {b.per_weight:.2g} | {found.failures.rate:.2%} |"
            )
