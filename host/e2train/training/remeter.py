# SPDX-License-Identifier: Apache-2.0
"""Simulated energy of finished runs anew, from their logs: `python -m e2train.training.remeter`.

For runs that were recorded with another model of the board than today's. Nothing is trained: every
mini-batch's operations follow from what the log holds (mini-batches run, samples skipped by block,
signs predicted by layer), and go through the simulated meter again. Only energies change.

What a log does not hold is drawn: on which mini-batches between two progress events the skipped
samples fall. Passes that a run's first iteration does twice are left out.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..cost.counts import FIXED8, FLOAT32, FULL_SIGN, PSG, Scheme, operations
from ..data.shapes import picture_shape
from ..device.counter import Counter
from ..device.operations import LOGITS, Operation, Processor
from ..errors import UserError
from ..files import write_text
from ..methods.slu import exploring_burst, gated_names
from ..methods.stochastic_depth import MINI_BATCH
from ..network.models import network_spec
from ..rng import generator
from .experiment import CHANCE, Experiment, load_experiment
from .metering import RunEnergy
from .record import RESULT, write_result

METER = "simulated"
TOLERANCE = 0.01  # of the logged multiply-accumulates that the operations may differ by, and a
# mini-batch's: the first one does some passes twice


def scheme_of(experiment: Experiment) -> Scheme:
    """The widths that an experiment trains with."""
    method = experiment.method
    if method.arithmetic != "fixed":
        return FLOAT32
    return {"psg": PSG, "sgd": FIXED8}.get(method.update, FULL_SIGN)


def _refuse(reason: str) -> None:
    raise UserError(f"the simulated meter failed, so nothing was changed: {reason}")


class Replay:
    """One run's operations again, interval by interval between its progress events."""

    def __init__(self, folder: Path, start: dict[str, Any], meter_folder: Path) -> None:
        self.experiment = load_experiment(folder / "experiment.toml")
        if self.experiment.smd.by != CHANCE:
            _refuse("which mini-batches went backwards is not on record (smd.by)")
        if "picture" in start:
            shape, classes = tuple(start["picture"]), len(start["class_names"])
        else:
            shape, classes = picture_shape(start["dataset"])
        self.spec = network_spec(start["network"], shape, classes)
        self.scheme, self.batch = scheme_of(self.experiment), self.experiment.train.batch
        self.counter = Counter()
        seed, float32 = self.experiment.train.seed, self.scheme.float32
        self.energy = RunEnergy(
            METER, meter_folder, self.counter, seed, None, _refuse, float32=float32
        )
        self._blocks = [block.name for block in self.spec.skippable_blocks]
        self._run = 0
        self._random = generator(self.experiment.train.seed, "remeter exploration")
        self._skipped = dict.fromkeys(self._blocks, 0.0)
        self._left = dict.fromkeys(self._blocks, 0.0)  # share of the samples skipped of late
        self._shares: dict[str, float] = {}

    def interval(self, event: dict[str, Any]) -> None:
        """The mini-batches up to a progress event."""
        run = event["iterations_run"] - self._run
        if run:
            self._shares = {name: share / 100 for name, share in event["predictor_share"].items()}
            for name in self._blocks if event["block_skip"] else ():
                skipped = event["block_skip"][name] / 100 * event["iterations_run"] * self.batch
                self._left[name] = (skipped - self._skipped[name]) / (run * self.batch)
                self._skipped[name] = skipped
            for chosen in self._choices(run):
                self._mini_batch(self._operations(chosen))
        self._run = event["iterations_run"]
        self.energy.settle()

    def statistics(self) -> None:
        """The forward passes that renew the averaged weights' batch-norm statistics."""
        for chosen in self._choices(self.experiment.swa.statistics_batches):
            whole = self._operations(chosen)
            last = next(i for i, one in enumerate(whole) if _is_logits(one))
            for one in whole[: last + 1]:
                self.counter.record(one)
        self.energy.mini_batch()
        self.energy.settle()

    def _choices(self, run: int) -> list[dict[str, int]]:
        """Samples that run each block, of each of `run` mini-batches."""
        random = generator(self.experiment.train.seed, "remeter", self._run)
        drawn = {}
        for name in self._blocks:
            share = min(max(self._left[name], 0.0), 1.0)
            depth = self.experiment.stochastic_depth
            if depth.skip and depth.per == MINI_BATCH:
                skipped = random.permutation(run) < round(share * run)
                drawn[name] = [0 if one else self.batch for one in skipped]
            else:
                drawn[name] = random.binomial(self.batch, 1.0 - share, run).tolist()
        return [{name: ran[index] for name, ran in drawn.items()} for index in range(run)]

    def _explored_shares(self) -> dict[str, float]:
        """Of the skipped samples of one mini-batch, by block."""
        explore = self.experiment.slu.explore
        burst = exploring_burst(explore)
        drawn = self._random.random(len(self._blocks)) * burst < 1.0
        return {name: explore * burst * one for name, one in zip(self._blocks, drawn, strict=True)}

    def _operations(self, chosen: dict[str, int]) -> list[Operation]:
        slu = self.experiment.slu
        share = self._explored_shares()
        return operations(
            self.spec,
            self.scheme,
            self.batch,
            ran=lambda block: chosen[block.name],
            predicted={**dict.fromkeys(self._layers, 0.0), **self._shares},
            explored=lambda block: round((self.batch - chosen[block.name]) * share[block.name]),
            gated=gated_names(self.spec, slu.gated) if slu.skip else (),
        )

    @property
    def _layers(self) -> list[str]:
        return [*(unit.name for unit in self.spec.units()), "classifier"]

    def _mini_batch(self, work: list[Operation]) -> None:
        for one in work:
            self.counter.record(one)
        self.energy.mini_batch()


