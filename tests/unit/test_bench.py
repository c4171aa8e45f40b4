# SPDX-License-Identifier: Apache-2.0
"""The benchmarks compare the same networks, take turns, and fit and show what they measured."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device_cases import device
from e2train import cli
from e2train.bench import emulator as bench
from e2train.bench import page, ratios
from e2train.bench.child import Job, Outcome, run_child
from e2train.bench.emulator import EmulatorTraining, ForcedGates, Taken
from e2train.bench.growth import exponents, fitted, measure
from e2train.device.counter import Counter
from e2train.errors import UserError
from e2train.network.models import network_spec
from engine_parts import float_network


@pytest.mark.parametrize(
    "name", [("resnet-8", (3, 16, 16), 10), ("mobilenet-v2", (3, 16, 16), 10)], ids=lambda n: n[0]
)
def test_the_torch_network_is_the_same_network(name):
    """Logits of the torch modules equal those of the engine's float32 arithmetic."""
    torch = pytest.importorskip("torch")
    from e2train.bench.torch_reference import FloatNetwork

    spec = network_spec(*name)
    engine = float_network("numpy", spec=spec)
    module = FloatNetwork(spec)
    parameters = iter(module.parameters())
    with torch.no_grad():
        for unit in spec.units():
            for part in ("weight", "gamma", "beta"):
                value = engine.parameters[f"{unit.name}.{part}"]
                next(parameters).copy_(torch.from_numpy(value))
        weight = engine.parameters["classifier.weight"][:, :, 0, 0]
        next(parameters).copy_(torch.from_numpy(weight))
        next(parameters).copy_(torch.from_numpy(engine.parameters["classifier.bias"]))
    assert next(parameters, None) is None
    images = np.random.default_rng(0).integers(0, 256, (4, *name[1]), dtype=np.uint8)
    expected = engine.logits(images, 0, training=True)
    arithmetic = engine.arithmetic
    normalised = arithmetic.picture(images)
    found = module(torch.from_numpy(np.asarray(normalised, np.float32))).detach().numpy()
    scale = np.abs(expected).max()
    assert np.allclose(found, expected, atol=1e-3 * scale)


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.6, 1.0])
def test_forced_gates_skip_exactly_what_is_asked(ratio):
    spec = network_spec("resnet-8", (3, 32, 32), 10)
    gates = ForcedGates(spec, Counter(), ratio)
    images, labels = bench.mini_batch(8)
    training = EmulatorTraining(spec, device("native"), images, labels, skip=ratio)
    training.step()
    ran = training._gates.ran
    assert ran.shape == (len(gates.blocks), 8)
    assert (ran.sum(axis=1) == 8 - round(ratio * 8)).all()
    assert training._gates.skip_ratio == pytest.approx(round(ratio * 8) / 8)  # of all the blocks
    assert not (training._gates.chosen & ran).any(), "only skipped samples are explored"


def test_steps_take_turns_and_the_first_round_does_not_count(monkeypatch):
    order, now = [], [0]
    durations = {"a": iter([100, 5, 7, 6]), "b": iter([100, 1, 2, 9])}
    monkeypatch.setattr(bench.time, "process_time", lambda: now[0])
    monkeypatch.setattr(bench.time, "perf_counter", lambda: 10 * now[0])

    def step(name):
        order.append(name)
        now[0] += next(durations[name])

    a, b = bench.in_turns([lambda: step("a"), lambda: step("b")], 3)
    assert order == ["a", "b"] * 4
    assert a == [Taken(5, 50), Taken(7, 70), Taken(6, 60)]
    assert b == [Taken(1, 10), Taken(2, 20), Taken(9, 90)]


