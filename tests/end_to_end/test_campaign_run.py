# SPDX-License-Identifier: Apache-2.0
"""`e2train campaign` on local processes: killed, paused, failing, chained; and users' mistakes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

HEAD = """
name = "tiny"
seeds = [0, 1]
on = [["resnet-8", "digits"]]
idle_seconds = 1
[base]
method = { arithmetic = "fixed" }
[base.train]
iterations = 40
lr = 0.003
log_every = 4
checkpoint_every = 4
"""
TWO = HEAD + '[[methods]]\nname = "fixed8"\n[[methods]]\nname = "psg"\nmethod = {update = "psg"}\n'
# long enough to be caught at work: with the shortest lease, progress is written 4 times a second
LONG = TWO.replace("[0, 1]", "[0]").replace("iterations = 40", "iterations = 150")
ENVIRONMENT = dict(os.environ, OMP_NUM_THREADS="1")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "e2train.cli", "campaign", *map(str, arguments)]


def campaign(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(*arguments), env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    if code:
        assert done.stderr.count("\n") == 1, done.stderr
    return done


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments, "--lease", 1), env=ENVIRONMENT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def query(folder: Path, text: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "campaign.sqlite", timeout=60)) as base:
        return base.execute(text).fetchall()


def until_training(folder: Path, past: int = 0) -> None:
    until = time.monotonic() + 60
    wanted = f"SELECT 1 FROM cells WHERE phase = 'training' AND iteration > {past}"
    while not ((folder / "campaign.sqlite").exists() and query(folder, wanted)):
        assert time.monotonic() < until, "no cell began to train"
        time.sleep(0.02)


def results(folder: Path) -> list[tuple[object, ...]]:
    from e2train.campaign.schema import RESULT_COLUMNS, VOLATILE

    columns = ", ".join(name for name in RESULT_COLUMNS if name not in VOLATILE)
    return query(folder, f"SELECT {columns} FROM results ORDER BY cell")


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid`, without multiprocessing's resource tracker."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = status.read_text()
            line = (status.parent / "cmdline").read_text()
        except OSError:
            continue  # it ended meanwhile
        if int(text.rpartition(")")[2].split()[1]) == pid and "resource_tracker" not in line:
            found.append(int(status.parent.name))
    return found


def write(folder: Path, text: str) -> Path:
    file = folder / "tiny.toml"
    file.write_text(text)
    return file


def test_run_status_export_report(tmp_path):
    folder = tmp_path / "out"
    file = write(tmp_path, TWO)
    done = campaign("run", file, "--out", folder, "--workers", 2)
    assert "all 4 cells are finished" in done.stdout
    seen = json.loads(campaign("status", folder, "--json").stdout)
    assert seen["counts"] == {"finished": 4}
    for cell in seen["cells"]:
        assert cell["energy_provenance"] == "simulated" and cell["tries"] == 1
    assert "4 of 4 cells finished" in campaign("status", folder).stdout
    campaign("export", folder, "--out", tmp_path / "csv")
    assert len((tmp_path / "csv" / "cells.csv").read_text().splitlines()) == 5
    assert "4 of 4 cells finished" in (folder / "live.html").read_text()
    before = results(folder)
    assert "all 4 cells are finished" in campaign("run", file, "--out", folder).stdout
    assert results(folder) == before
    assert query(folder, "SELECT count(*) FROM attempts") == [(4,)]


def test_each_energy_is_that_of_its_raw_log(tmp_path):
    """The row repeats what the cell's own record says, and the hash is of the log that is kept."""
    import hashlib

    folder = tmp_path / "out"
    campaign("run", write(tmp_path, TWO.replace("[0, 1]", "[0]")), "--out", folder, "--quiet")
    rows = query(folder, "SELECT cell, energy_j, raw_sha256, net_energy_j, window_s, "
                         "idle_before_w, idle_after_w FROM results")  # fmt: skip
    for cell, joules, digest, net, length, before, after in rows:
        kept = folder / "cells" / str(cell)
        raw = (kept / "meter" / "raw.log").read_bytes()
        assert hashlib.sha256(raw).hexdigest() == digest
        assert json.loads((kept / "result.json").read_text())["cell"]["energy_joules"] == joules
        assert joules - (before + after) / 2 * length == pytest.approx(net, rel=1e-9)


def test_kill_9_of_the_coordinator_then_of_a_worker_changes_nothing(tmp_path):
    file, quiet, killed = write(tmp_path, LONG), tmp_path / "quiet", tmp_path / "killed"
    campaign("run", file, "--out", quiet, "--workers", 2, "--quiet")
    going = start("run", file, "--out", killed, "--workers", 2, "--quiet")
    until_training(killed, past=10)
    orphans = children(going.pid)
    assert len(orphans) == 2
    going.kill()
    going.communicate(timeout=30)
    until = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/stat").exists() for pid in orphans):
        assert time.monotonic() < until, "a worker outlived its parent"
        time.sleep(0.1)
    going = start("run", file, "--out", killed, "--workers", 2)
    # both cells once more in hand: what the table says of their training may be of the time before
    while query(killed, "SELECT count(*) FROM attempts") < [(4,)]:
        assert going.poll() is None, going.communicate()
        time.sleep(0.02)
    until_training(killed, past=40)
    os.kill(children(going.pid)[0], signal.SIGKILL)
    said, errors = going.communicate(timeout=120)
    assert going.returncode == 0, errors
    assert "its process died" in said
    assert results(killed) == results(quiet)
    outcomes = dict(query(killed, "SELECT outcome, count(*) FROM attempts GROUP BY outcome"))
    assert outcomes["finished"] == 2 and outcomes["lost"] >= 3


