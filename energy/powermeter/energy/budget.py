# SPDX-License-Identifier: Apache-2.0
"""The uncertainty of an energy, source by source, propagated with the package `uncertainties`.

A meter's own errors (gain, offset, counts) are the same in every window that it measures, so they
are one variable for all of them, and what two windows have in common cancels in their difference.
Everything else belongs to its window alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uncertainties import std_dev, ufloat  # type: ignore[import-untyped]

#: A `uncertainties` variable or expression, or a plain float where nothing is uncertain.
Uncertain = Any


@dataclass(frozen=True)
class Budget:
    """Joules, with sign, of one standard deviation of each source of error."""

    of_meter: dict[str, float]
    of_window: dict[str, float]

    def to_dict(self) -> dict[str, float]:
        """All sources in one table."""
        return self.of_meter | self.of_window


class MeterErrors:
    """The unknown deviations of one meter, each in units of its standard deviation."""

    def __init__(self) -> None:
        self._sources: dict[str, Uncertain] = {}

    def energy(self, joules: float, budget: Budget) -> Uncertain:
        """`joules` as a variable that shares this meter's errors with its other energies."""
        value: Uncertain = joules
        for name, joules_a_sigma in budget.of_meter.items():
            if name not in self._sources:
                self._sources[name] = ufloat(0.0, 1.0, tag=name)
            value = value + joules_a_sigma * self._sources[name]
        for name, sigma in budget.of_window.items():
            value = value + error_of(sigma, name)
        return value


def error_of(sigma: float, tag: str) -> Uncertain:
    """Zero, with an independent error of standard deviation `sigma`."""
    return ufloat(0.0, abs(sigma), tag=tag) if sigma else 0.0


__all__ = ["Budget", "MeterErrors", "Uncertain", "error_of", "std_dev"]
