# SPDX-License-Identifier: Apache-2.0
"""Scripts for Vitis HLS, which is not here: tclsh runs them against commands that record their use,
and a stand-in for `vitis-run` lets the Makefile's targets run."""

import atexit
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from e2train.device.accelerator.config import load_config

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "hls/checks"))
from sources import bench, synthesised  # noqa: E402


def checkout() -> Path:
    """The checkout, or a copy of what is needed of it: Vitis HLS takes no path with a space."""
    if " " not in str(ROOT):
        return ROOT
    copy = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, copy)
    shutil.copytree(ROOT / "hls", copy / "hls", ignore=shutil.ignore_patterns("build"))
    shutil.copy(ROOT / "Makefile", copy)
    (copy / "tests").symlink_to(ROOT / "tests")
    return copy


HLS = checkout() / "hls"
SCRIPTS = sorted((HLS / "scripts").rglob("*.tcl"))
TARGET = load_config()["target"]

needs_tclsh = pytest.mark.skipif(shutil.which("tclsh") is None, reason="tclsh is not installed")

# UG1399, "Tcl Commands": the options that each command takes here, with a value (1) or without.
OPTIONS = {
    "open_project": {"-reset": 0},
    "set_top": {},
    "add_files": {"-tb": 0, "-cflags": 1, "-blackbox": 1},
    "open_solution": {"-reset": 0, "-flow_target": 1},
    "set_part": {},
    "create_clock": {"-period": 1, "-name": 1},
    "config_interface": {"-m_axi_addr64=false": 0},
    "csim_design": {"-O": 0, "-argv": 1},
    "csynth_design": {},
    "cosim_design": {"-O": 0, "-rtl": 1, "-argv": 1},
    "config_export": {"-vendor": 1, "-library": 1, "-ipname": 1, "-version": 1},
    "export_design": {"-format": 1, "-rtl": 1, "-output": 1},
}

RECORDER = """\
proc record {args} {
    set log [open $::env(LOG) a]
    foreach word $args { puts -nonewline $log "[string map {\\n { }} $word]\\t" }
    puts $log ""
    close $log
}
foreach name $env(COMMANDS) { interp alias {} $name {} record $name }
source [lindex $argv 0]
"""


def environment(folder: Path, version: str = "2023.2", status: int = 0) -> dict[str, str]:
    """PATH with a `vitis-run` that hands a script to tclsh and the recorder."""
    tools = folder / "bin"
    tools.mkdir()
    (folder / "recorder.tcl").write_text(RECORDER, encoding="utf-8")
    (tools / "vitis-run").write_text(
        "#!/bin/sh\n"
        f'[ "$1" = --version ] && {{ echo "****** vitis-run v{version} (64-bit)"; exit; }}\n'
        f'[ "$1 $2 $3" = "--mode hls --tcl" ] || exit 9\n'
        f'tclsh {folder}/recorder.tcl "$4" && exit {status}\n',
        encoding="utf-8",
    )
    (tools / "vitis-run").chmod(0o755)
    given = {"LOG": str(folder / "log"), "E2TRAIN_VECTORS": str(folder / "list")}
    given["COMMANDS"] = " ".join(OPTIONS)
    return {**os.environ, **given, "PATH": f"{tools}:{os.environ['PATH']}"}


def run_step(folder: Path, step: str, **options) -> subprocess.CompletedProcess:
    command = [HLS / "scripts/vitis.sh", step, str(folder / "build")]
    given = environment(folder, **options)
    return subprocess.run(command, env=given, capture_output=True, text=True)


def recorded(folder: Path) -> list[list[str]]:
    lines = (folder / "log").read_text(encoding="utf-8").splitlines()
    return [line.split("\t")[:-1] for line in lines]


def parsed(call: list[str]) -> tuple[dict[str, str], list[str]]:
    """The options and the other words of a recorded command; fails on an option it has not got."""
    known, options, words = OPTIONS[call[0]], {}, []
    rest = iter(call[1:])
    for word in rest:
        if word.startswith("-"):
            assert word in known, f"{call[0]} has no option {word}"
            options[word] = next(rest) if known[word] else ""
        else:
            words.append(word)
    return options, words


def the(calls: list[list[str]], name: str) -> tuple[dict[str, str], list[str]]:
    (call,) = [call for call in calls if call[0] == name]
    return parsed(call)


