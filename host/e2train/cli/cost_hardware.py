# SPDX-License-Identifier: Apache-2.0
"""The tables of `e2train cost --hardware`."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

PASS_NAMES = {"backward_input": "to the input", "backward_weight": "to the weights"}


def print_hardware(console: Console, found: dict[str, Any], layers: bool) -> None:
    """Print a `hardware_summary`; `layers` adds a table with a line a convolution."""
    if layers:
        console.print(_layer_table(found))
    console.print(_pass_table(found), _kernel_table(found), _burst_table(found))
    if found["method"] == "psg":
        console.print(_psg_table(found))
    console.print(_budget_table(found), _split_table(found), _area_table(found))
    console.print(_closing(found))


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title)
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _pass_name(name: str) -> str:
    return PASS_NAMES.get(name, name.replace("_", " "))


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _pass_table(found: dict[str, Any]) -> Table:
    table = _table(
        f"{found['network']}, {found['data']}, batch {found['batch']}, {found['method']}: "
        f"one iteration at {found['clock_mhz']} MHz, modelled",
        "pass",
        "launches",
        "Mcycles",
        "ms",
        "% of MAC peak",
        "GOP/s",
        "peak GOP/s",
        "DDR [MB]",
        "MB/s",
        "% of bandwidth",
    )
    for entry in found["passes"]:
        multiplies = entry["macs"] > 0
        table.add_row(
            _pass_name(entry["name"]),
            f"{entry['launches']}",
            f"{entry['cycles'] / 1e6:,.1f}",
            f"{entry['ms']:,.1f}",
            _percent(entry["peak_share"]) if multiplies else "",
            f"{entry['gops']:.1f}" if multiplies else "",
            f"{entry['gops_peak']:.1f}" if multiplies else "",
            f"{entry['dram_bytes'] / 1e6:,.0f}",
            f"{entry['mb_per_s']:,.0f}",
            _percent(entry["bandwidth_share"]),
        )
    return table


def _layer_table(found: dict[str, Any]) -> Table:
    passes = ("forward", "backward_input", "backward_weight")
    columns = [f"{_pass_name(name)} {what}" for name in passes for what in ("[ms]", "% of peak")]
    table = _table("Convolutions", "layer", "kernel", *columns)
    for layer in found["layers"]:
        cells = []
        for name in passes:
            entry = layer.get(name)
            cells += (
                ["", ""] if entry is None else [f"{entry['ms']:.2f}", _percent(entry["peak_share"])]
            )
        table.add_row(layer["name"], "x".join(map(str, layer["kernel"])), *cells)
    return table


def _kernel_table(found: dict[str, Any]) -> Table:
    title = "Dense 3x3 layers, aim 85 % of each pass's peak"
    table = _table(title, "pass", "layers", "% of peak", "below 85 %")
    for entry in found["kernel_3x3"]:
        below = [f"{name} {_percent(share)}" for name, share in entry["below_aim"].items()]
        shown = ", ".join(below[:3]) + (f" and {len(below) - 3} more" if len(below) > 3 else "")
        table.add_row(
            _pass_name(entry["pass"]),
            str(entry["layers"]),
            _percent(entry["peak_share"]),
            shown or "none",
        )
    return table


def _burst_table(found: dict[str, Any]) -> Table:
    names = [entry["pass"] for entry in found["kernel_3x3"]]
    table = _table(
        "If every burst waited for memory, with tiles chosen for that: % of peak on 3x3 layers",
        "cycles a burst",
        "convolutions [ms]",
        *(_pass_name(name) for name in names),
    )
    for entry in found["burst_wait"]:
        shares = (_percent(entry["kernel_3x3"][name]) for name in names)
        table.add_row(str(entry["cycles"]), f"{entry['convolutions_ms']:,.0f}", *shares)
    return table


def _psg_table(found: dict[str, Any]) -> Table:
    table = _table(
        "PSG's pass to the weights against the full gradient's (unsure weights drawn at random)",
        "predicted",
        "predictor [Mcycles]",
        "second phase",
        "schedule and merge",
        "all",
        "full gradient",
        "PSG / full",
        "slots filled",
    )
    for entry in found["psg"]:
        names = ("predictor", "second", "bookkeeping")
        parts = [f"{entry[f'{name}_cycles'] / 1e6:,.1f}" for name in names]
        table.add_row(
            f"{entry['predicted']:.0%}",
            *parts,
            f"{entry['cycles'] / 1e6:,.1f}",
            f"{entry['full_cycles'] / 1e6:,.1f}",
            f"{entry['ratio']:.2f}",
            _percent(entry["slots_filled"]),
        )
    return table


def _budget_table(found: dict[str, Any]) -> Table:
    time = found["time"]
    table = _table("Time of an iteration (processor: assumptions)", "part", "s", "share")
    rows = [
        ("fabric: convolutions", time["convolutions_s"]),
        ("fabric: vector unit", time["vector_unit_s"]),
    ]
    rows += [
        (f"processor: {share['name']} ({share['count']:,} {share['unit']})", share["seconds"])
        for share in time["processor"]
        if share["unit"] != "MACs"
    ]
    for name, seconds in rows:
        table.add_row(name, f"{seconds:.2f}", _percent(seconds / time["total_s"]))
    table.add_row("all", f"{time['total_s']:.2f}", "")
    if time["gates_s"]:
        table.add_row("with SLU, on top: gates on the processor", f"{time['gates_s']:.2f}", "")
    return table


def _split_table(found: dict[str, Any]) -> Table:
    table = _table(
        "Layers around the convolutions: vector unit, or one Arm core",
        "layer",
        "vector unit [s]",
        "Arm, NumPy [s]",
        "Arm, memory alone [s]",
    )
    alternatives = found["time"]["vector_layers_on_processor"]
    keys = ("fabric_s", "numpy_s", "stream_s")
    for one in alternatives:
        table.add_row(_pass_name(one["pass_"]), *(f"{one[key]:.2f}" for key in keys))
    table.add_row("all", *(f"{sum(one[key] for one in alternatives):.2f}" for key in keys))
    return table


def _area_table(found: dict[str, Any]) -> Table:
    table = _table(
        "Resources, an estimate: nothing was synthesised",
        "resource",
        "estimate",
        "aim",
        "chip",
    )
    for one in found["area"]:
        values = (f"{one['estimate']:.0f}", str(one["limit"]), str(one["chip"]))
        table.add_row(one["resource"], *values)
    return table


def _closing(found: dict[str, Any]) -> str:
    energy, peaks = found["energy"], found["peak_gmacs"]
    return (
        f"Peak {peaks['packed']:.1f} GMAC/s packed, {peaks['plain']:.1f} plain; bandwidth of the "
        f"four ports {found['bandwidth_mb_per_s']:,} MB/s. "
        f"Modelled energy of the iteration: {energy['total_j']:.1f} J at {energy['mean_w']:.2f} W "
        f"(idle {energy['idle_j']:.1f}, processor {energy['processor_j']:.2f}, fabric "
        f"{energy['fabric_j']:.2f}, DRAM {energy['dram_j']:.2f}). "
        "Nothing was measured: docs/hardware.md states the assumptions."
    )
