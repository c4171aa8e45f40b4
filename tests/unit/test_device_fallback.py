# SPDX-License-Identifier: Apache-2.0
"""What stands behind the emulator where something is missing, and how its kernels come to be."""

import subprocess
import sys
import tempfile

import numpy as np
import pytest

from device_cases import device
from e2train import device as device_package
from e2train.device import Geometry, build, open_device
from e2train.device.emulator import library, memory_pool
from e2train.device.emulator.memory_pool import MemoryPool
from e2train.errors import UserError
from reference_device import convolved

GEOMETRY = Geometry(5, 6, 7, 9, (3, 3), 1, 1, 1)


@pytest.fixture
def fresh_library(monkeypatch, tmp_path):
    """`load` forgets what it loaded, now and afterwards, and keeps builds in `tmp_path`."""
    device("native")
    key = library._key(build.compiler(), library.FLAG_SETS[0])
    kernels = build.home_cache() / f"kernels-{key}.so"
    library.load.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield kernels
    library.load.cache_clear()


def no_compiler(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)


def kept_in(folder):
    return sorted((path.name for path in folder.iterdir()), key=lambda name: name.endswith(".so"))


def compiler_script(folder, body):
    """A stand-in for g++ that does `body`, with $target the file to write."""
    script = folder / "compiler"
    script.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = --version ]; then echo stand-in 1.0; exit; fi\n'
        f'echo called >> "{folder}/calls"\n'
        'while [ "$1" != -o ]; do shift; done; target="$2"\n'
        f"{body}\n",
        encoding="utf-8",
    )
    script.chmod(0o755)
    return str(script)


def test_auto_takes_the_native_kernels():
    device("native")
    with open_device("emulator") as dev:
        assert dev.name.startswith("emulator (native: ")


def test_without_a_compiler_auto_falls_back_with_one_line(monkeypatch, fresh_library, capsys):
    no_compiler(monkeypatch)
    pytest.importorskip("torch")
    x = np.ones((1, 5, 6, 7), np.int8)
    w = np.ones((9, 5, 3, 3), np.int8)
    with open_device("emulator") as dev:
        assert dev.name == "emulator (torch, cpu)"
        assert np.array_equal(dev.conv_forward(x, w, padding=1), convolved(x, w, GEOMETRY))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "falls back to torch" in said and "no C++ compiler" in said


def test_without_a_compiler_or_torch_there_is_numpy(monkeypatch, fresh_library, capsys):
    no_compiler(monkeypatch)
    monkeypatch.setattr(device_package, "find_spec", lambda name: None)
    with open_device("emulator") as dev:
        assert dev.name == "emulator (numpy)"
    assert "falls back to numpy" in capsys.readouterr().err
    for backend in ("torch", "cuda"):
        with pytest.raises(UserError, match=f"backend '{backend}' needs torch"):
            open_device("emulator", backend=backend)


def test_native_by_name_says_why_it_cannot_be_had(monkeypatch, fresh_library):
    no_compiler(monkeypatch)
    with pytest.raises(UserError, match="backend 'native': no C\\+\\+ compiler"):
        open_device("emulator", backend="native")


def test_a_failing_compiler_is_quoted(monkeypatch, fresh_library, tmp_path):
    script = compiler_script(tmp_path, 'echo "lanes.hpp:1: error: out of luck" >&2; exit 1')
    monkeypatch.setenv("CXX", script)
    with pytest.raises(UserError, match=r"backend 'native': .*error: out of luck"):
        open_device("emulator", backend="native")


def test_a_library_that_does_not_load_is_not_kept(monkeypatch, fresh_library, tmp_path):
    monkeypatch.setenv("CXX", compiler_script(tmp_path, 'echo nonsense > "$target"'))
    with pytest.raises(UserError, match="backend 'native'"):
        open_device("emulator", backend="native")
    assert kept_in(tmp_path / "cache" / "e2train") == ["kernels.lock"]


def test_kernels_are_built_once_and_kept(monkeypatch, fresh_library, tmp_path):
    monkeypatch.setenv("CXX", compiler_script(tmp_path, f'cp "{fresh_library}" "$target"'))
    for _ in range(2):
        library.load.cache_clear()
        assert open_device("emulator", backend="native").name.startswith("emulator (native: ")
    assert (tmp_path / "calls").read_text().count("called") == 1
    lock, kernels = kept_in(tmp_path / "cache" / "e2train")
    assert lock == "kernels.lock" and kernels.endswith(".so")


