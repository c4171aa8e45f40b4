# SPDX-License-Identifier: Apache-2.0
"""What an iteration costs the processor (PS) alone: everything but the device's operations.

The device's answers of one iteration are recorded, then played back at once while the host does all
its own work: exponents, batch-norm coefficients, quantising, optimiser, gates and book-keeping.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..device.base import Device


class PlayedBack:
    """A device that hands out, in order, what another one answered in one iteration."""

    def __init__(self, device: Device) -> None:
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
