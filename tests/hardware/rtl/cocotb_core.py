# SPDX-License-Identifier: Apache-2.0
"""cocotb tests of the MAC core's ports, run inside the simulator by test_core_cocotb.py.

RTL_SEED seeds them; functional coverage goes to the file that RTL_COVERAGE names.
"""

import json
import os
from collections import Counter
from typing import ClassVar

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge
from core_reference import COLUMNS, MODES, expected, launch_cycles, sums_of, words_of
from core_stimuli import KINDS, MOST_WORDS, draw_visit

SEED = int(os.environ["RTL_SEED"])
LATENCY = int(os.environ["RTL_LATENCY"])
INTERVAL = int(os.environ["RTL_INTERVAL"])
STREAMS = ("steps", "rows", "columns", "sums", "clock")
STALLS = {"none": {}, **{name: {name: 0.4} for name in STREAMS}, "all": dict.fromkeys(STREAMS, 0.2)}
PATIENCE = 400  # cycles without progress


class Core:
    """The ports of the core, a cycle at a time: inputs after the rising edge, outputs before it."""

    covered: ClassVar[Counter] = Counter()

    def __init__(self, dut, seed=0):
        self.dut = dut
        self.random = np.random.default_rng((SEED, seed))
        self.cycles = 0

    async def reset(self):
        dut = self.dut
        dut.ap_rst.value = 1
        for name in ("ap_start", "steps_empty_n", "rows_empty_n", "columns_empty_n"):
            getattr(dut, name).value = 0
        dut.ap_ce.value = 1
        dut.ap_continue.value = 1
        dut.sums_full_n.value = 1
        for _ in range(2):
            await RisingEdge(dut.ap_clk)
        dut.ap_rst.value = 0

    async def sample(self):
        """To the end of the cycle that begins now."""
        await FallingEdge(self.dut.ap_clk)

    async def next(self):
        await RisingEdge(self.dut.ap_clk)
        self.cycles += 1

    async def launch(self, visits, stalls=None, stop_after=None):
        """Run visits in one launch; returns their words of sums, as they come.

        stalls: share of cycles in which a stream (or the clock) waits; stop_after: give up after so
        many cycles, as if the caller was reset.
        """
        dut, stalls = self.dut, stalls or {}
        words = words_of(visits)
        count = sum(visit.words for visit in visits)
        sums, taken, begin, quiet = [], 0, self.cycles, 0
        dut.ap_start.value = 1
        while True:
            waits = {name: self.random.random() < share for name, share in stalls.items()}
            more = taken < len(words.steps)
            for name, data in (
                ("steps", words.steps),
                ("rows", words.rows),
                ("columns", words.columns),
            ):
                there = more and not waits.get(name, False)
                getattr(dut, f"{name}_empty_n").value = int(there)
                if there:
                    word = int.from_bytes(data[taken].tobytes(), "little")
                    getattr(dut, f"{name}_dout").value = word
            dut.sums_full_n.value = int(not waits.get("sums", False))
            dut.ap_ce.value = int(not waits.get("clock", False))
            await self.sample()
            reads = {int(port.value) for port in (dut.steps_read, dut.rows_read, dut.columns_read)}
            assert len(reads) == 1, "the streams are read apart"
            moved = reads.pop()
            if int(dut.sums_write.value):
                assert not waits.get("sums", False) and not waits.get("clock", False)
                sums.append(int(dut.sums_din.value).to_bytes(96, "little"))
                moved = 1
            taken += int(dut.steps_read.value)
            done = int(dut.ap_done.value)
            if int(dut.ap_ready.value):
                assert taken == len(words.steps), "ready before the last step"
                dut.ap_start.value = 0
            await self.next()
            if done:
                break
            quiet = 0 if moved else quiet + 1
            assert quiet < PATIENCE, f"stuck: {taken} steps taken, {len(sums)} of {count} words"
            if stop_after is not None and self.cycles - begin >= stop_after:
                return None
        assert len(sums) == count, f"{len(sums)} words of sums, not {count}"
        return sums_of(np.frombuffer(b"".join(sums), np.uint8))

    async def check(self, visits, stalls="none", kind="random"):
        """Launch visits and compare every sum with the reference."""
        found = await self.launch(visits, STALLS[stalls])
        wanted = np.concatenate([expected(visit) for visit in visits])
        wrong = np.argwhere(found != wanted)
        assert not len(wrong), f"{len(wrong)} sums differ, first at {wrong[0]}"
        for visit in visits:
            lanes = "all words" if visit.words == MOST_WORDS[visit.mode] else "some words"
            self.covered[(visit.mode, lanes, kind, stalls)] += 1


