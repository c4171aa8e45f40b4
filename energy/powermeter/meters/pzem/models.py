# SPDX-License-Identifier: Apache-2.0
"""Registers, ranges and limits of the two PZEM modules (Peacefair user manuals).

Both manuals give one percentage for power and do not say of what; it is taken as of the reading.
Neither says how often registers change nor whether they average.
Measured by others on a PZEM-004T v3 (documentation of the Arduino library MycilaPZEM004Tv3): a
change of load shows after up to 1.3 s and in steps about a second apart, a read takes 0.12 s. So a
register is taken as the average over the module's own last second, which ended up to a second
before the request. For the PZEM-017 the same is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from powermeter.energy.accuracy import PowerAccuracy

UPDATE_S = 1.0  # nominal seconds between two changes of the registers
UPDATE_TOLERANCE = 0.03  # 1.03 s were seen
READ_S = 0.15  # a request and its reply: 0.12 s measured, see above
#: A module leaves the factory with address 1, and one that is alone on the line answers the general
#: address whatever its own is. Its own may be 1 to 247.
DEFAULT_ADDRESS, GENERAL_ADDRESS, LAST_ADDRESS = 1, 0xF8, 247
PERIOD_S = 0.5  # two requests an update: none is missed, whatever the two clocks do


@dataclass(frozen=True)
class Field:
    """Registers from `register` on, low word first; `counts` make one volt, ampere, watt or Wh."""

    register: int
    words: int
    counts: int

    @property
    def lsb(self) -> float:
        """What one count is worth."""
        return 1 / self.counts

    def value(self, registers: list[int]) -> float:
        """The quantity in volts, amperes, watts or watt-hours."""
        return self.count(registers) / self.counts

    def count(self, registers: list[int]) -> int:
        """The unsigned number that the registers hold."""
        words = registers[self.register : self.register + self.words]
        return sum(word << (16 * place) for place, word in enumerate(words))


@dataclass(frozen=True)
class Model:
    """One kind of module.

    Replies have neither a number nor a time. So each request asks for another number of registers
    than the one before, and a reply that is repeated on its way shows by its length.

    `registers`: how many input registers (function 4) a reading has. `ranges_a`: current range ->
    its code in the holding register `range_register`, or of no code where the hardware decides.
    """

    name: str
    frame: str
    registers: int
    voltage: Field
    current: Field
    power: Field
    energy: Field
    accuracy: PowerAccuracy
    volts_max: float
    ranges_a: Mapping[int, int | None]
    default_range_a: int | None
    range_register: int | None
    #: Below this the power register reads zero.
    least_w: float

    @property
    def lengths(self) -> tuple[int, int, int]:
        """How many registers are asked for in turn; the fewest reach to the energy."""
        return self.registers, self.registers - 1, self.registers - 2


PZEM_004T = Model(
    name="PZEM-004T",
    frame="8N1",
    registers=10,
    voltage=Field(0, 1, 10),
    current=Field(1, 2, 1000),
    power=Field(3, 2, 10),
    energy=Field(5, 2, 1),
    # "Active power ... resolution 0.1 W, measurement accuracy 0.5 %"
    accuracy=PowerAccuracy(reading=0.005, lsb_w=0.1),
    volts_max=260.0,
    ranges_a={10: None, 100: None},  # built-in shunt, or current transformer
    default_range_a=100,
    range_register=None,
    least_w=0.4,  # "starting measure power"
)

PZEM_017 = Model(
    name="PZEM-017",
    frame="8N2",
    registers=8,
    voltage=Field(0, 1, 100),
    current=Field(1, 1, 100),
    power=Field(2, 2, 10),
    energy=Field(4, 2, 1),
    # "Power ... resolution 0.1 W, measurement accuracy 1 %"
    accuracy=PowerAccuracy(reading=0.01, lsb_w=0.1),
    volts_max=300.0,
    ranges_a={100: 0, 50: 1, 200: 2, 300: 3},  # by the external shunt, holding register 3
    default_range_a=None,
    range_register=3,
    least_w=0.2,  # lower end of the measuring range
)

MODELS = {model.name: model for model in (PZEM_004T, PZEM_017)}
