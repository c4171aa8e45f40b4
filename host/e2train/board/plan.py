# SPDX-License-Identifier: Apache-2.0
"""What a training needs of a board's memory, measured: it runs on a kernel that does nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from ..data.shapes import picture_bytes
from ..device.accelerator import generated as hw
from ..device.accelerator.layout import LANES
from ..device.accelerator.tile_plans import Key, TilePlans
from ..device.accelerator.tiling.plan import TilePlan
from ..device.accelerator.zynq.open import SPARED_BYTES
from ..methods import fixed8, psg
from ..network.integer import FixedArithmetic, FixedSettings
from ..network.network import Network
from ..network.parameters import Parameters, initial_parameters
from ..network.spec import NetworkSpec
from .boards import MIB, Memory
from .recompute import RecomputingNetwork
from .recorder import Buffer, Recorder, open_recorder

STREAM_BITS = 16
METHODS = {
    "psg": psg.settings(psg.BETA, psg.X_MSB_BITS, psg.G_MSB_BITS, STREAM_BITS),
    "signsgd": FixedSettings(predict=False, stream_bits=STREAM_BITS),
    "fixed8": fixed8.settings(STREAM_BITS),
}
EVERY = (1, 2, 4, 8)  # blocks between kept inputs that are tried
HOST_COPIES = 3  # float32 weights on the processor, their velocities and their gradients
POOL_STEP = 4 * MIB


@dataclass(frozen=True)
class Question:
    """A training: network, data set, method; pictures a mini-batch, and a part of an evaluation."""

    spec: NetworkSpec
    data: str
    method: str
    batch: int
    evaluation: int

    @cached_property
    def parameters(self) -> Parameters:
        """Some weights; no plan depends on their values."""
        return initial_parameters(self.spec, 0)

    @cached_property
    def host_bytes(self) -> int:
        """Bytes outside the pool: all pictures, and what the optimiser keeps."""
        weights = sum(array.nbytes for array in self.parameters.values())
        return picture_bytes(self.data) + HOST_COPIES * weights


@dataclass(frozen=True)
class Plan:
    """Where everything lies during one iteration; all sizes in bytes.

    every: 0, or recomputed from every so many blocks' input; peak: most in use at once; extent:
    addresses that first-fit placement needs (gaps between blocks included), at least the peak;
    evaluation: extent of an evaluation; macs: multiply-accumulates of an iteration; buffers: those
    of the first iteration, in which some convolutions run twice to find their exponents; tiles: the
    tile plans that iterations and evaluation ask for.
    """

    batch: int
    every: int
    peak: int
    extent: int
    evaluation: int
    macs: int
    buffers: tuple[Buffer, ...]
    tiles: Mapping[Key, TilePlan]

    @property
    def needed(self) -> int:
        """Bytes of contiguous memory that training and evaluation take."""
        return max(self.extent, self.evaluation)

    def at_the_peak(self) -> list[Buffer]:
        """The buffers that are there when most memory is in use."""
        moment = self._fullest()
        return [one for one in self.buffers if one.born <= moment and not _over(one, moment)]

    def _fullest(self) -> int:
        changes = [(one.born, one.size) for one in self.buffers]
        changes += [(one.died, -one.size) for one in self.buffers if one.died is not None]
        in_use = most = moment = 0
        for event, size in sorted(changes):
            in_use += size
            if in_use > most:
                most, moment = in_use, event
        return moment


def _over(buffer: Buffer, moment: int) -> bool:
    return buffer.died is not None and buffer.died <= moment


def plan(
    question: Question, batch: int | None = None, every: int = 0, tiles: TilePlans | None = None
) -> Plan:
    """Two iterations and an evaluation of `question`, recorded.

    `batch` stands in for the question's; `tiles`: where tile plans come from. Raises LaunchRefused
    for what the accelerator cannot do.
    """
    batch = question.batch if batch is None else batch
    tiles = TilePlans() if tiles is None else tiles
    recorder = open_recorder(tiles)
    network = _network(question, recorder, every)
    images, labels = np.zeros(_shape(question, batch), np.uint8), np.zeros(batch, np.int64)
    arena, counter = recorder.arena, recorder.counter
    network.forward_backward(images, labels, 0)
    buffers, counted = tuple(arena.buffers), counter.macs
    network.forward_backward(images, labels, 1)
    evaluation, evaluated = _evaluation(question)
    return Plan(
        batch,
        every,
        arena.most_in_use,
        arena.highest - arena.base,
        evaluation,
        counter.macs - counted,
        buffers,
        {**tiles.used, **evaluated},
    )


def _shape(question: Question, samples: int) -> tuple[int, ...]:
    first = next(question.spec.units()).geometry
    return samples, first.channels, first.height, first.width


def _network(question: Question, recorder: Recorder, every: int) -> Network:
    channels = _shape(question, 1)[1]
    arithmetic = FixedArithmetic(
        recorder.device, recorder.counter, METHODS[question.method], mean=(0,) * channels
    )
    if every:
        return RecomputingNetwork(question.spec, arithmetic, question.parameters, every)
    return Network(question.spec, arithmetic, question.parameters)


@lru_cache(maxsize=4)
def _evaluation(question: Question) -> tuple[int, dict[Key, TilePlan]]:
    """Bytes that an evaluation takes, and its tile plans."""
    tiles = TilePlans()
    recorder = open_recorder(tiles)
    images = np.zeros(_shape(question, question.evaluation), np.uint8)
    _network(question, recorder, 0).logits(images, 0, training=False)
    return recorder.arena.highest - recorder.arena.base, tiles.used


# ---- what fits ----------------------------------------------------------------------------------


def largest_room(question: Question, memory: Memory) -> int:
    """Bytes for tensors in the largest pool: DDR less Linux, pictures, the processor's weights."""
    return memory.most - question.host_bytes


