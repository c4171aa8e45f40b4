# SPDX-License-Identifier: Apache-2.0
"""Finished runs packed small, and read back as they were."""

import json
import tarfile

import pytest

from e2train.cli import run
from e2train.errors import UserError
from e2train.results.pack import pack, read_archives, thinned, unpack
from e2train.runs.load import load_run
from report_folders import CELLS, make_run
from results_runs import PSG, SGD, made_run


@pytest.fixture
def folders(tmp_path):
    runs = tmp_path / "runs"
    return [
        made_run(runs / "a", "sgd-fp32", SGD),
        made_run(runs / "b", "sgd-fp32", SGD, seed=1),
        made_run(runs / "c", "psg", PSG),
    ]


def test_a_packed_run_reads_as_it_was(tmp_path, folders):
    (tmp_path / "logs").mkdir()
    assert pack(folders, tmp_path / "logs" / "x.tar.xz") == 3
    found = {(run.name, run.seed): run for run in read_archives(tmp_path / "logs")}
    for folder in folders:
        before = load_run(folder)
        after = found[before.name, before.seed]
        assert (after.result, after.settings) == (before.result, before.settings)
        assert (after.progress, after.evaluations) == (before.progress, before.evaluations)
        assert after.folder.parent.name == "x.tar.xz"


def test_the_bytes_depend_on_the_runs_alone(tmp_path, folders):
    first, second = tmp_path / "1.tar.xz", tmp_path / "2.tar.xz"
    pack(folders, first)
    pack([folders[0].parent], second)  # the folder that holds them, in another order
    assert first.read_bytes() == second.read_bytes()


def test_members_name_no_machine(tmp_path, folders):
    file = folders[2] / "experiment.toml"
    text = file.read_text().replace(
        "[finetune]\n", '[finetune]\ncheckpoint = "/home/me/runs/pre/checkpoint.npz"\n'
    )
    file.write_text(text)
    result = json.loads((folders[2] / "result.json").read_text())
    result["meter"] = "pzem-004t:/dev/ttyUSB0,address=2"
    (folders[2] / "result.json").write_text(json.dumps(result))
    (folders[2] / "timing.jsonl").write_text("{}\n")
    archive = tmp_path / "x.tar.xz"
    pack([folders[2]], archive)
    (place,) = unpack(archive, tmp_path)
    assert sorted(path.name for path in place.iterdir()) == [
        "events.jsonl", "experiment.toml", "result.json",
    ]  # fmt: skip
    assert load_run(place).settings["finetune.checkpoint"] == "pre/checkpoint.npz"
    assert json.loads((place / "result.json").read_text())["meter"] == "pzem-004t"
    with tarfile.open(archive) as content:
        assert {(m.mtime, m.uid, m.uname) for m in content} == {(0, 0, "")}


def test_thinning_keeps_evaluations_and_the_last_progress(folders):
    events = (folders[0] / "events.jsonl").read_bytes()
    kept = [json.loads(line) for line in thinned(events, 7).splitlines()]
    whole = [json.loads(line) for line in events.splitlines()]
    progress = [event for event in kept if event["event"] == "progress"]
    assert 4 <= len(progress) <= 7
    assert progress[-1] == [event for event in whole if event["event"] == "progress"][-1]
    others = [[e for e in some if e["event"] != "progress"] for some in (kept, whole)]
    assert others[0] == others[1]
    assert thinned(events, 1000).splitlines() == events.splitlines()


@pytest.mark.parametrize(
    ("name", "said"),
    [("unfinished", "only finished runs"), ("twice", "are both sgd-fp32-seed0"),
     ("exists", "exists; give another name"), ("name", "ends in .tar.xz"),
     ("nowhere", "no such folder"), ("norun", "no run folder")],
)  # fmt: skip
def test_mistakes_are_one_line_and_write_nothing(tmp_path, folders, capsys, name, said):
    out = tmp_path / "x.tar.xz"
    given = [str(folders[0])]
    if name == "unfinished":
        given.append(str(make_run(tmp_path / "u", CELLS[1], until=100, samples=0)))
    elif name == "twice":
        given.append(str(made_run(tmp_path / "t", "sgd-fp32", SGD)))
    elif name == "exists":
        out.write_bytes(b"mine")
    elif name == "norun":
        given = [str(tmp_path)]
    out = {"name": tmp_path / "x.zip", "nowhere": tmp_path / "no" / "x.tar.xz"}.get(name, out)
    before = sorted(tmp_path.rglob("*"))
    assert run(["results", "pack", *given, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
    assert name != "exists" or out.read_bytes() == b"mine"


def test_replace(tmp_path, folders, capsys):
    out = tmp_path / "x.tar.xz"
    for extra in ([], ["--replace"]):
        assert run(["results", "pack", str(folders[0]), "--out", str(out), *extra]) == 0
        assert "1 runs" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"no archive", b"\xfd7zXZ\x00\x00\x04broken"])
def test_damaged_archives_are_named(tmp_path, content):
    (tmp_path / "x.tar.xz").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.tar\.xz: not an archive of runs"):
        read_archives(tmp_path)


@pytest.mark.parametrize("name", ["../evil/result.json", "a/b/result.json", "a/other.txt", "a"])
def test_archives_cannot_write_elsewhere(tmp_path, name):
    with tarfile.open(tmp_path / "x.tar.xz", "w:xz") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(UserError, match="which no record has"):
        unpack(tmp_path / "x.tar.xz", tmp_path)


def test_a_broken_record_is_named_by_archive(tmp_path, folders):
    out = tmp_path / "x.tar.xz"
    pack([folders[0]], out)
    (place,) = unpack(out, tmp_path)
    with tarfile.open(out, "w:xz") as archive:
        (place / "result.json").write_text("{")
        for file in place.iterdir():
            archive.add(file, f"{place.name}/{file.name}")
    with pytest.raises(UserError, match=r"x\.tar\.xz/sgd-fp32-seed0/result\.json: not a JSON"):
        read_archives(tmp_path)
