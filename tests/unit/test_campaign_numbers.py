# SPDX-License-Identifier: Apache-2.0
"""Idle subtraction, confidence intervals, ratios and the report that shows them."""

import csv
import json
import math
import random
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_results import finish
from e2train.campaign import live
from e2train.campaign.idle import above_idle
from e2train.campaign.live import live_page, write_live_page
from e2train.campaign.plan import load_campaign
from e2train.campaign.statistics import Group, estimate, export, ratios, saving
from e2train.campaign.status import snapshot
from e2train.campaign.store import Claim, Store
from e2train.campaign.tables import details_table, quantities, words
from e2train.errors import UserError
from e2train.report import html
from e2train.report.paper import paper_tables, repeated_rows
from powermeter import Joules, WindowResult
from powermeter.energy.budget import Budget

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CAMPAIGNS = Path(__file__).resolve().parents[2] / "experiments" / "campaigns"


def window(joules=300.0, seconds=100.0, gain=0.0, own=0.0, provenance="metered", reason=""):
    """A window of a meter whose gain is unsure by `gain` (a share, k = 1), and `own` joules."""
    budget = Budget({"gain": gain * joules}, {"count": own})
    energy = Joules(joules, 2 * math.hypot(gain * joules, own), provenance)
    return WindowResult(
        energy, joules / seconds, 1000, 1.0, 0.0, not reason, reason, seconds, None, budget
    )


def idle(watts, **facts):
    return window(joules=10 * watts, seconds=10.0, **facts)


def test_energy_above_idle_by_hand():
    """300 J in 100 s; idle 2.6 W before and 2.8 W after: 300 - 2.7 · 100 = 30 J.

    Standard uncertainties: 1 J of the window; 0.1 J in each idle run of 10 s is 0.01 W, and their
    mean's 0.01 W / √2 · 100 s = 0.707 J; drift 0.1 W / √3 · 100 s = 5.774 J. Stated is twice that.
    """
    net = above_idle(window(own=1.0), idle(2.6, own=0.1), idle(2.8, own=0.1))
    assert net.joules == pytest.approx(30.0)
    assert net.uncertainty == pytest.approx(2 * math.sqrt(1 + 0.5 + 100 / 3))
    assert net.missing is None


def test_the_meters_gain_error_scales_what_is_left():
    """One gain for all three windows: 1 % of 300 - 260 J, not of 300 and of 260 J apart."""
    net = above_idle(window(gain=0.01), idle(2.6, gain=0.01), idle(2.6, gain=0.01))
    assert net.joules == pytest.approx(40.0)
    assert net.uncertainty == pytest.approx(2 * 0.4)


def test_energy_below_idle_stays_negative():
    assert above_idle(window(joules=250.0), idle(2.6), idle(2.6)).joules == pytest.approx(-10.0)


@pytest.mark.parametrize(
    ("found", "before", "after", "said"),
    [
        (None, idle(1), idle(1), "no meter"),
        (window(reason="a gap"), idle(1), idle(1), "a gap"),
        (window(), None, idle(1), "no idle run before"),
        (window(), idle(1), None, "no idle run after"),
        (window(), idle(1), idle(1, reason="only 3 readings"), "idle run after: only 3 readings"),
        (window(), idle(1, provenance="simulated"), idle(1), "idle run before is simulated"),
    ],
)
def test_energy_above_idle_says_why_there_is_none(found, before, after, said):
    net = above_idle(found, before, after)
    assert (net.joules, net.uncertainty, net.missing) == (None, None, said)


@pytest.mark.parametrize(
    # t(0.975) as statistical tables print it
    ("n", "quantile"),
    [(2, 12.706), (3, 4.303), (5, 2.776), (10, 2.262), (20, 2.093)],
)
def test_student_interval_against_the_printed_table(n, quantile):
    values = [float(number) for number in range(n)]
    mean = sum(values) / n
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    found = estimate(values)
    assert found.mean == pytest.approx(mean)
    assert found.half == pytest.approx(quantile * deviation / math.sqrt(n), rel=2e-4)


def test_intervals_of_none_and_of_one():
    assert estimate([]) is None
    one = estimate([5.0])
    assert (one.mean, one.half, one.n) == (5.0, None, 1)


def test_interval_holds_the_true_mean_in_95_of_100_cases():
    chance = random.Random(7)
    inside = 0
    for _ in range(2000):
        found = estimate([chance.gauss(10.0, 2.0) for _ in range(4)])
        inside += abs(found.mean - 10.0) <= found.half
    assert 0.935 < inside / 2000 < 0.965


