# SPDX-License-Identifier: Apache-2.0
"""docs/board.md quotes what the code says."""

import re
from pathlib import Path

import pytest

from e2train.board import tables
from e2train.board.boards import board_names, load_board
from e2train.board.plan import Question, plan
from e2train.data.cifar import LAYOUTS, SHAPE
from e2train.data.shapes import picture_bytes
from e2train.network.models import network_spec
from e2train.training.evaluate import BATCH

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/board.md").read_text(encoding="utf-8")
PLAIN = re.sub(r"\s+", " ", TEXT)
RESNETS = [name for name in tables.NETWORKS if name.startswith("resnet")]


def rows(marker):
    """The rows of the table below a marker, header and rule first."""
    block = TEXT.split(f"<!-- {marker} -->\n")[1].split("\n\n")[0]
    return block.splitlines()


def test_the_boards_are_the_commands_output():
    assert rows("boards") == tables.board_table().markdown()


def test_the_table_of_plans_has_every_network_and_batch():
    head, rule, *body = rows("memory")
    assert (head, rule) == tuple(tables.TextTable("", columns()).markdown()[:2])
    named = [tuple(line.strip("| ").split(" | ")[:2]) for line in body]
    assert named == [(name, str(b)) for name in tables.NETWORKS for b in tables.BATCHES]


def columns():
    return tuple(rows("memory")[0].strip("| ").split(" | "))


def quoted(network, batch):
    (line,) = [line for line in rows("memory") if line.startswith(f"| {network} | {batch} |")]
    return [cell.strip() for cell in line.split("|")[1:-1]]


@pytest.mark.parametrize("network", RESNETS)
@pytest.mark.parametrize("batch", tables.BATCHES)
def test_plans_are_the_commands_output(network, batch):
    assert quoted(network, batch) == list(tables.memory_row(network, batch))


def test_the_plan_of_mobilenet_is_the_commands_output():
    """Of one batch, and without the search for others: its tiles take long to work out."""
    spec = network_spec("mobilenet-v2", SHAPE, LAYOUTS["cifar10"].classes)
    found = plan(Question(spec, tables.DATA, tables.METHOD, 64, BATCH))
    assert quoted("mobilenet-v2", 64)[2:4] == [
        f"{size / (1 << 20):.0f}" for size in (found.extent, found.evaluation)
    ]


def test_an_evaluation_is_as_large_as_the_trainings():
    assert tables.EVALUATION == BATCH
    assert f"an evaluation runs {BATCH} pictures at a time" in PLAIN


def test_quoted_numbers_of_the_boards():
    for name in board_names():
        memory = load_board(name).memory
        assert (memory.ddr_mib, memory.linux_mib, memory.pool_mib) == (512, 100, 128)
    assert f"CIFAR: {picture_bytes('cifar10') >> 20} MiB" in PLAIN


def test_every_command_named_here_exists():
    from typer.main import get_command

    from e2train.cli import app

    known = set(get_command(app).commands["board"].commands)
    theirs = {"selftest"}  # the board's own, described where it is
    assert set(re.findall(r"e2train board (\w+)", TEXT)) <= known | theirs
    assert "**Nothing on this page has run on a real board or through Vivado yet.**" in PLAIN
