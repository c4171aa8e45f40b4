# SPDX-License-Identifier: Apache-2.0
"""The drivers by name. A new one is a module with a `Driver` and a line here."""

from __future__ import annotations

from importlib import import_module

from powermeter.errors import MeterError, MissingPackageError
from powermeter.meters.driver import Driver

#: Name -> module and the `Driver` in it. Imported when needed: some want an extra package.
_WHERE = {
    "ina226-serial": ("ina226.meter", "DRIVER"),
    "wattsup": ("wattsup.meter", "DRIVER"),
    "pzem-004t": ("pzem.meter", "DRIVER_004T"),
    "pzem-017": ("pzem.meter", "DRIVER_017"),
    "wt310": ("wt310.meter", "DRIVER"),
    "scpi": ("scpi.meter", "DRIVER"),
    "rapl": ("rapl", "DRIVER"),
}
NAMES = tuple(_WHERE)


def find_driver(name: str) -> Driver:
    """The driver called `name`; `MeterError` lists those that exist, or says what it lacks."""
    try:
        module, attribute = _WHERE[name]
    except KeyError:
        raise MeterError(f"no driver {name!r}; there is: {', '.join(NAMES)}") from None
    try:
        driver: Driver = getattr(import_module(f"powermeter.meters.{module}"), attribute)
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"driver {name} needs the package {error.name!r}") from None
    return driver
