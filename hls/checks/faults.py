# SPDX-License-Identifier: Apache-2.0
"""Fault check: faults of driver, shell and bus, seeded one at a time, must each fail a board test.

    python faults.py [NAME...]

Every fault of faults.toml goes into a copy of the checkout, where the tests on the simulated board
then run until one fails. Ends with 1 if a fault is found by none, breaks the tests otherwise, or
names text that its file no longer has exactly once.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mutate import BROKEN, CAUGHT, SURVIVED, Mutant, Outcome, Unusable, load_mutants, mutated
from sources import HLS

ROOT = HLS.parent
LIST = HLS / "checks/faults.toml"
COPIED = ("host", "hls", "tests", "energy", "pyproject.toml")
TESTS = ("launch", "trouble", "training")  # quick ones first
SECONDS = 900.0
FAILED = re.compile(r"^(?:FAILED|ERROR) tests/hardware/board/(?:\w+)\.py::(\S+)", re.MULTILINE)


def copy_checkout(root: Path, folder: Path) -> None:
    """What the tests need, without what they leave behind."""
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for name in COPIED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=leave)
        else:
            shutil.copy2(source, folder / name)


def run_tests(folder: Path) -> tuple[str, str]:
    """A verdict and its detail: the test that failed."""
    files = [f"tests/hardware/board/test_board_{name}.py" for name in TESTS]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider"]
    path = [str(folder / "host"), str(folder / "energy")]
    try:
        done = subprocess.run(
            [*command, *files],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return CAUGHT, f"the tests did not end within {SECONDS:.0f} s"
    if done.returncode == 0:
        if "skipped" in done.stdout:
            return BROKEN, "the simulated board's tests are skipped here"
        return SURVIVED, "every test passes"
    failed = FAILED.search(done.stdout)
    if done.returncode == 1 and failed:
        return CAUGHT, f"by {failed.group(1)}"
    lines = (done.stdout + done.stderr).strip().splitlines() or ["nothing was printed"]
    return BROKEN, f"pytest ended with {done.returncode}: {lines[-1]}"


def outcome(fault: Mutant, base: Path) -> Outcome:
    """Seed one fault into a copy of `base` and run the tests."""
    with tempfile.TemporaryDirectory(prefix="fault-") as name:
        folder = Path(name)
        try:
            text = mutated(fault, base)
        except Unusable as error:
            return Outcome(fault, BROKEN, str(error))
        copy_checkout(base, folder)
        (folder / fault.file).write_text(text, "utf-8")
        return Outcome(fault, *run_tests(folder))


def check(faults: list[Mutant]) -> int:
    """Print each fault's outcome as it is known; returns how many are caught.

    Works on a copy: the checkout may change meanwhile. Raises Unusable if it fails without a fault.
    """
    caught = 0
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        base = Path(name)
        copy_checkout(ROOT, base)
        verdict, detail = run_tests(base)
        if verdict != SURVIVED:
            raise Unusable(f"without any fault the tests fail: {detail}")
        for fault in faults:
            found = outcome(fault, base)
            caught += found.verdict == CAUGHT
            print(f"{found.verdict:9}{fault.name}: {fault.what} ({Path(fault.file).name})")
            print(f"{'':9}{found.detail}", flush=True)
    return caught


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="only these faults")
    given = parser.parse_args(arguments)
    try:
        faults = [one for one in load_mutants(LIST) if not given.names or one.name in given.names]
        caught = check(faults)
    except Unusable as error:
        print(f"faults: {error}", file=sys.stderr)
        return 2
    print(f"faults: {caught} of {len(faults)} faults caught")
    return 0 if caught == len(faults) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
