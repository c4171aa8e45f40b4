# SPDX-License-Identifier: Apache-2.0
"""Units compared with float32: small errors where all is well, and a fault is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from e2train.cli import run
from e2train.device import open_device
from e2train.network.models import network_spec
from e2train.training.divergence import findings, likeness
from e2train.training.experiment import Experiment, MethodSettings, TrainSettings
from engine_parts import digits

FIXED = Experiment(
    "x",
    network="resnet-8",
    train=TrainSettings(iterations=10, batch=32),
    method=MethodSettings("fixed", "sgd", input_gradient_bits=16),
)
FAULTY = "stage2.block1.conv2"
ELEMENTS = st.floats(-1e3, 1e3, width=32).filter(lambda v: v == 0 or abs(v) > 1e-3)


class Faulty:
    """A device that forgets half the filters when layers of one shape send gradients back."""

    def __init__(self, device: Any, geometry: Any) -> None:
        self._device, self._geometry = device, geometry

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def input_gradient(self, g: Any, w: np.ndarray, geometry: Any, *rest: Any, **given: Any) -> Any:
        if geometry == self._geometry:
            w = w.copy()
            w[: len(w) // 2] = 0
        return self._device.input_gradient(g, w, geometry, *rest, **given)


def test_units_of_a_trained_network_are_near_to_floats() -> None:
    with open_device("emulator") as device:
        found = findings(FIXED, digits(), device, 4)
    assert [each.unit for each in found][:2] == ["stem.conv", "stage1.block1.conv1"]
    for each in found:
        assert each.alone["output"].error < 0.05, each.unit
        assert each.alone["weight"].error < 0.2, each.unit
        assert each.in_a_row["weight"].cosine > 0.9, each.unit
        assert max(each.affine_errors) < 0.5, each.unit
        assert ("input" in each.alone) == (each.unit != "stem.conv")


def test_a_faulty_unit_is_found() -> None:
    with open_device("emulator") as device:
        right = {each.unit: each for each in findings(FIXED, digits(), device, 0)}
        geometry = {u.name: u.geometry for u in network_spec("resnet-8", (1, 8, 8), 10).units()}
        faulty: Any = Faulty(device, geometry[FAULTY])
        wrong = {each.unit: each for each in findings(FIXED, digits(), faulty, 0)}
    for name, each in wrong.items():
        if "input" in each.alone and geometry[name] != geometry[FAULTY]:
            assert each.alone["input"].error < 2 * right[name].alone["input"].error + 0.05, name
    assert right[FAULTY].alone["input"].error < 0.25
    assert wrong[FAULTY].alone["input"].error > 0.4
    below = "stage1.block1.conv1"
    assert wrong[below].in_a_row["weight"].cosine < right[below].in_a_row["weight"].cosine - 0.05


@given(arrays.arrays(np.float32, 6, elements=ELEMENTS), st.floats(0.125, 8.0))
def test_likeness_of_a_scaled_tensor(tensor: np.ndarray, factor: float) -> None:
    found = likeness(tensor * np.float32(factor), tensor)
    if not tensor.any():
        assert (found.error, found.cosine) == (0.0, 1.0)
        return
    assert found.cosine == pytest.approx(1.0)
    assert found.error == pytest.approx(abs(factor - 1), rel=1e-4, abs=1e-5)
    assert found.length == pytest.approx(np.linalg.norm(tensor.astype(np.float64)))


def test_something_beside_nothing() -> None:
    assert likeness(np.ones(3), np.zeros(3)).error == np.inf
    assert likeness(np.zeros(3), np.ones(3)).error == 1.0


def written(folder: Path, experiment: Experiment) -> str:
    path = folder / "x.toml"
    path.write_text(experiment.as_toml())
    return str(path)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["divergence", written(tmp_path, FIXED), "--after", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 7
    assert lines[2].startswith("| stem.conv | 0.0") and "| - |" in lines[2]
    assert len({line.count("|") for line in lines}) == 1


@pytest.mark.parametrize(
    ("method", "after", "message"),
    [
        (MethodSettings("float32"), 1, "expected 'fixed'"),
        (FIXED.method, 10, "expected iterations 0 to 9"),
        (FIXED.method, -1, "expected iterations 0 to 9"),
    ],
)
def test_mistakes(
    method: MethodSettings,
    after: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = written(tmp_path, replace(FIXED, method=method))
    assert run(["divergence", path, "--after", str(after)]) == 2
    assert message in capsys.readouterr().err
