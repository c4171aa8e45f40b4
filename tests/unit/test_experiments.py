# SPDX-License-Identifier: Apache-2.0
"""Every experiment file of the project loads, and its name is its file's."""

from pathlib import Path

import pytest

from e2train.training.experiment import load_experiment

FOLDER = Path(__file__).parents[2] / "experiments"
EXPERIMENTS = sorted(p for p in FOLDER.rglob("*.toml") if "campaigns" not in p.parts)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiment_loads(path: Path) -> None:
    experiment = load_experiment(path)
    assert experiment.name == path.stem
    assert path.read_text().startswith("# ")
