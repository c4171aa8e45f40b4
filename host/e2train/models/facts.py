# SPDX-License-Identifier: Apache-2.0
"""What an exported file says of itself: classes, normalisation, and how it was trained."""

from __future__ import annotations

import json
from typing import Any

from .. import __version__
from ..weights.files import PICTURE_UNIT
from ..weights.fit import Normalisation
from .trained import Trained

KEY = "e2train"  # of all facts, as one JSON object, in a file's metadata
RESULTS = ("top1", "energy_joules", "energy_provenance", "iterations_run")


def normalisation_of(trained: Trained) -> Normalisation:
    """What the network's input is, of pixels 0 to 255."""
    fixed = trained.parts.fixed is not None
    deviation = (PICTURE_UNIT,) * len(trained.mean) if fixed else trained.std
    return Normalisation(tuple(map(float, trained.mean)), tuple(map(float, deviation)))


def facts_of(trained: Trained, blocks: str) -> dict[str, Any]:
    """JSON-able facts; `blocks`: what became of skipping, in words."""
    input_, e = normalisation_of(trained), trained.experiment
    results = {key: trained.cell.get(key) for key in RESULTS}
    return {
        "program": f"e2train {__version__}",
        "network": trained.parts.spec.name,
        "picture": list(trained.shape),
        "normalisation": {"mean": list(input_.mean), "deviation": list(input_.deviation)},
        "classes": list(trained.class_names),
        "blocks": blocks,
        "weights": trained.weights,
        "training": {
            "name": e.name,
            "method": e.method_name,
            "data": trained.label,
            "seed": e.train.seed,
            "batch": e.train.batch,
            "iterations_offered": e.offered,
            "iterations_done": trained.iteration,
            **results,
        },
    }


def metadata(facts: dict[str, Any]) -> dict[str, str]:
    """The facts as text under short keys that viewers show, and all of them as JSON."""
    normalised = facts["normalisation"]
    return {
        KEY: json.dumps(facts),
        "classes": ", ".join(facts["classes"]),
        "normalisation": f"(pixel - mean) / deviation, of pixels 0 to 255: mean "
        f"{normalised['mean']}, deviation {normalised['deviation']}",
        "training": f"{facts['training']['method']} on {facts['training']['data']}",
    }
