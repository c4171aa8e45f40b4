# SPDX-License-Identifier: Apache-2.0
"""The task that an executor runs: claim one cell, measure idle, train, measure idle again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import traceback
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from powermeter import MeterError, WindowResult

from ..data.load import load_data
from ..device import open_device
from ..errors import UserError
from ..files import locked, write_text
from ..runs.load import load_run
from ..training.experiment import Experiment
from ..training.trainer import OnMiniBatch, Trainer
from .idle import NetEnergy, above_idle, measure_idle
from .lease import Heartbeat, Stopped
from .link.address import Board
from .link.cell import BoardCell, train_on_board
from .link.ssh import LinkRefused
from .plan import RESTART, experiment_from
from .schema import RESULT_COLUMNS
from .store import FAILED, FINISHED, INTERRUPTED, WAITING, WORK_S, Claim, Store

BUSY, STOPPED = "busy", "stopped"
ERROR = "error.txt"
LOCK = "lock"
CELLS = "cells"


@dataclass(frozen=True)
class Job:
    """What a worker needs to know. Paths must mean the same on the worker as here.

    Where there is a `board`, cells train there, and `device` and `data` are told with it.
    """

    folder: str
    cell: str
    device: str
    meter: str
    data: str | None
    idle_s: float
    settle_s: float
    interrupted: str
    lease_s: float
    board: Board | None = None


@dataclass(frozen=True)
class CellOutcome:
    """What became of a job: finished, failed, stopped (paused or lost), or busy elsewhere."""

    cell: str
    state: str
    message: str = ""


def cell_folder(folder: Path, cell: str) -> Path:
    """Where a cell keeps its logs."""
    return folder / CELLS / cell


def run_cell(job: Job) -> CellOutcome:
    """Run the job's cell if it can be claimed. Every exception of it becomes an outcome, on record.

    Raises UserError where there can be no record: the folder or the campaign's file cannot be used
    here, which ends the campaign for now, as every other cell would meet the same.
    """
    store = Store(Path(job.folder), WORK_S)
    folder = cell_folder(Path(job.folder), job.cell)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}") from error
    host = socket.gethostname()
    worker = f"{host}:{os.getpid()}"
    claim = Claim(job.cell, uuid.uuid4().hex, worker, host, job.lease_s)
    with locked(folder / LOCK) as alone:
        if not alone or not store.claim(claim):
            return CellOutcome(job.cell, BUSY)
        try:
            with Heartbeat(Store(Path(job.folder)), claim) as heart:
                result, points = _work(job, store, folder, claim, heart)
        except Stopped as stop:
            store.release(claim, WAITING, INTERRUPTED)
            return CellOutcome(job.cell, STOPPED, str(stop))
        except LinkRefused:  # so will it be for every other cell
            store.release(claim, WAITING, INTERRUPTED)
            raise
        except (UserError, MeterError, OSError) as error:
            return _failed(store, claim, str(error))
        except Exception as error:
            # a defect of the program: its traceback is kept, and the other cells go on
            write_text(folder / ERROR, traceback.format_exc())
            return _failed(store, claim, f"{type(error).__name__}: {error} (see {folder / ERROR})")
        except BaseException:
            store.release(claim, WAITING, INTERRUPTED)
            raise
        if not store.finish(claim, result, points):
            return CellOutcome(job.cell, STOPPED, "another worker took the cell over")
    return CellOutcome(job.cell, FINISHED, f"top-1 {result['top1']:.2f} %, {_energy_words(result)}")


def _failed(store: Store, claim: Claim, reason: str) -> CellOutcome:
    line = " ".join(reason.split())
    store.release(claim, FAILED, FAILED, line)
    return CellOutcome(claim.cell, FAILED, line)


def _energy_words(result: dict[str, Any]) -> str:
    if result["energy_j"] is None:
        return f"no energy ({result['energy_missing']})"
    return f"{result['energy_j']:.4g} J {result['energy_provenance']}"


def _work(
    job: Job, store: Store, folder: Path, claim: Claim, heart: Heartbeat
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Idle, training, idle; returns the row for the results and the points of the curve."""
    if job.interrupted == RESTART:
        _set_aside(folder)
    experiment = _experiment(store, folder, job.cell)
    settle_s = job.settle_s if job.meter.partition(":")[2] else 0.0  # nothing to settle otherwise

    def idle(name: str) -> WindowResult | None:
        heart.note(phase=f"idle {name}")
        if job.idle_s:
            heart.wait(settle_s)
        seed = experiment.train.seed
        return measure_idle(job.meter, folder / f"idle-{name}", job.idle_s, seed, heart)

    if job.board is None:
        before = idle("before")
        result, window = _train_here(job, experiment, folder, heart)
    else:
        anew = job.interrupted == RESTART
        work = BoardCell(job.board, job.cell, folder, experiment, job.meter, anew, idle)
        result, window, before = train_on_board(work, heart)
    after = idle("after")
    heart.note(phase="writing")
    net = above_idle(window, before, after)
    row = _row(claim, result, window, before, after, net, folder)
    row["attempts"] = len(store.rows("SELECT 1 FROM attempts WHERE cell = ?", (job.cell,)))
    assert row.keys() == RESULT_COLUMNS.keys()
    return row, _points(job.cell, folder)


