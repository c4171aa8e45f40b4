# SPDX-License-Identifier: Apache-2.0
"""Pictures that arrive once: from a folder that is being filled, and as a tar archive on stdin."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from e2train.cli import run
from e2train.data.arrivals import SPOOL
from e2train.runs.checkpoint import read_checkpoint
from picture_folders import break_files, digit_pictures, write_folder

WAIT = 3.0  # seconds without a new picture, after which a folder's stream ends
EXPERIMENT = """\
network = "resnet-8"
[data]
name = "folder"
size = 8
colour = false
order = "stream"
wait = {wait}
{path}
[train]
iterations = 1000
batch = 4
log_every = 2
checkpoint_every = 3
[smd]
drop = 0.5
by = "loss"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve pictures of each of three classes to train on, in the order of their times."""
    images, labels = digit_pictures(16, 3)
    images, test = images[:, ::2, ::2], np.arange(len(labels)) % 4 == 3
    write_folder(tmp_path / "own/train", images[~test], labels[~test])
    write_folder(tmp_path / "own/test", images[test], labels[test])
    order = np.random.default_rng(0).permutation(sorted((tmp_path / "own/train").glob("*/*.png")))
    for second, path in enumerate(order):
        os.utime(path, (1e9 + second, 1e9 + second))
    return tmp_path / "own"


def arguments(root: Path, out: Path, wait: float, path: str = "") -> list[str]:
    file = root.parent / "stream.toml"
    file.write_text(EXPERIMENT.format(wait=wait, path=path))
    given = ["train", file, "--data", root, "--out", out, "--meter", "none", "--quiet"]
    return list(map(str, given))


def trained(capsys: pytest.CaptureFixture[str], *given: str) -> list[str]:
    """Run to the end; the lines said beside the results."""
    code = run(given)
    errors = capsys.readouterr().err
    assert code == 0, errors
    return errors.splitlines()


def same(first: Path, second: Path) -> bool:
    """Whether two runs have the same weights and events to the byte."""
    arrays = [read_checkpoint(one / "checkpoint.npz").arrays for one in (first, second)]
    assert arrays[0].keys() == arrays[1].keys()
    events = [(one / "events.jsonl").read_bytes() for one in (first, second)]
    return events[0] == events[1] and all(
        a.tobytes() == arrays[1][name].tobytes() for name, a in arrays[0].items()
    )


def test_a_folder_that_fills_and_a_kill(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = sorted((root / "train").glob("one/*.png"))[:1]
    times = broken[0].stat()
    break_files(broken)
    os.utime(broken[0], ns=(times.st_atime_ns, times.st_mtime_ns))
    whole = tmp_path / "whole"
    said = trained(capsys, *arguments(root, whole, WAIT))
    assert said == [f"e2train: not used: train/one/{broken[0].name} is empty"]
    cell = json.loads((whole / "result.json").read_text())["cell"]
    checkpoint = read_checkpoint(whole / "checkpoint.npz").meta
    assert checkpoint["iteration"] == 35 // 4 and cell["iterations_offered"] == 1000

    # the same pictures, half of which come after a kill
    late = sorted((root / "train").glob("*/*.png"), key=lambda path: path.stat().st_mtime)[18:]
    moved = [(path, tmp_path / "away" / path.relative_to(root)) for path in late]
    for path, place in moved:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, place)
    out = tmp_path / "parts"
    command = [sys.executable, "-m", "e2train.cli", *arguments(root, out, WAIT)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(out, 4)  # the checkpoint is that of iteration 3
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with open(out / SPOOL, "ab") as spool:
        spool.write(b"E2A1 torn off")
    for path, place in moved:
        shutil.move(place, path)
    trained(capsys, *arguments(root, out, WAIT), "--resume")
    assert same(whole, out)


def tar_of(root: Path) -> bytes:
    """The training pictures as a tar archive, in the order of their times, with odd members."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for path in sorted((root / "train").glob("*/*.png"), key=lambda path: path.stat().st_mtime):
            tar.add(path, f"somewhere/{path.relative_to(root / 'train')}")
        link = tarfile.TarInfo("one/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("../../three/none.png"))
    return stream.getvalue()


def give(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Put `content` on standard input."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))


def test_a_tar_archive_on_standard_input(
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "tar"
    trained(capsys, *arguments(root, whole, WAIT))
    give(monkeypatch, tar_of(root))
    shutil.move(root / "train", tmp_path / "gone")
    told = trained(capsys, *arguments(root, out, WAIT, 'path = "-"'))
    assert same(whole, out)
    assert told == [
        "e2train: not used: one/link.png is no regular file",
        "e2train: not used: ../../three/none.png is empty",
    ]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"gone", "own", "stream.toml", "tar", "whole"}


@pytest.mark.parametrize("content", [b"no archive", b""])
def test_what_is_no_archive_is_refused(
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
) -> None:
    give(monkeypatch, content)
    assert run(arguments(root, tmp_path / "out", WAIT, 'path = "-"')) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("e2train: standard input: expected a tar archive")


def wait_for(out: Path, iteration: int) -> None:
    """Until the run's record has come to an iteration."""
    for _ in range(600):
        path = out / "events.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        if any(json.loads(line).get("iteration", 0) >= iteration for line in lines):
            return
        time.sleep(0.1)
    raise AssertionError(f"never came to iteration {iteration}")
