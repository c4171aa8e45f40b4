# SPDX-License-Identifier: Apache-2.0
"""The cell of SLU's gates, forward and back through one block, bit for bit alike everywhere.

A linear map of a block's channel means to `HIDDEN` numbers, one LSTM cell, a linear map to a logit
and the probability that the block runs, which stays off 0 and 1 so that both sides are seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .portable import column_sums, product, sigmoid, tanh

HIDDEN = 10
LEAST_PROBABILITY, MOST_PROBABILITY = 0.02, 0.98  # of running a block


@dataclass(frozen=True)
class GateWeights:
    """The cell's parameters, or their gradients, float64.

    map: [C, HIDDEN], of the block's channel count; input, recurrent: [HIDDEN, 4 HIDDEN]; bias:
    [4 HIDDEN]; output: [HIDDEN, 1].
    """

    map: np.ndarray
    input: np.ndarray
    recurrent: np.ndarray
    bias: np.ndarray
    output: np.ndarray


@dataclass(frozen=True)
class GateStep:
    """What the backward pass needs of one block's step; arrays float64 [N, ...]."""

    features: np.ndarray
    hidden_before: np.ndarray
    cell_before: np.ndarray
    embedded: np.ndarray
    gates: np.ndarray  # [N, 4 HIDDEN]: input, forget, candidate, output
    cell: np.ndarray
    hidden: np.ndarray
    open: np.ndarray  # [N], sigmoid of the logit
    probability: np.ndarray  # [N]


def parts(sums: np.ndarray) -> list[np.ndarray]:
    """The four quarters of [N, 4 HIDDEN]."""
    return [sums[:, k * HIDDEN : (k + 1) * HIDDEN] for k in range(4)]


def gate_step(
    weights: GateWeights,
    features: np.ndarray,
    before: tuple[np.ndarray, np.ndarray],
    raised: float,
    offset: float,
) -> GateStep:
    """One block: channel means float64 [N, C]; before: hidden and cell state [N, HIDDEN].

    The logit is raised by the block's own bias and by the offset of all logits.
    """
    hidden_before, cell_before = before
    embedded = np.maximum(product(features, weights.map), 0.0)
    sums = (
        product(embedded, weights.input) + product(hidden_before, weights.recurrent) + weights.bias
    )
    i, f, c, o = parts(sums)
    gates = (sigmoid(i), sigmoid(f + 1.0), tanh(c), sigmoid(o))  # +1: remember at first
    cell = gates[1] * cell_before + gates[0] * gates[2]
    hidden = gates[3] * tanh(cell)
    opened = sigmoid(product(hidden, weights.output)[:, 0] + raised + offset)
    return GateStep(
        features,
        hidden_before,
        cell_before,
        embedded,
        np.concatenate(gates, axis=1),
        cell,
        hidden,
        opened,
        LEAST_PROBABILITY + (MOST_PROBABILITY - LEAST_PROBABILITY) * opened,
    )


def gate_backward(
    weights: GateWeights,
    step: GateStep,
    gradients: GateWeights,
    g_probability: np.ndarray,
    behind: tuple[np.ndarray, np.ndarray],
) -> tuple[float, np.ndarray, np.ndarray]:
    """Back through one block: adds to `gradients`; returns those of the block's bias and before.

    g_probability [N]; behind: gradients of the hidden and the cell state, [N, HIDDEN]. The
    gradient stops at the features: the gates do not train the network's activations.
    """
    g_hidden, g_cell = behind
    slope = MOST_PROBABILITY - LEAST_PROBABILITY
    g_logit = (g_probability * slope * step.open * (1.0 - step.open))[:, None]
    gradients.output[:] += product(step.hidden.T, g_logit)
    raised = float(column_sums(g_logit)[0])
    g_sums, g_cell = _cell_backward(step, g_hidden + product(g_logit, weights.output.T), g_cell)
    gradients.bias[:] += column_sums(g_sums)
    gradients.input[:] += product(step.embedded.T, g_sums)
    gradients.recurrent[:] += product(step.hidden_before.T, g_sums)
    g_embedded = product(g_sums, weights.input.T) * (step.embedded > 0)
    gradients.map[:] += product(step.features.T, g_embedded)
    return raised, product(g_sums, weights.recurrent.T), g_cell


def _cell_backward(
    step: GateStep, g_hidden: np.ndarray, g_cell: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the cell's four sums [N, 4*HIDDEN] and of the cell state before it."""
    i, f, c, o = parts(step.gates)
    squashed = tanh(step.cell)
    g_cell = g_cell + g_hidden * o * (1.0 - squashed * squashed)
    g_sums = np.concatenate(
        [
            g_cell * c * i * (1.0 - i),
            g_cell * step.cell_before * f * (1.0 - f),
            g_cell * i * (1.0 - c * c),
            g_hidden * squashed * o * (1.0 - o),
        ],
        axis=1,
    )
    return g_sums, g_cell * f
