# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning: the last layer alone leaves everything else as it was, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from e2train.data.dataset import take_half
from e2train.data.load import load_dataset
from e2train.device import open_device
from e2train.errors import UserError
from e2train.methods.slu_gates import initial_gates
from e2train.network.models import network_spec
from e2train.network.parameters import initial_parameters
from e2train.runs.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from e2train.training.experiment import (
    DataSettings,
    Experiment,
    FinetuneSettings,
    MethodSettings,
    SluSettings,
    SwaSettings,
    TrainSettings,
)
from e2train.training.finetune import start_from
from e2train.training.trainer import Trainer

BASE = Experiment(
    "pre-trained",
    data=DataSettings(half="first"),
    train=TrainSettings(iterations=6, batch=16, log_every=3, checkpoint_every=3),
)


def train(experiment: Experiment, folder: Path) -> dict[str, np.ndarray]:
    """Run an experiment; its final parameters."""
    folder.mkdir()
    dataset = load_dataset("digits", half=experiment.data.half)
    device = open_device("emulator") if experiment.method.arithmetic == "fixed" else None
    with Trainer(experiment, dataset, folder, device=device, meter="none") as trainer:
        trainer.run()
    arrays = read_checkpoint(folder / "checkpoint.npz").arrays
    return {n[11:]: a for n, a in arrays.items() if n.startswith("parameters/")}


def fixed(experiment: Experiment) -> Experiment:
    return replace(experiment, method=MethodSettings("fixed", "psg"))


def tuned(checkpoint: Path, mode: str) -> Experiment:
    return replace(
        BASE,
        name="tuned",
        data=DataSettings(half="second"),
        finetune=FinetuneSettings(str(checkpoint), mode),
    )


@pytest.mark.parametrize("arithmetic", ["float32", "fixed"])
def test_last_layer_alone(arithmetic: str, tmp_path: Path) -> None:
    prepare = fixed if arithmetic == "fixed" else (lambda e: e)
    before = train(prepare(BASE), tmp_path / "base")
    experiment = prepare(tuned(tmp_path / "base/checkpoint.npz", "last-layer"))
    after = train(experiment, tmp_path / "tuned")
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name].tobytes() != after[name].tobytes()}
    assert changed == {"classifier.weight", "classifier.bias"}
    result = (tmp_path / "tuned/result.json").read_text()
    assert "backward_input" not in result, "no gradient goes back beyond the last layer"


def test_last_layer_with_averaging_keeps_the_statistics(tmp_path: Path) -> None:
    """Averaged weights get new batch-norm statistics for evaluation; the network keeps its own."""
    before = train(BASE, tmp_path / "base")
    experiment = replace(
        tuned(tmp_path / "base/checkpoint.npz", "last-layer"),
        swa=SwaSettings(start=0.0, every=1, statistics_batches=2),
    )
    after = train(experiment, tmp_path / "tuned")
    name = "stem.conv.running_mean"
    assert np.array_equal(before[name], after[name])


def test_last_layer_leaves_gates_alone(tmp_path: Path) -> None:
    train(BASE, tmp_path / "base")
    slu = SluSettings(0.3, gated="all", warmup=0.0)
    experiment = replace(tuned(tmp_path / "base/checkpoint.npz", "last-layer"), slu=slu)
    train(experiment, tmp_path / "tuned")
    arrays = read_checkpoint(tmp_path / "tuned/checkpoint.npz").arrays
    initial = initial_gates(network_spec("resnet-8", (1, 8, 8), 10).skippable_blocks, 0)
    assert {name[6:] for name in arrays if name.startswith("gates/")} == set(initial)
    for name, value in initial.items():
        assert arrays[f"gates/{name}"].tobytes() == value.tobytes(), name


def test_all_layers(tmp_path: Path) -> None:
    before = train(BASE, tmp_path / "base")
    checkpoint = tmp_path / "base/checkpoint.npz"
    after = train(tuned(checkpoint, "all-layers"), tmp_path / "tuned")
    assert not any(np.array_equal(before[name], after[name]) for name in before)
    # it starts from the pre-trained weights: nearer to them than to the initial ones
    initial = initial_parameters(network_spec("resnet-8", (1, 8, 8), 10), 0)
    name = "stage2.block1.conv2.weight"
    moved = np.linalg.norm(after[name] - before[name])
    assert moved < 0.5 * np.linalg.norm(initial[name])


def test_start_from_copies_every_parameter(tmp_path: Path) -> None:
    before = train(BASE, tmp_path / "base")
    parameters = initial_parameters(network_spec("resnet-8", (1, 8, 8), 10), 99)
    start_from(tmp_path / "base/checkpoint.npz", "resnet-8", parameters)
    assert all(np.array_equal(value, before[name]) for name, value in parameters.items())


def test_halves_share_no_picture() -> None:
    whole = load_dataset("digits")
    first, second = (take_half(whole, half, 0) for half in ("first", "second"))
    together = len(first.train_labels) + len(second.train_labels)
    assert together == len(whole.train_labels)
    counts = [np.bincount(d.train_labels, minlength=10) for d in (first, second)]
    assert np.abs(counts[0] - counts[1]).max() <= 1


def checkpoint_of(path: Path, network: str, parameters: dict[str, np.ndarray]) -> Path:
    arrays = {f"parameters/{name}": value for name, value in parameters.items()}
    write_checkpoint(path, Checkpoint({"network": network}, arrays))
    return path


def refused(path: Path, *words: str) -> None:
    """`start_from` must refuse in one line with all words."""
    parameters = initial_parameters(network_spec("resnet-8", (1, 8, 8), 10), 1)
    with pytest.raises(UserError) as caught:
        start_from(path, "resnet-8", parameters)
    line = str(caught.value)
    assert "\n" not in line
    for word in (str(path), *words):
        assert word in line


def test_another_network_is_refused(tmp_path: Path) -> None:
    spec = network_spec("resnet-14", (1, 8, 8), 10)
    path = checkpoint_of(tmp_path / "c.npz", "resnet-14", initial_parameters(spec, 0))
    refused(path, "resnet-14", "resnet-8")


def test_a_classifier_of_other_classes_is_replaced(tmp_path: Path) -> None:
    spec = network_spec("resnet-8", (1, 8, 8), 7)
    base = initial_parameters(spec, 0)
    path = checkpoint_of(tmp_path / "c.npz", "resnet-8", base)
    initial = initial_parameters(network_spec("resnet-8", (1, 8, 8), 10), 1)
    taken = {name: value.copy() for name, value in initial.items()}
    (note,) = start_from(path, "resnet-8", taken)
    assert "7 classes" in note and "10" in note and "replaced" in note
    for name, value in taken.items():
        source = initial if name.startswith("classifier.") else base
        assert np.array_equal(value, source[name]), name


def test_another_number_of_channels_is_refused(tmp_path: Path) -> None:
    spec = network_spec("resnet-8", (3, 8, 8), 10)
    path = checkpoint_of(tmp_path / "c.npz", "resnet-8", initial_parameters(spec, 0))
    refused(path, "stem.conv.weight", "(16, 3, 3, 3)", "(16, 1, 3, 3)")


def test_a_missing_parameter_is_refused(tmp_path: Path) -> None:
    parameters = initial_parameters(network_spec("resnet-8", (1, 8, 8), 10), 0)
    del parameters["stage3.block1.conv2.gamma"]
    path = checkpoint_of(tmp_path / "c.npz", "resnet-8", parameters)
    refused(path, "stage3.block1.conv2.gamma", "missing")


def test_no_checkpoint_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.npz", "no such checkpoint")
