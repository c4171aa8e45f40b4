# SPDX-License-Identifier: Apache-2.0
"""Energies of finished runs anew, from their logs."""

import json
import shutil

import pytest

from e2train.cli import run
from e2train.training.remeter import main

EXPERIMENT = """\
name = "{name}"
[data]
name = "digits"
[train]
iterations = 24
batch = 64
log_every = 4
evaluate_every = 12
[method]
{method}
[smd]
drop = 0.25
[swa]
start = 0.5
every = 2
statistics_batches = 3
"""
FIXED = 'arithmetic = "fixed"\nupdate = "psg"\n'
METHODS = {
    "psg": FIXED,
    "e2train": FIXED + '[slu]\nskip = 0.3\ngated = "all"\n',
    "depth": FIXED + "[stochastic_depth]\nskip = 0.3\n",
    "float": "",
}


def energies(folder):
    """Joules of every event that has some, the result's last."""
    lines = (folder / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    result = json.loads((folder / "result.json").read_text())
    found = [event["energy"]["joules"] for event in events if event.get("energy")]
    return [*found, result["cell"]["energy_joules"]], result["board"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, method in METHODS.items():
        path = folder / f"{name}.toml"
        path.write_text(EXPERIMENT.format(name=name, method=method))
        assert run(["train", str(path), "--out", str(folder / name), "--quiet"]) == 0
    return folder


def spoil(folder):
    """Energies and board as an older model might have left them."""
    text = (folder / "events.jsonl").read_text()
    (folder / "events.jsonl").write_text(text.replace('"joules":', '"joules":1'))
    result = json.loads((folder / "result.json").read_text())
    result["cell"]["energy_joules"] = 1e6
    del result["board"], result["board_model"]
    (folder / "result.json").write_text(json.dumps(result))


@pytest.mark.parametrize("name", METHODS)
def test_energies_come_back(trained, tmp_path, name, capsys):
    """Within 4 %: of 18 mini-batches, the first does more than half of its passes twice."""
    folder = tmp_path / name
    shutil.copytree(trained / name, folder)
    spoil(folder)
    assert main([str(folder)]) == 0
    assert "simulated" in capsys.readouterr().out
    (expected, board), (found, again) = energies(trained / name), energies(folder)
    assert found[-1] == pytest.approx(expected[-1], rel=0.04)
    assert again["seconds"] == pytest.approx(board["seconds"], rel=0.04)
    assert found == sorted(found)
    before, after = (json.loads((f / "result.json").read_text()) for f in (trained / name, folder))
    for result in (before, after):
        del result["board"], result["cell"]["energy_joules"]
        del result["cell"]["energy_uncertainty_joules"]
    assert after == before  # accuracy, counts and names stay


def test_a_run_without_simulated_energy_is_refused_in_one_line(trained, tmp_path, capsys):
    folder = tmp_path / "metered"
    shutil.copytree(trained / "float", folder)
    text = (folder / "result.json").read_text()
    (folder / "result.json").write_text(text.replace('"simulated"', '"metered"'))
    assert main([str(folder)]) == 2
    assert main([str(tmp_path / "nowhere")]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "not simulated" in first
    assert "no finished run" in second


def test_counts_that_do_not_follow_are_refused_and_nothing_changes(trained, tmp_path, capsys):
    folder = tmp_path / "other"
    shutil.copytree(trained / "psg", folder)
    result = json.loads((folder / "result.json").read_text())
    result["macs"] *= 2
    (folder / "result.json").write_text(json.dumps(result))
    before = (folder / "events.jsonl").read_bytes()
    assert main([str(folder)]) == 2
    assert "multiply-accumulates logged" in capsys.readouterr().err
    assert (folder / "events.jsonl").read_bytes() == before
