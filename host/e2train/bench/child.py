# SPDX-License-Identifier: Apache-2.0
"""Training iterations in a process of their own, for their time and their peak of memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from .emulator import CLASSES, SHAPE, EmulatorTraining, in_turns, mini_batch

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Job:
    """What a child trains: PSG on the emulator (skip None: without gates) or float32 torch."""

    network: str
    batch: int
    iterations: int
    skip: float | None = None
    threads: int = 1
    float32: bool = False
    backend: str = "auto"


@dataclass(frozen=True)
class Outcome:
    """Seconds of each iteration, and bytes resident at most: at all, and when all was loaded."""

    processor: list[float]
    wall: list[float]
    peak: int
    loaded: int

    @property
    def used(self) -> int:
        """Bytes that training added to what the interpreter and its libraries took."""
        return self.peak - self.loaded


def run_child(job: Job) -> Outcome:
    """Run `job` in a new process. Raises UserError with its last line where it fails."""
    environment = os.environ | {"OMP_NUM_THREADS": str(job.threads)}
    done = subprocess.run(
        [sys.executable, "-m", __name__, json.dumps(asdict(job))],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise UserError(f"{job.network}, batch {job.batch}: {lines[-1]}")
    return Outcome(**json.loads(done.stdout))


def peak_bytes() -> int:
    """The most memory that was resident in this process.

    Linux's own count of the process where there is one: getrusage's starts with the memory of the
    process that started this one.
    """
    if STATUS.exists():
        for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def run_job(job: Job) -> Outcome:
    """Run `job` in this process."""
    from ..network.models import network_spec

    spec = network_spec(job.network, SHAPE, CLASSES)
    images, labels = mini_batch(job.batch)
    training: Any
    if job.float32:
        import torch

        from .torch_reference import FloatTraining

        torch.set_num_threads(job.threads)
        loaded = peak_bytes()
        training = FloatTraining(spec, images, labels)
    else:
        from ..device import open_device

        device = open_device("emulator", backend=job.backend, threads=job.threads)
        loaded = peak_bytes()
        training = EmulatorTraining(spec, device, images, labels, skip=job.skip)
    (taken,) = in_turns([training.step], job.iterations)
    return Outcome(
        [one.processor for one in taken], [one.wall for one in taken], peak_bytes(), loaded
    )


def main(arguments: list[str]) -> None:
    """Run the job that the first argument describes in JSON; print the outcome as JSON."""
    print(json.dumps(asdict(run_job(Job(**json.loads(arguments[0]))))))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as failure:
        sys.exit(str(failure))
