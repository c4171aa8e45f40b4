# SPDX-License-Identifier: Apache-2.0
"""Exported networks answer elsewhere as they do here; what does not is not written."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
from safetensors import safe_open

from e2train.cli import run
from e2train.data.batches import to_float32
from e2train.data.load import load_data, load_dataset
from e2train.device import open_device
from e2train.device.counter import Counter
from e2train.models import answers as asked
from e2train.models import export as exporting
from e2train.models.integers import integers_of
from e2train.models.onnx_float import float_model
from e2train.models.onnx_integer import integer_model
from e2train.models.plain_torch import plain_network
from e2train.models.trained import Trained, load_trained, needs_device
from e2train.network import models as network_models
from e2train.network.float32 import FloatArithmetic
from e2train.network.float_backend import float_backend
from e2train.network.integer import FixedArithmetic, FixedSettings
from e2train.network.models import network_spec
from e2train.network.network import Network
from e2train.network.parameters import initial_parameters
from e2train.training.bring import answers
from e2train.training.evaluate import evaluate
from e2train.weights.fit import Normalisation
from trained_runs import RUNS, trained_run

DATA = load_dataset("digits")
FLOATS = {"torch": "model.pt", "safetensors": "model.safetensors", "onnx": "model.onnx"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("runs")
    return {kind: trained_run(kind, parent) for kind in RUNS}


def loaded(folder: Path) -> Trained:
    return load_trained(folder, None, open_device("emulator") if needs_device(folder) else None)


def float_answers(trained: Trained, mean: list[float], deviation: list[float]) -> np.ndarray:
    """Of the float path here, with the normalisation that a file tells."""
    whole = tuple(int(value) for value in mean)
    arithmetic = FloatArithmetic(float_backend(), Counter(), whole, tuple(deviation))
    network = Network(trained.parts.spec, arithmetic, trained.plain_parameters)
    return answers(network, DATA.test_images)


def top1(found: np.ndarray) -> float:
    return 100.0 * float((found == DATA.test_labels).mean())


@pytest.mark.parametrize("kind", ["psg", "sgd", "e2train", "depth"])
def test_loaded_as_it_was_evaluated(kind: str, runs: dict[str, Path]) -> None:
    trained = loaded(runs[kind])
    found = evaluate(trained.parts.network, DATA.test_images, DATA.test_labels)
    assert found.top1 == trained.cell["top1"]
    assert trained.weights == ("averaged" if kind == "e2train" else "current")
    assert found.top1 > 50


def test_stochastic_depths_scales_go_into_the_batch_norms(runs: dict[str, Path]) -> None:
    trained = loaded(runs["depth"])
    scaled = trained.parts.network.logits(DATA.test_images[:50], 0, training=False)
    folded = trained.all_blocks().logits(DATA.test_images[:50], 0, training=False)
    assert np.array_equal(scaled, folded)
    bare = Network(trained.parts.spec, trained.parts.fixed, trained.parts.network.parameters)
    assert not np.array_equal(bare.logits(DATA.test_images[:50], 0, training=False), folded)


@pytest.mark.parametrize("kind", ["psg", "sgd"])
def test_round_trip(kind: str, runs: dict[str, Path], tmp_path: Path) -> None:
    """torch and onnxruntime answer alike, picture by picture, and as the float path here."""
    for format_, name in FLOATS.items():
        command = ["export", str(runs[kind]), "--format", format_, "--out", str(tmp_path / name)]
        assert run(command) == 0
    held = torch.load(tmp_path / "model.pt", weights_only=True)
    facts = json.loads(held["e2train"])
    network = plain_network("resnet-8", 1, 10)
    network.load_state_dict(held["state_dict"])  # strictly: every name and no other
    network.eval()
    told = facts["normalisation"]
    x = to_float32(DATA.test_images, told["mean"], told["deviation"])
    with torch.no_grad():
        in_torch = network(torch.from_numpy(x)).argmax(1).numpy()
    in_onnx = asked.onnx_answers(tmp_path / "model.onnx", DATA.test_images)
    assert np.array_equal(in_onnx, in_torch)
    trained = loaded(runs[kind])
    assert abs(top1(in_torch) - top1(float_answers(trained, **told))) <= 0.1
    with safe_open(tmp_path / "model.safetensors", "np") as opened:
        assert set(opened.keys()) == set(held["state_dict"])
        assert json.loads(opened.metadata()["e2train"]) == facts
    assert facts["classes"] == [str(number) for number in range(10)]
    assert facts["training"]["top1"] == trained.cell["top1"]
    assert facts["training"]["data"] == "UCI digits 8x8" and facts["picture"] == [1, 8, 8]
    props = {p.key: p.value for p in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert json.loads(props["e2train"]) == facts
    assert ("128.0" if kind == "psg" else "48.1") in props["normalisation"]


def test_an_export_can_be_brought_back(runs: dict[str, Path], tmp_path: Path) -> None:
    """The file tells its normalisation, so a float32 experiment takes integers' weights."""
    weights, own = tmp_path / "w.safetensors", tmp_path / "own.toml"
    assert run(["export", str(runs["psg"]), "--format", "safetensors", "--out", str(weights)]) == 0
    own.write_text(
        f'[train]\niterations = 1\nbatch = 16\n[finetune]\nweights = "{weights}"\n'
        'mode = "last-layer"\n'
    )
    out = tmp_path / "out"
    assert run(["train", str(own), "--out", str(out), "--meter", "none", "--quiet"]) == 0
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    brought = next(event for event in events if event["event"] == "weights")
    expected = top1(float_answers(loaded(runs["psg"]), [39], [128.0]))
    assert abs(brought["float_top1"] - expected) <= 0.3
    assert brought["assumed"] is False


