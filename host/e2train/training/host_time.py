# SPDX-License-Identifier: Apache-2.0
"""What a training iteration costs the processor (PS) alone: everything but the device's operations.

The device's answers of one iteration are recorded, then played back at once while the trainer does
all its own work: pictures, exponents, batch-norm coefficients, quantising, optimiser, book-keeping.

Run as a program it prints the milliseconds of processor time of each turn as JSON. It imports what
has been in the package since its first release, so that it also times another checkout's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from e2train.data.dataset import Dataset
from e2train.device import open_device
from e2train.errors import UserError
from e2train.training.experiment import load_experiment
from e2train.training.trainer import Trainer

EXPERIMENT = """
name = "host"
network = "{network}"
[data]
name = "cifar10"
[train]
iterations = 1000
batch = {batch}
[method]
arithmetic = "fixed"
update = "psg"
"""
SETTLING = 3  # iterations until no exponent is unknown any more
PICTURES = 1024


class PlayedBack:
    """A device that hands out, in order, what another one answered in one iteration."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._answers: list[Any] = []
        self._answer: Iterator[Any] = iter(())
        self._recording = self._playing = False

    def record(self) -> None:
        """From now on, until `rewind`, keep what the device answers."""
        self._recording = True
        self._answers.clear()

    def rewind(self) -> None:
        """The iteration begins anew, with the recorded answers."""
        self._recording, self._playing = False, True
        self._answer = iter(self._answers)

    @property
    def operations(self) -> int:
        """Device operations in the recorded iteration."""
        return len(self._answers)

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._device, name)
        if not callable(real):
            return real
        answer = self._operation(real)
        setattr(self, name, answer)
        return answer

    def _operation(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def answer(*arguments: Any, **options: Any) -> Any:
            if self._playing:
                return next(self._answer)
            found = real(*arguments, **options)
            if self._recording:
                self._answers.append(found)
            return found

        return answer


def _dataset() -> Dataset:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (PICTURES, 3, 32, 32)).astype(np.uint8)
    labels = random.integers(0, 10, PICTURES)
    return Dataset(
        name="cifar10",
        label="random",
        train_images=images,
        train_labels=labels,
        test_images=images[:16],
        test_labels=labels[:16],
        classes=10,
        mean=(125, 123, 114),
        std=(63.0, 62.0, 67.0),
        mirror=True,
        shift=4,
    )


def host_turns(network: str, batch: int, turns: int) -> tuple[list[float], int]:
    """Milliseconds of processor time of each PSG iteration, device left out; device operations."""
    with tempfile.TemporaryDirectory() as folder, open_device("emulator") as real:
        path = Path(folder) / "host.toml"
        path.write_text(EXPERIMENT.format(network=network, batch=batch), encoding="utf-8")
        device: Any = PlayedBack(real)
        run = Path(folder) / "run"
        run.mkdir()
        with Trainer(load_experiment(path), _dataset(), run, device=device, meter="none") as one:
            for _ in range(SETTLING):
                one.mini_batch(0)
            device.record()
            one.mini_batch(0)
            taken = []
            for _ in range(turns + 1):  # the first one warms caches
                device.rewind()
                before = time.process_time()
                one.mini_batch(0)
                taken.append(1e3 * (time.process_time() - before))
            return taken[1:], device.operations


def turns_of(checkout: Path, network: str, batch: int, turns: int) -> tuple[list[float], int]:
    """`host_turns` of the package in another checkout, in a process of its own."""
    paths = [str(checkout / "host"), str(checkout / "energy")]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(paths), OMP_NUM_THREADS="1")
    command = [sys.executable, str(Path(__file__).resolve()), network, str(batch), str(turns)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{checkout}: the benchmark failed there: {last}")
    found: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return found[0], found[1]


if __name__ == "__main__":
    print(json.dumps(host_turns(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
