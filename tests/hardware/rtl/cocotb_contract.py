# SPDX-License-Identifier: Apache-2.0
"""Breaks the contract of the streams once, as RTL_VIOLATION says: the simulation is to stop.

Run inside the simulator by test_core_cocotb.py, once for each violation.
"""

import os

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from core_reference import words_of
from core_stimuli import draw_visit

from e2train.device.accelerator import generated as hw


def flags(words, clear=0, put=0, step=0):
    words.steps[step] = words.steps[step] & ~np.uint32(clear) | np.uint32(put)


def halves(words, at, value):
    words.columns[0, at] = np.uint16(value & 0xFFFF)


# By name: the visit's mode, and what is done to its words.
VIOLATIONS = {
    "first inside a visit": ("across plain", lambda w: flags(w, put=1 << hw.CORE_FIRST, step=1)),
    "flags changed": ("across plain", lambda w: flags(w, put=1 << hw.CORE_OTHER, step=1)),
    "end without last": ("along plain", lambda w: flags(w, put=1 << hw.CORE_END)),
    "17 words": ("along packed", lambda w: flags(w, 31 << hw.CORE_WORDS, 17 << hw.CORE_WORDS)),
    "a run of 5 products": ("along packed", lambda w: flags(w, 1 << hw.CORE_RUN_LAST, 0, 3)),
    "row 3 holds -128": ("along packed", lambda w: w.rows.__setitem__((0, 3 * 16), 128)),
    "column 2 holds 512": ("across packed", lambda w: halves(w, 2, 512)),
    "a slice of -8": ("across packed", lambda w: w.rows.__setitem__((0, 20), 0x80)),
}


@cocotb.test()
async def the_contract_is_broken(dut):
    mode, change = VIOLATIONS[os.environ["RTL_VIOLATION"]]
    words = words_of([draw_visit(np.random.default_rng(1), mode, steps=6, words=1, kind="sparse")])
    if mode == "along packed":  # of four and two products
        words.steps[:] &= ~np.uint32(1 << hw.CORE_RUN_FIRST | 1 << hw.CORE_RUN_LAST)
        words.steps[[0, 4]] |= 1 << hw.CORE_RUN_FIRST
        words.steps[[3, 5]] |= 1 << hw.CORE_RUN_LAST
    change(words)
    if os.environ["RTL_VIOLATION"] == "a run of 5 products":
        words.steps[4] &= ~np.uint32(1 << hw.CORE_RUN_FIRST)
    Clock(dut.ap_clk, 10, "ns").start()
    dut.ap_rst.value = 1
    dut.ap_ce.value = dut.ap_start.value = dut.ap_continue.value = dut.sums_full_n.value = 1
    dut.steps_empty_n.value = dut.rows_empty_n.value = dut.columns_empty_n.value = 0
    await RisingEdge(dut.ap_clk)
    await RisingEdge(dut.ap_clk)
    dut.ap_rst.value = 0
    await RisingEdge(dut.ap_clk)
    await RisingEdge(dut.ap_clk)
    dut.steps_empty_n.value = dut.rows_empty_n.value = dut.columns_empty_n.value = 1
    for step, row, column in zip(words.steps, words.rows, words.columns, strict=True):
        dut.steps_dout.value = int(step)
        dut.rows_dout.value = int.from_bytes(row.tobytes(), "little")
        dut.columns_dout.value = int.from_bytes(column.tobytes(), "little")
        await RisingEdge(dut.ap_clk)
    raise AssertionError("the simulation went on")
