# SPDX-License-Identifier: Apache-2.0
"""The one model of the board: what the commands print and what drives the simulated meter."""

import json
import math
import re
from pathlib import Path

import pytest

from e2train.cli import run
from e2train.cost.accelerator.launches import full_gradient_cycles
from e2train.cost.accelerator.processor import CALL_S, LAUNCH_S, UNIT_CALLS
from e2train.cost.board import ACCELERATOR, FLOAT_ARRAY, HYPOTHETICAL, BoardModel
from e2train.cost.counts import (
    FIXED8,
    FLOAT32,
    FULL_SIGN,
    OFFERED,
    PSG,
    count,
    expected,
    operations,
)
from e2train.cost.energy import EnergyModel
from e2train.data.digits import load_digits
from e2train.device import open_device
from e2train.device.accelerator.tiling.array import HARDWARE
from e2train.device.counter import Counter
from e2train.device.geometry import Geometry
from e2train.device.operations import GATE_MACS, UNITS, Convolution, Processor, Vector
from e2train.errors import UserError
from e2train.network.models import network_spec
from e2train.runs.checkpoint import read_checkpoint
from e2train.training.experiment import load_experiment
from e2train.training.metering import RunEnergy
from e2train.training.trainer import Trainer

DOCS = Path(__file__).parents[2] / "docs"
MODEL = EnergyModel.load()
BOARD, FLOATS = BoardModel(MODEL, float32=False), BoardModel(MODEL, float32=True)
LAYER = Geometry(16, 32, 32, 16, (3, 3), 1, 1, 1)
CLOCK = HARDWARE.clock_mhz * 1e6


def totals(segments):
    """(seconds, joules) of a trace."""
    return math.fsum(s for s, _ in segments), math.fsum(s * w for s, w in segments)


