# SPDX-License-Identifier: Apache-2.0
"""The MAC core against the reference and the C model: many visits, in the fast bench."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
from core_bench import check, launch, suite
from core_reference import MODES, SUM_BYTES, expected, launch_cycles, sums_of, words_of
from core_stimuli import draw_visit, largest_visit

from e2train.device import build
from e2train.device.accelerator import csim_build, rtl_build
from e2train.device.accelerator.config import CHECKOUT
from e2train.errors import UserError

MODEL = Path(__file__).resolve().parent / "c_model.cpp"


@pytest.fixture(scope="module")
def bench():
    try:
        return rtl_build.load_bench()
    except UserError as missing:
        if "pip install" in str(missing):
            pytest.skip(str(missing))
        raise


@pytest.fixture(scope="module")
def c_model():
    """The function of src/mac_core.cpp, compiled with nothing else of the accelerator."""
    try:
        flags = csim_build.kernel_flags()
    except UserError as missing:
        pytest.skip(str(missing))
    compiler = build.compiler()
    sources = [CHECKOUT / rtl_build.REPLACED, MODEL]

    def compile_(folder, target):
        jobs = [(path, (*flags, "-O1")) for path in sources]
        csim_build.link(compiler, csim_build.compile_objects(compiler, jobs, folder), target)

    files = [*sources, *sorted((CHECKOUT / "hls/include").rglob("*.hpp"))]
    hashed = build.key(compiler, flags, CHECKOUT, files)
    library = build.built_library("core-model", hashed, compile_, load_model)
    library.core_c_model.restype = ctypes.c_int64
    return library


def load_model(path):
    return ctypes.CDLL(str(path))


def of_c_model(library, visits):
    words = words_of(visits)
    count = sum(visit.words for visit in visits)
    sums = np.zeros((count, SUM_BYTES), np.uint8)
    data = [array.__array_interface__["data"][0] for array in (words.steps, words.rows)]
    columns = words.columns.__array_interface__["data"][0]
    came = library.core_c_model(
        ctypes.c_int64(len(words.steps)),
        *map(ctypes.c_void_p, (*data, columns)),
        ctypes.c_int64(count),
        ctypes.c_void_p(sums.__array_interface__["data"][0]),
    )
    assert came == count
    return sums_of(sums)


@pytest.mark.parametrize("seed", [1, 2])
def test_all_that_a_fault_can_be_seen_by(bench, seed):
    assert suite(bench, seed) > 5000


def test_the_c_model_agrees(c_model):
    """One launch of everything, and each mode by itself."""
    random = np.random.default_rng(5)
    modes = [[mode] * 10 for mode in MODES] + [list(random.choice(list(MODES), 60))]
    for chosen in modes:
        visits = [draw_visit(random, mode) for mode in chosen]
        wanted = np.concatenate([expected(visit) for visit in visits])
        assert np.array_equal(of_c_model(c_model, visits), wanted)


def test_bounds_are_reached(bench):
    """The largest sums of each lane, positive and negative, for many steps."""
    random = np.random.default_rng(3)
    for mode in MODES:
        visits = [draw_visit(random, mode, steps=200, kind="extreme") for _ in range(6)]
        check(bench, [largest_visit(mode, 200), *visits])


def test_a_wide_convolution_costs_its_steps(bench):
    """Visits of 144 steps, as of 16 channels under a 3x3 kernel: one cycle a step."""
    random = np.random.default_rng(4)
    visits = [draw_visit(random, "along packed", steps=144, words=16) for _ in range(10)]
    visits = [type(v)(v.mode, v.words, v.rows, v.first, v.second) for v in visits]
    found = launch(bench, visits)
    assert found.cycles == launch_cycles(visits) == 10 * 144 + 13 + 16
    assert found.first_word == 144 + 13