def test_qonnx_computes_the_integers(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.onnx"
    command = ["export", str(runs["psg"]), "--format", "qonnx", "--out", str(path)]
    assert run([*command, "--pictures", "100"]) == 0
    said = capsys.readouterr().out
    assert "the same answer as the emulator to 100.00 % of 100 test pictures" in said
    model = ModelWrapper(str(path))
    picture = DATA.test_images[:1]
    logits = execute_onnx(model, {"pixels": picture.astype(np.float32)})["logits"]
    trained = loaded(runs["psg"])
    np.testing.assert_allclose(
        logits, trained.all_blocks().logits(picture, 0, training=False), atol=1e-3
    )
    quants = [node for node in model.graph.node if node.op_type == "Quant"]
    assert len(quants) > 20
    for node in quants:  # powers of two, and the widths of the contract
        scale, bits = (float(model.get_initializer(node.input[i])) for i in (1, 3))
        assert np.log2(scale).is_integer() and bits in (2, 8, 16)


def test_exported_gates_are_stated(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.onnx"
    assert run(["export", str(runs["e2train"]), "--format", "onnx", "--out", str(path)]) == 0
    said = capsys.readouterr().out
    trained = loaded(runs["e2train"])
    assert "exported with all blocks, without gates: top-1" in said
    assert f"with gates the run had {trained.cell['top1']:.2f} % at" in said
    props = {p.key: p.value for p in onnx.load(path).metadata_props}
    facts = json.loads(props["e2train"])
    assert "gates" in facts["blocks"] and facts["weights"] == "averaged"
    expected = answers(trained.all_blocks(), DATA.test_images)
    agreed = (asked.onnx_answers(path, DATA.test_images) == expected).mean()
    assert agreed > 0.95


@pytest.fixture
def disagreeing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ONNX file that answers the next class for every tenth picture."""
    real = asked.onnx_answers

    def wrong(path: Path, images: np.ndarray) -> np.ndarray:
        found = real(path, images)
        found[::10] = (found[::10] + 1) % 10
        return found

    monkeypatch.setattr(asked, "onnx_answers", wrong)


@pytest.mark.usefixtures("disagreeing")
def test_what_answers_otherwise_is_not_written(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "net.onnx"
    command = ["export", str(runs["psg"]), "--format", "onnx", "--out", str(path)]
    assert run(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "not written" in line and "95.0 % are expected" in line and "--force" in line
    assert 85 < float(re.search(r"answer to only ([\d.]+) % of 360", line)[1]) < 95
    assert list(path.parent.iterdir()) == []
    assert run([*command, "--force"]) == 0
    assert [one.name for one in path.parent.iterdir()] == ["net.onnx"]


def test_what_is_there_is_kept(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.onnx"
    path.write_text("mine")
    command = ["export", str(runs["psg"]), "--format", "onnx", "--out", str(path)]
    assert run(command) == 2
    assert "exists already" in capsys.readouterr().err and path.read_text() == "mine"
    assert run([*command, "--force"]) == 0
    assert onnx.load(path).graph.node


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("psg", ["--format", "tflite"], ["tflite", "torch, safetensors, onnx, qonnx, hls4ml"]),
        ("sgd", ["--format", "qonnx"], ["trained in float32", "finetune.weights"]),
        ("sgd", ["--format", "hls4ml"], ["trained in float32"]),
        ("psg", ["--format", "onnx", "--pictures", "0"], ["--pictures 0", "1 or more"]),
    ],
)
def test_impossible_requests(
    kind: str,
    options: list[str],
    words: list[str],
    runs: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted(runs[kind].iterdir())
    assert run(["export", str(runs[kind]), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(word in line for word in words)
    assert sorted(runs[kind].iterdir()) == before


def test_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", str(tmp_path), "--format", "onnx"]) == 2
    assert "experiment.toml: missing, so" in capsys.readouterr().err


def test_a_missing_package_is_named(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for format_, extra in (("torch", "emulator"), ("qonnx", "models"), ("hls4ml", "hls")):
        with pytest.raises(exporting.UserError) as caught:
            exporting._check_packages(format_)
        assert f"pip install 'e2train[{extra}]'" in str(caught.value)


def test_mobilenet_in_floats_and_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks without shortcut, ReLU6 and depthwise layers, at random weights; a narrow one."""
    monkeypatch.setattr(network_models, "STAGES", ((1, 8, 1, 1), (6, 12, 2, 2)))
    monkeypatch.setattr(network_models, "STEM_CHANNELS", 8)
    monkeypatch.setattr(network_models, "HEAD_CHANNELS", 32)
    spec, rng = network_spec("mobilenet-v2", (3, 8, 8), 4), np.random.default_rng(0)
    parameters = initial_parameters(spec, 0)
    images = rng.integers(0, 256, (4, 3, 8, 8), np.uint8)
    mean, deviation = (120, 118, 110), (60.0, 61.0, 62.0)
    fixed = FixedArithmetic(open_device("emulator"), Counter(), FixedSettings(False), mean)
    integers = Network(spec, fixed, parameters)
    for number in range(2):  # exponents, and statistics that fit the weights
        integers.logits(images, number, training=True)
    floats = FloatArithmetic(float_backend(), Counter(), mean, deviation)
    expected = Network(spec, floats, parameters).logits(images, 0, training=False)
    input_ = Normalisation(tuple(map(float, mean)), deviation)
    model = float_model(spec, parameters, input_, {})
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = session.run(None, {"pixels": images.astype(np.float32)})[0]
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
    model = ModelWrapper(integer_model(integers_of(spec, fixed, parameters), {}))
    model = model.transform(InferShapes())
    found = execute_onnx(model, {"pixels": images[:1].astype(np.float32)})["logits"]
    expected = integers.logits(images[:1], 0, training=False)
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_a_run_without_its_record_of_classes_reads_the_data_set(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    """Runs of earlier versions do not tell the data's mean."""
    folder = tmp_path / "old"
    shutil.copytree(runs["psg"], folder)
    first, *rest = (folder / "events.jsonl").read_text().splitlines()
    start = {k: v for k, v in json.loads(first).items() if k not in ("picture", "class_names")}
    (folder / "events.jsonl").write_text("\n".join([json.dumps(start), *rest]) + "\n")
    data = load_data(RUNS["psg"].data)
    assert loaded(folder).mean == data.mean == loaded(runs["psg"]).mean