def _is_logits(operation: Operation) -> bool:
    return isinstance(operation, Processor) and operation.unit == LOGITS


def remeter(folder: Path) -> tuple[float | None, float]:
    """Rewrite the energies of a finished run's events and result; (joules before, after).

    UserError if there is no finished run with simulated energy in `folder`, or if its counts do not
    follow from its log.
    """
    try:
        lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{folder}: no finished run: {error.strerror}") from error
    events = [json.loads(line) for line in lines]
    before = result["cell"]["energy_joules"]
    if result["cell"]["energy_provenance"] != METER:
        raise UserError(f"{folder}: its energy is not simulated")
    with tempfile.TemporaryDirectory() as scratch:
        replay = Replay(folder, events[0], Path(scratch) / "meter")
        try:
            _replay(events, replay)
        finally:
            replay.energy.close()
    run = max(result["cell"]["iterations_run"], 1)
    _same_counts(folder, result["macs"], replay.counter.macs, 1 / run)
    energy = replay.energy.joules() or {}
    result["cell"]["energy_joules"] = energy.get("joules")
    result["cell"]["energy_uncertainty_joules"] = energy.get("uncertainty_joules")
    events[0]["board_model"] = result["board_model"] = replay.energy.board_model
    result["board"] = {**replay.energy.board, "provenance": "modelled"}
    text = "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in events)
    write_text(folder / "events.jsonl", text)
    write_result(folder, result)
    return before, result["cell"]["energy_joules"]


def _replay(events: list[dict[str, Any]], replay: Replay) -> None:
    """Give every event the energy that the meter has seen up to it."""
    for event in events:
        if event["event"] == "progress":
            replay.interval(event)
        if event["event"] == "evaluation" and event["weights"] == "swa":
            replay.statistics()
        if "energy" in event:
            event["energy"] = replay.energy.joules()


def _same_counts(folder: Path, logged: int, found: int, mini_batch: float) -> None:
    if abs(found - logged) > (TOLERANCE + mini_batch) * logged:
        raise UserError(
            f"{folder}: {logged:,} multiply-accumulates logged, its operations come to {found:,}"
        )


def main(folders: list[str]) -> int:
    """Remeter run folders, each in place."""
    for name in folders:
        try:
            before, after = remeter(Path(name))
        except UserError as error:
            print(f"remeter: {error}", file=sys.stderr)
            return 2
        print(f"{name}: {before:,.1f} J before, {after:,.1f} J now, both simulated")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
