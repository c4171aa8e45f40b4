# SPDX-License-Identifier: Apache-2.0
"""The tables of `e2train cost --hardware`, and of docs/hardware.md, section "Time".

`python -m e2train.cost.accelerator.tables` prints the latter.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ...data.cifar import LAYOUTS, SHAPE
from ...device.operations import GATE_MACS, MERGE, TAKE, Operation, Vector
from ...methods.slu import exploring_burst, first_probability, gated_names
from ...network.models import network_spec
from ...network.spec import NetworkSpec
from ..board import PROCESSOR, VECTOR_UNIT, BoardModel
from ..counts import FIXED8, FULL_SIGN, NARROW_PSG, PSG, Scheme, operations
from ..energy import EnergyModel
from ..summary import EXPLORED
from ..text_table import TextTable, percent, print_documented
from .launches import CONVOLUTIONS
from .summary import SHARES, Question, hardware_summary

NETWORK = "resnet-74"
BATCH = 128
NAMES = {"backward_input": "to the input", "backward_weight": "to the weights"}
METHODS = ("psg", "signsgd", "fixed8")
SKIPS = (20, 40, 60)  # percent
USUAL_SHARE = 0.9  # of the signs predicted, where E2-Train as a whole is shown
DROPPING = 2 / 3  # SMD's executed iterations for each of the baseline's


def pass_name(pass_: str) -> str:
    """A pass as the tables call it."""
    return NAMES.get(pass_, pass_.replace("_", " "))


# ---- tables of a `hardware_summary` -------------------------------------------------------------


def pass_table(found: dict[str, Any], full: dict[str, Any] | None = None) -> TextTable:
    """Passes of an iteration; `full`: the full gradient's pass, to stand beside PSG's."""
    table = TextTable(
        f"{found['network']}, {found['data']}, batch {found['batch']}, {found['method']}: "
        f"one iteration at {found['clock_mhz']} MHz, modelled",
        (
            "pass",
            "launches",
            "Mcycles",
            "ms",
            "of MAC peak",
            "GOP/s (peak)",
            "DDR [MB]",
            "of bandwidth",
        ),
    )
    entries = list(found["passes"])
    if full is not None:
        entries.insert(len(CONVOLUTIONS), {**full, "name": "the same, full gradient"})
    for entry in entries:
        macs = entry["macs"] > 0
        table.add(
            pass_name(entry["name"]),
            entry["launches"],
            f"{entry['cycles'] / 1e6:,.1f}",
            f"{entry['ms']:,.0f}",
            percent(entry["peak_share"]) if macs else "",
            f"{entry['gops']:.1f} ({entry['gops_peak']:.1f})" if macs else "",
            f"{entry['dram_bytes'] / 1e6:,.0f}",
            percent(entry["bandwidth_share"], 0),
        )
    return table


def layer_table(found: dict[str, Any]) -> TextTable:
    """A line a convolution."""
    columns = (f"{pass_name(name)} {what}" for name in CONVOLUTIONS for what in ("[ms]", "of peak"))
    table = TextTable("Convolutions", ("layer", "kernel", *columns))
    for layer in found["layers"]:
        cells: list[str] = []
        for name in CONVOLUTIONS:
            entry = layer.get(name)
            cells += ("", "") if entry is None else _time_and_share(entry)
        table.add(layer["name"], "x".join(map(str, layer["kernel"])), *cells)
    return table


def _time_and_share(entry: dict[str, Any]) -> tuple[str, str]:
    return f"{entry['ms']:.2f}", percent(entry["peak_share"])


def kernel_table(found: dict[str, Any]) -> TextTable:
    """Dense 3x3 layers against the aim, by how long a burst waits."""
    waits = found["burst_wait"]
    table = TextTable(
        "Dense 3x3 layers, of each pass's peak, with tiles chosen for how long a burst waits",
        ("3x3 layers", *(f"bursts wait {w['cycles']} cycles" for w in waits), "below 85 %"),
    )
    for entry in found["kernel_3x3"]:
        shares = (percent(wait["kernel_3x3"][entry["pass"]]) for wait in waits)
        below = [f"{name} {share:.0%}" for name, share in entry["below_aim"].items()]
        shown = ", ".join(below[:3]) + (f" and {len(below) - 3} more" if len(below) > 3 else "")
        table.add(pass_name(entry["pass"]), *shares, shown or "none")
    return table


def psg_table(found: dict[str, Any]) -> TextTable:
    """PSG's pass against the full gradient's."""
    table = TextTable(
        "PSG's pass to the weights against the full gradient's (unsure weights drawn at random)",
        (
            "predicted",
            "predictor",
            "second phase",
            "schedule, merge",
            "all [Mcycles]",
            "of the full gradient's",
            "slots filled",
        ),
    )
    for entry in found["psg"]:
        keys = ("predictor_cycles", "second_cycles", "bookkeeping_cycles", "cycles")
        table.add(
            percent(entry["predicted"], 0),
            *(f"{entry[key] / 1e6:,.1f}" for key in keys),
            percent(entry["ratio"], 0),
            percent(entry["slots_filled"], 0),
        )
    return table


def budget_table(found: dict[str, Any]) -> TextTable:
    """Seconds of an iteration."""
    time = found["time"]
    table = TextTable("Time of an iteration (processor: assumptions)", ("part", "s", "share"))
    rows = [
        ("fabric: convolutions", time["convolutions_s"]),
        ("fabric: vector unit", time["vector_unit_s"]),
    ]
    rows += [
        (f"processor: {share['name']} ({share['count']:,} {share['unit']})", share["seconds"])
        for share in time["processor"]
        if share["unit"] != GATE_MACS
    ]
    for name, seconds in rows:
        table.add(name, f"{seconds:.2f}", percent(seconds / time["total_s"]))
    table.add("all", f"{time['total_s']:.2f}", "")
    if time["gates_s"]:
        table.add("with SLU, on top: gates on the processor", f"{time['gates_s']:.2f}", "")
    return table


def split_table(found: dict[str, Any]) -> TextTable:
    """The layers around the convolutions, on the vector unit or on one core."""
    table = TextTable(
        "Layers around the convolutions: vector unit, or one Arm core",
        ("layer", "vector unit [s]", "Arm, NumPy [s]", "Arm, memory alone [s]"),
    )
    keys = ("fabric_s", "numpy_s", "stream_s")
    alternatives = found["time"]["vector_layers_on_processor"]
    for one in alternatives:
        table.add(pass_name(one["pass_"]), *(f"{one[key]:.2f}" for key in keys))
    table.add("all", *(f"{sum(one[key] for one in alternatives):.2f}" for key in keys))
    return table


def area_table(found: dict[str, Any]) -> TextTable:
    """Block RAM by memory, and the totals."""
    title = "Resources, an estimate: nothing was synthesised"
    table = TextTable(title, ("memory or resource", "estimate", "aim", "chip"))
    for one in found["memories"]:
        table.add(one["name"], f"{one['bram36']:g}", "", "")
    for one in found["area"]:
        table.add(f"all {one['resource']}", f"{one['estimate']:g}", one["limit"], one["chip"])
    return table


def energy_table(found: list[dict[str, Any]]) -> TextTable:
    """Modelled energy of an iteration by each method's summary."""
    table = TextTable(
        "Energy of an iteration at the board's input, modelled",
        ("method", "s", "idle [J]", "processor [J]", "fabric [J]", "DRAM [J]", "all [J]", "W"),
    )
    keys = ("idle_j", "processor_j", "fabric_j", "dram_j", "total_j", "mean_w")
    for one in found:
        cells = (f"{one['energy'][key]:.2f}" for key in keys)
        table.add(one["method"], f"{one['time']['total_s']:.2f}", *cells)
    return table


