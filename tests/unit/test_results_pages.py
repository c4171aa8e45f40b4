# SPDX-License-Identifier: Apache-2.0
"""docs/results is what `make results` makes of its packed runs and data."""

import re
import shutil
import struct
import zlib
from pathlib import Path

import pytest

from e2train.cli import run
from e2train.errors import UserError
from e2train.methods.sign_bound import Predictor
from e2train.report.render import render
from e2train.report.style import LIGHT
from e2train.results.build import build, write
from e2train.results.judge import CONFIRMED, NOT_CONFIRMED, NOT_RUN
from e2train.results.pack import pack
from e2train.results.predictor import Outcome, front, packs, read_table
from results_runs import FIXED8, PSG, SGD, made_run

RESULTS = Path(__file__).parents[2] / "docs" / "results"


@pytest.fixture(scope="module")
def committed():
    return build(RESULTS)


def description(png):
    """The text that a PNG says of itself."""
    place = 8
    while place < len(png):
        length, kind = struct.unpack(">I4s", png[place : place + 8])
        content = png[place + 8 : place + 8 + length]
        if kind in (b"tEXt", b"iTXt") and content.startswith(b"Description\0"):
            if kind == b"tEXt":
                return content.partition(b"\0")[2].decode("latin-1")
            _, flags = content.split(b"\0", 1)[0], content[len("Description") + 1 :]
            text = flags[2:].split(b"\0", 2)[2]
            return (zlib.decompress(text) if flags[0] else text).decode()
        place += 12 + length
    return None


def test_committed_pages_are_what_make_results_makes(committed):
    for name, text in committed.texts.items():
        assert (RESULTS / name).read_text(encoding="utf-8") == text, f"{name}: run make results"


def test_committed_figures_show_what_make_results_draws(committed):
    """By the numbers that each picture carries: its pixels are matplotlib's own."""
    files = {path.stem: path for path in (RESULTS / "figures").glob("*.png")}
    assert files.keys() == committed.charts.keys()
    for stem, (chart, _) in committed.charts.items():
        assert description(files[stem].read_bytes()) == chart.alt, f"{stem}: run make results"


def test_every_picture_on_a_page_exists_and_comes_before_the_tables(committed):
    for name, text in committed.texts.items():
        pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
        assert all((RESULTS / name).parent.joinpath(picture).exists() for picture in pictures)
        made = name != "README.md" and pictures
        assert not made or text.index("![") < (text + "\n|---").index("\n|---")


def test_every_claim_has_one_of_three_words(committed):
    for name, text in committed.texts.items():
        if name == "README.md" or name.startswith("open/"):
            continue
        claims = text.partition("## The claims")[2].partition("## The runs")[0]
        rows = [line for line in claims.splitlines() if line.startswith("| ")][1:]
        assert rows
        for row in rows:
            word = row.split("| **")[-1].removesuffix("** |")
            assert word in (CONFIRMED, NOT_CONFIRMED, NOT_RUN)


# ---- with runs of our own ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A copy of docs/results with packed runs of three methods."""
    folder = tmp_path_factory.mktemp("docs") / "results"
    ignored = shutil.ignore_patterns("cifar10-*", "*.png", "*.tar.xz")
    shutil.copytree(RESULTS, folder, ignore=ignored)
    runs = [
        made_run(folder.parent / f"{name}{seed}", name, settings, seed=seed,
                 top1=top1 + 0.1 * seed, joules=joules)
        for name, settings, top1, joules in (
            ("sgd-fp32", SGD, 91.0, 4000.0), ("fixed8", FIXED8, 90.9, 1000.0),
            ("psg", PSG, 90.6, 900.0),
        )
        for seed in (0, 1)
    ]  # fmt: skip
    pack(runs, folder / "logs" / "three.tar.xz")
    return folder


def test_a_packed_run_becomes_part_of_the_pages(filled):
    text = build(filled).texts["table2.md"]
    rows = {line.split(" | ")[0]: line for line in text.splitlines()}
    psg = rows["| PSG"]
    for part in ("92.59", "63.28", "psg: resnet-20, CIFAR-10 (JPEG), 600 iterations of 128", "0, 1",
                 "12.5", "41.00", "900", "10.00 ± 0.00"):  # fmt: skip
        assert f"| {part}" in psg, part
    assert "4,000 † |" in rows["| 32-bit SGD"]
    assert "no float32 kernel exists for this board" in text
    assert "| not run |" in rows["| SignSGD"]
    assert "90.65 ±" in psg


