# SPDX-License-Identifier: Apache-2.0
"""Where each element lies in the accelerator's memory, element by element."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2train.device.accelerator import layout

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 5), st.integers(1, 3), st.integers(1, 4))


def numbered(shape, dtype=np.int16):
    count = int(np.prod(shape))
    return (np.arange(count) % 251 - 125).astype(dtype).reshape(shape)


@given(shape=SIZES, dtype=st.sampled_from((np.int8, np.int16, np.int64)))
def test_a_word_holds_one_element_of_16_samples(shape, dtype):
    n, c, h, w = shape
    array = numbered(shape, dtype)
    groups = (n + 15) // 16
    words = np.full((groups, c, h, w, 16), 99, dtype)
    assert layout.blocked_shape(shape) == words.shape
    assert layout.blocked_bytes(shape, dtype) == words.nbytes
    layout.block(array, words)
    flat = words.ravel()
    for i, at in itertools.product(range(groups * 16), np.ndindex(c, h, w)):
        word = ((i // 16 * c + at[0]) * h + at[1]) * w + at[2]
        assert flat[word * 16 + i % 16] == (array[(i, *at)] if i < n else 0)
    back = layout.unblock(words, n)
    assert back.dtype == dtype and back.flags.c_contiguous
    assert np.array_equal(back, array)


@given(k=st.integers(1, 35), c=st.integers(1, 35), r=st.integers(1, 3), s=st.integers(1, 3))
def test_weights_are_words_of_16_rows(k, c, r, s):
    w = numbered((k, c, r, s), np.int8)
    forward, backward = layout.forward_rows(w).ravel(), layout.backward_rows(w, False).ravel()
    assert len(forward) == (k + 15) // 16 * 16 * c * r * s
    assert len(backward) == (c + 15) // 16 * 16 * k * r * s
    for fk, fc, fr, fs in np.ndindex((k + 15) // 16 * 16, c, r, s):
        at = (((fk // 16 * c + fc) * r + fr) * s + fs) * 16 + fk % 16
        assert forward[at] == (w[fk, fc, fr, fs] if fk < k else 0)
    for fc, fk, fr, fs in np.ndindex((c + 15) // 16 * 16, k, r, s):
        at = (((fc // 16 * k + fk) * r + fr) * s + fs) * 16 + fc % 16
        assert backward[at] == (w[fk, fc, fr, fs] if fc < c else 0)


@given(c=st.integers(1, 35), r=st.integers(1, 3))
def test_depthwise_weights_are_words_of_16_channels(c, r):
    w = numbered((c, 1, r, 2), np.int8)
    for words in (layout.forward_rows(w).ravel(), layout.backward_rows(w, True).ravel()):
        for fc, fr, fs in np.ndindex((c + 15) // 16 * 16, r, 2):
            at = ((fc // 16 * r + fr) * 2 + fs) * 16 + fc % 16
            assert words[at] == (w[fc, 0, fr, fs] if fc < c else 0)


def test_coefficients_are_four_integers_a_channel():
    table = layout.coefficients(np.array([5, -6]), 1, np.array([1 << 29, -7]), 2)
    expected = bytes.fromhex("05000000 01000000 00000020 00000000 faffffff 01000000 f9ffffff")
    assert table.tobytes() == expected + bytes(4)


def moved(table, a, b, samples):
    """What the entries of a table do to samples, as docs of the operation say."""
    out = np.zeros(((samples + 15) // 16, 16), np.int64)
    entries = np.frombuffer(table.tobytes(), np.uint8).reshape(-1, 24)
    for entry in entries:
        key = int.from_bytes(entry[:8].tobytes(), "little")
        group, source_group = key & 0xFFFF, key >> 16 & 0xFFFF
        if key >> 33 & 1:
            out[group] = 0
        source = b if key >> 32 & 1 else a
        padded = np.zeros(-(-len(source) // 16) * 16, np.int64)
        padded[: len(source)] = source
        for lane, chosen in enumerate(entry[8:]):
            if chosen != 0x80:
                out[group, lane] = padded[source_group * 16 + chosen]
    return out.ravel()


@given(data=st.data(), samples=st.integers(1, 70))
def test_a_table_of_moves(data, samples):
    count_a, count_b = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 70))
    from_b = np.array(data.draw(st.lists(st.booleans(), min_size=samples, max_size=samples)))
    origins = np.array([data.draw(st.integers(0, (count_b if b else count_a) - 1)) for b in from_b])
    table = layout.move_table(origins, from_b)
    a, b = np.arange(1, count_a + 1), -np.arange(1, count_b + 1)
    found = moved(table, a, b, samples)
    assert np.array_equal(
        found[:samples], np.where(from_b, b[origins % count_b], a[origins % count_a])
    )
    assert not found[samples:].any()
    destinations = table["key"] & 0xFFFF
    firsts = (table["key"] >> np.uint64(33) & np.uint64(1)).astype(bool)
    assert (np.diff(destinations.astype(int)) >= 0).all()
    assert np.array_equal(firsts, np.diff(destinations.astype(int), prepend=-1) > 0)


@pytest.mark.parametrize("samples", [1, 16, 17])
def test_taking_all_samples_needs_one_entry_a_group(samples):
    table = layout.move_table(np.arange(samples), np.zeros(samples, bool))
    assert len(table) == (samples + 15) // 16
