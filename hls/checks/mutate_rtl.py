# SPDX-License-Identifier: Apache-2.0
"""Mutation check of the MAC core's Verilog: each small fault must be found by the core's bench.

    python mutate_rtl.py [NAME...]

Every fault of mutants_rtl.toml goes into a copy of the Verilog, which Verilator turns into a bench
that tests/hardware/rtl/run_bench.py runs. Ends with 1 if a fault is not found, does not build, or
names text that its file no longer has exactly once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutate import BROKEN, CAUGHT, SURVIVED, Mutant, Outcome, Unusable, load_mutants, mutated
from sources import HLS

from e2train.device.accelerator.rtl_build import build_bench
from e2train.device.build import BuildError
from e2train.errors import UserError

LIST = HLS / "checks/mutants_rtl.toml"
BENCH = HLS.parent / "tests/hardware/rtl/run_bench.py"
SECONDS = 600


def run_mutant(mutant: Mutant | None, hls: Path = HLS) -> tuple[str, str]:
    """A verdict and its detail, of the Verilog in `hls` with the fault, or with none."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        root = Path(name)
        shutil.copytree(hls / "rtl", root / "hls/rtl")
        try:
            if mutant is not None:
                text = mutated(mutant, hls)
                (root / "hls" / mutant.file).write_text(text, encoding="utf-8")
            (root / "objects").mkdir()
            build_bench(root / "objects", root / "bench.so", root, optimise=False)
        except (Unusable, UserError, BuildError) as error:
            return BROKEN, str(error)
        command = [sys.executable, str(BENCH), str(root / "bench.so")]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SECONDS, check=False
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
        mutants = [one for one in load_mutants(LIST) if not names or one.name in names]
        verdict, detail = run_mutant(None)
        if verdict != SURVIVED:
            raise Unusable(f"without any fault the Verilog fails: {detail}")
    except Unusable as error:
        print(f"mutate: {error}", file=sys.stderr)
        return 2
    caught = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutant, found in zip(mutants, pool.map(run_mutant, mutants), strict=True):
            outcome = Outcome(mutant, *found)
            print(f"{outcome.verdict:9}{mutant.name}: {mutant.what} ({mutant.file})")
            print(f"{'':9}{outcome.detail}", flush=True)
            caught += outcome.verdict == CAUGHT
    print(f"mutate: {caught} of {len(mutants)} mutants of the Verilog caught")
    return 0 if caught == len(mutants) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
