# SPDX-License-Identifier: Apache-2.0
"""Experiment files: TOML tables to checked dataclasses; every mistake names key, value and file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..checked import build, read_toml
from ..data.settings import STREAM, DataSettings, check_data
from ..errors import UserError
from ..methods import psg
from ..methods.schedule import SCHEDULES, Schedule, offered_iterations
from ..methods.slu import GATED, first_probability
from ..methods.stochastic_depth import MINI_BATCH, PER
from ..network.models import network_spec
from ..numerics.portable import PRODUCT_TERMS
from .early_stop import EarlyStopSettings
from .finetune import ALL_LAYERS, LAST_LAYER, MODES

LARGEST_COUNT = (1 << 31) - 1  # of iterations, pictures a mini-batch
# Weights are trained in float32: a rate below its smallest normal number loses digits, or is 0.
LEAST_RATE = float(np.finfo(np.float32).smallest_normal)
ARITHMETICS = ("float32", "fixed")
UPDATES = ("sgd", "signsgd", "psg")
CHANCE, LOSS = "chance", "loss"


@dataclass(frozen=True)
class TrainSettings:
    """[train]: the paper's settings are the defaults (section 4.1).

    `energy_ratio` makes of the iterations what runs that share of them, whatever SMD drops (section
    4.2); without it so many mini-batches are offered, and SMD runs its part of them.
    """

    iterations: int = 64_000
    batch: int = 128
    lr: float | None = None  # 0.1, or 0.03 with signs
    momentum: float = 0.9
    weight_decay: float = 1e-4
    sign_weight_decay: float | None = None  # of weights that follow signs; else weight_decay
    schedule: str = "steps"  # the paper's; or "linear", "cosine"
    drops: tuple[float, ...] = (0.5, 0.75)
    drop_factor: float = 0.1
    energy_ratio: float | None = None
    seed: int = 0
    log_every: int = 20
    evaluate_every: int = 0  # 0: at the end only
    checkpoint_every: int = 500


@dataclass(frozen=True)
class MethodSettings:
    """[method]: arithmetic, update (`fixed` with `sgd` is Banner et al.'s), stream width."""

    arithmetic: str = "float32"
    update: str = "sgd"
    stream_bits: int = 16
    input_gradient_bits: int | None = None  # 8 with `fixed` and `sgd` (Banner et al.), else 16


@dataclass(frozen=True)
class PsgSettings:
    """[psg]: threshold ratio and predictor widths (section 4.4)."""

    beta: float = psg.BETA
    x_msb_bits: int = psg.X_MSB_BITS
    g_msb_bits: int = psg.G_MSB_BITS


@dataclass(frozen=True)
class SmdSettings:
    """[smd]: share of the mini-batches to drop (0: none), and what decides: "chance" or "loss".

    By chance a mini-batch is dropped before it is read, as in the paper; by loss after its forward
    pass, where that loss is below its running quantile.
    """

    drop: float = 0.0
    by: str = CHANCE


@dataclass(frozen=True)
class SluSettings:
    """[slu]: target skip ratio over all residual blocks (0: no gates) and how gates learn.

    gated: which blocks have a gate, "identity" or "all"; lr: the gates' rate, which falls with the
    weights'; warmup: share of the run that they wait; explore: share of the skipped samples that
    are computed forwards to learn what skipping costs.
    """

    skip: float = 0.0
    gated: str = "identity"
    lr: float = 0.5
    warmup: float = 0.1
    explore: float = 0.1


@dataclass(frozen=True)
class DepthSettings:
    """[stochastic_depth]: mean skip ratio (0: none); what one draw is for."""

    skip: float = 0.0
    per: str = MINI_BATCH


@dataclass(frozen=True)
class SwaSettings:
    """[swa]: from which fraction of the iterations weights are averaged (1: never); how often.

    rate: share of train.lr at which the linear and cosine schedules stay meanwhile;
    statistics_batches: mini-batches that batch-norm statistics are taken over in the end.
    """

    start: float = 1.0
    every: int = 10
    rate: float = 0.0
    statistics_batches: int = 50


@dataclass(frozen=True)
class FinetuneSettings:
    """[finetune]: checkpoint, or another program's weights, to start from; what to train.

    new_classifier: replace that of the weights even where it has as many classes; mean, std: the
    normalisation that they were trained with, a channel, on pixels from 0 to 1 as torchvision
    counts them (else what the file says, or that of the data set).
    """

    checkpoint: str | None = None
    mode: str = ALL_LAYERS
    weights: str | None = None
    new_classifier: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def starts_from(self) -> str | None:
        """The file that training starts from; None where it starts anew."""
        return self.checkpoint or self.weights


@dataclass(frozen=True)
class Experiment:
    """One run: what to train, on what, and how."""

    name: str
    network: str = "resnet-8"
    data: DataSettings = field(default_factory=DataSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    method: MethodSettings = field(default_factory=MethodSettings)
    psg: PsgSettings = field(default_factory=PsgSettings)
    smd: SmdSettings = field(default_factory=SmdSettings)
    slu: SluSettings = field(default_factory=SluSettings)
    stochastic_depth: DepthSettings = field(default_factory=DepthSettings)
    swa: SwaSettings = field(default_factory=SwaSettings)
    finetune: FinetuneSettings = field(default_factory=FinetuneSettings)
    early_stop: EarlyStopSettings = field(default_factory=EarlyStopSettings)

    @property
    def lr(self) -> float:
        """Initial learning rate: as given, else the paper's 0.1, or 0.03 with sign updates."""
        if self.train.lr is not None:
            return self.train.lr
        return 0.1 if self.method.update == "sgd" else psg.LEARNING_RATE

    @property
    def offered(self) -> int:
        """Mini-batches offered: the iterations, or what the energy ratio makes of them."""
        ratio = self.train.energy_ratio
        if ratio is None:
            return self.train.iterations
        return offered_iterations(self.train.iterations, ratio, self.smd.drop)

    @property
    def schedule(self) -> Schedule:
        """The learning-rate schedule over the offered mini-batches."""
        t = self.train
        hold = self.swa.start if self.swa.rate else 1.0
        return Schedule(
            self.lr, self.offered, t.drops, t.drop_factor, t.schedule, hold, self.swa.rate
        )

    @property
    def method_name(self) -> str:
        """Short name of the method in tables, from what it combines."""
        base = {
            ("float32", "sgd"): "SGD, 32-bit float",
            ("float32", "signsgd"): "SignSGD, 32-bit float",
            ("fixed", "sgd"): "8-bit fixed point",
            ("fixed", "signsgd"): "SignSGD, 8-bit fixed point",
            ("fixed", "psg"): "PSG",
        }[self.method.arithmetic, self.method.update]
        extras = []
        if self.smd.drop:
            extras.append("SMD" if self.smd.by == CHANCE else "SMD by loss")
        if self.slu.skip:
            extras.append("SLU")
        if self.stochastic_depth.skip:
            extras.append("stochastic depth")
        if self.swa.start < 1.0:
            extras.append("SWA")
        if self.finetune.starts_from:
            extras.append(f"fine-tuning ({self.finetune.mode})")
        return " + ".join([base, *extras])

    def as_dict(self) -> dict[str, Any]:
        """Nested plain dictionary (tuples as lists)."""
        return {
            key: {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()}
            if isinstance(value, dict)
            else value
            for key, value in asdict(self).items()
        }

    def as_toml(self) -> str:
        """The experiment as a file that `load_experiment` reads to an equal experiment."""
        plain = self.as_dict()
        tables = {key: value for key, value in plain.items() if isinstance(value, dict)}
        lines = [_toml_line(k, v) for k, v in plain.items() if not isinstance(v, dict)]
        for key, table in tables.items():
            lines += ["", f"[{key}]"]
            lines += [_toml_line(k, v) for k, v in table.items() if v is not None]
        return "\n".join(lines) + "\n"


def _toml_line(key: str, value: Any) -> str:
    # JSON's strings are TOML's but for two things: no surrogate pairs, and no bare DEL
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"{key} = {text}"


def load_experiment(path: Path) -> Experiment:
    """Read and check an experiment file. Raises UserError naming key, value and file."""
    table = read_toml(path)
    table.setdefault("name", path.stem)
    experiment: Experiment = build(Experiment, table, str(path))
    try:
        check(experiment)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return experiment


def check(e: Experiment) -> None:
    """Refuse impossible values: UserError names key, value and what is possible."""

    def need(holds: bool, key: str, value: object, expected: str) -> None:
        if not holds:
            raise UserError(f"{key} = {value!r}: expected {expected}")

    t, p = e.train, e.psg
    plain = e.name.isprintable() and "/" not in e.name and e.name.strip(". ")
    need(bool(plain), "name", e.name, "a name fit for a folder")
    try:
        network_spec(e.network, (3, 32, 32), 10)
    except UserError as error:
        raise UserError(f"network = {e.network!r}: {error}") from None
    check_data(e.data)
    most = f"up to {LARGEST_COUNT}"
    for key in ("iterations", "batch", "log_every", "checkpoint_every"):
        value = getattr(t, key)
        need(1 <= value <= LARGEST_COUNT, f"train.{key}", value, f"1 or more, {most}")
    value = t.evaluate_every
    need(
        0 <= value <= LARGEST_COUNT,
        "train.evaluate_every",
        value,
        f"0 or more, {most}",
    )
    need(0 <= t.seed < 1 << 64, "train.seed", t.seed, "0 to 2^64 - 1")
    rates = f"{LEAST_RATE:.3g} (float32's smallest normal number) to below 1000"
    need(LEAST_RATE <= e.lr < 1e3, "train.lr", e.lr, rates)
    need(0 <= t.momentum < 1, "train.momentum", t.momentum, "0 to below 1")
    need(0 <= t.weight_decay < 1, "train.weight_decay", t.weight_decay, "0 to below 1")
    decay, signed = t.sign_weight_decay, e.method.update != "sgd"
    possible = decay is None or (signed and 0 <= decay < 1)
    need(possible, "train.sign_weight_decay", decay, "0 to below 1, with method.update of signs")
    need(t.schedule in SCHEDULES, "train.schedule", t.schedule, " or ".join(SCHEDULES))
    need(0 < t.drop_factor <= 1, "train.drop_factor", t.drop_factor, "above 0 to 1")
    ratio = t.energy_ratio
    need(ratio is None or 0 < ratio <= 10, "train.energy_ratio", ratio, "above 0 to 10")
    need(0 <= e.smd.drop < 1, "smd.drop", e.smd.drop, "0 to below 1")
    need(e.smd.by in (CHANCE, LOSS), "smd.by", e.smd.by, f"{CHANCE} or {LOSS}")
    beyond = ratio or e.slu.skip or e.stochastic_depth.skip or e.finetune.mode == LAST_LAYER
    beside = "chance, or no energy_ratio, skips of blocks and last-layer mode beside it"
    need(e.smd.by == CHANCE or not beyond, "smd.by", e.smd.by, beside)
    need(e.offered >= 1, "train.energy_ratio", t.energy_ratio, "enough for one iteration")
    rising = all(a < b for a, b in zip(t.drops, t.drops[1:], strict=False))
    need(rising and all(0 < d < 1 for d in t.drops), "train.drops", t.drops, "rising, in (0, 1)")
    last = e.schedule.rate(e.offered - 1)
    dropped = f"a learning rate at the end ({last:.3g}) of {LEAST_RATE:.3g} or more"
    need(last >= LEAST_RATE, "train.drop_factor", t.drop_factor, dropped)
    m = e.method
    need(m.arithmetic in ARITHMETICS, "method.arithmetic", m.arithmetic, " or ".join(ARITHMETICS))
    need(m.update in UPDATES, "method.update", m.update, " or ".join(UPDATES))
    need(9 <= m.stream_bits <= 16, "method.stream_bits", m.stream_bits, "9 to 16")
    bits = m.input_gradient_bits
    need(bits in (None, 8, 16), "method.input_gradient_bits", bits, "8 or 16")
    fits = m.update != "psg" or m.arithmetic == "fixed"
    need(fits, "method.update", m.update, "method.arithmetic = 'fixed' beside it")
    need(0 <= p.beta <= 1, "psg.beta", p.beta, "0 to 1")
    need(2 <= p.x_msb_bits < 8, "psg.x_msb_bits", p.x_msb_bits, "2 to 7")
    need(2 <= p.g_msb_bits < 16, "psg.g_msb_bits", p.g_msb_bits, "2 to 15")
    need(0 <= e.slu.skip < 1, "slu.skip", e.slu.skip, "0 to below 1")
    need(e.slu.gated in GATED, "slu.gated", e.slu.gated, " or ".join(GATED))
    need(0 < e.slu.explore <= 1, "slu.explore", e.slu.explore, "above 0 to 1")
    if e.slu.skip:
        first_probability(network_spec(e.network, (3, 32, 32), 10), e.slu.skip, e.slu.gated)
    fits = not e.slu.skip or t.batch <= PRODUCT_TERMS
    need(fits, "train.batch", t.batch, f"at most {PRODUCT_TERMS} with slu.skip")
    need(LEAST_RATE <= e.slu.lr < 1e3, "slu.lr", e.slu.lr, rates)
    need(0 <= e.slu.warmup <= 1, "slu.warmup", e.slu.warmup, "0 to 1")
    depth = e.stochastic_depth.skip
    need(0 <= depth < 1, "stochastic_depth.skip", depth, "0 to below 1")
    per = e.stochastic_depth.per
    need(per in PER, "stochastic_depth.per", per, " or ".join(PER))
    need(not (depth and e.slu.skip), "stochastic_depth.skip", depth, "0 where slu.skip is set")
    need(0 <= e.swa.start <= 1, "swa.start", e.swa.start, "0 to 1")
    need(0 <= e.swa.rate < 1, "swa.rate", e.swa.rate, "0 to below 1")
    averaged = not e.swa.rate or (t.schedule != "steps" and 0 < e.swa.start < 1)
    beside = "0, but with train.schedule linear or cosine and a swa.start in (0, 1)"
    need(averaged, "swa.rate", e.swa.rate, beside)
    need(e.swa.every >= 1, "swa.every", e.swa.every, "1 or more")
    need(e.swa.statistics_batches >= 1, "swa.statistics_batches", e.swa.statistics_batches, ">= 1")
    whole = e.data.order != STREAM or e.swa.start == 1
    need(whole, "swa.start", e.swa.start, "1 with data.order = 'stream'")
    stop = e.early_stop
    need(0 <= stop.patience <= LARGEST_COUNT, "early_stop.patience", stop.patience, "0 or more")
    need(0 < stop.held_out < 1, "early_stop.held_out", stop.held_out, "above 0 to below 1")
    need(1 <= stop.every <= LARGEST_COUNT, "early_stop.every", stop.every, "1 or more")
    alone = not stop.patience or (e.swa.start == 1 and e.data.order != STREAM)
    beside = "0 with swa.start below 1 or data.order = 'stream'"
    need(alone, "early_stop.patience", stop.patience, beside)
    _check_finetune(e.finetune, need)


def _check_finetune(f: FinetuneSettings, need: Callable[[bool, str, object, str], None]) -> None:
    need(f.mode in MODES, "finetune.mode", f.mode, " or ".join(MODES))
    based = f.starts_from is not None or f.mode == ALL_LAYERS
    need(based, "finetune.mode", f.mode, "a finetune.checkpoint or finetune.weights beside it")
    one = not (f.checkpoint and f.weights)
    need(one, "finetune.weights", f.weights, "no finetune.checkpoint beside it")
    for key in ("new_classifier", "mean", "std"):
        value = getattr(f, key)
        need(not value or bool(f.weights), f"finetune.{key}", value, "finetune.weights beside it")
    both = (f.mean is None) == (f.std is None)
    need(both, "finetune.mean", f.mean, "finetune.mean and finetune.std together, or neither")
    fractions = f.mean is None or all(0 <= m <= 1 for m in f.mean)
    need(fractions, "finetune.mean", f.mean, "numbers from 0 to 1, one a channel")
    wide = f.std is None or all(1e-3 <= s <= 10 for s in f.std)
    need(wide, "finetune.std", f.std, "numbers from 0.001 to 10, one a channel")
