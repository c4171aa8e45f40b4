# SPDX-License-Identifier: Apache-2.0
"""The paper's computational savings against our counts: the tables of docs/cost.md.

Tables 3 and 4 of the paper follow 1 - (2/3) * (1 - skip) * 0.37. `python -m
e2train.cost.paper` prints what our counts make of each of its factors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..device.accelerator.tiling.array import HARDWARE
from ..device.counter import Counter
from ..network.models import network_spec
from ..network.spec import NetworkSpec
from .counts import FIXED8, FLOAT32, FULL_SIGN, PSG, iteration
from .energy import EnergyModel
from .summary import METHODS, SKIPS, count, gate_overhead, skippable_share, summary
from .tables import board_table
from .text_table import TextTable, percent, print_documented

PAPER_SMD = 2 / 3
PAPER_PSG = 0.37
PAPER_ENERGY = {20: 84.64, 40: 88.72, 60: 92.81}  # table 3, metered by the authors on a ZedBoard
PRINTED = {20: 80.27, 40: 85.20, 60: 90.13, 0: 75.34}  # tables 3 and 4; 0: MobileNetV2
NETWORKS = ("resnet-38", "resnet-74", "resnet-110", "mobilenet-v2")
SHARES = (0.0, 0.6, 0.7, 1.0)  # predictor shares; the paper reports at least 0.6
BATCH = 128
TOTAL = "modelled energy, total"


def cifar10(name: str) -> NetworkSpec:
    """A network for CIFAR-10."""
    return network_spec(name, (3, 32, 32), 10)


def closed_form(skip: float, smd: float = PAPER_SMD, psg: float = PAPER_PSG) -> float:
    """The paper's computational saving in percent, `skip` in percent."""
    return 100.0 * (1.0 - smd * (1.0 - skip / 100.0) * psg)


def product_of_factors() -> tuple[float, float]:
    """Range of the product of SMD's and PSG's factor that rounds to every printed saving."""
    ends = [
        ((100 - printed - 0.005) / (100 - skip), (100 - printed + 0.005) / (100 - skip))
        for skip, printed in PRINTED.items()
    ]
    return max(low for low, _ in ends), min(high for _, high in ends)


def network_table() -> TextTable:
    """How far "skip" reaches: skippable share, gates, and the largest saving that skipping has."""
    columns = ("network", "forward MACs", "skippable blocks", "skippable share", "gates add")
    table = TextTable("How far skipping reaches", columns)
    for name in NETWORKS:
        spec = cifar10(name)
        table.add(
            name,
            f"{spec.forward_macs:,}",
            len(spec.skippable_blocks),
            percent(skippable_share(spec), 2),
            percent(gate_overhead(spec), 4),
        )
    return table


Measure = Callable[[Counter], float]


def measures(model: EnergyModel) -> dict[str, Measure]:
    """What a ratio of costs can be taken in."""
    return {
        "multiply-accumulates": lambda work: work.macs,
        "MACs × the wider operand": lambda work: _weighted(work, max),
        "MACs × (sum of both widths)": lambda work: _weighted(work, lambda a, b: a + b),
        "bit operations": lambda work: work.bit_operations,
        "DRAM bytes": lambda work: work.bytes,
        "modelled energy, compute": lambda work: model.joules(work).compute,
        TOTAL: lambda work: model.joules(work).total,
    }


def _weighted(work: Counter, weight: Callable[[int, int], int]) -> float:
    widths = (pair for pass_ in work.by_pass() for pair in work.products(pass_).items())
    return sum(n * weight(a, b) for (a, b), n in widths)


def psg_table() -> TextTable:
    """PSG's factor for ResNet-74 in each measure and predictor share."""
    spec, model = cifar10("resnet-74"), EnergyModel.load()
    base, eight = iteration(spec, FLOAT32, BATCH), iteration(spec, FIXED8, BATCH)
    sign = iteration(spec, FULL_SIGN, BATCH)
    psg = {share: iteration(spec, PSG, BATCH, predicted=share) for share in SHARES}
    shares = (f"p = {share:g}" for share in SHARES)
    against = ("p = 0.6 against fixed8", "p = 0.6 against signsgd")
    table = TextTable("PSG against 32-bit training", ("measure", *shares, *against))
    for name, measure in measures(model).items():
        ratios = [measure(work) / measure(base) for work in psg.values()]
        ratios += [measure(psg[0.6]) / measure(other) for other in (eight, sign)]
        table.add(name, *(f"{ratio:.4f}" for ratio in ratios))
    return table


def pass_table() -> TextTable:
    """Bit operations of each pass over those of 32-bit training, ResNet-74, p = 0.6."""
    spec = cifar10("resnet-74")
    base = iteration(spec, FLOAT32, BATCH)
    table = TextTable(
        "Bit operations by pass", ("pass", "32-bit", "fixed8", "signsgd", "psg, p = 0.6")
    )
    works = [base] + [iteration(spec, scheme, BATCH) for scheme in (FIXED8, FULL_SIGN)]
    works.append(iteration(spec, PSG, BATCH, predicted=0.6))
    for pass_ in ("forward", "backward_input", "predictor", "backward_weight"):
        table.add(pass_, *(f"{_bits(work, pass_) / base.bit_operations:.4f}" for work in works))
    table.add("all", *(f"{work.bit_operations / base.bit_operations:.4f}" for work in works))
    return table


