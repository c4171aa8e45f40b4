# SPDX-License-Identifier: Apache-2.0
"""Windows over readings, against an independent sum on a fine grid and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from powermeter.drivers import ina226_chip as chip
from powermeter.errors import MeterError
from powermeter.integrate import Limits, RunningIntegral

ACCURACY = chip.accuracy(0.01)
ANY = Limits(min_coverage=0.0, max_gap_s=math.inf, min_samples=1)


def integral_of(times, powers, window=None, period=1.0):
    integral = RunningIntegral(period, window)
    for time, power in zip(times, powers, strict=True):
        integral.add(time, power, 12.0, power / 12.0)
    return integral


def result_of(*arguments, limits=ANY, **options):
    return integral_of(*arguments, **options).result(ACCURACY, "metered", limits)


def test_partial_edges_take_their_share():
    result = result_of([0.0, 1.0, 2.0, 3.0], [99.0, 1.0, 2.0, 4.0], (0.5, 2.25))
    assert result.joules.value == pytest.approx(0.5 * 1 + 2 + 0.25 * 4)
    assert result.mean_power_w == pytest.approx(3.5 / 1.75)
    assert (result.samples, result.coverage, result.max_gap_s) == (3, 1.0, 0.0)


def test_the_first_reading_only_marks_the_time():
    result = result_of([5.0, 6.0, 7.0], [99.0, 2.0, 4.0])
    assert result.joules.value == 6.0
    assert result.samples == 2


@given(
    st.lists(st.floats(-5, 50), min_size=3, max_size=30),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)
def test_any_window_equals_a_sum_on_a_fine_grid(powers, a, b):
    rng = np.random.default_rng(len(powers))
    times = np.cumsum(rng.uniform(0.9, 1.1, len(powers)))
    first, last = times[0], times[-1]
    begin, end = sorted(first + (last - first) * np.array([a, b]))
    if end - begin < 1e-3:
        return
    edges = np.linspace(begin, end, 20_001)
    middle = (edges[1:] + edges[:-1]) / 2
    expected = np.asarray(powers)[np.searchsorted(times, middle)].mean() * (end - begin)
    result = result_of(times, powers, (begin, end))
    step = (end - begin) / 20_000
    jumps = np.abs(np.diff(powers)).sum()
    assert result.joules.value == pytest.approx(expected, abs=step * jumps + 1e-9)
    assert result.coverage == pytest.approx(1.0)
    assert result.max_gap_s == pytest.approx(0.0, abs=1e-9)


@given(st.lists(st.floats(-5, 50), min_size=4, max_size=40), st.integers(1, 38))
def test_neighbouring_windows_add_up_and_states_continue(powers, cut):
    times = [float(n) for n in range(len(powers))]
    middle = min(cut, len(powers) - 2) + 0.3
    whole = result_of(times, powers, (0.0, times[-1])).joules.value
    parts = [(0.0, middle), (middle, times[-1])]
    halves = [result_of(times, powers, part).joules.value for part in parts]
    assert sum(halves) == pytest.approx(whole, abs=1e-9)

    straight = integral_of(times, powers)
    first, second = integral_of(times[:cut], powers[:cut]), RunningIntegral(1.0)
    second.restore(first.state())
    for time, power in zip(times[cut:], powers[cut:], strict=True):
        second.add(time, power, 12.0, power / 12.0)
    assert second.state() == straight.state()


def test_negative_power_is_not_clamped():
    result = result_of([0.0, 1.0, 2.0], [0.0, -1.0, -2.0])
    assert result.joules.value == -3.0
    assert result.mean_power_w == -1.5


def test_a_hole_is_not_filled_and_fails_the_window():
    times = [*map(float, range(100)), *map(float, range(104, 200))]
    result = result_of(times, [2.0] * len(times), limits=Limits(max_gap_s=10))
    # 99 intervals, the one period that the reading at 104 s covers, and 95 more.
    assert result.joules.value == pytest.approx(2.0 * (99 + 1 + 95))
    assert result.coverage == pytest.approx(195 / 199)
    assert result.max_gap_s == pytest.approx(4.0)
    assert not result.valid
    assert "cover 97.98" in result.reason
    assert result.joules.uncertainty > 2.0 * 4  # the missing 4 s at mean power


def test_a_long_gap_fails_even_where_coverage_is_good():
    times = [n * 0.01 for n in range(300_000) if not 1000 < n <= 1150]
    result = result_of(times, [2.0] * len(times), limits=Limits(), period=0.01)
    assert result.coverage > 0.999
    assert not result.valid
    assert result.reason.startswith("1.5 s without a reading")


def test_what_lies_outside_the_readings_is_a_gap():
    result = result_of([10.0, 11.0, 12.0], [1.0, 1.0, 1.0], (8.0, 15.0), limits=Limits())
    assert result.coverage == pytest.approx(2 / 7)
    assert result.max_gap_s == pytest.approx(3.0)
    assert result.joules.value == pytest.approx(2.0)
    empty = result_of([10.0, 11.0], [1.0, 1.0], (20.0, 25.0))
    assert (empty.valid, empty.mean_power_w, empty.coverage) == (False, None, 0.0)
    assert (empty.max_gap_s, empty.reason) == (5.0, "no reading covers any of the window")


def test_a_short_window_is_no_measurement():
    result = result_of([0.0, 1.0], [1.0, 1.0], limits=Limits())
    assert (result.valid, result.reason) == (False, "only 1 readings; 60 needed")


def test_restart_and_end_of_range_fail_the_window():
    result = result_of([5.0, 6.0, 1.0, 2.0], [1.0] * 4)
    assert not result.valid
    assert "restarted" in result.reason

    integral = integral_of([0.0, 1.0], [1.0, 1.0])
    integral.over_range()
    integral.add(2.0, 98.0, 12.0, 98 / 12)
    result = integral.result(ACCURACY, "metered", ANY)
    assert (result.valid, result.reason) == (False, "1 readings at the end of the meter's range")


def test_a_pause_is_neither_covered_nor_a_gap():
    integral = integral_of([0.0, 1.0, 2.0], [1.0, 1.0, 1.0])
    integral.pause()
    for time in (100.0, 101.0):
        integral.add(time, 5.0, 12.0, 5 / 12)
    result = integral.result(ACCURACY, "metered", ANY)
    assert (result.joules.value, result.coverage, result.max_gap_s) == (7.0, 1.0, 0.0)


def test_anchors_correct_the_meters_clock():
    def with_anchors(*anchors):
        integral = integral_of(map(float, range(101)), [2.0] * 101)
        for anchor in anchors:
            integral.anchor(*anchor)
        return integral.result(ACCURACY, "metered", ANY).joules

    plain = with_anchors()
    assert plain.value == 200.0
    # The meter's clock is 50 ppm fast: 100.005 of its seconds are 100 real ones.
    corrected = with_anchors((0.0, 1000, "S"), (100.005, 1100, "S"))
    assert corrected.value == pytest.approx(200.0 / 1.00005, rel=1e-9)
    assert corrected.uncertainty < plain.uncertainty
    assert with_anchors((0.0, 1000, "P"), (100.005, 1100, "P")) == plain  # too coarse
    assert with_anchors((0.0, 1000, "S"), (5.0, 1005, "S")) == plain  # too short
    assert with_anchors((0.0, 1000, "S"), (100.0, 5100, "S")) == plain  # the clock was set


def test_a_window_must_have_a_length():
    with pytest.raises(MeterError, match="must end after it begins"):
        RunningIntegral(1.0, (2.0, 2.0))