@needs_tclsh
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_tcl_is_complete(script):
    text = f"puts [info complete [read [open {{{script}}}]]]"
    done = subprocess.run(["tclsh"], input=text, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_every_step_has_its_script():
    steps = {"csim", "csynth", "cosim", "ip"}
    assert {script.stem for script in SCRIPTS} == {*steps, "project", "hardware"}


@needs_tclsh
@pytest.mark.parametrize(
    "step, last",
    {
        "csim": ["csim_design"],
        "csynth": ["csynth_design"],
        "cosim": ["csynth_design", "cosim_design"],
        "ip": ["csynth_design", "config_export", "export_design"],
    }.items(),
)
def test_a_step_opens_the_configured_project(tmp_path, step, last):
    assert run_step(tmp_path, step).returncode == 0
    calls = recorded(tmp_path)
    for call in calls:
        parsed(call)
    names = [call[0] for call in calls]
    assert names[-len(last) :] == last
    assert names[0] == "open_project" and parsed(calls[0])[1] == [TARGET["top"]]
    assert the(calls, "set_top") == ({}, [TARGET["top"]])
    assert the(calls, "set_part") == ({}, [TARGET["part"]])
    assert the(calls, "open_solution")[0]["-flow_target"] == "vivado"
    period, _ = the(calls, "create_clock")
    assert float(period["-period"]) == 1000 / TARGET["clock_mhz"]


@needs_tclsh
def test_a_step_adds_every_source_and_the_bench(tmp_path):
    run_step(tmp_path, "csynth")
    added: dict[bool, list[Path]] = {True: [], False: []}
    for call in recorded(tmp_path):
        if call[0] == "add_files":
            options, words = parsed(call)
            assert f"-I{HLS / 'include'}" in options["-cflags"].split()
            assert "-std=c++14" in options["-cflags"].split()
            added["-tb" in options] += [Path(name) for word in words for name in word.split()]
    assert sorted(added[False]) == sorted(synthesised(HLS))
    assert sorted(added[True]) == sorted(bench(HLS))
    assert all(path.is_file() for path in added[True] + added[False])
    top = HLS / f"src/generated/{TARGET['top']}.cpp"
    assert f'extern "C" std::uint32_t {TARGET["top"]}(' in top.read_text(encoding="utf-8")


@needs_tclsh
def test_the_verilog_core_takes_the_functions_place(tmp_path, monkeypatch):
    monkeypatch.setenv("E2TRAIN_CORE", "verilog")
    assert run_step(tmp_path, "csynth").returncode == 0
    calls = [parsed(call) for call in recorded(tmp_path) if call[0] == "add_files"]
    assert [options for options, _ in calls if "-blackbox" in options] == [
        {"-blackbox": "mac_core.json"}
    ]
    sources = [name for options, words in calls if "-tb" not in options for name in words]
    assert "mac_core.cpp" not in " ".join(sources) and "feed.cpp" in " ".join(sources)
    described = json.loads((tmp_path / "build/mac_core.json").read_text(encoding="utf-8"))
    models = [one["c_file"] for one in described["c_files"]]
    assert all(Path(name).is_file() for name in [*described["rtl_files"], *models])


@needs_tclsh
@pytest.mark.parametrize("step", ["csim", "cosim"])
def test_simulations_get_the_vectors(tmp_path, step):
    assert run_step(tmp_path, step).returncode == 0
    options, _ = the(recorded(tmp_path), f"{step}_design")
    assert options["-argv"] == f"@{tmp_path}/list"


@needs_tclsh
def test_a_simulation_without_vectors_stops(tmp_path):
    given = environment(tmp_path)
    del given["E2TRAIN_VECTORS"]
    command = [HLS / "scripts/vitis.sh", "csim", str(tmp_path / "build")]
    done = subprocess.run(command, env=given, capture_output=True, text=True)
    assert done.returncode != 0 and "E2TRAIN_VECTORS must name a file" in done.stderr


@needs_tclsh
def test_cosimulation_copies_whole_ports(tmp_path):
    """The bench's memory must be as large as the pragmas' depth, or cosim reads past its end."""
    run_step(tmp_path, "cosim")
    benches = [parsed(call)[0] for call in recorded(tmp_path) if call[:2] == ["add_files", "-tb"]]
    assert ["-DE2TRAIN_COSIMULATION" in options["-cflags"] for options in benches] == [True]


@needs_tclsh
def test_the_ip_carries_the_configured_name(tmp_path):
    run_step(tmp_path, "ip")
    options, _ = the(recorded(tmp_path), "config_export")
    assert options["-vendor"] == TARGET["vendor"] and options["-library"] == "hls"
    assert options["-ipname"] == TARGET["top"] and options["-version"] == TARGET["version"]
    options, _ = the(recorded(tmp_path), "export_design")
    assert options["-format"] == "ip_catalog" and options["-rtl"] == "verilog"
    assert options["-output"] == f"{tmp_path}/build/{TARGET['top']}.zip"


def make(target: str, folder: Path, given: dict[str, str]) -> subprocess.CompletedProcess:
    command = ["make", "-C", HLS, target, f"BUILD={folder}/build", f"PYTHON={sys.executable}"]
    given = {**given, "MAKEFLAGS": ""}
    return subprocess.run(command, env=given, capture_output=True, text=True)


@pytest.mark.parametrize("target", ["csynth", "cosim", "ip", "vitis_csim"])
def test_without_the_tools_one_line_says_what_is_missing(tmp_path, target):
    if shutil.which("vitis-run"):
        pytest.skip("Vitis is installed here")
    done = make(target, tmp_path, dict(os.environ))
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert line == (
        f"{target.removeprefix('vitis_')}: vitis-run is not on PATH; install AMD Vitis 2023.2 or "
        "newer with Zynq-7000 devices and source its settings64.sh"
    )


@pytest.mark.parametrize(
    "version, shown", [("2022.2", "2022.2"), ("2023.1", "2023.1"), ("", "unk")]
)
def test_an_old_version_is_refused(tmp_path, version, shown):
    done = run_step(tmp_path, "csynth", version=version)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"vitis-run is version {shown}" in line and "2023.2 or newer" in line
    assert not (tmp_path / "log").exists()


@needs_tclsh
@pytest.mark.parametrize("version", ["2023.2", "2024.1.2", "2025.1"])
def test_newer_versions_run(tmp_path, version):
    assert run_step(tmp_path, "csynth", version=version).returncode == 0


@needs_tclsh
def test_the_target_ends_as_the_tool_does(tmp_path):
    for number, status in enumerate((0, 3)):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = make("ip", folder, environment(folder, status=status))
        assert (done.returncode == 0) == (status == 0)
        assert recorded(folder)[-1][0] == "export_design"


def test_without_the_headers_one_line_says_so():
    command = ["make", "-C", HLS, "build/plain/bench", "BUILD=build", "AP_TYPES="]
    done = subprocess.run(
        command, env={**os.environ, "MAKEFLAGS": ""}, capture_output=True, text=True
    )
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert line == "hls: hls4ml is not installed: pip install hls4ml (its wheel has ap_int.h)"
    assert not (HLS / "build").exists()


def test_a_checkout_in_a_folder_with_spaces_builds(tmp_path):
    """Python, the vendor's headers and the vectors lie in it too."""
    spec = importlib.util.find_spec("hls4ml")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("hls4ml is not installed: there is no ap_int.h")
    root = tmp_path / "it's a (good) folder"
    for folder in ("hls/src", "hls/checks", "tests/hardware", "site"):
        (root / folder).mkdir(parents=True)
    shutil.copy(HLS / "Makefile", root / "hls")
    shutil.copy(HLS / "checks/sources.py", root / "hls/checks")
    (root / "site/hls4ml").symlink_to(spec.submodule_search_locations[0])
    python = f"#!/bin/sh\nexec '{sys.executable}' \"$@\"\n"
    (root / "python").write_text(python, encoding="utf-8")
    (root / "python").chmod(0o755)
    (root / "hls/src/main.cpp").write_text(
        '#include "ap_int.h"\n'
        "int main(int, char **list) { return list[1][0] != ap_uint<7>(64); }\n",
        encoding="utf-8",
    )
    (root / "tests/hardware/golden_vectors.py").write_text(
        "import pathlib, sys; pathlib.Path(sys.argv[1]).mkdir(parents=True)", encoding="utf-8"
    )
    command = ["make", "-C", root / "hls", "csim", f"PYTHON={root / 'python'}"]
    command.append(f"VECTORS={root / 'build/golden vectors'}")
    given = {**os.environ, "MAKEFLAGS": "", "PYTHONPATH": str(root / "site")}
    done = subprocess.run(command, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (root / "build/golden vectors").is_dir() and (root / "build/hls/plain/bench").exists()


def test_a_build_folder_with_a_space_is_refused(tmp_path):
    done = make("csim", tmp_path / "a b", dict(os.environ))
    assert done.returncode != 0
    assert "make takes no folder with a space in its name" in done.stderr


@needs_tclsh
def test_the_vendors_tool_is_not_given_a_path_with_spaces(tmp_path):
    command = [HLS / "scripts/vitis.sh", "csynth", str(tmp_path / "a b")]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True)
    assert done.returncode == 1 and not (tmp_path / "log").exists()
    (line,) = done.stderr.splitlines()
    assert "Vitis HLS takes no path with a space" in line


def test_clean_takes_folders_with_spaces(tmp_path):
    shutil.copy(HLS.parent / "Makefile", tmp_path)
    for folder in ("a b/__pycache__", "a b/c.egg-info", "b/kept"):
        (tmp_path / folder).mkdir(parents=True)
    given = {**os.environ, "MAKEFLAGS": ""}
    subprocess.run(["make", "clean"], cwd=tmp_path, env=given, check=True, capture_output=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Makefile", "a b", "b"]
    assert not list((tmp_path / "a b").iterdir()) and (tmp_path / "b/kept").exists()
