# SPDX-License-Identifier: Apache-2.0
"""Vivado, as far as the scripts in bitstreams/ use it: a Tcl interpreter whose commands write down
how they are called, and make the files that a build would make."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

# UG835 and UG994: the options that each command takes here, with a value (1) or without (0).
OPTIONS: dict[str, dict[str, int]] = {
    "create_project": {"-force": 0, "-part": 1},
    "get_board_parts": {"-quiet": 0},
    "set_property": {"-dict": 1},
    "get_property": {},
    "current_project": {},
    "current_fileset": {},
    "update_ip_catalog": {"-rebuild": 0, "-add_ip": 1, "-repo_path": 1},
    "create_bd_design": {},
    "create_bd_cell": {"-type": 1, "-vlnv": 1},
    "apply_bd_automation": {"-rule": 1, "-config": 1},
    "connect_bd_net": {},
    "connect_bd_intf_net": {},
    "get_bd_pins": {},
    "get_bd_intf_pins": {},
    "get_bd_addr_spaces": {},
    "get_bd_addr_segs": {},
    "assign_bd_address": {"-offset": 1, "-range": 1, "-target_address_space": 1, "-force": 0},
    "validate_bd_design": {},
    "save_bd_design": {},
    "get_files": {},
    "generate_target": {},
    "add_files": {"-norecurse": 0},
    "make_wrapper": {"-files": 1, "-top": 0},
    "update_compile_order": {"-fileset": 1},
    "launch_runs": {"-to_step": 1, "-jobs": 1},
    "wait_on_run": {},
    "get_runs": {},
    "open_run": {},
    "close_design": {},
    "report_timing_summary": {"-file": 1},
    "report_utilization": {"-hierarchical": 0, "-file": 1},
    "report_power": {"-file": 1},
    "write_hw_platform": {"-fixed": 0, "-include_bit": 0, "-force": 0},
    "version": {"-short": 0},
}

RECORDER = """\
proc record {args} {
    set log [open $::env(LOG) a]
    foreach word $args { puts -nonewline $log "[string map {\\n { }} $word]\\t" }
    puts $log ""
    close $log
    return [answer {*}$args]
}
proc made {path} {
    file mkdir [file dirname $path]
    set file [open $path w]
    puts $file "made by the stand-in: $path"
    close $file
}
proc answer {name args} {
    switch -glob $name {
        get_board_parts { return [expr {[lindex $args end] in $::env(BOARDS) ? $args : {}}] }
        get_property { return [property [lindex $args 0]] }
        version { return $::env(VERSION) }
        make_wrapper { return wrapper.v }
        write_hw_platform { made [lindex $args end] }
        report_* { made [dict get [lrange $args end-1 end] -file] }
        launch_runs {
            if {"write_bitstream" in $args} {
                made project/e2train.runs/impl_1/e2train_design_wrapper.bit
                made project/e2train.gen/sources_1/bd/e2train_design/hw_handoff/e2train_design.hwh
            }
        }
    }
    return [expr {[llength $args] ? [lindex $args end] : $name}]
}
proc property {name} {
    switch $name {
        PROGRESS { return $::env(PROGRESS) }
        STATUS { return "place_design ERROR" }
        STATS.WNS { return $::env(WNS) }
        STATS.WHS { return $::env(WHS) }
    }
}
foreach name $env(COMMANDS) { interp alias {} $name {} record $name }
set argv [lassign $argv script]
source $script
"""

TCLSH = """\
import sys, tkinter
tcl = tkinter.Tcl()
tcl.call("set", "argv", tuple(sys.argv[2:]))
try:
    tcl.call("source", sys.argv[1])
except tkinter.TclError as error:
    sys.exit(str(error))
