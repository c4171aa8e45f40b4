# SPDX-License-Identifier: Apache-2.0
"""What breaks a rule, and the named exceptions that may: report.toml."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from sources import Missing

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOPICS = ("recurrence", "port", "process", "multiplication", "divider", "resources")
BOUNDS = ("dsps", "luts", "ffs", "blocks", "core_luts")


@dataclass(frozen=True)
class Rules:
    """Bounds of resources, and reasons by topic and name."""

    bounds: dict[str, int]
    reasons: dict[tuple[str, str], str]


def load_rules(path: Path) -> Rules:
    """Raises Missing for a file that is not as described at its top."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Missing(f"{path}: {error}") from error
    bounds = data.get("bounds", {})
    if sorted(bounds) != sorted(BOUNDS):
        raise Missing(f"{path}: [bounds] needs {', '.join(BOUNDS)}")
    reasons = {}
    for one in data.get("exception", []):
        if sorted(one) != ["name", "reason", "topic"] or not str(one["reason"]).strip():
            raise Missing(f"{path}: an exception needs topic, name and reason: {one}")
        if one["topic"] not in TOPICS:
            raise Missing(f"{path}: no topic {one['topic']!r}: {', '.join(TOPICS)}")
        reasons[one["topic"], one["name"]] = str(one["reason"])
    return Rules(bounds, reasons)


@dataclass
class Judge:
    """Says of each item whether it holds, is excepted or is broken, and remembers."""

    rules: Rules
    broken: Counter[str] = field(default_factory=Counter)
    used: set[tuple[str, str]] = field(default_factory=set)

    def __call__(self, topic: str, name: str, breaks: bool) -> str:
        if not breaks:
            return ""
        if (topic, name) in self.rules.reasons:
            self.used.add((topic, name))
            return "excepted"
        self.broken[topic] += 1
        return "BROKEN"

    def conclude(self) -> int:
        """Prints the exceptions and the verdict; the exit status."""
        print("\nExceptions")
        for key, reason in self.rules.reasons.items():
            stale = "" if key in self.used else " STALE: nothing breaks this rule"
            print(f"  {key[0]} {key[1]}: {reason}{stale}")
        stale_count = len(self.rules.reasons) - len(self.used)
        if not self.rules.reasons:
            print("  none")
        if not self.broken and not stale_count:
            print("\nhls-report: every bound holds")
            return 0
        listed = [f"{count} {topic}" for topic, count in self.broken.items()]
        listed += [f"{stale_count} stale exceptions"] if stale_count else []
        print(f"\nhls-report: broken: {', '.join(listed)}")
        return 1