def group(method, energies, provenance="metered"):
    rows = tuple(
        {"seed": seed, "energy_j": joules, "energy_provenance": provenance, "modelled_j": 1.0}
        for seed, joules in energies.items()
    )
    return Group(method, method, "resnet-8", "digits", rows)


@given(st.floats(0.1, 10), st.lists(st.floats(1, 100), min_size=2, max_size=6))
def test_ratios_are_formed_within_a_seed(factor, drift):
    """However the machine drifts from seed to seed, a constant factor comes out as it is."""
    base = group("a", dict(enumerate(drift)))
    other = group("b", {seed: factor * joules for seed, joules in enumerate(drift)})
    found = ratios(other, base, "energy_j", "metered")
    assert found.mean == pytest.approx(factor) and found.half == pytest.approx(0.0, abs=1e-9)
    assert saving(found).mean == pytest.approx(100 * (1 - factor))


def test_joules_of_different_provenance_are_not_compared():
    base, other = group("a", {0: 10.0}), group("b", {0: 5.0}, "simulated")
    assert ratios(other, base, "energy_j", "metered") is None
    assert ratios(other, base, "energy_j", "simulated") is None


def test_words():
    assert words(None) == "–"
    assert words(estimate([12.0, 12.2])) == "12.1 ± 1.3"
    assert words(estimate([-3.0])) == "−3.000"


# ---- a store with two methods, one metered, and its outputs --------------------------------------

TEXT = """
name = "numbers"
on = [["resnet-8", "digits"]]
seeds = [0, 1]
baseline = "sgd-fp32"
[[methods]]
name = "sgd-fp32"
[[methods]]
name = "psg"
method = { arithmetic = "fixed", update = "psg" }
[[methods]]
name = "smd"
smd = { drop = 0.5 }
"""


@pytest.fixture
def store(tmp_path):
    file = tmp_path / "numbers.toml"
    file.write_text(TEXT)
    store = Store.create(tmp_path / "campaign")
    store.enter(load_campaign(file), "simulated")
    for seed, (base, psg) in enumerate(((100.0, 40.0), (110.0, 44.0))):
        finish(store, f"sgd-fp32.resnet-8.digits.seed{seed}", base, "metered", 98.0 + seed)
        finish(store, f"psg.resnet-8.digits.seed{seed}", psg, "metered", 97.0)
    finish(store, "smd.resnet-8.digits.seed0", 55.5, "simulated", 96.0)
    return store


def test_report_of_the_store(store, tmp_path):
    pytest.importorskip("matplotlib")
    from e2train.campaign.report import write_report

    written = write_report(store, tmp_path / "out")
    assert written.headline.startswith("psg on resnet-8: 60.00 ± 0.00 % less energy (metered)")
    summary = json.loads(written.summary.read_text())
    rows = {row["method"]: row for row in summary["rows"]}
    assert rows["psg"]["saving_metered"]["mean"] == pytest.approx(60.0)
    assert rows["psg"]["net_saving_metered"]["mean"] == pytest.approx(60.0)
    assert rows["psg"]["time_metered_s"]["mean"] == pytest.approx(14.0)
    assert rows["smd"]["energy_metered_j"] is None
    assert rows["smd"]["energy_simulated_j"] == {"mean": 55.5, "half": None, "n": 1}
    assert rows["smd"]["saving_simulated"] is None
    page = written.page.read_text()
    assert "1 of 6 cells have not finished" in page and "<script" not in page
    names = {path.name for path in written.figures}
    assert "accuracy-energy-ratio-resnet-8-digits-metered.png" in names
    assert "energy-iterations-resnet-8-digits-simulated.png" in names
    assert all(path.stat().st_size > 5000 for path in written.figures)


def test_simulated_joules_never_stand_below_another_heading(store):
    from e2train.campaign.statistics import groups

    found = groups(store)
    table = quantities(found, "sgd-fp32")
    smd = next(one for one in found if one.method == "smd")
    for column in table:
        value = column.value(smd)
        if value is not None and value.mean == pytest.approx(55.5):
            assert "simulated" in column.heading
        if "metered" in column.heading:
            assert value is None
    rows = {row.name: row.cells for row in details_table(found, table, "caption").rows}
    assert any("55.50" in cell for cell in rows["smd"])


