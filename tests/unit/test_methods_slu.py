# SPDX-License-Identifier: Apache-2.0
"""SLU's decisions, what gates learn from them and how they draw, with given features."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from e2train.device.counter import Counter
from e2train.errors import UserError
from e2train.methods import slu
from e2train.methods.slu import (
    SluGates,
    at_equal_cost,
    exploring_burst,
    first_probability,
    gated_names,
    reach,
)
from e2train.methods.slu_gates import GRID_POINTS, gate_macs, gate_share, gate_slope
from e2train.network.integer import FixedSettings
from e2train.network.models import network_spec
from e2train.network.spec import Block
from e2train.numerics.gate_cell import HIDDEN, LEAST_PROBABILITY, MOST_PROBABILITY
from e2train.training.evaluate import BATCH, evaluate
from engine_parts import SMALL_RESNET, batch, digits, emulator, fixed_network, float_network

SPEC = network_spec("resnet-20", (1, 8, 8), 10)
BLOCKS = SPEC.skippable_blocks
GATED = tuple(i for i, b in enumerate(BLOCKS) if b.name in gated_names(SPEC, "identity"))
ALL = network_spec(*SMALL_RESNET)  # its blocks have gates only with gated = "all"


class Features:
    """Stands in for the arithmetic: sums of features, of every sample alike or of each its own."""

    def __init__(self, seed: int = 0, scale: float = 1.0, alike: bool = True) -> None:
        self.rng, self.scale, self.alike = np.random.default_rng(seed), scale, alike
        self.one: dict[int, np.ndarray] = {}

    def gate_features(self, block: Any, stream: Any, points: int) -> np.ndarray:
        samples, channels = stream
        assert points == GRID_POINTS
        if not self.alike:
            return self.rng.normal(size=(samples, channels)) * self.scale * points * points
        if channels not in self.one:
            self.one[channels] = self.rng.normal(size=channels) * self.scale
        return np.repeat(self.one[channels][None], samples, axis=0)


def gates_of(target: float = 0.3, seed: int = 1, **how: Any) -> SluGates:
    return SluGates(SPEC, Counter(), target, seed, **how)


def decide_all(
    gates: SluGates, arithmetic: Features, iteration: int, samples: int, training: bool = True
) -> np.ndarray:
    """Decide on every block; the gated ones' probabilities, float64 [gated blocks, N]."""
    gates.begin(iteration, samples, training)
    for index, block in enumerate(gates.blocks):
        channels = block.units[0].geometry.channels
        found = gates.decide(index, arithmetic, (samples, channels))  # type: ignore[arg-type]
        assert np.array_equal(found, gates.ran[index])
    return np.stack([step.probability for step in gates.cell.steps])


def show(gates: SluGates, ran: np.ndarray, skipped: np.ndarray) -> None:
    """Products <g, F(x) - x>, [blocks] or [blocks, N], with g behind F(x) and with g behind x."""
    for index in range(len(gates.blocks)):
        each = [np.broadcast_to(a[index], gates.samples) for a in (ran, skipped)]
        gates.observe(index, each[0][gates.ran[index]])
        if gates.explored(index).any():
            gates.observe_explored(index, each[1][gates.explored(index)])


