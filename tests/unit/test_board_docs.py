# SPDX-License-Identifier: Apache-2.0
"""docs/board.md quotes what the code says."""

import re
from pathlib import Path

import pytest

from e2train.board import tables
from e2train.board.boards import board_names, load_board
from e2train.data.shapes import picture_bytes
from e2train.training.evaluate import BATCH

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/board.md").read_text(encoding="utf-8")
PLAIN = re.sub(r"\s+", " ", TEXT)


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


@pytest.mark.parametrize("network", tables.NETWORKS)
@pytest.mark.parametrize("batch", tables.BATCHES)
def test_plans_are_the_commands_output(network, batch):
    assert quoted(network, batch) == list(tables.memory_row(network, batch))


def test_an_evaluation_is_as_large_as_the_trainings():
    assert tables.EVALUATION == BATCH
    assert f"an evaluation runs {BATCH} pictures at a time" in PLAIN


def test_quoted_numbers_of_the_boards():
    for name in board_names():
        memory = load_board(name).memory
        assert (memory.ddr_mib, memory.linux_mib, memory.pool_mib) == (512, 100, 128)
    assert "needs 198 MiB" in PLAIN and quoted("mobilenet-v2", 64)[3] == "198"
    assert "batch 32 does" in quoted("resnet-74", 128)[4]
    assert "batch 64 does" in quoted("resnet-74", 128)[5]
    assert quoted("resnet-74", 128)[6] == "every 2: 74, +0.97 forward"
    assert f"CIFAR: {picture_bytes('cifar10') >> 20} MiB" in PLAIN


def test_every_command_named_here_exists():
    from typer.main import get_command

    from e2train.cli import app

    known = set(get_command(app).commands["board"].commands)
    theirs = {"selftest"}  # the board's own, described where it is
    assert set(re.findall(r"e2train board (\w+)", TEXT)) <= known | theirs
    assert "**Nothing on this page has run on a real board or through Vivado yet.**" in PLAIN
