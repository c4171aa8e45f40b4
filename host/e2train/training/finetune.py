# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning a pre-trained network (E2-Train, section 4.5): the last layer alone, or all layers.

The paper pre-trains on one half of the training set (each class split evenly) and adapts on the
other: `data.half` chooses the half, `finetune.checkpoint` names the pre-trained run's checkpoint.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..data.dataset import Dataset
from ..errors import UserError
from ..network.parameters import Parameters
from ..runs.checkpoint import read_checkpoint

LAST_LAYER = "last-layer"
ALL_LAYERS = "all-layers"
MODES = (LAST_LAYER, ALL_LAYERS)


CLASSIFIER = "classifier."


def normalised_as(checkpoint: Path, dataset: Dataset) -> Dataset:
    """The pictures with the mean and deviation that the pre-trained network has learned with.

    Its batch-norm statistics speak of such pictures. Checkpoints of earlier versions do not tell.
    """
    meta = read_checkpoint(checkpoint).meta
    if "mean" not in meta or len(meta["mean"]) != len(dataset.mean):
        return dataset
    return replace(dataset, mean=tuple(meta["mean"]), std=tuple(meta["std"]))


def start_from(checkpoint: Path, network: str, parameters: Parameters) -> list[str]:
    """Copy a pre-trained run's parameters in place of the initial ones.

    A classifier of other classes stays as it is initially; the lines returned say so. Raises
    UserError when the checkpoint is of another network or its shapes differ.
    """
    notes = []
    loaded = read_checkpoint(checkpoint)
    if loaded.meta["network"] != network:
        raise UserError(f"{checkpoint}: is of {loaded.meta['network']}, expected {network}")
    for name, value in parameters.items():
        found = loaded.arrays.get(f"parameters/{name}")
        if found is None or found.shape != value.shape:
            shape = "missing" if found is None else f"of shape {found.shape}"
            if found is None or not name.startswith(CLASSIFIER):
                raise UserError(f"{checkpoint}: {name} is {shape}, expected shape {value.shape}")
            if name == f"{CLASSIFIER}bias":
                notes.append(
                    f"the model's classifier tells {len(found)} classes apart, the pictures have "
                    f"{len(value)}: it is replaced and begins anew"
                )
            continue
        value[...] = found
    return notes
