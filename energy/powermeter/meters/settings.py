# SPDX-License-Identifier: Apache-2.0
"""What can be set on a driver: each setting declared once, and one reader for all of them.

A driver (and a simulator) lists `Setting`s. `read_settings` turns what a user gave, words of a
command line or numbers of a program, into values of the declared types within the declared bounds,
or raises one line that says what is taken.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from powermeter.errors import MeterError

_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]{1,16}")
_DECIMAL = re.compile(r"[+-]?([0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?")
_SWITCH = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_SHOWN = 40  # characters of a refused value


@dataclass(frozen=True)
class Setting:
    """One setting: its name, what it does, and what it takes.

    kind:     int (decimal or hexadecimal), float, str (one line of ASCII) or bool.
    unit:     of the number, without a prefix, e.g. `s`; "" for a pure number.
    least, most: bounds, both included; every number has them or `choices`. `above` is a lower bound
              that is not included.
    choices:  the only values there are; words are found whatever their case.
    words:    words that are taken besides the numbers, e.g. `auto`.
    default:  the value where nothing is given; None where the driver finds it out, and then
              `unset` says how.
    """

    name: str
    help: str
    default: int | float | str | bool | None = None
    kind: type = float
    unit: str = ""
    least: float | None = None
    above: float | None = None
    most: float | None = None
    choices: tuple[int | float | str, ...] = ()
    words: tuple[str, ...] = ()
    unset: str = ""

    @property
    def takes(self) -> str:
        """What may be given, in words, e.g. `a whole number from 1 to 3600, in s`."""
        parts = [*self.words]
        if self.choices:
            parts.append("one of " + ", ".join(_shown(choice) for choice in self.choices))
        elif self.kind is str:
            parts.append("one line of ASCII text")
        elif self.kind is bool:
            parts.append("yes or no")
        else:
            parts.append(f"{'a whole number' if self.kind is int else 'a number'}{self._bounds()}")
        return " or ".join(parts) + (f", in {self.unit}" if self.unit else "")

    @property
    def default_text(self) -> str:
        """The default in words."""
        if self.default is None:
            return self.unset
        return '""' if self.default == "" else _shown(self.default)

    def read(self, given: Any) -> int | float | str | bool | None:
        """The value of `given`; None stands for what the driver finds out itself. `ValueError`."""
        if given is None and self.default is None:
            return None
        if isinstance(given, str) and given.strip().lower() in self.words:
            return given.strip().lower()
        if self.kind is str:
            return self._text(given)
        if self.kind is bool:
            return _switch(given)
        value = _whole(given) if self.kind is int else _number(given)
        if self.choices:
            return next(choice for choice in self.choices if choice == value)
        below = (self.least is not None and value < self.least) or (
            self.above is not None and value <= self.above
        )
        if below or (self.most is not None and value > self.most):
            raise ValueError(given)
        return value

    def _text(self, given: Any) -> str:
        if not isinstance(given, str) or not (given.isascii() and given.isprintable()):
            raise ValueError(given)
        if not self.choices:
            return given
        return next(str(choice) for choice in self.choices if str(choice).lower() == given.lower())

    def _bounds(self) -> str:
        if self.least is None:
            return f" above {self.above:g} and up to {self.most:.12g}"
        return f" from {self.least:g} to {self.most:.12g}"


def read_settings(
    owner: str, declared: Sequence[Setting], given: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Every declared setting's value: the one in `given`, else the default.

    `owner` is what has the settings, for messages, e.g. the driver's name. `MeterError` of one line
    for a name that is not declared and for a value that is not taken.
    """
    given = given or {}
    by_name = {setting.name: setting for setting in declared}
    for name in given:
        if name not in by_name:
            known = ", ".join(by_name) or "no setting at all"
            raise MeterError(f"{owner} has no setting {str(name)[:_SHOWN]!r}; there is: {known}")
    values = {}
    for name, setting in by_name.items():
        try:
            values[name] = setting.read(given[name]) if name in given else setting.default
        except (ValueError, OverflowError, StopIteration):
            raise MeterError(_refusal(owner, setting, given[name])) from None
    return values


def parse_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` words as a dict; `MeterError` for what is none, and for a name given twice."""
    settings: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise MeterError(f"a setting is NAME=VALUE, got {pair[:_SHOWN]!r}")
        if name in settings:
            raise MeterError(f"the setting {name[:_SHOWN]!r} is given twice")
        settings[name] = value
    return settings


def _refusal(owner: str, setting: Setting, given: Any) -> str:
    shown = repr(given)
    if len(shown) > _SHOWN:
        shown = shown[:_SHOWN] + "..."
    hint = ""
    if isinstance(given, str) and setting.kind in (int, float):
        if re.fullmatch(r"[+-]?[0-9]+,[0-9]+", given.strip()):
            hint = " (write a decimal point, not a comma)"
        elif re.fullmatch(r"[+-]?[0-9.]+\s*[A-Za-z%\u00b5\u03a9\u2126]+", given.strip()):
            alone = f", in {setting.unit}" if setting.unit else ", not as a percentage"
            hint = f" (write the number alone{alone})"
    return f"{owner}: {setting.name} takes {setting.takes}; got {shown}{hint}"


def _whole(given: Any) -> int:
    if isinstance(given, str):
        text = given.strip()
        if _HEXADECIMAL.fullmatch(text):
            return int(text, 16)
        if not _WHOLE.fullmatch(text):
            raise ValueError(given)
        return int(text)
    if isinstance(given, bool) or not isinstance(given, int | float) or given != int(given):
        raise ValueError(given)
    return int(given)


def _number(given: Any) -> float:
    if isinstance(given, str):
        if not _DECIMAL.fullmatch(given.strip()):
            raise ValueError(given)
    elif isinstance(given, bool) or not isinstance(given, int | float):
        raise ValueError(given)
    value = float(given)
    if not math.isfinite(value):
        raise ValueError(given)
    return value


def _switch(given: Any) -> bool:
    if isinstance(given, bool):
        return given
    if not isinstance(given, str) or given.strip().lower() not in _SWITCH:
        raise ValueError(given)
    return _SWITCH[given.strip().lower()]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