"""


def interpreter(folder: Path) -> list[str]:
    """tclsh, or else the Tcl inside Python, for which a script is put into `folder`."""
    if shutil.which("tclsh"):
        return ["tclsh"]
    (folder / "tclsh.py").write_text(TCLSH, encoding="utf-8")
    return [sys.executable, str(folder / "tclsh.py")]


def install(folder: Path, **answers: str) -> dict[str, str]:
    """An environment with a `vivado` on PATH; `answers`: WNS, WHS, PROGRESS, BOARDS, VERSION."""
    tools = folder / "bin"
    tools.mkdir()
    (folder / "recorder.tcl").write_text(RECORDER, encoding="utf-8")
    command = " ".join(f"'{word}'" for word in interpreter(folder))
    (tools / "vivado").write_text(
        "#!/bin/sh\n"
        '[ "$1" = -version ] && { echo "Vivado v$VERSION (64-bit)"; exit; }\n'
        '[ "$1 $2 $3 $4 $5 $6" = "-mode batch -nojournal -notrace -log vivado.log" ] || exit 9\n'
        '[ "$7 $9" = "-source -tclargs" ] || exit 9\n'
        "script=$8; shift 9\n"
        f'exec {command} {folder}/recorder.tcl "$script" "$@"\n',
        encoding="utf-8",
    )
    (tools / "vivado").chmod(0o755)
    given = {"WNS": "0.213", "WHS": "0.021", "PROGRESS": "100%", "VERSION": "2024.1", "BOARDS": ""}
    given |= {"LOG": str(folder / "log"), "COMMANDS": " ".join(OPTIONS), "MAKEFLAGS": ""}
    return {**os.environ, **given, **answers, "PATH": f"{tools}:{os.environ['PATH']}"}


def run_build(
    scripts: Path, folder: Path, board: str, given: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """vivado.sh on the scripts, into folder/build."""
    ip = folder / "ip.zip"
    ip.write_bytes(b"packaged")
    command = [scripts / "vivado.sh", board, str(folder / "build"), str(ip)]
    return subprocess.run(command, env=given, capture_output=True, text=True)


@dataclass
class Design:
    """The block design that the recorded calls make."""

    calls: list[list[str]]
    cells: dict[str, str] = field(default_factory=dict)
    properties: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    nets: dict[str, str] = field(default_factory=dict)  # pin -> what drives it
    buses: list[tuple[str, str]] = field(default_factory=list)
    addresses: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def named(self, name: str) -> list[tuple[dict[str, str], list[str]]]:
        """Options and words of every call of a command."""
        return [parsed(call) for call in self.calls if call[0] == name]


def parsed(call: list[str]) -> tuple[dict[str, str], list[str]]:
    """Options and other words of a call; fails on an option that the command has not got."""
    known, options, words = OPTIONS[call[0]], {}, []
    rest = iter(call[1:])
    for word in rest:
        if word.startswith("-"):
            assert word in known, f"{call[0]} has no option {word}"
            options[word] = next(rest) if known[word] else ""
        else:
            words.append(word)
    return options, words


def tcl_list(text: str) -> list[str]:
    """The elements of a flat Tcl list, some of them in braces."""
    found, rest = [], text.strip()
    while rest:
        end = rest.index("}") if rest[0] == "{" else (rest + " ").index(" ")
        found.append(rest[1:end] if rest[0] == "{" else rest[:end])
        rest = rest[end + (rest[0] == "{") :].strip()
    return found


def recorded(folder: Path) -> Design:
    """The design that a build made."""
    lines = (folder / "log").read_text(encoding="utf-8").splitlines()
    design = Design([line.split("\t")[:-1] for line in lines])
    for options, words in design.named("create_bd_cell"):
        design.cells[words[0]] = options["-vlnv"]
    for options, words in design.named("set_property"):
        pairs = tcl_list(options["-dict"]) if "-dict" in options else words[:2]
        design.properties[words[-1]] |= dict(zip(pairs[::2], pairs[1::2], strict=True))
    for _, (driver, pin) in design.named("connect_bd_net"):
        assert pin not in design.nets, f"{pin} is driven twice"
        design.nets[pin] = driver
    design.buses = [tuple(words) for _, words in design.named("connect_bd_intf_net")]
    for options, (segment,) in design.named("assign_bd_address"):
        key = options["-target_address_space"], segment
        design.addresses[key] = int(options["-offset"], 0), int(options["-range"], 0)
    return design
