# SPDX-License-Identifier: Apache-2.0
"""A recorder's process or thread that dies, hangs or is killed, through real pseudo-terminals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import powermeter
from meter_cases import CASES, START_S, record
from powermeter import MeterError, open_session
from powermeter.energy.accuracy import PowerAccuracy
from powermeter.energy.clock import ClockLine
from powermeter.energy.integrate import Instrument, WindowIntegral
from powermeter.errors import RecordingError
from powermeter.events import Sample
from powermeter.meters import find_driver
from powermeter.meters.ina226.simulator import Ina226Device
from powermeter.meters.wattsup.simulator import WattsUpDevice
from powermeter.record.audit import audit
from powermeter.record.process import _obeyed
from powermeter.record.recorder import Recorder
from powermeter.record.recording import (
    EVENTS,
    RESULT,
    event_line,
    integrate_folder,
    meta_of,
    write_result,
)
from powermeter.record.stream import EventStream
from powermeter.simulation.device import Trace
from powermeter.simulation.pty import RealtimePty
from simulated_line import SimulatedLine

PACKAGE = str(Path(powermeter.__file__).parents[1])
# Read by the interpreter as it starts: the recorder's process has a full disk after 40 writes.
FULL_DISK = """
import errno, sys
import powermeter.record.rawlog as rawlog
whole, writes = rawlog.RawLog.append, []
def append(self, data, host_s):
    writes.append(data)
    if len(writes) > 40:
        raise OSError(errno.ENOSPC, "No space left on device")
    whole(self, data, host_s)
