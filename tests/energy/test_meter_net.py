# SPDX-License-Identifier: Apache-2.0
"""Idle, run, idle: net energies."""

import math

import numpy as np
import pytest

from powermeter import MeterError, open_session
from powermeter.energy.net import net_of


def measured(folder, seed, idle_after=2.6, seconds=60.0):
    """Idle, run, idle on a simulated board: 2.6 W idle, then 3.1 W, then idle again."""
    with open_session("simulated", folder=folder, seed=seed) as session:
        windows = {}
        for name, idle_s, watts in (
            ("before", 8.0, 2.6),
            ("run", seconds, 3.1),
            ("after", 8.0, idle_after),
        ):
            session.advance([(1.0, watts if name != "run" else 2.6)])  # settling
            begin = session.host_time_s()
            session.advance([(idle_s, watts)])
            windows[name] = (begin, session.host_time_s())
        session.advance([(1.0, idle_after)])  # the last reading of a window ends after it
        return net_of(*(session.window(*windows[name]) for name in ("run", "before", "after")))


def test_net_energy_is_right_and_common_errors_cancel(tmp_path):
    ratios = []
    for seed in range(20):
        net = measured(tmp_path / str(seed), seed, seconds=10.0)
        assert net.valid, net.reason
        assert net.seconds == pytest.approx(10.0)
        assert net.total.value == pytest.approx(3.1 * 10.0, rel=0.02)
        # The offset (12 mW limit) and all else that idle and run share is gone from the net.
        assert net.net.uncertainty < 0.25 * net.total.uncertainty
        ratios.append((net.net.value - 0.5 * 10.0) / net.net.uncertainty)
    assert np.mean(np.abs(ratios) <= 1) >= 0.95


def test_drift_of_the_idle_power_is_in_the_uncertainty(tmp_path):
    steady = measured(tmp_path / "a", 1)
    drifting = measured(tmp_path / "b", 1, idle_after=2.8)
    assert drifting.drift_w == pytest.approx(0.2, abs=0.01)
    expected = 2 * 0.1 / math.sqrt(3) * 60.0
    assert drifting.net.uncertainty == pytest.approx(
        math.hypot(expected, steady.net.uncertainty), rel=0.02
    )


def test_negative_differences_stay_negative(tmp_path):
    with open_session("simulated", folder=tmp_path) as session:
        session.advance([(3.0, 3.0), (3.0, 2.0), (3.0, 3.0), (1.0, 3.0)])
        windows = [session.window(begin + 0.1, begin + 2.9) for begin in (3.0, 0.0, 6.0)]
    net = net_of(*windows)
    assert net.net.value == pytest.approx(-2.8, rel=0.02)
    assert net.valid


def test_an_invalid_window_makes_the_net_invalid_and_is_named(tmp_path):
    with open_session("simulated", folder=tmp_path) as session:
        session.advance([(4.0, 3.0)])
        good, short = session.window(0.1, 2.0), session.window(2.0, 2.1)
        empty = session.window(100.0, 101.0)
    net = net_of(good, short, good)
    assert (net.valid, net.reason.split(":")[0]) == (False, "idle before")
    with pytest.raises(MeterError, match="idle after: no reading"):
        net_of(good, good, empty)
