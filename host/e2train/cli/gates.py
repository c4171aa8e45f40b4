# SPDX-License-Identifier: Apache-2.0
"""`e2train gates`: what skipping each block truly costs, beside what its gate is told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError


def gates(
    run: Annotated[Path, typer.Argument(help="Folder of a run with SLU (slu.skip above 0).")],
    batches: Annotated[int, typer.Option(help="Mini-batches to measure on, 2 or more.")] = 10,
    data: Annotated[Path | None, typer.Option(help="Folder that holds the data set.")] = None,
) -> None:
    """Print, for every gated block, the true change of the loss by running it and the estimate."""
    from ..data.batches import batch_indices
    from ..data.load import load_data
    from ..device import open_device
    from ..methods.slu import SluGates
    from ..training.experiment import load_experiment
    from ..training.gate_worth import trained, worths

    if batches < 2:
        raise UserError(f"--batches {batches}: expected 2 or more, to tell how sure the means are")
    chosen = load_experiment(run / "experiment.toml")
    size = chosen.train.batch
    dataset = load_data(chosen.data, data)
    with open_device("emulator") as device:
        network = trained(chosen, dataset, run, device)
        assert isinstance(network.policy, SluGates)
        rows = []
        for number in range(batches):
            indices = batch_indices(len(dataset.train_labels), size, number, chosen.train.seed)
            rows.append((dataset.train_images[indices], dataset.train_labels[indices]))
        typer.echo("| block | probability | true change | estimate | behind it | before it |")
        typer.echo("|---|---:|---:|---:|---:|---:|")
        for one in worths(network, network.policy, rows):
            typer.echo(
                f"| {one.block} | {one.probability:.3f} | {one.change:+.4f} ± "
                f"{one.change_error:.4f} | {one.estimate:+.4f} ± {one.estimate_error:.4f} | "
                f"{one.behind:+.4f} | {one.before:+.4f} |"
            )
