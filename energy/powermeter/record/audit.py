# SPDX-License-Identifier: Apache-2.0
"""`powermeter check`: a recording's joules derived again from its raw bytes, and compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from powermeter.energy.integrate import Limits, WindowResult
from powermeter.errors import RecordingError
from powermeter.record.recording import (
    DIGESTED,
    RESULT,
    SAMPLES,
    death_of,
    digest,
    integrate_folder,
    read_result,
    rederive,
)

_NUMBERS = ("joules", "uncertainty_joules", "mean_power_w", "coverage", "max_gap_s", "seconds")
_EXACT = ("samples", "valid", "reason", "provenance")
# The same program gives the same bits; this is room for another machine's arithmetic.
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Audit:
    """What a check found: the energy derived again, and every difference in one line each."""

    result: WindowResult
    digests: dict[str, str]
    findings: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Nothing differs."""
        return not self.findings


def audit(folder: Path) -> Audit:
    """Derive a recording's energy from its raw bytes and compare it with its `result.json`.

    Raises `RecordingError` where there is nothing to compare or a file cannot be read.
    """
    stored = read_result(folder)
    try:
        expected, limits = dict(stored["sha256"]), Limits(**stored["limits"])
    except (KeyError, TypeError, ValueError):
        raise RecordingError(f"{folder / RESULT}: not a result of this version") from None
    digests = {name: digest(folder / name) for name in DIGESTED}
    findings = [
        f"{name}: changed since the result was written (SHA-256 differs)"
        for name in DIGESTED
        if digests[name] != expected.get(name)
    ]
    result = integrate_folder(folder, limits=limits)
    findings += _differences(stored, result.to_dict())
    try:
        as_stored = (folder / SAMPLES).read_bytes()
    except OSError as error:
        findings.append(f"{SAMPLES}: not readable ({error.strerror})")
    else:
        if not _says_the_same(as_stored, rederive(folder), death_of(folder)):
            findings.append(f"{SAMPLES}: not what the raw bytes say")
    return Audit(result, digests, tuple(findings))


def _differences(stored: dict[str, Any], derived: dict[str, Any]) -> list[str]:
    found = []
    for name in _NUMBERS + _EXACT:
        if not _same(stored.get(name), derived[name]):
            found.append(f"{name}: {stored.get(name)!r} stored, {derived[name]!r} derived")
    return found


def _says_the_same(rows: bytes, derived: bytes, death: str) -> bool:
    """A recorder that died may have had no time for the rows of its last bytes."""
    if not death:
        return rows == derived
    return derived.startswith(rows[: rows.rfind(b"\n") + 1])


def _same(stored: Any, derived: Any) -> bool:
    if isinstance(stored, float) and isinstance(derived, float):
        return math.isclose(stored, derived, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(stored == derived)
