# SPDX-License-Identifier: Apache-2.0
"""Recorded sessions: what is on disk, what it integrates to, and life after SIGKILL."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import powermeter
from powermeter import MeterError, open_session
from powermeter.energy import clock
from powermeter.energy.net import sum_of
from powermeter.errors import RecordingError, SimulatorError
from powermeter.meters.ina226.simulator import Ina226Device
from powermeter.record.recording import (
    energy_until,
    integrate_folder,
    integrate_windows,
    read_samples,
    rederive,
)
from powermeter.simulation.pty import LockstepPty, RealtimePty


def trace_of(step: int) -> list[tuple[float, float]]:
    """What iteration `step` of some run would draw; the same for the same step."""
    rng = random.Random(step)
    return [(rng.uniform(0.0005, 0.02), rng.uniform(2.6, 3.4)) for _ in range(4)]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_run_is_recorded_as_it_comes_and_integrates_to_the_same(tmp_path):
    with open_session("simulated", folder=tmp_path, seed=5) as meter:
        assert meter.provenance == "simulated"
        joules = seconds = 0.0
        for step in range(200):
            meter.advance(trace_of(step))
            seconds += sum(d for d, _ in trace_of(step))
            joules += sum(d * p for d, p in trace_of(step))
            # Every due reading is on disk when advance() returns, not some time later.
            last = (tmp_path / "samples.csv").read_bytes().splitlines()[-1]
            assert last.count(b",") == 5
        live = meter.energy()
    assert live.valid, live.reason
    assert live.joules.provenance == "simulated"
    # The last conversion is not finished: at most one period of at most 3.4 W is missing.
    assert abs(live.joules.value - joules) < 3 * live.joules.uncertainty + 0.01 * 3.4
    assert live.coverage == 1.0
    assert live.samples == len(list(read_samples(tmp_path))) - 1
    assert (
        (tmp_path / "samples.csv")
        .read_text()
        .startswith("device_time_s,power_w,voltage_v,current_a,host_time_s,energy_wh\n")
    )
    assert integrate_folder(tmp_path) == live
    assert rederive(tmp_path) == (tmp_path / "samples.csv").read_bytes()


def test_windows_of_a_recording(tmp_path):
    with open_session("simulated", folder=tmp_path, seed=1) as meter:
        meter.advance([(1.0, 2.6), (1.0, 5.2), (1.0, 2.6)])
        result = meter.window(1.1, 1.9)
    assert result.valid, result.reason
    assert abs(result.joules.value - 0.8 * 5.2) < 1.5 * result.joules.uncertainty
    assert integrate_folder(tmp_path, 1.1, 1.9) == result
    open_end = integrate_folder(tmp_path, begin_s=1.1)
    assert open_end.coverage == pytest.approx(1.0)
    assert 1.89 < open_end.seconds <= 1.9
    beyond = integrate_folder(tmp_path, 1.1, 8.0)
    assert (beyond.valid, beyond.max_gap_s) == (False, pytest.approx(5.0, abs=0.01))


def test_sessions_are_deterministic_and_instruments_differ(tmp_path):
    energies = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        with open_session("simulated", folder=tmp_path / name, seed=seed) as meter:
            for step in range(50):
                meter.advance(trace_of(step))
            energies.append(meter.energy())
    assert energies[0] == energies[1]
    assert energies[0] != energies[2]
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


RUN = """
import json, os, sys
from pathlib import Path
from powermeter import open_session
sys.path.insert(0, sys.argv[3])
from test_meter_session import trace_of
folder, steps = Path(sys.argv[1]), int(sys.argv[2])
saved = folder / "checkpoint.json"
resume = json.loads(saved.read_text()) if saved.exists() else {"step": 0, "meter": None}
with open_session("simulated", folder=folder / "energy", seed=9, resume=resume["meter"]) as meter:
    for step in range(resume["step"], steps):
        meter.advance(trace_of(step))
        if step % 7 == 6:
            part = folder / "part"
            part.write_text(json.dumps({"step": step + 1, "meter": meter.position()}))
            os.replace(part, saved)
        print(step, flush=True)
    print(meter.energy().joules.value.hex())
