# SPDX-License-Identifier: Apache-2.0
"""Where cells run: executors of local processes, or of a Dask cluster's workers.

A cell that a real meter measures goes only to a Dask worker that offers the resource `board`
(`dask worker ... --resources board=1`), and one at a time to each board.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any, Protocol

from ..errors import UserError
from .cell import CellOutcome, Job, run_cell

BOARD = "board"
FIRST_WORKER_S = 30.0
SILENCE_S = 5.0
_PARENT_CHECK_S = 0.5


class Pool(Protocol):
    """Runs jobs. `slots` is how many at once; `check` raises UserError where it is gone."""

    def slots(self) -> int:
        """How many cells can run at once now."""
        ...

    def submit(self, job: Job) -> Future[CellOutcome]:
        """Start a job."""
        ...

    def check(self) -> None:
        """Raise UserError where nothing will come back from it any more."""
        ...

    def restart(self) -> None:
        """Take up work after a process died."""
        ...

    def close(self, kill: bool) -> None:
        """Release everything; with `kill`, without waiting for what still runs."""
        ...


class LocalPool:
    """Processes of this machine."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor = self._new()

    def _new(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._workers,
            # a fork of a process with threads may deadlock
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_settle_worker,
            initargs=(os.getpid(),),
        )

    def slots(self) -> int:
        """As many as there are processes."""
        return self._workers

    def submit(self, job: Job) -> Future[CellOutcome]:
        """Start a job in a process that is free."""
        return self._executor.submit(run_cell, job)

    def check(self) -> None:
        """Local processes do not go away unnoticed: their futures fail."""

    def restart(self) -> None:
        """A pool one of whose processes died is of no use any more."""
        self.close(kill=True)
        self._executor = self._new()

    def close(self, kill: bool) -> None:
        """End the processes."""
        if kill:
            # the executor has no public way to end a process that works (Python 3.14 adds one)
            for process in list((self._executor._processes or {}).values()):
                process.kill()
        self._executor.shutdown(wait=True, cancel_futures=True)


def _settle_worker(parent: int) -> None:
    """Leave Ctrl-C to the parent, which pauses the cells in order; do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_CHECK_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent watch").start()


class DaskPool:
    """The workers of a Dask cluster at `address`; they share the campaign's folder."""

    def __init__(self, address: str, metered: bool) -> None:
        self._address, self._metered = address, metered
        self._lost_since: float | None = None
        self._client = _connect(address)
        resources = {BOARD: 1} if metered else {}
        # every submission is a new task: a cell that was interrupted is submitted again
        self._executor: Executor = self._client.get_executor(pure=False, resources=resources)
        try:
            self._wait_for_worker()
        except UserError:
            self.close(kill=True)
            raise

    def _wait_for_worker(self) -> None:
        until = time.monotonic() + FIRST_WORKER_S
        while not self.slots():
            self.check()
            if time.monotonic() > until:
                what = (
                    f"no worker that offers the resource {BOARD!r}"
                    if self._metered
                    else "no worker"
                )
                how = f"dask worker {self._address}" + (
                    f" --resources {BOARD}=1" if self._metered else ""
                )
                raise UserError(f"{self._address}: {what} came: start one with `{how}`")
            time.sleep(0.2)

    def slots(self) -> int:
        """Threads of all workers, or their boards."""
        info: dict[str, Any] = self._client.scheduler_info(n_workers=-1)
        workers = info.get("workers", {}).values()  # none once the scheduler is gone
        if self._metered:
            return int(sum(worker["resources"].get(BOARD, 0) for worker in workers))
        return int(sum(worker["nthreads"] for worker in workers))

    def submit(self, job: Job) -> Future[CellOutcome]:
        """Give a job to the scheduler."""
        return self._executor.submit(run_cell, job)

    def check(self) -> None:
        """UserError once the scheduler has been silent for a while."""
        if self._client.status == "running":
            self._lost_since = None
            return
        self._lost_since = self._lost_since or time.monotonic()
        if time.monotonic() - self._lost_since > SILENCE_S or self._client.status == "closed":
            raise UserError(
                f"the scheduler {self._address} is gone: start it again and repeat the command "
                "to go on"
            )

    def restart(self) -> None:
        """The scheduler replaces workers by itself."""

    def close(self, kill: bool) -> None:
        """Leave the cluster; it keeps running."""
        self._client.close(timeout=2)


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise UserError("--scheduler needs Dask: pip install 'e2train[cluster]'") from None
    try:
        return Client(address, timeout=5, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"--scheduler {address}: no answer ({reason})") from None
