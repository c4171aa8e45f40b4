# SPDX-License-Identifier: Apache-2.0
"""Put the tables of docs/import-export.md in their places, from docs/import-export/*.json.

python experiments/own-model/page.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from e2train.files import write_text

DOCS = Path(__file__).parents[2] / "docs"
PAGE, RECORDS = DOCS / "import-export.md", DOCS / "import-export"
TITLES = {
    "last-layer": "the last layer alone",
    "e2train": "all layers with E2-Train",
    "e2train-long": "all layers with E2-Train, twice as long",
}
T_975 = 4.303  # Student's t of three seeds, 95 % on both sides


def round_trip(runs: list[dict[str, Any]]) -> str:
    """How exported networks answer."""
    parts = ["### Export", ""]
    for run in runs:
        parts += [
            f"{run['network']}, {run['data']}: top-1 of all {run['test_pictures']:,} test pictures "
            f"is {run['float_path_top1']:.2f} % in the float path here and "
            f"{run['torch_top1']:.2f} % in torch; onnxruntime gives torch's answer to "
            f"{run['onnx_as_torch']:.2f} % of them.",
            "",
            "| format | test pictures | same answer as the emulator [%] | top-1, emulator [%] | "
            "top-1, exported [%] |",
            "|---|---:|---:|---:|---:|",
        ]
        for name, found in run["formats"].items():
            tops = f"{found['emulator_top1']:.2f} | {found['exported_top1']:.2f}"
            parts.append(f"| {name} | {found['pictures']:,} | {found['alike']:.2f} | {tops} |")
        parts.append("")
    return "\n".join(parts).rstrip()


def finetune(record: dict[str, Any]) -> str:
    """The imported network, and how it learned other classes."""
    found = record["imported"]
    parts = [
        "### A model trained in torch, and other classes",
        "",
        "ResNet-20, trained in plain torch for some minutes on the six animals of "
        f"{record['data']} (`pretrain.py`). Top-1 of {found['pictures']:,} test pictures: "
        f"{found['torch_top1']:.2f} % in torch, {found['float_top1']:.2f} % imported in float32, "
        f"{found['integer_top1']:.2f} % imported in integers, which give the float network's "
        f"answer to {found['alike']:.2f} % of them.",
        "",
        f"Then the four vehicles, from {record['training_pictures']:,} pictures (`finetune.py`), "
        "three seeds, mean ± half of the 95 % confidence interval. Both start from the imported "
        "weights with a new classifier and train in integers; learning rates were not searched. "
        f"Top-1 is of {record['test_pictures']:,} test pictures.",
        "",
        "| trained | mini-batches run | energy, simulated [J] | top-1 [%] |",
        "|---|---:|---:|---:|",
    ]
    groups = {name: [r for r in record["runs"] if r["method"] == name] for name in TITLES}
    for name, runs in groups.items():
        joules, top1 = (_spread([r[key] for r in runs]) for key in ("energy_joules", "top1"))
        count = mean(r["iterations_run"] for r in runs)
        parts.append(f"| {TITLES[name]} | {count:.0f} | {joules} | {top1} |")
    parts += ["", *(_against_last(name, groups) for name in ("e2train", "e2train-long"))]
    parts += [
        "",
        "Joules are those of the modelled board through the simulated meter, idle power included.",
    ]
    return "\n".join(parts)


def _against_last(name: str, groups: dict[str, list[dict[str, Any]]]) -> str:
    """What training all layers changes, seed by seed."""
    whole, last = groups[name], groups["last-layer"]
    pairs = zip(whole, last, strict=True)
    points = _spread([one["top1"] - other["top1"] for one, other in pairs])
    joules = [mean(r["energy_joules"] for r in runs) for runs in (whole, last)]
    return (
        f"- {TITLES[name]}, less the last layer alone: {points} points, for "
        f"{joules[0] / joules[1]:.1f} times the energy."
    )


def _spread(values: list[float]) -> str:
    half = T_975 * stdev(values) / len(values) ** 0.5
    return f"{mean(values):.1f} ± {half:.1f}"


def page(text: str) -> str:
    """The page with its tables renewed."""
    tables = {
        "round trip": round_trip(json.loads((RECORDS / "round-trip.json").read_text())),
        "finetune": finetune(json.loads((RECORDS / "finetune.json").read_text())),
    }
    for name, table in tables.items():
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = place.subn(lambda m, table=table: f"{m[1]}{table}\n{m[2]}", text)
        if count != 1:
            raise SystemExit(f"{PAGE}: expected one place for {name}")
    return text


if __name__ == "__main__":
    write_text(PAGE, page(PAGE.read_text(encoding="utf-8")))
