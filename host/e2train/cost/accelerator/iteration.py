# SPDX-License-Identifier: Apache-2.0
"""The launches of one training iteration, in modelled cycles: convolutions and the vector unit.

Follows what `e2train.network` asks of a device when every sample runs every block. Work of the
processor is in `processor`.
"""

from __future__ import annotations

from functools import lru_cache

from ...device.accelerator.tiling.array import Hardware
from ...device.accelerator.tiling.cycles import (
    BYTE_BEATS,
    HALF_BEATS,
    RAW_BEATS,
    REQUANTISED,
    Options,
    Tally,
    weight_pass,
)
from ...device.accelerator.tiling.plan import TilePlan, plan_convolution, position_tally, tiles_of
from ...device.accelerator.tiling.psg_cycles import PsgTally, psg_pass, random_unsure
from ...device.geometry import Geometry
from ...network.spec import Block, NetworkSpec
from .vector import mask, narrow, normalise, normalise_backward, pool, shortcut, spread
from .work import HEADER, Setting, Work, peak

# ---- convolutions -------------------------------------------------------------------------------


def _around(cleared: int) -> Tally:
    """Around a launch's tiles: sums of `cleared` channels begin at 0, the result is written."""
    return HEADER + Tally(cycles=cleared)


def position_work(
    pass_: str, layer: str, geometry: Geometry, setting: Setting, options: Options
) -> Work:
    """Forward, or backward to the input."""
    hardware = setting.hardware
    plan = plan_convolution(geometry, setting.samples, pass_, hardware)
    tally = position_tally(geometry, setting.samples, pass_, plan, hardware, options)
    outer = geometry.filters if pass_ == "forward" else geometry.channels
    tally += _around(outer).times(len(plan.inner_ranges))
    if pass_ == "forward" and options.output_beats == HALF_BEATS:  # channel sums: y and y^2
        tally += Tally(cycles=2 * geometry.filters, output=2 * geometry.filters)
    macs = geometry.macs * setting.samples
    ideal = macs / peak(pass_ == "forward", hardware)
    launches = len(plan.inner_ranges)
    return Work(pass_, layer, tally, launches, macs, ideal, geometry=geometry)


def weight_work(layer: str, geometry: Geometry, setting: Setting) -> Work:
    """The weights' gradients, by PSG or in full."""
    hardware, macs = setting.hardware, geometry.macs * setting.samples
    if setting.method == "psg":
        found = psg_of(layer, geometry, setting)
        unsure = macs * found.compaction.unsure // geometry.weights
        ideal = macs / peak(True, hardware) + unsure / peak(False, hardware)
        tally = found.total + _around(0)
        return Work("backward_weight", layer, tally, 1, macs + unsure, ideal, geometry=geometry)
    plan = plan_convolution(geometry, setting.samples, "weight", hardware)
    tally = weight_pass(geometry, setting.samples, tiles_of(plan), hardware=hardware)
    tally += _around(0)
    ideal = macs / peak(False, hardware)
    return Work("backward_weight", layer, tally, 1, macs, ideal, geometry=geometry)


def psg_of(layer: str, geometry: Geometry, setting: Setting) -> PsgTally:
    """PSG's pass of one layer, by phase."""
    if setting.masks is not None and layer in setting.masks:
        unsure = setting.masks[layer]
        plan = plan_convolution(geometry, setting.samples, "psg", setting.hardware)
        return psg_pass(geometry, setting.samples, tiles_of(plan), unsure, setting.hardware)
    return _drawn(geometry, setting.samples, setting.predicted, setting.hardware)


@lru_cache(maxsize=256)
def _drawn(geometry: Geometry, samples: int, predicted: float, hardware: Hardware) -> PsgTally:
    plan: TilePlan = plan_convolution(geometry, samples, "psg", hardware)
    unsure = random_unsure(geometry, predicted)
    return psg_pass(geometry, samples, tiles_of(plan), unsure, hardware)


# ---- an iteration -------------------------------------------------------------------------------


def iteration_work(spec: NetworkSpec, setting: Setting) -> list[Work]:
    """Every launch of a training iteration over `setting.samples` samples, forward then back."""
    work: list[Work] = []
    for block in spec.blocks:
        work += _block_forward(block, setting)
    work += _classifier(spec, setting)
    for block in reversed(spec.blocks):
        work += _block_backward(block, setting)
    return work


def _block_forward(block: Block, setting: Setting) -> list[Work]:
    last = block.units[-1].geometry
    work = []
    if block.shortcut == "pad":
        work.append(shortcut(block, last.output_size, setting))
    if block.name != "stem":
        work.append(narrow(block, setting))
    for unit in block.units:
        ends = unit is block.units[-1]
        work.append(position_work("forward", unit.name, unit.geometry, setting, REQUANTISED))
        work.append(normalise(unit, setting, last=ends, residual=ends and block.skippable))
    return work


def _block_backward(block: Block, setting: Setting) -> list[Work]:
    first, last = block.units[0].geometry, block.units[-1]
    work = []
    if last.activation != "none":
        work.append(mask(last, setting))
    if block.shortcut == "pad":
        work.append(shortcut(block, first.input_size, setting))
    for index in reversed(range(len(block.units))):
        unit = block.units[index]
        work.append(normalise_backward(unit, setting))
        work.append(weight_work(unit.name, unit.geometry, setting))
        if index == 0 and block.name == "stem":
            continue  # nobody needs the picture's gradient
        masked = index > 0 and block.units[index - 1].activation != "none"
        residual = index == 0 and block.skippable
        beats = (BYTE_BEATS if masked else 0) + (HALF_BEATS if residual else 0)
        options = Options(extra_beats=beats)
        work.append(position_work("backward_input", unit.name, unit.geometry, setting, options))
    return work


def _classifier(spec: NetworkSpec, setting: Setting) -> list[Work]:
    """Pooling, the linear layer forward (64-bit sums) and back, and the pooling's gradient."""
    pooled, linear = spec.blocks[-1].units[-1].geometry, spec.classifier
    raw = Options(output_beats=RAW_BEATS)
    return [
        pool(pooled.filters, pooled.output_size, setting),
        position_work("forward", "classifier", linear, setting, raw),
        weight_work("classifier", linear, setting),
        position_work("backward_input", "classifier", linear, setting, REQUANTISED),
        spread(pooled.output_size, setting),
    ]
