# SPDX-License-Identifier: Apache-2.0
"""What holds for the source tree as a whole, and imports on a board without the extras."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("host", "energy", "hls", "bitstreams", "tests")
SOURCES = (".py", ".cpp", ".hpp", ".h", ".v", ".sv", ".tcl", ".toml")
LICENCE_LINE = "SPDX-License-Identifier: Apache-2.0"

BARE_BOARD = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "matplotlib", "sklearn", "scipy"}:
            raise ModuleNotFoundError(f"{name} is not installed on a board", name=name)

sys.meta_path.insert(0, Absent())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def sources():
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*"))]
    return [path for path in files if path.suffix in SOURCES and "egg-info" not in str(path)]


def import_on_a_bare_board(*names):
    environment = dict(os.environ, PYTHONPATH=f"{ROOT / 'host'}{os.pathsep}{ROOT / 'energy'}")
    command = [sys.executable, "-c", BARE_BOARD, *names]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_imports_need_no_extras():
    done = import_on_a_bare_board("e2train", "e2train.cli", "powermeter")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["torch", "matplotlib", "sklearn", "scipy"])
def test_the_bare_board_really_lacks_the_extras(name):
    done = import_on_a_bare_board(name)
    assert done.returncode == 1
    assert f"{name} is not installed on a board" in done.stderr


def test_every_source_file_names_its_licence():
    bare = [path for path in sources() if LICENCE_LINE not in path.open().readline()]
    assert not bare, "the first line lacks the licence: " + ", ".join(map(str, bare))


def test_there_are_sources_to_check():
    folders = {path.relative_to(ROOT).parts[0] for path in sources()}
    assert {"host", "energy", "tests"} <= folders


def test_every_folder_of_modules_is_a_package():
    """A folder of modules without __init__.py would be missing from an installed copy."""
    modules = [path for path in sources() if path.suffix == ".py"]
    packages = {path.parent for path in modules if path.is_relative_to(ROOT / "host")}
    packages |= {path.parent for path in modules if path.is_relative_to(ROOT / "energy")}
    assert not [str(path) for path in packages if not (path / "__init__.py").exists()]


def test_setup_reads_the_version():
    command = [sys.executable, "setup.py", "--quiet", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split()[-1:] == [installed_version()], done.stderr


def installed_version():
    import e2train

    return e2train.__version__


@pytest.fixture
def lint_imports(tmp_path):
    """The check of `make lint` on a copy of the packages."""
    pytest.importorskip("importlinter", reason="import-linter is not installed")
    for folder in ("host", "energy"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    packages = os.pathsep.join(str(tmp_path / folder) for folder in ("host", "energy"))
    command = [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"]

    def run():
        environment = dict(os.environ, PYTHONPATH=packages)
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )

    return run


@pytest.mark.parametrize(
    ("file", "line", "told"),
    [
        (
            "host/e2train/numerics/fixedpoint.py",
            "from e2train.cli import run",
            ["Floors of e2train BROKEN", "e2train.numerics is not allowed to import e2train.cli"],
        ),
        (
            "energy/powermeter/energy/clock.py",
            "import powermeter.cli.commands",
            [
                "Floors of powermeter BROKEN",
                "powermeter.energy is not allowed to import powermeter.cli",
            ],
        ),
        (
            "energy/powermeter/energy/clock.py",
            "import e2train.errors",
            ["powermeter knows nothing of networks BROKEN"],
        ),
    ],
)
def test_an_import_against_the_floors_is_found(lint_imports, tmp_path, file, line, told):
    kept = lint_imports()
    assert kept.returncode == 0 and "3 kept, 0 broken" in kept.stdout, kept.stdout
    with open(tmp_path / file, "a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    broken = lint_imports()
    assert broken.returncode == 1
    assert all(one in broken.stdout for one in told), broken.stdout