def test_without_a_writable_cache_kernels_are_built_for_this_process(
    monkeypatch, fresh_library, tmp_path
):
    (tmp_path / "cache").write_text("a file where the cache folder should be")
    monkeypatch.setenv("CXX", compiler_script(tmp_path, f'cp "{fresh_library}" "$target"'))
    x, w = np.full((1, 5, 6, 7), -128, np.int8), np.full((9, 5, 3, 3), 127, np.int8)
    with open_device("emulator", backend="native") as dev:
        assert np.array_equal(dev.conv_forward(x, w, padding=1), convolved(x, w, GEOMETRY))


def test_changed_sources_or_flags_are_another_library(monkeypatch, tmp_path):
    compiler = build.compiler()
    key = library._key(compiler, ())
    assert library._key(compiler, ("-O1",)) != key
    for path in library.SOURCES.glob("*.[ch]pp"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(library, "SOURCES", tmp_path)
    assert library._key(compiler, ()) == key
    with open(tmp_path / "lanes.hpp", "a", encoding="utf-8") as stream:
        stream.write("// changed\n")
    assert library._key(compiler, ()) != key


def test_unknown_names():
    with pytest.raises(UserError, match="unknown device 'board': expected one of emulator, csim"):
        open_device("board")
    with pytest.raises(UserError, match="unknown backend 'gpu': expected one of auto, native"):
        open_device("emulator", backend="gpu")


def test_the_native_emulator_needs_no_torch():
    """In a process where torch cannot be imported."""
    device("native")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from e2train.device import open_device\n"
        "import numpy as np\n"
        "dev = open_device('emulator')\n"
        "assert dev.name.startswith('emulator (native'), dev.name\n"
        "x, w = np.ones((1, 1, 3, 3), np.int8), np.ones((1, 1, 3, 3), np.int8)\n"
        "assert dev.conv_forward(x, w).item() == 9\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# ---- torch's floats ----


def test_float32_is_taken_only_where_it_is_proven_exact():
    torch = pytest.importorskip("torch")
    from e2train.device.emulator.torch_product import exact_dtype

    assert exact_dtype(2**24) is torch.float32
    assert exact_dtype(2**24 + 1) is torch.float64
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert exact_dtype(1) is torch.float64
    finally:
        torch.set_float32_matmul_precision(before)


def test_autocast_does_not_narrow_products():
    torch = pytest.importorskip("torch")
    x = np.full((1, 5, 6, 7), 127, np.int8)
    w = np.full((9, 5, 3, 3), 125, np.int8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = device("torch").conv_forward(x, w, padding=1)
    assert np.array_equal(y, convolved(x, w, GEOMETRY))


# ---- memory ----


def test_memory_of_dead_arrays_is_used_again():
    pool = MemoryPool()
    shape = (memory_pool.SMALLEST,)
    first = pool.empty(shape, np.int16)
    second = pool.empty(shape, np.int16)
    assert not np.shares_memory(first, second)
    where = first.__array_interface__["data"][0]
    view = first.reshape(-1, 2)[1:]
    del first
    assert pool.empty(shape, np.int16).__array_interface__["data"][0] != where  # view lives on
    del view
    again = pool.empty((shape[0] // 4, 4), np.int16)
    assert again.__array_interface__["data"][0] == where
    assert again.flags.c_contiguous and again.flags.writeable and again.dtype == np.int16


def test_close_gives_memory_back():
    pool = MemoryPool()
    kept = pool.empty((memory_pool.SMALLEST,), np.int8)
    del kept
    assert sum(map(len, pool._free.values())) == 1
    pool.clear()
    assert sum(map(len, pool._free.values())) == 0


@pytest.mark.parametrize("size", [1, 7, 8, 9, 1000, 2**20 - 1, 2**20, 2**20 + 1, 3_000_001])
def test_size_classes_waste_little(size):
    rounded = memory_pool._size_class(size)
    assert size <= rounded <= size * 9 / 8
