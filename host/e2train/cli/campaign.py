# SPDX-License-Identifier: Apache-2.0
"""`e2train campaign`: run a table of cells, see where it stands, report and export it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UserError

if TYPE_CHECKING:
    from ..campaign.cell import Job
    from ..campaign.link.address import Board
    from ..campaign.plan import Campaign
    from ..campaign.pools import Pool
    from ..campaign.store import Store

app = typer.Typer(
    help="Campaigns: many cells (method x network x data x seeds), kept whatever happens.",
    no_args_is_help=True,
)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE.toml", help="Campaign file.")]
WhereArgument = Annotated[
    Path, typer.Argument(metavar="CAMPAIGN", help="Campaign folder, or its file if in runs/NAME.")
]
MOST_ROWS = 24


@app.command()
def run(
    file: FileArgument,
    out: Annotated[Path | None, typer.Option(help="Campaign folder [runs/NAME].")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Local processes.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="Dask scheduler in place of local processes, tcp://HOST:PORT")
    ] = None,
    meter: Annotated[
        str | None,
        typer.Option(
            help="simulated, none, or DRIVER:PORT[,NAME=VALUE...] [as begun with, else the file's "
            "`meter`, else simulated]"
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Where the integers are computed.")] = "emulator",
    data: Annotated[Path | None, typer.Option(help="Folder that holds the data sets.")] = None,
    lease: Annotated[
        float, typer.Option(min=1.0, help="Seconds after which a silent worker loses its cell.")
    ] = 30.0,
    board: Annotated[
        str | None,
        typer.Option(
            metavar="USER@HOST[:PORT]",
            help="Train there over SSH; the meter is read here. --device and --data are then "
            "the board's.",
        ),
    ] = None,
    board_program: Annotated[
        str, typer.Option(help="The command e2train on the board, where it is not in the PATH.")
    ] = "e2train",
    board_folder: Annotated[
        str | None, typer.Option(help="Folder on the board [e2train-campaigns/NAME-ID].")
    ] = None,
    password: Annotated[
        bool, typer.Option("--password", help="Ask for the password of the board's user.")
    ] = False,
    overlay: Annotated[
        str | None, typer.Option(help="Overlay file on the board, for --device zynq.")
    ] = None,
    quiet: Annotated[bool, typer.Option(help="No progress on the terminal.")] = False,
) -> None:
    """Run the campaign, or what is left of it: the same command goes on after any interruption."""
    from ..campaign.live import write_live_page
    from ..campaign.plan import load_campaign
    from ..campaign.run import Coordinator, verdict
    from ..campaign.status import snapshot
    from ..campaign.store import WORK_S, Store

    campaign = load_campaign(file)
    folder = Path(out if out is not None else Path("runs") / campaign.name).resolve()
    real = _check_meter(meter or campaign.meter, "--meter" if meter else f"{file}: meter")
    if real and scheduler is None and workers > 1:
        raise UserError(f"--workers {workers}: one meter measures one cell at a time")
    link = _LinkOptions(board, board_program, board_folder, password, device, data, overlay)
    link.check(workers, scheduler)
    store = Store.create(folder)
    meter = meter or store.get("meter") or campaign.meter
    real = _check_meter(meter, "--meter")
    if scheduler is None:  # a cluster's workers have disks and ports of their own
        if board is None:
            _check_data(campaign, data)
        _check_port(meter, real)
    store.enter(campaign, meter)
    there = link.opened(store, campaign.name, real)
    try:
        with ExitStack() as stack:
            store = Store(folder, WORK_S, lambda line: say(line))
            tick, say = _display(stack, store, folder, quiet)
            pool = _pool(scheduler, workers, real)
            job = _job(campaign, folder, device, meter, data, lease, there)
            Coordinator(store, pool, job, say, tick).run()
    finally:
        with suppress(UserError):  # of a file that cannot be read, what came before says more
            write_live_page(folder, snapshot(Store(folder)), over=True)
    typer.echo(f"{campaign.name}: {verdict(store, folder)}")


@app.command(hidden=True)
def clock() -> None:
    """Answer each line with this machine's clock: what `run --board` compares its own with."""
    import sys

    from ..runs.events import boot_id, raw_clock_s

    print(boot_id(), flush=True)
    for _ in sys.stdin:
        print(repr(raw_clock_s()), flush=True)


@app.command()
def pause(where: WhereArgument) -> None:
    """Ask a running campaign to stop: cells stop after their iteration, `run` goes on later."""
    store = _store(where)
    store.set("paused", 1)
    typer.echo(f"{where}: asked to pause")


