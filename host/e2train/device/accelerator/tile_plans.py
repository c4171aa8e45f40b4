# SPDX-License-Identifier: Apache-2.0
"""Tile plans by layer: worked out when first asked for, or read from a file.

Working them out takes seconds on a laptop and minutes on a board's processor. So a laptop writes
those of a training to a file (`e2train board plan NETWORK --tiles FILE`), and the board reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...checked import is_count, parse_object
from ...errors import UserError
from ...files import write_text
from ..geometry import Geometry
from . import generated as hw
from .tiling.plan import TilePlan, plan_convolution

Key = tuple[Geometry, int, str]
"""A pass over a layer: its geometry, samples and direction."""

Planner = Callable[[Geometry, int, str], TilePlan]


class TilePlans:
    """What the driver asks for the tiles of a pass; `used` holds all that it was ever asked."""

    def __init__(
        self, known: Mapping[Key, TilePlan] | None = None, planner: Planner = plan_convolution
    ) -> None:
        """`known` plans are taken as they are; the others are worked out by `planner`."""
        self._known = dict(known or {})
        self._planner = planner
        self.used: dict[Key, TilePlan] = {}

    def plan(self, geometry: Geometry, samples: int, direction: str) -> TilePlan:
        """The plan of a pass; ValueError, which names the limit, where the layer fits no tile."""
        key = geometry, samples, direction
        if key not in self.used:
            found = self._known.get(key)
            self.used[key] = self._planner(geometry, samples, direction) if found is None else found
        return self.used[key]


def write_tile_plans(path: Path, plans: Mapping[Key, TilePlan]) -> None:
    """Write plans, the configuration that they are for, and a checksum; whole or not at all."""
    entries = [
        {
            "geometry": asdict(geometry),
            "samples": samples,
            "direction": direction,
            "plan": asdict(plan),
        }
        for (geometry, samples, direction), plan in plans.items()
    ]
    content = {
        "abi": hw.ABI_VERSION,
        "configuration": hw.CONFIGURATION_HASH,
        "checksum": _checksum(entries),
        "plans": entries,
    }
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_tile_plans(path: Path) -> dict[Key, TilePlan]:
    """The plans of a file.

    UserError, which names the file, where it cannot be read, was changed or cut off, or belongs to
    another configuration of the accelerator.
    """
    try:
        content = parse_object(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: not a file of tile plans: {error}") from error
    for key, name, mine in (
        ("abi", "register layout (ABI)", hw.ABI_VERSION),
        ("configuration", "accelerator configuration", hw.CONFIGURATION_HASH),
    ):
        if content.get(key) != mine:
            raise UserError(
                f"{path}: tile plans of {name} {_shown(content.get(key))}, this package has "
                f"{_shown(mine)}: write them again with `e2train board plan NETWORK --tiles FILE`"
            )
    entries = content.get("plans")
    if not isinstance(entries, list) or content.get("checksum") != _checksum(entries):
        raise UserError(f"{path}: its tile plans do not match its checksum: it was changed")
    return dict(_entry(entry, f"{path}: plan {number}") for number, entry in enumerate(entries))


def _shown(value: object) -> str:
    return f"0x{value:08x}" if is_count(value) else repr(value)


def _checksum(entries: list[Any]) -> str:
    text = json.dumps(entries, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _entry(entry: dict[str, Any], where: str) -> tuple[Key, TilePlan]:
    try:
        plan = {**entry["plan"], "inner_ranges": _pairs(entry["plan"]["inner_ranges"])}
        geometry = {**entry["geometry"], "kernel": tuple(entry["geometry"]["kernel"])}
        key = Geometry(**geometry), int(entry["samples"]), str(entry["direction"])
        return key, TilePlan(**plan)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{where}: not a tile plan of this package: {error}") from error


def _pairs(found: list[list[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(pair) for pair in found)
