# SPDX-License-Identifier: Apache-2.0
"""Memory plans: what is placed where, what fits a board, and what is said where it does not."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from e2train import cli
from e2train.board.advice import ENLARGED, FITS, MEANINGS, REFUSED, advise, refusal, sentences
from e2train.board.boards import MIB, load_board
from e2train.board.plan import (
    Question,
    cheapest,
    fits,
    largest_batch,
    largest_room,
    plan,
    recomputed,
)
from e2train.data.shapes import picture_bytes, picture_shape
from e2train.network.models import network_spec


def question(network="resnet-8", data="digits", batch=32, method="psg"):
    return Question(network_spec(network, *picture_shape(data)), data, method, batch, 50)


@pytest.fixture(scope="module")
def small():
    return plan(question())


def zedboard(pool_mib=128, ddr_mib=512):
    board = load_board("zedboard")
    return replace(board, memory=replace(board.memory, pool_mib=pool_mib, ddr_mib=ddr_mib))


def advised(asked, found, board):
    return advise(asked, board, found, found)


def test_no_two_buffers_share_a_byte_at_a_time(small):
    end = max(one.died or 0 for one in small.buffers) + 1
    events = sorted(
        (when, one.address, one.end, dies)
        for one in small.buffers
        for when, dies in ((one.born, False), (one.died or end, True))
    )
    live = set()
    for _, begin, stop, dies in events:
        (live.discard if dies else live.add)((begin, stop))
        if not dies:
            assert all(low[1] <= high[0] for low, high in pairwise(sorted(live)))


def test_every_buffer_says_what_it_is(small):
    named = [one for one in small.buffers if one.kind]
    assert len(named) == len(small.buffers)
    assert {one.kind for one in named} <= set(MEANINGS)
    units = {unit.name for unit in question().spec.units()}
    assert {one.layer for one in named if one.kind == "y"} == units
    (picture,) = [one for one in named if one.kind == "operand" and one.layer == "stem.conv"]
    assert picture.size == 32 * 8 * 8 and picture.first == 0


def test_tensors_live_from_forward_to_backward_pass(small):
    """A convolution's output is there until its batch norm has gone backwards, in reverse order."""
    ends = {}
    for one in small.buffers:
        if one.kind == "y" and (one.layer not in ends or one.last > ends[one.layer]):
            ends[one.layer] = one.last
    order = [unit.name for unit in question().spec.units()]
    assert [ends[name] for name in order] == sorted(ends.values(), reverse=True)


def test_recomputation_keeps_less_and_computes_more():
    asked = question("resnet-20", batch=128)
    plain, every = plan(asked), [plan(asked, every=number) for number in (1, 2, 8)]
    assert all(found.needed < plain.needed and found.macs > plain.macs for found in every)
    blocks = asked.spec.blocks
    for number, found in zip((1, 2, 8), every, strict=True):
        segments = [blocks[at : at + number] for at in range(0, len(blocks), number)]
        again = sum(block.macs for segment in segments[:-1] for block in segment)
        assert found.macs - plain.macs == again * 128


def test_the_largest_batch_fits_and_the_next_does_not():
    asked = question(batch=16)
    known = plan(asked)
    for room in (known.needed * 5 + 10_000, known.needed):
        found = largest_batch(asked, room, known)
        assert found.batch % 16 == 0 and fits(found, room)
        assert not fits(plan(asked, found.batch + 1), room)
    assert largest_batch(asked, known.evaluation - 64, known) is None


def test_what_is_offered_is_the_cheapest_that_fits():
    asked = question("resnet-20", batch=128)
    plain = plan(asked)
    plans = recomputed(asked)
    assert [one.every for one in plans] == [1, 2, 4, 8]
    room = sorted(one.needed for one in plans)[2]
    found = cheapest(plans, room)
    assert fits(found, room) and found.needed < plain.needed
    assert all(found.macs <= one.macs for one in plans if fits(one, room))
    assert cheapest(plans, min(one.needed for one in plans) - 64) is None