rawlog.RawLog.append = append
"""


@pytest.fixture
def port(tmp_path):
    pty = RealtimePty(Ina226Device(3), idle_w=3.0, link=tmp_path / "ttyUSB0")
    yield pty.path
    pty.close()


def refused(session):
    """What the session says, whatever it is asked."""
    said = set()
    for question in (session.energy, session.position, lambda: session.advance([]), session.finish):
        with pytest.raises(MeterError) as caught:
            question()
        said.add(str(caught.value))
    assert len(said) == 1
    return said.pop()


def test_record_says_that_the_disk_is_full_and_exits_with_2(tmp_path, port):
    (tmp_path / "sitecustomize.py").write_text(FULL_DISK)
    folder = tmp_path / "run"
    arguments = ["--driver", "ina226-serial", "--port", port, "--seconds", "20"]
    done = subprocess.run(
        [sys.executable, "-m", "powermeter", "record", *arguments, "--out", str(folder)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([PACKAGE, str(tmp_path)])},
        capture_output=True,
        text=True,
        timeout=15,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "the recorder died at 20" in done.stderr
    assert "UTC: OSError: [Errno 28] No space left on device; " in done.stderr
    assert not (folder / RESULT).exists()
    whole = integrate_folder(folder)
    assert (whole.valid, whole.samples > 10) == (False, True)
    assert "No space left" in whole.reason
    write_result(folder, whole, None)
    assert audit(folder).passed


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_a_process_that_is_gone_leaves_no_valid_window(sent, tmp_path, port, monkeypatch):
    monkeypatch.setattr("powermeter.record.process._ANSWER_S", 1.0)
    monkeypatch.setattr("powermeter.record.process._EXIT_S", 0.3)
    session = open_session(f"ina226-serial:{port}", tmp_path / "run")
    begin = session.host_time_s()
    time.sleep(1.2)
    before = session.host_time_s()
    time.sleep(0.3)
    os.kill(session._recorder.pid, sent)
    time.sleep(0.3)
    gone_s = session.host_time_s()
    words = refused(session)
    assert "the recorder died at" in words
    how = "ended (SIGKILL)" if sent == signal.SIGKILL else "gave no answer for 1 s (SIGKILL)"
    assert how in words
    assert session.window(begin + 0.2, before).valid
    late = session.window(begin + 0.2, gone_s)
    assert (late.valid, late.reason) == (False, words)
    assert integrate_folder(tmp_path / "run").reason == words
    assert not (tmp_path / "run" / RESULT).exists()


def test_the_simulated_meter_says_it_too(tmp_path, monkeypatch):
    session = open_session("simulated", tmp_path)
    session.advance([(2.0, 3.0)])
    assert session.energy().valid
    monkeypatch.setattr(EventStream, "feed", lambda self, chunk: {}["injected"])
    with pytest.raises(RecordingError, match=r"died at [0-9.]+ s: KeyError: 'injected'"):
        session.advance([(1.0, 3.0)])
    assert "KeyError" in refused(session)
    monkeypatch.undo()
    assert session.window(0.5, 1.5).valid
    late = session.window(0.5, 3.5)
    assert (late.valid, "KeyError" in late.reason) == (False, True)
    session.close()


def test_a_part_of_the_trace_that_was_lost_is_no_valid_run(tmp_path, monkeypatch):
    session = open_session("simulated", tmp_path)
    session.advance([(2.0, 3.0)])
    monkeypatch.setattr(session._simulator, "advance", lambda *_: {}["injected"])
    with pytest.raises(RecordingError, match=r"recording failed at .*KeyError"):
        session.advance([(5.0, 9.0)])
    monkeypatch.undo()
    with pytest.raises(RecordingError, match="KeyError"):
        session.advance([(2.0, 3.0)])
    assert "KeyError" in refused(session)
    assert not integrate_folder(tmp_path).valid


def test_orders_that_fail_end_the_recording(tmp_path, monkeypatch):
    for order in ("check", "result", "result_now", "position", "finish"):
        recorder, _ = in_memory(CASES[0], tmp_path / order)
        with monkeypatch.context() as patch:
            patch.setattr(Recorder, order, lambda self, *_: [][1])
            assert "IndexError" in str(_obeyed(recorder, order))
        for later in ("result", "position"):
            assert isinstance(_obeyed(recorder, later), RecordingError)
        assert "IndexError" in integrate_folder(tmp_path / order).reason
        recorder.stop()


def test_a_meter_that_hangs_is_no_valid_window(tmp_path, monkeypatch):
    monkeypatch.setattr("powermeter.record.recorder._HANG_S", 0.2)
    monkeypatch.setattr("powermeter.record.recorder._LOCK_S", 0.1)
    recorder, line = in_memory(CASES[0], tmp_path)
    recorder._meter.receive = lambda timeout_s: time.sleep(1.0) or b""
    recorder.start()
    line.pass_time(10.0)  # and nobody reads
    result = recorder.result_now()
    assert (result.valid, result.reason[:19]) == (False, "no reading for 10.0")
    beyond = integrate_folder(tmp_path, START_S + 1.0, line.clock() - 5.0)
    assert not beyond.valid
    with pytest.raises(RecordingError, match=r"it has hung for 0\.2 s"):
        recorder.finish()
    assert "hung" in integrate_folder(tmp_path).reason


def test_silence_at_the_end_is_no_valid_recording(tmp_path):
    recorder, line = in_memory(CASES[0], tmp_path)
    line.pass_time(3.0)
    line._queue.clear()
    result = recorder.finish()
    assert not result.valid
    assert result.reason == "no reading in the last 3.0 s of the recording"
    assert integrate_folder(tmp_path) == result


def test_a_long_window_that_ends_after_the_last_reading_is_not_short_but_invalid():
    """The limits alone would let it pass: half a second of a thousand is within 0.1 %."""
    instrument = Instrument(0.1, PowerAccuracy(reading=0.001), "simulated")
    for late, valid in ((0.1, True), (0.5, False)):
        integral = WindowIntegral(instrument, (1.0, 700.0 + late), [ClockLine(0, 0, 1, 0, 0)])
        for n in range(7001):
            integral.take(Sample(n, n / 10, None, None, 5.0), n / 10)
        result = integral.result()
        assert result.coverage > 0.999
        assert result.valid == valid
    assert result.reason == "the last reading comes 0.5 s before the window's end"


def in_memory(case, folder):
    """A recorder that has recorded three seconds."""
    driver = find_driver(case.driver)
    line = SimulatedLine(driver.simulator(0), Trace([], case.high_w), start_s=START_S)
    meter = driver.meter(line, provenance="simulated", clock=line.clock)
    meter.open()
    meta = meta_of(meter)
    folder.mkdir(exist_ok=True)
    (folder / "meter.json").write_text(json.dumps(meta))
    recorder = Recorder(meter, meta, folder, clock=line.clock, sleep=line.pass_time)
    while line.elapsed_s < 3.0:
        recorder.step()
    return recorder, line


class _Chatty(WattsUpDevice):
    """Sends other packets between its readings, as when its memory is read out."""

    def advance(self, segments):
        sent = super().advance(segments)
        return sent and sent + b"#l,-,2,_,0;\r\n#n,-,3,_,1,256;\r\n#z,\xc3,1,x;\r\n#q,!,1,\x07;\r\n"


def test_other_packets_are_noted_and_recording_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("powermeter.meters.wattsup.simulator.WattsUpDevice", _Chatty)
    record(CASES[1], tmp_path, [(100.0, 80.0)], 80.0)
    result = integrate_folder(tmp_path, START_S + 3.0, START_S + 75.0)
    assert result.valid, result.reason
    assert result.joules.value == pytest.approx(72 * 80.0, rel=0.03)
    events = [json.loads(line) for line in (tmp_path / EVENTS).read_text().splitlines()]
    texts = {event["text"] for event in events if event["event"] == "OtherPacket"}
    assert texts == {"l,-,2,_,0", "n,-,3,_,1,256", "q,!,1,\x07"}
    assert audit(tmp_path).passed


def test_an_event_of_any_kind_can_be_written():
    class Odd(tuple):
        def _asdict(self):
            return {"body": b"\xff#l", "what": {1, 2}, "kind": Odd}

    line = json.loads(event_line(Odd(), 3, 1.5))
    assert line["body"] == "\\xff#l"
