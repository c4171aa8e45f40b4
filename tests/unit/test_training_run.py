# SPDX-License-Identifier: Apache-2.0
"""The trainer: what it records, what it refuses, and how it stops when training diverges."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2train.cost import counts as plan
from e2train.data.batches import augment, batch_indices
from e2train.data.load import load_dataset
from e2train.device import open_device
from e2train.errors import UserError
from e2train.methods.sgd import Sgd
from e2train.methods.smd import dropped
from e2train.network.network import Network
from e2train.network.parameters import initial_parameters
from e2train.runs.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from e2train.training import evaluate as evaluation
from e2train.training.assembly import assemble
from e2train.training.experiment import (
    Experiment,
    MethodSettings,
    SluSettings,
    SmdSettings,
    TrainSettings,
)
from e2train.training.trainer import Trainer
from engine_parts import digits

SHORT = TrainSettings(iterations=6, batch=16, log_every=2, evaluate_every=4, checkpoint_every=3)
FLOATS = Experiment("floats", train=SHORT)
INTEGERS = replace(FLOATS, name="integers", method=MethodSettings("fixed", "psg"))
KINDS = {"float32": FLOATS, "fixed": INTEGERS}


def trainer(experiment: Experiment, folder: Path, **options: Any) -> Trainer:
    folder.mkdir(exist_ok=True)
    device = open_device("emulator") if experiment.method.arithmetic == "fixed" else None
    return Trainer(
        experiment, load_dataset("digits"), folder, device=device, **{"meter": "none", **options}
    )


def run(experiment: Experiment, folder: Path, **options: Any) -> dict[str, Any]:
    with trainer(experiment, folder, **options) as ready:
        return ready.run()


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def refused(action: Any, *words: str) -> str:
    with pytest.raises(UserError) as caught:
        action()
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    for word in words:
        assert word in line, line
    return line


# ---- what a run does ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_loop_equals_its_parts(kind: str, tmp_path: Path) -> None:
    """The same batches, augmentation, dropping, rates and updates, strung together by hand."""
    experiment = replace(KINDS[kind], smd=SmdSettings(0.4))
    run(experiment, tmp_path / "run")
    data, t = load_dataset("digits"), experiment.train
    device = open_device("emulator") if kind == "fixed" else None
    network = assemble(experiment, data, device).network
    optimiser = Sgd(network.parameters, 0.9, 1e-4)
    ran = 0
    for i in range(6):
        if not dropped(t.seed, i, 0.4):
            chosen = batch_indices(len(data.train_labels), 16, i, t.seed)
            images = augment(data.train_images[chosen], i, t.seed, False, 1, data.mean)
            _, gradients = network.forward_backward(images, data.train_labels[chosen], i)
            optimiser.step(
                network.parameters, gradients, experiment.lr * 0.1 ** ((i >= 3) + (i >= 4.5))
            )
            ran += 1
        if i + 1 == 4:  # the evaluation there draws on the same exponents
            evaluation.evaluate(network, data.test_images, data.test_labels)
    assert 0 < ran < 6
    arrays = read_checkpoint(tmp_path / "run/checkpoint.npz").arrays
    for name, value in network.parameters.items():
        assert np.allclose(arrays[f"parameters/{name}"], value, rtol=1e-5, atol=1e-7), name
    assert events(tmp_path / "run")[-1] == {"event": "end", "iteration": 6}


@pytest.mark.parametrize("kind", KINDS)
def test_record(kind: str, tmp_path: Path) -> None:
    result = run(KINDS[kind], tmp_path)
    found = events(tmp_path)
    assert [(e["event"], e.get("iteration")) for e in found] == [
        ("start", None),
        ("progress", 2),
        ("progress", 4),
        ("evaluation", 4),
        ("progress", 6),
        ("evaluation", 6),
        ("end", 6),
    ]
    assert json.loads((tmp_path / "result.json").read_text()) == result
    cell, last = result["cell"], found[-2]
    assert (cell["top1"], cell["top5"]) == (last["top1"], last["top5"])
    assert result["macs"] == last["macs"] == found[4]["macs"], "evaluation is not counted"
    spec = assemble(KINDS[kind], digits(), open_device("emulator")).spec
    if kind == "float32":
        assert result["macs"] == 6 * plan.iteration(spec, plan.FLOAT32, 16).macs
        assert cell["predictor_share"] is None and found[1]["predictor_share"] == {}
    else:
        convolutions = [unit.name for unit in spec.units()]
        assert list(found[0]["layers"]) == [*convolutions, "classifier"]
        assert set(found[1]["predictor_share"]) == set(convolutions)
    assert cell["skip_ratio"] is None and found[1]["block_skip"] == {}
    assert cell["energy_joules"] is None and cell["energy_provenance"] is None
    assert found[1]["modelled"]["provenance"] == "modelled"


def test_repeated_runs_are_identical(tmp_path: Path) -> None:
    experiment = replace(INTEGERS, smd=SmdSettings(0.3), slu=SluSettings(0.3))
    for name in "ab":
        run(experiment, tmp_path / name, meter="simulated")
    for file in ("events.jsonl", "meter/samples.csv", "meter/raw.log"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    first, second = (read_checkpoint(tmp_path / n / "checkpoint.npz").arrays for n in "ab")
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)
    other = replace(experiment, train=replace(SHORT, seed=1))
    run(other, tmp_path / "c")
    assert events(tmp_path / "c")[1]["loss"] != events(tmp_path / "a")[1]["loss"]


def test_all_mini_batches_dropped(tmp_path: Path) -> None:
    """An unlucky short run: nothing is learned, and the record says so instead of failing."""
    experiment = replace(FLOATS, smd=SmdSettings(1 - 1e-12))
    result = run(experiment, tmp_path)
    assert result["cell"]["iterations_run"] == 0 and result["macs"] == 0
    assert events(tmp_path)[1]["loss"] is None


# ---- refusals -----------------------------------------------------------------------------------


def test_batch_larger_than_the_data(tmp_path: Path) -> None:
    experiment = replace(FLOATS, train=replace(SHORT, batch=1438))
    refused(lambda: trainer(experiment, tmp_path), "train.batch = 1438", "1437")


def test_whole_data_set_as_a_batch(tmp_path: Path) -> None:
    """One sample more is refused, above; this is trained on: its loss is that of all samples."""
    experiment = replace(INTEGERS, train=replace(SHORT, batch=1437, iterations=1))
    result = run(experiment, tmp_path)
    assert result["cell"]["iterations_run"] == 1
    data = digits()
    chosen = batch_indices(1437, 1437, 0, SHORT.seed)
    assert sorted(chosen) == list(range(1437))
    images = augment(data.train_images[chosen], 0, SHORT.seed, False, 1, data.mean)
    network = assemble(experiment, data, open_device("emulator")).network
    outcome, _ = network.forward_backward(images, data.train_labels[chosen], 0)
    assert events(tmp_path)[1]["loss"] == pytest.approx(outcome.loss)


def test_fixed_needs_a_device(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="device"):
        Trainer(INTEGERS, digits(), tmp_path, device=None, meter="none")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": "resnet-14"}, ["resnet-8", "resnet-14"]),
        ({"train": replace(SHORT, lr=0.01)}, ["train", "0.01"]),
        ({"name": "other"}, ["name", "other", "floats"]),
        ({"slu": SluSettings(0.2)}, ["slu", "0.2"]),
    ],
)
def test_another_runs_checkpoint(tmp_path: Path, change: dict[str, Any], words: list[str]) -> None:
    run(FLOATS, tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    path = str(tmp_path / "checkpoint.npz")
    refused(lambda: trainer(replace(FLOATS, **change), tmp_path, resume=True), path, *words)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_damaged_checkpoint(tmp_path: Path) -> None:
    run(FLOATS, tmp_path)
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:-100])
    refused(lambda: trainer(FLOATS, tmp_path, resume=True), str(path))


def test_checkpoint_whose_arrays_are_not_the_networks(tmp_path: Path) -> None:
    """Shapes and names in a file that claims to be this run: refused, not broadcast."""
    run(FLOATS, tmp_path)
    path = tmp_path / "checkpoint.npz"
    good = read_checkpoint(path)
    name = "parameters/stem.conv.gamma"
    for wrong in (np.ones(1, np.float32), np.ones(17, np.float32)):
        write_checkpoint(path, Checkpoint(good.meta, {**good.arrays, name: wrong}))
        refused(lambda: trainer(FLOATS, tmp_path, resume=True), str(path), "stem.conv.gamma")
    less = {key: value for key, value in good.arrays.items() if key != name}
    write_checkpoint(path, Checkpoint(good.meta, less))
    refused(lambda: trainer(FLOATS, tmp_path, resume=True), str(path), "stem.conv.gamma")
    write_checkpoint(path, Checkpoint(good.meta, {**good.arrays, "nonsense/x": np.ones(1)}))
    refused(lambda: trainer(FLOATS, tmp_path, resume=True), str(path), "nonsense/x")


def test_checkpoint_without_its_facts(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "checkpoint.npz", Checkpoint({}, {}))
    refused(lambda: trainer(FLOATS, tmp_path, resume=True), str(tmp_path / "checkpoint.npz"))


def test_metering_cannot_begin_half_way(tmp_path: Path) -> None:
    """A run begun without a meter has no energy; the rest of it must not be sold as all of it."""
    run(FLOATS, tmp_path, meter="none")
    refused(lambda: trainer(FLOATS, tmp_path, resume=True, meter="simulated"), "meter")


def test_metering_cannot_end_half_way(tmp_path: Path) -> None:
    run(FLOATS, tmp_path, meter="simulated")
    refused(lambda: trainer(FLOATS, tmp_path, resume=True, meter="none"), "meter")


# ---- divergence ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lr", [30.0, 500.0, 999.0])
def test_divergence_stops_with_its_iteration(kind: str, lr: float, tmp_path: Path) -> None:
    long = replace(SHORT, iterations=400, lr=lr, drops=(), checkpoint_every=1, evaluate_every=0)
    experiment = replace(KINDS[kind], train=replace(long, momentum=0.99))
    with trainer(experiment, tmp_path) as ready:
        line = refused(ready.run, experiment.name, str(tmp_path), "checkpoint")
        assert re.search(rf"\biteration {ready.iteration}\b", line)
    good = read_checkpoint(tmp_path / "checkpoint.npz")
    assert 0 < good.meta["iteration"] <= ready.iteration
    for name, value in good.arrays.items():
        assert np.isfinite(value).all(), name
    assert not (tmp_path / "result.json").exists()


def test_divergence_before_any_checkpoint_promises_none(tmp_path: Path) -> None:
    train = replace(SHORT, iterations=400, lr=500.0, checkpoint_every=400, evaluate_every=0)
    line = refused(lambda: run(replace(FLOATS, train=train), tmp_path), "diverged")
    assert not (tmp_path / "checkpoint.npz").exists()
    assert "is kept" not in line, "there is no checkpoint to speak of"


# ---- evaluation ---------------------------------------------------------------------------------


class Given(Network):
    """A network whose logits are given, picture by picture."""

    def __init__(self, table: np.ndarray) -> None:
        parts = assemble(FLOATS, digits(), None)
        super().__init__(parts.spec, parts.network.arithmetic, parts.network.parameters)
        self.table, self.sizes = table, []

    def logits(self, images: np.ndarray, iteration: int, training: bool) -> np.ndarray:
        assert not training
        self.sizes.append(len(images))
        return self.table[images[:, 0, 0, 0].astype(int) + 256 * images[:, 0, 0, 1].astype(int)]


def case(count: int, seed: int = 0) -> tuple[Given, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = np.zeros((count, 1, 8, 8), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.arange(count) % 256, np.arange(count) // 256
    return Given(rng.normal(size=(count, 10))), images, rng.integers(0, 10, count)


@pytest.mark.parametrize("count", [1, 249, 250, 251, 637])
def test_top_1_and_top_5_count_every_picture(count: int) -> None:
    network, images, labels = case(count)
    found = evaluation.evaluate(network, images, labels)
    assert sum(network.sizes) == count
    order = np.argsort(-network.table, axis=1)
    assert found.top1 == pytest.approx(100 * np.mean(order[:, 0] == labels))
    hits = [label in row[:5] for row, label in zip(order, labels, strict=True)]
    assert found.top5 == pytest.approx(100 * np.mean(hits))
    shifted = network.table - network.table.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(count), labels]
    assert found.loss == pytest.approx(losses.mean(), rel=1e-9)


def test_nan_is_never_right() -> None:
    """A network that lost its numbers must not score 100 %."""
    network, images, labels = case(300)
    network.table[:] = np.nan
    with np.errstate(invalid="ignore"):
        found = evaluation.evaluate(network, images, labels)
    assert (found.top1, found.top5) == (0.0, 0.0)


def test_all_answers_alike_are_not_right() -> None:
    """A dead network gives every class the same score: that is guessing, not 100 %."""
    network, images, labels = case(1000)
    network.table[:] = 0.0
    found = evaluation.evaluate(network, images, labels)
    assert found.top1 < 20.0 and found.top5 < 65.0


def test_evaluation_with_other_parameters_gives_the_own_ones_back() -> None:
    parts = assemble(FLOATS, digits(), None)
    own, counter = parts.network.parameters, parts.counter.copy()
    other = initial_parameters(parts.spec, 5)
    images, labels = digits().test_images[:50], digits().test_labels[:50]
    found = evaluation.evaluate(parts.network, images, labels, other)
    assert parts.network.parameters is own
    assert parts.counter == counter, "evaluation is no training work"
    assert parts.network.arithmetic.counter is parts.counter
    assert found != evaluation.evaluate(parts.network, images, labels)
