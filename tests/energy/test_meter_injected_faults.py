# SPDX-License-Identifier: Apache-2.0
"""Whatever is raised inside recorder, session or driver: no window that lacks readings is valid."""

import errno
import json
import random

import pytest

from injected import LIMITS, Fault, Target, called, record_with
from meter_cases import CASES, START_S, Windows
from powermeter.energy.integrate import silence_limit_s
from powermeter.errors import MeterError
from powermeter.record.audit import audit
from powermeter.record.recording import (
    RESULT,
    death_of,
    integrate_folder,
    write_result,
)

SECONDS = {"ina226-serial": 7.0, "wt310": 30.0, "scpi": 40.0}
TRIALS = 37  # of each of six meters
ERRORS = (
    lambda: ValueError("injected"),
    lambda: KeyError("injected"),
    lambda: TypeError("injected bytes is not JSON serializable"),
    lambda: RuntimeError("injected"),
    lambda: MemoryError("injected"),
    lambda: OSError(errno.ENOSPC, "injected: no space left on device"),
    lambda: RecursionError("injected"),
    lambda: json.JSONDecodeError("injected", "", 0),
    lambda: UnicodeDecodeError("ascii", b"\xff", 0, 1, "injected"),
    lambda: ZeroDivisionError("injected"),
    lambda: AssertionError("injected"),
    lambda: MeterError("injected"),
    lambda: SystemExit("injected"),
)


def seconds_of(case):
    return SECONDS.get(case.driver, 50.0)


def trial(case, folder, fault):
    """Record with the fault; no valid window may lack readings. The outcome, and valid windows."""
    seconds = seconds_of(case)
    windows = [(0.2 * seconds, 0.5 * seconds), (0.25 * seconds, 0.97 * seconds)]
    outcome = record_with([] if fault is None else [fault], case, folder, seconds, windows)
    end_s = outcome.line.elapsed_s
    try:
        recording = Windows(folder)
        last = recording.extent[1] - START_S
    except (MeterError, TypeError):  # the fault came before the first reading
        assert outcome.code == 2, f"{fault}: a success without a recording"
        return outcome, []
    answers = list(outcome.answers)
    answers += [(b, e, recording.result(START_S + b, START_S + e, LIMITS)) for b, e in windows]
    valid = [(b, e, result) for b, e, result in answers if result.valid]
    meter = recording.meter
    for begin, end, result in valid:
        beyond = end - last
        whole = begin == outcome.opened_s  # of the recording so far: first to last reading
        late = silence_limit_s(meter.period_s) if whole else 1.5 * meter.period_s
        assert beyond <= late + meter.latency_s, f"{fault}: readings end at {last}: {result}"
        expected = case.high_w * (end - begin - whole * late)
        assert result.joules.value > 0.97 * expected, f"{fault}: too few joules: {result}"
    assert all(result.reason for _, _, result in answers if not result.valid)
    if outcome.code == 0 or (folder / RESULT).exists():
        stored = json.loads((folder / RESULT).read_text())
        whole = end_s - last <= silence_limit_s(meter.period_s) and not death_of(folder)
        assert whole or not stored["valid"], f"{fault}: a valid result"
    if outcome.code != 0:
        assert outcome.code == 2, f"{fault}: {outcome}"
        assert outcome.errors.startswith("powermeter: "), outcome
        assert outcome.errors.count("\n") == 1, outcome
    return outcome, valid


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.driver)
def test_without_a_fault_the_windows_are_valid(case, tmp_path):
    outcome, valid = trial(case, tmp_path / "run", None)
    assert outcome.code == 0, outcome
    assert len(valid) == 5
    assert audit(tmp_path / "run").passed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.driver)
def test_whatever_is_raised_anywhere_leaves_no_valid_joule(case, tmp_path):
    rng = random.Random(case.driver)
    seconds = seconds_of(case)
    targets = called(case, tmp_path / "watched", seconds)
    assert len(targets) > 60
    codes, injected, kept = [], 0, 0
    for n in range(TRIALS):
        fault = Fault(
            rng.choice(targets), rng.choice(ERRORS), rng.uniform(0.3, 0.6) * seconds, n % 2 == 0
        )
        outcome, valid = trial(case, tmp_path / str(n), fault)
        injected += fault.fired > 0
        codes += [outcome.code] if outcome.fired else []
        kept += any(end <= 0.5 * seconds for _, end, _ in valid)
    assert injected >= 34
    assert len(codes) >= 17, "the others in questions to the recording"
    # Drivers take a ValueError for bytes that are no reading; nothing else may be taken lightly.
    assert codes.count(0) <= 0.1 * TRIALS
    assert kept > 0, "windows before the fault stay valid"


_RECORDER = "powermeter.record.recorder"
STEPS = {
    "read": Target("powermeter.meters.meter", "Meter", "receive"),
    "round": Target(_RECORDER, "Recorder", "step"),
    "decode": Target("powermeter.meters.ina226.protocol", "LineDecoder", "feed"),
    "stream": Target("powermeter.record.stream", "EventStream", "feed"),
    "raw log": Target("powermeter.record.rawlog", "RawLog", "append"),
    "write": Target("powermeter.record.rawlog", "", "write_all"),
    "row": Target("powermeter.record.recording", "", "csv_row"),
    "integral": Target("powermeter.energy.integrate", "RunningIntegral", "take"),
    "sums": Target("powermeter.energy.sums", "Sums", "add"),
    "clock fit": Target("powermeter.energy.clock", "ClockFit", "add"),
    "check": Target(_RECORDER, "Recorder", "check"),
    "last mark": Target("powermeter.record.rawlog", "RawLog", "mark"),
    "result": Target(_RECORDER, "Recorder", "result"),
    "finish": Target(_RECORDER, "Recorder", "finish"),
    "close of the log": Target("powermeter.record.rawlog", "RawLog", "close"),
    "close of the meter": Target("powermeter.meters.meter", "Meter", "close"),
    "session": Target("powermeter.record.session", "MeterSession", "advance"),
    "end of the session": Target("powermeter.record.session", "MeterSession", "close"),
    "digests": Target("powermeter.record.recording", "", "digest"),
    "result file": Target("powermeter.record.recording", "", "write_json"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_fault_in_any_step_is_said_and_the_recording_kept(step, tmp_path):
    case, folder = CASES[0], tmp_path / "run"
    fault = Fault(STEPS[step], lambda: TypeError("injected: bytes"), 4.0)
    outcome, valid = trial(case, folder, fault)
    assert outcome.code == 2, outcome
    assert "injected: bytes" in outcome.errors
    assert str(folder) in outcome.errors
    assert any(end <= 3.5 for _, end, _ in valid), "what came before stays valid"
    early, late = (integrate_folder(folder, START_S + 1.0, START_S + end) for end in (3.0, 7.5))
    assert early.valid, early.reason
    if death_of(folder):
        assert "the recorder died at 2023-11-14 22:13:2" in late.reason
        assert "TypeError: injected: bytes" in late.reason
        whole = integrate_folder(folder, limits=LIMITS)
        assert (whole.valid, whole.reason) == (False, late.reason)
        write_result(folder, whole, LIMITS)  # as `powermeter integrate` does
        assert audit(folder).passed
