# SPDX-License-Identifier: Apache-2.0
"""A kernel started with bad registers reports a code and writes nothing, whatever the host thinks.

The register file is written directly, past the driver and its checks.
"""

import numpy as np
import pytest

from csim_device import WatchedTransport, watched_transport
from e2train.device.accelerator import generated as hw

MEMORY = 1 << 20
A, B, ROWS, MASK, RESIDUAL, CARRY, OUT, SCRATCH, RESULT = (
    0x10000 * place for place in range(1, 10)
)
SMALL = {"samples": 2, "channels": 3, "height": 5, "width": 6}
LAYER = SMALL | {
    "filters": 4,
    "out_height": 5,
    "out_width": 6,
    "kernel_h": 3,
    "kernel_w": 3,
    "stride": 1,
    "padding": 1,
    "tile_outer": 16,
    "tile_inner": 3,
    "tile_h": 2,
    "tile_w": 3,
    "shift": 4,
    "a_address": A,
    "rows_address": ROWS,
    "out_address": OUT,
    "result_address": RESULT,
}
WEIGHT = LAYER | {"tile_outer": 2, "tile_inner": 16, "b_address": B, "rows_address": 0, "shift": 0}
GOOD = {
    "convolve": LAYER,
    "input_gradient": LAYER | {"tile_inner": 4},
    "weight_gradient": WEIGHT,
    "psg_gradient": WEIGHT | {"scratch_address": SCRATCH, "beta_q": 9, "x_msb": 4, "g_msb": 10},
    "map": SMALL
    | {"bits": 8, "shift": 3, "a_address": A, "rows_address": ROWS}
    | {"out_address": OUT, "result_address": RESULT},
    "channel_sums": SMALL | {"a_address": A, "b_address": B, "result_address": RESULT},
    "sample_products": SMALL
    | {"a_address": A, "b_address": B, "residual_address": RESIDUAL, "result_address": RESULT},
    "pool": SMALL | {"kernel_h": 1, "kernel_w": 2, "a_address": A, "result_address": RESULT},
    "resample": SMALL
    | {"filters": 5, "out_height": 3, "out_width": 3, "stride": 2, "inner_begin": 1}
    | {"a_address": A, "out_address": OUT, "result_address": RESULT},
    "move": SMALL
    | {"bits": 16, "count": 1, "tile_outer": 2, "a_address": A, "rows_address": ROWS}
    | {"out_address": OUT, "result_address": RESULT},
}
RAW, CARRIES, SECOND = (1 << hw.OPTIONS[name] for name in ("raw", "carry", "second"))
MASKS = {"options": 1 << hw.OPTIONS["mask16"], "mask_address": MASK}

