# SPDX-License-Identifier: Apache-2.0
"""docs/cost.md quotes what the code says, and the closed form is the paper's."""

import re
from pathlib import Path

import pytest

from e2train.cost.board import BoardModel
from e2train.cost.counts import FULL_SIGN, PSG, iteration, operations
from e2train.cost.energy import EnergyModel
from e2train.cost.paper import (
    BATCH,
    PRINTED,
    TABLES,
    cifar10,
    closed_form,
    embedded,
    main,
    product_of_factors,
)
from e2train.cost.summary import skippable_share
from e2train.methods.slu import gated_names

TEXT = (Path(__file__).parents[2] / "docs" / "cost.md").read_text(encoding="utf-8")
PLAIN = re.sub(r"\s+", " ", TEXT)


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_the_commands_output(name):
    assert "\n".join([f"<!-- {name} -->", *TABLES[name]().markdown()]) in TEXT


def test_command_prints_the_tables(capsys):
    main()
    printed = capsys.readouterr().out
    assert all("\n".join(table().markdown()) in printed for table in TABLES.values())


@pytest.mark.parametrize(("skip", "printed"), [(20, 80.27), (40, 85.20), (60, 90.13)])
def test_closed_form_gives_the_papers_figures(skip, printed):
    assert round(closed_form(skip), 2) == printed == PRINTED[skip]
    assert f"{printed:.2f} %" in PLAIN


def test_closed_form_misses_mobilenet_by_one_in_the_last_digit():
    assert round(closed_form(0), 2) == 75.33
    assert PRINTED[0] == 75.34
    low, high = product_of_factors()
    assert f"[{low:.6f}, {high:.6f}]" in PLAIN
    assert low < 0.6666 * 0.37 < high < 2 / 3 * 0.37


def test_quoted_costs_of_a_mac():
    model = EnergyModel.load()
    quoted = {(8, 8): "0.300", (4, 10): "0.226", (8, 16): "0.544", (32, 32): "4.6"}
    for widths, text in quoted.items():
        assert f"{model.mac_pj(*widths):.3f}".startswith(text)
        assert re.search(rf"{re.escape(text)}( pJ)? \((8x8|4x10|8x16|float32)\)", PLAIN)
    assert "a byte of DRAM 244 pJ" in PLAIN
    assert round((1300 + 2600) / 2 / 8) == 244


def test_quoted_effect_of_the_gates():
    spec = cifar10("resnet-74")
    plain = iteration(spec, PSG, BATCH, predicted=0.6)
    gated = iteration(spec, PSG, BATCH, predicted=0.6, gated=gated_names(spec, "identity"))
    macs = 100 * (gated.macs / plain.macs - 1)
    bits = 100 * (gated.bit_operations / plain.bit_operations - 1)
    assert f"{macs:.3f} % of the MACs and {bits:.2f} % of the bit operations" in PLAIN


def test_quoted_effects_of_the_predictor():
    spec, model = cifar10("resnet-74"), EnergyModel.load()
    sign = iteration(spec, FULL_SIGN, BATCH)
    psg = iteration(spec, PSG, BATCH, predicted=0.6)
    none, every = (iteration(spec, PSG, BATCH, predicted=share) for share in (0.0, 1.0))
    even = (none.bit_operations - sign.bit_operations) / (
        none.bit_operations - every.bit_operations
    )
    assert f"breaks even at p = {even:.2f}" in PLAIN
    saved = 100 * (1 - psg.bit_operations / sign.bit_operations)
    assert f"saves {saved:.0f} % of the bit operations" in PLAIN
    more = 100 * (model.joules(psg).total / model.joules(sign).total - 1)
    assert f"PSG needs {more:.0f} % more modelled energy" in PLAIN
    less = 100 * (1 - model.joules(embedded(spec, 0.6)).total / model.joules(sign).total)
    assert f"embedded it needs {less:.1f} % less" in PLAIN


def test_quoted_reach_of_skipping():
    assert f"{1 - 0.2 * skippable_share(cifar10('resnet-74')):.4f} rather than 0.8" in PLAIN
    assert f"MobileNetV2 {100 * (1 - skippable_share(cifar10('mobilenet-v2'))):.0f} %" in PLAIN


def test_quoted_share_of_idle_power():
    board = BoardModel(EnergyModel.load(), float32=False)
    phases = board.phases(operations(cifar10("resnet-74"), PSG, BATCH, predicted=0.6))
    idle = sum(phase.idle_j for phase in phases) / sum(phase.joules for phase in phases)
    assert f"idle is {100 * idle:.0f} % of the power" in PLAIN
