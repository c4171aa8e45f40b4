# SPDX-License-Identifier: Apache-2.0
"""Campaign files: the product of methods, places and seeds, its order, and every mistake's line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2train.campaign.plan import load_campaign
from e2train.errors import UserError

FOLDER = Path(__file__).parents[2] / "experiments" / "campaigns"
PAPER = sorted(path for path in FOLDER.glob("*.toml") if path.stem != "demo")
HEAD = 'on = [["resnet-8", "digits"]]\nseeds = [3, 1]\n'


def load(tmp_path: Path, text: str):
    file = tmp_path / "c.toml"
    file.write_text(text)
    return load_campaign(file)


def test_product_of_methods_places_seeds_and_sweeps(tmp_path):
    text = """
    on = [["resnet-8", "digits"], ["resnet-20", "cifar10"]]
    seeds = [3, 1]
    base = { train = { iterations = 7, lr = 0.5 } }
    [[methods]]
    name = "a"
    train = { lr = 0.25 }
    [[methods]]
    name = "b"
    on = [["resnet-8", "digits"]]
    seeds = [1]
    slu = { gated = "all" }
    sweep = { "slu.skip" = [0.2, 0.4], "psg.beta" = [0.05] }
    """
    cells = load(tmp_path, text).cells
    assert {cell.id for cell in cells} == {
        "a.resnet-8.digits.seed3", "a.resnet-20.cifar10.seed3",
        "a.resnet-8.digits.seed1", "a.resnet-20.cifar10.seed1",
        "b-skip0.2-beta0.05.resnet-8.digits.seed1", "b-skip0.4-beta0.05.resnet-8.digits.seed1",
    }  # fmt: skip
    one = next(cell for cell in cells if cell.method == "b-skip0.4-beta0.05")
    assert one.experiment.slu.gated == "all"  # a sweep goes beside the method's own settings
    assert (one.family, one.experiment.slu.skip, one.experiment.train.lr) == ("b", 0.4, 0.5)
    other = next(cell for cell in cells if cell.id == "a.resnet-20.cifar10.seed3")
    assert other.experiment.train.lr == 0.25 and other.experiment.train.iterations == 7
    assert other.experiment.train.seed == 3 and other.experiment.data.name == "cifar10"


def test_interleaved_runs_seed_by_seed(tmp_path):
    text = HEAD + "".join(f'[[methods]]\nname = "{name}"\n' for name in "abc")
    cells = load(tmp_path, text).cells
    assert [(cell.method, cell.seed) for cell in cells] == [
        ("a", 3), ("b", 3), ("c", 3), ("a", 1), ("b", 1), ("c", 1),
    ]  # fmt: skip


@given(st.integers(0, 1 << 40))
def test_randomised_is_a_permutation_within_each_seed(tmp_path_factory, seed):
    text = f'order = "randomised"\norder_seed = {seed}\n' + HEAD
    text += "".join(f'[[methods]]\nname = "m{number}"\n' for number in range(6))
    folder = tmp_path_factory.mktemp("plan")
    cells = load(folder, text).cells
    assert [cell.seed for cell in cells] == [3] * 6 + [1] * 6
    assert {cell.method for cell in cells[:6]} == {cell.method for cell in cells[6:]}
    assert cells == load(folder, text).cells


def test_randomised_orders_differ(tmp_path):
    methods = "".join(f'[[methods]]\nname = "m{number}"\n' for number in range(8))
    head = 'order = "randomised"\n' + HEAD
    orders = {
        tuple(cell.method for cell in load(tmp_path, f"order_seed = {n}\n" + head + methods).cells)
        for n in range(20)
    }
    assert len(orders) == 20


def test_fine_tuning_starts_from_the_cell_of_its_own_seed(tmp_path):
    text = HEAD + '[[methods]]\nname = "p"\n[[methods]]\nname = "f"\nafter = "p"\n'
    cells = {cell.id: cell for cell in load(tmp_path, text).cells}
    found = cells["f.resnet-8.digits.seed1"]
    assert found.after == "p.resnet-8.digits.seed1"
    assert found.experiment.finetune.checkpoint == "../p.resnet-8.digits.seed1/checkpoint.npz"


METHOD = '[[methods]]\nname = "a"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (METHOD, "missing key on"),
        (HEAD, "methods: expected at least one"),
        ("on = 3\n" + METHOD, "on = 3: expected pairs"),
        ("speed = 3\n" + HEAD + METHOD, "unknown key 'speed': expected one of name, order"),
        ('order = "any"\n' + HEAD + METHOD, "order = 'any': expected interleaved or randomised"),
        ('name = "../x"\n' + HEAD + METHOD, "name = '../x': expected letters"),
        ('baseline = "z"\n' + HEAD + METHOD, "baseline = 'z': expected the name of a method"),
        ("idle_seconds = -1\n" + HEAD + METHOD, "idle_seconds = -1: expected 0 to 86400"),
        (HEAD + METHOD + METHOD, "a.resnet-8.digits.seed3 is listed twice"),
        (HEAD + METHOD + "train = { iterations = 0 }", "train.iterations = 0: expected 1 or more"),
        (HEAD + METHOD + "train = { speed = 1 }", "unknown key 'train.speed'"),
        (HEAD + METHOD + "train = { seed = 1 }", "train.seed: not for a method to set"),
        (HEAD + METHOD + 'network = "resnet-20"', "network: not for a method to set"),
        (HEAD + METHOD + 'after = "b"', "comes after b.resnet-8.digits.seed3, which is no cell"),
        (HEAD + METHOD + 'after = "a"', "comes after itself"),
        (HEAD + METHOD + "seeds = [1, 1]", "seeds = [1, 1]: expected distinct whole numbers"),
        (HEAD + METHOD + 'sweep = { "train.lr" = 3 }', "expected a list of numbers for 'train.lr'"),
        (HEAD + METHOD + 'sweep = { "train.lr.x" = [3] }', "train.lr = {'x': 3}: expected float"),
        ('on = [["resnet-9", "digits"]]\n' + METHOD, "network = 'resnet-9'"),
        ('on = [["resnet-8", "mnist"]]\n' + METHOD, "data.name = 'mnist'"),
        ("on = [", "not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path, text, said):
    with pytest.raises(UserError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert said in message and str(tmp_path / "c.toml") in message
    assert "\n" not in message or said == "not TOML"


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        load_campaign(tmp_path / "none.toml")


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.toml")), ids=lambda path: path.stem)
def test_ready_files_load(path):
    campaign = load_campaign(path)
    assert campaign.name in (path.stem, f"campaign-{path.stem}", f"scaled-{path.stem}")
    assert path.read_text().startswith("# ")
    assert campaign.order == "randomised" and campaign.idle_s > 0


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_ready_files_have_the_papers_settings(path):
    """Section 4.1: 64,000 iterations of SGD, batch 128, 0.1 (PSG 0.03) dropped at 1/2 and 3/4."""
    for cell in load_campaign(path).cells:
        e = cell.experiment
        assert (e.train.batch, e.train.momentum, e.train.weight_decay) == (128, 0.9, 1e-4)
        assert e.train.drops == (0.5, 0.75) and e.train.drop_factor == 0.1 and e.data.augment
        assert e.smd.drop in (0.0, 0.5)
        if e.finetune.checkpoint is None:
            assert e.train.iterations == 64_000
            if cell.family != "smb":
                assert e.lr == (0.03 if e.method.update != "sgd" else 0.1)
        if e.method.update == "psg":
            assert (e.psg.x_msb_bits, e.psg.g_msb_bits) == (4, 10) and e.swa.start < 1
            assert e.method.arithmetic == "fixed"


def cells_of(stem):
    return load_campaign(FOLDER / f"{stem}.toml").cells


def test_tables_and_figures_have_the_papers_cells():
    assert {(c.network, c.dataset) for c in cells_of("table1")} == {
        ("resnet-110", "cifar10"), ("resnet-74", "cifar100"),
    }  # fmt: skip
    assert {c.method for c in cells_of("table2")} == {"sgd-fp32", "fixed8", "signsgd", "psg"}
    table3 = {(c.experiment.slu.skip, c.experiment.psg.beta) for c in cells_of("table3")}
    assert table3 >= {(skip, beta) for skip in (0.2, 0.4, 0.6) for beta in (0.05, 0.1)}
    assert {(c.network, c.dataset, c.family) for c in cells_of("table4")} == {
        ("resnet-110", data, method)
        for data in ("cifar10", "cifar100")
        for method in ("sgd-fp32", "sd", "e2train")
    } | {
        ("mobilenet-v2", data, method)
        for data in ("cifar10", "cifar100")
        for method in ("sgd-fp32", "e2train-unskipped")
    }
    ratios = {c.experiment.train.energy_ratio for c in cells_of("figure3a") if c.family == "smd"}
    assert {round(12 * ratio) for ratio in ratios} == {6, 7, 8, 9, 10, 11, 12}
    rates = {c.experiment.lr for c in cells_of("figure3b") if c.family == "smb"}
    assert sorted(rates) == [0.1, 0.12, 0.14, 0.16, 0.18, 0.2]
    assert {c.family for c in cells_of("figure4")} == {"sgd-fp32", "sd", "slu", "slu-smd"}
    assert {c.family for c in cells_of("figure5")} == {
        "sgd-fp32",
        "sd",
        "slu",
        "slu-smd",
        "e2train",
    }
    halves = {c.method: c.experiment.data.half for c in cells_of("finetune")}
    assert halves == {"pretrain": "first", "finetune-last": "second", "finetune-e2train": "second"}
    assert len({c.seed for c in cells_of("slu-trials")}) == 20