def hardware_tables(found: dict[str, Any], layers: bool) -> list[TextTable]:
    """What the command prints of a `hardware_summary`; `layers`: with a line a convolution."""
    tables = [layer_table(found)] if layers else []
    tables += [pass_table(found), kernel_table(found)]
    if found["method"] in (PSG.name, NARROW_PSG.name):
        tables.append(psg_table(found))
    return [
        *tables,
        budget_table(found),
        split_table(found),
        area_table(found),
        energy_table([found]),
    ]


# ---- the docs' ----------------------------------------------------------------------------------


def _spec(network: str) -> NetworkSpec:
    return network_spec(network, SHAPE, LAYOUTS["cifar10"].classes)


@lru_cache(maxsize=4)
def documented(method: str = "psg") -> dict[str, Any]:
    """The summary of docs/hardware.md's network."""
    question = Question(_spec(NETWORK), "cifar10", BATCH, method)
    return hardware_summary(question, EnergyModel.load())


def mobilenet_table() -> TextTable:
    """Where MobileNetV2 falls short."""
    question = Question(_spec("mobilenet-v2"), "cifar10", BATCH)
    work = question.launched()
    table = TextTable("MobileNetV2", ("MobileNetV2 pass", "ms", "of MAC peak"))
    for pass_ in CONVOLUTIONS:
        cycles = sum(one.tally.cycles for one in work if one.pass_ == pass_)
        ideal = sum(one.ideal for one in work if one.pass_ == pass_)
        table.add(
            pass_name(pass_), f"{1e3 * cycles / question.clock_hz:,.0f}", percent(ideal / cycles)
        )
    return table


