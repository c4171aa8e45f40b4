# SPDX-License-Identifier: Apache-2.0
"""`e2train campaign run --board`: the link is lost, the computer here dies, the board is full.

The board is a computer reached over SSH on loopback (`loopback_board`), its device the emulator;
the meter is a simulated one that a program plays in real time on a pseudo-terminal.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from e2train.campaign.link.address import Board, parse_address
from e2train.campaign.link.check import check_board
from e2train.campaign.store import Store
from e2train.cli import app
from e2train.errors import UserError
from e2train.runs.checkpoint import read_checkpoint
from loopback_board import PASSWORD, PROGRAM, LoopbackBoard
from powermeter.record.recording import read_meta
from test_campaign_run import query

HEAD = """
name = "linked"
seeds = [0, 1]
on = [["resnet-8", "digits"]]
idle_seconds = 0.6
settle_seconds = 0
[base]
method = { arithmetic = "fixed" }
[base.train]
iterations = 40
lr = 0.003
log_every = 4
evaluate_every = 20
checkpoint_every = 8
"""
FOUR = HEAD + '[[methods]]\nname = "fixed8"\n[[methods]]\nname = "psg"\nmethod = {update = "psg"}\n'
ONE = HEAD.replace("[0, 1]", "[0]") + '[[methods]]\nname = "fixed8"\n'
LONG = ONE.replace("iterations = 40", "iterations = 160").replace(
    "idle_seconds = 0.6", "idle_seconds = 0"
)
CELL = "fixed8.resnet-8.digits.seed0"


@pytest.fixture
def meter() -> Iterator[str]:
    """A board that draws 2.6 W, seen by an INA226."""
    simulator = subprocess.Popen(
        [sys.executable, "-m", "powermeter", "simulate"], stdout=subprocess.PIPE, text=True
    )
    assert simulator.stdout is not None
    yield "ina226-serial:" + simulator.stdout.readline().strip()
    simulator.kill()
    simulator.communicate()


class Campaign:
    """`e2train campaign run` on the laptop, as a process that can be killed with its workers."""

    def __init__(self, folder: Path, text: str, board: LoopbackBoard | None, meter: str) -> None:
        self.out = folder / "out"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "campaign.toml"
        file.write_text(text)
        command = [sys.executable, "-m", "e2train.cli", "campaign", "run", str(file)]
        command += ["--out", str(self.out), "--meter", meter, "--lease", "1"]
        self.process = subprocess.Popen(
            command + ([] if board is None else board.options),
            env=dict(os.environ, OMP_NUM_THREADS="1") if board is None else board.environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def finish(self, code: int = 0) -> str:
        printed, complaints = self.process.communicate(timeout=240)
        assert self.process.returncode == code, printed + complaints
        assert "Traceback" not in complaints
        if code:
            assert complaints.count("\n") == 1, complaints
        return printed + complaints

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def wait_for(self, condition: str) -> None:
        """Until a cell's row fulfils an SQL condition."""
        until = time.monotonic() + 90
        wanted = f"SELECT 1 FROM cells WHERE {condition}"
        while not ((self.out / "campaign.sqlite").exists() and query(self.out, wanted)):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < until, f"no cell with {condition}"
            time.sleep(0.05)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def without_joules(cell: Path) -> list[dict]:
    events = lines(cell / "events.jsonl")
    return [{key: value for key, value in event.items() if key != "energy"} for event in events]


def bare_result(cell: Path) -> dict:
    result = json.loads((cell / "result.json").read_text())
    for name in list(result["cell"]):
        if name.startswith("energy_") or name == "seconds":
            del result["cell"][name]
    del result["meter"]
    return result


def arrays(cell: Path) -> dict[str, np.ndarray]:
    with np.load(cell / "checkpoint.npz") as archive:
        return {name: archive[name] for name in archive.files if name != "header"}


def assert_same_training(ours: Path, theirs: Path) -> None:
    assert without_joules(ours) == without_joules(theirs)
    assert bare_result(ours) == bare_result(theirs)
    mine, others = arrays(ours), arrays(theirs)
    assert mine.keys() == others.keys() and len(mine) > 20
    for name, array in mine.items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)


