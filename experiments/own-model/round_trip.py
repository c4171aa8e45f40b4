# SPDX-License-Identifier: Apache-2.0
"""Export runs in every format, and record how the exported networks answer.

    python experiments/own-model/round_trip.py DATA OUT.json runs/digits runs/cifar

The runs are those of digits.toml and cifar.toml.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from e2train.data.load import load_data
from e2train.device import open_device
from e2train.device.counter import Counter
from e2train.files import write_text
from e2train.models import answers as asked
from e2train.models.export import FORMATS, HLS4ML, ONNX, TORCH, Request, export
from e2train.models.facts import normalisation_of
from e2train.models.trained import load_trained
from e2train.network.float32 import FloatArithmetic
from e2train.network.float_backend import float_backend
from e2train.network.network import Network
from e2train.training.bring import answers

# Simulating an hls4ml project of pictures of 32x32 takes about a second each.
PICTURES = {(HLS4ML, "cifar10"): 100}


def figures(run: Path, data_folder: Path, out: Path) -> dict[str, Any]:
    """One run in all formats."""
    with open_device("emulator") as device:
        trained = load_trained(run, data_folder, device)
        data = load_data(trained.experiment.data, data_folder)
        exported = {}
        for name in FORMATS:
            count = PICTURES.get((name, data.name))
            place = out / f"{run.name}-{name}"
            done = export(Request(run, name, place, data_folder, count, force=True), device)
            exported[name] = {
                "pictures": done.pictures,
                "alike": done.alike,
                "emulator_top1": done.emulator_top1,
                "exported_top1": done.exported_top1,
            }
            print(run, name, json.dumps(exported[name]), flush=True)
    input_ = normalisation_of(trained)
    real = FloatArithmetic(float_backend(), Counter(), trained.mean, input_.deviation)
    float_path = answers(
        Network(trained.parts.spec, real, trained.plain_parameters), data.test_images
    )
    in_torch = asked.torch_answers(
        out / f"{run.name}-{TORCH}", trained.parts.spec, input_, data.test_images
    )
    in_onnx = asked.onnx_answers(out / f"{run.name}-{ONNX}", data.test_images)

    def top1(found: np.ndarray) -> float:
        return 100.0 * float((found == data.test_labels).mean())

    return {
        "network": trained.parts.spec.name,
        "data": data.label,
        "float_path_top1": top1(float_path),
        "torch_top1": top1(in_torch),
        "onnx_as_torch": 100.0 * float((in_onnx == in_torch).mean()),
        "test_pictures": len(data.test_labels),
        "formats": exported,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = [figures(run, options.data, Path(folder)) for run in options.runs]
    write_text(options.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
