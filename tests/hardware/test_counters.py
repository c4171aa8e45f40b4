# SPDX-License-Identifier: Apache-2.0
"""What the kernels count of themselves is what the performance model computes without running.

Steps, operand words of the array, and beats by port, of every pass; cycles alone stay a model.
"""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from csim_device import csim
from device_cases import Values, geometries
from e2train.device.accelerator import generated as hw
from e2train.device.accelerator.tiling.cycles import Options, Tally, weight_pass
from e2train.device.accelerator.tiling.plan import plan_convolution, position_tally, tiles_of
from e2train.device.accelerator.tiling.psg_cycles import psg_pass

BATCHES = st.sampled_from((1, 16, 17, 33))
SEEDS = st.integers(0, 2**32 - 1)
SHIFT = 7
FIELDS = {
    "tiles": "steps",
    "core_steps": "core_steps",
    "column_beats": "columns",
    "row_beats": "rows",
    "extra_beats": "extra",
    "output_beats": "output",
}


def counted(operation, run):
    """What the launches of `run` report, summed, less the result block that each writes."""
    driver = csim().driver
    driver.totals.clear()
    run()
    assert set(driver.totals) == {operation}
    found = driver.totals[operation]
    found["output_beats"] -= hw.RESULT_SUMS * found["launches"]
    return found


def same_counts(found, tally: Tally, sums=0):
    expected = {name: getattr(tally, field) for name, field in FIELDS.items()}
    expected["output_beats"] += sums
    assert {name: found[name] for name in FIELDS} == expected


@settings(max_examples=15, deadline=None)
@given(geometry=geometries(), batch=BATCHES, seed=SEEDS)
def test_passes_along_positions(geometry, batch, seed):
    dev, values = csim(), Values(seed)
    x, w, g = values.x(geometry, batch), values.w(geometry), values.g(geometry, batch)
    forward = counted("convolve", lambda: dev.convolve(dev.put(x), w, geometry, SHIFT))
    plan = plan_convolution(geometry, batch, "forward")
    tally = position_tally(geometry, batch, "forward", plan)
    same_counts(forward, tally, sums=2 * geometry.filters)
    assert forward["launches"] == len(plan.inner_ranges)

    mask, residual = (dev.put(np.zeros(x.shape, kind)) for kind in (np.int8, np.int16))
    back = counted(
        "input_gradient",
        lambda: dev.input_gradient(dev.put(g), w, geometry, SHIFT, output=mask, residual=residual),
    )
    plan = plan_convolution(geometry, batch, "backward_input")
    same_counts(back, position_tally(geometry, batch, "backward_input", plan, options=Options(6)))


@settings(max_examples=15, deadline=None)
@given(geometry=geometries(), batch=BATCHES, seed=SEEDS)
def test_passes_to_the_weights(geometry, batch, seed):
    dev, values = csim(), Values(seed)
    x, g = dev.put(values.x(geometry, batch)), dev.put(values.g(geometry, batch))
    found = counted("weight_gradient", lambda: dev.weight_gradient(x, g, geometry))
    plan = plan_convolution(geometry, batch, "weight")
    same_counts(found, weight_pass(geometry, batch, tiles_of(plan)))

    results = []
    found = counted(
        "psg_gradient", lambda: results.append(dev.psg_gradient(x, g, geometry, 3277, 4, 10))
    )
    plan = plan_convolution(geometry, batch, "psg")
    model = psg_pass(geometry, batch, tiles_of(plan), ~results[0].predicted)
    same_counts(found, model.total)
    assert found["visits"] == model.compaction.visits
    assert found["weights"] == geometry.weights
    assert found["predicted"] == np.count_nonzero(results[0].predicted)
