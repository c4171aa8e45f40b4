# SPDX-License-Identifier: Apache-2.0
"""The allocator of shared memory: aligned, disjoint, never null, and nothing is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2train.device.accelerator.limits import LaunchRefused
from e2train.device.accelerator.memory import Arena
from e2train.errors import UserError

SIZE = 1 << 14


@given(
    base=st.sampled_from((0, 64, 4096, 100)),
    gap=st.sampled_from((0, 1, 64)),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 3000)), max_size=60),
)
def test_any_order_of_allocating_and_freeing(base, gap, steps):
    arena, live = Arena(base, SIZE, gap), {}
    whole = arena.allocate(SIZE - 256)
    arena.free(whole)
    for take, number in steps:
        if take:
            try:
                address = arena.allocate(number)
            except LaunchRefused:
                continue
            assert address % 64 == 0 and address > 0
            assert base <= address and address + number + gap <= base + SIZE
            for other, size in live.items():
                assert address + number + gap <= other or other + size + gap <= address
            live[address] = number
        elif live:
            address = sorted(live)[number % len(live)]
            del live[address]
            arena.free(address)
    for address in live:
        arena.free(address)
    assert arena.in_use == 0
    assert arena.allocate(SIZE - 256) == whole


def test_full_memory_is_one_line_that_names_the_limit():
    arena = Arena(0, 4096)
    arena.allocate(3000)
    with pytest.raises(UserError, match=r"device memory: 2000 bytes wanted, but 3008 of 4096"):
        arena.allocate(2000)
    assert arena.in_use == arena.most_in_use == 3008


def test_freeing_twice_is_an_error():
    arena = Arena(0, 4096)
    address = arena.allocate(1)
    arena.free(address)
    with pytest.raises(KeyError):
        arena.free(address)
