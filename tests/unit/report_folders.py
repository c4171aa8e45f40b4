# SPDX-License-Identifier: Apache-2.0
"""Run folders with made-up but consistent numbers, for the tests of the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BLOCKS = [f"stage{stage}.block1" for stage in (1, 2, 3)]
LAYERS = ["stem"] + [f"{block}.conv{conv}" for block in BLOCKS for conv in (1, 2)] + ["linear"]
SMB_MACS = 3_500_000_000


@dataclass(frozen=True)
class Made:
    """A cell to be made. `cost` is its power and work as a share of 32-bit SGD's."""

    name: str
    top1: float
    cost: float
    skips: bool = False
    predicts: bool = False
    drops: bool = False
    provenance: str | None = "simulated"


# Where test data stands for a whole comparison: the cells of the demonstration.
CELLS = (
    Made("sgd-fp32", 97.3, 1.0),
    Made("fixed8", 97.0, 0.30),
    Made("psg", 96.8, 0.22, predicts=True),
    Made("smd", 96.9, 0.5, drops=True),
    Made("slu", 96.4, 0.8, skips=True),
    Made("e2train", 96.1, 0.12, skips=True, predicts=True, drops=True),
)


def make_runs(parent: Path, cells: tuple[Made, ...] = CELLS, **options: Any) -> list[Path]:
    """Make a folder for each of `cells` in `parent`."""
    return [make_run(parent / cell.name, cell, **options) for cell in cells]