@pytest.fixture
def no_bursts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exploring in every mini-batch: the same chances for each sample, far less scatter."""
    monkeypatch.setattr(slu, "LONGEST_BURST", 1.0)


# ---- which blocks have gates ---------------------------------------------------------------------


def test_identity_gates_leave_transitions_and_the_first_block_alone() -> None:
    names = [f"stage{stage}.block{block}" for stage in (1, 2, 3) for block in (2, 3)]
    assert sorted(gated_names(SPEC, "identity")) == names
    assert gated_names(SPEC, "all") == {block.name for block in BLOCKS}
    assert gated_names(ALL, "identity") == frozenset()
    mobile = network_spec("mobilenet-v2", (3, 32, 32), 10)  # its first block cannot be skipped
    assert gated_names(mobile, "identity") == {b.name for b in mobile.skippable_blocks}


def test_blocks_without_a_gate_run_and_cost_nothing() -> None:
    gates, samples = gates_of(0.4, explore=1.0), 2000
    probability = decide_all(gates, Features(), 0, samples)
    assert len(probability) == len(GATED) == len(gates.parameters["gate.block_bias"])
    for index in range(len(BLOCKS)):
        assert gates.ran[index].all() == (index not in GATED)
        assert gates.explored(index).any() == (index in GATED)
    macs = samples * sum(gate_macs(BLOCKS[index]) for index in GATED)
    assert gates.counter.by_pass() == {"gate": {"32x32": macs}}


def test_blocks_without_a_gate_run_in_a_network() -> None:
    counter = Counter()
    gates = SluGates(SPEC, counter, 0.4, seed=1)
    network = float_network("numpy", spec=SPEC, policy=gates)
    for training in (True, False):
        network.logits(batch(SPEC, 32)[0], 0, training)
        others = [index for index in range(len(BLOCKS)) if index not in GATED]
        assert gates.ran[others].all() and not gates.ran[list(GATED)].all(axis=1).any()


def test_decisions_follow_the_probabilities_within_their_bounds() -> None:
    samples = 8000
    for offset in (-40.0, 0.0, 40.0):
        gates = gates_of()
        gates.controller.integral = offset
        probability = decide_all(gates, Features(), 0, samples)
        assert (probability >= LEAST_PROBABILITY).all() and (probability <= MOST_PROBABILITY).all()
        if offset:
            end = LEAST_PROBABILITY if offset < 0 else MOST_PROBABILITY
            assert probability == pytest.approx(end, abs=1e-6)
        p = probability[:, 0]
        error = np.sqrt(p * (1 - p) / samples)
        assert (np.abs(gates.ran[list(GATED)].mean(axis=1) - p) < 5 * error).all()


@pytest.mark.parametrize("explore", [0.02, 0.1, 0.6])
def test_skipped_samples_are_explored_in_bursts_at_the_rate_asked_for(explore: float) -> None:
    gates, features, rates = gates_of(0.4, explore=explore), Features(), []
    for iteration in range(600):
        decide_all(gates, features, iteration, 40)
        assert not (gates.ran & gates.chosen).any()
        skipped = ~gates.ran[list(GATED)]
        rates.append(gates.chosen[list(GATED)].sum(axis=1) / skipped.sum(axis=1))
    burst = exploring_burst(explore)
    error = np.std(rates, axis=0) / math.sqrt(len(rates))
    assert (np.abs(np.mean(rates, axis=0) - explore) < 5 * error).all()
    whole = np.array(rates)[np.array(rates) > 0]
    assert whole.mean() == pytest.approx(explore * burst, rel=0.1), "seldom, then many at once"
    assert (np.array(rates) > 0).mean() < 1.2 / burst


def test_skip_ratio_weighs_all_skippable_blocks_by_their_macs() -> None:
    gates = gates_of()
    macs = [block.macs for block in BLOCKS]
    for index in range(len(BLOCKS)):
        gates.ran = np.ones((len(BLOCKS), 4), bool)
        gates.ran[index, :2] = False
        assert gates.skip_ratio == pytest.approx(0.5 * macs[index] / sum(macs))


@pytest.mark.parametrize(("target", "gated"), [(0.1, "identity"), (0.4, "identity"), (0.7, "all")])
def test_first_probabilities_skip_what_the_target_asks_for(target: float, gated: str) -> None:
    """Of all skippable blocks' work; the small random maps move it a little."""
    found = []
    for seed in range(20):
        gates = gates_of(target, seed, gated=gated)
        p = decide_all(gates, Features(seed), 0, 2)[:, 0]
        shares = gates.cost[np.array(gates.gated)]
        found.append(float(shares @ (1 - p)))
    assert np.mean(found) == pytest.approx(target, abs=0.04)


def test_targets_beyond_reach_are_refused_in_one_line() -> None:
    macs = np.array([block.macs for block in BLOCKS], float)
    share = macs[list(GATED)].sum() / macs.sum()
    most = reach(SPEC, "identity")
    assert most == pytest.approx(0.98 * share)
    assert first_probability(SPEC, most, "identity") == pytest.approx(LEAST_PROBABILITY)
    assert first_probability(SPEC, share / 2, "identity") == pytest.approx(0.5)
    for spec, target, gated, words in (
        (SPEC, most + 1e-6, "identity", ("resnet-20", "'identity'", f"{most:.0%}", "deeper")),
        (ALL, 0.2, "identity", ("resnet-8", "0.2", "0%", "slu.gated = 'all'")),
        (ALL, 0.99, "all", ("resnet-8", "0.99", "98%", "take less")),
    ):
        with pytest.raises(UserError) as caught:
            SluGates(spec, Counter(), target, 0, gated=gated)
        line = str(caught.value)
        assert "\n" not in line and all(word in line for word in ("slu.skip", *words))


