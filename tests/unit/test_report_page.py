# SPDX-License-Identifier: Apache-2.0
"""The written report: well-formed, self-contained, escaped, and honest about provenance."""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import typer
from markupsafe import escape
from numpy.typing import NDArray
from typer.testing import CliRunner

from e2train.cli.report import report as report_command
from e2train.data import load_dataset
from e2train.errors import UserError
from e2train.report import CHARTS, write_report
from e2train.report.style import DARK, LIGHT, cell_styles, joules, shown
from e2train.runs.answers import answers_of, write_answers
from e2train.runs.load import load_runs
from report_folders import CELLS, Made, make_run, make_runs

matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
VOID = {"meta", "img", "source", "br", "hr", "link", "input"}
HOSTILE = "</td><script>alert('1')</script>&amp; \"$\\frac{x}$\" _{\n}"


class Page(HTMLParser):
    """Collects what the tests ask about, and fails on tags that do not pair up."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.headings: list[str] = []
        self.captions: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag in VOID:
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if tag == "figcaption":
            self.captions.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if {"th", "td"} & set(self.open):
            self.rows[-1][-1] += data
        if "figcaption" in self.open:
            self.captions[-1] += data


def page_of(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def check_self_contained(folder: Path) -> None:
    """No reference leaves the page, and every image is a PNG with an alternative text."""
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"@import|url\(", text)
    for tag, attributes in Page(text).tags:
        assert tag not in ("script", "link", "iframe", "object", "base")
        for name in ("src", "href", "srcset", "action", "data"):
            if name in attributes:
                kind, _, payload = attributes[name].partition(",")
                assert kind == "data:image/png;base64"
                assert base64.b64decode(payload, validate=True).startswith(b"\x89PNG\r\n")
        if tag == "img":
            assert len(attributes["alt"]) > 20


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    runs = make_runs(folder, samples=5000)
    digits = load_dataset("digits")
    said = (digits.test_labels + (np.arange(len(digits.test_labels)) % 20 == 0)) % 10
    write_answers(runs[-1], answers_of(digits, said, np.linspace(0.0, 1.0, len(said))))
    write_report([folder])
    return folder


def test_page_is_whole_and_self_contained(demo: Path) -> None:
    check_self_contained(demo)
    page = page_of(demo)
    assert sum(tag == "img" for tag, _ in page.tags) == len(CHARTS)
    assert "e2train: 96.1 % top-1, 88 % less energy (simulated)" in page.text
    assert len(json.loads((demo / "summary.json").read_text())["cells"]) == len(CELLS)


def test_figures_are_pngs_wide_enough_for_a_desk(demo: Path) -> None:
    from PIL import Image

    assert sorted(file.stem for file in (demo / "figures").iterdir()) == sorted(CHARTS)
    for file in (demo / "figures").iterdir():
        with Image.open(io.BytesIO(file.read_bytes())) as image:
            assert image.width >= 1000 and image.height >= 600
            assert len(np.unique(np.asarray(image.convert("L")))) > 20


def test_every_caption_says_data_network_seed_and_provenance(demo: Path) -> None:
    captions = page_of(demo).captions
    assert len(captions) == len(CHARTS)
    for caption in captions:
        for word in ("digits", "resnet-8", "seed 0", "simulated"):
            assert word in caption


def test_plots_stand_before_tables(demo: Path) -> None:
    tags = [tag for tag, _ in page_of(demo).tags]
    assert max(i for i, tag in enumerate(tags) if tag == "figure") < tags.index("table")


def test_table_holds_the_numbers_and_their_provenance(demo: Path) -> None:
    head, *rows = page_of(demo).rows[: len(CELLS) + 1]
    for heading in head:
        if "[J]" in heading or "Energy" in heading:
            assert "simulated" in heading or "modelled" in heading
        assert "measured" not in heading
    cells = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    assert list(cells) == [cell.name for cell in CELLS]
    assert cells["e2train"]["Energy saving, simulated [%]"] == "88.0"
    assert cells["e2train"]["Energy, simulated [J]"] == "13.20 ± 0.20"
    assert cells["e2train"]["Iterations run of offered"] == "300 of 600"
    assert cells["psg"]["Skip ratio [%]"] == "–"
    assert cells["psg"]["MAC saving [%]"].startswith("−")


def test_report_of_the_same_runs_is_the_same(demo: Path, tmp_path: Path) -> None:
    write_report([demo], tmp_path)
    assert (tmp_path / "report.html").read_bytes() == (demo / "report.html").read_bytes()


def test_mixed_provenance_has_a_column_each(tmp_path: Path) -> None:
    cells = (
        CELLS[0],
        Made("psg", 96.0, 0.2, predicts=True, provenance="metered"),
        Made("slu", 95.0, 0.5, skips=True, provenance="on-chip"),
        Made("smd", 95.0, 0.5, provenance=None),
    )
    make_runs(tmp_path, cells)
    write_report([tmp_path])
    page = page_of(tmp_path)
    head, *rows = page.rows[: len(cells) + 1]
    own = {"sgd-fp32": "simulated", "psg": "metered", "slu": "on-chip", "smd": None}
    for row in rows:
        cell = dict(zip(head, row, strict=True))
        for provenance in ("simulated", "metered", "on-chip"):
            has_joules = cell[f"Energy, {provenance} [J]"] != "–"
            assert has_joules == (own[row[0]] == provenance)
    assert "joules of different provenance are not compared" in page.text
    assert "smd: no energy" in page.text


def test_running_and_torn_runs_are_marked(tmp_path: Path) -> None:
    make_run(tmp_path / "sgd-fp32", CELLS[0])
    folder = make_run(tmp_path / "e2train", CELLS[5], until=240)
    with open(folder / "events.jsonl", "a") as stream:
        stream.write('{"event": "prog')
    write_report([tmp_path])
    page = page_of(tmp_path)
    row = next(row for row in page.rows if row[0].startswith("e2train"))
    assert "running, 240 of 600 iterations" in row[0]
    assert "last line of events.jsonl is incomplete" in page.text


@pytest.mark.parametrize("until", [0, 20, 200])
def test_report_without_a_finished_cell(tmp_path: Path, until: int) -> None:
    cells = (CELLS[0], CELLS[5])
    for cell in cells:
        folder = make_run(tmp_path / cell.name, cell, until=until or 20)
        if until == 0:  # killed right after the start event
            lines = (folder / "events.jsonl").read_text().splitlines(keepends=True)
            (folder / "events.jsonl").write_text(lines[0])
            (folder / "meter" / "samples.csv").unlink()
    write_report([tmp_path])
    assert "No finished cell yet" in page_of(tmp_path).text
    check_self_contained(tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["cells"] == [] and len(summary["unfinished"]) == 2


def test_hostile_names_are_text(tmp_path: Path) -> None:
    make_run(tmp_path / "a", CELLS[0], label=HOSTILE)
    make_run(tmp_path / "b", Made(HOSTILE, 90.0, 0.5, skips=True, predicts=True), label=HOSTILE)
    write_report([tmp_path])
    check_self_contained(tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert HOSTILE not in text and escape(HOSTILE) in text
    assert any(HOSTILE in row[0] for row in page_of(tmp_path).rows)


def test_totals_that_do_not_add_up_are_said(tmp_path: Path) -> None:
    def change(content: dict[str, int]) -> None:
        content["macs"] += 7

    make_run(tmp_path / "psg", CELLS[2], change=change)
    write_report([tmp_path])
    assert re.search(r"psg: its MACs by pass sum to [\d,]+, its total is", page_of(tmp_path).text)


def test_figure_of_an_older_report_goes(tmp_path: Path) -> None:
    make_run(tmp_path / "psg", CELLS[2], samples=0)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "power-trace.png").touch()
    (tmp_path / "figures" / "mine.png").touch()
    write_report([tmp_path])
    names = {file.name for file in (tmp_path / "figures").iterdir()}
    assert "power-trace.png" not in names and "mine.png" in names


def run_command(*arguments: str) -> tuple[int, str, BaseException | None]:
    app = typer.Typer()
    app.command()(report_command)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output, result.exception


def test_command_writes_where_it_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", CELLS[2], until=100)
    code, output, _ = run_command(str(run), "--out", str(tmp_path / "new" / "place"))
    assert code == 0
    assert output.splitlines()[0] == "No finished cell yet"
    assert (tmp_path / "new" / "place" / "summary.json").exists()


def test_command_without_out(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / where / "r", CELLS[i], until=20) for i, where in enumerate("ab")]
    _, _, error = run_command(*map(str, runs))
    assert isinstance(error, UserError) and "--out" in str(error)
    third = make_run(tmp_path / "a" / "s", CELLS[2], until=20)
    assert run_command(str(runs[0]), str(third))[0] == 0
    assert (tmp_path / "a" / "report.html").exists()


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", CELLS[2], until=20)
    (tmp_path / "file").touch()
    _, _, error = run_command(str(run), "--out", str(tmp_path / "file"))
    assert isinstance(error, UserError) and str(tmp_path / "file") in str(error)


def test_without_matplotlib_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", CELLS[2], until=20)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"pip install e2train\[report\]"):
        write_report([run])


# Machado, Oliveira and Fernandes (2009), table of matrices at severity 1.0, linear RGB.
BLINDNESS = {
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(color: str) -> NDArray[np.float64]:
    """'#rrggbb' to linear RGB (IEC 61966-2-1)."""
    channels = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear RGB to CIELAB, D65."""
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    scaled = np.array(matrix) @ np.clip(rgb, 0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("kind", BLINDNESS)
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_colors_of_methods_stay_apart(kind: str, theme: type(LIGHT)) -> None:  # type: ignore[valid-type]
    seen = {
        name: lab(np.array(BLINDNESS[kind]) @ linear(color))
        for name, color in theme.methods.items()
    }
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 10, (one, other)


def test_one_color_a_method(tmp_path: Path) -> None:
    make_runs(tmp_path / "x", (*CELLS, Made("mine", 80.0, 0.5), Made("other", 80.0, 0.5)))
    make_run(tmp_path / "x" / "psg1", CELLS[2], seed=1)
    runs = load_runs([tmp_path / "x"])
    for theme in (LIGHT, DARK):
        styles = cell_styles(runs, theme)
        assert styles["psg (seed 0)"].color == styles["psg (seed 1)"].color
        assert styles["psg (seed 0)"].line != styles["psg (seed 1)"].line
        assert len({style.color for style in styles.values()}) == len(CELLS) + 2
        assert len({style.marker for style in styles.values()}) == len(CELLS) + 2


@pytest.mark.parametrize(
    "value, uncertainty, text",
    [
        (12.3456, 0.0649, "12.346 ± 0.065"),
        (12345.678, 61.7, "12\u202f346 ± 62"),
        (0.0, None, "0.0"),
        (3.14159, None, "3.142"),
        (123456.7, None, "123\u202f457"),
        (-0.5, 0.1, "-0.50 ± 0.10"),
    ],
)
def test_joules_show_two_figures_of_their_uncertainty(
    value: float, uncertainty: float | None, text: str
) -> None:
    assert joules(value, uncertainty) == text


def test_labels_fit_a_figure() -> None:
    assert shown("a\nb\tc\x00d") == "a b c d"
    assert len(shown("x" * 500)) <= 28
