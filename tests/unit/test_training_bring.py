# SPDX-License-Identifier: Apache-2.0
"""`finetune.weights`: from a file to a network that is ready to train, in floats and integers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from e2train.cli import run
from e2train.data.batches import to_float32
from e2train.data.load import load_dataset
from e2train.device import open_device
from e2train.errors import UserError
from e2train.models.plain_torch import ResNet
from e2train.runs.checkpoint import read_checkpoint
from e2train.training.assembly import Parts, assemble
from e2train.training.bring import bring
from e2train.training.experiment import Experiment, FinetuneSettings, MethodSettings, TrainSettings
from e2train.training.trainer import Trainer
from e2train.weights.files import read_weights

MEAN, STD = 0.15, 0.25  # of pixels from 0 to 1: not what the data set has
STEPS = 60
DATA = load_dataset("digits")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A state dict that torch trained on the digits for seconds, and its top-1 in torch."""
    torch.manual_seed(0)
    network, mean, std = ResNet(8, 1, 10), (255 * MEAN,), (255 * STD,)
    optimiser = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, STEPS)
    images, labels = (
        torch.from_numpy(to_float32(DATA.train_images, mean, std)),
        torch.from_numpy(DATA.train_labels),
    )
    for step in range(STEPS):
        chosen = torch.arange(step * 64, (step + 1) * 64) % len(labels)
        loss = torch.nn.functional.cross_entropy(network(images[chosen]), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()  # to nothing, so that the running statistics are of the last weights
    network.eval()
    with torch.no_grad():
        found = network(torch.from_numpy(to_float32(DATA.test_images, mean, std))).argmax(1)
    path = tmp_path_factory.mktemp("trained") / "digits.pt"
    torch.save(network.state_dict(), path)
    return path, 100.0 * float((found.numpy() == DATA.test_labels).mean())


def experiment(path: Path, arithmetic: str, **finetune: object) -> Experiment:
    method = MethodSettings(arithmetic, "psg" if arithmetic == "fixed" else "sgd")
    chosen = FinetuneSettings(weights=str(path), mean=(MEAN,), std=(STD,))
    return Experiment(
        "own",
        train=TrainSettings(iterations=4, batch=64, lr=0.003, log_every=2, checkpoint_every=2),
        method=method,
        finetune=replace(chosen, **finetune),
    )


def parts_of(chosen: Experiment) -> Parts:
    fixed = chosen.method.arithmetic == "fixed"
    return assemble(chosen, DATA, open_device("emulator") if fixed else None)


@pytest.mark.parametrize("arithmetic", ["float32", "fixed"])
def test_computes_what_torch_computed(arithmetic: str, trained: tuple[Path, float]) -> None:
    path, torch_top1 = trained
    assert torch_top1 > 85
    chosen = experiment(path, arithmetic)
    parts = parts_of(chosen)
    found = bring(chosen, DATA, parts)
    assert abs(found.float_top1 - torch_top1) <= 0.5
    assert found.replaced is None and not found.assumed
    assert parts.counter.macs == 0, "what prepares the network is not the training's work"
    if arithmetic == "fixed":
        assert abs(found.integer_top1 - found.float_top1) <= 1.5
        assert found.alike >= 97
        assert all(track.known for track in parts.fixed.exponents.values())
    line = found.lines()[-1]
    assert f"{found.float_top1:.2f} % in float32" in line
    assert ("in integers" in line) == (arithmetic == "fixed")


def test_untold_normalisation_is_said(trained: tuple[Path, float]) -> None:
    chosen = experiment(trained[0], "float32", mean=None, std=None)
    found = bring(chosen, DATA, parts_of(chosen))
    assert found.assumed
    assert any("finetune.mean" in line for line in found.lines())


def test_calibration_leaves_weights_alone(trained: tuple[Path, float]) -> None:
    integers, floats = (experiment(trained[0], a) for a in ("fixed", "float32"))
    one, other = parts_of(integers), parts_of(floats)
    bring(integers, DATA, one)
    bring(floats, DATA, other)
    for name, value in one.network.parameters.items():
        changed = not np.array_equal(value, other.network.parameters[name])
        statistics = name.endswith(("running_mean", "running_variance"))
        # the first layer's weights differ by what the two inputs are
        assert changed == (statistics or name == "stem.conv.weight"), name


def test_command_line_says_it_and_goes_on(
    trained: tuple[Path, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = experiment(trained[0], "fixed", new_classifier=True, mode="last-layer")
    path, out = tmp_path / "own.toml", tmp_path / "out"
    path.write_text(chosen.as_toml())
    command = ["train", str(path), "--out", str(out), "--quiet", "--meter", "none"]
    assert run(command) == 0
    said = capsys.readouterr().out
    assert "starts from" in said and "CIFAR ResNet names" in said
    assert "classifier of 10 classes is replaced by a new one of 10" in said
    assert "% in float32," in said and "% in integers" in said
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert [e["event"] for e in events[:2]] == ["start", "weights"]
    assert events[1]["replaced"] == 10
    # it goes on from its own checkpoint, without the weights
    (out / "result.json").unlink()
    kept = read_checkpoint(out / "checkpoint.npz").arrays
    path.write_text(chosen.as_toml())
    chosen_file = Path(chosen.finetune.weights)
    aside = chosen_file.rename(tmp_path / "aside")
    try:
        assert run([*command, "--resume"]) == 0
    finally:
        aside.rename(chosen_file)
    again = read_checkpoint(out / "checkpoint.npz").arrays
    assert all(np.array_equal(kept[name], again[name]) for name in kept)
    assert "starts from" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("finetune", "words"),
    [
        ({"checkpoint": "c.npz"}, ("finetune.weights", "no finetune.checkpoint")),
        ({"mean": None}, ("finetune.mean", "together")),
        ({"mean": (117.0,)}, ("finetune.mean", "0 to 1")),
        ({"std": (0.0,)}, ("finetune.std", "0.001 to 10")),
        ({"weights": None}, ("finetune.mean", "finetune.weights beside it")),
    ],
)
def test_impossible_settings(
    finetune: dict, words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.toml"
    path.write_text(experiment(Path("w.pt"), "float32", **finetune).as_toml())
    assert run(["train", str(path), "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(word in line for word in words)


def test_the_run_takes_the_weights_normalisation(
    trained: tuple[Path, float], tmp_path: Path
) -> None:
    """To whole pixels, so that a padding pixel is 0 in the run as it was in the model."""
    chosen = experiment(trained[0], "float32", mean=(0.3,), std=(0.2,))
    with Trainer(chosen, DATA, tmp_path, device=None, meter="none") as trainer:
        assert (trainer.dataset.mean, trainer.dataset.std) == ((76,), (51.0,))
        trainer.run()
    meta = read_checkpoint(tmp_path / "checkpoint.npz").meta
    assert (meta["mean"], meta["std"]) == ([76], [51.0])
    facts = read_weights(tmp_path / "checkpoint.npz").facts
    assert facts["normalisation"] == {"mean": [76], "deviation": [51.0]}


@pytest.mark.parametrize("mean", ["dark", [1.0, 2.0], [float("nan")], [300.0]])
def test_a_file_with_an_impossible_normalisation(mean: object, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    told = {"normalisation": {"mean": mean, "deviation": [60.0]}}
    torch.save({"state_dict": ResNet(8, 1, 10).state_dict(), "e2train": json.dumps(told)}, path)
    chosen = experiment(path, "float32", mean=None, std=None)
    with pytest.raises(UserError, match="its normalisation is not a mean and a deviation of 1"):
        bring(chosen, DATA, parts_of(chosen))


def test_channels_of_the_normalisation(trained: tuple[Path, float]) -> None:
    chosen = experiment(trained[0], "float32", mean=(0.1, 0.2, 0.3), std=(0.1, 0.2, 0.3))
    with pytest.raises(UserError, match=r"finetune.mean = .*expected 1 numbers"):
        bring(chosen, DATA, parts_of(chosen))
