# SPDX-License-Identifier: Apache-2.0
"""`e2train board`: the boards, and what fits into their memory."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

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
    for column in ("name", "board", "part", "clock", "DDR", "pool", "idle", "PYNQ image"):
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
            f"{board.image.pynq}, {board.image.source.partition(':')[0].partition(',')[0]}",
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
