# SPDX-License-Identifier: Apache-2.0
"""docs/one-pass.md says what its tables say."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from e2train.cli import run
from e2train.errors import UserError
from e2train.results.one_pass import COLUMNS, MADE, PAGE, page_text, read_trials

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_that_of_its_tables() -> None:
    assert (DOCS / PAGE).read_text(encoding="utf-8") == page_text(DOCS, read_trials(DOCS))


def made(docs: Path, gain: float, seeds: int = 4) -> str:
    """The page of made-up runs in which the choice gains `gain` points over chance."""
    (docs / "one-pass").mkdir(parents=True)
    (docs / PAGE).write_text(f"# By hand\n{MADE}\nold\n")
    accuracy = {"all": 90.0, "loss-50": 80.0 + gain, "chance-50": 79.0, "chance-33": 80.0}
    with open(docs / "one-pass/made.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        for method, top1 in accuracy.items():
            for seed in range(seeds):
                noise = 0.1 * ((seed * 7 + len(method)) % 3)
                writer.writerow(
                    {"method": method, "network": "resnet-8", "dataset_label": "made", "seed": seed,
                     "top1": top1 + noise, "energy_j": 2.0 + noise, "macs": 1000,
                     "energy_provenance": "simulated", "iterations_offered": 10,
                     "iterations_run": 5}
                )  # fmt: skip
    return page_text(docs, read_trials(docs))


def test_the_conclusion_follows_the_numbers(tmp_path: Path) -> None:
    good, bad, same = (made(tmp_path / name, gain) for name, gain in
                       (("good", 5.0), ("bad", -5.0), ("same", 0.0)))  # fmt: skip
    assert good.startswith(f"# By hand\n{MADE}\n\n## What came out") and "old" not in good
    good, bad, same = (" ".join(text.split()) for text in (good, bad, same))
    assert "The choice is worth its forward passes." in good
    assert "about as much work, it is worse, outside the confidence interval" in bad
    assert "as many mini-batches trained on, the choice is neither better nor worse" not in good
    for text in (bad, same):
        assert "does not beat random dropping at the same work" in text


def test_unusable_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="with the same 3 seeds or more"):
        made(tmp_path / "few", 0.0, seeds=2)
    (tmp_path / "none").mkdir()
    shutil.copy(DOCS / PAGE, tmp_path / "none" / PAGE)
    assert run(["results", "one-pass", "--docs", str(tmp_path / "none")]) == 2
    assert "no tables" in capsys.readouterr().err
