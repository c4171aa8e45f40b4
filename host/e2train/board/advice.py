# SPDX-License-Identifier: Apache-2.0
"""What a memory plan means for a board: does it fit, and what helps where it does not."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

from .boards import MIB, Board
from .plan import Plan, Question, cheapest, fits, largest_batch, largest_room, pool_mib, recomputed

MEANINGS = {
    "x": "block inputs, 8 bits",
    "y": "convolution outputs, 16 bits",
    "z": "outputs of units, 8 bits, of blocks 16",
    "shortcut": "shortcuts, forward and back, 16 bits",
    "g": "gradients of units' inputs, 16 bits",
    "dy": "gradients of convolution outputs, 16 bits",
    "masked g": "gradients through an activation, 16 bits",
    "spread g": "the classifier's gradient over all positions, 16 bits",
    "operand": "pictures; inputs and gradients of the classifier",
    "weights": "weights of a launch, 8 bits",
    "coefficients": "batch-norm coefficients of a launch",
    "results": "result block of a launch",
    "scratch": "PSG's sums and queues",
    "signs": "PSG's signs, a byte a weight",
    "weight gradient": "weight gradients, 64 bits",
    "sums": "sums that one launch leaves to the next, 64 bits",
}
FITS, ENLARGED, REFUSED = "fits", "fits an enlarged pool", "does not fit"


@dataclass(frozen=True)
class Advice:
    """A plan on a board.

    largest: the largest batch by bytes for tensors, those in the image's pool and in the largest,
    as plans like `found` (None: not even 16); offered: what fits with recomputation, likewise;
    both only where `found` does not fit.
    """

    question: Question
    board: Board
    found: Plan
    plain_macs: int
    largest: dict[int, Plan | None]
    offered: dict[int, Plan | None]

    @property
    def room(self) -> int:
        """Bytes for tensors in the pool as the image has it."""
        return self.board.memory.room

    @property
    def most(self) -> int:
        """Bytes for tensors in the largest pool."""
        return largest_room(self.question, self.board.memory)

    @property
    def verdict(self) -> str:
        """FITS, ENLARGED or REFUSED."""
        if fits(self.found, min(self.room, self.most)):
            return FITS
        return ENLARGED if fits(self.found, self.most) else REFUSED

    def again(self, plan: Plan) -> float:
        """What recomputation adds, in forward passes."""
        return (plan.macs - self.plain_macs) / (self.question.spec.forward_macs * plan.batch)

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON; sizes in bytes."""
        found, memory = self.found, self.board.memory
        return {
            "network": self.question.spec.name,
            "data": self.question.data,
            "method": self.question.method,
            "batch": found.batch,
            "recompute_every": found.every,
            "recomputed_forward_passes": self.again(found),
            "board": self.board.title,
            "verdict": self.verdict,
            "peak": found.peak,
            "extent": found.extent,
            "evaluation": found.evaluation,
            "needed": found.needed,
            "room": self.room,
            "largest_room": self.most,
            "ddr": memory.ddr_mib * MIB,
            "linux": memory.linux_mib * MIB,
            "host": self.question.host_bytes,
            "kernel_argument": f"cma={pool_mib(found)}M",
            "largest_batch": {
                str(room): plan and plan.batch for room, plan in self.largest.items()
            },
            "offered": {
                str(room): plan
                and {
                    "recompute_every": plan.every,
                    "needed": plan.needed,
                    "recomputed_forward_passes": self.again(plan),
                }
                for room, plan in self.offered.items()
            },
            "buffers": [asdict(buffer) for buffer in found.buffers],
        }


def advise(question: Question, board: Board, found: Plan, plain: Plan) -> Advice:
    """Judge `found`, and search what fits where it does not.

    `plain`: the plan of the same training without recomputation.
    """
    rooms = (board.memory.room, largest_room(question, board.memory))
    short = [room for room in rooms if not fits(found, room)]
    largest = {room: largest_batch(question, room, found) for room in short}
    trained = any(found.evaluation <= room for room in short)
    others = recomputed(question) if trained and not found.every else []
    offered = {} if found.every else {room: cheapest(others, room) for room in short}
    return Advice(question, board, found, plain.macs, largest, offered)


def by_kind(found: Plan) -> list[tuple[str, str, int, int]]:
    """Kind, its meaning, number and bytes of what is in memory at the peak, largest first."""
    sizes: dict[str, list[int]] = defaultdict(list)
    for buffer in found.at_the_peak():
        sizes[buffer.kind].append(buffer.size)
    rows = [(kind, MEANINGS.get(kind, ""), len(parts), sum(parts)) for kind, parts in sizes.items()]
    return sorted(rows, key=lambda row: -row[3])


def sentences(advice: Advice) -> list[str]:
    """What the plan means, a sentence or two a line."""
    found, memory, question = advice.found, advice.board.memory, advice.question
    lines = [
        f"At most {mib(found.peak)} are in use; with the gaps between buffers training needs "
        f"{mib(found.extent)} and an evaluation {mib(found.evaluation)}.",
        f"The image's pool of {memory.pool_mib} MiB has {mib(advice.room)} for tensors. Of "
        f"{memory.ddr_mib} MiB DDR Linux keeps {memory.linux_mib}, the pictures of "
        f"{question.data} and the processor's weights take {mib(question.host_bytes)}: the largest "
        f"pool has {mib(advice.most)} for tensors.",
    ]
    if found.every:
        lines.append(
            f"Recomputing from every {_ordinal(found.every)} input costs "
            f"{advice.again(found):.2f} forward passes more."
        )
    if advice.verdict == FITS:
        return [*lines, "It fits the pool as the image has it."]
    if advice.verdict == ENLARGED:
        lines.append(
            f"It fits once the pool is enlarged: cma={pool_mib(found)}M on the kernel's command "
            "line (docs/board.md says where)."
        )
    else:
        lines.append("It does not fit this board.")
    return lines + [_alternatives(advice, room) for room in advice.largest]


def _alternatives(advice: Advice, room: int) -> str:
    largest = advice.largest[room]
    text = f"With {mib(room)} for tensors fits "
    text += f"batch {largest.batch} at most" if largest else "no batch of 16"
    if advice.found.evaluation > room:
        text += f": an evaluation alone needs {mib(advice.found.evaluation)}"
    offered = advice.offered.get(room)
    if offered is not None:
        text += (
            f", or batch {offered.batch} with recomputation from every {_ordinal(offered.every)} "
            f"input ({mib(offered.needed)}, {advice.again(offered):.2f} forward passes more)"
        )
    return text + "."


def refusal(advice: Advice) -> str:
    """One line for a plan that does not fit the board at all."""
    found, largest = advice.found, advice.largest[advice.most]
    text = (
        f"{advice.question.spec.name} at batch {found.batch} does not fit: it needs "
        f"{mib(found.needed)} of contiguous memory, and the board can give {mib(advice.most)}; "
    )
    if largest is not None:
        text += f"the largest batch is {largest.batch}"
    elif found.evaluation > advice.most:
        text += f"no batch fits, as an evaluation alone needs {mib(found.evaluation)}"
    else:
        text += "no batch fits"
    offered = advice.offered.get(advice.most)
    return text + (f", or --recompute {offered.every}" if offered is not None else "")


def mib(size: int) -> str:
    """A size for people."""
    return f"{size / MIB:,.1f} MiB"


def _ordinal(number: int) -> str:
    names = {1: "block's", 2: "second block's", 3: "third block's"}
    return names.get(number, f"{number}th block's")
