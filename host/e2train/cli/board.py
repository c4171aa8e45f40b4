# SPDX-License-Identifier: Apache-2.0
"""`e2train board`: the boards, and what fits into their memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from e2train.board.advice import Advice

app = typer.Typer(help="Boards: list them, plan their memory.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="zedboard, pynq-z1 or pynq-z2.")]
PIPED_WIDTH = 160


def console() -> Console:
    """A console that is wide where it is none, so that no cell is cut in a file or a pipe."""
    found = Console()
    return found if found.is_terminal else Console(width=PIPED_WIDTH)


@app.callback()
def _group() -> None:
    """Boards: list them, plan their memory."""


@app.command("list")
def list_boards() -> None:
    """List the boards that a bitstream can be built for."""
    from e2train.board.boards import board_names, load_board

    table = Table(title="boards")
    for column in ("name", "board", "part", "clock", "DDR", "pool", "idle", "image"):
        table.add_column(column)
    for name in board_names():
        board = load_board(name)
        idle = board.power.idle_w
        table.add_row(
            name,
            board.title,
            board.part,
            f"{board.fabric.clock_mhz} MHz",
            f"{board.memory.ddr_mib} MiB",
            f"{board.memory.pool_mib} MiB",
            "unknown" if idle is None else f"{idle:g} W",
            board.image.summary,
        )
    console().print(table)


@app.command()
def show(name: Name) -> None:
    """Say everything that is known of one board."""
    from dataclasses import asdict

    from e2train.board.boards import load_board

    table = Table(title=name, show_header=False)
    for section, values in asdict(load_board(name)).items():
        entries = values.items() if isinstance(values, dict) else [("", values)]
        for key, value in entries:
            table.add_row(f"{section}.{key}" if key else section, _shown(key, value))
    console().print(table)


def _shown(key: str, value: object) -> str:
    if value is None:
        return "unknown"
    if key == "control_base":
        return f"0x{value:08x}"
    return "\n".join(value) if isinstance(value, tuple) else str(value)


@app.command()
def bitstream(
    file: Annotated[Path, typer.Argument(help="The .bit file, its .hwh and .json beside it.")],
) -> None:
    """Say what a bitstream was made from; exit 2 where it is not whole or not this package's."""
    from e2train.board.manifest import foreign, read_manifest
    from e2train.errors import UserError

    manifest = read_manifest(file)
    table = Table(title=str(file), show_header=False)
    for key, value in vars(manifest).items():
        if key != "checksums":
            table.add_row(key, f"0x{value:08x}" if key == "configuration_hash" else str(value))
    console().print(table)
    for difference in foreign(manifest):
        raise UserError(f"{file}: {difference}")


@app.command()
def plan(
    network: Annotated[str, typer.Argument(help="resnet-8/20/38/74/110 or mobilenet-v2.")],
    board: Annotated[str, typer.Option(help="zedboard, pynq-z1 or pynq-z2.")] = "zedboard",
    batch: Annotated[int, typer.Option(min=1, help="Pictures a mini-batch.")] = 128,
    data: Annotated[str, typer.Option(help="cifar10, cifar100 or digits.")] = "cifar10",
    method: Annotated[str, typer.Option(help="psg, signsgd or fixed8.")] = "psg",
    recompute: Annotated[
        int, typer.Option(min=0, help="Keep only every N-th block's input; 0 keeps everything.")
    ] = 0,
    tiles: Annotated[
        Path | None, typer.Option(help="Write the tile plans to this file, for a board to read.")
    ] = None,
    tensors: Annotated[bool, typer.Option("--tensors", help="A line for each buffer.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every buffer.")] = False,
) -> None:
    """Place every tensor of a training in a board's memory; exit 2 where it does not fit.

    Nothing is computed: the network's own code runs on the driver, and no kernel behind it. All
    samples run every block: gates that skip some (SLU) need copies of the others besides.
    """
    from e2train.board import plan as planning
    from e2train.board.advice import REFUSED, advise, refusal
    from e2train.board.boards import load_board
    from e2train.data.shapes import picture_shape
    from e2train.device.accelerator.tile_plans import write_tile_plans
    from e2train.errors import UserError
    from e2train.network.models import network_spec
    from e2train.training.evaluate import BATCH

    found_board = load_board(board)
    if method not in planning.METHODS:
        known = ", ".join(planning.METHODS)
        raise UserError(f"method: {method!r} given, the accelerator trains {known}")
    spec = network_spec(network, *picture_shape(data))
    question = planning.Question(spec, data, method, batch, BATCH)
    plain = planning.plan(question)
    found = planning.plan(question, every=recompute) if recompute else plain
    if tiles is not None:
        write_tile_plans(tiles, found.tiles)
    advice = advise(question, found_board, found, plain)
    if as_json:
        typer.echo(json.dumps(advice.as_dict(), indent=1))
    else:
        _print_plan(advice, tensors)
    if advice.verdict == REFUSED:
        raise UserError(refusal(advice))


def _print_plan(advice: Advice, tensors: bool) -> None:
    from e2train.board.advice import by_kind, mib, sentences

    question, found = advice.question, advice.found
    name = f"{question.spec.name}, {question.data}, batch {found.batch}, {question.method}"
    shown = Table(title=f"{name}: in memory at the peak")
    for column in ("kind", "what"):
        shown.add_column(column)
    for column in ("buffers", "size"):
        shown.add_column(column, justify="right")
    for kind, meaning, number, size in by_kind(found):
        shown.add_row(kind, meaning, f"{number:,}", mib(size))
    out = console()
    if tensors:
        out.print(_buffer_table(advice))
    out.print(shown)
    for line in sentences(advice):
        typer.echo(line)


def _buffer_table(advice: Advice) -> Table:
    table = Table(title="buffers of the first iteration, by launch")
    for column in ("layer", "what", "address", "bytes", "from launch", "to launch"):
        table.add_column(column, justify="left" if column in ("layer", "what") else "right")
    for one in advice.found.buffers:
        last = "end" if one.last is None else str(one.last)
        table.add_row(
            one.layer, one.kind, f"0x{one.address:08x}", f"{one.size:,}", str(one.first), last
        )
    return table
