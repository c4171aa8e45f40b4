# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning a pre-trained network (E2-Train, section 4.5): the last layer alone, or all layers.

The paper pre-trains on one half of the training set (each class split evenly) and adapts on the
other: `data.half` chooses the half, `finetune.checkpoint` names the pre-trained run's checkpoint.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from ..network.parameters import Parameters
from ..runs.checkpoint import read_checkpoint

LAST_LAYER = "last-layer"
ALL_LAYERS = "all-layers"
MODES = (LAST_LAYER, ALL_LAYERS)


def start_from(checkpoint: Path, network: str, parameters: Parameters) -> None:
    """Copy a pre-trained run's parameters in place of the initial ones.

    Raises UserError when the checkpoint is of another network or its shapes differ.
    """
    loaded = read_checkpoint(checkpoint)
    if loaded.meta["network"] != network:
        raise UserError(f"{checkpoint}: is of {loaded.meta['network']}, expected {network}")
    for name, value in parameters.items():
        found = loaded.arrays.get(f"parameters/{name}")
        if found is None or found.shape != value.shape:
            shape = "missing" if found is None else f"of shape {found.shape}"
            raise UserError(f"{checkpoint}: {name} is {shape}, expected shape {value.shape}")
        value[...] = found