def test_report_without_a_finished_cell(tmp_path):
    pytest.importorskip("matplotlib")
    from e2train.campaign.report import write_report

    file = tmp_path / "numbers.toml"
    file.write_text(TEXT)
    store = Store.create(tmp_path / "campaign")
    store.enter(load_campaign(file), "none")
    with pytest.raises(UserError, match="no cell has finished yet"):
        write_report(store, tmp_path)


def test_csv_holds_every_cell_and_every_digit(store, tmp_path):
    cells, points = export(store, tmp_path / "csv")
    rows = list(csv.DictReader(cells.open()))
    assert [row["state"] for row in rows].count("finished") == 5 and len(rows) == 6
    psg = next(row for row in rows if row["cell"] == "psg.resnet-8.digits.seed1")
    assert float(psg["energy_j"]) == 44.0 and float(psg["window_s"]) == 44.0 / 3
    assert int(psg["bit_operations"]) == 10**19 and psg["energy_provenance"] == "metered"
    assert psg["raw_sha256"] == "ab" * 32
    assert len(list(csv.DictReader(points.open()))) == 5 * 4


def test_snapshot_and_live_page(store, tmp_path):
    running = Claim("smd.resnet-8.digits.seed1", "t", "w", "h", 10.0)
    assert store.claim(running)
    store.release(running, "failed", "failed", "<b>no & meter</b>")
    seen = snapshot(store)
    assert seen.sentence == "5 of 6 cells finished, 1 failed"
    assert json.loads(json.dumps(seen.as_dict()))["counts"] == {"finished": 5, "failed": 1}
    page = live_page(seen, over=False)
    assert "&lt;b&gt;no &amp; meter" in page and "<b>" not in page
    assert 'http-equiv="refresh"' in page and 'http-equiv="refresh"' not in live_page(seen, True)
    assert "http://" not in page and "https://" not in page and "<script" not in page
    write_live_page(tmp_path, seen)
    assert [path.name for path in tmp_path.glob("live*")] == ["live.html"]


