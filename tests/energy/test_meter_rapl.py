# SPDX-License-Identifier: Apache-2.0
"""RAPL on a powercap tree made for the test: zones, wrap-around, energies, one-line failures."""

import os
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from powermeter.cli.commands import app
from powermeter.errors import (
    BeyondRangeError,
    MeterError,
    NoPortError,
    PortClosedError,
    PortPermissionError,
)
from powermeter.events import Gap, Malformed, OverRange, Sample
from powermeter.meters import rapl
from powermeter.meters.rapl import DRIVER, MOST_W, PowercapTransport, Rapl, RaplDecoder, Zone
from powermeter.record.recorder import Recorder
from powermeter.record.recording import META, integrate_folder, meta_of, write_json
from scpi_parts import Clock

NOBODY = 65534
RANGE = 262_143_328_850  # what intel_rapl reports for 32 bits of 61 uJ


class Tree:
    """A powercap folder as the kernel shows it: class links and zones below zones."""

    def __init__(self, root):
        self.root, self.counters = root, {}
        (root / "intel-rapl").mkdir(parents=True)

    def zone(self, path, name, count=0, most=RANGE):
        folder = self.root / path
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
        (folder / "max_energy_range_uj").write_text(f"{most}\n")
        self.set(path, count)
        if path.count("/"):
            (self.root / folder.name).symlink_to(folder)  # /sys/class/powercap links all zones

    def set(self, path, count):
        (self.root / path / "energy_uj").write_text(f"{count}\n")


def two_packages(root):
    """The tree of a machine with two packages, one of which counts its memory."""
    made = Tree(root)
    made.zone("intel-rapl:0", "package-0", 1_000)
    made.zone("intel-rapl:0/intel-rapl:0:0", "core", 500)
    made.zone("intel-rapl:0/intel-rapl:0:1", "uncore", 200)
    made.zone("intel-rapl:0/intel-rapl:0:2", "dram", 70, 65_712_999_613)
    made.zone("intel-rapl:1", "psys", 9_000)
    made.zone("intel-rapl:2", "package-1", 2_000)
    made.zone("intel-rapl-mmio:0", "package-0", 1_000)
    return made


@pytest.fixture
def tree(tmp_path):
    return two_packages(tmp_path / "powercap")


def meter_on(tree, step=None):
    """A meter whose waiting lets `step(seconds)` change the tree."""
    clock = Clock()

    def wait(seconds):
        clock.now += seconds
        if step:
            step(seconds)

    transport = PowercapTransport(tree.root, wait)
    return Rapl(transport, settings={"poll_s": 0.1}, clock=clock)


def decoder_of(*ranges_uj):
    return RaplDecoder(tuple(Zone("", f"package-{i}", r) for i, r in enumerate(ranges_uj)))


def readings(meter, seconds):
    events, until = [], meter._clock() + seconds
    while meter._clock() < until - 1e-9:
        if raw := meter.receive(0.03):
            events += meter.decode(raw, meter._clock())
    return events


def test_packages_and_memories_are_counted_once(tree):
    meter = meter_on(tree)
    assert [(zone["path"], zone["name"]) for zone in meter.identity()["zones"]] == [
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:0/intel-rapl:0:2", "package-0 dram"),
        ("intel-rapl:2", "package-1"),
    ]


def test_the_counters_in_exact_bytes(tree):
    meter = meter_on(tree)
    meter.open()
    assert meter.receive(0.0) == b"1000 70 2000\n"
    tree.set("intel-rapl:0/intel-rapl:0:0", 999_999)  # the cores are in their package already
    tree.set("intel-rapl:0", 1_501_000)
    tree.set("intel-rapl:0/intel-rapl:0:2", 100_070)
    meter.decode(b"1000 70 2000\n", 10.0)
    assert meter.receive(0.05) == b""
    raw = meter.receive(0.06)
    assert raw == b"1501000 100070 2000\n"
    (sample,) = meter.decode(raw, 10.5)
    assert sample == Sample(1, 10.5, None, None, pytest.approx(3.2), pytest.approx(1.6 / 3600))


def test_polls_keep_their_schedule(tree):
    meter = meter_on(tree)
    meter.open()
    began, times = meter._clock(), []
    while meter._clock() < began + 5:
        if meter.receive(0.037):
            times.append(meter._clock() - began)
    assert times == pytest.approx([0.1 * place for place in range(len(times))], abs=1e-6)
    assert len(times) in (50, 51)


