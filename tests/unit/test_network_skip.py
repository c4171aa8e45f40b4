# SPDX-License-Identifier: Apache-2.0
"""A skipped sample's block is not computed: no device call sees it, its values pass unchanged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from e2train.network.integer import FixedSettings
from e2train.network.models import network_spec
from e2train.network.network import Network
from e2train.network.spec import Block
from engine_parts import (
    BACKENDS,
    SMALL_MOBILENET,
    SMALL_RESNET,
    GivenDecisions,
    batch,
    emulator,
    fixed_network,
    float_network,
)
from recording_device import Call, RecordingDevice
from reference_device import ReferenceDevice

PSG = FixedSettings(predict=True)
FULL = FixedSettings(predict=False)
SAMPLES = 6
COMPUTE = ("convolve", "input_gradient", "weight_gradient", "psg_gradient")


def decisions(spec: Any, seed: int = 3) -> np.ndarray:
    """About half of the samples in every block; all in one block and none in another."""
    ran = np.random.default_rng(seed).random((len(spec.skippable_blocks), SAMPLES)) < 0.5
    ran[:, 0], ran[:, 1] = True, False
    ran[0], ran[1] = True, False
    return ran


def trained(backend: str, ran: np.ndarray | None, case: tuple = SMALL_RESNET, **settings: Any):
    """One iteration whose exponents are settled, recorded from its start."""
    spec = network_spec(*case)
    inner = ReferenceDevice() if backend == "reference" else emulator(backend)
    device = RecordingDevice(inner)
    network = fixed_network(device, settings.pop("settings", FULL), spec=spec)
    network.forward_backward(*batch(spec, SAMPLES, 9), 0)
    device.calls.clear()
    network.arithmetic.counter = type(network.arithmetic.counter)()
    if ran is not None:
        network.policy = GivenDecisions(ran, wants_products=True)
    _, gradients = network.forward_backward(*batch(spec, SAMPLES), 1)
    return network, device, gradients


def samples_of(call: Call) -> int:
    return len(call.inputs["0"])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", [SMALL_RESNET, SMALL_MOBILENET])
@pytest.mark.parametrize("settings", [FULL, PSG])
def test_no_call_sees_a_skipped_sample(backend: str, case: tuple, settings: FixedSettings) -> None:
    """The calls of each pass, over all layers, hold the samples that ran, no more and no fewer."""
    spec = network_spec(*case)
    ran = decisions(spec)
    _, device, _ = trained(backend, ran, case, settings=settings)
    weights = "psg_gradient" if settings.predict else "weight_gradient"
    skippable = iter(ran)
    expected: dict[str, list[tuple[Any, int]]] = {name: [] for name in COMPUTE}
    for block in spec.blocks:
        count = int(next(skippable).sum()) if block.skippable else SAMPLES
        for unit in block.units:
            if count:
                expected["convolve"].append((unit.geometry, count))
                expected[weights].append((unit.geometry, count))
                if block.name != "stem":
                    expected["input_gradient"].append((unit.geometry, count))
    expected["weight_gradient"].append((spec.classifier, SAMPLES))  # never signed
    expected["input_gradient"].append((spec.classifier, SAMPLES))
    for name in COMPUTE:
        found = [(c.inputs["2"], samples_of(c)) for c in device.named(name)]
        assert sorted(found, key=repr) == sorted(expected[name], key=repr), name


def test_without_skips_that_test_sees_all_samples() -> None:
    _, device, _ = trained("numpy", None)
    assert {samples_of(call) for call in device.named("convolve")} == {SAMPLES}


@pytest.mark.parametrize("backend", BACKENDS)
def test_skipped_samples_are_the_shortcut_exactly(backend: str) -> None:
    """Merged streams and stream gradients: skipped rows equal the shortcut's, bit for bit."""
    ran = np.array([[1, 0, 1, 0, 1, 0], [0, 0, 1, 1, 1, 0], [1, 1, 0, 1, 0, 1]], bool)
    _, device, _ = trained(backend, ran)
    merges = device.named("merge")
    assert len(merges) == 6
    order = [0, 1, 2, 2, 1, 0]  # forward, then backward
    for call, block in zip(merges, order, strict=True):
        base, chosen, part = (call.inputs[str(i)] for i in range(3))
        assert np.array_equal(chosen, np.flatnonzero(ran[block]))
        out = call.outputs[0]
        assert np.array_equal(out[~ran[block]], base[~ran[block]])
        assert np.array_equal(out[ran[block]], part)
    # what is merged into is the shortcut of the stream: the identity, or option A's padding
    pads = device.named("shortcut_pad")
    assert np.array_equal(merges[1].inputs["0"], pads[0].outputs[0])
    assert np.array_equal(pads[0].inputs["0"], merges[0].outputs[0])
    assert np.array_equal(merges[2].inputs["0"], pads[1].outputs[0])
    kept = merges[0].outputs[0][:, :, ::2, ::2]
    assert np.array_equal(pads[0].outputs[0][:, 8:24], kept)
    assert not pads[0].outputs[0][:, :8].any() and not pads[0].outputs[0][:, 24:].any()
    # and its gradient: from the last block to the one before through the padding's transpose
    back = device.named("shortcut_pad_backward")
    spread = device.named("spread")[0].outputs[0]
    whole = [call for call in back if samples_of(call) == SAMPLES]
    assert np.array_equal(whole[0].inputs["0"], spread)
    assert np.array_equal(merges[3].inputs["0"], whole[0].outputs[0])
    assert np.array_equal(merges[3].inputs["0"], spread[:, 16:48].repeat(2, 2).repeat(2, 3) * MASK)
    assert np.array_equal(merges[5].inputs["0"], merges[4].outputs[0])


