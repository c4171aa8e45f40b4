# SPDX-License-Identifier: Apache-2.0
"""Mutation check: small faults, seeded one at a time, must each be found by a golden vector.

    python mutate.py --build BUILD --vectors VECTORS [NAME...]

Every fault of mutants.toml goes into a copy of the accelerator's folder, which is built and run on
the vectors, small ones first. Ends with 1 if a fault is found by no vector, does not compile, or
names text that its file no longer has exactly once.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sources import HLS, Missing, ap_types

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LIST = HLS / "checks/mutants.toml"
COPIED = ("Makefile", "include", "src", "tb")
VARIANT = "mutant"
OUTPUT_BYTES = 16 << 20  # a stream that is read while empty warns without end
LEAST_SECONDS = 60.0
CAUGHT, SURVIVED, BROKEN = "caught", "SURVIVED", "BROKEN"


class Unusable(Exception):
    """The check itself cannot run; the text is one line."""


@dataclass(frozen=True)
class Mutant:
    """One fault: `old`, which `file` (relative to hls/) has exactly once, becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    what: str


@dataclass(frozen=True)
class Outcome:
    """CAUGHT, SURVIVED or BROKEN, and by what or why."""

    mutant: Mutant
    verdict: str
    detail: str


def load_mutants(path: Path = LIST) -> list[Mutant]:
    """The faults of a list. Raises Unusable for one that has unknown or missing keys."""
    with open(path, "rb") as stream:
        entries = tomllib.load(stream)["mutant"]
    try:
        mutants = [Mutant(**entry) for entry in entries]
    except TypeError as error:
        raise Unusable(f"{path}: {error}") from error
    names = [mutant.name for mutant in mutants]
    if len(set(names)) != len(names):
        raise Unusable(f"{path}: two mutants have one name")
    return mutants


def mutated(mutant: Mutant, hls: Path) -> str:
    """The file's text with the fault. Raises Unusable unless it has `old` exactly once."""
    path = hls / mutant.file
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if (found := text.count(mutant.old)) != 1:
        raise Unusable(f"{mutant.file} has its text {found} times, not once")
    return text.replace(mutant.old, mutant.new)


def copy_tree(hls: Path, build: Path, folder: Path) -> None:
    """Sources and objects to folder/hls and folder/build, with their times."""
    (folder / "hls").mkdir()
    for part in COPIED:
        copy = shutil.copytree if (hls / part).is_dir() else shutil.copy2
        copy(hls / part, folder / "hls" / part)
    built = folder / "build" / VARIANT
    shutil.copytree(build / VARIANT, built)
    for listed in built.rglob("*.d"):  # "OBJECT: SOURCES", the object by its old path
        made = Path("../build") / VARIANT / listed.relative_to(built).with_suffix(".o")
        sources = listed.read_text(encoding="utf-8").partition(":")[2]
        listed.write_text(f"{made}:{sources}", encoding="utf-8")


def make(folder: Path) -> Path:
    """Build what is out of date in a copied tree; returns its bench. Raises Unusable."""
    target = f"../build/{VARIANT}/bench"
    # A fault may leave a variable unused: warnings are for the sources as they are.
    settings = ["BUILD=../build", "WARNINGS=-w", f"AP_TYPES={ap_types()}"]
    given = {**os.environ, "MAKEFLAGS": ""}
    command = ["make", "-C", "hls", target, *settings]
    done = subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise Unusable(f"does not build: {lines[0] if lines else 'make failed'}")
    return folder / "build" / VARIANT / "bench"


@dataclass(frozen=True)
class Checker:
    """Seeds faults into copies of the tree in `base` and runs them on the list `vectors`."""

    base: Path
    vectors: Path
    seconds: float

    def outcome(self, mutant: Mutant) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="mutant-") as name:
            folder = Path(name)
            try:
                text = mutated(mutant, self.base / "hls")
                copy_tree(self.base / "hls", self.base / "build", folder)
                (folder / "hls" / mutant.file).write_text(text, "utf-8")
                bench = make(folder)
            except Unusable as error:
                return Outcome(mutant, BROKEN, str(error))
            return Outcome(mutant, *run_bench(bench, self.vectors, self.seconds))


def _limit_output() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT_BYTES, OUTPUT_BYTES))


def run_bench(bench: Path, vectors: Path, seconds: float) -> tuple[str, str]:
    """A verdict and its detail: the bench's line, or how it ended otherwise."""
    with tempfile.TemporaryFile() as output:
        try:
            status = subprocess.run(
                [bench, f"@{vectors}"],
                stdout=output,
                stderr=subprocess.DEVNULL,
                timeout=seconds,
                preexec_fn=_limit_output,
            ).returncode
        except subprocess.TimeoutExpired:
            return CAUGHT, f"did not end within {seconds:.0f} s"
        output.seek(0)
        lines = output.read().decode(errors="replace").splitlines()
    if status == 0:
        return SURVIVED, "every vector passes"
    if status < 0:
        return CAUGHT, f"ended by signal {-status}"
    if status == 1 and lines:
        return CAUGHT, f"by {lines[-1].rpartition('/')[2]}"  # without the folders of the vector
    return BROKEN, f"the bench ended with {status}"


def small_first(vectors: Path, folder: Path) -> Path:
    """A list of the folder's vectors, so that most faults are found at once."""
    files = sorted(vectors.resolve().rglob("*.e2gv"), key=lambda path: path.stat().st_size)
    if not files:
        raise Unusable(f"{vectors}: no golden vectors")
    names = folder / "list"
    names.write_text("".join(f"{path}\n" for path in files), encoding="utf-8")
    return names


def check(mutants: list[Mutant], hls: Path, build: Path, vectors: Path) -> list[Outcome]:
    """Print each mutant's outcome as it is known, and return them all.

    Works on a copy: the sources may change meanwhile. Raises Unusable if they fail without a fault.
    """
    with tempfile.TemporaryDirectory(prefix="mutate-") as name:
        base = Path(name)
        names = small_first(vectors, base)
        copy_tree(hls, build, base)
        bench = make(base)
        begin = time.monotonic()
        verdict, detail = run_bench(bench, names, 3600.0)
        if verdict != SURVIVED:
            raise Unusable(f"without any fault the sources fail: {detail}")
        checker = Checker(base, names, max(LEAST_SECONDS, 10 * (time.monotonic() - begin)))
        outcomes = []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for outcome in pool.map(checker.outcome, mutants):
                mutant = outcome.mutant
                print(f"{outcome.verdict:9}{mutant.name}: {mutant.what} ({mutant.file})")
                print(f"{'':9}{outcome.detail}", flush=True)
                outcomes.append(outcome)
    return outcomes


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="mutate", description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True, help="holds mutant/bench")
    parser.add_argument("--vectors", type=Path, required=True, help="folder of *.e2gv")
    parser.add_argument("names", nargs="*", help="only these mutants")
    given = parser.parse_args(arguments)
    try:
        mutants = load_mutants()
        if given.names:
            mutants = [mutant for mutant in mutants if mutant.name in given.names]
        outcomes = check(mutants, HLS, given.build.resolve(), given.vectors)
    except (Unusable, Missing) as error:
        print(f"mutate: {error}", file=sys.stderr)
        return 2
    caught = sum(outcome.verdict == CAUGHT for outcome in outcomes)
    print(f"mutate: {caught} of {len(outcomes)} mutants caught")
    return 0 if caught == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