# ---- what gates learn ----------------------------------------------------------------------------


def test_gradient_is_the_trapezoid_of_full_computation_unbiased(no_bursts: None) -> None:
    """Over the decisions its mean is <g_ran + g_skipped, F(x) - x> / 2; each weight shows."""
    samples, rounds = 800, 30
    gates, features = gates_of(0.4, seed=2, explore=0.3), Features()
    rng = np.random.default_rng(4)
    behind, ahead = rng.normal(size=(2, len(BLOCKS))) + 1.5
    wanted = (behind + ahead)[list(GATED)] / 2
    estimates, gradients, expected = [], [], []
    p = np.zeros(0)
    for iteration in range(rounds):
        gates.controller.integral, gates.controller.skip = 0.4, gates.controller.target
        p = decide_all(gates, features, iteration, samples)[:, 0]
        show(gates, behind, ahead)
        estimates.append([one.mean() for one in gates.estimates()])
        gradients.append(flat(gates.gradients()))
        slopes = np.array([gate_slope(step.open) for step in gates.cell.steps])
        whole = np.repeat(wanted[:, None], samples, axis=1)
        full = at_equal_cost(whole, slopes, gates.cost[list(GATED)])
        expected.append(flat(gates.cell.backward(list(full / samples))))
    found, error = np.mean(estimates, axis=0), np.std(estimates, axis=0) / math.sqrt(rounds)
    assert (np.abs(found - wanted) < 5 * error).all()
    q, g = gates.explore, list(GATED)
    wrong = {
        "without 1/p": p * behind[g] / 2 + ahead[g] / 2,
        "without 1/(1 - p)": behind[g] / 2 + (1 - p) * ahead[g] / 2,
        "without 1/q": behind[g] / 2 + q * ahead[g] / 2,
        "without 1/2": behind[g] + ahead[g],
        "of those that ran alone": behind[g],
    }
    for what, mistaken in wrong.items():
        assert (np.abs(found - mistaken) / error).max() > 20, what
    spread = np.std(gradients, axis=0) / math.sqrt(rounds)
    moves = spread > 0
    off = np.abs(np.mean(gradients, axis=0) - np.mean(expected, axis=0))
    assert (off[moves] < 5.5 * spread[moves]).all() and moves.sum() > 100
    assert np.linalg.norm(np.mean(expected, axis=0)) > 20 * np.linalg.norm(spread)


