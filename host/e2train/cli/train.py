# SPDX-License-Identifier: Apache-2.0
"""`e2train train`: run experiments, with progress, a meter and a checkpoint to go on from."""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UserError
from ..files import write_text

if TYPE_CHECKING:
    from ..training.experiment import Experiment

LEAST_FREE_BYTES = 64 << 20
SETTINGS = "experiment.toml"
CUDA = "cuda"


@dataclass(frozen=True)
class _Options:
    """What applies to each of the experiments.

    deadline: on the monotonic clock; stop: set once all are to break off.
    """

    device: str
    backend: str
    overlay: Path | None
    tiles: Path | None
    meter: str
    data: Path | None
    resume: bool
    quiet: bool
    deadline: float
    stop: Event


def train(
    experiments: Annotated[
        list[Path], typer.Argument(help="Experiment files (TOML).", show_default=False)
    ],
    device: Annotated[str, typer.Option(help="Where the integers are computed.")] = "emulator",
    backend: Annotated[
        str,
        typer.Option(
            help="The emulator's: auto, native, numpy, torch, or cuda, which runs whole iterations "
            "on a GPU, float32's too, and several experiments at once."
        ),
    ] = "auto",
    overlay: Annotated[
        Path | None, typer.Option(help="Of device zynq: the .bit file, its .hwh beside it.")
    ] = None,
    tiles: Annotated[
        Path | None,
        typer.Option(help="Tile plans for csim or a board: `e2train board plan ... --tiles FILE`."),
    ] = None,
    meter: Annotated[
        str,
        typer.Option(
            help="simulated, none, or DRIVER:PORT[,NAME=VALUE...] such as "
            "ina226-serial:/dev/ttyUSB0 or pzem-004t:/dev/ttyUSB0,address=2"
        ),
    ] = "simulated",
    data: Annotated[Path | None, typer.Option(help="Folder that holds the data set.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Run folder [runs/NAME]; of several experiments, the folder of theirs."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the run folder's checkpoint.")] = False,
    seed: Annotated[int | None, typer.Option(help="In place of train.seed.")] = None,
    seconds: Annotated[
        float, typer.Option(help="Write a checkpoint and stop after so long.", show_default=False)
    ] = math.inf,
    quiet: Annotated[bool, typer.Option(help="No progress bar.")] = False,
) -> None:
    """Train experiments, one after the other, and write the record of each to its run folder."""
    from ..training.metering import check_meter

    check_meter(meter)
    chosen = [_chosen(path, seed) for path in experiments]
    folders = _folders(chosen, out)
    deadline = time.monotonic() + seconds
    several = len(chosen) > 1
    stop = Event()
    options = _Options(
        device, backend, overlay, tiles, meter, data, resume, quiet or several, deadline, stop
    )
    jobs = [
        partial(_train_one, experiment, folder, options)
        for experiment, folder in zip(chosen, folders, strict=True)
    ]
    if several and backend == CUDA:
        _at_once(jobs, stop)
    else:
        for job in jobs:
            job()


def _chosen(path: Path, seed: int | None) -> Experiment:
    """The experiment of a file, with another seed if one is given."""
    from ..training.experiment import check, load_experiment

    experiment = load_experiment(path)
    if seed is not None:
        experiment = replace(experiment, train=replace(experiment.train, seed=seed))
        check(experiment)
    return experiment


def _folders(chosen: list[Experiment], out: Path | None) -> list[Path]:
    """The run folder of each experiment."""
    names = [experiment.name for experiment in chosen]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two of the experiments are named {name!r}: give each its own name")
    if out is not None and len(chosen) == 1:
        return [out]
    return [(Path("runs") if out is None else out) / name for name in names]


def _at_once(jobs: Sequence[Callable[[], None]], stop: Event) -> None:
    """All jobs in threads of their own; what they refuse is told, and the others go on.

    Ctrl-C sets `stop`, at which they break off.
    """
    from ..training.graph.engine import start_cuda

    start_cuda()
    failed = 0
    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [pool.submit(job) for job in jobs]
        try:
            for future in futures:
                failed += _refused(future)
        except BaseException:
            stop.set()
            raise
    if failed:
        raise UserError(f"{failed} of the {len(jobs)} experiments did not finish")


def _refused(job: Future[None]) -> bool:
    """Wait for a job, and say what it was refused for, if it was."""
    try:
        job.result()
    except UserError as error:
        print(f"e2train: {error}", file=sys.stderr)
        return True
    return False


def _train_one(chosen: Experiment, folder: Path, options: _Options) -> None:
    """Train one experiment and write its record to the run folder."""
    from ..data.load import load_dataset
    from ..training.experiment import load_experiment
    from ..training.trainer import TimeIsUp, Trainer

    if _finished(folder, options.resume):
        if load_experiment(folder / SETTINGS) != chosen:
            raise UserError(f"{folder}: holds a finished run of another experiment")
        typer.echo(f"{folder}: already finished")
        return
    _prepare(folder)
    settings = chosen.data
    dataset = load_dataset(
        settings.name, options.data, settings.split_seed, settings.validation, settings.half
    )
    with ExitStack() as stack:
        graph = CUDA if options.backend == CUDA else None
        if graph:
            from ..training.graph.engine import own_stream

            stack.enter_context(own_stream())
        opened = _device(stack, chosen, options)
        trainer = stack.enter_context(
            Trainer(
                chosen,
                dataset,
                folder,
                device=opened,
                meter=options.meter,
                resume=options.resume,
                graph=graph,
            )
        )
        # only now: a run that cannot be resumed with this experiment keeps its own
        write_text(folder / SETTINGS, chosen.as_toml())
        shown = _progress(stack, chosen.name, options.quiet, trainer.iteration)

        def progress(done: int, total: int, loss: float | None) -> None:
            shown(done, total, loss)
            if options.stop.is_set():
                raise KeyboardInterrupt

        try:
            result = trainer.run(progress, options.deadline - time.monotonic())
        except TimeIsUp:
            done = f"{trainer.iteration} of {chosen.offered} mini-batches offered"
            typer.echo(f"{chosen.name}: stopped, {done}; go on with --resume; {folder}")
            return
    _say(folder, result["cell"])


def _device(stack: ExitStack, chosen: Experiment, options: _Options):  # type: ignore[no-untyped-def]
    """The open device of integer arithmetic; None for float32."""
    from ..device import open_device

    if chosen.method.arithmetic == "fixed":
        return stack.enter_context(
            open_device(
                options.device,
                backend=options.backend,
                overlay=options.overlay,
                tiles=options.tiles,
            )
        )
    for option, value, others in (
        ("device", options.device, ("emulator",)),
        ("backend", options.backend, ("auto", CUDA)),
        ("tiles", options.tiles, (None,)),
    ):
        if value not in others:
            raise UserError(
                f"--{option} {value}: {chosen.name} trains in float32, which it does not compute"
            )
    return None


def _finished(folder: Path, resume: bool) -> bool:
    """Whether the run is complete; refuses to overwrite one that was not asked to resume."""
    if (folder / "result.json").exists() and resume:
        return True
    if (folder / "events.jsonl").exists() and not resume:
        raise UserError(f"{folder}: holds a run already: pass --resume, or another --out")
    return False


def _prepare(folder: Path) -> None:
    """Make the run folder, and find out now whether it can be written to and has room."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free
        if free < LEAST_FREE_BYTES:
            raise UserError(
                f"{folder}: {free >> 20} MiB free on its disk, {LEAST_FREE_BYTES >> 20} MiB needed"
            )
    except OSError as error:
        raise UserError(f"{folder}: cannot be written to: {error.strerror or error}") from error


def _progress(stack: ExitStack, name: str, quiet: bool, done: int):  # type: ignore[no-untyped-def]
    """A rich bar with rate and time left, as the trainer's callback."""
    if quiet:
        return lambda done, total, loss: None
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bar = stack.enter_context(
        Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
        )
    )
    task = bar.add_task(name, total=None, completed=done, loss="", rate="")

    def advance(done: int, total: int, loss: float | None) -> None:
        speed = bar.tasks[0].speed
        bar.update(
            task,
            completed=done,
            total=total,
            loss="" if loss is None else f"loss {loss:.3f}",
            rate="" if speed is None else f"{speed:.1f} it/s",
        )

    return advance


def _say(folder: Path, cell: dict) -> None:
    joules = cell["energy_joules"]
    energy = f"{joules:.2f} J {cell['energy_provenance']}" if joules is not None else "not metered"
    skip, macs = cell["evaluation_skip"], cell["evaluation_macs"]
    skipped = "" if skip is None else f", {skip:.1f} % of the residual blocks skipped"
    typer.echo(
        f"{cell['name']}: top-1 {cell['top1']:.2f} % ({macs / 1e6:.1f} million MACs a picture"
        f"{skipped}), {cell['iterations_run']} of {cell['iterations_offered']} mini-batches run, "
        f"energy {energy}; {folder}"
    )
