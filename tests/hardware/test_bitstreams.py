# SPDX-License-Identifier: Apache-2.0
"""Scripts for Vivado, which is not here: a Tcl interpreter runs them on commands that record their
use, and the design that comes out is held against the kernel, the configuration and the board."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

import fake_vivado
from e2train import cli
from e2train.board import bitstream
from e2train.board.boards import board_names, load_board
from e2train.device.accelerator import generated as hw
from e2train.device.accelerator.config import CHECKOUT, CONFIG, load_config
from e2train.errors import UserError

CONFIGURATION = load_config()
KERNEL = (CHECKOUT / f"hls/src/generated/{hw.TARGET_TOP}.cpp").read_text(encoding="utf-8")
TOP = hw.TARGET_TOP


@pytest.fixture
def scripts(tmp_path):
    """A copy of the scripts, which tests may spoil, in a folder without spaces."""
    root = tmp_path / "checkout"
    shutil.copytree(CHECKOUT / "bitstreams", root / "bitstreams")
    (root / "hls/scripts").mkdir(parents=True)
    shutil.copytree(CHECKOUT / "hls/scripts/generated", root / "hls/scripts/generated")
    return root / "bitstreams"


def built(scripts, folder, board="zedboard", **answers):
    done = fake_vivado.run_build(scripts, folder, board, fake_vivado.install(folder, **answers))
    assert done.returncode == 0, done.stderr
    return fake_vivado.recorded(folder)


# ---- what a right design is ---------------------------------------------------------------------


def kernel_masters():
    """The interfaces that Vitis HLS makes of the kernel's pragmas, with the port of each."""
    found = re.findall(r"m_axi port=(\w+) offset=slave bundle=(\w+)", KERNEL)
    assert [port for port, _ in found] == CONFIGURATION["registers"]["ports"]
    assert "s_axilite port=return bundle=control" in KERNEL
    return [f"m_axi_{bundle}" for _, bundle in found]


def check_design(design, board):
    """Fails where the design is not that of the kernel, the configuration and the board."""
    check_processing_system(design, board)
    check_kernel(design)
    check_clocks(design)
    check_addresses(design, board)
    (options, _), *more = design.named("create_project")
    assert options["-part"] == board.part and not more
    assert [call[0] for call in design.calls].count("validate_bd_design") == 1


def check_processing_system(design, board):
    assert design.cells["ps7"].startswith("xilinx.com:ip:processing_system7:")
    found = {key.removeprefix("CONFIG."): value for key, value in design.properties["ps7"].items()}
    assert float(found["PCW_FPGA0_PERIPHERAL_FREQMHZ"]) == board.fabric.clock_mhz
    assert found["PCW_USE_M_AXI_GP0"] == found["PCW_IRQ_F2P_INTR"] == "1"
    assert found["PCW_USE_FABRIC_INTERRUPT"] == "1"
    assert float(found["PCW_CRYSTAL_PERIPHERAL_FREQMHZ"]) == board.ps7.crystal_mhz
    assert float(found["PCW_APU_PERIPHERAL_FREQMHZ"]) == board.ps7.processor_mhz
    assert float(found["PCW_UIPARAM_DDR_FREQ_MHZ"]) == board.ps7.ddr_mhz
    assert found["PCW_UIPARAM_DDR_PARTNO"] == board.ps7.ddr_part
    assert found["PCW_UIPARAM_DDR_BUS_WIDTH"] == f"{board.ps7.ddr_bus_bits} Bit"
    for port in range(4):
        used = port in CONFIGURATION["registers"]["hp"]
        assert found.get(f"PCW_USE_S_AXI_HP{port}") == ("1" if used else None)
        width = str(hw.WIDTHS_BEAT) if used else None
        assert found.get(f"PCW_S_AXI_HP{port}_DATA_WIDTH") == width


def check_kernel(design):
    """Every port of the kernel is connected, and each master reaches its HP interface."""
    assert design.cells[TOP] == f"{hw.TARGET_VENDOR}:hls:{TOP}:{hw.TARGET_VERSION}"
    into = dict(design.buses)
    through = {name: into[f"{name}/M00_AXI"] for name in design.cells if f"{name}/M00_AXI" in into}

    def reached(source):
        cell, pin = into[source].split("/")
        index = int(re.fullmatch(r"S(\d\d)_AXI", pin)[1])
        assert index < int(design.properties[cell]["CONFIG.NUM_SI"])
        return through[cell]

    masters = kernel_masters()
    for master, port in zip(masters, CONFIGURATION["registers"]["hp"], strict=True):
        assert reached(f"{TOP}/{master}") == f"ps7/S_AXI_HP{port}"
    assert reached("ps7/M_AXI_GP0") == f"{TOP}/s_axi_control"
    named = {source for source in into if source.startswith(f"{TOP}/")}
    assert named == {f"{TOP}/{master}" for master in masters}
    assert len(design.buses) == len(into)
    assert design.nets["ps7/IRQ_F2P"] == f"{TOP}/interrupt"


