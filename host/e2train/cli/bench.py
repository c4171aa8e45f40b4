# SPDX-License-Identifier: Apache-2.0
"""`e2train bench`: what training on the emulator costs, and how fast C simulation is."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..errors import UserError

if TYPE_CHECKING:
    from ..bench.ratios import Ratio

app = typer.Typer(help="Benchmarks.", no_args_is_help=True)

NETWORKS = ("resnet-20", "resnet-74")


@app.callback()
def _group() -> None:
    """Benchmarks."""


@app.command()
def emulator(
    network: Annotated[
        list[str] | None, typer.Option(help="Network to compare (may be repeated).")
    ] = None,
    memory_network: Annotated[
        str, typer.Option(help="Network whose memory is compared; empty: none.")
    ] = "resnet-74",
    iterations: Annotated[int, typer.Option(min=1, help="Turns behind each median.")] = 5,
    batch: Annotated[int, typer.Option(min=1, help="Pictures a mini-batch.")] = 128,
    backend: Annotated[str, typer.Option(help="auto, native, torch or numpy.")] = "auto",
    compile_: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Try torch.compile, too (minutes).")
    ] = True,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Record to write (JSON).")
    ] = None,
) -> None:
    """The emulator's ratios to float32 torch and to itself, each beside its aim."""
    from ..bench.machine import this_machine
    from ..bench.page import check_place, ratios_record, write_record
    from ..bench.ratios import against_torch, memory, two_threads
    from ..device import open_device

    _need_torch()
    if out is not None:
        check_place(out)
    console = Console()
    with open_device("emulator", backend=backend, threads=1) as device:
        machine = this_machine(device.name)
        console.print(machine.sentence)
        ratios = []
        for name in network or NETWORKS:
            ratios += against_torch(name, device, machine.vnni, iterations, batch, compile_)
            if hasattr(device, "threads"):
                ratios.append(two_threads(name, backend, iterations, batch))
    if memory_network:
        ratios += memory(memory_network, backend, batch)
    _print_ratios(console, ratios, f"Batch {batch}, 32x32; medians of {iterations} turns")
    if out is not None:
        write_record(out, ratios_record(machine, batch, iterations, ratios))


@app.command()
def growth(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Record to write (JSON).")],
    axis: Annotated[
        list[str] | None,
        typer.Option(help="depth, batch, skip or threads (may be repeated); default: all."),
    ] = None,
    network: Annotated[str, typer.Option(help="Network, but for the axis depth.")] = "resnet-20",
    batch: Annotated[int, typer.Option(min=1, help="Pictures a mini-batch.")] = 128,
    iterations: Annotated[int, typer.Option(min=1, help="Iterations a point and round.")] = 3,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds over all points.")] = 3,
    backend: Annotated[str, typer.Option(help="auto, native, torch or numpy.")] = "auto",
) -> None:
    """Time and memory of an iteration against depth, batch, skip ratio and threads."""
    from ..bench.child import Job
    from ..bench.growth import AXES, exponents, measure
    from ..bench.machine import this_machine
    from ..bench.page import check_place, growth_record, write_record
    from ..device import open_device

    for name in axis or ():
        if name not in AXES:
            raise UserError(f"unknown axis {name!r}: expected one of {', '.join(AXES)}")
    check_place(out)
    with open_device("emulator", backend=backend, threads=1) as device:
        machine = this_machine(device.name)
    chosen = {name: values for name, values in AXES.items() if name in (axis or AXES)}
    base = Job(network, batch, iterations, backend=backend)
    points = measure(chosen, base, rounds)
    write_record(out, growth_record(machine, network, batch, points))
    for name, fits in exponents(points).items():
        typer.echo(f"{name}: exponent of time {fits['time']}, of memory {fits['memory']}")


@app.command()
def page(
    folder: Annotated[Path, typer.Argument(help="Folder with ratios.json and growth.json.")],
) -> None:
    """Write the page and the figure of the two records."""
    from ..bench.page import write

    for file in write(folder):
        typer.echo(file)


@app.command()
def host(
    network: Annotated[str, typer.Argument(help="Network.")] = "resnet-20",
    batch: Annotated[int, typer.Option(min=1, max=1024, help="Pictures a mini-batch.")] = 128,
    turns: Annotated[int, typer.Option(min=1, help="Iterations of each process.")] = 15,
    rounds: Annotated[int, typer.Option(min=1, help="Processes each, in turn.")] = 3,
    before: Annotated[
        Path | None,
        typer.Option(metavar="CHECKOUT", help="Another checkout, to compare with."),
    ] = None,
) -> None:
    """Processor time of a PSG iteration without the device's operations: what the board's Arm does.

    The device's answers are played back; all else is at work. With --before the same is measured
    of another checkout of this project, the two taking turns.
    """
    from ..processor import processor
    from ..training.host_time import turns_of

    here = Path(__file__).resolve().parents[3]
    taken: dict[Path, list[float]] = {here: []} if before is None else {before: [], here: []}
    operations = 0
    for _ in range(rounds):
        for checkout, times in taken.items():
            found, operations = turns_of(checkout, network, batch, turns)
            times += found
    title = f"{network}, batch {batch}: host part of a PSG iteration ({operations} operations)"
    table = _table(title, "", ("median [ms]", "lowest", "highest"))
    for checkout, times in taken.items():
        name = f"here ({processor().name})" if checkout == here else f"before ({checkout})"
        table.add_row(name, *(f"{t:.2f}" for t in (median(times), min(times), max(times))))
    Console().print(table)
    if before is not None:
        ratio = median(taken[before]) / median(taken[here])
        typer.echo(f"{ratio:.2f} times faster (medians of {rounds * turns})")


@app.command()
def csim(
    batch: Annotated[int, typer.Option(min=1, help="Samples a pass.")] = 16,
) -> None:
    """Multiply-accumulates that C simulation of the accelerator computes a second, by pass."""
    from ..bench.csim import PASSES, speeds
    from ..device import open_device

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
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _need_torch() -> None:
    if find_spec("torch") is None:
        raise UserError("bench emulator compares with torch: pip install 'e2train[emulator]'")


def _print_ratios(console: Console, ratios: Sequence[Ratio], title: str) -> None:
    table = _table(title, "network", ("measured", "lowest", "highest", "aim", "met"))
    table.add_column("ratio")
    for ratio in ratios:
        spread = (f"{bound:.3f}" for bound in (min(ratio.turns), max(ratio.turns)))
        met = {True: "yes", False: "no", None: "too busy"}[ratio.met]
        table.add_row(ratio.network, f"{ratio.value:.3f}", *spread, str(ratio.aim), met, ratio.name)
    console.print(table)
    for ratio in ratios:
        if ratio.note:
            console.print(f"{ratio.network}, {ratio.name}: {ratio.note}")
