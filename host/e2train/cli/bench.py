# SPDX-License-Identifier: Apache-2.0
"""`e2train bench`: how fast training on the emulator is, and how fast C simulation is."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from e2train.errors import UserError

app = typer.Typer(help="Benchmarks.", no_args_is_help=True)

NETWORKS = ("resnet-8", "resnet-20", "resnet-74")
SKIP_RATIOS = (0.0, 0.2, 0.4, 0.6)


@app.callback()
def _group() -> None:
    """Benchmarks."""


@app.command()
def emulator(
    network: Annotated[
        list[str] | None, typer.Option(help="Network to compare (may be repeated).")
    ] = None,
    skip_network: Annotated[
        str, typer.Option(help="Network that skips blocks; empty: none.")
    ] = "resnet-20",
    iterations: Annotated[int, typer.Option(min=1, help="Iterations behind each median.")] = 5,
    batch: Annotated[int, typer.Option(min=1, help="Pictures a mini-batch.")] = 128,
    backend: Annotated[str, typer.Option(help="auto, native, torch or numpy.")] = "auto",
) -> None:
    """CPU seconds an iteration (one thread): PSG on the emulator, and float32 torch, in turns."""
    from e2train.bench.emulator import compare, skipping
    from e2train.device import open_device

    if find_spec("torch") is None:
        raise UserError("bench emulator compares with torch: pip install 'e2train[emulator]'")
    import torch

    console = Console()
    with open_device("emulator", backend=backend, threads=1) as device:
        console.print(
            f"PSG on {device.name}, and float32 torch {torch.__version__}, in turns: CPU seconds "
            f"an iteration, one thread, median of {iterations}; batch {batch}, 32x32."
        )
        table = _table(
            "PSG training against float32 torch",
            "network",
            ("emulator [s]", "float32 [s]", "ratio"),
        )
        for name in network or NETWORKS:
            found = compare(name, device, iterations, batch)
            table.add_row(
                name, f"{found.emulator:.3f}", f"{found.float32:.3f}", f"{found.ratio:.2f}"
            )
        console.print(table)
        if skip_network:
            found_skips = skipping(skip_network, device, SKIP_RATIOS, iterations, batch)
            table = _table(
                f"{skip_network} with SLU's gates, decisions forced to a skip ratio",
                "skip ratio",
                ("emulator [s]", "of no skipping"),
            )
            for skip in found_skips:
                share = skip.seconds / found_skips[0].seconds
                table.add_row(f"{skip.ratio:.0%}", f"{skip.seconds:.3f}", f"{share:.0%}")
            console.print(table)


@app.command()
def csim(
    batch: Annotated[int, typer.Option(min=1, help="Samples a pass.")] = 16,
) -> None:
    """Multiply-accumulates that C simulation of the accelerator computes a second, by pass."""
    from e2train.bench.csim import PASSES, speeds
    from e2train.device import open_device

    with open_device("csim") as device:
        table = _table(
            f"{device.name}: MMAC/s of processor time, batch {batch} (PSG: MACs of the full pass)",
            "layer",
            PASSES,
        )
        rows: dict[str, list[str]] = {}
        for speed in speeds(device, batch):
            rows.setdefault(speed.layer, []).append(f"{speed.macs_per_second / 1e6:.1f}")
    for layer, values in rows.items():
        table.add_row(layer, *values)
    Console().print(table)


def _table(title: str, first: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title)
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table
