# SPDX-License-Identifier: Apache-2.0
"""A campaign on a Dask cluster whose scheduler and workers are killed at random moments.

Twelve cells, two workers, SIGKILL three times: every finished cell is kept, none runs twice, and
the final table is that of a run that nobody disturbed. Run as a script, the same with more rounds:
`python tests/end_to_end/test_campaign_kill.py ROUNDS FOLDER`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from types import TracebackType

import pytest

pytest.importorskip("distributed", reason="Dask is not installed")

FILE = """
name = "kill"
order = "randomised"
seeds = [0, 1, 2]
on = [["resnet-8", "digits"]]
baseline = "fixed8"
idle_seconds = 1

[base.train]
iterations = 44
batch = 128
lr = 0.003
log_every = 4
evaluate_every = 22
checkpoint_every = 4

[base.method]
arithmetic = "fixed"

[[methods]]
name = "fixed8"

[[methods]]
name = "signsgd"
method = { update = "signsgd" }

[[methods]]
name = "psg"
method = { update = "psg" }

[[methods]]
name = "e2train"
train = { energy_ratio = 0.6667 }
method = { update = "psg" }
smd = { drop = 0.5 }
slu = { skip = 0.2, gated = "all" }
"""
CELLS = 12
ENVIRONMENT = dict(os.environ, OMP_NUM_THREADS="1")


class Cluster:
    """A Dask scheduler and two workers, as processes of this machine; `boards` of each worker."""

    def __init__(self, folder: Path, boards: tuple[int, int] = (0, 0)) -> None:
        folder.mkdir(parents=True)
        self._file = folder / "scheduler.json"
        place = ["--scheduler-file", str(self._file)]
        self._processes = [
            self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", *place)
        ]
        _until(self._file.exists, "the scheduler")
        for number, board in enumerate(boards):
            self._processes.append(
                self._start(
                    "worker", "--nthreads", "1", "--no-nanny", "--no-dashboard",
                    "--local-directory", str(folder / f"worker-{number}"),
                    "--resources", f"board={board}", *place,
                )
            )  # fmt: skip

    @staticmethod
    def _start(*arguments: str) -> subprocess.Popen[bytes]:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments], env=ENVIRONMENT, **quiet
        )

    @property
    def address(self) -> str:
        """tcp://HOST:PORT of the scheduler."""
        return str(json.loads(self._file.read_text())["address"])

    def wait(self) -> None:
        """Return when both workers have come."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(len(self._processes) - 1, timeout=60)

    def worker(self, number: int) -> str:
        """What that worker calls itself in the campaign's file."""
        return f"{socket.gethostname()}:{self._processes[1 + number].pid}"

    def kill(self) -> None:
        """SIGKILL for scheduler and workers."""
        for process in self._processes:
            process.send_signal(signal.SIGKILL)
        for process in self._processes:
            process.wait()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.kill()


def _until(holds, what: str, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"{what} did not come"
        time.sleep(0.05)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "e2train.cli", "campaign", *map(str, arguments)]


def table(folder: Path) -> list[tuple[object, ...]]:
    """The final table without what depends on the computer: all results, and all curves."""
    from e2train.campaign.schema import RESULT_COLUMNS, VOLATILE

    columns = ", ".join(name for name in RESULT_COLUMNS if name not in VOLATILE)
    rows = query(folder, f"SELECT {columns} FROM results ORDER BY cell")
    return rows + query(folder, "SELECT * FROM points ORDER BY cell, rowid")


def query(folder: Path, text: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "campaign.sqlite", timeout=60)) as base:
        return base.execute(text).fetchall()


def finished(folder: Path) -> dict[object, tuple[object, ...]]:
    """Result rows and end times of the cells that have finished so far."""
    if not (folder / "campaign.sqlite").exists():
        return {}
    rows = query(
        folder,
        "SELECT results.*, attempts.ended FROM results JOIN attempts ON "
        "attempts.cell = results.cell AND attempts.outcome = 'finished'",
    )
    found = {row[0]: row for row in rows}
    assert len(rows) == len(found), "a cell finished twice"
    return found


def disturbed(file: Path, folder: Path, scratch: Path, rounds: int, chance: random.Random) -> int:
    """Run to the end over `rounds` kills; returns how many of them met cells at work."""
    met = 0
    for number in range(rounds + 1):
        kept = finished(folder)
        with Cluster(scratch / f"cluster-{number}") as cluster:
            going = subprocess.Popen(
                command("run", file, "--out", folder, "--scheduler", cluster.address, "--quiet"),
                env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            if number < rounds:
                _until(partial(worth_killing, going, folder), "a cell at work")
                time.sleep(chance.uniform(0.0, 1.5))
                met += at_work(folder)
                cluster.kill()
                if chance.random() < 0.5:
                    going.kill()  # and the coordinator dies as well
            _, errors = going.communicate(timeout=120)
        if number == rounds:
            assert going.returncode == 0, errors
        else:
            assert "Traceback" not in errors and errors.count("e2train:") <= 1, errors
        now = finished(folder)
        assert {cell: now[cell] for cell in kept} == kept, "a finished cell was touched again"
    return met


def worth_killing(going: subprocess.Popen[str], folder: Path) -> bool:
    """Whether a cell is at work, or nothing is left to do."""
    return at_work(folder) or going.poll() is not None


def at_work(folder: Path) -> bool:
    """Whether some cell is running with a lease that lives."""
    if not (folder / "campaign.sqlite").exists():
        return False
    live = f"SELECT 1 FROM cells WHERE state = 'running' AND updated > {time.time() - 1.5}"
    return bool(query(folder, live))


def check(scratch: Path, rounds: int, seed: int, text: str = FILE) -> str:
    """The whole show; a line about it."""
    file = scratch / "kill.toml"
    file.write_text(text)
    undisturbed, folder = scratch / "undisturbed", scratch / "disturbed"
    done = subprocess.run(
        command("run", file, "--out", undisturbed, "--quiet"),
        env=ENVIRONMENT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    met = disturbed(file, folder, scratch, rounds, random.Random(seed))
    assert len(finished(folder)) == len(finished(undisturbed)) == CELLS
    assert table(folder) == table(undisturbed)
    outcomes = dict(query(folder, "SELECT outcome, count(*) FROM attempts GROUP BY outcome"))
    assert outcomes["finished"] == CELLS
    assert met == 0 or outcomes.get("lost", 0) + outcomes.get("interrupted", 0) > 0
    return f"{rounds} kills, {met} of them with cells at work; attempts: {outcomes}"


def test_killed_three_times_and_resumed_as_if_nothing_had_been(tmp_path: Path) -> None:
    print(check(tmp_path, rounds=3, seed=2019))


if __name__ == "__main__":
    scratch = Path(sys.argv[2])
    scratch.mkdir(parents=True)
    longer = FILE.replace("iterations = 44", "iterations = 400")
    print(check(scratch, rounds=int(sys.argv[1]), seed=int(time.time()), text=longer))
