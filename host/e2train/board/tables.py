# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/board.md: `python -m e2train.board.tables` prints them."""

from __future__ import annotations

from functools import lru_cache

from ..cost.text_table import TextTable, print_documented
from ..data.cifar import LAYOUTS, SHAPE
from ..network.models import network_spec
from .advice import FITS, Advice, advise
from .boards import MIB, board_names, load_board
from .plan import Plan, Question, plan, pool_mib

BOARD = "zedboard"
DATA = "cifar10"
METHOD = "psg"
NETWORKS = ("resnet-20", "resnet-38", "resnet-74", "resnet-110", "mobilenet-v2")
BATCHES = (128, 64)
EVALUATION = 250  # pictures a part (training/evaluate.py)


def board_table() -> TextTable:
    """The boards."""
    table = TextTable("Boards", ("board", "name", "part", "clock", "DDR", "pool", "idle", "image"))
    for name in board_names():
        board = load_board(name)
        idle = board.power.idle_w
        table.add(
            board.title,
            f"`{name}`",
            f"`{board.part}`",
            f"{board.fabric.clock_mhz} MHz",
            f"{board.memory.ddr_mib} MiB",
            f"{board.memory.pool_mib} MiB",
            "unknown" if idle is None else f"{idle:g} W",
            board.image.summary,
        )
    return table


@lru_cache(maxsize=16)
def advised(network: str, batch: int) -> Advice:
    """What docs/board.md says of a network at a batch."""
    spec = network_spec(network, SHAPE, LAYOUTS[DATA].classes)
    question = Question(spec, DATA, METHOD, batch, EVALUATION)
    found = plan(question)
    return advise(question, load_board(BOARD), found, found)


def memory_row(network: str, batch: int) -> tuple[str, ...]:
    """One line of the table of plans."""
    advice = advised(network, batch)
    found = advice.found
    return (
        network,
        str(batch),
        _mib(found.extent),
        _mib(found.evaluation),
        _verdict(advice, advice.room, "yes"),
        _verdict(advice, advice.most, f"yes, `cma={pool_mib(found)}M`"),
        _recomputed(advice, advice.room),
        _recomputed(advice, advice.most),
    )


def memory_table() -> TextTable:
    """Every network and batch on the ZedBoard."""
    pool = f"{load_board(BOARD).memory.pool_mib} MiB pool"
    table = TextTable(
        "Memory plans",
        (
            "network",
            "batch",
            "training [MiB]",
            "evaluation [MiB]",
            pool,
            "largest pool",
            f"{pool}, recomputing",
            "largest pool, recomputing",
        ),
    )
    for network in NETWORKS:
        for batch in BATCHES:
            table.add(*memory_row(network, batch))
    return table


def _mib(size: int) -> str:
    return f"{size / MIB:,.0f}"


def _verdict(advice: Advice, room: int, yes: str) -> str:
    if room not in advice.largest:
        return "yes" if advice.verdict == FITS else yes
    largest = advice.largest[room]
    return _no(advice, room) if largest is None else f"no; batch {largest.batch} does"


def _recomputed(advice: Advice, room: int) -> str:
    if room not in advice.offered:
        return ""
    offered: Plan | None = advice.offered[room]
    if offered is None:
        return _no(advice, room)
    return f"every {offered.every}: {_mib(offered.needed)}, +{advice.again(offered):.2f} forward"


def _no(advice: Advice, room: int) -> str:
    return "no: evaluation" if advice.found.evaluation > room else "no"


TABLES = {"boards": board_table, "memory": memory_table}


def main() -> None:
    """Print all tables of docs/board.md."""
    print_documented({name: table().markdown() for name, table in TABLES.items()})


if __name__ == "__main__":
    main()
