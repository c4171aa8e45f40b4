# SPDX-License-Identifier: Apache-2.0
"""`e2train cost`: what training a network costs, from its shape alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from e2train.cli.cost_hardware import print_hardware
from e2train.cost.accelerator.summary import METHODS, Question, hardware_summary
from e2train.cost.accelerator.work import Setting
from e2train.cost.energy import EnergyModel
from e2train.cost.summary import summary
from e2train.data.cifar import LAYOUTS, SHAPE
from e2train.data.digits import load_digits
from e2train.errors import UserError
from e2train.network.models import network_spec

PIPED_WIDTH = 160
PASS_COLUMNS = ("forward", "backward_input", "predictor", "backward_weight", "gate")


def pictures(data: str) -> tuple[tuple[int, int, int], int]:
    """Shape (C, H, W) and number of classes of a data set, without its files."""
    if data in LAYOUTS:
        return SHAPE, LAYOUTS[data].classes
    if data == "digits":
        digits = load_digits()
        c, h, w = digits.train_images.shape[1:]
        return (c, h, w), digits.classes
    raise UserError(f"unknown data set {data!r}: expected digits, {', '.join(LAYOUTS)}")


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
    method: Annotated[str, typer.Option(help="With --hardware: psg or signsgd.")] = "psg",
    layers: Annotated[
        bool, typer.Option("--layers", help="With --hardware: a line a convolution.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count what training a network costs: operations, bytes and modelled energy. Runs nothing."""
    shape, classes = pictures(data)
    spec = network_spec(network, shape, classes)
    model = EnergyModel.load(costs)
    if hardware:
        found = _modelled(Question(spec, data, _setting(batch, method, predicted)), model)
    else:
        found = summary(spec, data, batch, predicted, model)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_WIDTH)
    if hardware:
        print_hardware(console, found, layers)
    else:
        _print_counts(console, found, batch, predicted)


def _setting(batch: int, method: str, predicted: float) -> Setting:
    if method not in METHODS:
        raise UserError(f"method: {method!r} given, --hardware knows {', '.join(METHODS)}")
    return Setting(batch, method, predicted)


def _modelled(question: Question, model: EnergyModel) -> dict[str, Any]:
    try:
        return hardware_summary(question, model)
    except ValueError as error:  # a layer that fits no tile, a batch beyond the limit
        raise UserError(str(error)) from error


def _print_counts(console: Console, found: dict[str, Any], batch: int, predicted: float) -> None:
    console.print(_layer_table(found), _pass_table(found), _method_table(found))
    console.print(
        f"{found['forward_macs']:,} MACs forward a picture, {found['weights']:,} weights; "
        f"{found['skippable_share']:.2%} of the MACs can be skipped, gates add "
        f"{found['gate_overhead']:.3%}. Batch {batch}, predictor share {predicted:g}, SMD keeps "
        f"{found['smd_kept']}, e2train-20 skips 20 % of the blocks. "
        "Nothing was measured: docs/cost.md explains every figure."
    )


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title)
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _layer_table(found: dict[str, Any]) -> Table:
    table = _table(
        f"{found['network']}, {found['data']}: layers",
        "layer",
        "input",
        "output",
        "kernel",
        "MACs a picture",
        "share",
        "weights",
        "DRAM a forward pass [MB]",
        "skippable",
        "gate MACs",
    )
    for layer in found["layers"]:
        r, s = layer["kernel"]
        stride = f" /{layer['stride']}" if layer["stride"] > 1 else ""
        table.add_row(
            layer["name"],
            "x".join(map(str, layer["input"])),
            "x".join(map(str, layer["output"])),
            f"{r}x{s}{stride}" + (" dw" if layer["groups"] > 1 else ""),
            f"{layer['macs']:,}",
            f"{layer['macs'] / found['forward_macs']:.2%}",
            f"{layer['weights']:,}",
            f"{layer['forward_dram_bytes'] / 1e6:.2f}",
            "yes" if layer["skippable"] else "no",
            f"{layer['gate_macs']:,}" if layer["gate_macs"] else "",
        )
    return table


def _pass_table(found: dict[str, Any]) -> Table:
    columns = [name.replace("_", " ") for name in PASS_COLUMNS]
    table = _table("MACs by pass and operand widths, millions an iteration", "method", *columns)
    for method in found["methods"]:
        cells = []
        for name in PASS_COLUMNS:
            widths = method["macs_by_pass"].get(name, {})
            parts = (f"{n / found['iterations'] / 1e6:,.1f} ({w})" for w, n in widths.items())
            cells.append(" + ".join(parts))
        table.add_row(method["name"], *cells)
    return table


def _method_table(found: dict[str, Any]) -> Table:
    table = _table(
        "Per iteration of the baseline, and savings against sgd-fp32",
        "method",
        "MACs [G]",
        "MAC saving [%]",
        "computational saving [%]",
        "DRAM [MB]",
        "energy, modelled [J]",
        "saving, modelled [%]",
        "board [s]",
        "board, modelled [J]",
        "saving, modelled [%]",
    )
    times = found["iterations"]
    for method in found["methods"]:
        energy, board = method["energy"], method["board"]
        table.add_row(
            method["name"],
            f"{method['macs'] / times / 1e9:.2f}",
            f"{method['mac_saving']:.2f}",
            f"{method['computational_saving']:.2f}",
            f"{method['dram_bytes'] / times / 1e6:.0f}",
            f"{energy['total_j'] / times:.3f}",
            f"{method['energy_saving']:.2f}",
            f"{board['seconds'] / times:.2f}",
            f"{board['joules'] / times:.2f}",
            f"{board['saving']:.2f}",
        )
    return table
