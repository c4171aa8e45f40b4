# SPDX-License-Identifier: Apache-2.0
"""A trainer's iterations on the graph engine: chunk by chunk, with the host's record kept exactly.

The trainer's own objects stay what checkpoints, results and the last evaluation are made from:
state is pushed to the device when the engine begins, and pulled back wherever the trainer looks at
it. Between, a chunk of iterations is started before the one before is accounted for, so that the
device does not wait for the host's book-keeping.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...cost.counts import Scheme, operations
from ...methods.slu import gated_names
from ...methods.slu_gates import gate_macs
from ...methods.smd import dropped
from ...methods.stochastic_depth import StochasticDepth
from ...network.integer import PredictorTally
from ...network.parameters import Parameters
from ..assembly import fixed_settings
from ..evaluate import BATCH, Accuracy, Answers, score
from ..experiment import Experiment
from ..remeter import scheme_of
from .arithmetic import GraphArithmetic, Tensor, Tensors
from .engine import Engine, Evaluator, Pending, start_cuda
from .float32 import GraphFloat32
from .integer import GraphFixedArithmetic, unknown_tracks
from .network import GraphNetwork
from .pictures import Pictures
from .policy import GraphDepth, GraphPolicy, Table
from .slu import GraphSlu
from .step import StepSettings, TrainingStep, Weights

if TYPE_CHECKING:
    from ..trainer import Trainer

LARGEST_CHUNK = 64  # iterations between two looks at the device


@dataclass
class _Chunk:
    """Offered mini-batches [start, stop), of which those in `iterations` run."""

    start: int
    stop: int
    iterations: list[int]
    run_count: int  # after it
    average_count: int  # after it
    pending: Pending | None  # None where all were dropped


class GraphRun:
    """The iterations of one trainer on the torch device `where`, `cuda` or `cpu`."""

    def __init__(self, trainer: Trainer, where: str) -> None:
        if where == "cuda":
            start_cuda()
        self._trainer, self._where = trainer, torch.device(where)
        experiment, parts = trainer.experiment, trainer.parts
        self._scheme = _scheme(experiment)
        gates = parts.gates is not None
        self._gated = gated_names(parts.spec, experiment.slu.gated) if gates else frozenset[str]()
        self._gate_macs = sum(gate_macs(b) for b in parts.spec.blocks if b.name in self._gated)
        self._chunks: list[_Chunk] = []  # started, not yet accounted for; two at most
        self._pushed = False
        self._weights = Weights(parts.network.parameters, self._where)
        self._arithmetic = _arithmetic(trainer, self._weights)
        self._policy = _policy(trainer, self._where)
        network = GraphNetwork(parts.spec, self._arithmetic, self._policy, self._where)
        train, data = experiment.train, trainer.dataset
        self._pictures = Pictures(
            data, train.batch, train.seed, experiment.data.augment, self._where
        )
        settings = StepSettings(
            signs=experiment.method.update == "signsgd", averaging=experiment.swa.start < 1.0
        )
        self._step = TrainingStep(
            network, self._weights, self._pictures, trainer.optimiser, settings
        )
        self._network = network
        self._engine: Engine | None = None
        self._evaluator: Evaluator | None = None

    # ---- state ----------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether iterations can run here: every delayed exponent has seen a peak."""
        parts = self._trainer.parts
        return parts.fixed is None or not unknown_tracks(parts.spec, parts.fixed.state())

    def _push(self, instead: Parameters | None = None) -> None:
        """Take over the trainer's state; `instead`: other parameters than its own."""
        trainer = self._trainer
        own = trainer.network
        parameters = own.parameters if instead is None else instead
        self._weights.push(parameters, trainer.optimiser.velocity, trainer.average.mean)
        self._arithmetic.restore(own.arithmetic.state())
        if self._policy is not None:
            self._policy.push()
        self._pushed = True

    def _pull(self) -> None:
        """Give the trainer's objects the state after the last chunk that was started."""
        trainer = self._trainer
        own = trainer.network
        if trainer.average.count and not trainer.average.mean:
            for name, value in trainer.optimiser.velocity.items():
                trainer.average.mean[name] = np.zeros(value.shape)
        self._weights.pull(own.parameters, trainer.optimiser.velocity, trainer.average.mean)
        own.arithmetic.restore(self._arithmetic.state())
        if self._policy is not None:
            self._policy.pull()

    # ---- iterations -----------------------------------------------------------------------------

    def advance(self, last: bool) -> float | None:
        """Run up to where the trainer next records something; the loss of the last mini-batch run.

        `last`: start nothing beyond, so that the trainer's objects hold the state at its end.
        """
        trainer = self._trainer
        if not self._pushed:
            self._push()
        if not self._chunks:
            self._launch(trainer.iteration, trainer.run_count, trainer.average.count)
        chunk = self._chunks[0]
        ahead = len(self._chunks) > 1
        if not ahead and not last and not self._halts(chunk.stop):
            self._launch(chunk.stop, chunk.run_count, chunk.average_count)
            ahead = True
        loss = self._account(chunk)
        del self._chunks[0]
        trainer.iteration, trainer.run_count = chunk.stop, chunk.run_count
        trainer.average.count = chunk.average_count
        if not ahead:
            self._pull()
        return loss

    @property
    def settled(self) -> bool:
        """Whether the trainer's objects hold the state of its iteration."""
        return not self._chunks

    def _halts(self, iteration: int) -> bool:
        """Whether the trainer looks at the state here."""
        train, total = self._trainer.experiment.train, self._trainer.experiment.offered
        evaluates = train.evaluate_every and iteration % train.evaluate_every == 0
        return bool(iteration >= total or evaluates or iteration % train.checkpoint_every == 0)

    def _stop(self, start: int) -> int:
        """Where a chunk ends that begins at `start`."""
        train, total = self._trainer.experiment.train, self._trainer.experiment.offered
        stop = min(start + LARGEST_CHUNK, total)
        for every in (train.log_every, train.evaluate_every, train.checkpoint_every):
            if every:
                stop = min(stop, (start // every + 1) * every)
        return stop

    def _launch(self, start: int, run_count: int, average_count: int) -> None:
        e = self._trainer.experiment
        stop = self._stop(start)
        iterations = [
            iteration
            for iteration in range(start, stop)
            if not dropped(e.train.seed, iteration, e.smd.drop)
        ]
        counts = []
        for iteration in iterations:
            run_count += 1
            averaged = iteration >= e.swa.start * e.offered and run_count % e.swa.every == 0
            average_count += averaged
            counts.append(float(average_count) if averaged else 0.0)
        pending = self._started(self._table(iterations, counts)) if iterations else None
        self._chunks.append(_Chunk(start, stop, iterations, run_count, average_count, pending))

    def _table(self, iterations: list[int], counts: list[float]) -> Table:
        e = self._trainer.experiment
        table: Table = {
            "order": self._pictures.order(iterations),
            "rate": np.array([e.schedule.rate(iteration) for iteration in iterations], np.float32),
            "sign_rate": np.array([e.sign_rate(iteration) for iteration in iterations], np.float32),
            "count": np.array(counts),
        }
        if self._policy is not None:
            table.update(self._policy.drawn(iterations))
        return table

    def _started(self, table: Table) -> Pending:
        if self._engine is None:
            changed = self._step.tensors()
            self._engine = Engine(self._step, changed, table, LARGEST_CHUNK, self._where)
        return self._engine.launch(table)

    # ---- the record -----------------------------------------------------------------------------

    def _account(self, chunk: _Chunk) -> float | None:
        """Keep the trainer's books of a chunk, mini-batch by mini-batch."""
        if chunk.pending is None:
            return None
        loss = None
        readings = chunk.pending.wait()
        for position, iteration in enumerate(chunk.iterations):
            row = {name: values[position] for name, values in readings.items()}
            loss = self._account_for(iteration, row)
        return loss

    def _account_for(self, iteration: int, row: Table) -> float:
        trainer, parts = self._trainer, self._trainer.parts
        with np.errstate(divide="ignore", invalid="ignore"):
            loss = float(-np.log(row["picked"]).mean())
        trainer.stop_if_diverged(iteration, loss)
        batch = trainer.experiment.train.batch
        blocks = [block.name for block in parts.spec.skippable_blocks]
        ran, explored = dict.fromkeys(blocks, batch), dict.fromkeys(blocks, 0)
        if self._policy is not None:
            ran = dict(zip(blocks, row["ran"].tolist(), strict=True))
            trainer.tallies.add_skipped([batch - count for count in ran.values()], batch)
            self._policy.take_note(row)
            if "explored" in row:
                explored = dict(zip(blocks, row["explored"].tolist(), strict=True))
        tally = dict(self._predicted(row, ran))
        shares = {name: one.predicted / one.weights for name, one in tally.items()}
        work = operations(
            parts.spec,
            self._scheme,
            batch,
            ran=lambda block: ran[block.name],
            predicted={**dict.fromkeys(self._step.predicting, 0.0), **shares},
            explored=lambda block: explored[block.name],
            gated=self._gated,
        )
        for operation in work:
            parts.counter.record(operation)
        trainer.tallies.add_loss(loss)
        trainer.tallies.add_predictions(tally)
        trainer.energy.mini_batch()
        return loss

    def _predicted(self, row: Table, ran: dict[str, int]) -> Iterator[tuple[str, PredictorTally]]:
        """The predictor's count in each layer that any sample ran."""
        if not self._step.predicting:
            return
        spec = self._trainer.parts.spec
        counts = dict(zip(self._step.predicting, row["predicted"].tolist(), strict=True))
        # in the order of the backward pass, as the host's record has them
        for block in reversed(spec.blocks):
            for unit in reversed(block.units):
                if ran.get(block.name, 1):
                    yield unit.name, PredictorTally(counts[unit.name], unit.geometry.weights)

    # ---- evaluation -----------------------------------------------------------------------------

    def evaluate(
        self, images: np.ndarray, labels: np.ndarray, parameters: Parameters | None
    ) -> Accuracy:
        """As `training.evaluate.evaluate` of the trainer's network."""
        if parameters is not None or not self._pushed:
            self._push(parameters)
            self._pushed = parameters is None  # else the trainer's own is pushed again
        if self._evaluator is None:
            shape = (min(BATCH, len(images)), *images.shape[1:])
            self._evaluator = Evaluator(self._answer, shape, self._where)
        return score(self._answers, images, labels)

    def _answer(self, images: Tensor, drawn: Tensors) -> Tensors:
        found = {"logits": self._network.logits(images, drawn, training=False)}
        for index, ran in enumerate(self._network.ran):
            if ran is not None:
                found[f"ran {index}"] = ran
        return found

    def _answers(self, images: np.ndarray, number: int) -> Answers:
        assert self._evaluator is not None
        samples, spec, policy = len(images), self._trainer.parts.spec, self._policy
        drawn = {} if policy is None else policy.drawn_for_evaluation(number, samples)
        found = self._evaluator(images, drawn)
        every = np.ones(samples, bool)
        blocks = range(len(spec.skippable_blocks))
        ran = np.array([found.get(f"ran {index}", every)[:samples] for index in blocks])
        macs = samples * (spec.forward_macs + self._gate_macs)
        for block, count in zip(spec.skippable_blocks, ran.sum(axis=1).tolist(), strict=True):
            macs -= (samples - count) * block.macs
        host = self._trainer.parts.policy
        skip = None
        if host is not None:
            host.ran = ran
            skip = host.skip_ratio
        return Answers(found["logits"][:samples], skip, macs)


def _scheme(experiment: Experiment) -> Scheme:
    """The widths that the experiment trains with, whatever its settings."""
    scheme = scheme_of(experiment)
    if scheme.float32:
        return scheme
    settings = fixed_settings(experiment)
    predictor = (settings.x_msb_bits, settings.g_msb_bits) if settings.predict else None
    return replace(scheme, predictor=predictor, input_gradient=settings.input_gradient_bits)


def _arithmetic(trainer: Trainer, weights: Weights) -> GraphArithmetic:
    parts, data, batch = trainer.parts, trainer.dataset, trainer.experiment.train.batch
    if parts.fixed is None:
        return GraphFloat32(parts.spec, weights.parameters, data.mean, data.std, batch)
    settings = parts.fixed.settings
    return GraphFixedArithmetic(parts.spec, weights.parameters, settings, data.mean, batch)


def _policy(trainer: Trainer, where: torch.device) -> GraphPolicy | None:
    policy = trainer.parts.policy
    if isinstance(policy, StochasticDepth):
        return GraphDepth(policy, trainer.experiment.train.batch)
    if policy is None or trainer.gate_optimiser is None:
        return None
    batch = trainer.experiment.train.batch
    return GraphSlu(policy, trainer.gate_optimiser, trainer.gate_rate, batch, where)