def test_a_ratio_is_the_median_of_the_turns_and_meets_its_aim_or_not(monkeypatch):
    """Made-up times: PSG 4, 9 and 5 of torch's 10 or 20, whose compiled form is the slower one."""
    torch = pytest.importorskip("torch")
    seconds = {
        ratios.PSG: [4.0, 9.0, 5.0],
        ratios.EAGER: [10.0, 10.0, 20.0],
        ratios.COMPILED: [30.0, 30.0, 30.0],
        ratios.GATED: [4.0, 9.0, 5.5],
        ratios.SLU: [3.0, 6.0, 4.0],
    }
    monkeypatch.setattr(ratios, "_steps", lambda *_: (dict.fromkeys(seconds, None), ""))
    monkeypatch.setattr(
        ratios, "in_turns", lambda *_: [[Taken(s, 99.0) for s in row] for row in seconds.values()]
    )
    before = torch.get_num_threads()
    psg, e2train, gates = ratios.against_torch("resnet-8", None, True, 3, 8, True)
    assert torch.get_num_threads() == before
    assert psg.turns == [0.4, 0.9, 0.25] and psg.value == 0.4 and psg.met
    assert psg.sides == {ratios.PSG: 5.0, ratios.EAGER: 10.0}
    assert "compiled 30.000 s" in psg.note
    assert e2train.turns == [0.15, 0.3, 0.1]  # half of the iterations are left out
    assert e2train.value == 0.15 and e2train.met
    assert gates.turns == pytest.approx([1.0, 1.0, 1.1]) and gates.met
    assert str(psg.aim) == "at most 0.45"
    (slower, *_) = ratios.against_torch("resnet-8", None, False, 3, 8, True)
    assert str(slower.aim) == "at most 0.6"


def test_aims_bound_from_above_or_from_below():
    assert ratios.Aim(0.6).met(0.6) and not ratios.Aim(0.6).met(0.61)
    assert ratios.THREADS.met(1.7) and not ratios.THREADS.met(1.69)
    assert str(ratios.THREADS) == "at least 1.7"


@pytest.mark.parametrize(("given", "met"), [(1.9, True), (1.2, None)])
def test_two_threads_are_judged_only_where_the_machine_has_two_processors(monkeypatch, given, met):
    device("native")
    one, two = [Taken(2.0, 2.0)] * 3, [Taken(2.1, 1.1)] * 3
    hashing = [Taken(given, 1.0)] * 3
    monkeypatch.setattr(ratios, "in_turns", lambda *_: [one, two, hashing])
    found = ratios.two_threads("resnet-8", "native", 3, 2)
    assert found.value == pytest.approx(2.0 / 1.1) and found.met is met
    assert f"{given:.2f} processors" in found.note and "1.91 to the emulator's" in found.note


def test_torch_compile_that_fails_leaves_eager_torch_and_says_why(monkeypatch):
    pytest.importorskip("torch")
    from e2train.bench import torch_reference

    def fails(self):
        raise RuntimeError("no working compiler\nand more")

    monkeypatch.setattr(torch_reference.FloatNetwork, "compile", lambda self: None)
    monkeypatch.setattr(torch_reference.FloatTraining, "step", fails)
    steps, note = ratios._steps("resnet-8", device("native"), 2, True)
    assert ratios.COMPILED not in steps and ratios.EAGER in steps
    assert note == "eager torch alone, torch.compile failed: no working compiler"


def test_a_childs_peak_covers_the_memory_that_it_used():
    """A batch four times as large: four times as many activations, hence a higher peak."""
    device("native")
    small, large = (run_child(Job("resnet-8", batch, 1, backend="native")) for batch in (8, 64))
    assert len(small.processor) == len(small.wall) == 1 and min(small.processor) > 0
    assert small.peak > small.loaded > 1 << 20
    stream = 64 * 16 * 32 * 32  # the samples' bytes in one 8-bit tensor behind the stem
    assert large.used > small.used + 8 * stream


def test_a_childs_peak_is_not_its_parents():
    """The parent's memory must not count: getrusage of a process starts with what forked it."""
    ballast = np.ones(40_000_000)  # 320 MB
    found = run_child(Job("resnet-8", 2, 1, backend="numpy"))
    assert found.peak < ballast.nbytes


def test_a_child_that_fails_says_so_in_one_line():
    with pytest.raises(UserError, match=r"^resnet-9, batch 2: .*depth 9[^\n]*$"):
        run_child(Job("resnet-9", 2, 1))


def test_exponents_are_those_of_least_squares():
    """Against SciPy's regression of the logarithms; a power law is found exactly."""
    stats = pytest.importorskip("scipy.stats")
    x = [16.0, 32.0, 64.0, 128.0]
    exact = fitted(x, [3.0 * v**1.25 for v in x])
    assert exact.slope == pytest.approx(1.25) and exact.error == pytest.approx(0.0, abs=1e-7)
    y = [1.0, 2.2, 3.7, 8.4]
    expected = stats.linregress(np.log(x), np.log(y))
    found = fitted(x, y)
    assert (found.slope, found.error) == pytest.approx((expected.slope, expected.stderr))
    assert str(fitted([1, 2], [1, 2])) == "1.00"  # two points have no error


