# SPDX-License-Identifier: Apache-2.0
"""From a meter's clock to the host's, against the clock that made the stamps."""

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from powermeter.energy.clock import ClockFit

SHEET = 50e-6


def stamps(rate, seconds, seed=0, mean_delay=0.004):
    """(device, host) times: a clock `rate` fast, 2 s ahead; exponential delays, in order."""
    rng = random.Random(seed)
    true, host = 0.0, 0.0
    while true < seconds:
        true += rng.uniform(0.008, 0.012)
        host = max(host + 1e-6, true + rng.expovariate(1 / mean_delay))
        yield 2.0 + rate * true, 1000.0 + host


def fit_of(points):
    fit = ClockFit()
    for device, host in points:
        fit.add(device, host)
    return fit


@pytest.mark.parametrize("rate", [0.9, 0.99, 1.0, 1.00004, 1.01, 1.1])
@pytest.mark.parametrize("seconds", [3.0, 30.0])
def test_rate_and_offset_of_a_disturbed_clock(rate, seconds):
    for seed in range(5):
        line = fit_of(stamps(rate, seconds, seed)).line(SHEET, 0.0)
        # Within the data sheet's limit a short recording may leave the rate at 1.
        assert abs(line.rate * rate - 1) < max(3 * line.rate_u, SHEET)
        assert line.rate_u < (1e-3 if seconds < 10 else 1e-4)
        middle = line.host(2.0 + rate * seconds / 2)
        assert middle == pytest.approx(1000.0 + seconds / 2, abs=5e-4)


def test_the_line_is_the_solution_of_the_linear_programme():
    """Below all stamps, as close as can be: maximise the sum of a + b device."""
    points = np.array(list(stamps(1.1, 5.0)))
    device, host = points[:, 0], points[:, 1] - 1000.0
    solution = linprog(
        [-len(device), -device.sum()],
        A_ub=np.column_stack([np.ones_like(device), device]),
        b_ub=host,
        bounds=[(None, None)] * 2,
        method="highs",
    )
    offset, slope = solution.x
    line = fit_of(points).line(0.0, 0.0)._replace(rate=slope)
    assert line.host(4.0) == pytest.approx(1000.0 + offset + slope * 4.0, abs=1e-6)
    assert fit_of(points).line(1e-9, 0.0).rate == pytest.approx(slope, rel=1e-9)


def test_the_latency_is_allowed_for():
    points = list(stamps(1.0, 10.0))
    early, late = fit_of(points).line(SHEET, 0.0), fit_of(points).line(SHEET, 0.1)
    assert early.host_s - late.host_s == pytest.approx(0.05)
    assert late.offset_u == pytest.approx(0.1 / 12**0.5, rel=0.01)


def test_host_stamped_readings_need_no_fit():
    line = fit_of([(float(t), float(t)) for t in range(10, 100)]).line(SHEET, 0.0)
    assert line.rate == pytest.approx(1.0)
    assert line.host(50.0) == pytest.approx(50.0)
    assert line.offset_u == pytest.approx(0.0, abs=1e-9)


def test_of_one_stamp_only_the_last_reading_counts():
    whole = fit_of([(1.0, 5.0), (2.0, 5.0), (3.0, 6.0), (4.0, 6.0), (5.0, 7.5)])
    last = fit_of([(2.0, 5.0), (4.0, 6.0), (5.0, 7.5)])
    assert whole.count == last.count
    assert whole.line(SHEET, 0.0) == pytest.approx(last.line(SHEET, 0.0))


@given(st.integers(0, 400), st.floats(0.9, 1.1))
def test_state_continues_and_memory_is_bounded(cut, rate):
    points = list(stamps(rate, 4.0))
    straight, first = fit_of(points), fit_of(points[:cut])
    second = ClockFit(**json.loads(json.dumps(first.state())))
    for point in points[cut:]:
        second.add(*point)
    assert second == straight
    assert len(straight.hull) <= 256


def test_a_clock_that_drifts_ever_faster_keeps_memory_bounded():
    fit = fit_of([(t / 10, 1e-4 * t**2) for t in range(3000)])  # every point is on the hull
    assert len(fit.hull) <= 256
