# SPDX-License-Identifier: Apache-2.0
"""`e2train cost`: what training a network costs, from its shape alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from e2train.cost.accelerator.summary import SCHEMES, Question, hardware_summary
from e2train.cost.accelerator.tables import hardware_tables
from e2train.cost.board import HYPOTHETICAL
from e2train.cost.energy import EnergyModel
from e2train.cost.summary import summary
from e2train.cost.tables import cost_tables
from e2train.cost.text_table import TextTable
from e2train.data.shapes import picture_shape
from e2train.errors import UserError
from e2train.network.models import network_spec

PIPED_WIDTH = 160


def cost_command(
    network: Annotated[str, typer.Argument(help="resnet-8/20/38/74/110 or mobilenet-v2.")],
    data: Annotated[str, typer.Option(help="cifar10, cifar100 or digits.")] = "cifar10",
    batch: Annotated[int, typer.Option(min=1, help="Pictures a mini-batch.")] = 128,
    predicted: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of signs that PSG predicts.")
    ] = 0.6,
    costs: Annotated[
        Path | None, typer.Option(help="Another cost table (TOML) than the package's.")
    ] = None,
    hardware: Annotated[
        bool, typer.Option("--hardware", help="Cycles, area and energy on the accelerator.")
    ] = False,
    method: Annotated[
        str, typer.Option(help="With --hardware: psg, psg-narrow, signsgd or fixed8.")
    ] = "psg",
    layers: Annotated[
        bool, typer.Option("--layers", help="With --hardware: a line a convolution.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count what training a network costs: operations, bytes and modelled energy. Runs nothing."""
    shape, classes = picture_shape(data)
    spec = network_spec(network, shape, classes)
    model = EnergyModel.load(costs)
    if hardware:
        _check_method(method)
        found = _modelled(Question(spec, data, batch, method, predicted), model)
    else:
        found = summary(spec, data, batch, predicted, model)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_WIDTH)
    tables = hardware_tables(found, layers) if hardware else cost_tables(found)
    console.print(*map(_rich, tables))
    console.print(_hardware_notes(found) if hardware else _notes(found))


def _check_method(method: str) -> None:
    if method not in SCHEMES:
        raise UserError(f"method: {method!r} given, --hardware knows {', '.join(SCHEMES)}")


def _modelled(question: Question, model: EnergyModel) -> dict[str, Any]:
    try:
        return hardware_summary(question, model)
    except ValueError as error:  # a layer that fits no tile, a batch beyond the limit
        raise UserError(str(error)) from error


def _rich(table: TextTable) -> Table:
    first, *others = table.columns
    shown = Table(title=table.title)
    shown.add_column(first)
    for column in others:
        shown.add_column(column, justify="right")
    for row in table.rows:
        shown.add_row(*row)
    return shown


def _notes(found: dict[str, Any]) -> str:
    return (
        f"{found['forward_macs']:,} MACs forward a picture, {found['weights']:,} weights; "
        f"{found['skippable_share']:.2%} of the MACs can be skipped, gates add "
        f"{found['gate_overhead']:.3%}. Batch {found['batch']}, predictor share "
        f"{found['predictor_share']:g}, SMD keeps {found['smd_kept']}, e2train-20 skips 20 % of "
        f"the blocks. Board time of sgd-fp32 and smd is {HYPOTHETICAL}. "
        "Nothing was measured: docs/cost.md explains every figure."
    )


def _hardware_notes(found: dict[str, Any]) -> str:
    peaks = found["peak_gmacs"]
    return (
        f"Peak {peaks['predictor']:.1f} GMAC/s predictor, {peaks['packed']:.1f} packed, "
        f"{peaks['plain']:.1f} plain; bandwidth of the four ports "
        f"{found['bandwidth_mb_per_s']:,} MB/s. "
        "Nothing was measured: docs/hardware.md states the assumptions."
    )