def _bits(work: Counter, pass_: str) -> int:
    return sum(n * a * b for (a, b), n in work.products(pass_).items())


def embedded(spec: NetworkSpec, share: float) -> Counter:
    """PSG with the predictor embedded in the full product, as the paper puts it (section 3.3).

    An unsure weight costs its 8x16 product and nothing else, and the operands are read once; our
    two passes read them twice and compute the predictor for every weight.
    """
    executed = iteration(spec, PSG, BATCH, predicted=share).by_pass()
    state = iteration(spec, FULL_SIGN, BATCH).state()
    state["macs"]["backward_weight"] = executed.get("backward_weight", {})
    state["macs"]["predictor"] = {
        widths: int(share * n + 0.5) for widths, n in executed["predictor"].items()
    }
    work = Counter()
    work.restore(state)
    return work


def assumption_table() -> TextTable:
    """Which way of counting, at which predictor share, comes to the paper's factor."""
    spec, model = cifar10("resnet-74"), EnergyModel.load()
    cheap = replace(model.table, choice=replace(model.table.choice, dram_position=0.0))
    found = measures(model) | {
        "modelled energy, total, DRAM at its low end": measures(EnergyModel(cheap))[TOTAL]
    }
    base = iteration(spec, FLOAT32, BATCH)
    ways = (f"{way}, p = 0.6" for way in ("two passes", "embedded"))
    columns = (name for way in ways for name in (way, f"p for {PAPER_PSG}"))
    table = TextTable("Where 0.37 could come from", ("measure", *columns))
    for name, measure in found.items():
        cells: list[str] = []
        for way in (_two_passes, embedded):
            at = {share: measure(way(spec, share)) / measure(base) for share in (0.0, 0.6, 1.0)}
            cells += [f"{at[0.6]:.4f}", _share_for(PAPER_PSG, at[0.0], at[0.6], at[1.0])]
        table.add(name, *cells)
    return table


def _two_passes(spec: NetworkSpec, share: float) -> Counter:
    return iteration(spec, PSG, BATCH, predicted=share)


def _share_for(target: float, none: float, most: float, every: float) -> str:
    """The share that gives `target`; costs are linear in it below 1, where the second pass ends."""
    if not every <= target <= none:
        return "none"
    share = (none - target) / (none - most) * 0.6
    return f"{share:.2f}" if share < 1 else "just below 1"


def saving_table() -> TextTable:
    """E2-Train on ResNet-74: the closed form, our counts, and the paper's metered saving."""
    spec, model = cifar10("resnet-74"), EnergyModel.load()
    by_name = {method.name: count(spec, method, BATCH, 0.6) for method in METHODS}
    base = by_name[METHODS[0].name]
    table = TextTable(
        "E2-Train on ResNet-74, savings in percent",
        (
            "skipped",
            "paper's closed form",
            "MACs",
            "bit operations",
            "operations × cost",
            "paper, metered",
        ),
    )
    for skip in SKIPS:
        work = by_name[f"e2train-{skip}"]
        energy = 1 - model.joules(work).total / model.joules(base).total
        table.add(
            f"{skip} %",
            f"{closed_form(skip):.2f}",
            f"{100 * (1 - work.macs / base.macs):.2f}",
            f"{100 * (1 - work.bit_operations / base.bit_operations):.2f}",
            f"{100 * energy:.2f}",
            f"{PAPER_ENERGY[skip]:.2f}",
        )
    return table


def documented_board_table() -> TextTable:
    """The board's seconds and joules of ResNet-74, as `e2train cost resnet-74` prints them."""
    return board_table(summary(cifar10("resnet-74"), "cifar10", BATCH, 0.6, EnergyModel.load()))


def float32_table() -> TextTable:
    """What could compute float32 on this board: multiply-accumulates and a ResNet-74 iteration."""
    given = EnergyModel.load().table.hypothetical
    macs = iteration(cifar10("resnet-74"), FLOAT32, BATCH).macs
    array = HARDWARE.rows * HARDWARE.columns / given.dsp_per_float_mac * HARDWARE.clock_mhz * 1e6
    core = given.neon_clock_hz * given.neon_macs_per_cycle
    rates = {
        "float array of the accelerator's DSPs, at its peak": array,
        "NEON, one core, at its peak": core,
        f"NEON, {given.neon_cores:g} cores, at its peak": given.neon_cores * core,
        f"NEON, {given.neon_cores:g} cores, at an assumed {given.neon_efficiency:.0%}": (
            given.neon_cores * core * given.neon_efficiency
        ),
    }
    table = TextTable(
        "float32 on this board, hypothetical",
        ("hypothetical float32 unit", "GMAC/s", "products of an iteration [s]"),
    )
    for name, rate in rates.items():
        table.add(name, f"{rate / 1e9:.2f}", f"{macs / rate:.1f}")
    return table


TABLES = {
    "networks": network_table,
    "passes": pass_table,
    "psg": psg_table,
    "assumptions": assumption_table,
    "savings": saving_table,
    "float32": float32_table,
    "board": documented_board_table,
}


def main() -> None:
    """Print all tables."""
    print_documented({name: table().markdown() for name, table in TABLES.items()})
    low, high = product_of_factors()
    print(f"Every printed saving follows from a product of factors in [{low:.6f}, {high:.6f}].")


if __name__ == "__main__":
    main()