def fits(found: Plan, room: int) -> bool:
    """Whether it fits into `room` bytes for tensors."""
    return found.needed <= room


def pool_mib(found: Plan) -> int:
    """MiB that the pool must have, rounded up: what `cma=` is to say."""
    return -(-(found.needed + SPARED_BYTES) // POOL_STEP) * POOL_STEP // MIB


def largest_batch(question: Question, room: int, known: Plan) -> Plan | None:
    """The plan of the largest batch, a multiple of 16, that fits `room`; None where none does.

    `known`: a plan of the same training at any batch, from which the search starts. Tensors grow in
    steps of 16 samples. Batches that are tried on the way borrow the tiles of `known`, which
    decide nothing but how many sums are carried between launches; the answer has its own.
    """
    if known.evaluation > room:
        return None

    def tried(groups: int) -> Plan:
        return plan(question, groups * LANES, known.every, _borrowed(known))

    most = hw.LIMITS_SAMPLES // LANES
    groups = min(max(known.batch * room // known.needed // LANES, 1), most)
    while groups < most and fits(tried(groups + 1), room):
        groups += 1
    for left in range(groups, 0, -1):
        if fits(tried(left), room):
            found = plan(question, left * LANES, known.every)
            if fits(found, room):
                return found
    return None


def _borrowed(known: Plan) -> TilePlans:
    exact = TilePlans(known.tiles)
    return TilePlans(planner=lambda geometry, _, way: exact.plan(geometry, known.batch, way))


def recomputed(question: Question) -> list[Plan]:
    """Plans with recomputation, from an input kept for each block to one for every eight."""
    blocks = len(question.spec.blocks)
    return [plan(question, every=every) for every in EVERY if every < blocks]


def cheapest(plans: Iterable[Plan], room: int) -> Plan | None:
    """Of those that fit `room`, the one with the fewest products, then bytes; None where none."""
    fitting = [found for found in plans if fits(found, room)]
    return min(fitting, key=lambda found: (found.macs, found.needed), default=None)
