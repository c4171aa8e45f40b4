# SPDX-License-Identifier: Apache-2.0
"""Power traces: an envelope loses no peak, a gap stays a gap, a broken log is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2train.errors import UserError
from e2train.report.power import decimate, read_trace
from report_folders import write_samples

HEADER = "device_time_s,power_w,voltage_v,current_a\n"


@given(
    count=st.integers(1, 3000),
    bins=st.integers(1, 200),
    seed=st.integers(0, 2**32),
    gap=st.booleans(),
)
def test_envelope_against_a_plain_loop(count: int, bins: int, seed: int, gap: bool) -> None:
    random = np.random.default_rng(seed)
    seconds = np.cumsum(random.uniform(0.0, 1.0, count))
    if gap:
        seconds[count // 2 :] += 500.0
    watts = random.normal(2.6, 1.0, count)
    trace = decimate(seconds, watts, bins)
    assert trace.samples == count
    assert np.nanmin(trace.low) == watts.min() and np.nanmax(trace.high) == watts.max()
    if not trace.decimated:
        assert np.array_equal(trace.mean[~np.isnan(trace.mean)], watts)
        return
    edges = np.linspace(seconds[0], seconds[-1], bins + 1)
    for place in range(bins):
        last = place == bins - 1
        inside = watts[
            (seconds >= edges[place])
            & ((seconds < edges[place + 1]) | (last & (seconds > edges[place])))
        ]
        if len(inside) == 0:
            assert np.isnan([trace.low[place], trace.mean[place], trace.high[place]]).all()
        else:
            expected = [inside.min(), inside.mean(), inside.max()]
            assert [trace.low[place], trace.mean[place], trace.high[place]] == pytest.approx(
                expected
            )


def test_one_spike_in_a_million_samples_is_seen() -> None:
    watts = np.full(1_000_000, 2.6)
    watts[654_321] = 9.0
    trace = decimate(np.arange(1e6) * 0.002, watts, 700)
    assert len(trace.seconds) == 700
    assert np.nanmax(trace.high) == 9.0 and np.sum(trace.high > 3) == 1


def test_gap_in_a_short_log_breaks_the_line() -> None:
    seconds = np.array([0.0, 0.1, 0.2, 5.0, 5.1])
    trace = decimate(seconds, np.ones(5), 100)
    assert np.flatnonzero(np.isnan(trace.mean)).tolist() == [3]


def test_log_is_read_by_the_names_of_its_columns(tmp_path: Path) -> None:
    file = tmp_path / "samples.csv"
    file.write_text("power_w,current_a,device_time_s\n2.5,0.2,0.0\n2.7,0.2,0.5\n")
    trace = read_trace(file)
    assert trace is not None
    assert trace.mean.tolist() == [2.5, 2.7] and trace.seconds.tolist() == [0.0, 0.5]


def test_unfinished_last_row_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "samples.csv"
    file.write_text(HEADER + "0.0,2.5,12,0.2\n0.1,2.6,12,0.2\n0.2,2")
    trace = read_trace(file)
    assert trace is not None and trace.samples == 2


def test_log_without_samples(tmp_path: Path) -> None:
    file = tmp_path / "samples.csv"
    file.write_text(HEADER)
    assert read_trace(file) is None
    file.write_text(HEADER + "0.0,nan,12,0.2\n")
    assert read_trace(file) is None


@pytest.mark.parametrize(
    "text, word",
    [
        ("", "power_w"),
        ("time,watts\n0,1\n", "power_w"),
        (HEADER + "0.0,2.5,12,0.2\n0.1,x,12,0.2\n", "not a table"),
        (HEADER + "0.0,2.5,12,0.2\n0.1\n", "not a table"),
        (HEADER + "0.0,2.5,12,0.2\n5.0,2.5,12,0.2\n1.0,2.5,12,0.2\n", "backwards after 5 s"),
    ],
)
def test_broken_log_is_named(tmp_path: Path, text: str, word: str) -> None:
    file = tmp_path / "samples.csv"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        read_trace(file)
    line = str(caught.value)
    assert str(file) in line and word in line and "\n" not in line


def test_long_log_of_a_run(tmp_path: Path) -> None:
    write_samples(tmp_path, 600.0, 20_000, np.random.default_rng(1))
    trace = read_trace(tmp_path / "meter" / "samples.csv", bins=300)
    assert trace is not None and trace.decimated and len(trace.seconds) == 300
    assert not np.isnan(trace.mean).any()
    assert (trace.low <= trace.mean).all() and (trace.mean <= trace.high).all()
