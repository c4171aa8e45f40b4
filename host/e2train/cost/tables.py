# SPDX-License-Identifier: Apache-2.0
"""The tables of `e2train cost`, of a `summary`."""

from __future__ import annotations

from typing import Any

from .board import FLOAT_ARRAY, HYPOTHETICAL
from .text_table import TextTable, percent

PASS_COLUMNS = ("forward", "backward_input", "predictor", "backward_weight", "gate")


def layer_table(found: dict[str, Any]) -> TextTable:
    """A line a layer."""
    table = TextTable(
        f"{found['network']}, {found['data']}: layers",
        (
            "layer",
            "input",
            "output",
            "kernel",
            "MACs a picture",
            "share",
            "weights",
            "DRAM a forward pass [MB]",
            "skippable",
            "gate MACs",
        ),
    )
    for layer in found["layers"]:
        r, s = layer["kernel"]
        stride = f" /{layer['stride']}" if layer["stride"] > 1 else ""
        table.add(
            layer["name"],
            "x".join(map(str, layer["input"])),
            "x".join(map(str, layer["output"])),
            f"{r}x{s}{stride}" + (" dw" if layer["groups"] > 1 else ""),
            f"{layer['macs']:,}",
            percent(layer["macs"] / found["forward_macs"], 2),
            f"{layer['weights']:,}",
            f"{layer['forward_dram_bytes'] / 1e6:.2f}",
            "yes" if layer["skippable"] else "no",
            f"{layer['gate_macs']:,}" if layer["gate_macs"] else "",
        )
    return table


def macs_table(found: dict[str, Any]) -> TextTable:
    """MACs by pass."""
    columns = (name.replace("_", " ") for name in PASS_COLUMNS)
    title = "MACs by pass and operand widths, millions an iteration"
    table = TextTable(title, ("method", *columns))
    for method in found["methods"]:
        cells = []
        for name in PASS_COLUMNS:
            widths = method["macs_by_pass"].get(name, {})
            parts = (f"{n / found['iterations'] / 1e6:,.1f} ({w})" for w, n in widths.items())
            cells.append(" + ".join(parts))
        table.add(method["name"], *cells)
    return table


def counts_table(found: dict[str, Any]) -> TextTable:
    """Counts, and their energy at published costs."""
    table = TextTable(
        "Per iteration of the baseline, and savings against sgd-fp32",
        (
            "method",
            "MACs [G]",
            "MAC saving [%]",
            "computational saving [%]",
            "DRAM [MB]",
            "operations × cost, modelled [J]",
            "saving, modelled [%]",
        ),
    )
    times = found["iterations"]
    for method in found["methods"]:
        table.add(
            method["name"],
            f"{method['macs'] / times / 1e9:.2f}",
            f"{method['mac_saving']:.2f}",
            f"{method['computational_saving']:.2f}",
            f"{method['dram_bytes'] / times / 1e6:.0f}",
            f"{method['energy']['total_j'] / times:.3f}",
            f"{method['energy_saving']:.2f}",
        )
    return table


def board_table(found: dict[str, Any]) -> TextTable:
    """The board's seconds and joules, and savings against both baselines."""
    table = TextTable(
        f"The board, modelled, per iteration of the baseline (float32 is {HYPOTHETICAL})",
        (
            "method",
            "time from",
            "board [s]",
            "board, modelled [J]",
            "saving against hypothetical float32 [%]",
            "saving against fixed8, same accelerator [%]",
        ),
    )
    times = found["iterations"]
    for method in found["methods"]:
        board = method["board"]
        float32 = board["model"] == FLOAT_ARRAY
        table.add(
            method["name"],
            "hypothetical float array" if float32 else "accelerator",
            f"{board['seconds'] / times:.2f}",
            f"{board['joules'] / times:.2f}",
            f"{board['saving']:.1f}",
            "" if float32 else f"{board['saving_fixed8']:.1f}",
        )
    return table


def cost_tables(found: dict[str, Any]) -> list[TextTable]:
    """What the command prints of a `summary`."""
    return [layer_table(found), macs_table(found), counts_table(found), board_table(found)]