async def core_of(dut, seed):
    """The clock started and the core reset."""
    Clock(dut.ap_clk, 10, "ns").start()
    core = Core(dut, seed)
    await core.reset()
    return core


@cocotb.test()
async def every_mode_with_every_stall(dut):
    """Random and extreme operands in all modes, streams and clock waiting alone and together."""
    core = await core_of(dut, 1)
    for stalls in STALLS:
        for kind in KINDS[:3]:
            visits = []
            for mode in MODES:
                words = MOST_WORDS[mode]
                visits.append(draw_visit(core.random, mode, steps=6, words=words, kind=kind))
                if words > 1:
                    few = max(1, words - 3)
                    visits.append(draw_visit(core.random, mode, steps=5, words=few, kind=kind))
            await core.check(visits, stalls, kind)


@cocotb.test()
async def the_edges_of_tiles(dut):
    """Visits of one to five steps, with as many and as few words as there may be."""
    core = await core_of(dut, 2)
    for mode, most in MOST_WORDS.items():
        for words in sorted({1, 2, 3, most} & set(range(1, most + 1))):
            steps = (1, 1, 2, 3, 4, 5)
            await core.check([draw_visit(core.random, mode, steps=n, words=words) for n in steps])


@cocotb.test()
async def modes_back_to_back(dut):
    """Every mode after every other, short visits and long ones."""
    core = await core_of(dut, 3)
    for steps in (1, 7):
        pairs = [mode for before in MODES for after in MODES for mode in (before, after)]
        await core.check([draw_visit(core.random, mode, steps=steps) for mode in pairs])


@cocotb.test()
async def a_reset_in_mid_visit(dut):
    """After a reset in any stage of a visit the next launch is as if nothing had been."""
    core = await core_of(dut, 4)
    for mode in MODES:
        for stop_after in (3, 8, 13, 17, 21):
            visits = [draw_visit(core.random, mode, steps=6) for _ in range(3)]
            assert await core.launch(visits, stop_after=stop_after) is None
            await core.reset()
            await core.check([draw_visit(core.random, mode, steps=2)])


@cocotb.test()
async def latency_and_interval(dut):
    """The shortest launch takes the declared latency, and the next one starts right after."""
    core = await core_of(dut, 5)
    visit = draw_visit(core.random, "across plain", steps=1, words=1)
    begin = core.cycles
    for launch in range(1, 4):
        await core.check([visit])
        # The cycle of ap_done is the last of the latency; a start is seen in the one after it.
        assert core.cycles - begin == launch * (LATENCY + 1)
    assert INTERVAL == LATENCY  # what HLS wants of a function that is not pipelined


@cocotb.test()
async def a_step_a_cycle(dut):
    """Long visits cost their steps, short ones the words before them, and nothing else."""
    core = await core_of(dut, 6)
    for mode in MODES:
        for steps in (40, 4, 1):
            words = MOST_WORDS[mode]
            visits = [draw_visit(core.random, mode, steps=steps, words=words) for _ in range(4)]
            begin = core.cycles
            await core.check(visits)
            assert core.cycles - begin == launch_cycles(visits) + 1, (mode, steps)


@cocotb.test()
async def the_block_protocol(dut):
    """Idle without a start; done until it may go on; ready once; nothing read meanwhile."""
    core = await core_of(dut, 7)
    await core.sample()
    assert int(dut.ap_idle.value) == 1 and int(dut.ap_done.value) == 0
    await core.next()
    dut.ap_continue.value = 0
    await core.check([draw_visit(core.random, "along plain", steps=3)])
    for _ in range(3):
        dut.ap_start.value = 1
        dut.steps_empty_n.value = dut.rows_empty_n.value = dut.columns_empty_n.value = 1
        await core.sample()
        assert (int(dut.ap_done.value), int(dut.ap_ready.value)) == (1, 0)
        assert int(dut.steps_read.value) == 0 and int(dut.ap_idle.value) == 0
        await core.next()
    dut.ap_continue.value = 1
    dut.ap_start.value = 0
    await core.next()
    await core.sample()
    assert int(dut.ap_idle.value) == 1 and int(dut.ap_done.value) == 0
    await core.next()
    await core.check([draw_visit(core.random, "along packed", steps=9)])


@cocotb.test()
async def a_mixture(dut):
    """Whatever comes, in one long launch with all waiting at random."""
    core = await core_of(dut, 8)
    modes = core.random.choice(list(MODES), 40)
    await core.check([draw_visit(core.random, mode) for mode in modes], "all", "random")
    assert sum(core.covered.values()) >= len(modes) and COLUMNS == 16
    with open(os.environ["RTL_COVERAGE"], "w", encoding="utf-8") as stream:
        json.dump([[*key, number] for key, number in sorted(core.covered.items())], stream)