def _train_here(
    job: Job, experiment: Experiment, folder: Path, heart: Heartbeat
) -> tuple[dict[str, Any], WindowResult | None]:
    """Train in this process; the run's result and its window."""
    dataset = load_data(experiment.data, None if job.data is None else Path(job.data))
    with ExitStack() as stack:
        device = None
        if experiment.method.arithmetic == "fixed":
            device = stack.enter_context(open_device(job.device))
        trainer = stack.enter_context(
            Trainer(experiment, dataset, folder, device=device, meter=job.meter, resume=True)
        )
        write_text(folder / "experiment.toml", experiment.as_toml())
        result = trainer.run(_progress(trainer, heart))
        return result, trainer.energy.window


def _experiment(store: Store, folder: Path, cell: str) -> Experiment:
    """The cell's experiment, read back from the campaign's file."""
    (row,) = store.rows("SELECT settings FROM cells WHERE id = ?", (cell,))
    experiment = experiment_from(json.loads(row["settings"]), cell)
    base = experiment.finetune.checkpoint
    if base is None:
        return experiment
    finetune = replace(experiment.finetune, checkpoint=os.path.normpath(folder / base))
    return replace(experiment, finetune=finetune)


def _set_aside(folder: Path) -> None:
    """Move what an interrupted attempt left into a folder of its own: the cell starts anew."""
    left = [path for path in folder.iterdir() if path.name != LOCK]
    left = [path for path in left if not path.name.startswith("attempt-")]
    if not left:
        return
    number = 1 + len(list(folder.glob("attempt-*")))
    aside = folder / f"attempt-{number}"
    aside.mkdir()
    for path in left:
        shutil.move(path, aside / path.name)


def _progress(trainer: Trainer, heart: Heartbeat) -> OnMiniBatch:
    """The trainer's callback: notes how far it is, and stops it where it must stop."""

    def note(done: int, total: int, loss: float | None) -> None:
        changes: dict[str, Any] = {"iteration": done, "loss": loss}
        if done % trainer.experiment.train.log_every == 0:
            energy = trainer.energy.joules() or {}
            changes |= {"joules": energy.get("joules"), "provenance": energy.get("provenance")}
        heart.note(phase="training", **changes)

    return note


def _row(
    claim: Claim,
    result: dict[str, Any],
    window: WindowResult | None,
    before: WindowResult | None,
    after: WindowResult | None,
    net: NetEnergy,
    folder: Path,
) -> dict[str, Any]:
    """One row of the table `results`."""
    cell = result["cell"]
    return {
        "cell": claim.cell,
        "dataset_label": result["dataset_label"],
        "top1": cell["top1"],
        "top5": cell["top5"],
        "energy_j": cell["energy_joules"],
        "energy_uncertainty_j": cell["energy_uncertainty_joules"],
        "energy_provenance": cell["energy_provenance"],
        "energy_missing": cell["energy_missing"],
        "window_s": None if window is None else window.seconds,
        "idle_before_w": None if before is None else before.mean_power_w,
        "idle_after_w": None if after is None else after.mean_power_w,
        "net_energy_j": net.joules,
        "net_energy_uncertainty_j": net.uncertainty,
        "net_energy_missing": net.missing,
        "modelled_j": result["modelled_joules"],
        "macs": result["macs"],
        "bit_operations": str(result["bit_operations"]),
        "iterations_offered": cell["iterations_offered"],
        "iterations_run": cell["iterations_run"],
        "skip_ratio": cell["skip_ratio"],
        "predictor_share": cell["predictor_share"],
        "raw_sha256": _hash(folder / "meter" / "raw.log"),
        "host_seconds": cell["seconds"],
        "worker": claim.worker,
        "attempts": 0,
    }


def _hash(path: Path) -> str | None:
    """SHA-256 of the raw log; None without one."""
    if not path.exists():
        return None
    with open(path, "rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _points(cell: str, folder: Path) -> list[dict[str, Any]]:
    """The curve of a finished run: losses and accuracies with the energy up to there."""
    run = load_run(folder)
    current = [event for event in run.evaluations if event.weights == "current"]
    events = [(e, e.loss, None) for e in run.progress] + [(e, None, e.top1) for e in current]
    events.sort(key=lambda item: item[0].iteration)
    return [
        {
            "cell": cell,
            "iteration": event.iteration,
            "joules": None if event.energy is None else event.energy.joules,
            "provenance": None if event.energy is None else event.energy.provenance,
            "modelled_joules": event.modelled_joules,
            "loss": loss,
            "top1": top1,
        }
        for event, loss, top1 in events
    ]
