# SPDX-License-Identifier: Apache-2.0
"""The energy model against the published figures, and its table's checks."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2train.cost.energy import EnergyModel
from e2train.cost.table import DEFAULT_PATH
from e2train.device.counter import Counter
from e2train.device.geometry import Geometry
from e2train.errors import UserError

MODEL = EnergyModel.load()
LAYER = Geometry(16, 32, 32, 16, (3, 3), 1, 1, 1)


def work(pass_="forward", a=8, b=8, out=16, samples=128):
    counter = Counter()
    counter.convolution(pass_, LAYER, samples, a, b, out)
    return counter


def test_published_points_of_horowitz_are_met():
    assert MODEL.multiply_pj(8, 8) == pytest.approx(0.2)
    assert MODEL.multiply_pj(32, 31) < 3.1  # integers approach 32 bits; 32x32 itself is float32
    assert MODEL.add_pj(8) == pytest.approx(0.03)
    assert MODEL.add_pj(32) == pytest.approx(0.1)
    assert MODEL.mac_pj(32, 32) == pytest.approx(3.7 + 0.9)


def test_savings_that_the_paper_quotes_for_8_against_32_bits():
    """Section 3.3: multiply 95 %, add 97 %, movement 75 %, from the same source."""
    assert 1 - MODEL.multiply_pj(8, 8) / MODEL.multiply_pj(32, 32) == pytest.approx(0.95, abs=5e-3)
    assert 1 - MODEL.add_pj(8) / 0.9 == pytest.approx(0.97, abs=5e-3)
    narrow, wide = work(out=8), work(a=32, b=32, out=32)
    assert 1 - MODEL.joules(narrow).dram / MODEL.joules(wide).dram == pytest.approx(0.75)


@given(st.integers(2, 31), st.integers(2, 31))
def test_multiplication_grows_with_either_width_and_is_symmetric(a, b):
    assert MODEL.multiply_pj(a, b) == MODEL.multiply_pj(b, a)
    assert MODEL.multiply_pj(a, b) < MODEL.multiply_pj(a + 1, b) or (a + 1, b) == (32, 32)


def test_energy_of_a_hand_counted_layer():
    counter = Counter()
    counter.mac("predictor", 4, 10, 10**9)
    counter.move("dram", 8 * 10**6)
    counter.move("buffer", 8 * 10**6)
    energy = MODEL.joules(counter)
    exponent = math.log(3.1 / 0.2) / math.log(16)
    assert energy.compute == pytest.approx(1e-3 * (0.2 * (40 / 64) ** exponent + 0.1))
    assert energy.dram == pytest.approx(1e-6 * 1950)
    assert energy.buffer == pytest.approx(1e-6 * 10)
    assert energy.total == energy.compute + energy.dram + energy.buffer
    assert energy.provenance == "modelled"


@given(st.integers(1, 50))
def test_energy_is_additive(times):
    one, many = work(), work().times(times)
    assert MODEL.joules(many).total == pytest.approx(times * MODEL.joules(one).total)


def test_parts_of_the_energy_are_those_of_the_whole():
    counter = work("forward").plus(work("backward_weight", 8, 16, 48))
    energy = MODEL.joules(counter)
    on_chip = MODEL.on_chip_joules(counter, ("forward", "backward_weight"))
    assert on_chip == pytest.approx(energy.compute + energy.buffer)
    assert MODEL.dram_joules(counter.bytes) == pytest.approx(energy.dram)


@pytest.mark.parametrize(
    ("pattern", "replacement", "words"),
    [
        (r"^idle_w = .*$", "", r"board\.idle_w' is missing"),
        (r"^idle_w = .*$", "idle_w = 'much'", r"board\.idle_w'.*'much'"),
        (r"^idle_w = .*$", "idle_w = -1", r"board\.idle_w'.*-1"),
        (r"^neon_cores = .*$", "neon_cores = 0", r"hypothetical\.neon_cores'"),
        (r"^neon_cores = .*$", "neon_cores = true", r"hypothetical\.neon_cores'"),
        (r"^neon_cores = .*$", "neon_cores = nan", r"hypothetical\.neon_cores'"),
        (r"^neon_cores = .*$", "cores = 2", r"hypothetical\.cores'"),
        (r"^\[hypothetical\]$", "[imagined]", r"imagined"),
        (r"^\[published\]$", "[publish]", r"\[published\] is missing|publish"),
        (r"^int_add_8_pj = .*$", "int_add_8_pj = 0.03\nspeed = 1", r"published\.speed'"),
        (r"^\[choice\]$", "[choice", "not a TOML file"),
    ],
)
def test_a_wrong_table_is_one_line_with_file_and_key(tmp_path, pattern, replacement, words):
    text = DEFAULT_PATH.read_text(encoding="utf-8")
    changed, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
    assert count == 1
    path = tmp_path / "mine.toml"
    path.write_text(changed, encoding="utf-8")
    with pytest.raises(UserError, match=words) as error:
        EnergyModel.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_table(tmp_path):
    with pytest.raises(UserError, match=r"none\.toml"):
        EnergyModel.load(tmp_path / "none.toml")


def test_another_table_changes_the_model(tmp_path):
    path = tmp_path / "mine.toml"
    text = DEFAULT_PATH.read_text(encoding="utf-8")
    path.write_text(text.replace("idle_w = 2.6", "idle_w = 0"), encoding="utf-8")
    assert EnergyModel.load(path).table.board.idle_w == 0.0
    assert MODEL.table.board.idle_w == 2.6
