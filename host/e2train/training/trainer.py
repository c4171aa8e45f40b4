# SPDX-License-Identifier: Apache-2.0
"""The training loop: offered mini-batches in, weights and a record out.

All randomness is a function of seed and iteration, and everything else that a run depends on is in
its checkpoint, so a run that was killed continues bit for bit as if it had not been.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.arrivals import Arrivals
from ..data.batches import augment, batch_indices
from ..data.dataset import Dataset, Images, Labels
from ..data.settings import STREAM
from ..device.base import Device
from ..device.operations import WEIGHTS, Processor
from ..errors import UserError
from ..methods.choice import LossChoice
from ..methods.sgd import Sgd
from ..methods.signsgd import signs
from ..methods.smd import dropped
from ..methods.swa import WeightAverage
from ..network.parameters import Parameters
from ..runs.answers import answers_of, write_answers
from ..runs.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from ..runs.events import EventLog
from . import record
from .assembly import assemble
from .averaging import renew_statistics
from .bring import Brought, as_the_weights, bring
from .early_stop import Best, hold_out
from .evaluate import Accuracy, evaluate
from .experiment import LOSS, Experiment
from .finetune import LAST_LAYER, normalised_as, start_from
from .metering import NO_METER, RunEnergy
from .tallies import Tallies

if TYPE_CHECKING:
    from .graph.run import GraphRun

CHECKPOINT = "checkpoint.npz"
DIVERGED = 50.0  # times the loss of guessing
OnMiniBatch = Callable[[int, int, float | None], None]  # offered so far, offered in all, loss


class TimeIsUp(Exception):
    """A run that was given so many seconds has used them: its checkpoint is written."""


class Trainer:
    """One run in one folder. Use as a context manager, then `run()`."""

    def __init__(
        self,
        experiment: Experiment,
        dataset: Dataset,
        folder: Path,
        *,
        device: Device | None,
        meter: str = "simulated",
        resume: bool = False,
        graph: str | None = None,
        arrivals: Arrivals | None = None,
    ) -> None:
        """`graph`: the torch device ("cuda" or "cpu") on which whole iterations run as one.

        `arrivals`: where training pictures come from one by one, in place of the data set's.
        """
        stop = experiment.early_stop
        dataset = self._normalised(experiment, dataset, folder, resume)
        self.held: tuple[Images, Labels] | None = None
        if stop.patience:
            dataset, images, labels = hold_out(dataset, stop.held_out, experiment.data.split_seed)
            self.held = images, labels
        self.experiment, self.dataset, self.folder = experiment, dataset, folder
        self.arrivals = arrivals
        if arrivals is None:
            self._check_count()
        self.parts = assemble(experiment, dataset, device)
        self.network = self.parts.network
        self.choice = LossChoice(experiment.smd.drop) if experiment.smd.by == LOSS else None
        self.best = Best(stop.patience) if stop.patience else None
        self._stream_over = False
        self.notes: list[str] = []
        self.brought: Brought | None = None
        if not (resume and self.checkpoint_path.exists()):
            self._start_from(experiment)
        train = experiment.train
        self.optimiser = Sgd(
            self.network.parameters, train.momentum, train.weight_decay, train.sign_weight_decay
        )
        gates = self.parts.gates
        self.gate_optimiser = None if gates is None else Sgd(gates.parameters, train.momentum, 0.0)
        self.average = WeightAverage()
        self.tallies = Tallies(self.parts.spec)
        self.iteration = 0
        self.run_count = 0
        self.seconds = 0.0
        #: What measures the run, as `open_session` takes it; `none` for nothing.
        self.meter = meter
        saved = self._saved(resume)
        self.energy = RunEnergy(
            meter,
            folder / "meter",
            self.parts.counter,
            train.seed,
            saved.get("meter"),
            self._meter_lost,
            float32=self.parts.float32,
            board=saved.get("board"),
        )
        self.events = EventLog(folder / "events.jsonl", saved.get("events", 0))
        self.timing = EventLog(folder / "timing.jsonl", saved.get("timing", 0))
        self._graph = None if graph is None or self._last_only else self._graph_on(graph)

    @staticmethod
    def _normalised(
        experiment: Experiment, dataset: Dataset, folder: Path, resume: bool
    ) -> Dataset:
        """The pictures as the network knows them: of its own checkpoint, else of the base's."""
        own, finetune = folder / CHECKPOINT, experiment.finetune
        if finetune.starts_from is not None and resume and own.exists():
            return normalised_as(own, dataset)
        if finetune.weights is not None:
            return as_the_weights(finetune, dataset)
        if finetune.checkpoint is not None:
            return normalised_as(Path(finetune.checkpoint), dataset)
        return dataset

    def _check_count(self) -> None:
        """UserError where the training set has too few pictures for what is asked."""
        e, count = self.experiment, len(self.dataset.train_labels)
        if e.train.batch > count:
            raise UserError(f"train.batch = {e.train.batch}: the training set has {count} pictures")
        most = count // e.train.batch
        if e.data.order == STREAM and e.offered > most:
            raise UserError(
                f"train.iterations = {e.offered}: with data.order = 'stream' each picture comes "
                f"once, and {count} pictures are {most} mini-batches of {e.train.batch}"
            )

    def _start_from(self, experiment: Experiment) -> None:
        """Take over what fine-tuning starts from; a checkpoint of this very run has it already."""
        finetune = experiment.finetune
        if finetune.checkpoint:
            self.notes = start_from(
                Path(finetune.checkpoint), self.parts.spec.name, self.network.parameters
            )
        if finetune.weights:
            self.brought = bring(experiment, self.dataset, self.parts)

    def _graph_on(self, where: str) -> GraphRun:
        if self.arrivals is not None or self.choice is not None or self.best is not None:
            raise UserError(
                "--backend cuda: takes no pictures that arrive one by one, no smd.by = 'loss' and "
                "no early stop"
            )
        from .graph.run import GraphRun  # needs torch

        return GraphRun(self, where)

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *_: object) -> None:
        if self.arrivals is not None:
            self.arrivals.close()
        self.energy.close()
        self.events.close()
        self.timing.close()

    # ---- the loop -------------------------------------------------------------------------------

    def run(
        self,
        progress: OnMiniBatch = lambda done, total, loss: None,
        seconds: float = math.inf,
    ) -> dict[str, Any]:
        """Train to the end (or go on from where the checkpoint stands); returns result.json.

        TimeIsUp once `seconds` have passed before the end.
        """
        e, total = self.experiment, self.experiment.offered
        if self.iteration == 0:
            facts = record.start(
                e, self.dataset, self.parts.spec, self.energy.board_model, self.notes
            )
            self.events.write("start", **facts)
            if self.brought is not None:
                self.events.write("weights", **self.brought.facts())
        if self.arrivals is not None:
            self.arrivals.begin(self.folder, self.iteration * e.train.batch)
        started, self._clock = time.monotonic(), time.monotonic()
        loss: float | None = None
        while self.iteration < total and not self._ended:
            over = time.monotonic() - started >= seconds
            found = self._advance(over)
            if self._stream_over:
                break
            loss = loss if found is None else found
            if self._due(e.train.log_every):
                self._log(started)
            halfway = e.train.evaluate_every and self.iteration < total
            if halfway and self._due(e.train.evaluate_every):
                self._evaluate(None)
            if self.best is not None and self._due(e.early_stop.every):
                self._hold_against(self.best)
            stops = over and self.iteration < total and self._settled
            if stops or self._due(e.train.checkpoint_every):
                self._checkpoint()
            progress(self.iteration, total, loss)
            if stops:
                raise TimeIsUp
        if self.iteration < total:  # stopped early, or no more pictures came
            self._log(started)
            self._checkpoint()
        return self._finish()

    @property
    def _ended(self) -> bool:
        return self.best is not None and self.best.over

    def _advance(self, last: bool) -> float | None:
        """One iteration, or several at once; the loss of the last mini-batch that was run.

        `last`: nothing is to be started beyond what has been.
        """
        if self._graph is not None and self._graph.ready:
            return self._graph.advance(last)
        iteration, e = self.iteration, self.experiment
        chance = e.smd.drop if self.choice is None else 0.0
        drops = dropped(e.train.seed, iteration, chance)
        if self.arrivals is not None:
            batch = self.arrivals.take(e.train.batch)
            if batch is None:
                self._stream_over = True
                return None
            self._arrived = batch
        loss = None if drops else self.mini_batch(iteration)
        self.iteration += 1
        return loss

    @property
    def _settled(self) -> bool:
        """Whether the state here is that of this iteration."""
        return self._graph is None or self._graph.settled

    def _due(self, every: int) -> bool:
        return self.iteration % every == 0 or self.iteration == self.experiment.offered

    @property
    def _last_only(self) -> bool:
        """Whether the classifier alone is trained, and all else (gates too) stays as it is."""
        finetune = self.experiment.finetune
        return finetune.starts_from is not None and finetune.mode == LAST_LAYER

    def mini_batch(self, iteration: int) -> float:
        """Train on the mini-batch offered at `iteration`; returns its loss.

        Where losses decide, one of too small a loss is computed forwards only.
        """
        e, network = self.experiment, self.network
        images, labels = self._pictures(iteration)
        if self._last_only:
            outcome, gradients = network.classifier_only(images, labels, iteration)
            self.stop_if_diverged(iteration, outcome.loss)
        else:
            outcome, g = network.forward(images, labels, iteration)
            self.stop_if_diverged(iteration, outcome.loss)
            if self.choice is not None and not self.choice.trains(outcome.loss):
                self.tallies.add_loss(outcome.loss)
                self.energy.mini_batch()
                return outcome.loss
            gradients = network.backward(g)
        if e.method.update == "signsgd":
            gradients = signs(gradients)
        rate = e.schedule.rate(iteration)
        self.optimiser.step(network.parameters, gradients, rate)
        updated = sum(g.size for name, g in gradients.items() if name.endswith(".weight"))
        self.parts.counter.record(Processor(WEIGHTS, updated))
        self._learn_to_skip(iteration)
        self.run_count += 1
        self.tallies.add_loss(outcome.loss)
        if self.parts.fixed is not None:
            self.tallies.add_predictions(self.parts.fixed.tally)
        if iteration >= e.swa.start * e.offered and self.run_count % e.swa.every == 0:
            self.average.add(network.parameters)
        self.energy.mini_batch()
        return outcome.loss

    def _pictures(self, iteration: int) -> tuple[np.ndarray, np.ndarray]:
        """The mini-batch offered at `iteration`: uint8 [N,C,H,W], augmented, and labels [N]."""
        e, data = self.experiment, self.dataset
        if self.arrivals is not None:
            images, labels = self._arrived
        else:
            chosen = batch_indices(len(data.train_labels), e.train.batch, iteration, e.train.seed)
            images, labels = data.train_images[chosen], data.train_labels[chosen]
        if e.data.augment:
            images = augment(images, iteration, e.train.seed, data.mirror, data.shift, data.mean)
        return images, labels

    def _learn_to_skip(self, iteration: int) -> None:
        gates, policy = self.parts.gates, self.parts.policy
        if policy is not None:
            self.tallies.add_decisions(policy.ran)
        if gates is None or self.gate_optimiser is None or self._last_only:
            return
        gradients = gates.gradients()  # steers the skip ratio, too
        rate = self.gate_rate(iteration)
        if rate is not None:
            self.gate_optimiser.step(gates.parameters, gradients, rate)

    def gate_rate(self, iteration: int) -> float | None:
        """The gates' learning rate, which falls with the weights'; None while they wait."""
        e = self.experiment
        if iteration < e.slu.warmup * e.offered:
            return None
        return e.slu.lr * (e.schedule.rate(iteration) / e.schedule.lr)

    def stop_if_diverged(self, iteration: int, loss: float) -> None:
        """UserError where the loss of a mini-batch is far beyond that of guessing, or no number."""
        limit = DIVERGED * math.log(max(self.dataset.classes, 2))
        if math.isfinite(loss) and loss < limit:
            return
        raise UserError(
            f"{self.experiment.name}: diverged at iteration {iteration} (loss {loss:.4g}); "
            f"{self._kept}: try a smaller train.lr"
        )

    @property
    def _kept(self) -> str:
        """What is left of a run that breaks off."""
        if self.checkpoint_path.exists():
            return f"the last good checkpoint is kept in {self.folder}"
        return "there was no checkpoint yet"

    # ---- the record -----------------------------------------------------------------------------

    def _standing(self) -> dict[str, Any]:
        """Energy and work so far, for an event."""
        counter = self.parts.counter
        return {
            "energy": self.energy.joules(),
            "modelled": self.energy.modelled(),
            "macs": counter.macs,
            "bit_operations": counter.bit_operations,
        }

    def _meter_lost(self, reason: str) -> None:
        self.events.write("meter-lost", iteration=self.iteration, reason=reason)
        print(
            f"warning: {self.experiment.name} goes on without valid joules: {reason}",
            file=sys.stderr,
        )

    def _log(self, started: float) -> None:
        self.energy.settle()
        loss, shares = self.tallies.recent()
        gates = self.parts.gates
        self.events.write(
            "progress",
            iteration=self.iteration,
            iterations_run=self.run_count,
            loss=loss,
            lr=self.experiment.schedule.rate(self.iteration - 1),
            **self._standing(),
            skip_ratio=self.tallies.skip_ratio or 0.0,
            block_skip=self.tallies.block_skip,
            predictor_share=shares,
            gate_offset=None if gates is None else gates.controller.offset,
        )
        now = time.monotonic()
        each = (now - self._clock) / self.experiment.train.log_every
        self.seconds += now - self._clock
        self._clock = now
        self.timing.write(
            "time", iteration=self.iteration, seconds=now - started, seconds_per_iteration=each
        )

    def _evaluate(self, parameters: Parameters | None) -> Accuracy:
        data = self.dataset
        if self._graph is not None and self._graph.ready:
            found = self._graph.evaluate(data.test_images, data.test_labels, parameters)
        else:
            found = evaluate(self.network, data.test_images, data.test_labels, parameters)
        self.events.write(
            "evaluation",
            iteration=self.iteration,
            top1=found.top1,
            top5=found.top5,
            loss=found.loss,
            skip=found.skip,
            evaluation_macs=found.macs,
            weights="current" if parameters is None else "swa",
            **self._standing(),
        )
        return found

    def _hold_against(self, best: Best) -> None:
        """Evaluate on the held-out pictures, and keep the state if it is the best so far."""
        assert self.held is not None
        found = evaluate(self.network, *self.held)
        gates = self.parts.gates
        besides = {
            "arithmetic": self.network.arithmetic.state(),
            "controller": {} if gates is None else dict(vars(gates.controller)),
        }
        best.note(found, self.iteration, self._learned(), besides)
        self.events.write(
            "held-out", iteration=self.iteration, top1=found.top1, loss=found.loss, worse=best.worse
        )

    def _learned(self) -> dict[str, np.ndarray]:
        """What training changes and evaluation depends on, by name."""
        gates = {} if self.parts.gates is None else self.parts.gates.parameters
        return {**self.network.parameters, **{f"gate {name}": a for name, a in gates.items()}}

    def _take_best(self, best: Best) -> None:
        """Go back to the state that was best on the held-out pictures."""
        for name, array in self._learned().items():
            array[...] = best.arrays[name]
        self.network.arithmetic.restore(best.besides["arithmetic"])
        if self.parts.gates is not None:
            vars(self.parts.gates.controller).update(best.besides["controller"])
        print(
            f"{self.experiment.name}: the best of the held-out pictures is iteration "
            f"{best.iteration} ({best.top1:.2f} %), which is kept",
            file=sys.stderr,
        )

    def _finish(self) -> dict[str, Any]:
        """Last evaluation, averaged weights, result.json and the final checkpoint."""
        if self.best is not None and self.best.arrays:
            self._take_best(self.best)
            self._checkpoint()
        final = self._evaluate(None)
        if self.average.count:
            averaged = self.average.parameters(self.network.parameters)
            self._renew_statistics(averaged)
            self.energy.mini_batch()
            self.energy.settle()
            final = self._evaluate(averaged)
        self.seconds += time.monotonic() - self._clock
        self.energy.close()  # before the result: its joules are those of a recording that is whole
        self.events.write("end", iteration=self.iteration)
        self.events.sync()
        result = record.result(
            self.experiment,
            self.dataset,
            self.parts,
            self.tallies,
            self.energy,
            final,
            meter=self.meter,
            iterations_run=self.run_count,
            seconds=self.seconds,
        )
        write_answers(self.folder, answers_of(self.dataset, final.predicted, final.own))
        record.write_result(self.folder, result)
        return result

    def _renew_statistics(self, averaged: Parameters) -> None:
        """Batch-norm statistics for averaged weights: means over mini-batches as in training."""
        first = self.experiment.offered
        iterations = range(first, first + self.experiment.swa.statistics_batches)
        pictures = ((iteration, self._pictures(iteration)[0]) for iteration in iterations)
        renew_statistics(self.network, averaged, pictures)

    # ---- checkpoints ----------------------------------------------------------------------------

    @property
    def checkpoint_path(self) -> Path:
        """Where this run's checkpoint is."""
        return self.folder / CHECKPOINT

    def _groups(self) -> dict[str, dict[str, np.ndarray]]:
        groups = {
            "parameters": self.network.parameters,
            "velocity": self.optimiser.velocity,
            "average": self.average.mean,
        }
        if self.parts.gates is not None and self.gate_optimiser is not None:
            groups["gates"] = self.parts.gates.parameters
            groups["gate_velocity"] = self.gate_optimiser.velocity
        if self.best is not None and self.best.arrays:
            groups["best"] = self.best.arrays
        return groups

    def _checkpoint(self) -> None:
        self.energy.settle()
        self._stop_if_broken()
        arrays = {
            f"{group}/{name}": array
            for group, table in self._groups().items()
            for name, array in table.items()
        }
        gates = self.parts.gates
        meta = {
            "network": self.parts.spec.name,
            "experiment": json.loads(json.dumps(self.experiment.as_dict())),
            "iteration": self.iteration,
            "run_count": self.run_count,
            "average_count": self.average.count,
            "arithmetic": self.network.arithmetic.state(),
            "counter": self.parts.counter.state(),
            "tallies": self.tallies.state(),
            "controller": None if gates is None else vars(gates.controller),
            "meter": self.energy.position(),
            "board": self.energy.board,
            "events": self.events.sync(),
            "timing": self.timing.sync(),
            "seconds": self.seconds,
            "class_names": list(self.dataset.names),
            "mean": list(self.dataset.mean),
            "std": list(self.dataset.std),
            "choice": None if self.choice is None else self.choice.threshold,
            "best": None if self.best is None else self.best.state(),
        }
        write_checkpoint(self.checkpoint_path, Checkpoint(meta, arrays))
        if self.arrivals is not None:
            self.arrivals.keep(self.iteration * self.experiment.train.batch)

    def _stop_if_broken(self) -> None:
        for name, value in self.network.parameters.items():
            if not np.isfinite(value).all():
                raise UserError(
                    f"{self.experiment.name}: {name} is no longer finite at iteration "
                    f"{self.iteration}; {self._kept}"
                )

    def _saved(self, resume: bool) -> dict[str, Any]:
        """Restore all but meter and logs from the checkpoint, if resuming and there is one."""
        if not resume or not self.checkpoint_path.exists():
            return {}
        path, saved = self.checkpoint_path, read_checkpoint(self.checkpoint_path)
        metered = self.meter != NO_METER
        record.same_run(path, saved, self.experiment, self.parts.spec.name, metered)
        if saved.meta["average_count"]:
            self.average.add(self.network.parameters)  # makes room for what was averaged
        if self.best is not None and saved.meta["best"]["iteration"] >= 0:
            self.best.arrays = {name: a.copy() for name, a in self._learned().items()}
            self.best.restore(saved.meta["best"])
        record.restore(path, saved, self._groups())
        meta = saved.meta
        self.iteration, self.run_count = meta["iteration"], meta["run_count"]
        self.average.count, self.seconds = meta["average_count"], meta["seconds"]
        self.network.arithmetic.restore(meta["arithmetic"])
        self.parts.counter.restore(meta["counter"])
        self.tallies.restore(meta["tallies"])
        if self.choice is not None:
            self.choice.threshold = meta["choice"]
        if self.parts.gates is not None:
            vars(self.parts.gates.controller).update(meta["controller"])
        return meta
