# SPDX-License-Identifier: Apache-2.0
"""Every simulated meter against the analytic energy of its trace, in 200 windows each."""

import random

import numpy as np
import pytest

from meter_cases import CASES, START_S, Windows, joules_between, record, trace_of
from powermeter.record.recording import integrate_folder

RECORDINGS, WINDOWS = 50, 4
LEAST = 62  # periods: a window is to hold 60 readings


def windows_of(folder, rng):
    """(begin, end, result) of some windows."""
    recording = Windows(folder)
    first, last = recording.extent
    for _ in range(WINDOWS):
        length = rng.uniform(LEAST * recording.meter.period_s, last - first)
        begin = rng.uniform(first, last - length)
        yield begin, begin + length, recording.result(begin, begin + length)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.driver)
def test_energies_agree_within_an_uncertainty_that_is_not_padded(case, tmp_path):
    errors, stated = [], []
    for seed in range(RECORDINGS):  # each another instrument and another trace
        rng = random.Random(seed)
        segments = trace_of(case, rng, case.seconds)
        folder = tmp_path / str(seed)
        record(case, folder, segments, case.seconds, seed)
        for begin, end, result in windows_of(folder, rng):
            assert result.valid, result.reason
            true = joules_between(segments, begin - START_S, end - START_S)
            errors.append((result.joules.value - true) / true)
            stated.append(result.joules.uncertainty / true)
    errors, stated = np.array(errors), np.array(stated)
    assert len(errors) == 200
    assert np.mean(np.abs(errors) <= stated) >= 0.95
    assert np.sqrt(np.mean(stated**2)) <= 3 * np.std(errors)
    assert abs(np.mean(errors)) < np.std(errors)


def test_a_window_is_the_same_however_it_is_asked_for(tmp_path):
    rng = random.Random(1)
    record(CASES[0], tmp_path, trace_of(CASES[0], rng, 3.0), 3.0)
    for begin, end, result in windows_of(tmp_path, rng):
        assert integrate_folder(tmp_path, begin, end) == result


def test_a_clock_ten_per_cent_fast_and_two_seconds_off(tmp_path):
    """The window is in host time, so a wrong clock must not change its energy."""
    case, rng = CASES[0], random.Random(5)
    segments = trace_of(case, rng, 12.0)
    for name, clock in (("right", {}), ("wrong", {"clock_rate": 1.1, "clock_offset_s": 2.0})):
        record(case, tmp_path / name, segments, 12.0, 3, **clock)
    for _ in range(20):
        length = rng.uniform(1.0, 9.0)
        begin = START_S + rng.uniform(0.5, 11.0 - length)
        right, wrong = (
            integrate_folder(tmp_path / name, begin, begin + length) for name in ("right", "wrong")
        )
        assert wrong.valid, wrong.reason
        assert wrong.joules.value == pytest.approx(right.joules.value, rel=0.002)
        true = joules_between(segments, begin - START_S, begin + length - START_S)
        assert abs(wrong.joules.value - true) <= wrong.joules.uncertainty
