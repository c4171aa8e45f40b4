# SPDX-License-Identifier: Apache-2.0
"""The vector unit's operations against int64 NumPy, in memory of which every byte is watched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_cases import Values
from e2train.device.accelerator import generated as hw
from reference_device import ReferenceDevice, clipped, let_through, peak_of, per_channel, rounded
from vector_bench import (
    Launch,
    blocked_size,
    groups,
    library,
    move_launch,
    move_table,
    shape_registers,
)

reference = ReferenceDevice()
SEEDS = st.integers(0, 2**32 - 1)
OK = hw.ERRORS["ok"]


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    """Compiled once before the first test: a failed build is no example to shrink."""
    library()


@st.composite
def shapes(draw: Any, most_side: int = 6) -> tuple[int, int, int, int]:
    """[N,C,H,W] with full, partly filled and single groups of samples."""
    samples = draw(st.sampled_from((1, 2, 15, 16, 17, 31, 33)))
    side = st.integers(1, most_side)
    return samples, draw(st.sampled_from((1, 2, 3, 5, 16))), draw(side), draw(side)


def coefficients(m: Any, n: Any, o: Any, channels: int) -> np.ndarray:
    table = np.zeros((channels, 4), np.int32)
    table[:, 0], table[:, 1], table[:, 2] = m, n, o
    return table


def run_map(
    a: np.ndarray,
    table: np.ndarray,
    *,
    options: tuple[str, ...] = (),
    extra: dict[str, np.ndarray] | None = None,
    **registers: int,
) -> tuple[np.ndarray, Launch]:
    """The result of operation `map`; `extra` places b_address, mask_address or residual_address."""
    dtype = np.int8 if registers["bits"] == 8 else np.int16
    launch = Launch("map", options, **shape_registers(a), **registers)
    launch.reads_tensor("a_address", a).reads("rows_address", table)
    for register, tensor in (extra or {}).items():
        launch.reads_tensor(register, tensor)
    launch.writes("out_address", blocked_size(a.shape, dtype)).results()
    assert launch.run() == OK
    return launch.tensor(a.shape, dtype), launch


def same(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got, expected)


# ---- map ----------------------------------------------------------------------------------------


@given(shape=shapes(), seed=SEEDS, shift=st.integers(0, 30), bits=st.integers(8, 16))
def test_map_is_a_line_a_channel(shape: Any, seed: int, shift: int, bits: int) -> None:
    values, channels = Values(seed), shape[1]
    a, b, residual = (values.stream(*shape) for _ in range(3))
    m, n = (values.factors(channels, 2**15 - 1) for _ in range(2))
    o = values.factors(channels, 2**31 - 1)
    options = [name for name in ("second", "residual", "rectify", "ceiling") if values.chance(0.5)]
    ceiling = int(values.random.integers(-5, 40_000))

    v = a.astype(np.int64) * per_channel(m) + per_channel(o)
    extra = {}
    if "second" in options:
        v, extra["b_address"] = v + b.astype(np.int64) * per_channel(n), b
    v = rounded(v, shift)
    if "residual" in options:
        v, extra["residual_address"] = v + residual, residual
    v = np.maximum(v, 0) if "rectify" in options else v
    v = np.minimum(v, ceiling) if "ceiling" in options else v

    got, launch = run_map(
        a,
        coefficients(m, n, o, channels),
        options=tuple(options),
        extra=extra,
        shift=shift,
        bits=bits,
        ceiling=ceiling,
    )
    same(got, clipped(v, bits))
    assert launch.counters["peak"] == peak_of(v)
    assert launch.counters["saturations"] == int(np.sum(clipped(v, bits) != v))


@given(shape=shapes(), seed=SEEDS, narrow=st.booleans(), limited=st.booleans())
def test_map_masks(shape: Any, seed: int, narrow: bool, limited: bool) -> None:
    values, channels = Values(seed), shape[1]
    g, output = values.stream(*shape), values.array(shape, np.int8 if narrow else np.int16)
    ceiling = int(values.random.choice((1, 2, 3, 127, 128, 32767, 40_000))) if limited else None
    option = "mask8" if narrow else "mask16"
    extra, count = {"mask_address": output}, ceiling or 0
    unit = coefficients(1, 0, 0, channels)
    got, _ = run_map(g, unit, options=(option,), extra=extra, bits=16, count=count)
    same(got, reference.mask(g, output, ceiling))

    offset = coefficients(3, 0, 1000, channels)  # what is masked is 0, offset or not
    got, launch = run_map(g, offset, options=(option,), extra=extra, bits=12, shift=2, count=count)
    v = rounded(3 * g.astype(np.int64) + 1000, 2) * let_through(output, ceiling)
    same(got, clipped(v, 12))
    assert launch.counters["peak"] == peak_of(v)


@given(shape=shapes(), seed=SEEDS, shift=st.integers(1, 30))
def test_map_serves_the_device_operations(shape: Any, seed: int, shift: int) -> None:
    values, channels = Values(seed), shape[1]
    y, g = values.stream(*shape), values.stream(*shape)
    m, limit = values.factors(channels, 2**15 - 1), 2**30 - 1 - 2 ** (shift - 1)
    o = values.factors(channels, limit)
    got, launch = run_map(y, coefficients(m, 0, o, channels), shift=shift, bits=8)
    expected = reference.normalise(y, m, o, shift)
    same(got, expected.tensor)
    assert launch.counters["peak"] == expected.peak

    a, b = (values.factors(channels, 2**14 - 1) for _ in range(2))
    line = coefficients(a, b, o, channels)
    got, launch = run_map(
        g, line, options=("second",), extra={"b_address": y}, shift=shift, bits=16
    )
    expected = reference.normalise_backward(g, y, a, b, o, shift)
    same(got, expected.tensor)
    assert launch.counters["peak"] == expected.peak

    ones = coefficients(1, 1, 0, channels)
    same(
        run_map(y, ones, options=("second",), extra={"b_address": g}, bits=16)[0],
        reference.add(y, g),
    )
    same(run_map(y, ones, bits=8, shift=shift % 16)[0], reference.narrow(y, shift % 16))


@pytest.mark.parametrize("bits", range(8, 17))
def test_map_at_the_edges_of_its_clips(bits: int) -> None:
    """Every value next to an end of the range, with each clip just inside it."""
    end = 2 ** (bits - 1)
    near = [edge + step for edge in (-end, 0, end - 10, end - 1) for step in range(-3, 4)]
    v = clipped(np.array(near), 16).reshape(1, 1, 4, 7)
    unit = coefficients(1, 0, 0, 1)
    for options, expected in (
        ((), v),
        (("rectify",), np.maximum(v, 0)),
        (("ceiling",), np.minimum(v, end - 10)),
        (("rectify", "ceiling"), np.minimum(np.maximum(v, 0), end - 10)),
    ):
        a = v.astype(np.int16)
        got, launch = run_map(a, unit, options=options, bits=bits, ceiling=end - 10)
        same(got, clipped(expected, bits))
        assert launch.counters["saturations"] == int(np.sum(clipped(expected, bits) != expected))


def test_map_at_the_extremes_of_its_registers() -> None:
    a = np.full((17, 2, 1, 3), -(2**15), np.int16)
    for sign in (-1, 1):
        table = coefficients(-(2**15), -(2**15), sign * (2**31 - 1), 2)
        got, launch = run_map(
            a, table, options=("second",), extra={"b_address": a}, bits=16, shift=0
        )
        exact = 2**31 + sign * (2**31 - 1)
        assert launch.counters["peak"] == exact
        same(got, np.full(a.shape, min(exact, 2**15 - 1)))


def test_most_channels() -> None:
    values, channels = Values(7), hw.LIMITS_CHANNELS
    y, g = values.stream(3, channels, 1, 1), values.stream(3, channels, 1, 1)
    m, o = values.factors(channels, 2**15 - 1), values.factors(channels, 2**28)
    got, _ = run_map(y, coefficients(m, 0, o, channels), shift=12, bits=8)
    same(got, reference.normalise(y, m, o, 12).tensor)
    launch = Launch("channel_sums", **shape_registers(y))
    launch.reads_tensor("a_address", g).reads_tensor("b_address", y).results(2 * channels)
    assert launch.run() == OK
    same(launch.sums(), np.concatenate(reference.gradient_sums(g, y)))


@given(shape=shapes(), options=st.sets(st.sampled_from(("second", "residual", "mask8"))))
def test_map_counts_its_beats(shape: Any, options: set[str]) -> None:
    if len(options & {"residual", "mask8"}) == 2:
        options = options - {"residual"}
    a = Values(1).stream(*shape)
    words, extra = groups(shape[0]) * shape[1] * shape[2] * shape[3], {}
    for option, register in (("second", "b"), ("residual", "residual"), ("mask8", "mask")):
        if option in options:
            extra[f"{register}_address"] = a.astype(np.int8) if option == "mask8" else a
    unit = coefficients(1, 1, 0, shape[1])
    _, launch = run_map(a, unit, options=tuple(options), extra=extra, bits=8)
    counters = launch.counters
    assert counters["column_beats"] == 4 * words
    assert counters["row_beats"] == 2 * shape[1] + (4 * words if "second" in options else 0)
    extra_beats = 4 * ("residual" in options) + 2 * ("mask8" in options)
    assert counters["extra_beats"] == extra_beats * words
    assert counters["output_beats"] == 2 * words


# ---- sums ---------------------------------------------------------------------------------------


@given(shape=shapes(), seed=SEEDS)
def test_channel_sums(shape: Any, seed: int) -> None:
    values = Values(seed)
    g, y = values.stream(*shape), values.stream(*shape)
    launch = Launch("channel_sums", **shape_registers(g))
    launch.reads_tensor("a_address", g).reads_tensor("b_address", y).results(2 * shape[1])
    assert launch.run() == OK
    same(launch.sums(), np.concatenate(reference.gradient_sums(g, y)))
    assert launch.counters["column_beats"] == launch.counters["row_beats"] == g_beats(shape)
    assert launch.counters["output_beats"] == 2 * shape[1]


def g_beats(shape: tuple[int, ...]) -> int:
    return 4 * groups(shape[0]) * shape[1] * shape[2] * shape[3]


@given(shape=shapes(), seed=SEEDS)
def test_sample_products(shape: Any, seed: int) -> None:
    values = Values(seed)
    g, after, before = (values.stream(*shape) for _ in range(3))
    launch = Launch("sample_products", **shape_registers(g))
    launch.reads_tensor("a_address", g).reads_tensor("b_address", after)
    launch.reads_tensor("residual_address", before).results(groups(shape[0]) * 16)
    assert launch.run() == OK
    expected = np.zeros(groups(shape[0]) * 16, np.int64)
    expected[: shape[0]] = reference.gate_products(g, after, before)
    same(launch.sums(), expected)
    for port in ("column_beats", "row_beats", "extra_beats"):
        assert launch.counters[port] == g_beats(shape)


@given(shape=shapes(9), seed=SEEDS, steps=st.tuples(st.integers(1, 10), st.integers(1, 10)))
def test_pool(shape: Any, seed: int, steps: tuple[int, int]) -> None:
    stream = Values(seed).stream(*shape)
    launch = Launch("pool", **shape_registers(stream), kernel_h=steps[0], kernel_w=steps[1])
    launch.reads_tensor("a_address", stream).results(groups(shape[0]) * shape[1] * 16)
    assert launch.run() == OK
    expected = np.zeros((groups(shape[0]) * 16, shape[1]), np.int64)
    for row in range(0, shape[2], steps[0]):
        for column in range(0, shape[3], steps[1]):
            expected[: shape[0]] += stream[:, :, row, column]
    sums = launch.sums().reshape(-1, shape[1], 16).transpose(0, 2, 1)
    same(sums.reshape(-1, shape[1]), expected)
    # A row of the grid is read from its first position to its last, in one burst.
    rows, row_words = -(-shape[2] // steps[0]), (shape[3] - 1) // steps[1] * steps[1] + 1
    assert launch.counters["column_beats"] == 4 * groups(shape[0]) * shape[1] * rows * row_words


# ---- resample -----------------------------------------------------------------------------------


def run_resample(
    source: np.ndarray, shape: tuple[int, ...], option: str | None = None, **registers: int
) -> np.ndarray:
    size = {"filters": shape[1], "out_height": shape[2], "out_width": shape[3]}
    options = () if option is None else (option,)
    launch = Launch("resample", options, **shape_registers(source), **size, **registers)
    launch.reads_tensor("a_address", source).writes("out_address", blocked_size(shape, np.int16))
    assert launch.results().run() == OK
    assert launch.counters["output_beats"] == g_beats(shape)
    return launch.tensor(shape, np.int16)


@given(shape=shapes(), seed=SEEDS, stride=st.integers(1, 3), added=st.integers(0, 7))
def test_resample_makes_shortcuts(shape: Any, seed: int, stride: int, added: int) -> None:
    values, channels = Values(seed), shape[1] + added
    stream = values.stream(*shape)
    small = shape[0], channels, -(-shape[2] // stride), -(-shape[3] // stride)
    got = run_resample(stream, small, stride=stride, inner_begin=added // 2)
    same(got, reference.shortcut_pad(stream, stride, channels))

    g = values.stream(*small)
    got = run_resample(g, shape, "up", stride=stride, inner_begin=-(added // 2))
    same(got, reference.shortcut_pad_backward(g, stride, *shape[1:]))

    flat = values.stream(*shape[:2])
    got = run_resample(flat[:, :, None, None], shape, "spread", stride=1)
    same(got, reference.spread(flat, *shape[2:]))


@given(
    shape=shapes(),
    seed=SEEDS,
    option=st.sampled_from((None, "up", "spread")),
    begin=st.integers(-20, 20),
    filters=st.integers(1, 20),
    stride=st.integers(1, 4),
    data=st.data(),
)
def test_resample_takes_any_window(
    shape: Any, seed: int, option: str | None, begin: int, filters: int, stride: int, data: Any
) -> None:
    source = Values(seed).stream(*shape)
    most = {
        None: lambda n: (n - 1) // stride + 1,
        "up": lambda n: n * stride,
        "spread": lambda n: 9,
    }
    sides = [data.draw(st.integers(1, most[option](n))) for n in shape[2:]]
    got = run_resample(
        source, (shape[0], filters, *sides), option, stride=stride, inner_begin=begin
    )
    expected = np.zeros((shape[0], filters, *sides), np.int16)
    for c, row, column in np.ndindex(filters, *sides):
        at = {None: (row * stride, column * stride), "spread": (0, 0)}.get(option)
        if option == "up" and row % stride == 0 and column % stride == 0:
            at = row // stride, column // stride
        if at is not None and 0 <= c - begin < shape[1]:
            expected[:, c, row, column] = source[:, c - begin, at[0], at[1]]
    same(got, expected)


# ---- move ---------------------------------------------------------------------------------------


def run_move(a: np.ndarray, b: np.ndarray | None, origins: list[tuple[bool, int]]) -> np.ndarray:
    shape = (len(origins), *a.shape[1:])
    launch = move_launch(a, b, move_table(origins), shape)
    assert launch.run() == OK
    return launch.tensor(shape, a.dtype)


DTYPES = st.sampled_from((np.int8, np.int16))


@given(shape=shapes(), seed=SEEDS, dtype=DTYPES, data=st.data())
def test_move_takes_and_merges(shape: Any, seed: int, dtype: Any, data: Any) -> None:
    values, n = Values(seed), shape[0]
    base = values.array(shape, dtype)
    chosen = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=n, unique=True))
    samples = np.sort(chosen)
    taken = run_move(base, None, [(False, int(i)) for i in samples])
    same(taken, reference.take(base, samples))

    part = values.array((len(samples), *shape[1:]), dtype)
    origins = [(False, i) for i in range(n)]
    for row, sample in enumerate(samples):
        origins[sample] = (True, row)
    same(run_move(base, part, origins), reference.merge(base, samples, part))


@settings(max_examples=10)
@given(seed=SEEDS, dtype=DTYPES, words=st.sampled_from((511, 512, 513, 1024, 1300)))
def test_move_works_in_chunks(seed: int, dtype: Any, words: int) -> None:
    assert hw.BUFFERS_CHUNK == 512, "the sizes above lie around multiples of the chunk"
    values = Values(seed)
    a, b = values.array((37, words, 1, 1), dtype), values.array((18, words, 1, 1), dtype)
    origins = [(bool(values.chance(0.5)), int(values.random.integers(18))) for _ in range(33)]
    expected = np.stack([(b if from_b else a)[i] for from_b, i in origins])
    same(run_move(a, b, origins), expected)


def test_move_leaves_lanes_without_a_sample_at_zero() -> None:
    """A table that fills lanes beyond the last sample is followed only for those that exist."""
    a = np.full((16, 1, 1, 1), -1, np.int16)
    table = move_table([(False, i) for i in range(16)])
    launch = move_launch(a, None, table, (5, 1, 1, 1))
    assert launch.run() == OK
    same(launch.tensor((5, 1, 1, 1), np.int16), a[:5])


@given(seed=SEEDS, stays=st.sets(st.integers(0, 32), min_size=1))
def test_move_starts_each_group_from_zeros(seed: int, stays: set[int]) -> None:
    """Samples that no entry fills are zero, whatever the group before them held."""
    values = Values(seed)
    a = values.stream(33, 3, 2, 2)
    table = move_table([(False, i) for i in range(33)])
    for sample in stays:
        table[sample // 16, 8 + sample % 16] = 0x80
    launch = move_launch(a, None, table, a.shape)
    assert launch.run() == OK
    expected = a.copy()
    expected[list(stays)] = 0
    same(launch.tensor(a.shape, np.int16), expected)
