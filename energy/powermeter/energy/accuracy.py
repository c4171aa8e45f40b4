# SPDX-License-Identifier: Apache-2.0
"""From a data sheet's limits to the standard uncertainty of a power or an energy.

A limit `a` without more knowledge is a rectangular distribution, standard uncertainty a/sqrt(3);
one count of a rounded reading likewise spans ±lsb/2, hence lsb/sqrt(12) (GUM, JCGM 100:2008, 4.3.7
and F.2.2.1). Every error of a meter is taken as constant over a window, so nothing is divided by
the square root of the number of samples: exact for gain and offset, and for rounding the worst
case, which a steady load comes near.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from powermeter.errors import RecordingError
from powermeter.events import Sample

_RECTANGLE = 1 / math.sqrt(3)
_COUNT = 1 / math.sqrt(12)


class EnergySums(NamedTuple):
    """Integrals of a window's readings; of voltage and current 0 where the meter gives none."""

    joules: float
    seconds: float
    volt_seconds: float
    ampere_seconds: float


class Accuracy(Protocol):
    """What a meter's data sheet says about its readings."""

    #: Name in a recording's `meter.json`.
    kind: ClassVar[str]

    @property
    def clock(self) -> float:
        """Limit of the error of the meter's clock rate, a fraction."""
        ...

    def contributions(self, sums: EnergySums) -> dict[str, float]:
        """Joules, with sign, by which one standard deviation of each source of error shifts them.

        The sources are independent of each other and the same in every window of this meter: that
        is what lets a common offset cancel between two windows. The clock is not among them.
        """
        ...

    def power_uncertainty_w(self, sample: Sample) -> float:
        """Standard uncertainty (k = 1) in watts of one reading."""
        ...

    def energy_uncertainty_j(self, sums: EnergySums) -> float:
        """Standard uncertainty (k = 1) in joules of an integral of readings, without the clock."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """JSON-able with `kind`; `accuracy_from` is the way back."""
        ...


class _Combined:
    """Power and energy from `contributions`, which the class below this one defines."""

    kind: ClassVar[str]

    def contributions(self, sums: EnergySums) -> dict[str, float]:
        raise NotImplementedError

    def power_uncertainty_w(self, sample: Sample) -> float:
        """See `Accuracy.power_uncertainty_w`: the energy of one second of this reading."""
        volts, amperes = sample.voltage_v or 0.0, sample.current_a or 0.0
        return self.energy_uncertainty_j(EnergySums(sample.power_w, 1.0, volts, amperes))

    def energy_uncertainty_j(self, sums: EnergySums) -> float:
        """See `Accuracy.energy_uncertainty_j`: independent sources, root of the sum of squares."""
        return math.hypot(*self.contributions(sums).values())

    def to_dict(self) -> dict[str, Any]:
        """See `Accuracy.to_dict`."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True)
class VoltageCurrentAccuracy(_Combined):
    """Limits (maxima, plus or minus) of a meter that reads voltage and current and multiplies.

    Gain and clock limits are fractions.
    """

    kind: ClassVar[str] = "voltage-current"
    voltage_gain: float
    voltage_offset_v: float
    voltage_lsb_v: float
    current_gain: float
    current_offset_a: float
    current_lsb_a: float
    clock: float

    def contributions(self, sums: EnergySums) -> dict[str, float]:
        """See `Accuracy.contributions`."""
        volts, amperes = sums.volt_seconds, sums.ampere_seconds
        return {
            "voltage gain": _RECTANGLE * self.voltage_gain * sums.joules,
            "current gain": _RECTANGLE * self.current_gain * sums.joules,
            "voltage offset": _RECTANGLE * self.voltage_offset_v * amperes,
            "current offset": _RECTANGLE * self.current_offset_a * volts,
            "voltage count": _COUNT * self.voltage_lsb_v * amperes,
            "current count": _COUNT * self.current_lsb_a * volts,
        }


@dataclass(frozen=True)
class PowerAccuracy(_Combined):
    """`reading` + `of_range` x `range_w` + `counts_w`: the usual formula of a power meter.

    `reading`, `of_range` and `clock` are fractions (0.001 for 0.1 %); `range_w` is the range's full
    scale and `counts_w` the stated counts, both in watts. `lsb_w` is the last digit. Gain, range
    and counts are taken as independent.
    """

    kind: ClassVar[str] = "power"
    reading: float
    range_w: float = 0.0
    of_range: float = 0.0
    counts_w: float = 0.0
    lsb_w: float = 0.0
    clock: float = 50e-6

    def contributions(self, sums: EnergySums) -> dict[str, float]:
        """See `Accuracy.contributions`."""
        return {
            "gain": _RECTANGLE * self.reading * sums.joules,
            "range": _RECTANGLE * self.of_range * self.range_w * sums.seconds,
            "counts": _RECTANGLE * self.counts_w * sums.seconds,
            "last digit": _COUNT * self.lsb_w * sums.seconds,
        }


_KINDS: dict[str, type[VoltageCurrentAccuracy] | type[PowerAccuracy]] = {
    kind.kind: kind for kind in (VoltageCurrentAccuracy, PowerAccuracy)
}


def accuracy_from(fields: dict[str, Any]) -> Accuracy:
    """What `to_dict()` made; `RecordingError` for a kind that is not known or does not fit."""
    rest = dict(fields)
    kind = rest.pop("kind", None)
    try:
        return _KINDS[kind](**rest)
    except (KeyError, TypeError):
        raise RecordingError(f"the recording's accuracy of kind {kind!r} is not known") from None