def assert_whole_energy(cell: Path) -> None:
    """Every joule of the run: the window is the board's, and no reading in it is missing."""
    result = json.loads((cell / "result.json").read_text())["cell"]
    assert result["energy_missing"] is None
    assert result["energy_provenance"] == "simulated"  # a program answered, not an instrument
    stamps = lines(cell / "timing.jsonl")
    began, ended = stamps[0]["clock"], stamps[-1]["clock"]
    assert (stamps[0]["event"], stamps[-1]["event"]) == ("began", "ended")
    # 2.6 W all along; the instrument's own errors and the edges' are within what is stated
    assert (
        abs(result["energy_joules"] - 2.6 * (ended - began))
        < 2 * (result["energy_uncertainty_joules"])
    )
    assert result["energy_uncertainty_joules"] < 0.03 * result["energy_joules"]
    notes = lines(cell / "meter" / "events.jsonl")
    assert not [note for note in notes if note["event"] in ("Gap", "Malformed")]
    rows = (cell / "meter" / "samples.csv").read_text().splitlines()[1:]
    device = np.array([float(row.partition(",")[0]) for row in rows])
    assert np.diff(device).max() < 1.01 * read_meta(cell / "meter")["period_s"]
    joules = [e["energy"]["joules"] for e in lines(cell / "events.jsonl") if e.get("energy")]
    assert joules == sorted(joules) and joules[-1] == pytest.approx(
        result["energy_joules"], rel=0.05
    )


def test_a_link_that_is_lost_three_times_loses_no_event_and_no_joule(
    tmp_path: Path, meter: str
) -> None:
    undisturbed = Campaign(tmp_path / "here", FOUR, None, "none")
    seed = random.randrange(1 << 30)
    print(f"seed of the moments: {seed}")
    moments = random.Random(seed)
    with LoopbackBoard(tmp_path / "ssh") as board:
        linked = Campaign(tmp_path / "there", FOUR, board, meter)
        for number in range(3):
            linked.wait_for(
                "phase = 'training on the board' AND "
                f"(SELECT count(*) FROM cells WHERE state = 'finished') >= {number}"
            )
            time.sleep(moments.uniform(0, 2))
            board.kill()
            time.sleep(moments.uniform(0.2, 2))
            board.start()
        assert "all 4 cells are finished" in linked.finish()
    undisturbed.finish()
    cells = sorted((linked.out / "cells").iterdir())
    assert len(cells) == 4
    lost = [row for path in linked.out.glob("cells/*/link-lost.jsonl") for row in lines(path)]
    assert len(lost) == 3
    for cell in cells:
        assert_same_training(cell, undisturbed.out / "cells" / cell.name)
        assert_whole_energy(cell)
    assert query(linked.out, "SELECT DISTINCT outcome FROM attempts") == [("finished",)]
    for joules, seconds in query(linked.out, "SELECT energy_j, window_s FROM results"):
        assert joules / seconds == pytest.approx(2.6, rel=0.03)
    for (net,) in query(linked.out, "SELECT net_energy_j FROM results"):
        assert abs(net) < 1.0  # idle or not, it draws the same


def test_a_pause_stops_the_board_and_every_stretch_counts(tmp_path: Path, meter: str) -> None:
    with LoopbackBoard(tmp_path / "ssh") as board:
        first = Campaign(tmp_path, LONG, board, meter)
        first.wait_for("iteration >= 40")  # enough readings for a joule of its own
        Store(first.out).set("paused", 1)  # as `e2train campaign pause` does
        assert "0 of 1 cells are finished" in first.finish()
        there = board.home / "cells" / CELL
        assert not (there / "run" / "result.json").exists()
        second = Campaign(tmp_path, LONG, board, meter)
        assert "all 1 cells are finished" in second.finish()
    cell = second.out / "cells" / CELL
    stamps = lines(cell / "timing.jsonl")
    begins = [number for number, stamp in enumerate(stamps) if stamp["event"] == "began"]
    assert len(begins) == 2 and stamps[begins[1]]["iteration"] >= 40
    worked = stamps[begins[1] - 1]["clock"] - stamps[0]["clock"]
    worked += stamps[-1]["clock"] - stamps[begins[1]]["clock"]
    result = json.loads((cell / "result.json").read_text())["cell"]
    assert result["energy_missing"] is None
    assert result["energy_joules"] / worked == pytest.approx(2.6, rel=0.03)
    ((seconds,),) = query(second.out, "SELECT window_s FROM results")
    assert seconds == pytest.approx(worked, abs=0.05)


