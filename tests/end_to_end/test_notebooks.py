# SPDX-License-Identifier: Apache-2.0
"""Every notebook runs from its first cell to its last, in a kernel of its own."""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
# Few mini-batches: what a notebook shows with them is little, but every cell is run.
SMALL = {
    "1-quick-start": {"ITERATIONS": 8},
    "2-what-psg-predicts": {"ITERATIONS": 4},
    "3-board-bring-up": {"STEPS": 1},
    "4-measurement-campaign": {"ITERATIONS": 8, "SEEDS": [0]},
    "5-your-data": {"ITERATIONS": 100},
}
FIGURES = {
    "1-quick-start": 2,
    "2-what-psg-predicts": 2,
    "3-board-bring-up": 1,
    "4-measurement-campaign": 3,
    "5-your-data": 2,
}


def test_every_notebook_is_run_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == SMALL.keys()


def shortened(name: str, **others: object) -> nbformat.NotebookNode:
    """The notebook with other parameters, set in a cell behind its own."""
    notebook = jupytext.read(FOLDER / f"{name}.py")
    (place,) = (
        number
        for number, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", [])
    )
    values = SMALL[name] | others
    for parameter in values:
        assert f"\n{parameter} = " in "\n" + notebook.cells[place].source
    text = "\n".join(f"{parameter} = {value!r}" for parameter, value in values.items())
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(text))
    return notebook


def outputs(notebook: nbformat.NotebookNode) -> tuple[str, int]:
    """What was printed, and how many figures were drawn."""
    text, figures = "", 0
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            text += output.get("text", "")
            figures += "image/png" in output.get("data", {})
    return text, figures


@pytest.mark.parametrize("name", SMALL)
def test_notebook(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPLBACKEND", raising=False)  # figures belong into the notebook
    notebook = shortened(name)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": FOLDER}}).execute()
    text, figures = outputs(notebook)
    assert figures == FIGURES[name], text
    assert "WARNING" not in text


def test_bring_up_says_why_a_device_cannot_be_opened() -> None:
    notebook = shortened("3-board-bring-up", DEVICE="no-such-device")
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": FOLDER}}).execute()
    text, _ = outputs(notebook)
    assert "refused: unknown device 'no-such-device'" in text
    assert "every one equal" in text  # it goes on, and says with what
