# SPDX-License-Identifier: Apache-2.0
"""`e2train finetune`: a model and a folder of pictures to a model of its own, and a report."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UserError

if TYPE_CHECKING:
    from ..training.experiment import Experiment

E2TRAIN, SGD = "e2train", "sgd"
ALL, LAST = "all", "last"
RATES = {(E2TRAIN, ALL): 0.003, (E2TRAIN, LAST): 0.01, (SGD, ALL): 0.01, (SGD, LAST): 0.01}
SHOWN_RUNS = "runs"


@dataclass(frozen=True)
class _Base:
    """What the model tells of itself; None where it does not.

    settings: of the table [finetune]; shape: (C, H, W) of its pictures.
    """

    settings: dict[str, Any]
    network: str | None
    shape: tuple[int, int, int] | None


def finetune(
    model: Annotated[
        Path,
        typer.Argument(help="Run folder, or weights: safetensors or a PyTorch state dict."),
    ],
    folder: Annotated[
        Path, typer.Argument(help="Pictures in folders of classes, or an .npz file.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Run folder [runs/finetune-NAME].", show_default=False)
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="What the weights are of, where they do not tell.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Height and width of pictures [the model's, else 32].", min=1),
    ] = None,
    grey: Annotated[bool, typer.Option("--grey", help="Pictures of one channel.")] = False,
    layers: Annotated[str, typer.Option(help="Which layers learn: all or last.")] = ALL,
    method: Annotated[
        str, typer.Option(help="e2train: in integers on the device; sgd: in 32-bit floats.")
    ] = E2TRAIN,
    iterations: Annotated[int, typer.Option(min=1, help="Mini-batches offered at most.")] = 400,
    batch: Annotated[int, typer.Option(min=1, help="Pictures a mini-batch.")] = 32,
    lr: Annotated[
        float | None, typer.Option(help="Learning rate at the start [by method and layers].")
    ] = None,
    patience: Annotated[
        int,
        typer.Option(
            min=0,
            help="Stop after so many looks at the held-out pictures without a gain; 0: never.",
        ),
    ] = 5,
    every: Annotated[int, typer.Option(min=1, help="Mini-batches between two looks.")] = 25,
    held_out: Annotated[
        float, typer.Option(help="Share of the training pictures that is held out.")
    ] = 0.1,
    device: Annotated[str, typer.Option(help="Where the integers are computed.")] = "emulator",
    meter: Annotated[str, typer.Option(help="As of `e2train train`.")] = "simulated",
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    resume: Annotated[bool, typer.Option(help="Go on from the run folder's checkpoint.")] = False,
    quiet: Annotated[bool, typer.Option(help="No progress bar.")] = False,
) -> None:
    """Fit a model to your own pictures, stop in time, and write its record and report."""
    from ..training.early_stop import EarlyStopSettings
    from ..training.experiment import check
    from ..training.metering import check_meter
    from .train import Options, train_one

    check_meter(meter)
    base = _base(model)
    experiment = _method(
        layers, method, _network(model, base, network), base.settings, iterations, batch, lr, seed
    )
    stop = EarlyStopSettings(patience, held_out, every)
    name = f"finetune-{folder.resolve().stem}"
    experiment = replace(
        experiment, name=name, data=_data(base, folder, size, grey, seed), early_stop=stop
    )
    check(experiment)
    out = Path(SHOWN_RUNS) / name if out is None else out
    options = Options(
        device, "auto", meter, None, resume, quiet, time.monotonic() + math.inf, Event()
    )
    train_one(experiment, out, options)
    _report(out)


def _base(model: Path) -> _Base:
    """What to start from: a run's checkpoint, or a weights file."""
    from ..runs.checkpoint import read_checkpoint

    if not model.is_dir():
        from ..weights.files import read_weights

        network = read_weights(model).facts.get("network")
        return _Base({"weights": str(model)}, network, None)
    checkpoint = model / "checkpoint.npz"
    network = read_checkpoint(checkpoint).meta["network"]
    with open(model / "events.jsonl", encoding="utf-8") as stream:
        start = json.loads(stream.readline())
    shape = tuple(start["picture"]) if "picture" in start else None
    return _Base({"checkpoint": str(checkpoint)}, network, shape)


def _network(model: Path, base: _Base, asked: str | None) -> str:
    found = asked or base.network
    if found is None:
        raise UserError(f"{model}: does not tell its network: name it with --network")
    return found


def _data(base: _Base, folder: Path, size: int | None, grey: bool, seed: int) -> Any:
    from ..data.settings import FOLDER, DataSettings

    channels, height = (1 if grey else 3), 32
    if base.shape is not None:
        channels, height = base.shape[0], base.shape[1]
    colour = channels == 3 and not grey
    return DataSettings(
        FOLDER,
        path=str(folder),
        size=height if size is None else size,
        colour=colour,
        split_seed=seed,
    )


def _method(
    layers: str,
    method: str,
    network: str,
    settings: dict[str, Any],
    iterations: int,
    batch: int,
    lr: float | None,
    seed: int,
) -> Experiment:
    """The experiment without its data: E2-Train or plain SGD, on all layers or the last."""
    from ..training.experiment import (
        Experiment,
        FinetuneSettings,
        MethodSettings,
        SluSettings,
        SmdSettings,
        TrainSettings,
    )
    from ..training.finetune import ALL_LAYERS, LAST_LAYER

    for option, value, possible in (
        ("layers", layers, (ALL, LAST)),
        ("method", method, (E2TRAIN, SGD)),
    ):
        if value not in possible:
            raise UserError(f"--{option} {value}: expected {' or '.join(possible)}")
    mode = ALL_LAYERS if layers == ALL else LAST_LAYER
    rate = RATES[method, layers] if lr is None else lr
    experiment = Experiment(
        "finetune",
        network=network,
        train=TrainSettings(iterations=iterations, batch=batch, lr=rate, seed=seed),
        finetune=FinetuneSettings(mode=mode, **settings),
    )
    if method == SGD:
        return experiment
    # Gates rest where the last layer alone learns, and ResNet-8 has no blocks fit for them.
    skips = layers == ALL and network != "resnet-8"
    return replace(
        experiment,
        method=MethodSettings("fixed", "psg"),
        smd=SmdSettings(0.5),
        slu=SluSettings(0.2 if skips else 0.0),
    )


def _report(out: Path) -> None:
    """The run's report, where there are the libraries to draw it."""
    from ..report import write_report

    try:
        written = write_report([out])
    except UserError as error:
        typer.echo(f"no report: {error}")
        return
    typer.echo(f"report: {written.page}")