def test_a_training_outlives_the_computer_that_started_it(tmp_path: Path) -> None:
    """And is adopted by the next command, not begun anew."""
    with LoopbackBoard(tmp_path / "ssh") as board:
        first = Campaign(tmp_path, LONG, board, "none")
        first.wait_for("iteration >= 4")
        first.kill()
        second = Campaign(tmp_path, LONG, board, "none")
        assert "all 1 cells are finished" in second.finish()
    stamps = lines(second.out / "cells" / CELL / "timing.jsonl")
    assert [stamp["event"] for stamp in stamps].count("began") == 1
    outcomes = query(second.out, "SELECT outcome FROM attempts ORDER BY number")
    assert outcomes == [("lost",), ("finished",)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for little more than `e2train train` asks for."""
    folder = tmp_path / "ssh" / "board" / "cells"
    folder.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", "size=66m", "tmpfs", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("a disk can be full only where this user may mount one")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_on_the_board(tmp_path: Path, small_disk: Path) -> None:
    """One line, and the checkpoint stays."""
    with LoopbackBoard(tmp_path / "ssh") as board:
        first = Campaign(tmp_path, LONG, board, "none")
        first.wait_for("iteration >= 8")
        with suppress(OSError), open(small_disk / "full", "wb", 0) as stream:
            while True:
                stream.write(bytes(1 << 16))
        said = first.finish(2)
        assert "the disk there is full" in said
    kept = read_checkpoint(small_disk / CELL / "run" / "checkpoint.npz")
    assert kept.meta["iteration"] >= 8


def refused(board: LoopbackBoard, monkeypatch: pytest.MonkeyPatch, **settings: object) -> str:
    """What the user is told: one line."""
    for name, value in board.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    address = parse_address(board.address)
    there = {"program": PROGRAM, "folder": str(board.home / "cells"), "device": "emulator"}
    with pytest.raises(UserError) as error:
        check_board(Board(address=address, **(there | settings)), metered=True)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_refused_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackBoard(tmp_path / "ssh", sshd=False) as board:
        said = refused(board, monkeypatch, program="no-e2train-here")
        assert "no e2train there" in said and "--board-program" in said
        said = refused(board, monkeypatch, program="echo e2train 0.0.0; :")
        assert "install the same version on both" in said and "0.0.0" in said
        said = refused(board, monkeypatch, folder="/proc/cells")
        assert "/proc/cells" in said
        board.forget_user()
        assert "none of your SSH keys" in refused(board, monkeypatch)
        said = refused(board, monkeypatch, password="wrong")
        assert "the password was refused" in said and "wrong" not in said
        board.know(LoopbackBoard._key(tmp_path / "other_key"))
        assert "host key" in refused(board, monkeypatch)
        (board.laptop / ".ssh" / "known_hosts").unlink()
        assert "host key" in refused(board, monkeypatch, password=PASSWORD)
    assert "is the board on" in refused(board, monkeypatch)


def test_a_password_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens the board, and stands neither in the campaign's folder nor in a command line."""
    text = ONE.replace("iterations = 40", "iterations = 4")
    file = tmp_path / "campaign.toml"
    file.write_text(text)
    out = tmp_path / "out"
    with LoopbackBoard(tmp_path / "ssh", sshd=False) as board:
        board.forget_user()
        for name, value in board.environment.items():
            monkeypatch.setenv(name, value)
        given = ["campaign", "run", str(file), "--out", str(out), "--meter", "none", "--password"]
        done = CliRunner().invoke(app, [*given, *board.options], input="wrong\n")
        assert isinstance(done.exception, UserError) and "refused" in str(done.exception)
        done = CliRunner().invoke(app, [*given, *board.options], input=PASSWORD + "\n")
    assert done.exception is None and "all 1 cells are finished" in done.output
    assert PASSWORD not in done.output
    for path in [*out.rglob("*"), *board.home.rglob("*")]:
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes()
