# SPDX-License-Identifier: Apache-2.0
"""The C++ test bench by itself: it must find every wrong integer, byte and file.

Its accelerator is a function that copies `count` bytes and can be told to make mistakes.
"""

import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2train.device.accelerator import generated as hw

HLS = Path(__file__).resolve().parents[2] / "hls"

COPY = """
#include <cstdint>
#include <cstring>
#include "e2train/generated/hardware.hpp"
extern "C" std::uint32_t e2train_csim(const std::uint32_t *registers, std::uint64_t *memory) {
    unsigned char *bytes = reinterpret_cast<unsigned char *>(memory);
    std::memcpy(bytes + registers[e2::REGISTERS_OUT_ADDRESS / 4],
                bytes + registers[e2::REGISTERS_A_ADDRESS / 4], registers[e2::REGISTERS_COUNT / 4]);
    return registers[e2::REGISTERS_BITS / 4];
}
"""
SOURCE, TARGET, MEMORY = 2048, 512, 4096
FILL = 0xA5


def launch(operation="convolve", error=0, returned=0, count=0, source=SOURCE, target=TARGET):
    registers = np.zeros(hw.REGISTERS_WORDS, np.uint32)
    registers[hw.REGISTERS_OPERATION // 4] = getattr(hw, f"OPERATIONS_{operation.upper()}")
    registers[hw.REGISTERS_COUNT // 4] = count
    registers[hw.REGISTERS_A_ADDRESS // 4] = source
    registers[hw.REGISTERS_OUT_ADDRESS // 4] = target
    registers[hw.REGISTERS_BITS // 4] = returned
    return struct.pack("<I", len(registers)) + registers.tobytes() + struct.pack("<I", error)


def region(address, array):
    return struct.pack("<II", address, array.nbytes) + array.tobytes()


def expectation(name, address, array):
    dims = [*array.shape, *[0] * (6 - array.ndim)]
    head = struct.pack("<24sIII6I", name.encode(), address, array.itemsize, array.ndim, *dims)
    return head + array.tobytes()


def listed(parts):
    return struct.pack("<I", len(parts)) + b"".join(parts)


def golden(launches, regions=(), expectations=(), scratch=(), memory=MEMORY):
    ranges = [struct.pack("<II", *span) for span in scratch]
    head = b"E2GV0001" + listed(launches) + struct.pack("<I", memory)
    return head + listed(regions) + listed(expectations) + listed(ranges)


def copied(array, expected=None, **extra):
    """Golden vectors of a copy of `array`, expected to arrive as `expected`."""
    expected = array if expected is None else expected
    return golden(
        [launch(count=array.nbytes)],
        [region(SOURCE, array)],
        [expectation("out", TARGET, expected)],
        **extra,
    )


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A function that runs the bench on files' contents or on arguments."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "copy.cpp").write_text(COPY, encoding="utf-8")
    sources = [folder / "copy.cpp", *(HLS / "tb").glob("*.cpp")]
    flags = ["-std=c++14", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["g++", *flags, f"-I{HLS / 'include'}", *sources, "-o", folder / "bench"]
    subprocess.run(command, check=True)

    def run(*given):
        arguments = []
        for number, one in enumerate(given):
            if isinstance(one, bytes):
                (folder / f"{number}.e2gv").write_bytes(one)
                one = folder / f"{number}.e2gv"
            arguments.append(str(one))
        return subprocess.run([folder / "bench", *arguments], capture_output=True, text=True)

    return run


def passes(done, files, launches, integers):
    line = f"{files} files, {launches} launches, {integers} integers: all equal"
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout == f"{line}, no other byte changed\n"


def fails(done, text):
    (line,) = done.stdout.splitlines()
    assert done.returncode == 1 and done.stderr == ""
    assert line.endswith(text), line


def refuses(done, text):
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and done.stdout == ""
    assert text in line, line


def test_equal_integers_pass(bench):
    halves = np.array([[1, -2], [3, -32768]], np.int16)
    words = np.array([-(2**63), 2**63 - 1], np.int64)
    passes(bench(copied(halves)), 1, 1, 4)
    passes(bench(copied(halves), copied(words), copied(np.zeros((2, 0), np.int8))), 3, 3, 6)


@settings(max_examples=40)
@given(
    kind=st.sampled_from((np.int8, np.int16, np.int32, np.int64)),
    shape=st.lists(st.integers(1, 3), min_size=0, max_size=4).map(tuple),
    seed=st.integers(0, 2**32 - 1),
)
def test_one_wrong_integer_is_found_wherever_it_is(bench, kind, shape, seed):
    random = np.random.default_rng(seed)
    limits = np.iinfo(kind)
    array = random.integers(limits.min, limits.max, shape, kind, endpoint=True)
    array = np.asarray(array, kind)
    expected = array.copy()
    at = tuple(int(random.integers(size)) for size in shape)
    expected[at] ^= kind(1) << kind(random.integers(8 * array.itemsize - 1))
    index = np.ravel_multi_index(at, shape) if shape else 0
    address = TARGET + index * array.itemsize
    fails(
        bench(copied(array, expected)),
        f"launch 1 (convolve): out{list(at)}: expected {expected[at]}, found {array[at]} "
        f"at address {address}",
    )


def test_the_first_mismatch_is_the_one_told(bench):
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    fails(bench(copied(array, array * 2)), "out[0, 1]: expected 2, found 1 at address 516")
    done = bench(copied(array), copied(array, array + 1), b"not reached")
    fails(done, "1.e2gv: launch 1 (convolve): out[0, 0]: expected 1, found 0 at address 512")


def test_a_byte_outside_the_outputs_must_not_change(bench):
    array = np.arange(4, dtype=np.int8)
    half = np.array([0, 1], np.int8)
    part = golden(
        [launch("pool", count=4)], [region(SOURCE, array)], [expectation("out", TARGET, half)]
    )
    text = "memory[514]: belongs to no output and changed from 165 to 2"
    fails(bench(part), f"launch 1 (pool): {text}")
    free = [(TARGET + 2, 2)]
    passes(
        bench(
            golden(
                [launch(count=4)],
                [region(SOURCE, array)],
                [expectation("out", TARGET, half)],
                free,
            )
        ),
        1,
        1,
        2,
    )


def test_memory_is_filled_where_nothing_is_loaded(bench):
    filled = np.full(4, FILL, np.uint8).view(np.int8)
    passes(bench(golden([launch(count=4)], [], [expectation("out", TARGET, filled)])), 1, 1, 4)


def test_error_codes_are_compared(bench):
    refused = launch("map", error=3, returned=3)
    passes(bench(golden([refused, launch()])), 1, 2, 0)
    wrong = golden([refused, launch("move", error=2, returned=5)])
    fails(bench(wrong), "launch 2 (move): returned error 5, expected 2")


def test_launches_run_one_after_the_other(bench):
    array = np.array([7, -7], np.int64)
    launches = [launch(count=16), launch(count=16, source=TARGET, target=TARGET + 64)]
    expected = [expectation("first", TARGET, array), expectation("second", TARGET + 64, array)]
    passes(bench(golden(launches, [region(SOURCE, array)], expected)), 1, 2, 4)


def test_a_write_past_memory_is_caught(bench):
    """Memory ends where the file says: the sanitizer sees the first byte after it."""
    done = bench(golden([launch(count=16, target=MEMORY - 8)]))
    assert done.returncode not in (0, 2)
    assert "heap-buffer-overflow" in done.stderr


def test_files_cut_short_are_refused_wherever_they_are_cut(bench):
    whole = copied(np.arange(3, dtype=np.int16), scratch=[(SOURCE, 8)])
    passes(bench(whole), 1, 1, 3)
    for size in [*range(24), *range(340, len(whole), 3), len(whole) - 1]:
        refuses(bench(whole[:size]), "0.e2gv: ends within ")


@pytest.mark.parametrize(
    "text, content",
    {
        "not golden vectors": b"E2GV0002" + bytes(64),
        "4 bytes after the last scratch range": golden([launch()]) + bytes(4),
        "memory must be whole 64-bit beats": golden([launch()], memory=1020),
        "region 1 does not lie in memory": golden(
            [launch()], [region(MEMORY - 2, np.zeros(2, np.int16))]
        ),
        "expectation 2 does not lie in memory": golden(
            [launch()],
            [],
            [expectation("a", 0, np.zeros(1, np.int8)), expectation("b", MEMORY - 4, np.zeros(1))],
        ),
        "scratch range 1 does not lie in memory": golden([launch()], scratch=[(2**32 - 1, 2)]),
        "expectation 1 has elements of 3 bytes": golden(
            [launch()], [], [struct.pack("<24sIII6I", b"x", 0, 3, 0, *[0] * 6)]
        ),
        "expectation 1 has 7 dimensions": golden(
            [launch()], [], [struct.pack("<24sIII6I", b"x", 0, 1, 7, *[1] * 6)]
        ),
        "expectation 1 is larger than memory can be": golden(
            [launch()], [], [struct.pack("<24sIII6I", b"x", 0, 1, 2, 2**31, 2**31, 0, 0, 0, 0)]
        ),
        f"register file of 4 words, the accelerator has {hw.REGISTERS_WORDS}": golden(
            [struct.pack("<6I", 4, 0, 0, 0, 0, 0)]
        ),
    }.items(),
)
def test_files_that_make_no_sense_are_refused(bench, text, content):
    refuses(bench(content), f"0.e2gv: {text}")


def test_usage_errors_are_one_line(bench, tmp_path):
    refuses(bench(), "usage: bench VECTORS.e2gv... | @LIST")
    refuses(bench(tmp_path / "none.e2gv"), "none.e2gv: cannot be opened")
    refuses(bench(f"@{tmp_path}/none"), "none: cannot be opened")
    refuses(bench(tmp_path), "cannot be read")


def test_a_list_names_files(bench, tmp_path):
    array = np.ones(5, np.int8)
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(copied(array))
    (tmp_path / "list").write_text(f"{tmp_path}/a\n\n{tmp_path}/b\n", encoding="utf-8")
    passes(bench(f"@{tmp_path}/list"), 2, 2, 10)
    (tmp_path / "list").write_text("\n", encoding="utf-8")
    refuses(bench(f"@{tmp_path}/list"), "usage")
