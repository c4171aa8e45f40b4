# SPDX-License-Identifier: Apache-2.0
"""Mini-batch dropping and the learning-rate schedule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2train.data.batches import batch_indices
from e2train.methods.schedule import Schedule, offered_iterations
from e2train.methods.smd import DEFAULT_PROBABILITY, dropped
from e2train.training.experiment import Experiment, SmdSettings, TrainSettings

MANY = 20_000


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.75])
def test_rate_of_dropping(probability: float) -> None:
    drops = np.array([dropped(1, i, probability) for i in range(MANY)])
    error = math.sqrt(probability * (1 - probability) / MANY)
    assert abs(drops.mean() - probability) < 5 * error
    # neighbours are independent: as many pairs as the square of the rate
    pairs = (drops[1:] & drops[:-1]).mean()
    assert abs(pairs - probability**2) < 5 * error


def test_never_and_always() -> None:
    assert not any(dropped(0, i, 0.0) for i in range(1000))
    assert all(dropped(0, i, 1.0) for i in range(1000))


def test_dropping_is_stateless() -> None:
    """An iteration's fate depends on seed and iteration alone, in whatever order one asks."""
    forward = [dropped(5, i, 0.5) for i in range(200)]
    order = np.random.default_rng(0).permutation(200)
    shuffled = {int(i): dropped(5, int(i), 0.5) for i in order}
    assert [shuffled[i] for i in range(200)] == forward
    assert [dropped(6, i, 0.5) for i in range(200)] != forward


def test_a_smaller_probability_drops_a_subset() -> None:
    few = [i for i in range(500) if dropped(2, i, 0.2)]
    assert all(dropped(2, i, 0.6) for i in few)


def test_how_often_a_sample_is_seen_in_two_epochs() -> None:
    """Section 3.1 of the paper: with p = 0.5, 0.25 never, 0.5 once, 0.25 twice in two epochs."""
    n, batch = 400, 4
    per_epoch = n // batch
    seen = np.zeros((60, n), int)
    for pair in range(60):
        for i in range(2 * pair * per_epoch, 2 * (pair + 1) * per_epoch):
            if not dropped(3, i, DEFAULT_PROBABILITY):
                seen[pair, batch_indices(n, batch, i, 3)] += 1
    shares = [(seen == times).mean() for times in range(3)]
    assert sum(shares) == pytest.approx(1.0)
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


@given(st.integers(1, 10_000), st.floats(1e-4, 1.0))
def test_drops_at_half_and_three_quarters(iterations: int, lr: float) -> None:
    schedule = Schedule(lr, iterations)
    for i in {0, iterations // 2 - 1, iterations // 2, 3 * iterations // 4, iterations - 1}:
        if i >= 0:
            tenths = (2 * i >= iterations) + (4 * i >= 3 * iterations)
            assert schedule.rate(i) == pytest.approx(lr / 10**tenths, rel=1e-12)


def test_paper_schedule() -> None:
    schedule = Experiment("x").schedule
    rates = [schedule.rate(i) for i in (0, 31_999, 32_000, 47_999, 48_000, 63_999)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_schedule_scales_with_the_iterations() -> None:
    long, short = Schedule(0.1, 1000), Schedule(0.1, 100)
    assert all(short.rate(i) == long.rate(10 * i) for i in range(100))


@pytest.mark.parametrize(
    ("ratio", "drop", "offered", "run"),
    [
        (1.0, 0.5, 128_000, 64_000),  # the paper's SMD: twice the iterations, half of them run
        (0.67, 0.5, 85_760, 42_880),  # its figures at an energy ratio of 0.67
        (0.67, 0.0, 42_880, 42_880),
        (1.0, 0.0, 64_000, 64_000),
    ],
)
def test_energy_ratio(ratio: float, drop: float, offered: int, run: int) -> None:
    assert offered_iterations(64_000, ratio, drop) == offered
    assert offered * (1 - drop) == pytest.approx(run)


def test_smd_at_the_whole_energy_offers_twice_as_many() -> None:
    smd = SmdSettings(0.5)
    whole = Experiment("x", train=TrainSettings(energy_ratio=1.0), smd=smd)
    assert whole.offered == 128_000, "the paper's SMD with energy ratio 1 (section 4.2)"
    assert Experiment("x", smd=smd).offered == 64_000, "half the energy, where no ratio is given"


def test_an_experiment_at_two_thirds() -> None:
    e = Experiment("x", train=TrainSettings(energy_ratio=0.67), smd=SmdSettings(0.5))
    assert e.offered == 85_760
    assert e.schedule.iterations == 85_760, "drops move with the offered iterations"
    assert e.schedule.rate(42_879) == pytest.approx(0.1)
    assert e.schedule.rate(42_880) == pytest.approx(0.01)
