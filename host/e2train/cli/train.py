# SPDX-License-Identifier: Apache-2.0
"""`e2train train`: run one experiment, with progress, a meter and a checkpoint to go on from."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError
from ..files import write_text

LEAST_FREE_BYTES = 64 << 20
SETTINGS = "experiment.toml"


def train(
    experiment: Annotated[Path, typer.Argument(help="Experiment file (TOML).")],
    device: Annotated[str, typer.Option(help="Where the integers are computed.")] = "emulator",
    meter: Annotated[
        str,
        typer.Option(
            help="simulated, none, or DRIVER:PORT[,NAME=VALUE...] such as "
            "ina226-serial:/dev/ttyUSB0 or pzem-004t:/dev/ttyUSB0,address=2"
        ),
    ] = "simulated",
    data: Annotated[Path | None, typer.Option(help="Folder that holds the data set.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder [runs/NAME].")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the run folder's checkpoint.")] = False,
    seed: Annotated[int | None, typer.Option(help="In place of train.seed.")] = None,
    quiet: Annotated[bool, typer.Option(help="No progress bar.")] = False,
) -> None:
    """Train one experiment and write its record to the run folder."""
    from dataclasses import replace

    from ..data.load import load_dataset
    from ..device import open_device
    from ..training.experiment import check, load_experiment
    from ..training.metering import check_meter
    from ..training.trainer import Trainer

    check_meter(meter)
    chosen = load_experiment(experiment)
    if seed is not None:
        chosen = replace(chosen, train=replace(chosen.train, seed=seed))
        check(chosen)
    folder = out if out is not None else Path("runs") / chosen.name
    if _finished(folder, resume):
        if load_experiment(folder / SETTINGS) != chosen:
            raise UserError(f"{folder}: holds a finished run of another experiment")
        typer.echo(f"{folder}: already finished")
        return
    _prepare(folder)
    settings = chosen.data
    dataset = load_dataset(
        settings.name, data, settings.split_seed, settings.validation, settings.half
    )
    with ExitStack() as stack:
        opened = None
        if chosen.method.arithmetic == "fixed":
            opened = stack.enter_context(open_device(device))
        elif device != "emulator":
            raise UserError(
                f"--device {device}: {experiment} trains in float32, which devices do not compute"
            )
        trainer = stack.enter_context(
            Trainer(chosen, dataset, folder, device=opened, meter=meter, resume=resume)
        )
        # only now: a run that cannot be resumed with this experiment keeps its own
        write_text(folder / SETTINGS, chosen.as_toml())
        result = trainer.run(_progress(stack, chosen.name, quiet, trainer.iteration))
    _say(folder, result["cell"])


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
