# SPDX-License-Identifier: Apache-2.0
"""The recorder in its own process: what survives a kill and a loose cable, and what it loses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import powermeter
from powermeter import open_session
from powermeter.cli.bench import run_bench
from powermeter.errors import (
    NoPacketError,
    PortBusyError,
    RecordingError,
    SimulatorError,
    WrongInstrumentError,
)
from powermeter.meters.ina226.simulator import Ina226Device
from powermeter.meters.probing import open_meter, probe_port
from powermeter.record.process import RecorderProcess
from powermeter.record.rawlog import RawLog, read_raw
from powermeter.record.recording import RESULT, integrate_folder, read_samples, rederive
from powermeter.simulation.faults import Fault, FaultyDevice
from powermeter.simulation.pty import RealtimePty

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(powermeter.__file__).parents[1])}


def simulator(tmp_path, *faults):
    device = FaultyDevice(Ina226Device(3), [Fault.parse(text) for text in faults])
    return RealtimePty(device, idle_w=3.0, link=tmp_path / "ttyUSB0")


@pytest.fixture
def port(tmp_path):
    pty = simulator(tmp_path)
    yield pty.path
    pty.close()


def until(done, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def readable_samples(folder):
    rows = list(read_samples(folder))
    whole = rederive(folder).splitlines()[1:]
    assert len(whole) >= len(rows)
    assert integrate_folder(folder).samples > 0
    return len(whole)


def test_a_killed_recorder_leaves_all_but_the_last_second(tmp_path, port):
    folder = tmp_path / "run"
    session = open_session(f"ina226-serial:{port}", folder)
    time.sleep(1.5)
    killed_at = session.host_time_s()
    os.kill(session._recorder.pid, signal.SIGKILL)
    with pytest.raises(RecordingError, match="process has ended"):
        for _ in range(100):
            session.energy()
            time.sleep(0.02)
    last = max(chunk.host_time_s for chunk in read_raw(folder))
    assert last > killed_at - 1.0
    assert readable_samples(folder) > 100
    with pytest.raises(RecordingError):
        session.close()
    assert not (folder / RESULT).exists()


def test_a_killed_program_leaves_a_whole_recording_and_a_free_port(tmp_path, port):
    folder = tmp_path / "run"
    arguments = ["record", "--driver", "ina226-serial", "--port", port, "--seconds", "60"]
    program = subprocess.Popen(
        [sys.executable, "-m", "powermeter", *arguments, "--out", str(folder)], env=ENVIRONMENT
    )
    until(lambda: (folder / "samples.csv").exists() and len(list(read_samples(folder))) > 100)
    program.send_signal(signal.SIGKILL)
    killed_at = time.time()
    program.wait()
    with open_session(f"ina226-serial:{port}", tmp_path / "next"):
        pass  # the port is free again
    last = max(chunk.host_time_s for chunk in read_raw(folder))
    assert last > killed_at - 1.0
    assert readable_samples(folder) > 100
    done = subprocess.run(
        [sys.executable, "-m", "powermeter", "integrate", str(folder), "--json"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout)["valid"]
    done = subprocess.run(
        [sys.executable, "-m", "powermeter", "check", str(folder)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "check     passed")


def test_unplugged_and_plugged_in_again(tmp_path):
    pty = simulator(tmp_path, "unplug@2.5+1.5")
    folder = tmp_path / "run"
    try:
        with open_session(f"ina226-serial:{pty.path}", folder) as session:
            until(lambda: not Path(pty.path).exists())
            away_s = session.host_time_s()
            until(lambda: Path(pty.path).exists())
            back_s = session.host_time_s()
            until(lambda: '"unplugged"' in (folder / "events.jsonl").read_text())
            time.sleep(1.5)
            whole = session.energy()
    finally:
        pty.close()
    assert not whole.valid
    assert whole.max_gap_s >= back_s - away_s - 0.1
    assert whole.mean_power_w == pytest.approx(3.0, rel=0.02)
    assert rederive(folder) == (folder / "samples.csv").read_bytes()
    over = integrate_folder(folder, away_s - 0.5, back_s + 0.5)
    assert not over.valid


def test_a_busy_port_and_a_wrong_instrument_are_named(tmp_path, port):
    with open_session(f"ina226-serial:{port}", tmp_path / "run"):
        with pytest.raises(PortBusyError, match="in use"):
            open_session(f"ina226-serial:{port}", tmp_path / "other")
        assert not (tmp_path / "other" / "raw.log").exists()
    with pytest.raises(WrongInstrumentError, match="EdgePowerMeter") as caught:
        open_meter("wattsup", port)
    assert "ina226-serial" in str(caught.value)
    assert [found.driver for found in probe_port(port)] == ["ina226-serial"]


def test_bytes_that_are_no_packet_are_said(tmp_path):
    class Garbling:
        """What a wrong baud rate looks like."""

        def __init__(self):
            self.device = Ina226Device(1)
            self.baud, self.frame, self.range_w = 9600, "8N1", 100.0
            self.period_s = 0.01

        def banner(self):
            return b""

        def command(self, data):
            return b""

        def advance(self, segments):
            return bytes(range(128, 160))

        def fault(self, kind):
            raise SimulatorError(kind)

    pty = RealtimePty(Garbling())
    try:
        with pytest.raises(NoPacketError, match="bytes came"):
            open_meter("ina226-serial", pty.path)
    finally:
        pty.close()


def test_orders_and_failures_of_the_process(tmp_path, port):
    with pytest.raises(powermeter.MeterError, match="no driver 'magic'"):
        RecorderProcess("magic", port, tmp_path / "run", None, None)
    recorder = RecorderProcess("ina226-serial", port, tmp_path / "run", None, None)
    with pytest.raises(powermeter.MeterError, match="knows no order"):
        recorder._ask("dance")
    recorder.check()
    recorder.stop()
    recorder.stop()
    with pytest.raises(RecordingError, match="has ended"):
        recorder.check()


@pytest.mark.alone
def test_the_fastest_setting_with_every_core_busy():
    outcome = run_bench(3.0)
    assert outcome.lost == outcome.malformed == outcome.reopened == 0
    assert outcome.samples_per_s > 3200
    assert outcome.samples > 3 * 3200
    assert outcome.busy > 0.8


def test_a_load_that_cannot_run_is_said():
    with pytest.raises(SimulatorError, match="load cannot be started"):
        run_bench(1.0, "/no/such/program")


def test_raw_log_cut_anywhere_is_readable(tmp_path):
    log = RawLog(tmp_path, None, None)
    for n in range(5):
        log.append(b"abc%d\n" % n, 10.0 + n)
    log.mark("open", 20.0)
    log.append(b"last\n", 21.0)
    log.close()
    raw, times = (tmp_path / "raw.log").read_bytes(), (tmp_path / "raw.times").read_bytes()
    for cut in range(len(raw) + 1):
        (tmp_path / "raw.log").write_bytes(raw[:cut])
        assert b"".join(chunk.data for chunk in read_raw(tmp_path)) == raw[:cut]
    (tmp_path / "raw.log").write_bytes(raw)
    for cut in range(len(b"offset,host_time_s,mark\n"), len(times) + 1):
        (tmp_path / "raw.times").write_bytes(times[:cut])
        chunks = list(read_raw(tmp_path))
        assert b"".join(chunk.data for chunk in chunks) in (raw, b"")
    for damage in (b"x\n", b"1,2\n", b"0,nan,\n", b"0,1.0,what\n", b"9,1.0,\n3,1.0,\n"):
        (tmp_path / "raw.times").write_bytes(b"offset,host_time_s,mark\n" + damage)
        with pytest.raises(RecordingError, match="line"):
            list(read_raw(tmp_path))
