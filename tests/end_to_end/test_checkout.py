# SPDX-License-Identifier: Apache-2.0
"""The Makefiles in a folder whose name has a space, for a user without a home directory."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("Makefile", "experiments", "hls", "pyproject.toml", "requirements", "setup.py", "tests")
Make = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, with a .venv that is this one's but for its stamp."""
    folder = tmp_path_factory.mktemp("users") / "dir with space"
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for part in (*PARTS, "host", "energy"):
        copy = shutil.copy2 if (ROOT / part).is_file() else shutil.copytree
        copy(ROOT / part, folder / part, **({} if copy is shutil.copy2 else {"ignore": ignored}))
    (folder / ".venv").mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.name != ".installed":
            (folder / ".venv" / entry.name).symlink_to(entry)
    (folder / ".venv/.installed").touch()
    return folder


@pytest.fixture(scope="module")
def make(checkout: Path) -> Make:
    """Runs make there, without HOME; what would be installed is an error."""
    packages = os.pathsep.join(str(checkout / folder) for folder in ("host", "energy"))
    dropped = ("HOME", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "PIP=false", *arguments], cwd=checkout, env=kept | {"PYTHONPATH": packages},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return run


def test_demo(checkout: Path, make: Make) -> None:
    """Its own recipe on one experiment, made short."""
    experiment = checkout / "experiments/demo/psg.toml"
    text = experiment.read_text()
    assert "iterations = 600" in text
    experiment.write_text(text.replace("iterations = 600", "iterations = 6"))
    done = make("demo", "DEMO=psg")
    assert done.returncode == 0, done.stderr
    (cell,) = json.loads((checkout / "runs/demo/summary.json").read_text())["cells"]
    assert cell["name"] == "psg" and cell["iterations_offered"] == 6
    assert (checkout / "runs/demo/report.html").stat().st_size > 10_000


def test_a_kernel_source_compiles(checkout: Path, make: Make) -> None:
    """With the vendor's headers, which lie below the folder with the space."""
    made = "../build/hls/mutant/src/vector_unit.o"
    done = make("-C", "hls", made, "PYTHON=../.venv/bin/python")
    assert done.returncode == 0, done.stderr
    assert (checkout / "hls" / made).stat().st_size > 1000


@pytest.mark.parametrize("target", ["test", "lint", "demo", "csim", "mutate"])
def test_nothing_is_installed_again(make: Make, target: str) -> None:
    done = make("--dry-run", target)
    assert done.returncode == 0, done.stderr
    assert "false install" not in done.stdout


def test_vitis_is_given_the_folder_as_one_word(checkout: Path, make: Make) -> None:
    done = make("--dry-run", "csynth")
    assert done.returncode == 0, done.stderr
    words = [shlex.split(line) for line in done.stdout.splitlines() if "vitis.sh" in line]
    assert ["scripts/vitis.sh", "csynth", str(checkout / "build/hls/vitis")] in words