def test_figures_have_our_points_beside_the_papers(filled):
    charts = build(filled).charts
    alt = charts["table2-energy"][0].alt
    assert "PSG: -0.40 ±" in alt and "at 0.225" in alt
    assert "paper's PSG: -0.93 at 0.3672" in alt
    assert "PSG: 90.65 ±" in charts["table2-joules"][0].alt
    assert "SMB ends at" in charts["figure5-stages"][0].alt
    assert charts["table2-energy"][1].startswith("resnet-20, CIFAR-10 (JPEG), 600")


def test_writing_is_repeatable_and_removes_old_figures(filled):
    (filled / "figures" / "old.png").write_bytes(b"x")
    made = build(filled)
    few = type(made)(made.texts, {"table2-energy": made.charts["table2-energy"]})
    write(filled, few)
    chart, place = made.charts["table2-energy"]
    assert [path.name for path in (filled / "figures").iterdir()] == ["table2-energy.png"]
    assert (filled / "figures" / "table2-energy.png").read_bytes() == render(chart, LIGHT, place)
    assert build(filled).texts == made.texts


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("README.md", "no marks", "expected one pair of marks"),
        ("data/predictor-signs.csv", "nothing\n", "not a table of sign errors"),
        ("data/predictor-signs.csv", None, "No such file"),
        ("logs/x.tar.xz", "broken", "not an archive of runs"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, file, content, said):
    folder = tmp_path / "results"
    shutil.copytree(RESULTS, folder, ignore=shutil.ignore_patterns("cifar10-*", "*.png"))
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content)
    assert run(["results", "build", str(folder)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_no_folder(tmp_path, capsys):
    assert run(["results", "build", str(tmp_path / "no")]) == 2
    assert "no such folder" in capsys.readouterr().err


# ---- predictors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "g", "truncate", "expected"),
    [(4, 10, False, True), (5, 10, False, False), (5, 9, False, True), (6, 8, False, True),
     (4, 10, True, False), (2, 12, False, True)],
)  # fmt: skip
def test_two_products_share_a_dsp_below_16_bits(x, g, truncate, expected):
    """docs/hardware.md: 16 columns of a 4x10 row reach 57,232, below 2^16."""
    assert packs(Predictor(0.05, x, g, truncate)) is expected


def test_front_is_what_no_other_beats():
    made = [
        Outcome(Predictor(beta), 0.5, wrong, seconds, 1.0)
        for beta, wrong, seconds in ((0.1, 0.3, 1.0), (0.2, 0.2, 2.0), (0.3, 0.25, 3.0),
                                     (0.4, 0.1, 3.0), (0.5, 0.1, 4.0))
    ]  # fmt: skip
    assert [one.predictor.beta for one in front(made)] == [0.1, 0.2, 0.4]


def test_counts_agree_with_the_table_on_the_page(committed):
    """The paper's predictor, summed up from the file by hand."""
    lines = (RESULTS / "data" / "predictor-signs.csv").read_text().splitlines()[2:]
    own = [line.split(",") for line in lines if ",4,10,rounded,0.05," in line]
    weights, predicted, wrong = (sum(int(row[i]) for row in own) for i in (5, 6, 7))
    assert len(own) == 19  # the convolutions of ResNet-20
    row = f"| {100 * predicted / weights:.1f} | {100 * wrong / predicted:.2f} | "
    assert row + f"{100 * wrong / weights:.2f} |" in committed.texts["open/predictor.md"]


def test_wide_slices_take_longer_and_more_unsure_weights_too():
    table = read_table(RESULTS / "data" / "predictor-signs.csv")
    by = {one.predictor: one for one in table.outcomes}
    assert by[Predictor(0.05, 5, 9)].seconds < by[Predictor(0.1, 5, 9)].seconds
    # slices of 4 bits lie two to a byte and take a quarter of the steps; wider ones do not fit
    assert by[Predictor(0.05, 4, 10)].relative < 1 < by[Predictor(0.05, 5, 9)].relative


def test_a_table_of_another_kind_is_refused(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("# network=resnet-20; batch=128\nlayer,weights\na,1\n")
    with pytest.raises(UserError, match="not a table of sign errors"):
        read_table(file)