def check_clocks(design):
    driven = ["M_AXI_GP0_ACLK"]
    driven += [f"S_AXI_HP{port}_ACLK" for port in set(CONFIGURATION["registers"]["hp"])]
    pins = [f"ps7/{pin}" for pin in driven] + [f"{TOP}/ap_clk", "reset/slowest_sync_clk"]
    crossbars = [name for name, kind in design.cells.items() if ":smartconnect:" in kind]
    pins += [f"{name}/aclk" for name in crossbars]
    assert {design.nets[pin] for pin in pins} == {"ps7/FCLK_CLK0"}
    resets = [f"{TOP}/ap_rst_n", *(f"{name}/aresetn" for name in crossbars)]
    assert {design.nets[pin] for pin in resets} == {"reset/peripheral_aresetn"}
    assert design.nets["reset/ext_reset_in"] == "ps7/FCLK_RESET0_N"


def check_addresses(design, board):
    base, size = design.addresses["ps7/Data", f"{TOP}/s_axi_control/Reg"]
    assert base == board.fabric.control_base and size >= 4 * hw.REGISTERS_WORDS
    expected = {
        (f"{TOP}/Data_{master}", f"ps7/S_AXI_HP{port}/HP{port}_DDR_LOWOCM"): (
            0,
            board.memory.ddr_mib << 20,
        )
        for master, port in zip(kernel_masters(), CONFIGURATION["registers"]["hp"], strict=True)
    }
    found = {key: value for key, value in design.addresses.items() if key[0] != "ps7/Data"}
    assert found == expected


# ---- the scripts --------------------------------------------------------------------------------


@pytest.mark.parametrize("script", sorted((CHECKOUT / "bitstreams").rglob("*.tcl")), ids=str)
def test_tcl_is_complete(script, tmp_path):
    asked = tmp_path / "asked.tcl"
    asked.write_text(f"if {{![info complete [read [open {{{script}}}]]]}} {{ exit 3 }}\n")
    assert subprocess.run([*fake_vivado.interpreter(tmp_path), asked]).returncode == 0


@pytest.mark.parametrize("name", board_names())
def test_the_design_is_the_kernels_the_configurations_and_the_boards(scripts, tmp_path, name):
    design = built(scripts, tmp_path, name)
    for call in design.calls:
        fake_vivado.parsed(call)
    check_design(design, load_board(name))
    names = [call[0] for call in design.calls]
    assert names.index("validate_bd_design") < names.index("launch_runs")
    (ip,) = [
        options["-add_ip"]
        for options, _ in design.named("update_ip_catalog")
        if "-add_ip" in options
    ]
    assert ip == str(tmp_path / "ip.zip")


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("generated/zedboard.tcl", "BOARD_CLOCK_MHZ 100", "BOARD_CLOCK_MHZ 90"),
        ("generated/zedboard.tcl", "0x43c00000", "0x43c10000"),
        ("generated/zedboard.tcl", "BOARD_DDR_BYTES 536870912", "BOARD_DDR_BYTES 536870911"),
        ("generated/zedboard.tcl", "{33.333333}", "{33.333334}"),
        ("generated/zedboard.tcl", "{32 Bit}", "{16 Bit}"),
        ("generated/zedboard.tcl", "{m_axi_gmem3 2}", "{m_axi_gmem3 3}"),
        ("generated/zedboard.tcl", " {m_axi_gmem4 3}", ""),
        ("generated/zedboard.tcl", "clg484-1", "clg484-2"),
        ("../hls/scripts/generated/hardware.tcl", "WIDTHS_BEAT 64", "WIDTHS_BEAT 32"),
        ("design.tcl", "$TARGET_TOP/interrupt", "$TARGET_TOP/ap_done"),
        ("design.tcl", "    clock ps7/M_AXI_GP0_ACLK\n", "    clock ps7/M_AXI_GP1_ACLK\n"),
        ("design.tcl", "HP${hp}_DDR_LOWOCM", "HP0_DDR_LOWOCM"),
        ("design.tcl", "-offset 0x00000000", "-offset 0x00100000"),
    ],
)
def test_a_changed_number_is_found(scripts, tmp_path, file, old, new):
    text = (scripts / file).read_text(encoding="utf-8")
    assert old in text
    (scripts / file).write_text(text.replace(old, new), encoding="utf-8")
    design = built(scripts, tmp_path)
    with pytest.raises((AssertionError, KeyError, ValueError)):
        check_design(design, load_board("zedboard"))


