# SPDX-License-Identifier: Apache-2.0
"""An energy that says how sure it is and where it comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: `metered`: an external instrument; `on-chip`: RAPL and the like; `modelled`: operations and bytes
#: times published costs; `simulated`: a simulated meter fed by such a model.
PROVENANCES = ("metered", "on-chip", "modelled", "simulated")

#: Standard uncertainties in a stated (expanded) one, within which about 95 % lie (GUM 6.3.3).
COVERAGE_FACTOR = 2


@dataclass(frozen=True)
class Joules:
    """Energy `value` with its expanded uncertainty (coverage factor k = 2, about 95 %), in joules.

    The value may be negative: a difference of two energies is reported as it is, never clamped.
    Energies of different provenance do not add up to anything that could be named, so combining
    them raises `ValueError`.
    """

    value: float
    uncertainty: float
    provenance: str

    def __post_init__(self) -> None:
        _check_provenance(self.provenance)
        if not math.isfinite(self.value):
            raise ValueError(f"an energy must be finite, got {self.value} J")
        if not (math.isfinite(self.uncertainty) and self.uncertainty >= 0):
            raise ValueError(
                f"an uncertainty must be finite and not negative, got {self.uncertainty} J"
            )

    def __add__(self, other: Joules) -> Joules:
        """Sum; uncertainties add in quadrature, that is, the errors are taken as independent.

        For two windows of one meter this understates the sum's uncertainty (gain and offset are
        common to both) and overstates that of a difference.
        """
        if not isinstance(other, Joules):
            return NotImplemented
        return Joules(self.value + other.value, self._combined(other), self.provenance)

    def __sub__(self, other: Joules) -> Joules:
        """Difference, uncertainties in quadrature; negative where `other` is larger."""
        if not isinstance(other, Joules):
            return NotImplemented
        return Joules(self.value - other.value, self._combined(other), self.provenance)

    def _combined(self, other: Joules) -> float:
        if self.provenance != other.provenance:
            raise ValueError(f"cannot combine {self.provenance} with {other.provenance} joules")
        return math.hypot(self.uncertainty, other.uncertainty)

    def __str__(self) -> str:
        return f"{self.value:.6g} ± {self.uncertainty:.2g} J ({self.provenance})"


def _check_provenance(provenance: str) -> None:
    if provenance not in PROVENANCES:
        raise ValueError(f"provenance must be one of {', '.join(PROVENANCES)}, got {provenance!r}")
