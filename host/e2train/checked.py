# SPDX-License-Identifier: Apache-2.0
"""Checked access to the keys of a JSON object: a wrong one is one line that names file and key."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from e2train.errors import UserError

LARGEST = sys.float_info.max


def parse_object(text: bytes) -> dict[str, Any]:
    """Decode one JSON object; NaN and infinities, which JSON does not have, become None.

    Raises ValueError when `text` is not UTF-8, not JSON, or not an object.
    """
    parsed = json.loads(text.decode(), parse_constant=lambda _: None)
    if not isinstance(parsed, dict):
        raise ValueError("not a JSON object")
    return parsed


def is_number(value: object) -> bool:
    """True for a finite number; bool, which Python counts among the ints, is none here."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return abs(value) <= LARGEST  # false for infinities, and for integers that no float holds


@dataclass(frozen=True)
class Fields:
    """The keys of one JSON object. `where` (file, or file and line) begins every error line."""

    values: Mapping[str, Any]
    where: str

    def _wrong(self, key: str, expected: str) -> UserError:
        if key not in self.values:
            return UserError(f"{self.where}: key '{key}' is missing")
        shown = json.dumps(self.values[key])
        shown = shown if len(shown) <= 40 else shown[:37] + "..."
        return UserError(f"{self.where}: key '{key}' should be {expected}, not {shown}")

    def text(self, key: str) -> str:
        """A string."""
        value = self.values.get(key)
        if not isinstance(value, str):
            raise self._wrong(key, "a string")
        return value

    def count(self, key: str) -> int:
        """A whole number, zero or more."""
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self._wrong(key, "a whole number of at least 0")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        value = self.values.get(key)
        if not is_number(value):
            raise self._wrong(key, "a number")
        return float(value)  # type: ignore[arg-type]

    def optional_number(self, key: str) -> float | None:
        """A finite number, or None where the key is null (or NaN); the key itself must be there."""
        if key in self.values and self.values[key] is None:
            return None
        return self.number(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self.values.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, "a list of strings")
        return tuple(value)

    def numbers(self, key: str) -> dict[str, float]:
        """An object whose values are numbers, such as a percentage for each layer."""
        value = self.values.get(key)
        if not isinstance(value, dict) or not all(is_number(item) for item in value.values()):
            raise self._wrong(key, "an object of numbers")
        return {name: float(item) for name, item in value.items()}

    def part(self, key: str) -> Fields:
        """A nested object."""
        value = self.values.get(key)
        if not isinstance(value, dict):
            raise self._wrong(key, "an object")
        return Fields(value, f"{self.where}: {key}")

    def one_of(self, key: str, choices: tuple[str, ...]) -> str:
        """A string out of `choices`."""
        value = self.text(key)
        if value not in choices:
            raise self._wrong(key, "one of " + ", ".join(choices))
        return value
