# SPDX-License-Identifier: Apache-2.0
"""What the vector unit refuses, that it then writes nothing, and what sanitisers say of it all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device_cases import Values
from e2train.device.accelerator import generated as hw
from vector_bench import SANITISE, Launch, library, move_launch, move_table, shape_registers


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    """Compiled once before the first test: a failed build is no example to shrink."""
    library()


def broken_tables() -> dict[str, np.ndarray]:
    good = move_table([(i % 2 == 1, i) for i in range(20)])
    tables = {name: good.copy() for name in ("lane", "group", "order", "source", "b", "start")}
    tables["lane"][1, 8 + 3] = 0x10
    tables["group"][-1, 0] = 7
    tables["order"] = good[::-1].copy()
    tables["source"][0, 2] = 2
    tables["b"][1, 2] = 5
    tables["start"][0, 4] = 0
    tables["short"] = good[:2]
    tables["late"] = good[2:]
    return tables


@pytest.mark.parametrize("name", broken_tables())
def test_move_refuses_a_broken_table(name: str) -> None:
    a, b = np.ones((20, 3, 2, 2), np.int16), np.ones((20, 3, 2, 2), np.int16)
    launch = move_launch(a, b, broken_tables()[name], a.shape)
    assert launch.run() == hw.ERRORS["argument"]
    assert not any(launch.counters[port] for port in ("column_beats", "output_beats"))


def test_move_from_b_needs_its_option() -> None:
    a = np.ones((20, 1, 1, 1), np.int8)
    launch = move_launch(a, None, move_table([(True, i) for i in range(20)]), a.shape)
    assert launch.run() == hw.ERRORS["argument"]


# ---- refusals -----------------------------------------------------------------------------------

GOOD: dict[str, dict[str, int]] = {
    "map": {"bits": 8, "shift": 3},
    "channel_sums": {},
    "sample_products": {},
    "pool": {"kernel_h": 1, "kernel_w": 1},
    "resample": {"filters": 5, "out_height": 2, "out_width": 2, "stride": 2, "inner_begin": 1},
    "move": {"bits": 16, "count": 2, "tile_outer": 20},
}
SIZE, MIN = hw.LIMITS_SIZE + 1, -(2**31)
GEOMETRY = [
    *((op, {name: value}) for op in GOOD for name in ("samples", "channels") for value in (0, -1)),
    *((op, {name: value}) for op in GOOD for name in ("height", "width") for value in (0, SIZE)),
    ("map", {"samples": hw.LIMITS_SAMPLES + 1}),
    ("pool", {"channels": hw.LIMITS_CHANNELS + 1}),
    *(("pool", {name: value}) for name in ("kernel_h", "kernel_w") for value in (0, MIN, SIZE)),
    *(("resample", {name: value}) for name in ("out_height", "out_width") for value in (0, 3)),
    *(("resample", {name: value}) for name in ("stride", "filters") for value in (0, MIN, SIZE)),
    ("resample", {"inner_begin": MIN}),
    ("move", {"tile_outer": 0}),
    ("move", {"tile_outer": hw.LIMITS_SAMPLES + 1}),
    ("move", {"options": 1 << hw.OPTIONS["second"]}),  # and no samples in b
]
ARGUMENT = [
    *((op, {"options": 1 << hw.OPTIONS["raw"]}) for op in GOOD),
    *((op, {"options": MIN}) for op in GOOD),
    *(("map", {"shift": value}) for value in (-1, 31, MIN)),
    *(("map", {"bits": value}) for value in (7, 17, 0)),
    ("map", {"count": -1}),
    ("map", {"options": 1 << hw.OPTIONS["mask8"] | 1 << hw.OPTIONS["mask16"]}),
    ("map", {"options": 1 << hw.OPTIONS["mask8"] | 1 << hw.OPTIONS["residual"]}),
    ("resample", {"options": 1 << hw.OPTIONS["up"] | 1 << hw.OPTIONS["spread"]}),
    *(("move", {"bits": value}) for value in (0, 9, 32)),
    *(("move", {"count": value}) for value in (0, MIN)),
]


@pytest.mark.parametrize(
    ("code", "operation", "change"),
    [("geometry", *case) for case in GEOMETRY]
    + [("argument", *case) for case in ARGUMENT]
    + [("operation", "map", {"operation": value}) for value in (0, 4, 11, MIN)],
)
def test_bad_arguments_write_nothing(code: str, operation: str, change: dict[str, int]) -> None:
    tensor = Values(3).stream(20, 3, 4, 4)
    launch = Launch(operation, **shape_registers(tensor), **GOOD[operation])
    for register in ("a_address", "b_address", "residual_address"):
        launch.reads_tensor(register, tensor)
    launch.reads("rows_address", np.zeros((3, 4), np.int32)).results(3 * 32)
    launch.writes("out_address", 4 * tensor.nbytes)
    launch.registers |= change
    assert launch.run() == hw.ERRORS[code]
    assert not any(launch.counters.values())


def test_ranges_do_not_wrap() -> None:
    """The largest tensor passes 2^32 bytes; its size must not be cut to 32 bits."""
    launch = Launch("map", samples=4096, channels=2048, height=4095, width=4095, bits=16)
    assert launch.ranges()[0][1] == 256 * 2048 * 4095 * 4095 * 32


@pytest.mark.skipif(SANITISE in os.environ, reason="runs the other tests under the sanitisers")
def test_sanitisers_find_nothing() -> None:
    def runtime(name: str) -> str:
        command = ["g++", f"-print-file-name={name}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    preloaded = f"{runtime('libasan.so')} {runtime('libstdc++.so')}"
    # CPython keeps memory until it exits: leaks are not looked for.
    checks = {"LD_PRELOAD": preloaded, "ASAN_OPTIONS": "detect_leaks=0", SANITISE: "1"}
    tests = [str(path) for path in sorted(Path(__file__).parent.glob("test_vector_*.py"))]
    command = [sys.executable, "-m", "pytest", "-qsx", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command,
        env=os.environ | checks,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