"""


def start_run(folder: Path, steps: int) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    package = str(Path(powermeter.__file__).parents[1])
    here = str(Path(__file__).parent)
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder), str(steps), here],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": package},
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, seed):
    steps, rng = 400, random.Random(seed)
    straight = start_run(tmp_path / "straight", steps)
    out, _ = straight.communicate(timeout=60)
    assert straight.returncode == 0
    expected = out.split()[-1]

    kills, out = 0, ""
    for kill_after in (rng.randrange(3, 100), rng.randrange(3, 150), None):
        run = start_run(tmp_path / "killed", steps)
        if kill_after is None:
            out, _ = run.communicate(timeout=60)
            assert run.returncode == 0
            break
        for _ in range(kill_after):
            run.stdout.readline()
        time.sleep(rng.uniform(0, 0.003))  # somewhere within an iteration
        run.send_signal(signal.SIGKILL)
        run.stdout.close()
        kills += run.wait() == -signal.SIGKILL
    assert kills == 2
    assert out.split()[-1] == expected
    killed, straight_files = tmp_path / "killed/energy", tmp_path / "straight/energy"
    assert files_of(killed) == files_of(straight_files)
    assert rederive(killed) == (killed / "samples.csv").read_bytes()
    assert integrate_folder(killed).joules.value.hex() == expected


def test_resume_from_any_position_in_one_process(tmp_path):
    with open_session("simulated", folder=tmp_path / "a") as meter:
        positions = []
        for step in range(60):
            positions.append(json.loads(json.dumps(meter.position(), allow_nan=False)))
            meter.advance(trace_of(step))
        expected = meter.energy()
    complete = files_of(tmp_path / "a")
    for start in (59, 31, 1, 0):  # each cuts off what the one before had written
        with open_session("simulated", folder=tmp_path / "a", resume=positions[start]) as meter:
            for step in range(start, 60):
                meter.advance(trace_of(step))
            assert meter.energy() == expected
        assert files_of(tmp_path / "a") == complete


def test_positions_that_do_not_fit_are_refused(tmp_path):
    with open_session("simulated", folder=tmp_path / "a", seed=1) as meter:
        meter.advance([(1.0, 3.0)])
        position = meter.position()
    with pytest.raises(SimulatorError, match="seed"):
        open_session("simulated", folder=tmp_path / "a", seed=2, resume=position)
    with pytest.raises(RecordingError, match="cannot go on with 'ina226-serial'"):
        open_session("ina226-serial:/dev/ttyUSB0", folder=tmp_path / "a", resume=position)
    with pytest.raises(RecordingError, match="version 2"):
        open_session("simulated", folder=tmp_path / "a", resume=position | {"schema": 7})
    os.truncate(tmp_path / "a" / "raw.log", 100)
    with pytest.raises(RecordingError, match="holds 100 bytes"):
        open_session("simulated", folder=tmp_path / "a", seed=1, resume=position)


@pytest.mark.parametrize("spec", ["ina226-serial", "nothing:/dev/ttyUSB0", "ina226-serial:/dev/no"])
def test_specs_that_name_no_meter(tmp_path, spec):
    with pytest.raises(MeterError):
        open_session(spec, folder=tmp_path)


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="cannot record there"):
        open_session("simulated", folder=tmp_path / "file" / "energy")


def test_lost_readings_are_recorded_and_fail_the_window(tmp_path):
    with open_session("simulated", folder=tmp_path) as meter:
        meter.advance([(1.0, 3.0)])
        meter._simulator.device.drop_next(5)
        meter.advance([(1.0, 3.0)])
        result = meter.energy()
    assert not result.valid
    assert "cover" in result.reason
    lost = 5 * Ina226Device(0).period_s
    assert result.max_gap_s == pytest.approx(lost, rel=0.01)
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    (gap,) = [event for event in events if event["event"] == "Gap"]
    assert (gap["kind"], gap["lost"]) == ("sequence", 5)
    powers = [row[1] for row in read_samples(tmp_path)]
    assert len(powers) == result.samples + 1  # nothing was put in for the five


def test_lockstep_throughput_in_cpu_time(tmp_path):
    with open_session("simulated", folder=tmp_path) as meter:
        before = time.process_time()  # of all threads: not disturbed by a busy machine
        meter.advance([(300.0, 3.0)])
        rate = meter.energy().samples / (time.process_time() - before)
    assert rate > 20_000


@pytest.fixture
def realtime(tmp_path_factory):
    device = Ina226Device(3, averages=1, vct_us=1100, ict_us=1100)
    # A link goes with the port; the number of a closed pseudo-terminal may soon be another's.
    link = tmp_path_factory.mktemp("port") / "meter"
    simulator = RealtimePty(device, idle_w=3.0, link=link)
    yield simulator
    simulator.close()


def test_a_port_of_its_own_time(tmp_path, realtime):
    spec = f"ina226-serial:{realtime.path}"
    with open_session(spec, folder=tmp_path) as meter:
        assert meter.provenance == "simulated"  # a pseudo-terminal is no instrument
        meter.advance([(1000.0, 99.0)])  # no effect: time passes by itself
        time.sleep(0.6)
        first = meter.energy()
        position = json.loads(json.dumps(meter.position()))
    assert first.valid, first.reason
    assert abs(first.mean_power_w - 3.0) < 0.1
    with open_session(spec, folder=tmp_path, resume=position) as meter:
        time.sleep(0.3)
        second = meter.energy()
    # The time between is neither counted nor a gap, and the log can still be read from its start.
    assert second.joules.value > first.joules.value
    assert (second.coverage, second.valid) == (1.0, True)
    assert integrate_folder(tmp_path).joules.value >= second.joules.value
    assert rederive(tmp_path) == (tmp_path / "samples.csv").read_bytes()


def test_played_segments_then_idle(tmp_path, realtime):
    with open_session(f"ina226-serial:{realtime.path}", folder=tmp_path) as meter:
        realtime.play([(0.2, 12.0)])
        time.sleep(0.5)
        assert meter.energy().mean_power_w > 3.5
    powers = [row[1] for row in read_samples(tmp_path)]
    assert max(powers) == pytest.approx(12.0, rel=0.02)
    assert powers[-1] == pytest.approx(3.0, rel=0.02)


def test_unplugging_leaves_no_held_value(tmp_path, realtime):
    with open_session(f"ina226-serial:{realtime.path}", folder=tmp_path) as meter:
        time.sleep(0.6)
        realtime.close()
        time.sleep(0.3)
        rows = len(list(read_samples(tmp_path)))
        time.sleep(2.5)
        result = meter.energy()
        assert not result.valid
        assert result.reason.startswith("no reading for ")
        assert "no such port" in result.reason
        assert len(list(read_samples(tmp_path))) == rows


def test_lockstep_does_not_wait_for_ever_without_a_reader(monkeypatch):
    monkeypatch.setattr("powermeter.simulation.pty._STALL_S", 0.3)
    simulator = LockstepPty(Ina226Device())
    try:
        with pytest.raises(SimulatorError, match="nobody reads"):
            simulator.advance([(100.0, 3.0)])
    finally:
        simulator.close()
    assert threading.active_count() < 20


def test_program_and_recorder_count_the_same_host_time(tmp_path, realtime, monkeypatch):
    """Each process looks at the system's clock once; somebody may have set it in between."""
    monkeypatch.setattr(clock, "_epoch_s", clock.host_epoch_s() - 3600.0)
    with open_session(f"ina226-serial:{realtime.path}", folder=tmp_path) as meter:
        begin = meter.host_time_s()
        time.sleep(0.1)
        end = meter.host_time_s()
        time.sleep(0.1)
        assert meter.window(begin, end).coverage == 1.0


def test_windows_one_after_the_other_have_a_sum_and_a_curve(tmp_path):
    with open_session("simulated", folder=tmp_path, seed=3) as meter:
        begin = meter.host_time_s()
        meter.advance([(2.0, 2.6), (2.0, 3.4), (1.0, 2.6)])
    middle, end = begin + 1.7, begin + 4.0
    first, second, whole = integrate_windows(
        tmp_path, [(begin, middle), (middle, end), (begin, end)]
    )
    assert whole == integrate_folder(tmp_path, begin, end)
    both = sum_of([first, second])
    assert both.valid and both.seconds == pytest.approx(4.0)
    assert both.joules.value == pytest.approx(whole.joules.value, rel=1e-9)
    # the instrument's errors are the same in both and do not average out
    assert both.joules.uncertainty == pytest.approx(whole.joules.uncertainty, rel=0.05)
    assert sum_of([whole]) is whole
    for one, until in zip(
        energy_until(tmp_path, begin, [middle, end]), (first, whole), strict=True
    ):
        assert one.joules.value == pytest.approx(until.joules.value, abs=2 * 0.0088 * 3.4)
    with pytest.raises(MeterError, match="one provenance"):
        sum_of([])
