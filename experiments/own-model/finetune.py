# SPDX-License-Identifier: Apache-2.0
"""Bring the torch-trained model of pretrain.py, and adapt it to other classes in two ways.

    python experiments/own-model/finetune.py DATA animals.pt runs/own-model

First the model is compared with torch on its own classes, in float32 and in integers. Then three
seeds each of e2train.toml, last-layer.toml and e2train-long.toml learn CIFAR-10's vehicles from 500
pictures a class. Writes OUT/finetune.json, which docs/import-export.md is made from. Runs that are
there already are not repeated.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from classes import ANIMALS, VEHICLES, chosen_classes, few_pictures
from pretrain import top1

from e2train.data.dataset import Dataset
from e2train.data.load import load_dataset
from e2train.device import open_device
from e2train.files import write_text
from e2train.models.plain_torch import ResNet
from e2train.training.assembly import assemble
from e2train.training.bring import bring
from e2train.training.experiment import Experiment, load_experiment
from e2train.training.trainer import Trainer

HERE = Path(__file__).parent
PICTURES = 2000
SEEDS = (0, 1, 2)
METHODS = ("e2train", "last-layer", "e2train-long")


def imported(experiment: Experiment, animals: Dataset, weights: Path) -> dict[str, Any]:
    """Top-1 of the model's own classes: in torch, in float32 here, and in integers."""
    network = ResNet(20, 3, animals.classes)
    network.load_state_dict(torch.load(weights, weights_only=True))
    with open_device("emulator") as device:
        found = bring(experiment, animals, assemble(experiment, animals, device))
    return {
        "pictures": len(animals.test_labels),
        "torch_top1": top1(network, animals.test_images, animals.test_labels),
        "float_top1": found.float_top1,
        "integer_top1": found.integer_top1,
        "alike": found.alike,
    }


def tuned(experiment: Experiment, vehicles: Dataset, folder: Path) -> dict[str, Any]:
    """One run: its accuracy, its joules with their provenance, and its work."""
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / "result.json"
    if not result.exists():
        write_text(folder / "experiment.toml", experiment.as_toml())
        with (
            open_device("emulator") as device,
            Trainer(experiment, vehicles, folder, device=device, resume=True) as trainer,
        ):
            trainer.run()
    found = json.loads(result.read_text())
    keys = ("top1", "energy_joules", "energy_provenance", "iterations_run", "skip_ratio", "seconds")
    return {
        "method": experiment.name,
        "seed": experiment.train.seed,
        "macs": found["macs"],
        **{key: found["cell"][key] for key in keys},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    whole = load_dataset("cifar10", options.data)
    vehicles = few_pictures(chosen_classes(whole, VEHICLES), PICTURES, 0)
    experiments = []
    for name in METHODS:
        read = load_experiment(HERE / f"{name}.toml")
        source = replace(read.finetune, weights=str(options.weights))
        experiments.append(replace(read, finetune=source))
    record = {
        "data": whole.label,
        "imported": imported(experiments[0], chosen_classes(whole, ANIMALS), options.weights),
        "training_pictures": PICTURES,
        "test_pictures": len(vehicles.test_labels),
        "runs": [],
    }
    for seed in SEEDS:
        for experiment in experiments:
            seeded = replace(experiment, train=replace(experiment.train, seed=seed))
            run = tuned(seeded, vehicles, options.out / f"{experiment.name}-{seed}")
            record["runs"].append(run)
            print(json.dumps(run), flush=True)
    write_text(options.out / "finetune.json", json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