# operation, registers that differ from GOOD, error
BAD = [
    ("convolve", {"operation": 0}, "operation"),
    ("convolve", {"operation": 11}, "operation"),
    ("convolve", {"operation": -1}, "operation"),
    *(("convolve", {name: 0}, "geometry") for name in ("samples", "channels", "filters", "height")),
    *(("convolve", {name: -1}, "geometry") for name in ("samples", "channels", "width")),
    ("convolve", {"samples": 4097}, "geometry"),
    ("convolve", {"channels": 2049, "tile_inner": 1}, "geometry"),
    ("convolve", {"filters": 2049}, "geometry"),
    ("convolve", {"height": 4096, "out_height": 4096}, "geometry"),
    ("convolve", {"out_height": 6}, "geometry"),
    ("convolve", {"out_width": 5}, "geometry"),
    ("convolve", {"kernel_h": 8}, "geometry"),
    ("convolve", {"kernel_w": 0}, "geometry"),
    ("convolve", {"stride": 0}, "geometry"),
    ("convolve", {"stride": 3}, "geometry"),
    ("convolve", {"padding": 3}, "geometry"),
    ("convolve", {"padding": -1}, "geometry"),
    ("convolve", {"depthwise": 1}, "geometry"),
    ("convolve", {"tile_outer": 8}, "tile"),
    ("convolve", {"tile_outer": 0}, "tile"),
    ("convolve", {"tile_outer": 512}, "tile"),
    ("convolve", {"tile_inner": 0}, "tile"),
    ("convolve", {"tile_inner": 4}, "tile"),
    ("convolve", {"inner_begin": 1}, "tile"),
    ("convolve", {"inner_begin": -1}, "tile"),
    ("convolve", {"tile_h": 0}, "tile"),
    ("convolve", {"tile_h": 6}, "tile"),
    ("convolve", {"tile_w": 7}, "tile"),
    ("convolve", {"shift": 48}, "argument"),
    ("convolve", {"shift": -16}, "argument"),
    ("convolve", {"options": 1 << hw.OPTIONS["residual"]}, "argument"),
    ("convolve", {"options": 1 << 30}, "argument"),
    ("convolve", {"a_address": 0}, "null"),
    ("convolve", {"rows_address": 0}, "null"),
    ("convolve", {"out_address": 0}, "null"),
    ("convolve", {"result_address": 0}, "null"),
    ("convolve", {"options": CARRIES}, "null"),
    ("convolve", {"a_address": A + 32}, "alignment"),
    ("convolve", {"out_address": OUT + 8}, "alignment"),
    ("convolve", {"result_address": RESULT + 63}, "alignment"),
    ("convolve", {"out_address": A}, "overlap"),
    ("convolve", {"out_address": A + 1408}, "overlap"),
    ("convolve", {"out_address": A - 3776}, "overlap"),
    ("convolve", {"result_address": OUT + 3776}, "overlap"),
    ("convolve", {"rows_address": RESULT + 128}, "overlap"),
    ("convolve", {"options": RAW, "result_address": OUT + 15296}, "overlap"),
    ("convolve", {"options": CARRIES | RAW, "carry_address": OUT}, "overlap"),
    ("convolve", {"a_address": 0xFFFFFFC0}, "geometry"),
    ("input_gradient", {"options": MASKS["options"]}, "null"),
    ("input_gradient", MASKS | {"mask_address": OUT + 64}, "overlap"),
    ("input_gradient", {"options": 1 << hw.OPTIONS["residual"]}, "null"),
    ("input_gradient", {"options": SECOND}, "argument"),
    ("input_gradient", {"tile_inner": 5}, "tile"),
    ("weight_gradient", {"tile_inner": 8}, "tile"),
    ("weight_gradient", {"tile_outer": 0}, "tile"),
    ("weight_gradient", {"b_address": 0}, "null"),
    ("weight_gradient", {"out_address": B}, "overlap"),
    ("weight_gradient", {"options": RAW}, "argument"),
    ("psg_gradient", {"beta_q": 65537}, "argument"),
    ("psg_gradient", {"beta_q": -1}, "argument"),
    ("psg_gradient", {"x_msb": 1}, "argument"),
    ("psg_gradient", {"x_msb": 8}, "argument"),
    ("psg_gradient", {"g_msb": 16}, "argument"),
    ("psg_gradient", {"scratch_address": 0}, "null"),
    ("psg_gradient", {"scratch_address": A}, "overlap"),
    ("psg_gradient", {"scratch_address": RESULT - 4288}, "overlap"),
    ("map", {"channels": 2049}, "geometry"),
    ("map", {"bits": 7}, "argument"),
    ("map", {"bits": 17}, "argument"),
    ("map", {"shift": 31}, "argument"),
    ("map", {"shift": -1}, "argument"),
    ("map", {"rows_address": 0}, "null"),
    ("map", {"options": SECOND}, "null"),
    ("map", {"options": RAW}, "argument"),
    ("map", {"out_address": A}, "overlap"),
    ("channel_sums", {"width": 0}, "geometry"),
    ("channel_sums", {"b_address": B + 2}, "alignment"),
    ("channel_sums", {"result_address": B}, "overlap"),
    ("sample_products", {"residual_address": 0}, "null"),
    ("pool", {"kernel_h": 0}, "geometry"),
    ("pool", {"result_address": A + 64}, "overlap"),
    ("resample", {"stride": 0}, "geometry"),
    ("resample", {"out_height": 4}, "geometry"),
    ("resample", {"filters": 0}, "geometry"),
    ("move", {"bits": 9}, "argument"),
    ("move", {"count": 0}, "argument"),
    ("move", {"rows_address": 0}, "null"),
    ("move", {"out_address": A}, "overlap"),
]


@pytest.fixture(scope="module")
def transport() -> WatchedTransport:
    watched = watched_transport(MEMORY)
    watched.memory[:] = 0
    # a move of both samples to where they are
    entry = (1 << 33).to_bytes(8, "little") + bytes([0, 1] + [0x80] * 14)
    watched.memory[ROWS : ROWS + 24] = np.frombuffer(entry, np.uint8)
    return watched


def started(transport: WatchedTransport, operation: str, changed: dict[str, int]) -> int:
    told = {"operation": hw.OPERATIONS[operation]} | GOOD[operation] | changed
    for name, offset in hw.OFFSETS.items():
        transport.write_register(offset, told.get(name, 0) & 0xFFFFFFFF)
    transport.start()
    return transport.read_register(hw.REGISTERS_ERROR)


@pytest.mark.parametrize("operation", GOOD)
def test_the_registers_that_the_others_differ_from_are_good(transport, operation):
    transport.memory[RESULT : RESULT + 128] = 0xA5
    assert started(transport, operation, {}) == hw.ERRORS_OK
    header = transport.memory[RESULT : RESULT + 128].view(np.int64)
    assert header[hw.RESULT_OUTPUT_BEATS] >= 16


@pytest.mark.parametrize(
    ("operation", "changed", "error"), BAD, ids=[f"{o}-{c}" for o, c, _ in BAD]
)
def test_bad_registers(transport, operation, changed, error):
    before = transport.memory.copy()
    assert started(transport, operation, changed) == hw.ERRORS[error]
    # a refused launch is how a host asks what the kernel is
    assert transport.read_register(hw.REGISTERS_ABI_VERSION) == hw.ABI_VERSION
    assert transport.read_register(hw.REGISTERS_CONFIGURATION_HASH) == hw.CONFIGURATION_HASH
    assert np.array_equal(transport.memory, before)
