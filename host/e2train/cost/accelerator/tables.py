# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/hardware.md, section "Time": `python -m e2train.cost.accelerator.tables`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ...data.cifar import LAYOUTS, SHAPE
from ...network.models import network_spec
from ...network.spec import NetworkSpec
from ..energy import EnergyModel
from .iteration import iteration_work
from .summary import Question, hardware_summary
from .work import CONVOLUTIONS, Setting

NETWORK = "resnet-74"
BATCH = 128
NAMES = {"backward_input": "to the input", "backward_weight": "to the weights"}


def _spec(network: str) -> NetworkSpec:
    return network_spec(network, SHAPE, LAYOUTS["cifar10"].classes)


@lru_cache(maxsize=2)
def _found(method: str = "psg") -> dict[str, Any]:
    question = Question(_spec(NETWORK), "cifar10", Setting(BATCH, method))
    return hardware_summary(question, EnergyModel.load())


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _head(first: str, *columns: str) -> list[str]:
    return [_row(first, *columns), "|---|" + "---:|" * len(columns)]


def _name(pass_: str) -> str:
    return NAMES.get(pass_, pass_.replace("_", " "))


def pass_table() -> list[str]:
    """Passes of an iteration with PSG at 60 %, and the full gradient beside it."""
    lines = _head(
        "pass", "launches", "Mcycles", "ms", "of MAC peak", "GOP/s (peak)", "DDR MB", "of bandwidth"
    )
    full = next(e for e in _found("signsgd")["passes"] if e["name"] == "backward_weight")
    entries = list(_found()["passes"])
    entries.insert(3, {**full, "name": "the same, full gradient"})
    for entry in entries:
        macs = entry["macs"] > 0
        lines.append(
            _row(
                _name(entry["name"]),
                entry["launches"],
                f"{entry['cycles'] / 1e6:.1f}",
                f"{entry['ms']:,.0f}",
                f"{entry['peak_share']:.1%}" if macs else "",
                f"{entry['gops']:.1f} ({entry['gops_peak']:.1f})" if macs else "",
                f"{entry['dram_bytes'] / 1e6:,.0f}",
                f"{entry['bandwidth_share']:.0%}",
            )
        )
    return lines


def kernel_table() -> list[str]:
    """Dense 3x3 layers against the aim of 85 %, by how long a burst waits."""
    waits = _found()["burst_wait"]
    lines = _head("3x3 layers", *(f"bursts wait {w['cycles']} cycles" for w in waits), "below 85 %")
    for entry in _found()["kernel_3x3"]:
        shares = (f"{wait['kernel_3x3'][entry['pass']]:.1%}" for wait in waits)
        below = ", ".join(f"{name} {share:.0%}" for name, share in entry["below_aim"].items())
        lines.append(_row(_name(entry["pass"]), *shares, below or "none"))
    return lines


def psg_table() -> list[str]:
    """PSG's pass against the full gradient's."""
    lines = _head(
        "predicted",
        "predictor",
        "second phase",
        "schedule, merge",
        "all [Mcycles]",
        "of the full gradient's",
        "slots filled",
    )
    for entry in _found()["psg"]:
        keys = ("predictor_cycles", "second_cycles", "bookkeeping_cycles", "cycles")
        lines.append(
            _row(
                f"{entry['predicted']:.0%}",
                *(f"{entry[key] / 1e6:.1f}" for key in keys),
                f"{entry['ratio']:.0%}",
                f"{entry['slots_filled']:.0%}",
            )
        )
    return lines


def budget_table() -> list[str]:
    """Seconds of an iteration."""
    time = _found()["time"]
    lines = _head("part", "s", "share")
    rows = [("fabric: convolutions", "convolutions_s"), ("fabric: vector unit", "vector_unit_s")]
    for name, key in rows:
        lines.append(_row(name, f"{time[key]:.2f}", f"{time[key] / time['total_s']:.1%}"))
    for share in time["processor"]:
        if share["unit"] == "MACs":
            continue
        name = f"processor: {share['name']} ({share['count']:,} {share['unit']})"
        part = share["seconds"] / time["total_s"]
        lines.append(_row(name, f"{share['seconds']:.2f}", f"{part:.1%}"))
    lines.append(_row("all", f"{time['total_s']:.2f}", ""))
    lines.append(_row("with SLU, on top: gates on the processor", f"{time['gates_s']:.2f}", ""))
    return lines


def split_table() -> list[str]:
    """The layers around the convolutions, on the vector unit or on one core."""
    lines = _head("layer", "vector unit [s]", "Arm, NumPy [s]", "Arm, memory alone [s]")
    keys = ("fabric_s", "numpy_s", "stream_s")
    alternatives = _found()["time"]["vector_layers_on_processor"]
    for one in alternatives:
        lines.append(_row(_name(one["pass_"]), *(f"{one[key]:.2f}" for key in keys)))
    lines.append(_row("all", *(f"{sum(one[key] for one in alternatives):.2f}" for key in keys)))
    return lines


def area_table() -> list[str]:
    """Block RAM by memory, and the totals."""
    lines = _head("memory or resource", "estimate", "aim", "chip")
    for one in _found()["memories"]:
        lines.append(_row(one["name"], f"{one['bram36']:g}", "", ""))
    for one in _found()["area"]:
        cells = (f"{one['estimate']:g}", one["limit"], one["chip"])
        lines.append(_row(f"all {one['resource']}", *cells))
    return lines


def energy_table() -> list[str]:
    """Modelled energy of an iteration."""
    lines = _head(
        "method", "s", "idle [J]", "processor [J]", "fabric [J]", "DRAM [J]", "all [J]", "W"
    )
    for method in ("psg", "signsgd"):
        energy = _found(method)["energy"]
        keys = ("idle_j", "processor_j", "fabric_j", "dram_j", "total_j", "mean_w")
        seconds = _found(method)["time"]["total_s"]
        lines.append(_row(method, f"{seconds:.2f}", *(f"{energy[key]:.2f}" for key in keys)))
    return lines


def mobilenet_table() -> list[str]:
    """Where MobileNetV2 falls short."""
    setting = Setting(BATCH)
    work = iteration_work(_spec("mobilenet-v2"), setting)
    lines = _head("MobileNetV2 pass", "ms", "of MAC peak")
    for pass_ in CONVOLUTIONS:
        cycles = sum(one.tally.cycles for one in work if one.pass_ == pass_)
        ideal = sum(one.ideal for one in work if one.pass_ == pass_)
        ms = cycles / setting.hardware.clock_mhz / 1e3
        lines.append(_row(_name(pass_), f"{ms:,.0f}", f"{ideal / cycles:.1%}"))
    return lines


TABLES = {
    "time passes": pass_table,
    "time 3x3": kernel_table,
    "time psg": psg_table,
    "time budget": budget_table,
    "time split": split_table,
    "time mobilenet": mobilenet_table,
    "time energy": energy_table,
    "area": area_table,
}


def main() -> None:
    """Print all tables."""
    for name, table in TABLES.items():
        print(f"<!-- {name} -->", *table(), sep="\n", end="\n\n")


if __name__ == "__main__":
    main()