@app.command()
def status(
    where: WhereArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Where the campaign stands, cell by cell."""
    from rich.console import Console

    from ..campaign.status import snapshot, status_table

    seen = snapshot(_store(where))
    if as_json:
        typer.echo(json.dumps(seen.as_dict()))
    else:
        Console().print(status_table(seen))


@app.command()
def report(
    where: WhereArgument,
    out: Annotated[Path | None, typer.Option(help="Where it goes [the campaign folder].")] = None,
) -> None:
    """Write report.html, figures/ and summary.json from what has finished so far."""
    from ..campaign.report import write_report

    store = _store(where)
    written = write_report(store, out if out is not None else store.path.parent)
    typer.echo(written.headline)
    typer.echo(f"{written.page}, {len(written.figures)} figures, {written.summary}")


@app.command()
def export(
    where: WhereArgument,
    out: Annotated[Path | None, typer.Option(help="Where it goes [the campaign folder].")] = None,
) -> None:
    """Write cells.csv (one row a cell) and points.csv (its curve)."""
    from ..campaign.statistics import export as write

    store = _store(where)
    cells, points = write(store, out if out is not None else store.path.parent)
    typer.echo(f"{cells}, {points}")


@dataclass(frozen=True)
class _LinkOptions:
    """The options of `run` that tell of a board."""

    board: str | None
    program: str
    folder: str | None
    password: bool
    device: str
    data: Path | None
    overlay: str | None

    def check(self, workers: int, scheduler: str | None) -> None:
        """Raise UserError for options that do not go together."""
        if self.board is None:
            for option, given in (
                ("--board-folder", self.folder is not None),
                ("--password", self.password),
                ("--overlay", self.overlay is not None),
            ):
                if given:
                    raise UserError(f"{option}: goes with --board USER@HOST")
        elif scheduler is not None:
            raise UserError("--board and --scheduler do not go together: one board, one computer")
        elif workers > 1:
            raise UserError(f"--workers {workers}: one board trains one cell at a time")

    def opened(self, store: Store, name: str, metered: bool) -> Board | None:
        """The board, once it has answered; None where cells train here. Raises UserError."""
        from ..campaign.link.address import Board, parse_address
        from ..campaign.link.check import board_folder, check_board, keep_to

        keep_to(store, self.board is not None)
        if self.board is None:
            return None
        address = parse_address(self.board)
        word = None
        if self.password:
            word = typer.prompt(f"Password of {address}", hide_input=True, err=True)
        folder = self.folder or board_folder(store, name)
        found = Board(
            address=address,
            program=self.program,
            folder=folder.removeprefix("~/").rstrip("/") or ".",
            device=self.device,
            data=None if self.data is None else str(self.data),
            overlay=self.overlay,
            password=word,
        )
        typer.echo(check_board(found, metered))
        return found


def _store(where: Path) -> Store:
    """The store of a campaign folder, or of the folder that a campaign file has by default."""
    from ..campaign.plan import load_campaign
    from ..campaign.store import Store

    if where.is_file():
        return Store.open(Path("runs") / load_campaign(where).name)
    return Store.open(where)


def _check_meter(meter: str, source: str) -> bool:
    """Whether it is a real meter. Raises UserError that begins with `source` for what is none."""
    from powermeter import MeterError

    from ..training.metering import check_meter

    try:
        return check_meter(meter)
    except MeterError as error:
        raise UserError(f"{source}: {error}") from None


def _check_data(campaign: Campaign, data: Path | None) -> None:
    """Find missing data before hours of other cells."""
    from ..data.load import load_data

    for settings in dict.fromkeys(cell.experiment.data for cell in campaign.cells):
        load_data(settings, data)


def _check_port(meter: str, real: bool) -> None:
    """Find out before the first cell whether the meter answers; raises MeterError."""
    from powermeter import open_session

    if real:
        with tempfile.TemporaryDirectory() as folder, open_session(meter, Path(folder)):
            pass


def _pool(scheduler: str | None, workers: int, metered: bool) -> Pool:
    from ..campaign.pools import DaskPool, LocalPool

    return LocalPool(workers) if scheduler is None else DaskPool(scheduler, metered)


def _job(
    campaign: Campaign,
    folder: Path,
    device: str,
    meter: str,
    data: Path | None,
    lease_s: float,
    board: Board | None,
) -> Job:
    """What every worker is told; the coordinator fills in the cell."""
    from ..campaign.cell import Job

    return Job(
        folder=str(folder),
        cell="",
        device=device,
        meter=meter,
        data=None if data is None or board is not None else str(data.resolve()),
        idle_s=campaign.idle_s,
        settle_s=campaign.settle_s,
        interrupted=campaign.interrupted,
        lease_s=lease_s,
        board=board,
    )


def _display(
    stack: ExitStack, store: Store, folder: Path, quiet: bool
) -> tuple[Callable[[], None], Callable[[str], None]]:
    """A tick that renews live page and terminal, and how to say a line there."""
    import time

    from rich.console import Console
    from rich.live import Live

    from ..campaign.live import REFRESH_S, write_live_page
    from ..campaign.status import snapshot, status_table

    console = Console(quiet=quiet)
    table = None
    if console.is_terminal and not quiet:
        table = stack.enter_context(Live(console=console, auto_refresh=False))
    due = 0.0

    def tick() -> None:
        nonlocal due
        if time.monotonic() < due:
            return
        due = time.monotonic() + REFRESH_S
        seen = snapshot(store)
        write_live_page(folder, seen)
        if table is not None:
            table.update(status_table(seen, MOST_ROWS), refresh=True)

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    return tick, say
