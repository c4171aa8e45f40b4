# SPDX-License-Identifier: Apache-2.0
"""Building csim: once, whole or not at all, and one clear line where something is missing."""

import ctypes
import shutil
import subprocess
import sys
import tempfile

import pytest

from csim_device import watched_transport
from e2train import cli
from e2train.device import open_device
from e2train.device.accelerator import csim_build
from e2train.device.accelerator import generated as hw
from e2train.device.accelerator.csim_build import CsimUnavailable
from e2train.errors import UserError

KERNEL = """
#include "ap_int.h"
extern "C" unsigned e2train_csim(const unsigned *registers, unsigned long *) {
    return ap_uint<8>(registers[0]) + VALUE;
}
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A small checkout with a kernel that answers at once, and a cache folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    root = tmp_path / "checkout"
    (root / "hls/src/generated").mkdir(parents=True)
    (root / "hls/include").mkdir()
    write(root, 7)
    return root


def write(root, value):
    source = root / "hls/src/generated/kernel.cpp"
    source.write_text(f"#define VALUE {value}\n{KERNEL}", encoding="utf-8")


def answer(library):
    registers = (ctypes.c_uint32 * hw.REGISTERS_WORDS)(35)
    return library.e2train_csim(ctypes.addressof(registers), None)


def load(root):
    csim_build.load.cache_clear()
    return csim_build.load(root)


@pytest.fixture(autouse=True)
def forget():
    yield
    csim_build.load.cache_clear()


def needs_headers():
    try:
        csim_build.ap_types()
    except CsimUnavailable as error:
        pytest.skip(str(error))


def test_it_is_built_once_and_again_when_a_source_changes(checkout, monkeypatch):
    needs_headers()
    assert answer(load(checkout)) == 42
    compile_all = csim_build.compile_kernel
    monkeypatch.setattr(csim_build, "compile_kernel", lambda *given: pytest.fail("built again"))
    assert answer(load(checkout)) == 42
    monkeypatch.setattr(csim_build, "compile_kernel", compile_all)
    write(checkout, 8)
    assert answer(load(checkout)) == 43
    kept = sorted(path.suffix for path in (checkout.parent / "cache/e2train").iterdir())
    assert kept == [".lock", ".so", ".so"], "nothing but whole libraries and the lock"


def test_processes_that_need_it_at_once_build_it_once(checkout):
    needs_headers()
    tell = "import sys; from pathlib import Path; "
    tell += "from e2train.device.accelerator import csim_build as c; "
    tell += "made = c.compile_kernel; "
    tell += "c.compile_kernel = lambda *given: (print('built'), made(*given)); "
    tell += "c.load(Path(sys.argv[1]))"
    command = [sys.executable, "-c", tell, str(checkout)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    shown = "".join(child.communicate(timeout=120)[0] for child in children)
    assert [child.returncode for child in children] == [0, 0, 0]
    assert shown.split() == ["built"]


def test_a_header_that_changes_counts(checkout):
    needs_headers()
    before = csim_build._key("g++", checkout)
    (checkout / "hls/include/width.hpp").write_text("#define W 8\n", encoding="utf-8")
    added = csim_build._key("g++", checkout)
    (checkout / "hls/include/width.hpp").write_text("#define W 9\n", encoding="utf-8")
    assert len({before, added, csim_build._key("g++", checkout)}) == 3


def one_line(root, says):
    with pytest.raises(CsimUnavailable, match=says) as raised:
        load(root)
    assert isinstance(raised.value, UserError) and "\n" not in str(raised.value)


def test_no_checkout(tmp_path):
    needs_headers()
    one_line(tmp_path, r"device csim needs the checkout's C\+\+: no .*/hls/src/\*\.cpp")


def test_no_headers(checkout, monkeypatch):
    monkeypatch.setattr(csim_build, "find_spec", lambda name: None)
    one_line(checkout, r"needs the ap_types headers of hls4ml: pip install 'e2train\[hls\]'")


def test_no_compiler(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    one_line(checkout, r"device csim: no C\+\+ compiler")


def test_a_source_that_does_not_compile(checkout):
    needs_headers()
    write(checkout, "unknown_name")
    one_line(checkout, r"device csim: .*error: .unknown_name. was not declared")
    assert [path.name for path in (checkout.parent / "cache/e2train").iterdir()] == ["csim.lock"]


def test_a_cache_that_cannot_be_written_to(checkout, monkeypatch):
    needs_headers()
    (checkout.parent / "cache").write_text("a file in its place", encoding="utf-8")
    assert answer(load(checkout)) == 42


def test_the_command_says_it_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(csim_build, "find_spec", lambda name: None)
    csim_build.load.cache_clear()
    assert cli.run(["device", "selftest", "--device", "csim"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("e2train: device csim needs the ap_types")
    assert cli.run(["device", "list"]) == 0
    assert "csim" in capsys.readouterr().out


def test_csim_has_no_backends():
    with pytest.raises(UserError, match="backend 'torch': device csim has none"):
        open_device("csim", backend="torch")


def test_list_names_csim_without_building_it(monkeypatch, capsys):
    needs_headers()
    monkeypatch.setattr(csim_build, "load", lambda: pytest.fail("built"))
    assert cli.run(["device", "list"]) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if "csim" in line)
    assert "yes" in row and shutil.which("g++") is not None


def test_bench_prints_every_pass(capsys, monkeypatch):
    from e2train.bench import csim as bench
    from e2train.device import Geometry

    watched_transport(1 << 17)
    monkeypatch.setattr(bench, "LAYERS", {"small": Geometry(16, 4, 4, 16, (3, 3), 1, 1, 1)})
    assert cli.run(["bench", "csim", "--batch", "16"]) == 0
    shown = capsys.readouterr().out
    assert "MMAC/s" in shown and all(name.split()[0] in shown for name in bench.PASSES)
    (row,) = (line for line in shown.splitlines() if "small" in line)
    speeds = [float(cell) for cell in row.split("│")[2:-1]]
    assert len(speeds) == 4 and min(speeds) > 0
