# SPDX-License-Identifier: Apache-2.0
"""Beyond the target skip ratio gates may shift and open, and never close on balance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from e2train.data.load import load_dataset
from e2train.methods.slu import without_closing
from e2train.training.experiment import Experiment, SluSettings, TrainSettings
from e2train.training.trainer import Trainer

VECTORS = hnp.arrays(np.float32, 6, elements=st.floats(-100, 100, width=32))


@given(VECTORS, VECTORS)
def test_projection(gradient, cost):
    found = without_closing({"a": gradient[:2], "b": gradient[2:]}, {"a": cost[:2], "b": cost[2:]})
    projected = np.concatenate([found["a"], found["b"]]).astype(np.float64)
    g, c = gradient.astype(np.float64), cost.astype(np.float64)
    if g @ c <= 0 or not c.any():
        np.testing.assert_array_equal(projected, g)
        return
    slack = 1e-4 * np.linalg.norm(g) * np.linalg.norm(c) + 1e-6
    assert abs(projected @ c) <= slack  # a step leaves the cost as it is
    across = g - (g @ c) / (c @ c) * c  # and keeps all that lies across it
    np.testing.assert_allclose(projected, across, atol=1e-4 * max(1.0, np.linalg.norm(g)))


@pytest.mark.parametrize("warmup", [0.0, 0.5])
def test_gates_wait_for_the_warm_up(tmp_path, warmup):
    experiment = Experiment(
        "slu", train=TrainSettings(iterations=8), slu=SluSettings(skip=0.3, warmup=warmup)
    )
    dataset = load_dataset("digits")
    with Trainer(experiment, dataset, tmp_path, device=None, meter="none") as trainer:
        before = {n: v.copy() for n, v in trainer.parts.gates.parameters.items()}
        for iteration in range(4):
            trainer.mini_batch(iteration)
        after = trainer.parts.gates.parameters
        changed = any(not np.array_equal(before[n], after[n]) for n in before)
        assert changed == (warmup == 0.0)
        trainer.mini_batch(4)
        assert any(not np.array_equal(before[n], after[n]) for n in before)