def test_live_page_is_left_out_without_jinja2(store, tmp_path, monkeypatch, capsys):
    """A board without jinja2 runs its campaign all the same, and says so once."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    for remembered in (live._can_write_pages, html.environment):
        remembered.cache_clear()
    try:
        write_live_page(tmp_path, snapshot(store))
        write_live_page(tmp_path, snapshot(store), over=True)
    finally:
        live._can_write_pages.cache_clear()
    assert capsys.readouterr().err.splitlines() == [
        "no live.html: the HTML pages need jinja2: pip install e2train[report]"
    ]
    assert not (tmp_path / "live.html").exists()


# ---- both baselines ------------------------------------------------------------------------------

BOTH = """
name = "both"
on = [["resnet-8", "digits"]]
seeds = [0, 1]
baseline = "plain"
[[methods]]
name = "plain"
[[methods]]
name = "eight"
method = { arithmetic = "fixed" }
[[methods]]
name = "e2train"
train = { energy_ratio = 0.67 }
method = { arithmetic = "fixed", update = "psg" }
smd = { drop = 0.5 }
slu = { skip = 0.2, gated = "all" }
"""


def both(tmp_path, joules, provenance="simulated"):
    """A store of these joules by method and seed; methods that are not named do not run."""
    file = tmp_path / "both.toml"
    file.write_text(BOTH)
    store = Store.create(tmp_path / "campaign")
    store.enter(load_campaign(file), "simulated")
    for method, values in joules.items():
        for seed, value in enumerate(values):
            finish(store, f"{method}.resnet-8.digits.seed{seed}", value, provenance, 97.0)
    return store


def opened(store, out):
    """The written report, its comparisons by baseline, and what the page says before figures."""
    pytest.importorskip("matplotlib")
    from e2train.campaign.report import write_report

    written = write_report(store, out)
    summary = json.loads(written.summary.read_text())
    assert list(summary)[:3] == ["schema", "headline", "comparisons"]
    page = written.page.read_text().partition("<figure>")[0]
    return written, {one["baseline"]: one for one in summary["comparisons"]}, page


def test_more_energy_than_8_bit_training_is_said_first(tmp_path):
    """143 J against 100 J and 160 J against 110 J: 44.2 % more; recognised whatever its name."""
    joules = {"plain": (500.0, 560.0), "eight": (100.0, 110.0), "e2train": (143.0, 160.0)}
    written, found, page = opened(both(tmp_path, joules), tmp_path / "out")
    more = 100 * ((143 / 100 - 1) + (160 / 110 - 1)) / 2
    less = 100 * ((1 - 143 / 500) + (1 - 160 / 560)) / 2
    assert found["fixed8"]["energy_saving"] == pytest.approx(-more)
    assert found["sgd-fp32"]["energy_saving"] == pytest.approx(less)
    assert (found["fixed8"]["run"], found["sgd-fp32"]["run"]) == ("eight", "plain")
    assert found["sgd-fp32"]["hypothetical"] and not found["fixed8"]["hypothetical"]
    assert {one["energy_provenance"] for one in found.values()} == {"simulated"}
    for text in (written.headline, page):
        assert re.search(r"44 ± \d+ % more than eight", text)
    assert "no float32 kernel exists" in page


def test_a_campaign_without_8_bit_training_says_so(tmp_path):
    joules = {"plain": (500.0, 560.0), "e2train": (143.0, 160.0)}
    written, found, page = opened(both(tmp_path, joules, "metered"), tmp_path / "out")
    assert found["fixed8"]["energy_saving"] is None
    assert "No finished run of 8-bit fixed-point training" in page
    assert "no comparison with fixed8" in written.headline
    assert not found["sgd-fp32"]["hypothetical"]
    assert "at the supply of the machine that computed in float32" in page


# ---- the paper's printed figures -----------------------------------------------------------------


def test_every_row_that_a_committed_campaign_names_is_printed_in_the_paper():
    """Each file that repeats a table shows every row of it that it can run."""
    repeated = {}
    for file in sorted(CAMPAIGNS.glob("*.toml")):
        campaign = load_campaign(file)
        places = [(cell.method, cell.network, cell.dataset) for cell in campaign.cells]
        chosen = tomllib.loads(campaign.text).get("paper", {})
        rows = set(repeated_rows(chosen, places, str(file)).values())
        if rows:
            repeated[file.stem] = rows
    assert sorted(repeated) == ["table1", "table2", "table3", "table4"]
    for name, rows in repeated.items():
        assert rows == set(paper_tables()[name].rows)


def test_printed_savings_follow_the_papers_closed_form():
    """A misprint in the data would show: 1 - 2/3 · (1 - skip) · 0.37 gives every one of table 3."""
    for row in paper_tables()["table3"].rows:
        skip = float(row.row.split()[0]) / 100
        assert row.computational_saving == pytest.approx(
            100 * (1 - 2 / 3 * (1 - skip) * 0.37), abs=0.01
        )


@pytest.mark.parametrize(
    ("paper", "said"),
    [
        ('table = "table9"\nrows = { plain = "SMB" }', "paper.table = 'table9': expected one of"),
        ('table = "table2"', "paper.rows = None"),
        ('table = "table2"\nrows = { plain = "Adam" }', "'Adam': table2 has the rows '32-bit SGD'"),
        ('table = "table2"\nrows = { adam = "PSG" }', "'adam' is no method"),
        ('table = "table2"\nrows = { plain = "PSG" }', "where this campaign does not run"),
        ('table = "table2"\nrow = "PSG"', "unknown key paper.row"),
    ],
)
def test_a_wrong_reference_to_the_paper_is_one_line(tmp_path, paper, said):
    file = tmp_path / "wrong.toml"
    file.write_text(BOTH.replace("[[methods]]", f"[paper]\n{paper}\n[[methods]]", 1))
    with pytest.raises(UserError) as caught:
        load_campaign(file)
    assert said in str(caught.value) and str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_papers_figures_stand_beside_ours(tmp_path):
    pytest.importorskip("matplotlib")
    from e2train.campaign.report import write_report

    campaign = load_campaign(CAMPAIGNS / "table2.toml")
    store = Store.create(tmp_path / "campaign")
    store.enter(campaign, "simulated")
    for cell in campaign.cells:
        if cell.seed < 2:
            finish(store, cell.id, 100.0 + cell.seed, "simulated", 90.0)
    written = write_report(store, tmp_path / "out")
    rows = {row["method"]: row for row in json.loads(written.summary.read_text())["rows"]}
    assert (rows["psg"]["paper"]["top1"], rows["psg"]["paper"]["energy_saving"]) == (92.59, 63.28)
    assert rows["signsgd"]["paper"]["energy_saving"] is None
    page = written.page.read_text()
    assert "Energy saving, paper, metered by its authors [%]" in page
    assert "<td>63.28</td>" in page and "<td>92.59</td>" in page
