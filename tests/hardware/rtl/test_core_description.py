# SPDX-License-Identifier: Apache-2.0
"""What describes the MAC core: the JSON for HLS, and the constraints of its parameters."""

import json
import re
import subprocess

import pytest

from e2train.checked import read_toml
from e2train.device.accelerator import core_constraints, generator, verilator
from e2train.device.accelerator.config import CHECKOUT, CONFIG, load_config
from e2train.errors import UserError

RTL = CHECKOUT / verilator.RTL
JSON = json.loads((RTL / "mac_core.json").read_text(encoding="utf-8"))
HEADER = re.search(r"module mac_core \((.*?)\);", (RTL / "mac_core.v").read_text(), re.DOTALL)
NAMES = re.findall(r"constraint_(\w+) broken", (RTL / "mac_constraints.v").read_text())
# Values of the configuration that break a constraint each, whatever else they break.
BREAKS = {
    "columns_are_a_multiple_of_packed_run": {"columns = 16": "columns = 18"},
    "packed_run_is_a_power_of_two": {"packed_run = 4": "packed_run = 3"},
    "columns_are_four_chains": {"columns = 16": "columns = 32"},
    "a_word_of_sums_holds_all_rows": {"\nrows = 8": "\nrows = 12"},
    "rows_are_a_multiple_of_packed_run": {"\nrows = 8": "\nrows = 6"},
    "a_run_of_packed_products_fits_the_low_lane": {"lane_offset = 17": "lane_offset = 16"},
    "a_step_of_slices_fits_the_low_lane": {"column_slice_bits = 10": "column_slice_bits = 11"},
    "a_packed_pair_fits_the_wide_port": {"lane_offset = 17": "lane_offset = 18"},
    "a_gradient_fits_the_narrow_port": {"gradient = 16": "gradient = 19"},
    "two_slices_fill_a_byte": {"\nslice_bits = 4": "\nslice_bits = 3"},
    "cell_sums_hold_both_halves_of_a_plain_sum": {"cell_sum = 32": "cell_sum = 31"},
    "sums_are_as_wide_as_a_dsp": {"\nsum = 48": "\nsum = 47"},
    "row_bits_hold_a_byte_a_row_and_lane": {"row_bits = 2048": "row_bits = 2056"},
    "column_bits_hold_two_gradients_a_column": {"column_bits = 512": "column_bits = 528"},
    "sum_bits_hold_a_sum_a_lane": {"sum_bits = 768": "sum_bits = 816"},
    "words_fit_the_step_word": {"words_bits = 5": "words_bits = 4"},
    "a_bit_of_ahead_a_row_of_dsps": {"ahead = 8 ": "ahead = 9 "},
}


def test_the_ports_are_the_modules():
    ports = set(re.findall(r"\w+", HEADER.group(1)))
    named = {port for one in JSON["c_parameters"] for port in one["rtl_ports"].values()}
    assert named | set(JSON["rtl_common_signal"].values()) == ports
    assert JSON["rtl_top_module_name"] == JSON["c_function_name"] == verilator.TOP
    streams = [one["c_name"] for one in JSON["c_parameters"]]
    declared = (CHECKOUT / "hls/include/e2train/mac_core.hpp").read_text(encoding="utf-8")
    arguments = declared.partition("void mac_core(")[2].partition(");")[0]
    assert re.findall(r">& (\w+)", arguments) == streams


def test_the_files_are_all_that_becomes_hardware():
    found = [*RTL.glob("mac_*.v"), *RTL.rglob("*.vh")]
    files = {path.relative_to(CHECKOUT).as_posix() for path in found}
    assert set(JSON["rtl_files"]) == files - {"hls/rtl/mac_contract.v"}
    assert all((CHECKOUT / one["c_file"]).exists() for one in JSON["c_files"])


def test_both_lists_of_constraints_are_one():
    assert sorted(NAMES) == sorted(BREAKS) and len(set(NAMES)) == len(NAMES)
    assert core_constraints.broken_constraints(load_config()) == []


def configured(changes, folder):
    """The configuration with changes in its text, past all checks."""
    text = (CHECKOUT / CONFIG).read_text(encoding="utf-8")
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / "hardware.toml"
    path.write_text(text, encoding="utf-8")
    return read_toml(path)


@pytest.mark.parametrize("name", BREAKS)
def test_a_constraint_is_broken(tmp_path, name):
    assert name in core_constraints.broken_constraints(configured(BREAKS[name], tmp_path))


def test_generation_stops_with_the_constraints_name(tmp_path):
    (tmp_path / CONFIG).parent.mkdir(parents=True)
    configured(BREAKS["words_fit_the_step_word"], (tmp_path / CONFIG).parent)
    with pytest.raises(UserError, match="the MAC core cannot be built: words_fit_the_step_word"):
        generator.generate(tmp_path)
    assert list(tmp_path.rglob("*.vh")) == []


@pytest.mark.parametrize("name", [None, *BREAKS])
def test_elaboration_stops_with_the_constraints_name(tmp_path, name):
    try:
        binary, _ = verilator.verilator()
    except UserError as missing:
        pytest.skip(str(missing))
    config = configured(BREAKS[name] if name else {}, tmp_path)
    header = verilator.RTL / "generated/e2train_hardware.vh"
    (tmp_path / header.name).write_text(generator.render(config)[header], encoding="utf-8")
    file = RTL / "mac_constraints.v"
    command = [binary, "--lint-only", f"-I{tmp_path}", f"-I{RTL}", str(file)]
    done = subprocess.run(
        command, env=verilator.environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == (name is None)
    assert name is None or f"'constraint_{name}'" in done.stderr


def test_verilator_finds_nothing():
    verilator.run(["--lint-only", "-Wall"])
