# SPDX-License-Identifier: Apache-2.0
"""A training on the graph engine is the training on the emulator: the same record and weights.

Also where one of the two takes up what the other one began.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2train.errors import UserError
from e2train.runs.checkpoint import Checkpoint, read_checkpoint
from e2train.training.experiment import (
    DepthSettings,
    Experiment,
    MethodSettings,
    SluSettings,
    SmdSettings,
    SwaSettings,
    TrainSettings,
)
from e2train.training.trainer import TimeIsUp, Trainer
from engine_parts import digits, emulator

torch = pytest.importorskip("torch")
from e2train.training.graph.engine import own_stream  # noqa: E402

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]

TRAIN = TrainSettings(
    iterations=26,
    batch=16,
    schedule="cosine",
    log_every=4,
    evaluate_every=10,
    checkpoint_every=12,
)
BASE = Experiment(
    "case",
    train=TRAIN,
    method=MethodSettings("fixed", "psg"),
    smd=SmdSettings(0.4),
    swa=SwaSettings(0.4, 2, statistics_batches=2),
)
CASES = {
    "psg, depth": replace(
        BASE,
        train=replace(TRAIN, lr=0.1, sign_lr=0.01, sign_weight_decay=0.02),
        stochastic_depth=DepthSettings(0.3),
    ),
    "signsgd, depth per sample": replace(
        BASE,
        method=MethodSettings("fixed", "signsgd"),
        stochastic_depth=DepthSettings(0.3, per="sample"),
    ),
    "psg, gates": replace(BASE, slu=SluSettings(0.3, gated="all", warmup=0.2, explore=0.3)),
    "fixed8": replace(BASE, method=MethodSettings("fixed", "sgd"), swa=SwaSettings()),
}
Stop = Callable[[int, int, float | None], None]


class Stopped(Exception):
    pass


def stop_at(iteration: int) -> Stop:
    def progress(done: int, total: int, loss: float | None) -> None:
        if done >= iteration:
            raise Stopped

    return progress


def ready(
    experiment: Experiment, folder: Path, graph: str | None, resume: bool, meter: str = "simulated"
) -> Trainer:
    folder.mkdir(exist_ok=True)
    device = emulator("native") if experiment.method.arithmetic == "fixed" else None
    return Trainer(
        experiment, digits(), folder, device=device, meter=meter, resume=resume, graph=graph
    )


def run(experiment: Experiment, folder: Path, graph: str | None, resume: bool = False) -> None:
    with ready(experiment, folder, graph, resume) as trainer:
        trainer.run()


def record(folder: Path) -> tuple[list[Any], dict[str, Any], Checkpoint]:
    """Events, result and checkpoint but for what time tells."""
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    result = json.loads((folder / "result.json").read_text())
    del result["cell"]["seconds"]
    checkpoint = read_checkpoint(folder / "checkpoint.npz")
    for key in ("seconds", "timing"):
        del checkpoint.meta[key]
    return events, result, checkpoint


def assert_same(first: Path, second: Path) -> None:
    events, result, checkpoint = record(first)
    others, other_result, other_checkpoint = record(second)
    for event, other in zip(events, others, strict=True):
        assert event == other
    assert result == other_result
    assert json.dumps(checkpoint.meta) == json.dumps(other_checkpoint.meta)
    assert list(checkpoint.arrays) == list(other_checkpoint.arrays)
    for name, array in checkpoint.arrays.items():
        np.testing.assert_array_equal(array, other_checkpoint.arrays[name], err_msg=name)
    meters = [sorted((folder / "meter").rglob("*.csv")) for folder in (first, second)]
    for ours, theirs in zip(*meters, strict=True):
        assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("where", DEVICES)
@pytest.mark.parametrize("case", CASES)
def test_the_engine_trains_as_the_emulator_does(case: str, where: str, tmp_path: Path) -> None:
    run(CASES[case], tmp_path / "host", None)
    run(CASES[case], tmp_path / "graph", where)
    assert_same(tmp_path / "host", tmp_path / "graph")


@pytest.mark.parametrize("where", DEVICES)
@pytest.mark.parametrize("engine_first", [True, False])
def test_one_takes_up_what_the_other_began(engine_first: bool, where: str, tmp_path: Path) -> None:
    first, second = (where, None) if engine_first else (None, where)
    experiment = CASES["psg, gates"]
    run(experiment, tmp_path / "whole", None)
    with ready(experiment, tmp_path / "parts", first, False) as trainer, pytest.raises(Stopped):
        trainer.run(stop_at(18))  # the checkpoint is of iteration 12
    run(experiment, tmp_path / "parts", second, resume=True)
    assert_same(tmp_path / "whole", tmp_path / "parts")


def test_a_run_whose_time_is_up_goes_on_where_it_stopped(tmp_path: Path) -> None:
    experiment = CASES["psg, depth"]
    with ready(experiment, tmp_path / "whole", None, False, meter="none") as trainer:
        trainer.run()
    reached = []
    for resume in (False, True, True, True):  # the first ones on the host, a mini-batch each
        with ready(experiment, tmp_path / "parts", "cpu", resume, meter="none") as trainer:
            with pytest.raises(TimeIsUp):
                trainer.run(seconds=0.0)
            reached.append(trainer.iteration)
    assert reached == sorted(set(reached)), reached
    with ready(experiment, tmp_path / "parts", "cpu", True, meter="none") as trainer:
        trainer.run()
    assert_same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("where", DEVICES)
def test_float32_learns_on_the_engine(where: str, tmp_path: Path) -> None:
    experiment = replace(BASE, method=MethodSettings("float32", "sgd"))
    run(experiment, tmp_path / "host", None)
    run(experiment, tmp_path / "graph", where)
    first, second = record(tmp_path / "host"), record(tmp_path / "graph")
    assert first[1]["macs"] == second[1]["macs"]
    assert first[1]["cell"]["energy_joules"] == second[1]["cell"]["energy_joules"]
    for event, other in zip(first[0], second[0], strict=True):
        assert (event["event"], event.get("iteration")) == (other["event"], other.get("iteration"))
        if event.get("loss") is not None:
            assert event["loss"] == pytest.approx(other["loss"], rel=1e-4)


@pytest.mark.parametrize("where", DEVICES)
def test_trainings_in_threads_do_not_disturb_each_other(where: str, tmp_path: Path) -> None:
    digits()  # read once
    streams = own_stream if where == "cuda" else nullcontext

    def train(name: str, case: str) -> None:
        with streams():
            run(CASES[case], tmp_path / name, where)

    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(train, f"{n} {case}", case)
            for n in (1, 2)
            for case in ("psg, gates", "fixed8")
        ]
        for job in jobs:
            job.result()
    for case in ("psg, gates", "fixed8"):
        assert_same(tmp_path / f"1 {case}", tmp_path / f"2 {case}")


def test_divergence_stops_the_engine_at_its_iteration(tmp_path: Path) -> None:
    wild = replace(TRAIN, lr=900.0, momentum=0.99)
    experiment = replace(BASE, train=wild, method=MethodSettings("float32", "sgd"))
    told = []
    for graph in (None, "cpu"):
        with (
            ready(experiment, tmp_path / f"on {graph}", graph, False) as trainer,
            pytest.raises(UserError, match="diverged at iteration") as refusal,
        ):
            trainer.run()
        told.append(str(refusal.value).partition("(")[0])
    assert told[0] == told[1]
