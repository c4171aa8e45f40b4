# SPDX-License-Identifier: Apache-2.0
"""docs/import-export.md: its tables are those of its records, and the records hold what it says."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "docs/import-export"


def test_tables_are_made_from_the_records() -> None:
    script = ROOT / "experiments/own-model/page.py"
    spec = importlib.util.spec_from_file_location("page", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = module.PAGE.read_text(encoding="utf-8")
    assert module.page(written) == written
    assert "### Export" in written and "### A model trained in torch" in written


def test_an_imported_model_is_as_good_as_in_torch() -> None:
    found = json.loads((RECORDS / "finetune.json").read_text())["imported"]
    assert abs(found["float_top1"] - found["torch_top1"]) <= 0.5
    assert abs(found["integer_top1"] - found["torch_top1"]) <= 1.5


def test_exported_models_answer_as_the_emulator() -> None:
    runs = json.loads((RECORDS / "round-trip.json").read_text())
    assert {run["data"] for run in runs} == {"UCI digits 8x8", "CIFAR-10 (JPEG)"}
    for run in runs:
        assert abs(run["torch_top1"] - run["float_path_top1"]) <= 0.1
        assert run["onnx_as_torch"] == 100
        assert run["formats"]["qonnx"]["alike"] >= 99.5
        assert run["formats"]["hls4ml"]["alike"] >= 98
