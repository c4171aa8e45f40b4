# SPDX-License-Identifier: Apache-2.0
"""Reading TOML and JSON: whatever is wrong is one line that names file, key and value.

`Fields` is for records that this program wrote (JSON), `Settings` for tables that people write,
where keys have defaults and unknown ones are refused, and `build` makes dataclasses of such tables.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from e2train.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST = sys.float_info.max


def decoded(content: bytes) -> str:
    """UTF-8 text, with or without the byte order mark that editors on Windows put before it.

    Raises ValueError for anything else, which says so where it is UTF-16.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:2]:
        raise ValueError("its text is UTF-16, which some editors call Unicode: save it as UTF-8")
    return content.decode("utf-8-sig")


def parse_toml(content: bytes) -> dict[str, Any]:
    """Decode a TOML table. Raises ValueError with one line where it is none."""
    try:
        return tomllib.loads(decoded(content))
    except (ValueError, RecursionError) as error:  # bad text, endless numbers, bottomless lists
        raise ValueError(" ".join(str(error).split())) from error


def read_toml(path: Path) -> dict[str, Any]:
    """The table in a TOML file. Raises UserError where it cannot be read or is none."""
    try:
        return parse_toml(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: not TOML: {error}") from error


def parse_object(content: bytes) -> dict[str, Any]:
    """Decode one JSON object; NaN and infinities, which JSON does not have, become None.

    Raises ValueError when `content` is not UTF-8, not JSON, or not an object.
    """
    try:
        parsed = json.loads(decoded(content), parse_constant=lambda _: None)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
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
        if not is_count(value):
            raise self._wrong(key, "a whole number of at least 0")
        return int(value)  # type: ignore[arg-type]

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


class Settings:
    """One table of a settings file, whose place in it, `source`, begins every error line.

    Each method takes a key; `finish()` refuses the keys that none has taken. A default of None
    means that the key must be there.
    """

    def __init__(self, table: Mapping[str, Any], source: str) -> None:
        self._table = dict(table)
        self._values: dict[str, Any] = {}
        self.source = source

    def value(self, key: str, default: Any, holds: Callable[[Any], object], expected: str) -> Any:
        """A value for which `holds`; otherwise UserError says what was `expected`."""
        value = self._table.get(key, default)
        self._values[key] = value
        if value is None:
            raise UserError(f"{self.source}: missing key {key}")
        self.need(bool(holds(value)), key, expected)
        return value

    def need(self, holds: bool, key: str, expected: str) -> None:
        """UserError about `key`, which was taken before, unless `holds`."""
        if not holds:
            raise UserError(f"{self.source}: {key} = {self._values[key]!r}: expected {expected}")

    def text(self, key: str, default: str | None = None) -> str:
        """A string."""
        return str(self.value(key, default, lambda value: isinstance(value, str), "a string"))

    def one_of(self, key: str, choices: tuple[str, ...]) -> str:
        """One of `choices`; the first of them where the key is missing."""
        return str(self.value(key, choices[0], lambda v: v in choices, " or ".join(choices)))

    def count(self, key: str, default: int) -> int:
        """A whole number from 0."""
        return int(self.value(key, default, is_count, "a whole number from 0"))

    def counts(self, key: str, default: list[int]) -> list[int]:
        """A list of distinct whole numbers from 0, at least one."""

        def distinct(value: object) -> bool:
            right = isinstance(value, list) and value and all(map(is_count, value))
            return bool(right) and len(set(value)) == len(value)  # type: ignore[arg-type,call-overload]

        return list(self.value(key, default, distinct, "distinct whole numbers"))

    def number(self, key: str, default: float, least: float, most: float, unit: str) -> float:
        """A number of `unit` from `least` to `most`."""
        expected = f"{least:g} to {most:g} {unit}"

        def holds(value: Any) -> bool:
            return is_number(value) and least <= value <= most

        return float(self.value(key, default, holds, expected))

    def table(self, key: str) -> dict[str, Any]:
        """A table; empty where the key is missing."""
        return dict(self.value(key, {}, lambda v: isinstance(v, dict), f"a table [{key}]"))

    def tables(self, key: str) -> list[dict[str, Any]]:
        """An array of tables; empty where the key is missing."""

        def holds(value: object) -> bool:
            return isinstance(value, list) and all(isinstance(one, dict) for one in value)

        return list(self.value(key, [], holds, f"tables [[{key}]]"))

    def finish(self) -> None:
        """UserError if any key was not asked for."""
        refuse_unknown(self._table, self._values, self.source)


def refuse_unknown(
    table: Mapping[str, Any], known: Mapping[str, Any], source: str, prefix: str = ""
) -> None:
    """UserError for the first key of `table` that is not among the `known`."""
    for key in table:
        if key not in known:
            names = ", ".join(known)
            raise UserError(f"{source}: unknown key {prefix + key!r}: expected one of {names}")


def is_count(value: object) -> bool:
    """True for a whole number from 0; bool, which Python counts among the ints, is none here."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def build(kind: type, table: Mapping[str, Any], source: str, prefix: str = "") -> Any:
    """A dataclass `kind` from a table: its fields' types are checked, nested dataclasses built.

    Raises UserError, which names the key below `prefix` in `source`.
    """
    known = {entry.name: entry for entry in fields(kind)}
    hints = get_type_hints(kind)
    refuse_unknown(table, known, source, prefix)
    values = {}
    for key, value in table.items():
        hint = hints[key]
        if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
            if not isinstance(value, dict):
                raise UserError(f"{source}: {prefix}{key} = {value!r}: expected a table [{key}]")
            values[key] = build(hint, value, source, f"{prefix}{key}.")
        else:
            values[key] = _converted(hint, value, f"{source}: {prefix}{key} = {value!r}")
    missing = [n for n, e in known.items() if n not in values and _required(e)]
    if missing:
        raise UserError(f"{source}: missing key {prefix}{missing[0]}")
    return kind(**values)


def _required(entry: Any) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _converted(hint: Any, value: Any, where: str) -> Any:
    if get_origin(hint) in (Union, UnionType):
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    if get_origin(hint) is tuple:
        kind = get_args(hint)[0]
        if not isinstance(value, list):
            raise UserError(
                f"{where}: expected a list of {'strings' if kind is str else 'numbers'}"
            )
        return tuple(_converted(kind, item, where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise UserError(f"{where}: expected a number below 1e308") from None
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{where}: expected {hint.__name__}")
    return value
