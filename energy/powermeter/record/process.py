# SPDX-License-Identifier: Apache-2.0
"""The recorder in a process of its own: what the program that is metered does cannot delay it.

A thread beside a training loop would wait for the interpreter's lock while a port's 4 KB buffer (40
ms of the fastest meter) runs over. The two processes talk through a socket; when its other end is
gone, however that happened, the recorder finishes its files and ends.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from powermeter.energy.integrate import Limits, WindowResult
from powermeter.errors import MeterError, PortBusyError, RecordingError
from powermeter.meters import find_driver
from powermeter.meters.meter import Meter
from powermeter.meters.probing import open_meter
from powermeter.record.priority import go_first
from powermeter.record.recorder import Recorder
from powermeter.record.recording import META, meta_of, read_meta, write_json

_ANSWER_S = 60.0
_FIRST_READING_S = 20.0  # the slowest setting of the INA226 takes 17 s a reading
_RELEASE_S = 2.0  # a killed program's recorder still holds the port that long at most
_PROGRAM = "from powermeter.record.process import main; main()"
_ORDERS = ("check", "result", "result_now", "position", "finish")


class RecorderProcess:
    """Starts the process, which opens the meter and records it; `MeterError` as it happened there.

    Readings come from then on until `stop()`.
    """

    def __init__(
        self,
        driver: str,
        port: str,
        folder: Path,
        settings: dict[str, Any] | None,
        resume: dict[str, Any] | None,
    ) -> None:
        ours, theirs = socket.socketpair()
        package = str(Path(__file__).parents[2])
        path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is for the program that records
            env=os.environ | {"PYTHONPATH": path},
        )
        theirs.close()
        self._connection = Connection(ours.detach())
        self._failure: MeterError | None = None
        try:
            self.meta: dict[str, Any] = self._ask(driver, port, folder, settings, resume)
        except MeterError:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def check(self) -> None:
        """See `Recorder.check`."""
        self._ask("check")

    def result(self, limits: Limits | None = None) -> WindowResult:
        """See `Recorder.result`."""
        result: WindowResult = self._ask("result", limits)
        return result

    def result_now(self, limits: Limits | None = None) -> WindowResult:
        """See `Recorder.result_now`."""
        result: WindowResult = self._ask("result_now", limits)
        return result

    def position(self) -> dict[str, Any]:
        """See `Recorder.position`."""
        position: dict[str, Any] = self._ask("position")
        return position

    def finish(self, limits: Limits | None = None) -> WindowResult:
        """See `Recorder.finish`."""
        result: WindowResult = self._ask("finish", limits)
        return result

    def stop(self) -> None:
        """End the recording; the files are complete when this returns. Harmless when repeated."""
        self._connection.close()
        self._process.wait(_ANSWER_S)

    def _ask(self, *order: Any) -> Any:
        if self._failure is not None:
            raise self._failure
        try:
            self._connection.send(order)
            if not self._connection.poll(_ANSWER_S):
                raise MeterError(f"the recorder's process did not answer for {_ANSWER_S:g} s")
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            self._failure = RecordingError("the recorder's process has ended")
            raise self._failure from error
        if isinstance(answer, MeterError):
            raise answer
        return answer


def serve(connection: Connection) -> None:
    """Open the meter that the first message names, record it, answer until the other end closes."""
    driver, port, folder, settings, resume = connection.recv()
    try:
        recorder = _start(driver, port, folder, settings, resume)
    except MeterError as error:
        connection.send(error)
        return
    try:
        connection.send(read_meta(folder))
        while True:
            order, *arguments = connection.recv()
            try:
                if order not in _ORDERS:
                    raise MeterError(f"the recorder knows no order {order!r}")
                connection.send(getattr(recorder, order)(*arguments))
            except MeterError as error:
                connection.send(error)
    finally:
        recorder.stop()


def _start(
    driver: str,
    port: str,
    folder: Path,
    settings: dict[str, Any] | None,
    resume: dict[str, Any] | None,
) -> Recorder:
    def open_again() -> Meter:
        meter = find_driver(driver).open_port(port, settings=settings)
        try:
            meter.open()
        except MeterError:
            meter.close()
            raise
        return meter

    meter = _when_released(lambda: open_meter(driver, port, settings))
    try:
        more = {"port": port, "settings": settings or {}, "notes": meter.notes}
        meta = meta_of(meter, more)
        if resume is None:
            write_json(folder / META, meta)
        elif read_meta(folder)["provenance"] != meta["provenance"]:
            raise RecordingError(f"{folder}: holds joules of another provenance")
        recorder = Recorder(meter, meta, folder, resume=resume, reopen=open_again)
    except MeterError:
        meter.close()
        raise
    try:
        if resume is not None:
            recorder.mark_pause()
        recorder.start()
        recorder.wait_for_sample(_FIRST_READING_S)
    except MeterError:
        recorder.stop()
        raise
    return recorder


def _when_released(opened: Callable[[], Meter]) -> Meter:
    until = time.monotonic() + _RELEASE_S
    while True:
        try:
            return opened()
        except PortBusyError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def main() -> None:
    """The process's own program."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    go_first()
    try:
        serve(Connection(int(sys.argv[1])))
    except (EOFError, OSError):
        return  # the metered program has gone: its recording is complete
