# SPDX-License-Identifier: Apache-2.0
"""The demo's experiments, as `make demo` runs them: accuracy, savings and the summary's keys."""

import json
from pathlib import Path

import pytest

from e2train import cli

EXPERIMENTS = Path(__file__).parents[2] / "experiments" / "demo"
NAMES = ("sgd-fp32", "fixed8", "psg", "smd", "slu", "e2train")
FULL_LENGTH = ("sgd-fp32", "e2train")
KEYS = {
    "name",
    "method",
    "iterations_offered",
    "iterations_run",
    "top1",
    "mac_saving",
    "computational_saving",
    "energy_joules",
    "energy_uncertainty_joules",
    "energy_provenance",
    "energy_saving",
    "skip_ratio",
    "predictor_share",
    "seconds",
}


def e2train(*arguments: object) -> None:
    assert cli.run(list(map(str, arguments))) == 0


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    """Two cells at full length, the others for a few iterations, and their report."""
    folder = tmp_path_factory.mktemp("demo")
    for name in NAMES:
        text = (EXPERIMENTS / f"{name}.toml").read_text()
        if name not in FULL_LENGTH:
            text = text.replace("iterations = 600", "iterations = 30")
        (folder / f"{name}.toml").write_text(text)
        e2train("train", folder / f"{name}.toml", "--out", folder / name, "--quiet")
    e2train("report", *(folder / name for name in NAMES), "--out", folder)
    assert (folder / "report.html").stat().st_size > 100_000
    return json.loads((folder / "summary.json").read_text())


def test_every_cell_is_there(summary):
    assert summary["schema"] == 1
    assert (summary["dataset"], summary["network"]) == ("digits", "resnet-8")
    assert [cell["name"] for cell in summary["cells"]] == list(NAMES)
    for cell in summary["cells"]:
        assert set(cell) >= KEYS
        assert cell["energy_provenance"] == "simulated"
        assert cell["energy_joules"] > 0 and cell["energy_uncertainty_joules"] > 0


def test_e2train_keeps_accuracy_and_saves(summary):
    cells = {cell["name"]: cell for cell in summary["cells"]}
    float_, e2 = cells["sgd-fp32"], cells["e2train"]
    assert float_["top1"] > 96
    assert e2["top1"] >= float_["top1"] - 2.0
    assert e2["computational_saving"] > 75
    # against the hypothetical float array; gates and moves cost more than the skipping saves here
    assert 42 < e2["energy_saving"] < 50
    assert abs(e2["skip_ratio"] - 20) < 8
    assert 0.4 < e2["iterations_run"] / e2["iterations_offered"] < 0.6


def test_dropping_drops_work(summary):
    cells = {cell["name"]: cell for cell in summary["cells"]}
    assert cells["smd"]["iterations_run"] < cells["smd"]["iterations_offered"]
    assert cells["psg"]["predictor_share"] > 20
    assert cells["sgd-fp32"]["predictor_share"] is None