def test_wrap_around_at_the_range(tree):
    decoder = decoder_of(RANGE, 65_712_999_613)
    decoder.feed(f"{RANGE - 400_000} 65712999000\n".encode(), 10.0)
    (sample,) = decoder.feed(b"600000 99387\n", 10.5)
    assert sample.power_w == pytest.approx((1.0 + 0.1) / 0.5)


@given(
    st.lists(st.tuples(st.floats(0.01, 5.5), st.floats(0, 900)), min_size=1, max_size=40),
    st.integers(0, RANGE),
)
def test_joules_over_any_number_of_wraps(steps, begin):
    most = 10_000_000_000  # small, so that it wraps often
    decoder, now, count, joules = decoder_of(most), 100.0, begin % most, 0.0
    decoder.feed(f"{count}\n".encode(), now)
    measured, event = 0.0, None
    for seconds, watts in steps:
        spent = round(seconds * watts * 1e6)
        now, count, joules = now + seconds, (count + spent) % most, joules + spent * 1e-6
        events = decoder.feed(f"{count}\n".encode(), now)
        (event,) = events
        if isinstance(event, Gap):
            assert event == Gap("restart", now, 0)
            assert seconds > 0.999 * most * 1e-6 / MOST_W  # it may have run round unseen
            return
        measured += event.power_w * seconds
    assert measured == pytest.approx(joules, rel=1e-9, abs=1e-6)
    assert event.energy_wh == pytest.approx(joules / 3600, rel=1e-9, abs=1e-9)


def test_a_reset_counter_is_no_energy():
    decoder = decoder_of(RANGE)
    decoder.feed(b"50000000\n", 10.0)
    assert decoder.feed(b"1000\n", 10.1) == [Gap("restart", 10.1, 0)]
    (sample,) = decoder.feed(b"301000\n", 10.2)
    assert sample.power_w == pytest.approx(3.0)


def test_a_poll_so_late_that_a_counter_may_have_run_round():
    decoder = decoder_of(RANGE)
    decoder.feed(b"0\n", 10.0)
    assert decoder.feed(b"5\n", 10.0 + RANGE * 1e-6 / MOST_W) == [
        Gap("restart", 10.0 + RANGE * 1e-6 / MOST_W, 0)
    ]


def test_a_counter_beyond_its_stated_range_is_said_and_gives_no_energy(tree):
    decoder = decoder_of(RANGE, 1000)
    assert decoder.feed(b"0 0\n", 10.0) == []
    (event,) = decoder.feed(b"100 1001\n", 10.1)
    assert event == OverRange(
        0, 10.1, "energy counter of package-1 (1001 uJ, above its max_energy_range_uj 1000)"
    )
    tree.set("intel-rapl:0", RANGE + 1)
    meter = meter_on(tree)
    meter.open()
    with pytest.raises(BeyondRangeError, match=r"energy counter of package-0 \(262143328851 uJ"):
        next(meter.samples())


def test_a_counter_beyond_its_range_invalidates_the_window_with_that_reason(tree, tmp_path):
    tree.set("intel-rapl:2", RANGE)
    meter = meter_on(tree)
    meter.open()
    meta = meta_of(meter)
    write_json(tmp_path / META, meta)
    recorder = Recorder(meter, meta, tmp_path, clock=meter._clock)
    for step in range(180):
        tree.set("intel-rapl:0", 1000 + 50_000 * step)
        tree.set("intel-rapl:2", RANGE + (150 <= step < 152))
        recorder.step()
    recorder.stop()
    for result in (recorder.result(), integrate_folder(tmp_path)):
        assert not result.valid
        assert "energy counter of package-1 (262143328851 uJ, above its max" in result.reason
    assert "OverRange" in (tmp_path / "events.jsonl").read_text()


def test_reading_a_counter_beyond_its_range_is_noted(tree):
    tree.set("intel-rapl:0", RANGE + 1)
    arguments = ["read", "--driver", "rapl", "--port", str(tree.root), "--samples", "2"]
    stop = threading.Timer(0.8, lambda: tree.set("intel-rapl:0", 5))
    stop.start()
    result = CliRunner().invoke(app, [*arguments, "--set", "poll_s=0.1"])
    stop.join()
    assert result.exit_code == 0
    assert result.stderr.count("note: ") == 1
    assert "energy counter of package-0 (262143328851 uJ" in result.stderr