MASK = np.zeros((4, 4), np.int16)
MASK[::2, ::2] = 1


@pytest.mark.parametrize("arithmetic", ["fixed", "float"])
@pytest.mark.parametrize("case", [SMALL_RESNET, SMALL_MOBILENET])
def test_all_blocks_skipped_in_both_directions(arithmetic: str, case: tuple) -> None:
    spec = network_spec(*case)
    none = GivenDecisions(np.zeros((len(spec.skippable_blocks), SAMPLES)), wants_products=True)
    network: Network
    if arithmetic == "fixed":
        network = fixed_network(emulator("numpy"), FULL, spec=spec, policy=none)
    else:
        network = float_network("numpy", spec=spec, policy=none)
    outcome, gradients = network.forward_backward(*batch(spec, SAMPLES), 0)
    assert np.isfinite(outcome.loss)
    assert none.products == {}
    always = [unit.name for block in spec.blocks if not block.skippable for unit in block.units]
    kinds = ("weight", "gamma", "beta")
    wanted = {f"{name}.{kind}" for name in always for kind in kinds}
    assert set(gradients) == wanted | {"classifier.weight", "classifier.bias"}
    assert np.abs(gradients["stem.conv.weight"]).max() > 0, "the gradient must reach the stem"


@pytest.mark.parametrize("case", [SMALL_RESNET, SMALL_MOBILENET])
def test_one_sample_alone_runs_a_block(case: tuple) -> None:
    """Batch norm over one sample's positions; at 1x1 or 2x2 it must stay finite."""
    spec = network_spec(*case)
    one = np.zeros((len(spec.skippable_blocks), SAMPLES), bool)
    one[:, 2] = True
    for network in (
        fixed_network(emulator("numpy"), FULL, spec=spec, policy=GivenDecisions(one)),
        float_network("numpy", spec=spec, policy=GivenDecisions(one)),
    ):
        outcome, gradients = network.forward_backward(*batch(spec, SAMPLES), 0)
        assert np.isfinite(outcome.loss)
        assert all(np.isfinite(value).all() for value in gradients.values())
        assert all(np.isfinite(value).all() for value in network.parameters.values())


def passes(block: Block) -> int:
    """Forward, input gradient and weight gradient."""
    return 3 * block.macs


@pytest.mark.parametrize("case", [SMALL_RESNET, SMALL_MOBILENET])
@pytest.mark.parametrize("settings", [FULL, PSG, None])
def test_counted_work_falls_by_what_was_skipped(
    case: tuple, settings: FixedSettings | None
) -> None:
    spec = network_spec(*case)
    ran = decisions(spec)
    counts = {}
    for chosen in (None, ran):
        if settings is None:
            policy = None if chosen is None else GivenDecisions(chosen)
            network = float_network("numpy", spec=spec, policy=policy)
            network.forward_backward(*batch(spec, SAMPLES), 0)
        else:
            network, _, _ = trained("numpy", chosen, case, settings=settings)
        counts[chosen is None] = network.arithmetic.counter
    skipped = (~ran).sum(axis=1)
    blocks = spec.skippable_blocks
    saved = {name: counts[True].by_pass()[name] for name in counts[True].by_pass()}
    for name, widths in counts[False].by_pass().items():
        before, after = sum(saved[name].values()), sum(widths.values())
        whole = int(sum(n * b.macs for n, b in zip(skipped, blocks, strict=True)))
        if settings is PSG and name == "backward_weight":
            assert after < before  # only the signs that the predictor left open
        else:
            assert before - after == whole, name
    if settings is not PSG:
        total = sum(int(n) * passes(b) for n, b in zip(skipped, blocks, strict=True))
        assert counts[True].macs - counts[False].macs == total
    assert counts[False].moved("dram") < counts[True].moved("dram")


def test_who_runs_does_not_change_those_who_skip_everything() -> None:
    """Two batches that differ in one running sample: a sample that skips has the same stream."""
    spec = network_spec(*SMALL_RESNET)
    ran = np.zeros((3, SAMPLES), bool)
    ran[:, :3] = True
    logits = []
    for swap in (False, True):
        network = fixed_network(emulator("numpy"), FULL, spec=spec, policy=GivenDecisions(ran))
        images, _ = batch(spec, SAMPLES)
        # evaluation: running statistics, so samples meet nowhere but in the blocks' batches
        network.forward_backward(*batch(spec, SAMPLES, 9), 0)
        if swap:
            images[0] = 255 - images[0]
        logits.append(network.logits(images, 1, training=False))
    assert np.array_equal(logits[0][1:], logits[1][1:])
    assert not np.array_equal(logits[0][0], logits[1][0])
