# SPDX-License-Identifier: Apache-2.0
"""The host's side of the simulation: a process, a socket to it and the memory that both see."""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

from ....errors import UserError
from .build import TOP, Built
from .protocol import BODY, MEMORY, NEVER, REPLY, REQUEST, SIGNALS, SOCKET, Request

START_SECONDS = 120.0
STOP_SECONDS = 10.0
SLVERR, DECERR = 2, 3


class SimulationEnded(UserError):
    """The simulator is gone; the text has the last line that it printed."""


def _cocotb_environment(folder: Path) -> dict[str, str]:
    """What cocotb's runner would set for a run of the server."""
    import find_libpython
    from cocotb_tools import config

    libpython = find_libpython.find_libpython()
    if libpython is None:
        raise UserError("the simulated board needs a Python with a shared library (libpython)")
    package = str(Path(__file__).resolve().parents[4])
    return {
        **os.environ,
        "GPI_USERS": f"{libpython};{config.pygpi_entry_point()}",
        "PYGPI_PYTHON_BIN": sys.executable,
        "PYTHONPATH": os.pathsep.join([package, *filter(None, sys.path)]),
        "COCOTB_TOPLEVEL": TOP,
        "COCOTB_TEST_MODULES": "e2train.device.accelerator.simulated.server",
        "COCOTB_RESULTS_FILE": str(folder / "results.xml"),
        "COCOTB_TRUST_INERTIAL_WRITES": "1",
        "COCOTB_LOG_LEVEL": "WARNING",
        "COCOTB_ANSI_OUTPUT": "0",
        "TOPLEVEL_LANG": "verilog",
    }


class Simulation:
    """A running board: registers, interrupt line, DDR.

    memory: uint8, the DDR that the fabric sees, from `base` on. Requests are carried out one at a
    time, whichever thread they come from.
    """

    def __init__(self, built: Built, base: int, memory_bytes: int) -> None:
        self.base = base
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="board-")))
        self.memory = self._memory(folder / "ddr", memory_bytes)
        self._log = folder / "log"
        own, other = socket.socketpair()
        own.settimeout(START_SECONDS)
        environment = _cocotb_environment(folder) | {
            SOCKET: str(other.fileno()),
            BODY: str(built.body),
            MEMORY: f"{folder / 'ddr'}:{base}:{memory_bytes}",
        }
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [built.program],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[other.fileno()],
                start_new_session=True,  # Ctrl-C is the host's to answer
            )
        other.close()
        self._link = own
        self.cycles()

    def _memory(self, path: Path, size: int) -> np.ndarray:
        with open(path, "w+b") as stream:
            os.truncate(path, size)
            mapped = mmap.mmap(stream.fileno(), size)
        return np.frombuffer(mapped, np.uint8)

    def ask(self, what: Request, first: int = 0, second: int = 0) -> int:
        """Carry out a request. Raises SimulationEnded where there is nobody to do so."""
        with self._lock:
            try:
                self._link.sendall(REQUEST.pack(what, first, second))
                data = b""
                while len(data) < REPLY.size:
                    part = self._link.recv(REPLY.size - len(data))
                    if not part:
                        raise ConnectionError
                    data += part
            except OSError as error:
                raise SimulationEnded(f"the simulated board has ended: {self._last()}") from error
        return REPLY.unpack(data)[0]

    def _last(self) -> str:
        lines = self.log().splitlines()
        return lines[-1].strip() if lines else "it printed nothing"

    def log(self) -> str:
        """What the simulation printed."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def read(self, address: int) -> int:
        """A 32-bit register, over the processor's bus."""
        return self.ask(Request.READ, address)

    def write(self, address: int, value: int) -> None:
        """Write a 32-bit register over the processor's bus."""
        self.ask(Request.WRITE, address, value)

    def run(self, cycles: int) -> bool:
        """Let time pass until the interrupt line is high, for so many cycles at most."""
        return bool(self.ask(Request.RUN, 0, cycles))

    def line(self) -> bool:
        """Whether the interrupt line is high."""
        return bool(self.ask(Request.LINE))

    def cycles(self) -> int:
        """Of the fabric's clock, since the start."""
        return self.ask(Request.CYCLES)

    def reset(self) -> None:
        """Reset the fabric, as loading a bitstream does."""
        self.ask(Request.RESET)

    def configure(self, **signals: int) -> None:
        """stall: chance in 256 that a channel of the memory is not ready in a cycle; latency: of
        the memory, cycles; pressure: chance in 256 that the kernel takes no beat in a cycle."""
        for name, value in signals.items():
            self.ask(Request.SET, SIGNALS.index(name), value)

    def upset(self, port: int, *, write: bool, response: int = NEVER, skip: int = 0) -> None:
        """Answer a burst of a port with SLVERR, DECERR or not at all, after `skip` good ones."""
        self.ask(Request.UPSET, port | int(write) << 8 | response << 16, skip)

    def counters(self) -> dict[str, list[int]]:
        """By port: read_bursts, write_bursts, beats_read, beats_written; violations: of AXI's
        rules, by anybody."""
        names = ("read_bursts", "write_bursts", "beats_read", "beats_written")
        found = {
            name: [self.ask(Request.COUNTER, 5 * index + port) for port in range(5)]
            for index, name in enumerate(names)
        }
        return found | {"violations": [self.ask(Request.COUNTER, 20)]}

    def close(self) -> None:
        """End the simulator."""
        self._link.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stack.close()
