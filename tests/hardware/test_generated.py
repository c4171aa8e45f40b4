# SPDX-License-Identifier: Apache-2.0
"""The generated files follow from hls/config/hardware.toml, and a stale one is found."""

import re
import shutil
import subprocess
from itertools import pairwise

import pytest

from e2train import cli
from e2train.device.accelerator import generated, generator
from e2train.device.accelerator.config import (
    CHECKOUT,
    CONFIG,
    argument_offsets,
    configuration_hash,
    load_config,
)
from e2train.errors import UserError

FILES = sorted(generator.render(load_config()))


def test_no_generated_file_is_stale():
    assert generator.stale() == []
    assert cli.run(["hardware", "generate", "--check"]) == 0


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A copy of the configuration and the generated files, which the command then works on."""
    for path in (*FILES, CONFIG):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / path, tmp_path / path)
    for name in ("stale", "generate"):
        whole = getattr(generator, name)
        monkeypatch.setattr(generator, name, lambda root=tmp_path, whole=whole: whole(root))
    return tmp_path


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_changed_or_missing_file_is_stale(checkout, path, capsys):
    right = (checkout / path).read_text()
    for spoil in (lambda file: file.write_text(right + "\n"), lambda file: file.unlink()):
        spoil(checkout / path)
        assert cli.run(["hardware", "generate", "--check"]) == 1
        assert capsys.readouterr().out.startswith(f"{path}: stale")
        assert cli.run(["hardware", "generate"]) == 0
        assert capsys.readouterr().out == f"{path}: written\n"
        assert (checkout / path).read_text() == right


def test_a_changed_configuration_makes_every_file_that_uses_it_stale(checkout):
    text = (checkout / CONFIG).read_text()
    (checkout / CONFIG).write_text(re.sub(r"row_depth = \d+", "row_depth = 99", text))
    names = {path.name for path in generator.stale()}
    assert names == {"hardware.hpp", "hardware.tcl", "e2train_hardware.vh", "generated.py"}
    (checkout / CONFIG).write_text(text.replace('"options", ', "").replace('"shift"', '"shifts"'))
    assert len(generator.stale()) == len(FILES)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[array]", "[arrays]", r"no section \[array\]"),
        ("rows = 8", "rows = 8.0", "rows: 8.0 given, expected int"),
        ("pool = 8", "pool = 9", r"\[operations\]: two names share a number"),
        ('"shift", ', '"bits", ', "two registers share a name"),
        ("spread = 10", "spread = 31", "bits 0 to 30"),
        ("part =", "part", "hardware.toml: "),
        ('row_step = "kernel_h"', 'row_step = "kernels"', "row_step: no register 'kernels'"),
        ("row_step =", "stride =", "stride: a register has this name"),
    ],
)
def test_a_wrong_configuration_is_one_line(checkout, old, new, says):
    text = (checkout / CONFIG).read_text()
    assert old in text
    (checkout / CONFIG).write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=says) as raised:
        generator.stale()
    assert "\n" not in str(raised.value)


def test_without_a_checkout_it_says_so(tmp_path):
    with pytest.raises(UserError, match="need a checkout's hls folder"):
        load_config(tmp_path)


def test_registers_do_not_overlap_and_python_agrees():
    offsets = argument_offsets(load_config())
    assert offsets == generated.OFFSETS
    identity = [generated.REGISTERS_ABI_VERSION, generated.REGISTERS_CONFIGURATION_HASH]
    # an output has its valid bit in the next word, and HLS leaves that much between two of them
    assert identity[1] - identity[0] >= 16
    taken = [generated.REGISTERS_ERROR, *identity, *offsets.values()]
    assert all(later - earlier >= 8 for earlier, later in pairwise(taken))
    assert offsets["result_address"] // 4 + 1 == generated.REGISTERS_WORDS


def test_the_hash_is_of_what_shapes_the_kernel():
    config = load_config()
    assert configuration_hash(config) == generated.CONFIGURATION_HASH < 1 << 31
    for section, key, other in (
        ("target", "part", "xc7z020clg400-1"),
        ("target", "clock_mhz", 50),
        ("bandwidth", "total_bytes_per_cycle", 16),
    ):
        changed = {**config, section: {**config[section], key: other}}
        assert configuration_hash(changed) == generated.CONFIGURATION_HASH, key
    for section, key, other in (
        ("array", "rows", 16),
        ("abi", "version", 2),
        ("options", "raw", 11),
        ("registers", "arguments", config["registers"]["arguments"][::-1]),
        ("names", "row_step", "kernel_w"),
    ):
        changed = {**config, section: {**config[section], key: other}}
        assert configuration_hash(changed) != generated.CONFIGURATION_HASH, key


def test_tcl_and_cpp_hold_the_same_numbers():
    tcl = (CHECKOUT / "hls/scripts/generated/hardware.tcl").read_text()
    cpp = (CHECKOUT / "hls/include/e2train/generated/hardware.hpp").read_text()
    verilog = (CHECKOUT / "hls/rtl/generated/e2train_hardware.vh").read_text()
    for name, value in generator.constants(load_config()).items():
        assert f"set {name} {value}\n" in tcl
        assert f"constexpr int {name} = {value};\n" in cpp
        assert f"localparam integer {name} = {value};\n" in verilog
        assert getattr(generated, name) == value


@pytest.mark.skipif(shutil.which("tclsh") is None, reason="no tclsh here")
def test_tcl_runs_the_fragment():
    script = "source hls/scripts/generated/hardware.tcl; puts $TARGET_PART; puts $ARRAY_ROWS"
    done = subprocess.run(
        ["tclsh"], input=script, cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [generated.TARGET_PART, str(generated.ARRAY_ROWS)]
