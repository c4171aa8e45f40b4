# SPDX-License-Identifier: Apache-2.0
"""A cell whose training runs on a board: settings there, meter here, one record of both."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from powermeter import MeterError, WindowResult
from powermeter.record.recording import RESULT as METER_RESULT
from powermeter.record.recording import integrate_folder

from ...training.experiment import Experiment
from ...training.metering import NO_METER, check_meter
from ..lease import Heartbeat
from .address import Board
from .energy import METER, BoardMeter, measured, merge
from .follow import EVENTS, MIRROR, TIMING, Follower, Order
from .remote import BASE

RESULT = "result.json"
IDLE_BEFORE = "idle-before"


@dataclass(frozen=True)
class BoardCell:
    """What is to be trained where, into the cell's `folder` here.

    `meter` as for `e2train train`: a real one is read here, the simulated one runs on the board.
    `idle` measures idle power under a name; `anew`: what an earlier attempt left is set aside.
    """

    board: Board
    cell: str
    folder: Path
    experiment: Experiment
    meter: str
    anew: bool
    idle: Callable[[str], WindowResult | None]


def train_on_board(
    work: BoardCell, heart: Heartbeat
) -> tuple[dict[str, Any], WindowResult | None, WindowResult | None]:
    """Train the cell on the board; its result, its window and the idle run before it.

    The cell's folder then holds what a run here would have left. A training that runs there already
    is taken over. Raises Stopped, BoardError, LinkRefused, MeterError.
    """
    real = check_meter(work.meter)
    order = _order(work, real)
    with ExitStack() as stack:
        recorder: BoardMeter | None = None

        def on_news(news: dict[str, Any]) -> None:
            _note(heart, news, recorder)

        follower = Follower(work.board, work.cell, work.folder, heart, on_news)
        begun, finished = follower.prepare(work.anew)
        before = _earlier_idle(work.folder) if begun and real else work.idle("before")
        if real and not finished:
            recorder = BoardMeter(work.meter, work.folder, work.experiment.train.seed)
            stack.callback(recorder.close)
            follower.on_clock = recorder.on_clock
        follower.train(order)
        if recorder is not None:
            recorder.finish(heart)
    died = "" if recorder is None else recorder.died
    mirror = work.folder / MIRROR
    window = _metered(work, mirror, died) if real else _as_it_came(work, mirror)
    return json.loads((work.folder / RESULT).read_text()), window, before


def _order(work: BoardCell, real: bool) -> Order:
    experiment, base = work.experiment, None
    if experiment.finetune.checkpoint is not None:
        base = Path(experiment.finetune.checkpoint).read_bytes()
        finetune = replace(experiment.finetune, checkpoint=BASE)
        experiment = replace(experiment, finetune=finetune)
    fixed = experiment.method.arithmetic == "fixed"
    return Order(experiment.as_toml(), base, NO_METER if real else work.meter, fixed)


def _note(heart: Heartbeat, news: dict[str, Any], recorder: BoardMeter | None) -> None:
    """Show how far the training has come, with the joules so far of whoever measures them."""
    if recorder is not None:
        heart.note(joules=recorder.joules(), provenance=recorder.provenance)
    if not news:
        return
    heart.note(iteration=news["iteration"], loss=news["loss"])
    if recorder is None and news["energy"] is not None:
        heart.note(joules=news["energy"]["joules"], provenance=news["energy"]["provenance"])


def _earlier_idle(folder: Path) -> WindowResult | None:
    """The idle run that an earlier attempt took before the training that still runs."""
    idle = folder / IDLE_BEFORE
    return integrate_folder(idle) if (idle / METER_RESULT).exists() else None


def _as_it_came(work: BoardCell, mirror: Path) -> WindowResult | None:
    """The board's record is the cell's."""
    _move(mirror, work.folder, keep=())
    mirror.rmdir()
    if work.meter == NO_METER:
        return None
    return integrate_folder(work.folder / METER)


def _metered(work: BoardCell, mirror: Path, died: str) -> WindowResult:
    """The board's record with the joules of the meter here; the board's own stays beside it."""
    try:
        window, events = measured(work.folder, mirror / TIMING, died)
    except MeterError as error:
        window, events = WindowResult.lost("metered", died or str(error)), []
    _move(mirror, work.folder, keep=(EVENTS, RESULT))
    merge(work.folder, mirror, work.meter, window, events)
    return window


def _move(mirror: Path, folder: Path, keep: tuple[str, ...]) -> None:
    """What the board left, but for `keep`, becomes the cell's; the result comes last."""
    for path in sorted(mirror.iterdir(), key=lambda path: path.name == RESULT):
        if path.name in keep:
            continue
        target = folder / path.name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(path, target)