def _skipping(
    spec: NetworkSpec, skip: int, scheme: Scheme = PSG, predicted: float = 0.6
) -> tuple[list[Operation], int]:
    """An iteration of which gates skip `skip` percent, and the samples that a gated block runs."""
    if not skip:
        return operations(spec, scheme, BATCH, predicted=predicted), BATCH
    gated = gated_names(spec, "identity")
    burst = round(exploring_burst(float(EXPLORED)))
    looking = sorted(gated)[burst // 2 :: burst]  # as many as explore in a mini-batch on average
    samples = round(BATCH * first_probability(spec, skip / 100, "identity"))
    work = operations(
        spec,
        scheme,
        BATCH,
        ran=lambda block: samples if block.name in gated else BATCH,
        explored=lambda block: (
            round((BATCH - samples) * EXPLORED * burst) if block.name in looking else 0
        ),
        predicted=predicted,
        gated=gated,
    )
    return work, samples


def _seconds(board: BoardModel, work: list[Operation]) -> float:
    return sum(phase.seconds for phase in board.phases(work))


def iteration_table() -> TextTable:
    """Seconds of an iteration by method, network and width of the gradient to the input."""
    board = BoardModel(EnergyModel.load(), float32=False)
    specs = [_spec(NETWORK), _spec("mobilenet-v2")]
    seconds_of = ("ResNet-74 [s]", "of fixed8", "MobileNetV2 [s]", "of it")
    table = TextTable(
        "An iteration, all of it (E2-Train: for each iteration of the baseline)",
        ("iteration", "bits to the input", *seconds_of),
    )

    def add(name: str, scheme: Scheme, seconds: list[float]) -> None:
        ratios = zip(seconds, fixed, strict=False)
        cells = [cell for s, whole in ratios for cell in (f"{s:.2f}", percent(s / whole, 0))]
        table.add(name, scheme.input_gradient, *cells, *[""] * (2 * len(fixed) - len(cells)))

    def whole(scheme: Scheme, predicted: float = 0.0) -> list[float]:
        listed = (operations(spec, scheme, BATCH, predicted=predicted) for spec in specs)
        return [_seconds(board, work) for work in listed]

    fixed = whole(FIXED8)
    add("fixed8", FIXED8, fixed)
    add("SignSGD", FULL_SIGN, whole(FULL_SIGN))
    for scheme in (PSG, NARROW_PSG):
        for share in SHARES:
            add(f"PSG, {share:.0%} predicted", scheme, whole(scheme, share))
    for skip in SKIPS:
        work, _ = _skipping(specs[0], skip, NARROW_PSG, USUAL_SHARE)
        name = f"E2-Train, {skip} % skipped, {USUAL_SHARE:.0%} predicted"
        add(name, NARROW_PSG, [DROPPING * _seconds(board, work)])
    return table


def skip_table() -> TextTable:
    """Seconds of a PSG iteration when gates skip a share of the residual blocks' work."""
    spec, board = _spec(NETWORK), BoardModel(EnergyModel.load(), float32=False)
    table = TextTable(
        "With SLU",
        ("skipped", "samples", "convolutions", "moves", "vector unit else", "gates", "rest", "all"),
    )
    for skip in (0, *SKIPS):
        work, samples = _skipping(spec, skip)
        time = {phase.name: phase.seconds for phase in board.phases(work)}
        moves = [one for one in work if isinstance(one, Vector) and one.kind in (TAKE, MERGE)]
        moved = sum(one.seconds for one in board.phases(moves) if one.name == VECTOR_UNIT)
        gates = sum(one.seconds for one in board.processor(work, 0) if one.unit == GATE_MACS)
        seconds = [
            sum(time[name] for name in CONVOLUTIONS),
            moved,
            time[VECTOR_UNIT] - moved,
            gates,
            time[PROCESSOR] - gates,
        ]
        cells = (f"{part:.2f}" for part in (*seconds, sum(seconds)))
        table.add(f"{skip} %", samples, *cells)
    return table


def _documented_passes() -> TextTable:
    full = next(e for e in documented("signsgd")["passes"] if e["name"] == "backward_weight")
    return pass_table(documented(), full)


TABLES = {
    "time passes": _documented_passes,
    "time 3x3": lambda: kernel_table(documented()),
    "time psg": lambda: psg_table(documented()),
    "time iterations": iteration_table,
    "time budget": lambda: budget_table(documented()),
    "time skip": skip_table,
    "time split": lambda: split_table(documented()),
    "time mobilenet": mobilenet_table,
    "time energy": lambda: energy_table([documented(method) for method in METHODS]),
    "area": lambda: area_table(documented()),
}


def main() -> None:
    """Print all tables of docs/hardware.md."""
    print_documented({name: table().markdown() for name, table in TABLES.items()})


if __name__ == "__main__":
    main()
