# SPDX-License-Identifier: Apache-2.0
"""Idle, run, idle: net energies, ranges and repeats."""

import json
import math

import numpy as np
import pytest
import scipy.stats

from powermeter import MeterError, open_session
from powermeter.energy.net import Procedure, fixed_range, net_of, repeats


def measured(folder, seed, idle_after=2.6, seconds=60.0):
    """The procedure on a simulated board: 2.6 W idle, then 3.1 W, then idle again."""
    with open_session("simulated", folder=folder, seed=seed) as session:
        watts = [2.6]
        procedure = Procedure(
            session,
            folder,
            sleep=lambda s: session.advance([(s, watts[0])]),
            settle_s=1.0,
            idle_s=8.0,
        )
        procedure.idle("before")
        with procedure.window("run"):
            session.advance([(seconds, 3.1)])
        watts[0] = idle_after
        procedure.idle("after")
        return procedure.result()


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
    stored = json.loads((tmp_path / "0" / "windows.json").read_text())
    assert set(stored["windows"]) == {"idle before", "run", "idle after"}
    assert stored["net_joules"] == pytest.approx(0.5 * 10.0, abs=0.5)


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
    with pytest.raises(MeterError, match="not measured: run"):
        Procedure(session, tmp_path, sleep=lambda s: None).result()


def test_repeats_are_students_interval():
    rng = np.random.default_rng(3)
    for count in (2, 5, 20, 31, 200):
        values = rng.normal(10.0, 2.0, count)
        interval = scipy.stats.t.interval(0.95, count - 1, values.mean(), scipy.stats.sem(values))
        found = repeats(values.tolist())
        assert found.count == count
        assert found.mean == pytest.approx(values.mean())
        assert found.half_width == pytest.approx((interval[1] - interval[0]) / 2, rel=0.01)
    with pytest.raises(MeterError, match="two repeats"):
        repeats([1.0])


def test_the_fixed_range_has_headroom():
    assert fixed_range([0.5, 1.0, 2.0, 5.0], 0.9) == 1.0
    assert fixed_range([5.0, 2.0, 1.0, 0.5], 0.95) == 2.0
    assert fixed_range([1.0], -0.9) == 1.0
    with pytest.raises(MeterError, match="no range holds"):
        fixed_range([1.0, 2.0], 1.9)
