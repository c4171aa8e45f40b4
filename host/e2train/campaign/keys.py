# SPDX-License-Identifier: Apache-2.0
"""Checked reading of a campaign file's keys: a wrong one is one line naming file, key and value."""

from __future__ import annotations

import math
from typing import Any

from ..errors import UserError

LONGEST_S = 86_400.0


class Keys:
    """One table of the file. Each method takes a key away; `finish()` refuses what is left."""

    def __init__(self, table: dict[str, Any], source: str) -> None:
        self._left = dict(table)
        self._values: dict[str, Any] = {}
        self._known: list[str] = []
        self.source = source

    def _take(self, key: str, default: Any) -> Any:
        self._known.append(key)
        value = self._left.pop(key, default)
        if value is None:
            raise UserError(f"{self.source}: missing key {key}")
        self._values[key] = value
        return value

    def need(self, holds: bool, key: str, expected: str) -> None:
        """UserError about `key`, which was taken before, unless `holds`."""
        if not holds:
            raise UserError(f"{self.source}: {key} = {self._values[key]!r}: expected {expected}")

    def text(self, key: str, default: str | None = None) -> str:
        """A string."""
        value = self._take(key, default)
        self.need(isinstance(value, str), key, "a string")
        return str(value)

    def one_of(self, key: str, choices: tuple[str, ...]) -> str:
        """One of `choices`; the first of them where the key is missing."""
        value = self._take(key, choices[0])
        self.need(value in choices, key, " or ".join(choices))
        return str(value)

    def count(self, key: str, default: int) -> int:
        """A whole number from 0."""
        value = self._take(key, default)
        self.need(_is_count(value), key, "a whole number from 0")
        return int(value)

    def counts(self, key: str, default: list[int]) -> list[int]:
        """A list of distinct whole numbers from 0, at least one."""
        value = self._take(key, default)
        right = isinstance(value, list) and value and all(map(_is_count, value))
        self.need(bool(right) and len(set(value)) == len(value), key, "distinct whole numbers")
        return list(value)

    def seconds(self, key: str, default: float) -> float:
        """A number of seconds from 0 to a day."""
        value = self._take(key, default)
        self.need(_is_number(value) and 0 <= value <= LONGEST_S, key, "0 to 86400 seconds")
        return float(value)

    def pairs(
        self, key: str, default: list[tuple[str, str]] | None = None
    ) -> list[tuple[str, str]]:
        """A list of [network, data set]."""
        value = self._take(key, default)
        right = isinstance(value, list) and value and all(map(_is_pair, value))
        self.need(
            bool(right), key, 'pairs of network and data set such as [["resnet-8", "digits"]]'
        )
        return [(network, dataset) for network, dataset in value]

    def table(self, key: str) -> dict[str, Any]:
        """A table; empty where the key is missing."""
        value = self._take(key, {})
        self.need(isinstance(value, dict), key, f"a table [{key}]")
        return dict(value)

    def tables(self, key: str) -> list[dict[str, Any]]:
        """An array of tables; each gets a key `where` that says where it stands."""
        value = self._take(key, [])
        right = isinstance(value, list) and all(isinstance(one, dict) for one in value)
        self.need(right, key, f"tables [[{key}]]")
        for one in value:
            if "where" in one:
                raise UserError(f"{self.source}: {key}: unknown key 'where'")
        return [
            one | {"where": f"{self.source}: {key} {one.get('name', number)!r}"}
            for number, one in enumerate(value, start=1)
        ]

    def sweep(self, key: str) -> dict[str, list[float]]:
        """A table of lists of numbers, such as {"train.lr" = [0.1, 0.2]}."""
        value = self.table(key)
        for name, numbers in value.items():
            right = isinstance(numbers, list) and numbers and all(map(_is_number, numbers))
            self.need(bool(right), key, f"a list of numbers for {name!r}")
        return value

    def finish(self) -> None:
        """UserError if any key was not asked for."""
        for key in self._left:
            names = ", ".join(self._known)
            raise UserError(f"{self.source}: unknown key {key!r}: expected one of {names}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value)  # type: ignore[arg-type]


def _is_pair(value: object) -> bool:
    two = isinstance(value, (list, tuple)) and len(value) == 2
    return two and all(isinstance(one, str) for one in value)  # type: ignore[attr-defined]