def asked(capsys, *arguments):
    assert run(["cost", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def within_a_percent(found, expected):
    return found == pytest.approx(expected, rel=0.01)


# ---- every way to ask gives the same answer -----------------------------------------------------


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """ResNet-74's iteration as training meters it: recorded operations through the meter."""
    spec = network_spec("resnet-74", (3, 32, 32), 10)
    counter, folder = Counter(), tmp_path_factory.mktemp("meter")
    energy = RunEnergy("simulated", folder / "meter", counter, 0, None, pytest.fail, float32=False)
    for operation in operations(spec, PSG, 128, predicted=0.6):
        counter.record(operation)
    energy.mini_batch()
    energy.settle()
    metered = energy.joules()["joules"]
    energy.close()
    return {**energy.board, "metered": metered}


def test_commands_docs_and_the_meters_trace_agree_on_resnet_74(capsys, traced):
    hardware = asked(capsys, "resnet-74", "--hardware")
    plain = next(m for m in asked(capsys, "resnet-74")["methods"] if m["name"] == "psg")["board"]
    seconds, joules = plain["seconds"] / OFFERED, plain["joules"] / OFFERED
    assert within_a_percent(seconds, hardware["time"]["total_s"])
    assert within_a_percent(joules, hardware["energy"]["total_j"])
    assert within_a_percent(traced["seconds"], seconds)
    assert within_a_percent(traced["joules"], joules)
    assert within_a_percent(traced["metered"], joules)
    cost = (DOCS / "cost.md").read_text(encoding="utf-8")
    text = (DOCS / "hardware.md").read_text(encoding="utf-8")
    printed = [
        re.search(r"\| psg \| accelerator \| ([\d.]+) \| ([\d.]+) \|", cost),
        re.search(r"\| psg \| ([\d.]+) \|(?: [\d.]+ \|){4} ([\d.]+) \|", text),
    ]
    for found in printed:
        assert within_a_percent(float(found[1]), seconds)
        assert within_a_percent(float(found[2]), joules)


def test_every_printed_time_of_the_iteration_is_the_models(traced):
    """The prose of the docs and of the README, wherever it names the iteration's time or joules."""
    pages = ("hardware.md", "cost.md", "results/README.md", "../README.md")
    found = [
        match
        for page in pages
        for match in re.finditer(
            r"PSG iteration of ResNet-74[^.]*?(\d+\.\d+) s[^.]*?(\d+\.\d+) J",
            re.sub(r"\s+", " ", (DOCS / page).read_text(encoding="utf-8")),
        )
    ]
    assert found
    for match in found:
        assert within_a_percent(float(match[1]), traced["seconds"])
        assert within_a_percent(float(match[2]), traced["joules"])


RESULTS = DOCS / "results" / "cifar10-resnet8"


@pytest.mark.parametrize(
    ("cell", "scheme"), [("sgd-fp32", FLOAT32), ("fixed8", FIXED8), ("psg", PSG), ("psg-smd", PSG)]
)
def test_recorded_results_are_the_models(cell, scheme):
    """docs/results: joules of the table, of the run's record, and of its iterations as planned."""
    result = json.loads((RESULTS / cell / "result.json").read_text(encoding="utf-8"))
    shares = {name: s / 100 for name, s in result["predictor_share_by_layer"].items()}
    spec = network_spec("resnet-8", (3, 32, 32), 10)
    model = FLOATS if scheme.float32 else BOARD
    work = operations(spec, scheme, 128, predicted=shares or 0.0)
    run_count = result["cell"]["iterations_run"]
    seconds, joules = (run_count * total for total in totals(model.segments(work)))
    page = (DOCS / "results" / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| {cell} \|.* ([\d,]+) ± ", page, re.MULTILINE)
    assert within_a_percent(result["board"]["seconds"], seconds)
    assert within_a_percent(result["board"]["joules"], joules)
    assert within_a_percent(result["cell"]["energy_joules"], joules)
    assert within_a_percent(float(row[1].replace(",", "")), joules)


EXPERIMENT = """\
name = "{name}"
[data]
name = "digits"
[train]
iterations = 8
batch = 128
[method]
arithmetic = "{arithmetic}"
update = "{update}"
"""


@pytest.mark.parametrize(
    ("name", "arithmetic", "update", "scheme"),
    [
        ("psg", "fixed", "psg", PSG),
        ("fixed8", "fixed", "sgd", FIXED8),
        ("sgd", "float32", "sgd", FLOAT32),
    ],
)
def test_a_real_run_takes_what_is_planned(tmp_path, name, arithmetic, update, scheme):
    """ResNet-8 on the digits; the first iteration runs some passes twice, so later ones count."""
    path = tmp_path / "case.toml"
    path.write_text(EXPERIMENT.format(name=name, arithmetic=arithmetic, update=update))
    experiment, data = load_experiment(path), load_digits()
    device = None if arithmetic == "float32" else open_device("emulator")
    out = tmp_path / "run"
    out.mkdir()
    with Trainer(experiment, data, out, device=device) as trainer:
        trainer.mini_batch(0)
        before = dict(trainer.energy.board)
        trainer.tallies.predicted.clear()
        for iteration in range(1, 8):
            trainer.mini_batch(iteration)
        trainer.energy.settle()
        board, metered = trainer.energy.board, trainer.energy.joules()["joules"]
        predicted = {name: p / n for name, (p, n) in trainer.tallies.predicted.items()}
        spec = trainer.parts.spec
    model = FLOATS if scheme.float32 else BOARD
    work = operations(spec, scheme, 128, predicted=predicted or 0.0)
    seconds, joules = totals(model.segments(work))
    assert within_a_percent((board["seconds"] - before["seconds"]) / 7, seconds)
    assert within_a_percent((board["joules"] - before["joules"]) / 7, joules)
    assert within_a_percent(metered, board["joules"])


def test_the_record_says_which_model(tmp_path):
    for arithmetic, model in (("fixed", ACCELERATOR), ("float32", FLOAT_ARRAY)):
        path, out = tmp_path / f"{arithmetic}.toml", tmp_path / arithmetic
        path.write_text(EXPERIMENT.format(name="x", arithmetic=arithmetic, update="sgd"))
        assert run(["train", str(path), "--out", str(out), "--quiet"]) == 0
        result = json.loads((out / "result.json").read_text())
        started = json.loads((out / "events.jsonl").read_text().splitlines()[0])
        assert result["board_model"] == started["board_model"] == model
        assert result["board"]["provenance"] == "modelled"
        assert result["cell"]["energy_joules"] == pytest.approx(result["board"]["joules"], rel=0.01)
        saved = read_checkpoint(out / "checkpoint.npz").meta["board"]
        assert saved["joules"] == result["board"]["joules"]


# ---- the accelerator ----------------------------------------------------------------------------


def test_a_segment_by_hand():
    work = [Convolution("backward_weight", "", LAYER, 128, (8, 16), 48)]
    fabric, processor = BOARD.segments(work)
    cycles = full_gradient_cycles(LAYER, 128, HARDWARE) + 16  # and the result block
    assert fabric[0] == pytest.approx(cycles / CLOCK)
    (phase, _) = BOARD.phases(work)
    energy = MODEL.joules(count(work))
    assert phase.fabric_j == pytest.approx(7 * (energy.compute + energy.buffer))
    assert phase.idle_j == pytest.approx(2.6 * fabric[0])
    assert fabric[1] == pytest.approx(phase.joules / fabric[0])
    assert 0.05 < fabric[1] - 2.6 < 0.5  # what users of the board see is of this order
    assert processor == (LAUNCH_S, pytest.approx(2.74))


def test_the_processor_takes_turns_at_its_own_power():
    work = [Processor(GATE_MACS, 50_000_000), Processor(UNITS, 2)]
    assert BOARD.segments(work) == [
        (pytest.approx(1.0 + 2 * UNIT_CALLS * CALL_S), pytest.approx(2.74))
    ]
    assert BOARD.segments([]) == []


def test_segments_come_in_a_fixed_order_whatever_the_works():
    spec = network_spec("resnet-8", (1, 8, 8), 10)
    work = operations(spec, PSG, 32, predicted=0.5)
    phases = BOARD.phases(work)
    names = ["forward", "backward_input", "backward_weight", "vector unit", "processor"]
    assert [phase.name for phase in phases] == names
    backwards = BOARD.phases(list(reversed(work)))
    assert [p.seconds for p in backwards] == pytest.approx([p.seconds for p in phases])


def test_time_and_energy_are_additive():
    spec = network_spec("resnet-8", (3, 8, 8), 10)
    one = operations(spec, FULL_SIGN, 20)
    once, thrice = totals(BOARD.segments(one)), totals(BOARD.segments(3 * one))
    assert thrice == pytest.approx([3 * part for part in once])


def test_what_skipped_samples_save_is_less_the_moves_that_pack_the_others():
    """16 samples are a word: 102 of 128 need seven of eight groups, and moves on top."""
    spec = network_spec("resnet-20", (3, 32, 32), 10)

    def seconds(ran, **how):
        work = operations(spec, PSG, 128, ran=lambda _: ran, predicted=0.6, **how)
        moves = [o for o in work if isinstance(o, Vector) and o.kind in ("take", "merge")]
        return totals(BOARD.segments(work))[0], totals(BOARD.segments(moves))[0]

    whole, none = seconds(128)
    assert none == 0.0
    most, moved = seconds(102)
    assert moved > 0
    same, _ = seconds(112)  # as many groups
    assert most == pytest.approx(same, rel=0.002)
    assert seconds(0)[0] < seconds(16)[0] < seconds(64)[0] < most
    saved, at_most = whole - (most - moved), (whole - seconds(0)[0]) / 8
    assert 0.5 * at_most < saved < at_most  # launches and what passes by are not saved


def test_beyond_the_accelerators_limits_is_one_line():
    with pytest.raises(UserError, match=r"^the accelerator cannot run this: samples: 5000"):
        BOARD.segments([Convolution("forward", "", LAYER, 5000, (8, 8), 16)])


# ---- float32 ------------------------------------------------------------------------------------


def test_float_array_is_the_same_dsps_at_their_peak():
    """128 DSP slices, five a multiply-add, 100 MHz: 2.56 GMAC/s; or bytes at 3.2 GB/s."""
    work = [Convolution("forward", "", LAYER, 128, (32, 32), 32)]
    seconds, _ = FLOATS.segments(work)[0]
    assert seconds == pytest.approx(128 * LAYER.macs / 2.56e9)
    size = LAYER.output_size
    moved = [Vector("normalise", "", 128, size, 16, 64, 32)]
    seconds, _ = FLOATS.segments(moved)[0]
    assert seconds == pytest.approx(12 * 128 * size / 3.2e9)
    take = [Vector("take", "", 100, size, 0, 32, 32, 128)]
    assert FLOATS.segments(take)[0][0] == pytest.approx(8 * 100 * size / 3.2e9)


def test_printed_float32_is_called_hypothetical(capsys):
    for method in asked(capsys, "resnet-8")["methods"]:
        float32 = method["name"] in ("sgd-fp32", "smd")
        assert method["board"]["model"] == (FLOAT_ARRAY if float32 else ACCELERATOR)
        assert method["board"]["note"] == (HYPOTHETICAL if float32 else None)
    assert run(["cost", "resnet-8"]) == 0
    assert HYPOTHETICAL in re.sub(r"\s+", " ", capsys.readouterr().out)


def test_savings_are_against_both_baselines(capsys):
    methods = {m["name"]: m["board"] for m in asked(capsys, "resnet-20")["methods"]}
    for board in methods.values():
        for key, base in (("saving", "sgd-fp32"), ("saving_fixed8", "fixed8")):
            ratio = board["joules"] / methods[base]["joules"]
            assert board[key] == pytest.approx(100 * (1 - ratio))
    assert methods["fixed8"]["saving_fixed8"] == methods["sgd-fp32"]["saving"] == 0


def test_a_mix_weighs_its_iterations():
    spec = network_spec("resnet-8", (3, 8, 8), 10)
    mix = expected(spec, FULL_SIGN, 10)
    assert [times for _, times in mix] == [OFFERED]
    assert mix[0][0] == operations(spec, FULL_SIGN, 10)
