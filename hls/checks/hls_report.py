# SPDX-License-Identifier: Apache-2.0
"""What a synthesis tool would find in the accelerator, without one: `make hls-report`.

    python hls_report.py [--hls FOLDER] [--no-core]

Prints a table a topic and ends with 1 if a bound is broken that report.toml does not except."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from sources import HLS, Missing
from synthesis import delays
from synthesis.analysis import Analysis, analyse
from synthesis.findings import Judge, load_rules
from synthesis.recurrences import Recurrence


def table(title: str, head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    """A topic's table; numbers to the right."""
    listed = [tuple(str(cell) for cell in row) for row in rows]
    print(f"\n{title}")
    if not listed:
        print("  nothing")
        return
    widths = [max(len(row[place]) for row in [head, *listed]) for place in range(len(head))]
    for row in [head, tuple("-" * width for width in widths), *listed]:
        cells = [
            cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        print("  " + "  ".join(cells).rstrip())


def print_recurrences(found: Analysis, judge: Judge) -> None:
    rows = []
    broken: list[Recurrence] = []
    for one in found.recurrences:
        verdict = judge("recurrence", one.label, one.breaks)
        broken += [one] if verdict == "BROKEN" else []
        interval = one.interval or "?"
        ways = f"{one.nanoseconds:.1f}", f"{one.exit:.1f}"
        rows.append((one.label, f"{one.file}:{one.line}", interval, *ways, one.reached, verdict))
    table(
        f"Pipelined loops: ns around the slowest recurrence and to the loop's end, against "
        f"{delays.BUDGET:.1f} ns a claimed cycle",
        ("loop", "at", "II", "around", "end", "II reached", ""),
        rows,
    )
    for one in broken:
        slowest = one.path if one.nanoseconds >= one.exit else one.exit_path
        print(f"  {one.label}: {'; '.join([*one.remarks, *slowest])}")


def print_ports(found: Analysis, judge: Judge) -> None:
    rows = []
    for one in found.ports:
        name = f"{one.label} {one.port}"
        verdict = judge("port", name, bool(one.faults))
        way = "writes" if one.writes else "reads"
        what = ", ".join(one.faults) or "unit stride, every iteration"
        rows.append((name, f"{one.file}:{one.line}", way, one.count, what, verdict))
    head = ("loop and port", "at", "", "beats", "address", "")
    table(
        "Port accesses in loops: beats an iteration, and whether they join into bursts", head, rows
    )


def print_processes(found: Analysis, judge: Judge) -> None:
    rows = []
    for region in found.regions:
        for one in region.channels:
            name = f"{region.label} {one.name}"
            verdict = judge("process", name, one.fault is not None)
            users = ", ".join(one.readers) or "-", ", ".join(one.writers) or "-"
            rows.append((name, one.kind, *users, one.fault or "", verdict))
    head = ("region and variable", "kind", "read by", "written by", "", "")
    table("DATAFLOW regions: processes a variable (of a stream: both under written by)", head, rows)


def print_operators(found: Analysis, judge: Judge) -> None:
    rows = [
        (one.kind, one.where, f"{one.file}:{one.line}", one.text, judge(one.kind, one.where, True))
        for one in found.operators
    ]
    head = ("operator", "in", "at", "size", "")
    title = "Products in pipelined loops wider than a DSP's 25 x 18 bits, and dividers anywhere"
    table(title, head, sorted(set(rows)))


def print_memories(found: Analysis) -> None:
    rows = [
        (one.name, one.depth, one.width, one.banks, one.copies, f"{one.blocks:g}", one.luts)
        for one in found.memories
        if one.blocks or one.luts > 16
    ]
    head = ("memory", "depth", "bits", "banks", "copies", "RAMB36", "LUTs")
    table("Memories and FIFOs in the shapes of block RAMs (both halves of a ping-pong)", head, rows)


def print_resources(found: Analysis, judge: Judge, bounds: dict[str, int]) -> None:
    rows = [
        (name, f"{one.luts:.0f}", f"{one.ffs:.0f}", f"{one.dsps:.0f}", f"{one.blocks:g}", how)
        for name, one, how in found.parts
    ]
    total = found.total
    rows.append(
        ("in all", f"{total.luts:.0f}", f"{total.ffs:.0f}", f"{total.dsps:.0f}",
         f"{total.blocks:g}", "")
    )  # fmt: skip
    head = ("part", "LUTs", "FFs", "DSPs", "RAMB36", "how it is known")
    table("Resources", head, rows)
    used = {"dsps": total.dsps, "luts": total.luts, "ffs": total.ffs, "blocks": total.blocks}
    if found.core is not None:
        used["core_luts"] = found.core.luts
    for name, value in used.items():
        verdict = judge("resources", name, value > bounds[name])
        print(f"  {name}: {value:.0f} of at most {bounds[name]} {verdict}".rstrip())


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--hls", type=Path, default=HLS, help="folder with src and include")
    parser.add_argument("--no-core", action="store_true", help="leave out Yosys")
    options = parser.parse_args(arguments)
    try:
        rules = load_rules(options.hls / "checks/report.toml")
        found = analyse(options.hls.resolve(), core=not options.no_core)
    except Missing as error:
        print(f"hls-report: {error}", file=sys.stderr)
        return 2
    judge = Judge(rules)
    print_recurrences(found, judge)
    print_ports(found, judge)
    print_processes(found, judge)
    print_operators(found, judge)
    print_memories(found)
    print_resources(found, judge, rules.bounds)
    return judge.conclude()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
