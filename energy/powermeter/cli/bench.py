# SPDX-License-Identifier: Apache-2.0
"""Does the recorder lose anything at the INA226's fastest setting while every core is busy?

Three parties, each in processes of their own: the simulated meter on a pseudo-terminal, the
recorder, and a load on every core. The meter numbers its readings, so what is lost anywhere between
its transmit buffer and the decoded recording is counted, not estimated.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from powermeter.errors import SimulatorError
from powermeter.events import Gap, Malformed, Sample
from powermeter.record.rawlog import read_raw
from powermeter.record.recording import read_meta, replay
from powermeter.record.session import open_session

_FASTEST = {"averages": 1, "vct_us": 140, "ict_us": 140}  # 280 us a reading: 3,571 a second
_LOAD = """
import numpy
rng = numpy.random.default_rng(0)
a = rng.standard_normal((256, 256), dtype=numpy.float32)
while True:
    a = numpy.tanh(a @ a) + rng.standard_normal((256, 256), dtype=numpy.float32)
    total = sum(i * i for i in range(2000))
"""


@dataclass(frozen=True)
class BenchOutcome:
    """What was recorded and what was lost, from the raw log."""

    seconds: float
    samples: int
    lost: int
    malformed: int
    reopened: int
    samples_per_s: float
    bytes_per_s: float
    longest_wait_s: float
    load: str
    busy: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"load      {self.load}; cores busy {self.busy:.0%} of the time",
            f"recorded  {self.samples} samples in {self.seconds:.1f} s: "
            f"{self.samples_per_s:.0f} samples/s, {self.bytes_per_s / 1000:.0f} kB/s",
            f"longest wait between two arrivals {1000 * self.longest_wait_s:.1f} ms",
            f"malformed lines {self.malformed}, port opened again {self.reopened} times",
            f"lost samples {self.lost}",
        ]


def run_bench(seconds: float, load: str | None = None) -> BenchOutcome:
    """Record for `seconds` while `load` (a command; None: matrix products on each core) runs."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "recording"
        with _simulated(Path(scratch) / "port") as port, _busy(load) as name:
            time.sleep(1.0)  # the load is to be under way
            before = _core_seconds()
            with open_session(f"ina226-serial:{port}", folder, settings=dict(_FASTEST)) as session:
                begin = time.monotonic()
                while time.monotonic() - begin < seconds:
                    session.advance([])
                    time.sleep(0.2)
            busy = _share(before, _core_seconds())
        return _count(folder, name, busy)


@contextmanager
def _simulated(link: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "powermeter", "simulate", "--link", str(link)]
    # Native USB: the line's baud rate does not bound it, as 115200 would (11.5 of 105 kB/s).
    options = [f"--set={name}={value}" for name, value in (_FASTEST | {"baud": 0}).items()]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            port = process.stdout.readline().strip() if process.stdout else ""
            if not port:
                raise SimulatorError("the simulated meter did not start")
            yield port
        finally:
            process.terminate()


@contextmanager
def _busy(load: str | None) -> Iterator[str]:
    """Keep the cores busy meanwhile; the load's name."""
    cores = os.cpu_count() or 1
    if load is None:
        commands = [[sys.executable, "-c", _LOAD]] * cores
        name = f"{cores} processes of matrix products and interpreted loops"
    else:
        commands, name = [shlex.split(load)], load
    environment = os.environ | ({"OMP_NUM_THREADS": "1"} if load is None else {})
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            quiet = subprocess.DEVNULL
            processes.append(
                subprocess.Popen(
                    command, stdout=quiet, stderr=quiet, env=environment, start_new_session=True
                )
            )
        yield name
        if any(process.poll() is not None for process in processes):
            raise SimulatorError("the load ended before the recording did; give a longer one")
    except OSError as error:
        raise SimulatorError(f"the load cannot be started: {error}") from error
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a shell's children as well
            process.wait()


def _count(folder: Path, load: str, busy: float) -> BenchOutcome:
    samples = lost = malformed = reopened = 0

    def take(event: Any, host_s: float) -> None:
        nonlocal samples, lost, malformed, reopened
        if isinstance(event, Sample):
            samples += 1
        elif isinstance(event, Gap):
            lost += event.lost
            reopened += event.kind in ("unplugged", "restart")
        elif isinstance(event, Malformed):
            malformed += 1

    replay(folder, read_meta(folder), take)
    stamps = [chunk.host_time_s for chunk in read_raw(folder)]
    waits = [later - earlier for earlier, later in pairwise(stamps)]
    seconds = stamps[-1] - stamps[0]
    size = (folder / "raw.log").stat().st_size
    return BenchOutcome(
        seconds=seconds,
        samples=samples,
        lost=lost,
        malformed=malformed,
        reopened=reopened,
        samples_per_s=samples / seconds,
        bytes_per_s=size / seconds,
        longest_wait_s=max(waits),
        load=load,
        busy=busy,
    )


def _core_seconds() -> tuple[float, float]:
    """(idle, all) seconds of all cores since the machine started."""
    with open("/proc/stat") as stream:
        fields = [float(field) for field in stream.readline().split()[1:9]]
    return fields[3] + fields[4], sum(fields)


def _share(before: tuple[float, float], after: tuple[float, float]) -> float:
    idle, total = after[0] - before[0], after[1] - before[1]
    return 1 - idle / total if total > 0 else 0.0
