# SPDX-License-Identifier: Apache-2.0
"""summary.json and the savings in it, recomputed here with exact fractions."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2train.report import write_report
from e2train.report.summary import energy_saving, headline, saving, savings_of, summarise
from e2train.runs.load import Energy, load_runs
from report_folders import CELLS, SMB_MACS, Made, make_run, make_runs

CELL_KEYS = {
    "name", "method", "iterations_offered", "iterations_run", "top1", "mac_saving",
    "computational_saving", "energy_joules", "energy_uncertainty_joules", "energy_provenance",
    "energy_saving", "energy_saving_fixed8", "skip_ratio", "predictor_share", "seconds",
}  # fmt: skip


def percent_saved(spent: float, base: float) -> float:
    return float(100 * (1 - Fraction(spent) / Fraction(base)))


def read_results(parent: Path) -> dict[str, Any]:
    return {file.parent.name: json.loads(file.read_text()) for file in parent.glob("*/result.json")}


def test_schema_and_arithmetic(tmp_path: Path) -> None:
    make_runs(tmp_path)
    summary = summarise(load_runs([tmp_path]))
    assert set(summary) == {"schema", "headline", "comparisons", "dataset", "network", "cells"}
    assert (summary["schema"], summary["dataset"], summary["network"]) == (1, "digits", "resnet-8")
    assert [cell["name"] for cell in summary["cells"]] == [cell.name for cell in CELLS]
    results = read_results(tmp_path)
    base = results["sgd-fp32"]
    for cell in summary["cells"]:
        raw = results[cell["name"]]
        assert set(cell) == CELL_KEYS
        for key in CELL_KEYS & set(raw["cell"]):
            assert cell[key] == raw["cell"][key]
        assert cell["mac_saving"] == pytest.approx(percent_saved(raw["macs"], base["macs"]))
        assert cell["computational_saving"] == pytest.approx(
            percent_saved(raw["bit_operations"], base["bit_operations"])
        )
        for key, other in (("energy_saving", "sgd-fp32"), ("energy_saving_fixed8", "fixed8")):
            assert cell[key] == pytest.approx(
                percent_saved(raw["cell"]["energy_joules"], results[other]["cell"]["energy_joules"])
            )
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_without_baseline_the_count_of_plain_sgd_is_the_base(tmp_path: Path) -> None:
    make_run(tmp_path / "smd", CELLS[3], iterations=400)
    make_run(tmp_path / "sgd-fp32", CELLS[0], iterations=400, until=200)
    cell = summarise(load_runs([tmp_path]))["cells"][0]
    raw = read_results(tmp_path)["smd"]
    assert cell["mac_saving"] == pytest.approx(percent_saved(raw["macs"], SMB_MACS * 400))
    assert cell["computational_saving"] == pytest.approx(
        percent_saved(raw["bit_operations"], SMB_MACS * 400 * 1024)
    )
    assert cell["energy_saving"] is None


def test_energy_is_compared_within_one_provenance_only(tmp_path: Path) -> None:
    cells = (
        CELLS[0],
        Made("psg", 96.0, 0.2, predicts=True, provenance="metered"),
        Made("slu", 95.0, 0.5, skips=True, provenance=None),
        Made("smd", 95.0, 0.5, drops=True),
    )
    make_runs(tmp_path, cells)
    found = {cell["name"]: cell for cell in summarise(load_runs([tmp_path]))["cells"]}
    assert found["psg"]["energy_saving"] is None
    assert found["psg"]["energy_joules"] > 0 and found["psg"]["energy_provenance"] == "metered"
    for key in ("energy_joules", "energy_uncertainty_joules", "energy_provenance", "energy_saving"):
        assert found["slu"][key] is None
    assert found["smd"]["energy_saving"] == pytest.approx(50.0)


def test_baseline_of_the_same_seed(tmp_path: Path) -> None:
    for seed in (0, 1):
        dear = Made("sgd-fp32", 97.0, 1.0 + seed)
        make_run(tmp_path / f"sgd{seed}", dear, seed=seed)
        make_run(tmp_path / f"psg{seed}", CELLS[2], seed=seed)
    make_run(tmp_path / "slu", CELLS[4], seed=5)
    runs = load_runs([tmp_path])
    saved = {run.label: savings_of(run, run.result, runs) for run in runs if run.result}
    assert saved["psg (seed 0)"].energy == pytest.approx(100 * (1 - 0.22 / 1.0))
    assert saved["psg (seed 1)"].energy == pytest.approx(100 * (1 - 0.22 / 2.0))
    assert saved["slu"].against == "the cell sgd-fp32 (seed 0)"


def test_unfinished_cells_stay_out_of_the_cells(tmp_path: Path) -> None:
    make_run(tmp_path / "a", CELLS[0])
    make_run(tmp_path / "b", CELLS[5], until=300)
    summary = summarise(load_runs([tmp_path]))
    assert [cell["name"] for cell in summary["cells"]] == ["sgd-fp32"]
    assert summary["unfinished"] == [{"name": "e2train", "iteration": 300, "iterations": 600}]


def test_headline_comes_from_the_data(tmp_path: Path) -> None:
    make_runs(tmp_path / "all")
    assert headline(load_runs([tmp_path / "all"])) == (
        "e2train: 96.1 % top-1, 88 % less energy (simulated) than sgd-fp32 "
        "(hypothetical on this board), 60 % less than fixed8"
    )
    make_runs(tmp_path / "dear", (CELLS[0], Made("e2train", 50.0, 1.2)))
    assert headline(load_runs([tmp_path / "dear"])) == (
        "e2train: 50.0 % top-1, 20 % more energy (simulated) than sgd-fp32 "
        "(hypothetical on this board), no comparison with fixed8 (no such run in this set)"
    )
    make_runs(tmp_path / "some", (CELLS[0], CELLS[3], Made("slu", 90.0, 0.3, provenance=None)))
    assert headline(load_runs([tmp_path / "some"])).startswith(
        "smd: 96.9 % top-1, 50 % less energy"
    )
    make_runs(tmp_path / "dry", (CELLS[0], Made("slu", 90.0, 0.3, skips=True, provenance=None)))
    assert headline(load_runs([tmp_path / "dry"])).endswith("20 % less computing (bit operations)")
    make_runs(tmp_path / "none", (CELLS[0],), until=20)
    assert headline(load_runs([tmp_path / "none"])) == "No finished cell yet"


def test_more_energy_than_fixed8_is_said_everywhere(tmp_path: Path) -> None:
    """E2-Train far below 32-bit SGD and still above 8-bit training: 0.43 against 0.30 is 43 %."""
    make_runs(tmp_path, (CELLS[0], CELLS[1], Made("e2train", 96.0, 0.43, drops=True)))
    report = write_report([tmp_path])
    assert "57 % less energy (simulated) than sgd-fp32" in report.headline
    assert "43 % more than fixed8" in report.headline
    summary = json.loads(report.summary.read_text())
    assert list(summary)[:3] == ["schema", "headline", "comparisons"]
    against_float, against_fixed8 = summary["comparisons"]
    results = read_results(tmp_path)
    joules = {name: raw["cell"]["energy_joules"] for name, raw in results.items()}
    for found, key in ((against_float, "sgd-fp32"), (against_fixed8, "fixed8")):
        assert found["baseline"] == found["run"] == key
        saved = percent_saved(joules["e2train"], joules[key])
        assert found["energy_saving"] == pytest.approx(saved)
        assert found["energy_provenance"] == "simulated"
    assert against_fixed8["energy_saving"] == pytest.approx(-100 * (0.43 / 0.30 - 1))
    assert against_float["hypothetical"] and not against_fixed8["hypothetical"]
    page = report.page.read_text()
    first_figure = page.index("<figure>")
    for words in ("43 % more than fixed8", "57 % less than sgd-fp32", "no float32 kernel exists"):
        assert page.index(words) < first_figure


@pytest.mark.parametrize("absent, left", [("sgd-fp32", "fixed8"), ("fixed8", "sgd-fp32")])
def test_a_missing_baseline_is_said(tmp_path: Path, absent: str, left: str) -> None:
    make_runs(tmp_path, tuple(cell for cell in CELLS if cell.name != absent))
    found = {one["baseline"]: one for one in summarise(load_runs([tmp_path]))["comparisons"]}
    assert found[absent]["energy_saving"] is None and found[absent]["run"] is None
    assert "No finished run" in found[absent]["sentence"]
    assert found[left]["energy_saving"] is not None
    assert f"no comparison with {absent}" in headline(load_runs([tmp_path]))


@pytest.mark.parametrize(
    ("provenance", "base", "hypothetical", "words"),
    [
        ("simulated", "simulated", True, "Hypothetical on this board: no float32 kernel"),
        ("metered", "metered", False, "at the supply of the machine that computed in float32"),
        ("on-chip", "on-chip", False, "by a counter inside the machine that computed in float32"),
        ("metered", "simulated", False, "do not compare"),
        (None, None, True, "modelled"),
    ],
)
def test_what_a_saving_against_float32_rests_on(
    tmp_path: Path, provenance: str | None, base: str | None, hypothetical: bool, words: str
) -> None:
    """The label comes from how the float32 joules came about; without a meter, from the model."""
    cells = (
        Made("sgd-fp32", 97.0, 1.0, provenance=base),
        Made("psg", 96.0, 0.2, predicts=True, provenance=provenance),
    )
    make_runs(tmp_path, cells)
    found = summarise(load_runs([tmp_path]))["comparisons"][0]
    assert found["hypothetical"] is hypothetical
    assert words in found["sentence"]
    if provenance == base:
        assert found["energy_saving"] == pytest.approx(80.0)
        assert found["energy_provenance"] == (provenance or "modelled")
    else:
        assert found["energy_saving"] is None


def test_baselines_are_recognised_by_settings_not_by_name(tmp_path: Path) -> None:
    """A run that drops batches is no baseline whatever its name; a plain one is under any name."""
    settings = {"mine": ("sgd", 0.0), "sgd-fp32": ("sgd", 0.5), "fixed8": ("signsgd", 0.0)}
    for name, (update, drop) in settings.items():
        folder = make_run(tmp_path / name, Made(name, 97.0, 0.5))
        arithmetic = "fixed" if name == "fixed8" else "float32"
        (folder / "experiment.toml").write_text(
            f'[method]\narithmetic = "{arithmetic}"\nupdate = "{update}"\n[smd]\ndrop = {drop}\n'
        )
        file = folder / "events.jsonl"
        file.write_text(file.read_text().replace('"fixed"', f'"{arithmetic}"', 1))
    make_run(tmp_path / "e2train", Made("e2train", 97.0, 0.25))
    found = {one["baseline"]: one for one in summarise(load_runs([tmp_path]))["comparisons"]}
    assert found["sgd-fp32"]["run"] == "mine"
    assert found["sgd-fp32"]["energy_saving"] == pytest.approx(50.0)
    assert found["fixed8"]["run"] is None


def test_a_baseline_of_another_length_is_said(tmp_path: Path) -> None:
    make_run(tmp_path / "fixed8", CELLS[1], iterations=300)
    make_run(tmp_path / "sgd-fp32", CELLS[0])
    make_run(tmp_path / "e2train", CELLS[5])
    found = {one["baseline"]: one for one in summarise(load_runs([tmp_path]))["comparisons"]}
    assert "600 and 300 iterations" in found["fixed8"]["sentence"]
    assert "iterations" not in found["sgd-fp32"]["sentence"]


@pytest.mark.parametrize("model", ["accelerator", "hypothetical-float-array"])
def test_the_run_says_whose_board_its_joules_are(tmp_path: Path, model: str) -> None:
    make_run(tmp_path / "psg", CELLS[2])
    file = make_run(tmp_path / "sgd-fp32", CELLS[0]) / "events.jsonl"
    text = file.read_text()
    file.write_text(text.replace('"schema": 1', f'"schema": 1, "board_model": "{model}"', 1))
    found = summarise(load_runs([tmp_path]))["comparisons"][0]
    assert found["hypothetical"] is (model == "hypothetical-float-array")


@given(
    spent=st.integers(0, 10**18),
    base=st.integers(1, 10**18),
)
def test_saving_is_exact_to_rounding(spent: int, base: int) -> None:
    value = saving(spent, base)
    assert value == pytest.approx(percent_saved(spent, base), rel=1e-12, abs=1e-9)


def test_saving_against_nothing() -> None:
    assert saving(5, 0) is None
    assert energy_saving(Energy(1.0, None, "metered"), Energy(0.0, None, "metered")) is None
    assert energy_saving(None, Energy(1.0, None, "metered")) is None
