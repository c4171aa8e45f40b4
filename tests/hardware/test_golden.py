# SPDX-License-Identifier: Apache-2.0
"""Golden vectors through the C++ bench and the accelerator, as `make csim` runs them, but fewer."""

import subprocess
from pathlib import Path

import pytest

from csim_device import watched_transport
from e2train.device.accelerator.csim_build import load
from e2train.network.models import network_spec
from golden_vectors import NETWORKS, main, network_geometries, small, write

HLS = Path(__file__).resolve().parents[2] / "hls"
DRAWN = 6


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """Every special case and some drawn ones."""
    return write(tmp_path_factory.mktemp("vectors"), small(DRAWN))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """The bench, linked with the library that device csim has built already."""
    watched_transport()  # skips where csim cannot be built
    load.cache_clear()  # the first call may have bound it before it moved into the cache
    library = load()._name
    if not Path(library).exists():
        pytest.skip("the cache folder cannot be written: there is no library to link with")
    program = tmp_path_factory.mktemp("bench") / "bench"
    sources = sorted((HLS / "tb").glob("*.cpp"))
    flags = ["-std=c++14", "-O1", f"-I{HLS / 'include'}"]
    command = ["g++", *flags, *sources, library, f"-Wl,-rpath,{Path(library).parent}"]
    subprocess.run([*command, "-o", program], check=True)
    return program


def run(bench, files):
    return subprocess.run([bench, *map(str, files)], capture_output=True, text=True, check=False)


def test_all_integers_are_equal(bench, vectors):
    done = run(bench, vectors)
    assert done.returncode == 0, done.stdout[-2000:]
    assert done.stdout.startswith(f"{len(vectors)} files, ")


def test_every_operation_is_in_them(vectors):
    """The operation register of every launch, read back from the files."""
    from e2train.device.accelerator import generated as hw

    seen = set()
    for path in vectors:
        content = path.read_bytes()
        size = 4 * (1 + hw.REGISTERS_WORDS + 1)
        for number in range(int.from_bytes(content[8:12], "little")):
            at = 12 + number * size + 4 + hw.REGISTERS_OPERATION
            seen.add(int.from_bytes(content[at : at + 4], "little"))
    assert set(hw.OPERATIONS.values()) <= seen


@pytest.mark.parametrize(
    "name", ["special-0-0", "special-1-2", "pass-100-4", "pass-100-5", "sums-101"]
)
def test_one_changed_bit_in_the_file_is_found(bench, vectors, tmp_path, name):
    """Expected integers are compared to the last one: the file's last expected bytes change."""
    (path,) = [path for path in vectors if path.stem == name]
    content = bytearray(path.read_bytes())
    scratch = 0
    while int.from_bytes(content[-4 - 8 * scratch :][:4], "little") != scratch:
        scratch += 1
    content[-5 - 8 * scratch] ^= 0x40
    (tmp_path / "changed.e2gv").write_bytes(content)
    done = run(bench, [tmp_path / "changed.e2gv"])
    assert done.returncode == 1 and "expected" in done.stdout


def test_every_layer_of_the_networks_is_among_the_geometries():
    found = set(network_geometries())
    for name in NETWORKS:
        spec = network_spec(name, (3, 32, 32), 10)
        assert {unit.geometry for unit in spec.units()} <= found
        assert spec.classifier in found


def test_writing_leaves_no_old_vectors(tmp_path):
    (tmp_path / "old.e2gv").write_bytes(b"")
    (tmp_path / "notes").write_bytes(b"")
    (path,) = write(tmp_path, iter([("new", b"content")]))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["new.e2gv", "notes"]
    assert path.read_bytes() == b"content"


def test_usage(capsys):
    assert main([]) == 2
    assert capsys.readouterr().err == "usage: golden_vectors.py FOLDER\n"