def flat(gradients: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([gradients[name].ravel() for name in sorted(gradients)]).astype(float)


class Quadratic:
    """Each sample's loss a/2 * (y - t)^2 of a block's output y, x or F(x) = x + d: all is known."""

    def __init__(self, samples: int, way: float, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        a, d = rng.uniform(0.5, 2.0, samples), rng.uniform(0.5, 2.0, samples)
        x = rng.normal(size=samples)
        t = x + way * d  # `way`: how far along the step the best place is
        self.behind, self.ahead = a * (x + d - t) * d, a * (x - t) * d
        self.change = a / 2 * ((x + d - t) ** 2 - (x - t) ** 2)


@pytest.mark.parametrize("way", [0.7, 0.3, 2.0, -0.5])
def test_estimate_is_the_true_change_of_a_quadratic_loss(way: float, no_bursts: None) -> None:
    """In sign and size, where the first-order estimate of those that ran has the wrong sign."""
    samples, rounds = 500, 30
    toy, features = Quadratic(samples, way), Features()
    gates = gates_of(0.4, seed=3)
    found = []
    for iteration in range(rounds):
        decide_all(gates, features, iteration, samples)
        show(gates, *(np.tile(each, (len(BLOCKS), 1)) for each in (toy.behind, toy.ahead)))
        found.append([one.mean() for one in gates.estimates()])
        gates.gradients()
    error = np.std(found, axis=0) / math.sqrt(rounds)
    mean = np.mean(found, axis=0)
    assert (np.abs(mean - toy.change.mean()) < 5 * error).all()
    assert (np.sign(mean) == np.sign(toy.change.mean())).all()
    assert (np.abs(mean) > 8 * error).all(), "the sign must be beyond doubt"
    if way == 0.7:  # running helps; seen from behind the step alone it harms
        assert toy.change.mean() < 0 < toy.behind.mean()
    assert np.all(np.abs(mean - toy.behind.mean()) > 8 * error)


def test_gates_open_where_running_helps_and_close_where_it_harms() -> None:
    """Two quadratics: each block's step is too long for neither or for half of the blocks."""
    samples = 128
    helps, harms = Quadratic(samples, 0.7, seed=1), Quadratic(samples, 0.3, seed=2)
    assert helps.change.mean() < 0 < harms.change.mean()
    assert helps.behind.mean() > 0, "the first-order estimate would close both"
    good = [GATED[0], GATED[3], GATED[4]]
    toys = [helps if index in good else harms for index in range(len(BLOCKS))]
    behind, ahead = (np.stack([getattr(t, n) for t in toys]) for n in ("behind", "ahead"))
    gates, features = gates_of(0.35, seed=3), Features()
    for iteration in range(150):
        decide_all(gates, features, iteration, samples)
        show(gates, behind, ahead)
        for name, gradient in gates.gradients().items():
            gates.parameters[name] -= np.float32(0.5) * gradient
    p = decide_all(gates, features, 150, samples)[:, 0]
    of = dict(zip(GATED, p, strict=True))
    best, worst = min(of[i] for i in good), max(of[i] for i in GATED if i not in good)
    assert best > worst + 0.3


def test_gradients_have_no_component_along_the_costs() -> None:
    gates = gates_of(0.4, seed=2)
    for iteration in range(5):
        decide_all(gates, Features(iteration, alike=False), iteration, 64)
        show(gates, *np.random.default_rng(iteration).normal(size=(2, len(BLOCKS), 64)) + 3.0)
        slopes = np.array([gate_slope(step.open) for step in gates.cell.steps])
        plain, cost = gates.estimates() * slopes, gates.cost[list(GATED), None] * slopes
        unprojected = abs((plain * cost).sum()) / (np.linalg.norm(plain) * np.linalg.norm(cost))
        assert unprojected > 0.05
        across = plain - (plain * cost).sum() / (cost * cost).sum() * cost
        expected = flat(gates.cell.backward(list(across / slopes / 64)))
        found = flat(gates.gradients())
        assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_no_runs_give_no_gradient() -> None:
    gates = gates_of()
    decide_all(gates, Features(), 5, 8)
    assert all(not one.any() for one in gates.estimates())
    assert all(not value.any() for value in gates.gradients().values())


def test_a_block_that_nobody_runs_is_not_explored() -> None:
    """There are no batch statistics to compute its output with."""
    gates = gates_of(0.4, explore=1.0)
    gates.controller.integral = -40.0
    decide_all(gates, Features(), 3, 40)
    nobody = ~gates.ran.any(axis=1)
    assert nobody.any() and not gates.chosen[nobody].any()
    assert gates.chosen[~nobody].any()


# ---- evaluation ----------------------------------------------------------------------------------


def test_evaluation_is_alike_each_time_and_another_seed_differs() -> None:
    images, _ = batch(SPEC, 64)
    found = []
    for seed in (1, 1, 2):
        gates = gates_of(0.4, seed)
        gates.parameters = gates.cell.parameters = gates_of(0.4, 1).parameters
        network = float_network("numpy", spec=SPEC, policy=gates)
        for _ in range(2):
            logits = network.logits(images, 0, training=False)
            found.append((logits.tobytes(), gates.ran.tobytes()))
            assert not gates.chosen.any(), "evaluation explores nothing"
    assert found[0] == found[1] == found[2] == found[3]
    assert found[4] == found[5] and found[4][1] != found[0][1]
    draws = []
    for training in (False, True):
        gates.begin(0, 64, training)
        draws.append(gates.draws)
    assert not np.array_equal(*draws), "draws of its own, not those of the first mini-batch"
    network.logits(images, 1, training=False)
    assert gates.ran.tobytes() != found[4][1], "the next 250 pictures draw anew"


def test_evaluation_skips_as_often_as_training() -> None:
    gates, features, samples = gates_of(0.4), Features(), 5000
    p = decide_all(gates, features, 0, samples, training=False)[:, 0]
    trained = decide_all(gates, features, 0, samples, training=True)[:, 0]
    assert np.array_equal(p, trained)
    decide_all(gates, features, 0, samples, training=False)
    error = np.sqrt(p * (1 - p) / samples)
    assert (np.abs(gates.ran[list(GATED)].mean(axis=1) - p) < 5 * error).all()


def test_evaluate_reports_skips_and_macs_counted_by_hand() -> None:
    data = digits()
    images, labels = data.test_images[: BATCH + 90], data.test_labels[: BATCH + 90]
    counter = Counter()
    gates = SluGates(SPEC, counter, 0.4, seed=1)
    network = float_network("numpy", spec=SPEC, policy=gates)
    gates.counter = network.arithmetic.counter
    decided: list[np.ndarray] = []
    original = gates.begin
    gates.begin = lambda *a: (decided.append(gates.ran), original(*a))[1]  # type: ignore[method-assign]
    found = evaluate(network, images, labels)
    ran = np.concatenate([*decided[1:], gates.ran], axis=1)
    assert ran.shape == (len(BLOCKS), BATCH + 90)
    macs = np.array([block.macs for block in BLOCKS])
    assert found.skip == pytest.approx(100 * float(macs @ (~ran).mean(axis=1)) / macs.sum())
    assert 20 < found.skip < 60
    always = sum(b.macs for b in SPEC.blocks if not b.skippable) + SPEC.classifier.macs
    gating = sum(gate_macs(BLOCKS[index]) for index in GATED)
    assert found.macs == pytest.approx(always + gating + float(macs @ ran.mean(axis=1)))
    assert network.arithmetic.counter.macs == 0, "evaluation counts apart from training"
    assert evaluate(network, images, labels) == found


def test_evaluate_without_gates_skips_nothing() -> None:
    data = digits()
    found = evaluate(float_network("numpy", spec=ALL), data.test_images[:30], data.test_labels[:30])
    assert found.skip is None and found.macs == ALL.forward_macs


# ---- what gates see and cost ---------------------------------------------------------------------


@pytest.mark.parametrize("arithmetic", ["fixed", "float"])
def test_features_are_means_over_a_grid(arithmetic: str) -> None:
    """What a gate sees: means over at most 4 x 4 positions of its block's input."""
    spec = network_spec("resnet-8", (3, 16, 16), 10)
    network = (
        fixed_network(emulator("numpy"), FixedSettings(predict=False), spec=spec)
        if arithmetic == "fixed"
        else float_network("numpy", spec=spec)
    )
    gates = SluGates(spec, Counter(), 0.001, seed=1, gated="all")
    network.policy = gates
    seen: list[np.ndarray] = []
    original = network.arithmetic.gate_features

    def watch(block: Any, stream: Any, points: int) -> np.ndarray:
        if arithmetic == "fixed":
            seen.append(np.ldexp(stream.tensor.astype(float), stream.exponent))
        else:
            seen.append(np.asarray(stream, float))
        return original(block, stream, points)

    network.arithmetic.gate_features = watch  # type: ignore[method-assign]
    network.logits(batch(spec, 3)[0], 0, training=True)
    for stream, step, size in zip(seen, gates.cell.steps, (16, 16, 8), strict=True):
        assert stream.shape[2] == size
        grid = stream[:, :, :: size // 4, :: size // 4]
        assert grid.shape[2:] == (4, 4)
        assert np.allclose(step.features, grid.mean(axis=(2, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["resnet-20", "resnet-38", "resnet-74", "resnet-110", "mobilenet-v2"]
)
def test_gates_are_almost_free(name: str, record_property: Any) -> None:
    """Below 0.04 % of the network's forward FLOPs (section 3.2 of the paper), counted by hand."""
    spec = network_spec(name, (3, 32, 32), 10)
    flops = 0
    for block in spec.skippable_blocks:
        geometry = block.units[0].geometry
        multiplications = geometry.channels * HIDDEN + 2 * HIDDEN * 4 * HIDDEN + HIDDEN
        assert gate_macs(block) == multiplications
        points = min(4, geometry.height) * min(4, geometry.width)
        flops += 2 * multiplications + geometry.channels * (points - 1)
    share = flops / (2 * spec.forward_macs)
    record_property("gate share, percent", 100 * share)
    assert gate_share(spec) == pytest.approx(share, rel=1e-12)
    if name != "resnet-20":
        assert share < 0.0004, f"{100 * share:.4f} %"


@pytest.mark.parametrize("gated", ["identity", "all"])
def test_gates_are_counted(gated: str) -> None:
    """Forward once and backward twice, skipped or not, 32 x 32 bits."""
    counter = Counter()
    gates = SluGates(SPEC, counter, 0.4, seed=1, gated=gated)
    network = float_network("numpy", spec=SPEC, policy=gates)
    named: tuple[Block, ...] = tuple(b for b in BLOCKS if b.name in gated_names(SPEC, gated))
    for times in (1, 2):
        network.forward_backward(*batch(SPEC, 8), 0)
        gates.gradients()
        assert counter.by_pass() == {"gate": {"32x32": times * 3 * 8 * sum(map(gate_macs, named))}}
