# SPDX-License-Identifier: Apache-2.0
"""Mutation check of the MAC core's Verilog: each small fault must be found by the core's bench.

    python mutate_rtl.py [NAME...]

A copy of the Verilog gets all faults of mutants_rtl.toml at once, each behind its number at a port
of its own, so that Verilator builds one bench for them all; tests/hardware/rtl/run_bench.py then
runs it once for each fault. Ends with 1 if a fault is not found, or names text that its file no
longer has exactly once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mutate import BROKEN, CAUGHT, SURVIVED, Unusable
from sources import HLS

from e2train.device.accelerator.rtl_build import build_bench
from e2train.device.build import BuildError
from e2train.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LIST = HLS / "checks/mutants_rtl.toml"
BENCH = HLS.parent / "tests/hardware/rtl/run_bench.py"
TOP = "rtl/mac_core.v"
SECONDS = 600


@dataclass(frozen=True)
class RtlMutant:
    """One fault: the expression `old`, which stands for "@" in `at`, becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    what: str
    at: str = "@"

    @property
    def found(self) -> str:
        """The text that the file must have exactly once."""
        return self.at.replace("@", self.old)


def load_rtl_mutants(path: Path = LIST) -> list[RtlMutant]:
    """The faults of a list. Raises Unusable for one that has unknown or missing keys."""
    with open(path, "rb") as stream:
        entries = tomllib.load(stream)["mutant"]
    try:
        mutants = [RtlMutant(**entry) for entry in entries]
    except TypeError as error:
        raise Unusable(f"{path}: {error}") from error
    if len({mutant.name for mutant in mutants}) != len(mutants):
        raise Unusable(f"{path}: two mutants have one name")
    return mutants


def seeded(mutants: list[RtlMutant], hls: Path = HLS) -> dict[str, str]:
    """Files with all faults in them, fault n (from 1) where the core's port `mutant` is n.

    Raises Unusable unless a file has a fault's text exactly once.
    """
    texts = {path: (hls / path).read_text(encoding="utf-8") for path in {m.file for m in mutants}}
    places: dict[tuple[str, str, str], list[tuple[int, RtlMutant]]] = {}
    for number, mutant in enumerate(mutants, 1):
        if (times := texts[mutant.file].count(mutant.found)) != 1:
            raise Unusable(f"{mutant.name}: {mutant.file} has its text {times} times, not once")
        place = (mutant.file, mutant.at, mutant.old)
        places.setdefault(place, []).append((number, mutant))
    for (file, at, old), faults in places.items():
        chosen = "".join(f"mac_core.mutant == 8'd{n} ? {m.new} : " for n, m in faults)
        text = texts[file]
        if text.count(at.replace("@", old)) != 1:
            raise Unusable(f"{faults[0][1].name}: another fault of {file} changes the same text")
        texts[file] = text.replace(at.replace("@", old), at.replace("@", f"({chosen}{old})"))
    return texts


def with_port(text: str) -> str:
    """The top module's text with the port that chooses a fault."""
    text = text.replace("module mac_core (\n", "module mac_core (\n    mutant,\n", 1)
    return text.replace(
        "    input wire ap_clk,", "    input wire [7:0] mutant;\n    input wire ap_clk,", 1
    )


def build(mutants: list[RtlMutant], root: Path, hls: Path = HLS) -> Path:
    """The bench with all faults, built below `root`. Raises Unusable."""
    shutil.copytree(hls / "rtl", root / "hls/rtl")
    texts = seeded(mutants, hls)
    texts[TOP] = with_port(texts.get(TOP) or (hls / TOP).read_text(encoding="utf-8"))
    for file, text in texts.items():
        (root / "hls" / file).write_text(text, encoding="utf-8")
    (root / "objects").mkdir()
    try:
        build_bench(root / "objects", root / "bench.so", root, ("-DE2_MUTANTS", "-O1"))
    except (UserError, BuildError) as error:
        raise Unusable(f"the bench does not build: {error}") from error
    return root / "bench.so"


def run_mutant(bench: Path, number: int) -> tuple[str, str]:
    """A verdict and its detail, of one fault; 0 is none."""
    command = [sys.executable, str(BENCH), str(bench)]
    given = {**os.environ, "E2_MUTANT": str(number)}
    try:
        done = subprocess.run(
            command, env=given, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return CAUGHT, f"did not end within {SECONDS} s"
    if done.returncode == 0:
        return SURVIVED, done.stdout.strip()
    if done.returncode < 0:
        return CAUGHT, f"ended by signal {-done.returncode}"
    if done.returncode == 1 and done.stdout:
        return CAUGHT, done.stdout.splitlines()[-1]
    return BROKEN, (done.stderr.splitlines() or ["the bench failed"])[-1]


def main(names: list[str]) -> int:
    try:
        mutants = [one for one in load_rtl_mutants() if not names or one.name in names]
        with tempfile.TemporaryDirectory(prefix="mutate-") as name:
            bench = build(mutants, Path(name))
            verdict, detail = run_mutant(bench, 0)
            if verdict != SURVIVED:
                raise Unusable(f"without any fault the Verilog fails: {detail}")
            caught = 0
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                numbers = range(1, len(mutants) + 1)
                outcomes = pool.map(lambda number: run_mutant(bench, number), numbers)
                for mutant, (verdict, detail) in zip(mutants, outcomes, strict=True):
                    print(f"{verdict:9}{mutant.name}: {mutant.what} ({mutant.file})")
                    print(f"{'':9}{detail}", flush=True)
                    caught += verdict == CAUGHT
    except Unusable as error:
        print(f"mutate: {error}", file=sys.stderr)
        return 2
    print(f"mutate: {caught} of {len(mutants)} mutants of the Verilog caught")
    return 0 if caught == len(mutants) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
