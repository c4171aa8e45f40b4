# SPDX-License-Identifier: Apache-2.0
"""Which runs answer which claim, pooled intervals, and the rules for each word."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import t

from e2train.campaign.plan import load_campaign
from e2train.errors import UserError
from e2train.results.claims import Claim, pages
from e2train.results.groups import accuracy, difference, energy_saving, groups_of
from e2train.results.judge import CONFIRMED, NOT_CONFIRMED, NOT_RUN, TOLERANCE, judge
from e2train.runs.load import load_run
from results_runs import FIXED8, PSG, SGD, made_run, runs_of

ROWS = {(page.file, row.name): row for page in pages() for row in page.rows}
SMD = {"smd": {"drop": 0.5}}


def claim(kind, paper, *pairs, page="table2"):
    chosen = tuple((ROWS[page, ours], ROWS[page, theirs]) for ours, theirs in pairs)
    return Claim("says", kind, paper, chosen)


def word(kind, paper, groups, *pairs, **options):
    return judge(claim(kind, paper, *pairs, **options), groups).word


@pytest.fixture
def groups(tmp_path):
    return groups_of(
        runs_of(tmp_path, "sgd-fp32", SGD, [90.0, 90.2], joules=4000.0)
        + runs_of(tmp_path, "fixed8", FIXED8, [89.9, 90.1], joules=1000.0)
        + runs_of(tmp_path, "psg", PSG, [89.4, 89.0, 89.2], joules=500.0)
    )


def by_name(groups, name):
    return next(group for group in groups if group.name == name)


def test_scatter_is_pooled_over_what_updates_alike(groups):
    """Gradients: deviations ±0.1 twice, 2 degrees; signs: 0.2, -0.2, 0, 2 degrees."""
    gradients, signs = (0.01 * 4) / 2, 0.08 / 2
    sgd, fixed8, psg = (by_name(groups, name) for name in ("sgd-fp32", "fixed8", "psg"))
    quantile = t.ppf(0.975, 2)
    found = accuracy(sgd, groups)
    assert found.mean == pytest.approx(90.1)
    assert found.half == pytest.approx(quantile * math.sqrt(gradients / 2))
    assert accuracy(psg, groups).half == pytest.approx(quantile * math.sqrt(signs / 3))
    alike = difference(fixed8, sgd, groups)
    assert alike.mean == pytest.approx(-0.1)
    assert alike.half == pytest.approx(quantile * math.sqrt(gradients))
    parts = gradients / 2, signs / 3
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 2)
    unlike = difference(psg, sgd, groups)
    assert unlike.half == pytest.approx(t.ppf(0.975, freedom) * math.sqrt(sum(parts)))


def test_one_seed_of_each_has_no_interval(tmp_path):
    found = groups_of(runs_of(tmp_path, "a", SGD, [90.0]) + runs_of(tmp_path, "b", FIXED8, [95.0]))
    assert difference(found[1], found[0], found).half is None
    assert word("accuracy", -3.0, found, ("8-bit", "32-bit SGD")) == NOT_CONFIRMED


@pytest.mark.parametrize("shift", [-0.01, 0.01])
def test_accuracy_is_held_to_the_lower_end_less_the_tolerance(groups, shift):
    found = difference(by_name(groups, "psg"), by_name(groups, "sgd-fp32"), groups)
    limit = found.mean - found.half + TOLERANCE
    expected = CONFIRMED if shift < 0 else NOT_CONFIRMED
    assert word("accuracy", limit + shift, groups, ("PSG", "32-bit SGD")) == expected


def test_more_needs_an_interval_above_zero_in_every_pair(groups):
    assert word("more", 0.1, groups, ("8-bit", "PSG")) == CONFIRMED
    assert word("more", 0.1, groups, ("PSG", "8-bit")) == NOT_CONFIRMED
    assert word("more", 0.1, groups, ("8-bit", "32-bit SGD")) == NOT_CONFIRMED  # holds zero
    pairs = (("8-bit", "PSG"), ("SignSGD", "PSG"))
    assert word("more", 0.1, groups, *pairs) == CONFIRMED  # what was not run does not count
    assert "1 of 2 pairs run" in judge(claim("more", 0.1, *pairs), groups).ours
    assert word("more", 0.1, groups, ("8-bit", "PSG"), ("PSG", "8-bit")) == NOT_CONFIRMED


def test_energy_of_the_accelerator_is_judged_and_that_of_float32_is_not(groups):
    assert word("energy", 50.0, groups, ("PSG", "8-bit")) == CONFIRMED
    assert word("energy", 50.1, groups, ("PSG", "8-bit")) == NOT_CONFIRMED
    found = judge(claim("energy", 1.0, ("PSG", "32-bit SGD")), groups)
    assert found.word == NOT_RUN
    assert "no float32 kernel exists for this board" in found.ours
    assert found.ours.startswith("87.50")


def test_savings_are_formed_seed_by_seed(tmp_path):
    runs = []
    for seed, (ours, theirs) in enumerate([(80.0, 100.0), (70.0, 100.0)]):
        for name, settings, joules in (("psg", PSG, ours), ("f", FIXED8, theirs)):
            folder = made_run(
                tmp_path / f"{name}{seed}", name, settings, seed=seed, joules=joules
            )  # fmt: skip
            runs.append(load_run(folder))
    found = groups_of(runs)
    saved = energy_saving(by_name(found, "psg"), by_name(found, "f"))
    assert saved.mean == pytest.approx(25.0)
    assert saved.half == pytest.approx(t.ppf(0.975, 1) * 7.0710678 / math.sqrt(2))


def test_records_without_modelled_joules_have_no_saving(tmp_path):
    found = groups_of(
        runs_of(tmp_path, "psg", PSG, [90.0], joules=None)
        + runs_of(tmp_path, "f", FIXED8, [90.0], joules=None)
    )
    assert word("energy", 1.0, found, ("PSG", "8-bit")) == NOT_RUN


def test_largest_size_decides(tmp_path):
    small = runs_of(tmp_path / "s", "sgd-fp32", SGD, [80.0, 80.1])
    small += runs_of(tmp_path / "s", "fixed8", FIXED8, [70.0, 70.1])
    large = runs_of(tmp_path / "l", "sgd-fp32", SGD, [90.0, 90.1], iterations=1200)
    large += runs_of(tmp_path / "l", "fixed8", FIXED8, [90.0, 90.1], iterations=1200)
    chosen = claim("accuracy", -0.28, ("8-bit", "32-bit SGD"))
    assert judge(chosen, groups_of(small)).word == NOT_CONFIRMED
    found = judge(chosen, groups_of(small + large))
    assert (found.word, found.size.iterations, found.seeds) == (CONFIRMED, 1200, (0, 1))
    only = judge(chosen, groups_of(small + large[:2]))  # the larger one lacks 8-bit training
    assert only.size.iterations == 600


@pytest.mark.parametrize(
    ("page", "row", "settings", "holds"),
    [
        ("table2", "32-bit SGD", SGD, True),
        ("table2", "32-bit SGD", {"train": {"lr": 0.2}, "swa": {"start": 0.5}}, True),  # free
        ("table2", "32-bit SGD", SMD, False),
        ("table2", "32-bit SGD", {"data": {"validation": 10}}, False),
        ("table2", "32-bit SGD", {"train": {"energy_ratio": 0.5}}, False),
        ("table2", "8-bit", {"method": {"arithmetic": "fixed", "input_gradient_bits": 16}}, False),
        ("table2", "8-bit", {"method": {"arithmetic": "fixed", "input_gradient_bits": 8}}, True),
        ("table2", "PSG", PSG | {"psg": {"beta": 0.1}}, False),
        ("table2", "SignSGD", {"method": {"update": "signsgd"}}, True),
        ("table3", "E2-Train, 20 %, beta 0.1",
         PSG | SMD | {"slu": {"skip": 0.2}, "psg": {"beta": 0.1}}, True),
        ("figure3", "SMB, 1", SGD, True),  # the rate that nobody set is 0.1
        ("figure3", "SMD, 6/12", SMD, True),
        ("figure3", "SMD, 1", SMD, False),
        ("figure3", "SMD, 8/12", SMD | {"train": {"energy_ratio": 0.67}}, True),
        ("open/input-gradient-bits", "PSG, 16 bits", PSG, True),
        ("open/input-gradient-bits", "PSG, 8 bits", PSG, False),
    ],
)  # fmt: skip
def test_rows_find_runs_by_their_settings(tmp_path, page, row, settings, holds):
    (group,) = groups_of(runs_of(tmp_path, "any name", settings, [90.0]))
    assert ROWS[page, row].holds(group) is holds


def test_rows_want_their_data_set_and_family(tmp_path):
    (other,) = groups_of(runs_of(tmp_path, "x", SGD, [70.0], network="mobilenet-v2"))
    assert not ROWS["table2", "32-bit SGD"].holds(other)
    assert ROWS["table4", "SMB, MobileNetV2, CIFAR-10"].holds(other)
    assert not ROWS["table4", "SMB, MobileNetV2, CIFAR-100"].holds(other)


def test_the_same_training_twice_is_refused(tmp_path):
    once = runs_of(tmp_path / "a", "sgd-fp32", SGD, [90.0])
    again = runs_of(tmp_path / "b", "other-name", SGD, [91.0])
    with pytest.raises(UserError, match="the same training and seed, twice"):
        groups_of(once + again)


def test_scatter_needs_as_many_seeds_as_the_paper_had(tmp_path):
    top1s = [90.0 + 0.05 * (seed % 2) for seed in range(10)]
    smd = SMD | {"train": {"energy_ratio": 0.67}}
    runs = runs_of(tmp_path, "smd", smd, top1s)
    pair = ("SMD, 8/12", "SMD, 8/12")
    assert word("spread", 0.132, groups_of(runs), pair, page="figure3") == CONFIRMED
    assert word("spread", 0.02, groups_of(runs), pair, page="figure3") == NOT_CONFIRMED
    assert word("spread", 0.132, groups_of(runs[:9]), pair, page="figure3") == NOT_RUN


def test_stages_compare_at_equal_energy(tmp_path):
    """8-bit training of the same simulated energy by its end, but less accurate there."""
    e2train = PSG | SMD | {"slu": {"skip": 0.2}}
    runs = runs_of(tmp_path, "e2train", e2train, [95.0, 95.1])
    runs += runs_of(tmp_path, "fixed8", FIXED8, [90.0, 90.1])
    pair = ("E2-Train, 20 %", "8-bit")
    assert word("stages", 0.0, groups_of(runs), pair, page="figure5") == CONFIRMED
    runs += runs_of(tmp_path, "sgd-fp32", SGD, [90.0, 90.1])
    against = ("E2-Train, 20 %", "SMB")
    assert word("stages", 0.0, groups_of(runs), against, page="figure5") == NOT_RUN


def test_claims_follow_from_the_papers_tables():
    (table2,) = [page for page in pages() if page.file == "table2"]
    figures = {(c.kind, c.pairs[0][0].name, c.pairs[0][1].name): c.paper for c in table2.claims}
    assert figures["accuracy", "PSG", "32-bit SGD"] == pytest.approx(92.59 - 93.52)
    assert figures["energy", "8-bit", "32-bit SGD"] == 38.62
    assert figures["energy", "PSG", "8-bit"] == pytest.approx(
        100 * (1 - (100 - 63.28) / (100 - 38.62)), abs=0.01
    )
    (table3,) = [page for page in pages() if page.file == "table3"]
    for one in table3.claims:
        if one.kind == "energy" and one.pairs[0][1].name == "8-bit":
            saved = one.pairs[0][0].printed.energy_saving
            assert one.paper == pytest.approx(100 * (1 - (100 - saved) / (100 - 38.62)), abs=0.01)


# ---- the scaled campaigns ------------------------------------------------------------------------

SCALED = Path(__file__).parents[2] / "experiments" / "campaigns" / "scaled"


@pytest.mark.parametrize("file", sorted(SCALED.glob("*.toml")), ids=lambda file: file.stem)
def test_each_scaled_cell_answers_a_row(tmp_path, file):
    """What is trained is shown: on a page's row, or among the predictor's runs."""
    for cell in load_campaign(file).cells:
        e = cell.experiment
        assert (e.network, e.train.iterations, e.train.batch) == ("resnet-20", 16_000, 128)
        assert (e.train.schedule, e.data.augment) == ("linear", True)
        assert e.lr == (0.1 if e.method.update == "sgd" else 0.01)
        folder = made_run(tmp_path / cell.id, cell.method, {}, iterations=100)
        (folder / "experiment.toml").write_text(e.as_toml())
        (group,) = groups_of([replace(load_run(folder), iterations=e.offered)])
        shown = [name for name, row in ROWS.items() if row.holds(group)]
        alone = e.method.update == "psg" and not (e.smd.drop or e.slu.skip)
        assert shown or (alone and (e.psg.beta, e.psg.x_msb_bits) != (0.05, 4)), cell.id


def test_no_training_is_in_two_scaled_campaigns():
    cells = [cell for file in SCALED.glob("*.toml") for cell in load_campaign(file).cells]
    seen = [replace(cell.experiment, name="") for cell in cells]
    assert len(cells) == 2 * 20
    assert all(one not in seen[:place] for place, one in enumerate(seen))


def test_claims_at_the_same_energy_compare_as_many_mini_batches(tmp_path):
    half = {"train": {"energy_ratio": 0.5}}
    two_thirds = {"train": {"energy_ratio": 0.67}}
    runs = runs_of(tmp_path, "smd", SMD, [92.0, 92.1])  # half of the mini-batches
    runs += runs_of(tmp_path, "smb-67", two_thirds, [95.0, 95.1])
    (same,) = [c for page in pages() for c in page.claims if c.equal and "CIFAR-10)" in c.says]
    assert judge(same, groups_of(runs)).word == NOT_RUN
    runs += runs_of(tmp_path, "smb-half", half, [90.0, 90.1])
    assert judge(same, groups_of(runs)).word == CONFIRMED
    runs += runs_of(tmp_path, "smd-67", SMD | two_thirds, [93.0, 93.1])  # the paper's share
    assert judge(same, groups_of(runs)).word == NOT_CONFIRMED