def make_run(
    folder: Path,
    cell: Made,
    *,
    iterations: int = 600,
    until: int | None = None,
    seed: int = 0,
    dataset: str = "digits",
    label: str = "digits",
    network: str = "resnet-8",
    samples: int = 3000,
    change: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Write one run folder. With `until` the run has come so far and has no result yet.

    `change` may alter the content of result.json before it is written.
    """
    random = np.random.default_rng([seed, *cell.name.encode()])
    folder.mkdir(parents=True)
    arithmetic = "float32" if cell.name in ("sgd-fp32", "smd", "slu") else "fixed"
    (folder / "experiment.toml").write_text(
        f'name = "cell"\n[train]\nmethod = "{cell.provenance}"\niterations = {iterations}\n'
        f"drops = [0.5, 0.75]\n{_method(cell, arithmetic)}"
    )
    start = {
        "event": "start", "schema": 1, "name": cell.name, "method": cell.name,
        "network": network, "dataset": dataset, "dataset_label": label,
        "arithmetic": arithmetic,
        "iterations": iterations, "batch": 128, "seed": seed, "layers": LAYERS, "blocks": BLOCKS,
    }  # fmt: skip
    work = _Work(cell, iterations, random)
    events = [start]
    for iteration in range(20, (until or iterations) + 1, 20):
        events.append(work.progress(iteration))
        if iteration % 100 == 0:
            events.append(work.evaluation(iteration))
    if until is None:
        events.append({"event": "end", "iteration": iterations})
        content = work.result(start)
        if change:
            change(content)
        (folder / "result.json").write_text(json.dumps(content))
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (folder / "events.jsonl").write_text(lines)
    if cell.provenance and samples:
        write_samples(folder, work.seconds * (until or iterations) / iterations, samples, random)
    return folder


def _method(cell: Made, arithmetic: str) -> str:
    """The tables of an experiment file that say how the cell is trained."""
    parts = set(cell.name.split("-")) & {"psg", "smd", "slu", "e2train"}
    if cell.predicts or parts & {"psg", "e2train"}:
        update = "psg"
    else:  # cells of other names are no baseline: nothing else tells them from one
        update = "sgd" if parts or cell.name in ("sgd-fp32", "fixed8") else "signsgd"
    drop = 0.5 if cell.drops or parts & {"smd", "e2train"} else 0.0
    skip = 0.2 if cell.skips or parts & {"slu", "e2train"} else 0.0
    return (
        f'[method]\narithmetic = "{arithmetic}"\nupdate = "{update}"\n'
        f"[smd]\ndrop = {drop}\n[slu]\nskip = {skip}\n[swa]\nstart = 1.0\n"
    )


def write_samples(folder: Path, seconds: float, count: int, random: np.random.Generator) -> None:
    """A meter log around 2.6 W."""
    (folder / "meter").mkdir()
    time = np.linspace(0.0, seconds, count)
    power = 2.6 + 0.3 * (np.sin(time * 3) > 0) + random.normal(0, 0.02, count)
    rows = "".join(f"{t:.6f},{p:.6f},12.0,{p / 12:.6f}\n" for t, p in zip(time, power, strict=True))
    (folder / "meter" / "samples.csv").write_text(
        "device_time_s,power_w,voltage_v,current_a\n" + rows
    )


class _Work:
    """The numbers of one cell."""

    def __init__(self, cell: Made, iterations: int, random: np.random.Generator) -> None:
        self.cell, self.iterations, self.random = cell, iterations, random
        self.run_share = 0.5 if cell.drops else 1.0
        self.seconds = 40.0 * cell.cost
        self.joules = 2.75 * self.seconds

    def energy(self, share: float) -> dict[str, Any] | None:
        if self.cell.provenance is None:
            return None
        joules = self.joules * share
        return {
            "joules": joules,
            "uncertainty_joules": 0.015 * joules,
            "provenance": self.cell.provenance,
        }

    def counts(self, share: float) -> dict[str, Any]:
        return {
            "energy": self.energy(share),
            "modelled": {"joules": self.joules * share / 3.0, "provenance": "modelled"},
            "macs": int(1e12 * share),
            "bit_operations": int(1e14 * share),
        }

    def block_skip(self) -> dict[str, float]:
        if not self.cell.skips:
            return {}
        return {block: float(self.random.uniform(5, 40)) for block in BLOCKS}

    def shares(self) -> dict[str, float]:
        if not self.cell.predicts:
            return {}
        return {layer: float(self.random.uniform(55, 80)) for layer in LAYERS}

    def progress(self, iteration: int) -> dict[str, Any]:
        share = iteration / self.iterations
        return {
            "event": "progress", "iteration": iteration,
            "iterations_run": int(iteration * self.run_share),
            "loss": float(2.3 * np.exp(-5 * share) + 0.05 + self.random.exponential(0.02)),
            "lr": 0.1, "skip_ratio": 20.0 if self.cell.skips else 0,
            "block_skip": self.block_skip(), "predictor_share": self.shares(), "gate_offset": None,
            **self.counts(share),
        }  # fmt: skip

    def evaluation(self, iteration: int) -> dict[str, Any]:
        share = iteration / self.iterations
        top1 = self.cell.top1 * (1 - 0.6 * np.exp(-6 * share)) if share < 1 else self.cell.top1
        return {
            "event": "evaluation", "iteration": iteration, "top1": float(top1),
            "top5": min(100.0, float(top1) + 2.5), "loss": 0.2,
            "weights": "swa" if self.cell.predicts and share == 1 else "current",
            **self.counts(share),
        }  # fmt: skip

    def passes(self) -> dict[str, dict[str, int]]:
        third = int(SMB_MACS * self.iterations * self.run_share / 3)
        third = int(third * (0.8 if self.cell.skips else 1.0))
        if self.cell.name in ("sgd-fp32", "smd", "slu"):
            names = ("forward", "backward_input", "backward_weight")
            return {name: {"32x32": third} for name in names}
        split = {"forward": {"8x8": third}, "backward_input": {"16x8": third}}
        if self.cell.predicts:
            split["predictor"] = {"4x10": third}
            return split | {"backward_weight": {"8x16": int(third * 0.35)}}
        return split | {"backward_weight": {"8x16": third}}

    def result(self, start: dict[str, Any]) -> dict[str, Any]:
        passes = self.passes()
        parts = [item for column in passes.values() for item in column.items()]
        bits = sum(n * int(w.split("x")[0]) * int(w.split("x")[1]) for w, n in parts)
        energy = self.energy(1.0) or {}
        shares = self.shares()
        return {
            "schema": 1,
            "cell": {
                "name": self.cell.name, "method": self.cell.name,
                "iterations_offered": self.iterations,
                "iterations_run": int(self.iterations * self.run_share),
                "top1": self.cell.top1, "top5": 99.9,
                "energy_joules": energy.get("joules"),
                "energy_uncertainty_joules": energy.get("uncertainty_joules"),
                "energy_provenance": energy.get("provenance"),
                "skip_ratio": 20.4 if self.cell.skips else None,
                "predictor_share": float(np.mean(list(shares.values()))) if shares else None,
                "seconds": self.seconds,
            },
            "dataset": start["dataset"], "dataset_label": start["dataset_label"],
            "network": start["network"], "seed": start["seed"],
            "macs": sum(n for _, n in parts), "bit_operations": bits,
            "bytes": {"dram": 10**9, "buffer": 10**10},
            "smb_macs_per_iteration": SMB_MACS,
            "smb_bit_operations_per_iteration": SMB_MACS * 1024,
            "modelled_joules": self.joules / 3.0,
            "block_skip": self.block_skip(), "predictor_share_by_layer": shares,
            "macs_by_pass": passes,
        }  # fmt: skip