def test_a_time_that_went_back_is_a_restart():
    decoder = decoder_of(RANGE)
    decoder.feed(b"0\n", 10.0)
    assert decoder.feed(b"100\n", 9.0) == [Gap("restart", 9.0, 0)]


@given(
    st.lists(st.sampled_from([b"1000 70\n", b"2000 90\n", b"x\n", b"\xff", b"1 2 3\n", b"9" * 90]))
)
def test_any_bytes_are_decoded_alike_however_they_are_cut(pieces):
    whole = b"".join(pieces) + b"\n3000 100\n"
    once, bytewise = decoder_of(RANGE, RANGE), decoder_of(RANGE, RANGE)
    events = once.feed(whole, 1.0)
    assert [e for i in range(len(whole)) for e in bytewise.feed(whole[i : i + 1], 1.0)] == events
    assert {type(event) for event in events} <= {Malformed, Gap}


def test_decoding_goes_on_from_a_saved_state():
    first, second = decoder_of(RANGE), decoder_of(RANGE)
    first.feed(b"100\n", 1.0)
    first.feed(b"200000\n", 1.1)
    second.restore(first.state())
    assert second.feed(b"500000\n", 1.2) == first.feed(b"500000\n", 1.2)


def test_power_of_a_tree_that_counts(tree):
    count = {"intel-rapl:0": 1_000.0, "intel-rapl:2": float(RANGE) - 5e6}

    def step(seconds):
        for path, watts in (("intel-rapl:0", 30.0), ("intel-rapl:2", 12.5)):
            count[path] = (count[path] + watts * seconds * 1e6) % RANGE
            tree.set(path, int(count[path]))

    step(0.0)
    meter = meter_on(tree, step)
    meter.open()
    events = readings(meter, 10)
    assert {type(event) for event in events} == {Sample}
    assert sum(e.power_w for e in events) / len(events) == pytest.approx(42.5, rel=1e-4)
    assert (meter.provenance, meter.reading, meter.period_s) == ("on-chip", "average", 0.1)
    assert DRIVER.decoder(meter.identity()).feed(b"1 2 3\n", 0.0) == []


def test_a_made_up_tree_is_simulated(tree):
    assert DRIVER.open_port(str(tree.root)).provenance == "simulated"


def test_the_kernel_s_tree_is_on_chip(tree, monkeypatch):
    monkeypatch.setattr(rapl, "ROOT", tree.root)
    assert DRIVER.open_port("-").provenance == "on-chip"


def test_unreadable_counters_are_one_line(tree, monkeypatch):
    real = Path.read_text

    def refuse(path, *args, **kwargs):
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", refuse)
    meter = meter_on(tree)
    with pytest.raises(PortPermissionError, match=r"Linux 5\.10 only root.*chmod a\+r") as caught:
        meter.open()
    assert "\n" not in str(caught.value)


@contextmanager
def not_root():
    """Root reads everything, so root becomes somebody else meanwhile."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_unreadable_counters_as_a_user():
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders let nobody else in
        os.chmod(name, 0o755)
        tree = two_packages(Path(name) / "powercap")
        with not_root():
            meter_on(tree).open()
        (tree.root / "intel-rapl:0/energy_uj").chmod(0)
        with not_root(), pytest.raises(PortPermissionError):
            meter_on(tree).open()


def test_failures_in_one_line(tree, tmp_path):
    with pytest.raises(NoPortError, match="no RAPL package there"):
        PowercapTransport(tmp_path / "nothing")
    meter = meter_on(tree)
    meter.open()
    (tree.root / "intel-rapl:0/energy_uj").write_text("\n")
    with pytest.raises(MeterError, match="holds no number"):
        readings(meter, 1)
    (tree.root / "intel-rapl:0/energy_uj").unlink()
    with pytest.raises(PortClosedError, match="not readable"):
        readings(meter, 1)
    with pytest.raises(MeterError, match="no setting 'rate'"):
        Rapl(PowercapTransport(tree.root), settings={"rate": 1})
    (tree.root / "intel-rapl:0/max_energy_range_uj").write_text("many\n")
    with pytest.raises(MeterError, match="is no number"):
        PowercapTransport(tree.root)


def test_no_probe_on_a_port(tree):
    class Port:
        name = "/dev/x"

    assert DRIVER.probe(Port()) is None
    assert DRIVER.probe(PowercapTransport(tree.root)) == "package-0, package-0 dram, package-1"
