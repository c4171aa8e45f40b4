# SPDX-License-Identifier: Apache-2.0
"""The link to a board: addresses, clocks and their bound, stretches of work, joules of windows."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from e2train.campaign.link.address import Address, parse_address
from e2train.campaign.link.clock import Alignment, ClockLog, ClockReading, best_of
from e2train.campaign.link.energy import measured
from e2train.campaign.link.stamps import stretches
from e2train.errors import UserError
from powermeter import MeterError, open_session

BOOT = "a"
HOST_S = 1.7e9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("xilinx@pynq", Address("xilinx", "pynq", None)),
        ("root@192.168.2.99:2222", Address("root", "192.168.2.99", 2222)),
        ("board", Address(None, "board", None)),
        ("me@[fe80::1%eth0]:22", Address("me", "fe80::1%eth0", 22)),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "@board", "me@", "-oProxyCommand=x", "a b", "b:0", "b:70000", "u:p@b"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UserError, match="--board"):
        parse_address(text)


def exchange(host_s: float, there: float, back: float, clock) -> tuple[float, float, float]:
    """Sent at `host_s`, on its way for `there` and `back` seconds."""
    return host_s, clock(host_s + there), host_s + there + back


def test_the_bound_of_the_clock_holds_whatever_the_link_does() -> None:
    """Delays of each way at random, up to 200 ms, clocks 80 ppm apart, an hour without a link."""
    chance = random.Random(1)
    for _ in range(200):
        begin, rate = chance.uniform(0, 1e5), 1 + chance.uniform(-80e-6, 80e-6)
        clock = lambda host, o=begin, r=rate: o + r * (host - HOST_S)  # noqa: E731
        readings, now = [], HOST_S
        for _ in range(6):
            times = [now + 0.5 * i for i in range(12)]
            delays = [(chance.expovariate(50), chance.expovariate(5)) for _ in times]
            readings.append(
                best_of(
                    BOOT,
                    [exchange(t, a, b, clock) for t, (a, b) in zip(times, delays, strict=True)],
                )
            )
            now += chance.choice([30.0, 30.0, 3600.0])
        alignment = Alignment(readings)
        for _ in range(20):
            true = chance.uniform(HOST_S - 10, now)
            found, bound = alignment.host(BOOT, clock(true))
            assert abs(found - true) <= bound
            assert bound < 0.6


def test_the_shortest_exchange_counts() -> None:
    found = best_of(BOOT, [(10.0, 1.0, 10.5), (20.0, 11.0, 20.002), (30.0, 21.0, 30.1)])
    assert found == ClockReading(BOOT, 11.0, pytest.approx(20.001), pytest.approx(0.001))


def test_a_board_that_was_started_anew_has_another_clock(tmp_path: Path) -> None:
    log = ClockLog(tmp_path)
    log.add(ClockReading(BOOT, 100.0, HOST_S, 0.001))
    with open(tmp_path / ClockLog.NAME, "a") as stream:
        stream.write('{"boot": "b", "board_s": 1')  # as a laptop that died leaves it
    alignment = log.alignment()
    assert alignment.host(BOOT, 100.0) == (HOST_S, 0.001)
    with pytest.raises(MeterError, match="since the board was started"):
        alignment.host("b", 1.0)


def timing(folder: Path, rows: list[dict]) -> Path:
    path = folder / "timing.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def stamp(event: str, clock: float, iteration: int = 0, **more: object) -> dict:
    return {"event": event, "iteration": iteration, "clock": clock, **more}


def worked_twice(folder: Path) -> Path:
    """From 101 to 103 on the board's clock, up to the checkpoint, and from 105 to 109."""
    return timing(
        folder,
        [
            stamp("began", 101.0, boot=BOOT),
            stamp("time", 102.0, 4),
            stamp("checkpoint", 103.0, 4),
            stamp("began", 105.0, 4, boot=BOOT),
            stamp("time", 107.0, 8),
            stamp("evaluated", 108.5, 8),
            stamp("ended", 109.0, 8),
        ],
    )


def test_stretches_of_work(tmp_path: Path) -> None:
    first, second = stretches(worked_twice(tmp_path))
    assert (first.begin_s, first.end_s, first.events) == (101.0, 103.0, [("progress", 4, 102.0)])
    assert (second.begin_s, second.end_s) == (105.0, 109.0)
    assert second.events == [("progress", 8, 107.0), ("evaluation", 8, 108.5)]
    with pytest.raises(UserError, match="began and ended"):
        stretches(timing(tmp_path, [stamp("began", 1.0, boot=BOOT), stamp("time", 2.0)]))


def recorded(folder: Path, bound_s: float) -> float:
    """12 s of 1 W a second more each second; the meter's time at 100 s of the board's clock."""
    with open_session("simulated", folder / "meter", idle_w=0.0) as session:
        start = session.host_time_s()
        session.advance([(1.0, float(watts)) for watts in range(12)])
    ClockLog(folder / "meter").add(ClockReading(BOOT, 105.0, start + 5.0, bound_s))
    return start


def test_joules_of_every_stretch_by_the_boards_stamps(tmp_path: Path) -> None:
    recorded(tmp_path, 0.0)
    window, events = measured(tmp_path, worked_twice(tmp_path), "")
    assert window.valid, window.reason
    assert window.seconds == pytest.approx(6.0, abs=1e-3)
    assert window.joules.value == pytest.approx(1 + 2 + 5 + 6 + 7 + 8, rel=0.03)
    assert [event["event"] for event in events] == ["progress", "progress", "evaluation"]
    for event, joules in zip(events, (1, 3 + 5 + 6, 3 + 5 + 6 + 7 + 4), strict=True):
        assert event["energy"]["joules"] == pytest.approx(joules, rel=0.03)


def test_what_the_clocks_leave_open_is_in_the_uncertainty(tmp_path: Path) -> None:
    found = []
    for bound_s in (0.0, 0.2):
        folder = tmp_path / str(bound_s)
        folder.mkdir()
        recorded(folder, bound_s)
        found.append(measured(folder, worked_twice(folder), "")[0])
    sure, unsure = found
    assert unsure.joules.value == pytest.approx(sure.joules.value)
    # mean of the powers on both sides of each edge, in W, times 0.2 s
    limits = [0.2 * (0.5 + 2.5), 0.2 * (4.5 + 8.5)]
    expected = sum(4 * limit**2 / 3 for limit in limits)
    gained = unsure.joules.uncertainty**2 - sure.joules.uncertainty**2
    assert gained == pytest.approx(expected, rel=0.05)


def test_without_a_recording_there_are_no_joules(tmp_path: Path) -> None:
    with pytest.raises(MeterError, match="nothing was recorded"):
        measured(tmp_path, worked_twice(tmp_path), "")


def test_a_recording_that_begins_after_the_run_gives_no_valid_joules(tmp_path: Path) -> None:
    """As where the computer here died and came back: what nobody metered is not made up."""
    start = recorded(tmp_path, 0.0)
    log = tmp_path / "meter" / ClockLog.NAME
    log.unlink()
    ClockLog(log.parent).add(ClockReading(BOOT, 105.0, start + 1.0, 0.0))
    window, events = measured(tmp_path, worked_twice(tmp_path), "")
    assert not window.valid and window.reason
    assert events[0]["energy"] is None
