# SPDX-License-Identifier: Apache-2.0
"""A meter that is lost in the middle of a run: the run goes on to its end, without valid joules."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from e2train.campaign.idle import above_idle, measure_idle
from e2train.campaign.lease import Heartbeat
from e2train.cli import run
from e2train.runs.load import load_run
from e2train.training.trainer import Trainer
from powermeter.energy.integrate import WindowResult
from powermeter.record.recorder import Recorder
from powermeter.record.session import MeterSession, SimulatedSession
from powermeter.record.stream import EventStream

EXPERIMENT = """\
name = "short"
[train]
iterations = 12
batch = 128
log_every = 2
evaluate_every = 4
checkpoint_every = 4
"""


class Failing:
    """Calls `whole`, and from the moment `broken` is set raises."""

    def __init__(self, whole, name: str) -> None:
        self.whole, self.name, self.broken = whole, name, False

    def __get__(self, thing, _):
        def call(*arguments, **named):
            if self.broken:
                raise TypeError(f"injected into {self.name}")
            return self.whole(thing, *arguments, **named)

        return call


def train(folder: Path, *options: str) -> int:
    (folder / "short.toml").write_text(EXPERIMENT)
    settings, out = str(folder / "short.toml"), str(folder / "run")
    return run(["train", settings, "--out", out, "--quiet", *options])


def events_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "run/events.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (EventStream, "feed"),
        (Recorder, "result"),
        (Recorder, "position"),
        (SimulatedSession, "advance"),
        (MeterSession, "finish"),
    ],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
def test_a_run_goes_on_without_joules_and_says_why(owner, name, tmp_path, monkeypatch, capsys):
    fault = Failing(getattr(owner, name), name)
    monkeypatch.setattr(owner, name, fault)
    whole = Trainer.mini_batch

    def mini_batch(self, iteration):
        fault.broken = iteration >= 8
        return whole(self, iteration)

    monkeypatch.setattr(Trainer, "mini_batch", mini_batch)
    assert train(tmp_path) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("warning: short goes on without valid joules: ")
    assert f"injected into {name}" in said[0]
    events = events_of(tmp_path)
    (lost,) = [event for event in events if event["event"] == "meter-lost"]
    assert f"injected into {name}" in lost["reason"]
    at = events.index(lost)
    assert any(event.get("energy") for event in events[:at]), "joules before it stay"
    assert all(event.get("energy") is None for event in events[at:])
    cell = json.loads((tmp_path / "run/result.json").read_text())["cell"]
    assert cell["energy_joules"] is None
    assert cell["energy_missing"] == lost["reason"]
    assert cell["iterations_run"] == 12
    assert load_run(tmp_path / "run").result is not None
    if name != "finish":
        assert not (tmp_path / "run/meter/result.json").exists()


def test_a_run_that_lost_its_meter_is_taken_up_without_it(tmp_path, monkeypatch, capsys):
    """Also where the meter works again: what was missed stays missed."""
    whole, feed = Trainer.mini_batch, Failing(EventStream.feed, "feed")

    def mini_batch(self, iteration):
        feed.broken = iteration >= 2
        if iteration == 10:
            raise KeyboardInterrupt
        return whole(self, iteration)

    with monkeypatch.context() as patch:
        patch.setattr(EventStream, "feed", feed)
        patch.setattr(Trainer, "mini_batch", mini_batch)
        assert train(tmp_path) != 0
    capsys.readouterr()
    assert train(tmp_path, "--resume") == 0
    assert capsys.readouterr().err == ""
    assert [event["event"] for event in events_of(tmp_path)].count("meter-lost") == 1
    cell = json.loads((tmp_path / "run/result.json").read_text())["cell"]
    assert cell["energy_joules"] is None
    assert "injected into feed" in cell["energy_missing"]


def test_an_idle_window_whose_recorder_died_says_so(tmp_path, monkeypatch):
    class Beating(Heartbeat):
        def __init__(self):
            self._stop = threading.Event()

        def check(self):
            return None

    feed = Failing(EventStream.feed, "feed")
    window = measure_idle("simulated", tmp_path / "whole", 5.0, 0, Beating())
    assert window is not None
    assert window.valid
    monkeypatch.setattr(EventStream, "feed", feed)
    advance = SimulatedSession.advance

    def breaking(self, segments):
        feed.broken = sum(seconds for seconds, _ in segments) > 1.0
        advance(self, segments)

    monkeypatch.setattr(SimulatedSession, "advance", breaking)
    idle = measure_idle("simulated", tmp_path / "broken", 5.0, 0, Beating())
    assert isinstance(idle, WindowResult)
    assert not idle.valid
    assert "injected into feed" in idle.reason
    net = above_idle(window, window, idle)
    assert (net.joules, net.missing) == (None, f"idle run after: {idle.reason}")
    assert not (tmp_path / "broken" / "result.json").exists()
