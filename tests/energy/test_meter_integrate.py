# SPDX-License-Identifier: Apache-2.0
"""Windows over readings, against an independent sum on a fine grid and by hand."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from powermeter.energy.budget import MeterErrors, std_dev
from powermeter.energy.clock import ClockLine
from powermeter.energy.integrate import Instrument, Limits, RunningIntegral, WindowIntegral
from powermeter.errors import MeterError
from powermeter.events import Gap, Malformed, OverRange, Pause, Sample
from powermeter.meters.ina226 import chip
from powermeter.meters.ina226.protocol import Config

ANY = Limits(min_coverage=0.0, max_gap_s=math.inf, min_samples=1)
SAME = ClockLine(0.0, 0.0, 1.0, 0.0, 0.0)


def instrument(period=1.0, **options):
    return Instrument(period, chip.accuracy(0.01), "metered", **options)


def sample(time, power, energy_wh=None):
    return Sample(0, time, 12.0, power / 12.0, power, energy_wh)


def feed(integral, times, powers):
    for time, power in zip(times, powers, strict=True):
        integral.take(sample(time, power), time)
    return integral


def result_of(times, powers, window=None, period=1.0, limits=ANY, **options):
    meter = instrument(period, **options)
    integral = RunningIntegral(meter) if window is None else WindowIntegral(meter, window, [SAME])
    return feed(integral, times, powers).result(limits)


def test_partial_edges_take_their_share():
    result = result_of([0.0, 1.0, 2.0, 3.0], [99.0, 1.0, 2.0, 4.0], (0.5, 2.25))
    assert result.joules.value == pytest.approx(0.5 * 1 + 2 + 0.25 * 4)
    assert result.mean_power_w == pytest.approx(3.5 / 1.75)
    assert (result.samples, result.coverage, result.max_gap_s) == (3, 1.0, 0.0)
    # Each cut interval: f (1 - f) of it times the spread of the readings around it.
    edges = math.hypot(0.25 * (99 - 1), 0.1875 * (4 - 2)) / math.sqrt(3)
    assert result.budget.of_window["cut intervals"] == pytest.approx(edges)


def test_the_first_reading_only_marks_the_time():
    result = result_of([5.0, 6.0, 7.0], [99.0, 2.0, 4.0])
    assert result.joules.value == pytest.approx(6.0)
    assert result.samples == 2


@given(
    st.lists(st.floats(-5, 50), min_size=3, max_size=30),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.booleans(),
)
def test_any_window_equals_a_sum_on_a_fine_grid(powers, a, b, instantaneous):
    rng = np.random.default_rng(len(powers))
    times = np.cumsum(rng.uniform(0.9, 1.1, len(powers)))
    first, last = times[0], times[-1]
    begin, end = sorted(first + (last - first) * np.array([a, b]))
    if end - begin < 1e-3:
        return
    edges = np.linspace(begin, end, 20_001)
    middle = (edges[1:] + edges[:-1]) / 2
    if instantaneous:
        readings = np.interp(middle, times, powers)
    else:
        readings = np.asarray(powers)[np.searchsorted(times, middle)]
    expected = readings.mean() * (end - begin)
    result = result_of(times, powers, (begin, end), instantaneous=instantaneous)
    step = (end - begin) / 20_000
    jumps = np.abs(np.diff(powers)).sum()
    assert result.joules.value == pytest.approx(expected, abs=step * jumps + 1e-9)
    assert result.coverage == pytest.approx(1.0)
    assert result.max_gap_s == pytest.approx(0.0, abs=1e-9)


@given(
    st.lists(st.floats(-5, 50), min_size=4, max_size=40),
    st.integers(1, 38),
    st.booleans(),
)
def test_neighbouring_windows_add_up_and_states_continue(powers, cut, instantaneous):
    times = [float(n) for n in range(len(powers))]
    middle = min(cut, len(powers) - 2) + 0.3
    option = {"instantaneous": instantaneous}
    whole = result_of(times, powers, (0.0, times[-1]), **option).joules.value
    parts = [(0.0, middle), (middle, times[-1])]
    halves = [result_of(times, powers, part, **option).joules.value for part in parts]
    assert sum(halves) == pytest.approx(whole, abs=1e-9)

    meter = instrument(**option)
    straight = feed(RunningIntegral(meter), times, powers)
    first, second = feed(RunningIntegral(meter), times[:cut], powers[:cut]), RunningIntegral(meter)
    second.restore(json.loads(json.dumps(first.state())))
    feed(second, times[cut:], powers[cut:])
    assert second.state() == straight.state()
    assert second.result(ANY) == straight.result(ANY)


def test_negative_power_is_not_clamped():
    result = result_of([0.0, 1.0, 2.0], [0.0, -1.0, -2.0])
    assert result.joules.value == pytest.approx(-3.0)
    assert result.mean_power_w == pytest.approx(-1.5)


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


def test_a_hole_between_instants_is_not_joined():
    times = [*map(float, range(100)), *map(float, range(104, 200))]
    result = result_of(times, [2.0] * len(times), instantaneous=True)
    assert result.joules.value == pytest.approx(2.0 * (99 + 95))
    assert result.max_gap_s == pytest.approx(5.0)


def test_steps_between_instants_are_uncertain_by_half_a_period():
    times = np.arange(0.0, 100.0)
    powers = np.where(times % 10 < 5, 2.0, 8.0)
    result = result_of(times, powers, instantaneous=True)
    assert result.budget.of_window["between readings"] == pytest.approx(
        math.sqrt(19) * 6.0 / math.sqrt(12)
    )
    steady = result_of(times, [5.0] * 100, instantaneous=True)
    assert steady.budget.of_window["between readings"] == 0.0


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


def with_event(event, window=None):
    """200 readings of 2 W, one a second, with `event` before the hundredth."""
    meter = instrument()
    lines = [SAME, SAME]
    integral = RunningIntegral(meter) if window is None else WindowIntegral(meter, window, lines)
    feed(integral, map(float, range(100)), [2.0] * 100)
    integral.take(event, 100.0)
    feed(integral, map(float, range(100, 200)), [2.0] * 100)
    return integral.result(Limits())


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (Gap("restart", 100.0, 0), "restarted"),
        (
            OverRange(0, 100.0, "shunt"),
            "beyond the end of the meter's range (shunt)",
        ),
        (Gap("time", 100.0, 1), "cover"),
        (Gap("unplugged", 100.0, 0), "cover"),
    ],
)
def test_what_happens_in_a_window_fails_it_and_no_other(event, reason):
    for window in (None, (10.0, 190.0), (30.0, 100.0), (99.2, 180.0)):
        result = with_event(event, window)
        assert not result.valid
        assert reason in result.reason
    for window in ((10.0, 80.0), (110.0, 190.0)):
        result = with_event(event, window)
        assert result.valid, result.reason
        assert result.joules.value == pytest.approx(2.0 * (window[1] - window[0]))


def test_readings_beside_an_unreadable_line_are_in_doubt():
    def result(window):
        meter = instrument()
        lines = [SAME]
        integral = WindowIntegral(meter, window, lines) if window else RunningIntegral(meter)
        feed(integral, map(float, range(100)), [2.0] * 99 + [20.0])
        integral.take(Malformed("955", "no line of the protocol"), 100.0)
        feed(integral, map(float, range(100, 200)), [3.0] + [2.0] * 99)
        return integral.result(Limits())

    for window in (None, (10.0, 150.0)):
        damaged = result(window).budget.of_window["damaged readings"]
        assert damaged == pytest.approx(math.hypot(20.0 - 2.0, 3.0 - 20.0))
    assert result((110.0, 190.0)).budget.of_window["damaged readings"] == 0.0


def test_after_a_break_the_first_reading_only_marks_the_time():
    result = with_event(Gap("unplugged", 99.0, 0))
    assert result.joules.value == pytest.approx(2.0 * 198)
    assert result.coverage == pytest.approx(198 / 199)
    assert result.max_gap_s == pytest.approx(1.0)


def test_a_pause_is_neither_covered_nor_a_gap():
    integral = feed(RunningIntegral(instrument()), [0.0, 1.0, 2.0], [1.0] * 3)
    integral.take(Pause(50.0), 50.0)
    feed(integral, [100.0, 101.0], [5.0, 5.0])
    result = integral.result(ANY)
    assert result.joules.value == pytest.approx(7.0)
    assert (result.coverage, result.max_gap_s) == (1.0, 0.0)


def test_joules_are_counted_in_host_seconds():
    """A meter whose clock runs 10 % fast, with a stamp that is never early."""
    rng = np.random.default_rng(0)
    integral = RunningIntegral(instrument(period=0.1))
    for n in range(1000):
        host = 0.1 * n
        integral.take(sample(2.0 + 1.1 * host, 3.0), 1e9 + host + rng.exponential(0.004))
    result = integral.result(Limits())
    assert result.valid, result.reason
    assert result.seconds == pytest.approx(99.9, rel=1e-4)
    assert result.joules.value == pytest.approx(3.0 * 99.9, rel=1e-4)


def test_the_clocks_offset_moves_a_window_and_counts_where_power_differs():
    times = np.arange(0.0, 200.0, 0.1)
    powers = np.where(times < 100.0, 2.0, 8.0)
    line = SAME._replace(offset_u=0.05)

    def result(begin, end):
        integral = WindowIntegral(instrument(0.1), (begin, end), [line])
        return feed(integral, times, powers).result(Limits())

    level = result(10.02, 90.02).budget.of_window["clock offset"]
    assert level == pytest.approx(0.0, abs=1e-9)
    assert result(20.02, 150.02).budget.of_window["clock offset"] == pytest.approx(0.05 * 6.0)


def test_the_meters_own_counter_is_compared():
    def result(factor):
        integral = RunningIntegral(instrument(counter_wh=0.1))
        for n in range(1000):
            counter = math.floor(factor * 20.0 * n / 360) / 10  # tenths of a watt-hour
            integral.take(sample(float(n), 20.0, 7.0 + counter), float(n))
        return integral.result(Limits())

    right = result(1.0)
    assert right.valid, right.reason
    assert right.counter_joules == pytest.approx(19_980, abs=360)
    wrong = result(0.9)
    assert not wrong.valid
    assert wrong.reason.startswith("the meter's own counter says 1")


def test_what_two_windows_have_in_common_cancels_in_their_difference():
    times = np.arange(0.0, 201.0)
    run = result_of(times, [3.0] * 201)
    errors = MeterErrors()
    first = errors.energy(run.joules.value, run.budget)
    second = errors.energy(run.joules.value, run.budget)
    own = 2**0.5 * run.budget.of_window["clock rate"]
    assert std_dev(first - second) == pytest.approx(own, rel=1e-6)
    assert std_dev(first) == pytest.approx(run.joules.uncertainty / 2)
    total = sum(term**2 for term in run.budget.to_dict().values()) ** 0.5
    assert std_dev(first) == pytest.approx(total)


def test_a_window_must_have_a_length():
    with pytest.raises(MeterError, match="must end after it begins"):
        WindowIntegral(instrument(), (2.0, 2.0), [SAME])


def test_settings_that_change_the_period_are_followed():
    integral = RunningIntegral(instrument())
    integral.take(Config(4, 1100, 1100, 0.01, "RAW", 4_000_000), 0.0)
    feed(integral, [0.0, 4.0, 8.0], [2.0] * 3)
    assert integral.result(ANY).coverage == 1.0
