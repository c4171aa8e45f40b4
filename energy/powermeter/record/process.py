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
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from powermeter.energy.clock import count_from, host_epoch_s, host_time_s
from powermeter.energy.integrate import Limits, WindowResult
from powermeter.errors import MeterError, PortBusyError, RecordingError, described
from powermeter.events import End
from powermeter.meters import find_driver
from powermeter.meters.meter import Meter
from powermeter.meters.probing import open_meter
from powermeter.record.priority import go_first
from powermeter.record.rawlog import mark_death
from powermeter.record.recorder import Recorder
from powermeter.record.recording import META, meta_of, read_meta, write_json

_ANSWER_S = 60.0
_EXIT_S = 5.0
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
        self._folder = folder
        self._failure: MeterError | None = None
        self._orders = 0
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
        try:
            self.meta: dict[str, Any] = self._ask(
                host_epoch_s(), driver, port, folder, settings, resume
            )
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
        try:
            self._process.wait(_ANSWER_S)
        except subprocess.TimeoutExpired as error:
            raise self._gone(f"it did not end for {_ANSWER_S:g} s") from error

    def die(self, error: BaseException) -> MeterError:
        """See `Recorder.die`: the program that is recorded failed at recording."""
        return self._gone(described(error))

    def _ask(self, *order: Any) -> Any:
        if self._failure is not None:
            raise self._failure
        try:
            self._orders += 1
            self._connection.send((self._orders, order))
            answered, number, answer = True, 0, None
            while answered and number != self._orders:  # one before it was broken off by Ctrl-C
                if answered := self._connection.poll(_ANSWER_S):
                    number, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._gone("its process has ended") from error
        except Exception as error:  # what was sent is no answer
            raise self.die(error) from error
        if not answered:
            raise self._gone(f"it gave no answer for {_ANSWER_S:g} s")
        if isinstance(answer, MeterError):
            raise answer
        return answer

    def _gone(self, what: str) -> MeterError:
        """See that nothing is recorded any more, and note in the recording why."""
        if self._failure is None:
            self._connection.close()
            try:
                self._process.wait(_EXIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()  # it hangs: what it holds is the port and an open recording
                self._process.wait()
            if self._process.returncode < 0:
                what += f" ({signal.Signals(-self._process.returncode).name})"
            end = End(host_time_s(), what)
            self._failure = RecordingError(end.reason)
            with suppress(OSError):  # no recording yet, or no room for another row in it
                mark_death(self._folder, end.host_time_s, end.died)
        return self._failure


def serve(connection: Connection) -> None:
    """Open the meter that the first message names, record it, answer until the other end closes."""
    number, (epoch_s, driver, port, folder, settings, resume) = connection.recv()
    count_from(epoch_s)
    try:
        recorder = _start(driver, port, folder, settings, resume)
    except MeterError as error:
        connection.send((number, error))
        return
    except Exception as error:
        connection.send((number, MeterError(f"{driver} on {port}: {described(error)}")))
        return
    try:
        connection.send((number, read_meta(folder)))
        while True:
            number, order = connection.recv()
            connection.send((number, _obeyed(recorder, *order)))
    finally:
        recorder.stop()


def _obeyed(recorder: Recorder, order: str, *arguments: Any) -> Any:
    """What the order gives: its result, or the error to raise at the other end."""
    try:
        if order not in _ORDERS:
            raise MeterError(f"the recorder knows no order {order!r}")
        return getattr(recorder, order)(*arguments)
    except MeterError as error:
        return error
    except Exception as error:
        return recorder.die(error)


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
    except Exception:
        sys.exit(1)  # what it was stands in the recording
