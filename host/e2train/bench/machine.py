# SPDX-License-Identifier: Apache-2.0
"""What a measurement ran on, for its record."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """Processor, what the emulator was built for, and how busy the machine was at the start."""

    processor: str
    processors: int
    load: float
    emulator: str
    torch: str

    @property
    def vnni(self) -> bool:
        """Whether the emulator's kernels multiply bytes with VNNI."""
        return "VNNI" in self.emulator

    @property
    def sentence(self) -> str:
        """All of it, for readers."""
        torch = f", float32 torch {self.torch}" if self.torch else ""
        return (
            f"{self.processors} processors ({self.processor}), {self.emulator}{torch}; "
            f"load average {self.load:.1f} at the start"
        )


def this_machine(emulator: str) -> Machine:
    """This machine, now; `emulator` is its device's name."""
    affinity = getattr(os, "sched_getaffinity", None)
    processors = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = ""
    return Machine(_processor(), processors, os.getloadavg()[0], emulator, torch)


def _processor() -> str:
    """The processor's name and those of its instruction sets that matter here."""
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    entries: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        entries[key.strip()] = value.strip()
    name = entries.get("model name", platform.machine())
    flags = entries.get("flags", "").split()
    sets = {"AVX2": "avx2", "AVX-512": "avx512f", "VNNI": "avx512_vnni", "AVX-VNNI": "avx_vnni"}
    found = [said for said, flag in sets.items() if flag in flags]
    return f"{name} with {', '.join(found)}" if found else name
