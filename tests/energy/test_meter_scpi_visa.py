# SPDX-License-Identifier: Apache-2.0
"""PyVISA with pyvisa-py as a transport: bytes through a pseudo-terminal, and a port's failures."""

import grp
import itertools
import os
import time
from contextlib import closing

import pytest

from powermeter.errors import (
    MeterError,
    NoPortError,
    PortBusyError,
    PortClosedError,
    PortPermissionError,
)
from powermeter.meters.scpi import meter as scpi
from powermeter.meters.scpi.visa import VisaTransport
from powermeter.meters.transport import SerialTransport
from powermeter.meters.wt310 import meter as wt310
from powermeter.simulation.pty import RealtimePty


@pytest.fixture
def ends():
    master, slave = os.openpty()
    import tty

    tty.setraw(slave)
    held = [master, slave]
    yield held
    for descriptor in held:
        os.close(descriptor)


def test_bytes_pass_as_they_are_both_ways(ends):
    every = bytes(range(256)) + b"\r\n\n\x03\x04\x11\x13"
    with closing(VisaTransport(os.ttyname(ends[1]), 9600)) as transport:
        os.write(ends[0], every)
        got = b""
        while len(got) < len(every):
            got += transport.read(1.0)
        assert got == every
        transport.write(every)
        assert os.read(ends[0], 4096) == every


def test_bytes_that_are_there_are_never_lost_to_the_end_of_the_waiting(ends):
    with closing(VisaTransport(os.ttyname(ends[1]), 9600)) as transport:
        for wait in (0.0, 1e-6, 1e-4, 1e-3):
            sent = bytes(range(64, 128)) * 16
            os.write(ends[0], sent)
            got, until = b"", time.monotonic() + 2
            while len(got) < len(sent) and time.monotonic() < until:
                got += transport.read(wait)
            assert got == sent


def test_reading_waits_no_longer_than_told(ends):
    with closing(VisaTransport(os.ttyname(ends[1]), 9600)) as transport:
        for wait in (0.0, 0.02, 0.2):
            began = time.monotonic()
            assert transport.read(wait) == b""
            assert wait <= time.monotonic() - began + 1e-3 < wait + 0.15
        os.write(ends[0], b"12.0")
        began = time.monotonic()
        assert transport.read(5.0) == b"12.0"  # without a line's end, and at once
        assert time.monotonic() - began < 1.0


def test_a_port_is_opened_once_by_either_road(ends):
    path = os.ttyname(ends[1])
    with closing(VisaTransport(path, 9600)):
        with pytest.raises(PortBusyError, match="in use"):
            VisaTransport(path, 9600)
        with pytest.raises(PortBusyError, match="in use"):
            SerialTransport(path, 9600)
    with (
        closing(SerialTransport(path, 9600)),
        pytest.raises(PortBusyError, match="in use"),
    ):
        VisaTransport(path, 9600)
    VisaTransport(path, 9600).close()


def test_an_unplugged_port_says_so():
    master, slave = os.openpty()
    transport = VisaTransport(os.ttyname(slave), 9600)
    os.close(master)
    os.close(slave)
    with pytest.raises(PortClosedError, match="went away"):
        transport.read(0.1)
    with pytest.raises(PortClosedError, match="went away"):
        transport.write(b"*IDN?\r\n")
    transport.close()
    transport.close()
    with pytest.raises(PortClosedError):
        transport.read(0.1)


def test_no_port_and_no_terminal(tmp_path):
    with pytest.raises(NoPortError, match="no such port"):
        VisaTransport("/dev/there-is-no-such-port", 9600)
    (tmp_path / "file").write_text("")
    with pytest.raises(NoPortError, match="not a usable serial port"):
        VisaTransport(str(tmp_path / "file"), 9600)


def test_missing_permission_names_the_group(monkeypatch, tmp_path):
    port = tmp_path / "ttyS0"
    port.write_text("")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    group = grp.getgrgid(os.stat(port).st_gid).gr_name
    with pytest.raises(PortPermissionError, match=f"usermod -aG {group} "):
        VisaTransport(str(port), 9600)


def test_failures_close_what_they_opened(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "file").write_text("")
    for _ in range(5):
        with pytest.raises(MeterError):
            VisaTransport(str(tmp_path / "file"), 9600)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("driver", "settings"),
    [
        (wt310.DRIVER, {"voltage_range_v": 15, "current_range_a": 0.5}),
        (scpi.DRIVER, {"poll_s": 0.1}),
    ],
)
def test_a_simulated_meter_through_a_pseudo_terminal(driver, settings):
    with (
        closing(RealtimePty(driver.simulator(1, baud=115200), idle_w=2.6)) as pty,
        closing(driver.open_port(pty.path, settings=settings | {"baud": 115200})) as meter,
    ):
        meter.open()
        assert meter.provenance == "simulated"
        readings = [sample for _, (_, sample) in zip(range(5), meter.samples(), strict=False)]
    assert [sample.power_w for sample in readings] == pytest.approx([2.6] * 5, rel=0.02)
    spans = [b.device_time_s - a.device_time_s for a, b in itertools.pairwise(readings)]
    assert sum(spans) / 4 == pytest.approx(meter.period_s, rel=0.3)


def test_probes_tell_the_instruments_apart():
    found = {}
    for name, simulator in (("wt310", wt310.DRIVER.simulator), ("supply", scpi.DRIVER.simulator)):
        with (
            closing(RealtimePty(simulator(1, baud=115200))) as pty,
            closing(VisaTransport(pty.path, 9600)) as transport,
        ):
            transport.write(b"\x01\x04\x00")  # another driver's question stands in it
            found[name] = (wt310.DRIVER.probe(transport), scpi.DRIVER.probe(transport))
    assert found["wt310"] == ("YOKOGAWA,WT310E,C3UE12345E,F1.04", None)
    assert found["supply"] == (None, "SIMULATED,PSU-3005,0001,1.0")


def test_a_silent_port_answers_no_probe(ends):
    with closing(VisaTransport(os.ttyname(ends[1]), 9600)) as transport:
        began = time.monotonic()
        assert wt310.DRIVER.probe(transport) is None
        assert time.monotonic() - began < 2.0