def test_the_boards_preset_is_taken_where_vivado_has_its_files(scripts, tmp_path):
    known = "avnet.com:zedboard:part0:1.4"
    design = built(scripts, tmp_path, BOARDS=known)
    assert design.properties["current_project"]["board_part"] == known
    (options, _) = design.named("apply_bd_automation")[0]
    assert fake_vivado.tcl_list(options["-config"])[2:4] == ["apply_board_preset", "1"]
    facts = (tmp_path / "build/facts.txt").read_text().splitlines()
    assert f"board_files={known}" in facts and "tool=Vivado 2024.1" in facts
    assert (tmp_path / "build/e2train.xsa").exists()


def test_without_board_files_it_says_so_and_goes_on(scripts, tmp_path):
    given = fake_vivado.install(tmp_path)
    done = fake_vivado.run_build(scripts, tmp_path, "pynq-z2", given)
    assert done.returncode == 0
    assert "no board files of tul.com.tw:pynq-z2:part0:1.0, from the board's page" in done.stdout
    options, _ = fake_vivado.recorded(tmp_path).named("apply_bd_automation")[0]
    assert fake_vivado.tcl_list(options["-config"])[2:4] == ["apply_board_preset", "0"]


@pytest.mark.parametrize(
    "answers, says",
    [
        ({"WNS": "-0.012"}, "timing is not met: worst setup slack -0.012 ns"),
        ({"WHS": "-0.001"}, "timing is not met: worst hold slack -0.001 ns"),
        ({"WNS": ""}, "the tool gives no setup slack: ''"),
        ({"PROGRESS": "42%"}, "synth_1 stopped: place_design ERROR"),
    ],
)
def test_a_build_that_is_not_good_makes_no_bitstream(scripts, tmp_path, answers, says):
    stale = tmp_path / "build/e2train.bit"
    stale.parent.mkdir()
    stale.write_text("of an earlier build")
    given = fake_vivado.install(tmp_path, **answers)
    done = fake_vivado.run_build(scripts, tmp_path, "zedboard", given)
    assert done.returncode != 0 and says in done.stderr
    assert not list((tmp_path / "build").glob("e2train.*"))
    assert not (tmp_path / "build/facts.txt").exists()
    runs = fake_vivado.recorded(tmp_path).named("launch_runs")
    assert not [options for options, _ in runs if "-to_step" in options]
    timed = "WNS" in answers or "WHS" in answers
    assert (tmp_path / "build/timing.rpt").exists() == timed


def test_bitstream_and_handoff_have_one_stem(scripts, tmp_path):
    built(scripts, tmp_path)
    made = {path.name for path in (tmp_path / "build").iterdir() if path.is_file()}
    reports = {"timing.rpt", "utilisation.rpt", "power.rpt"}
    assert made == {"e2train.bit", "e2train.hwh", "facts.txt", *reports}


# ---- make bitstream -----------------------------------------------------------------------------


def make(folder, given, board="zedboard"):
    command = ["make", "-s", "-C", CHECKOUT / "bitstreams", f"BOARD={board}"]
    command += [f"BUILD={folder / 'build'}", f"IP={folder / 'ip.zip'}", f"PYTHON={sys.executable}"]
    return subprocess.run(command, env=given, capture_output=True, text=True)


def lines_of(done):
    return [line for line in done.stderr.splitlines() if not line.startswith("make")]


@pytest.fixture
def made(tmp_path):
    """A build by make, as far as the manifest."""
    if " " in str(CHECKOUT):
        pytest.skip("Vivado takes no path with a space: this checkout is in one")
    (tmp_path / "ip.zip").write_bytes(b"packaged")
    os.utime(tmp_path / "ip.zip", (2e9, 2e9))
    done = make(tmp_path, fake_vivado.install(tmp_path))
    assert done.returncode == 0, done.stderr
    return tmp_path / "build"


def test_the_manifest_is_whole(made):
    manifest = json.loads((made / "e2train.json").read_text())
    assert manifest["board"] == "zedboard" and manifest["part"] == "xc7z020clg484-1"
    assert manifest["configuration_hash"] == hw.CONFIGURATION_HASH
    assert manifest["abi_version"] == hw.ABI_VERSION
    assert manifest["tool"] == "Vivado 2024.1" and manifest["clock_mhz"] == 100
    assert (manifest["setup_slack_ns"], manifest["hold_slack_ns"]) == (0.213, 0.021)
    command = ["git", "rev-parse", "HEAD"]
    head = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True).stdout.strip()
    assert manifest["commit"].split(" ")[0] == (head or "unknown")
    files = {"e2train.bit", "e2train.hwh", "timing.rpt", "utilisation.rpt", "power.rpt"}
    assert set(manifest["checksums"]) == files
    for name, checksum in manifest["checksums"].items():
        assert hashlib.sha256((made / name).read_bytes()).hexdigest() == checksum