def test_ctrl_c_and_pause_stop_within_the_cell_and_run_goes_on(tmp_path):
    endless = LONG.replace("iterations = 150", "iterations = 100000")
    file, folder = write(tmp_path, endless), tmp_path / "out"
    going = start("run", file, "--out", folder, "--quiet")
    until_training(folder, past=8)
    going.send_signal(signal.SIGINT)
    _, errors = going.communicate(timeout=60)
    assert going.returncode == 130 and errors.strip() == "e2train: interrupted"
    assert query(folder, "SELECT outcome FROM attempts") == [("interrupted",)]
    ((reached,),) = query(folder, "SELECT max(iteration) FROM cells")
    assert isinstance(reached, int)
    going = start("run", file, "--out", folder, "--quiet")
    until_training(folder, past=reached)
    campaign("pause", folder)
    said, errors = going.communicate(timeout=60)
    assert going.returncode == 0, errors
    assert "0 of 2 cells are finished; the same command goes on" in said
    assert query(folder, "SELECT outcome FROM attempts") == [("interrupted",)] * 2
    log = folder / "cells" / "fixed8.resnet-8.digits.seed0" / "events.jsonl"
    assert log.read_text().count('"event":"start"') == 1  # it went on, not anew


def test_restart_sets_the_interrupted_attempt_aside(tmp_path):
    text = 'interrupted = "restart"\n' + LONG
    file, folder = write(tmp_path, text), tmp_path / "out"
    going = start("run", file, "--out", folder, "--quiet")
    until_training(folder, past=10)
    going.kill()
    going.communicate(timeout=30)
    campaign("run", file, "--out", folder, "--quiet", "--workers", 2)
    aside = folder / "cells" / "fixed8.resnet-8.digits.seed0" / "attempt-1"
    assert (aside / "events.jsonl").exists() and not (aside / "result.json").exists()


def test_failed_cells_leave_the_others_and_are_tried_again(tmp_path):
    bad = TWO + '[[methods]]\nname = "wild"\ntrain = { lr = 900.0 }\n'
    bad += '[[methods]]\nname = "child"\nafter = "wild"\n'
    file, folder = write(tmp_path, bad.replace("[0, 1]", "[0]")), tmp_path / "out"
    done = campaign("run", file, "--out", folder, "--quiet", code=2)
    assert "1 of 4 cells failed, 1 not run; wild.resnet-8.digits.seed0: wild: div" in done.stderr
    assert query(folder, "SELECT count(*) FROM results") == [(2,)]
    campaign("run", file, "--out", folder, "--quiet", code=2)
    tries = "SELECT count(*) FROM attempts WHERE cell = 'wild.resnet-8.digits.seed0'"
    assert query(folder, tries) == [(2,)]


def test_fine_tuning_starts_from_its_pre_training(tmp_path):
    text = HEAD.replace("[0, 1]", "[0]").replace('method = { arithmetic = "fixed" }', "")
    text += '[[methods]]\nname = "last"\nafter = "first"\ndata = { half = "second" }\n'
    text += 'finetune = { mode = "last-layer" }\n'
    text += '[[methods]]\nname = "first"\ndata = { half = "first" }\n'
    folder = tmp_path / "out"
    campaign("run", write(tmp_path, text), "--out", folder, "--quiet", "--workers", 2)
    order = query(folder, "SELECT cell FROM attempts ORDER BY number")
    assert [str(cell).partition(".")[0] for (cell,) in order] == ["first", "last"]
    import numpy as np

    first, last = (
        np.load(folder / "cells" / f"{name}.resnet-8.digits.seed0" / "checkpoint.npz")
        for name in ("first", "last")
    )
    frozen = [n for n in first.files if n.startswith("parameters/") and "classifier" not in n]
    assert frozen and all((first[name] == last[name]).all() for name in frozen)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--meter", "ina226"],
            "--meter: a meter is simulated, none or DRIVER:PORT",
        ),
        (["--meter", "ina226-serial:/dev/x", "--workers", "2"], "measures one cell at a time"),
        (["--scheduler", "tcp://127.0.0.1:9"], "--scheduler tcp://127.0.0.1:9: no answer"),
        (["--meter", "ina226-serial:/dev/none"], "/dev/none"),
    ],
)
def test_mistakes_are_one_line(tmp_path, options, said):
    if "--scheduler" in options:
        pytest.importorskip("distributed", reason="Dask is not installed")
    done = campaign("run", write(tmp_path, TWO), "--out", tmp_path / "out", "--quiet",
                    *options, code=2)  # fmt: skip
    assert said in done.stderr


def test_missing_data_is_found_before_any_cell_runs(tmp_path):
    text = TWO.replace("digits", "cifar10")
    done = campaign("run", write(tmp_path, text), "--out", tmp_path / "out", "--data",
                    tmp_path / "none", code=2)  # fmt: skip
    assert "cifar" in done.stderr.lower()
    assert query(tmp_path / "out", "SELECT count(*) FROM attempts") == [(0,)]


def test_status_of_no_campaign(tmp_path):
    for verb in ("status", "export", "report", "pause"):
        assert "holds no campaign" in campaign(verb, tmp_path, code=2).stderr
