# SPDX-License-Identifier: Apache-2.0
"""A meter in one word: `DRIVER:PORT,NAME=VALUE,...`, e.g. `pzem-004t:/dev/ttyUSB0,address=2`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from powermeter.errors import MeterError
from powermeter.meters import find_driver
from powermeter.meters.settings import parse_pairs, read_settings

# Ports are paths and may hold commas: only a comma before `NAME=` begins a setting.
_NEXT_SETTING = re.compile(r",(?=[A-Za-z_][A-Za-z0-9_]*=)")


class MeterSpec(NamedTuple):
    """Which driver, on which port, and the settings that were given, as values."""

    driver: str
    port: str
    settings: dict[str, Any]


def parse_spec(spec: str, more: Mapping[str, Any] | None = None) -> MeterSpec:
    """Take `spec` apart and check its settings and `more` of them; nothing is opened.

    `MeterError` of one line for an unknown driver, a missing port, a setting that the driver does
    not have or a value that it does not take.
    """
    head, *pairs = _NEXT_SETTING.split(spec)
    name, colon, port = head.partition(":")
    if not (name and colon and port):
        raise MeterError(
            f"a meter is simulated, none or DRIVER:PORT[,NAME=VALUE...] such as "
            f"pzem-004t:/dev/ttyUSB0,address=2; got {spec!r}"
        )
    driver = find_driver(name)
    given = parse_pairs(pairs) | dict(more or {})
    values = read_settings(driver.name, driver.settings, given)
    return MeterSpec(name, port, {name: values[name] for name in given})