def test_a_bitstream_says_what_it_was_made_from(made, capsys):
    assert cli.run(["board", "bitstream", str(made / "e2train.bit")]) == 0
    assert f"0x{hw.CONFIGURATION_HASH:08x}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "spoil, says",
    [
        (lambda made: (made / "e2train.hwh").write_text("of another"), "e2train.hwh: not the file"),
        (lambda made: (made / "e2train.hwh").unlink(), "e2train.hwh: No such file"),
        (lambda made: (made / "e2train.json").unlink(), "a build writes it beside the .bit"),
        (lambda made: (made / "e2train.json").write_text("{"), "e2train.json: not a manifest"),
        (lambda made: edited(made, "configuration_hash", 5), "configuration 0x00000005, this pack"),
        (lambda made: edited(made, "tool", None), "key 'tool' should be a string, not null"),
    ],
)
def test_a_bitstream_that_is_not_whole_or_not_ours_is_one_line(made, capsys, spoil, says):
    spoil(made)
    assert cli.run(["board", "bitstream", str(made / "e2train.bit")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def edited(made, key, value):
    manifest = json.loads((made / "e2train.json").read_text())
    (made / "e2train.json").write_text(json.dumps({**manifest, key: value}))


def test_without_vivado_one_line_says_what_is_missing(tmp_path):
    if shutil.which("vivado"):
        pytest.skip("Vivado is installed here")
    done = make(tmp_path, {**os.environ, "MAKEFLAGS": ""})
    (line,) = lines_of(done)
    assert done.returncode != 0 and line == (
        "bitstream: vivado is not on PATH; install AMD Vivado 2023.2 or newer with Zynq-7000 "
        "devices (and Vitis of the same version, for the accelerator) and source its settings64.sh"
    )


def test_an_old_vivado_and_an_unknown_board_are_one_line(tmp_path):
    given = fake_vivado.install(tmp_path, VERSION="2022.1")
    (line,) = lines_of(make(tmp_path, given))
    assert "vivado is version 2022.1; AMD Vivado 2023.2 or newer" in line
    (line,) = lines_of(make(tmp_path, given, board="zybo"))
    assert line == "bitstream: BOARD=zybo: expected one of pynq-z1 pynq-z2 zedboard"
    assert not (tmp_path / "log").exists()


def test_a_missing_ip_is_one_line(tmp_path):
    given = fake_vivado.install(tmp_path)
    command = [CHECKOUT / "bitstreams/vivado.sh", "zedboard", tmp_path / "build", tmp_path / "no"]
    done = subprocess.run(command, env=given, capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"bitstream: {tmp_path}/no: there is no packaged accelerator; make ip writes it\n"
    )


# ---- generated files ----------------------------------------------------------------------------


def test_no_generated_file_is_stale_and_a_changed_one_is_found(tmp_path):
    assert bitstream.stale() == []
    for path in (*bitstream.render(), CONFIG):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / path, tmp_path / path)
    assert bitstream.stale(tmp_path) == []
    text = (tmp_path / CONFIG).read_text()
    (tmp_path / CONFIG).write_text(text.replace("hp = [0, 1, 2, 2, 3]", "hp = [0, 1, 1, 2, 3]"))
    assert bitstream.stale(tmp_path) == sorted(bitstream.render())
    assert bitstream.generate(tmp_path) == sorted(bitstream.render())
    assert "{m_axi_gmem2 1}" in (tmp_path / bitstream.FOLDER / "zedboard.tcl").read_text()


@pytest.mark.parametrize("ports", ["[0, 1, 2, 2, 4]", "[0, 1, 2, 3]", '[0, 1, 2, 2, "3"]'])
def test_a_port_that_goes_nowhere_is_one_line(tmp_path, ports):
    (tmp_path / CONFIG).parent.mkdir(parents=True)
    text = (CHECKOUT / CONFIG).read_text(encoding="utf-8")
    (tmp_path / CONFIG).write_text(text.replace("hp = [0, 1, 2, 2, 3]", f"hp = {ports}"))
    with pytest.raises(UserError, match=r"hardware\.toml: \[registers\] hp: expected an HP int"):
        load_config(tmp_path)


def test_where_ports_go_does_not_change_the_kernel():
    from e2train.device.accelerator.config import configuration_hash

    moved = {**CONFIGURATION, "registers": {**CONFIGURATION["registers"], "hp": [0, 1, 1, 2, 3]}}
    assert configuration_hash(moved) == hw.CONFIGURATION_HASH


def test_the_tcl_inside_python_serves_as_well(scripts, tmp_path, monkeypatch):
    pytest.importorskip("tkinter", reason="this Python has no tkinter")
    monkeypatch.setattr(fake_vivado.shutil, "which", lambda name: None)
    assert fake_vivado.interpreter(tmp_path)[0] == sys.executable
    check_design(built(scripts, tmp_path), load_board("zedboard"))