def test_the_verdict_follows_the_boards_memory():
    asked = question("resnet-20", batch=1024)
    found = plan(asked)
    assert 32 * MIB < found.needed < 64 * MIB
    assert advised(asked, found, zedboard()).verdict == FITS
    small_pool = advised(asked, found, zedboard(pool_mib=32))
    assert small_pool.verdict == ENLARGED
    text = " ".join(sentences(small_pool))
    assert f"cma={16 + -(-found.needed // (4 * MIB)) * 4}M on the kernel's command line" in text
    batch = small_pool.largest[16 * MIB].batch
    assert f"With 16.0 MiB for tensors fits batch {batch} at most" in text
    tight = zedboard(pool_mib=32, ddr_mib=100 + 48)
    refused = advised(asked, found, tight)
    assert refused.verdict == REFUSED
    room = largest_room(asked, tight.memory)
    assert room == 32 * MIB - asked.host_bytes
    assert f"the largest batch is {refused.largest[room].batch}" in refusal(refused)
    assert f"or --recompute {refused.offered[room].every}" in refusal(refused)


def test_pictures_and_master_weights_count_as_memory():
    asked = question()
    weights = sum(array.size for array in asked.parameters.values())
    assert asked.host_bytes == picture_bytes("digits") + 3 * 4 * weights
    assert picture_bytes("cifar10") == picture_bytes("cifar100") == 60_000 * (3072 + 8)


def test_the_command_prints_the_plan(capsys):
    assert cli.run(["board", "plan", "resnet-8", "--data", "digits", "--batch", "20"]) == 0
    printed = capsys.readouterr().out
    assert "resnet-8, digits, batch 20, psg" in printed
    assert "It fits the pool as the image has it." in printed
    command = ["board", "plan", "resnet-8", "--data", "digits", "--batch", "20", "--tensors"]
    assert cli.run(command) == 0
    assert "stage3.block1.conv2" in capsys.readouterr().out


def test_json_has_every_buffer_and_agrees(capsys):
    command = ["board", "plan", "resnet-8", "--data", "digits", "--batch", "32", "--json"]
    assert cli.run([*command, "--board", "pynq-z1", "--recompute", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    again = plan(question(), every=1)
    assert found["peak"] == again.peak and len(found["buffers"]) == len(again.buffers)
    assert found["board"] == "Digilent PYNQ-Z1" and found["verdict"] == FITS
    blocks, spec = question().spec.blocks, question().spec
    again = sum(block.macs for block in blocks[:-1]) / spec.forward_macs
    assert found["recomputed_forward_passes"] == pytest.approx(again)


def test_what_does_not_fit_is_refused_in_one_line(capsys, monkeypatch):
    tight = zedboard(pool_mib=32, ddr_mib=100 + 48)
    monkeypatch.setattr("e2train.board.boards.load_board", lambda name: tight)
    assert cli.run(["board", "plan", "resnet-20", "--data", "digits", "--batch", "1024"]) == 2
    out, error = capsys.readouterr()
    assert "It does not fit this board." in out
    (line,) = error.splitlines()
    assert line.startswith("e2train: resnet-20 at batch 1024 does not fit: it needs ")
    assert "the largest batch is " in line and ", or --recompute " in line


@pytest.mark.parametrize(
    "words, says",
    [
        (["resnet-9"], "expected 6n+2"),
        (["resnet-8", "--method", "sgd-fp32"], "the accelerator trains psg, signsgd, fixed8"),
        (["resnet-8", "--board", "zcu104"], "unknown board 'zcu104'"),
        (["resnet-8", "--data", "imagenet"], "unknown data set 'imagenet'"),
        (["resnet-8", "--data", "digits", "--batch", "5000"], "samples: 5000 given"),
        (["resnet-110", "--batch", "4096"], "device memory: "),
    ],
)
def test_bad_input_is_one_line(capsys, words, says):
    assert cli.run(["board", "plan", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
