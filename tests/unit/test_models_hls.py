# SPDX-License-Identifier: Apache-2.0
"""The hls4ml project: built by g++, it computes the integer network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from e2train.cli import run
from e2train.device import open_device
from e2train.device.counter import Counter
from e2train.errors import UserError
from e2train.models.hls_project import PART, hls_model
from e2train.models.integers import integers_of
from e2train.network.integer import FixedArithmetic, FixedSettings
from e2train.network.models import network_spec
from e2train.network.parameters import initial_parameters
from trained_runs import trained_run


def test_project_of_the_digits_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, project = trained_run("psg", tmp_path), tmp_path / "project"
    command = ["export", str(folder), "--format", "hls4ml", "--out", str(project)]
    assert run([*command, "--pictures", "60"]) == 0
    said = capsys.readouterr().out
    assert "hls4ml: the same answer as the emulator to 100.00 % of 60 test pictures" in said
    source = (project / "firmware" / "network.cpp").read_text()
    assert "stage3_block1_shortcut" in source
    assert "AP_RND" in (project / "firmware" / "defines.h").read_text()
    assert PART in (project / "project.tcl").read_text()
    assert '"classes"' in (project / "e2train.json").read_text()
    assert str(project) in (project / "hls4ml_config.yml").read_text()
    assert not (tmp_path / "project.part").exists()


def test_networks_that_hls4ml_has_no_layers_for(tmp_path: Path) -> None:
    spec = network_spec("mobilenet-v2", (1, 8, 8), 3)
    arithmetic = FixedArithmetic(open_device("emulator"), Counter(), FixedSettings(False), (0,))
    parameters = initial_parameters(spec, 0)
    network = integers_of(spec, arithmetic, parameters)
    assert np.isfinite(network.bias).all()
    with pytest.raises(UserError, match="ReLU6 and depthwise"):
        hls_model(network, tmp_path / "project", PART)
    assert not (tmp_path / "project").exists()