def test_growth_goes_through_its_points_in_rounds():
    asked = []

    def run(job):
        asked.append(job)
        share = job.batch * (1.0 - (job.skip or 0.0)) / job.threads
        return Outcome([share] * job.iterations, [share] * job.iterations, 1000 + job.batch, 1000)

    axes = {"depth": (8, 14), "batch": (16, 32), "skip": (0.0, 0.5), "threads": (2,)}
    base = Job("resnet-20", 64, 3)
    points = measure(axes, base, 2, run)
    assert asked[:7] == asked[7:]
    changed = [replace(base, network="resnet-8"), replace(base, network="resnet-14"),
               replace(base, batch=16), replace(base, batch=32), replace(base, skip=0.0),
               replace(base, skip=0.5), replace(base, threads=2)]  # fmt: skip
    assert asked[:7] == changed
    assert all(len(p.processor) == 6 and len(p.memory) == 2 for p in points)
    fits = exponents(points)
    assert set(fits) == {"depth", "batch", "skip"}  # two thread counts make no growth
    assert fits["batch"]["time"].slope == pytest.approx(1.0)
    assert fits["batch"]["memory"].slope == pytest.approx(1.0)
    assert fits["skip"]["time"].slope == pytest.approx(1.0)  # against the share that runs
    assert fits["depth"]["time"].slope == pytest.approx(0.0, abs=1e-9)


def test_the_committed_page_is_what_its_records_give():
    folder = Path(__file__).parents[2] / "docs" / "emulator"
    text, _ = page.build(folder)
    assert (folder / page.PAGE).read_text(encoding="utf-8") == text
    assert (folder / page.FIGURE).exists()


def test_commands_write_records_a_page_and_a_figure(tmp_path, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    device("native")
    small = ["--batch", "4", "--iterations", "1"]
    record = str(tmp_path / "new" / page.RATIOS)
    ours = ["--network", "resnet-8", "--memory-network", "resnet-8", "--no-compile"]
    assert cli.run(["bench", "emulator", *ours, *small, "--out", record]) == 0
    shown = capsys.readouterr().out
    assert "at most 0.25" in shown and "as asked" in shown
    found = json.loads(Path(record).read_text())
    assert {one["network"] for one in found["ratios"]} == {"resnet-8"}
    assert all(one["value"] > 0 for one in found["ratios"])
    record = str(tmp_path / "new" / page.GROWTH)
    ours = ["--network", "resnet-8", "--axis", "skip", "--rounds", "1"]
    assert cli.run(["bench", "growth", *ours, *small, "--out", record]) == 0
    assert "skip: exponent of time" in capsys.readouterr().out
    assert cli.run(["bench", "page", str(tmp_path / "new")]) == 0
    text = (tmp_path / "new" / page.PAGE).read_text()
    assert "PSG over float32" in text and "| 0.8 |" in text
    assert (tmp_path / "new" / page.FIGURE).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["growth", "--axis", "width", "--out", "x.json"], "unknown axis 'width'"),
        (["growth", "--out", "/dev/null/x.json"], "/dev/null/x.json: cannot be written"),
        (["page", "/dev/null"], "/dev/null/ratios.json: cannot be read"),
    ],
)
def test_mistakes_end_in_one_line(arguments, said, capsys):
    assert cli.run(["bench", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_damaged_record_is_said_to_be_damaged(tmp_path, capsys):
    (tmp_path / page.RATIOS).write_text("{}")
    (tmp_path / page.GROWTH).write_text('{"points": [{"axis": "depth"}]}')
    assert cli.run(["bench", "page", str(tmp_path)]) == 2
    assert "a record is damaged" in capsys.readouterr().err
    assert not (tmp_path / page.PAGE).exists()


def test_the_command_without_torch_says_so(monkeypatch, capsys):
    monkeypatch.setattr("e2train.cli.bench.find_spec", lambda name: None)
    assert cli.run(["bench", "emulator"]) == 2
    assert "compares with torch: pip install" in capsys.readouterr().err
