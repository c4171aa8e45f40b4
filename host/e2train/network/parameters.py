# SPDX-License-Identifier: Apache-2.0
"""Master parameters: float32 arrays on the host, by name, with He initialisation."""

from __future__ import annotations

import math

import numpy as np

from ..rng import generator
from .spec import NetworkSpec

Parameters = dict[str, np.ndarray]

RUNNING = (".running_mean", ".running_variance")


def trainable(name: str) -> bool:
    """Whether gradient descent changes this parameter (running statistics follow the batches)."""
    return not name.endswith(RUNNING)


def is_convolution_weight(name: str) -> bool:
    """Whether this is a convolution's weight: what PSG and SignSGD take signs of."""
    return name.endswith(".weight") and name != "classifier.weight"


def initial_parameters(spec: NetworkSpec, seed: int) -> Parameters:
    """He et al. 2015: weights N(0, sqrt(2 / fan_in)); batch norm 1 and 0; classifier bias 0."""
    parameters: Parameters = {}
    for unit in spec.units():
        shape = unit.geometry.weight_shape
        deviation = math.sqrt(2.0 / (shape[1] * shape[2] * shape[3]))
        normal = generator(seed, f"weights of {unit.name}", 0).standard_normal(shape)
        parameters[f"{unit.name}.weight"] = (normal * deviation).astype(np.float32)
        filters = unit.geometry.filters
        parameters[f"{unit.name}.gamma"] = np.ones(filters, np.float32)
        parameters[f"{unit.name}.beta"] = np.zeros(filters, np.float32)
        parameters[f"{unit.name}.running_mean"] = np.zeros(filters, np.float32)
        parameters[f"{unit.name}.running_variance"] = np.ones(filters, np.float32)
    shape = spec.classifier.weight_shape
    normal = generator(seed, "weights of classifier", 0).standard_normal(shape)
    parameters["classifier.weight"] = (normal * math.sqrt(1.0 / shape[1])).astype(np.float32)
    parameters["classifier.bias"] = np.zeros(shape[0], np.float32)
    return parameters
