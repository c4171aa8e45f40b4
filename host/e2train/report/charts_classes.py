# SPDX-License-Identifier: Apache-2.0
"""What one cell answers, class by class: confusion matrix, accuracy a class, worst pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from e2train.report.render import Chart
from e2train.report.style import Theme, shown
from e2train.report.summary import leading
from e2train.runs.answers import Answers
from e2train.runs.load import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NUMBERS = 12  # classes up to which each count stands in its square
MOST_NAMES = 30  # classes up to which they are named
MOST_BARS = 40
COLUMNS = 4
LINES_OF_TEXT = 0.4  # height of two lines below a picture, in pictures
LETTERS = 14


def confusion(runs: list[Run]) -> Chart | None:
    """Answers against true classes; None where no cell has them on record."""
    chosen = _chosen(runs)
    if chosen is None:
        return None
    run, answers = chosen
    matrix, names = answers.confusion, answers.class_names
    count = len(names)
    totals = np.maximum(matrix.sum(axis=1, keepdims=True), 1)

    def draw(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        dark = theme.name == "dark"
        axes.imshow(100.0 * matrix / totals, cmap="cividis" if dark else "Blues", vmin=0, vmax=100)
        axes.grid(False)
        if count <= MOST_NUMBERS:
            for row, column in np.argwhere(matrix):
                full = matrix[row, column] / totals[row, 0] > 0.5
                ink = "white" if full != dark else "black"
                text = str(matrix[row, column])
                axes.text(column, row, text, ha="center", va="center", fontsize=8, color=ink)
        if count <= MOST_NAMES:
            labels = [shown(name, LETTERS) for name in names]
            axes.set_xticks(range(count), labels, rotation=90, fontsize=7.5)
            axes.set_yticks(range(count), labels, fontsize=7.5)
        axes.set_xlabel("answer")
        axes.set_ylabel("true class")

    worst = _most_confused(matrix)
    told = f" Most often {names[worst[0]]} is taken for {names[worst[1]]}." if worst else ""
    return Chart(
        title=f"Confusion matrix, {shown(run.label)}",
        caption=(
            f"Test pictures of {run.label} by true class (rows) and answer (columns); the colour "
            f"is the share of the row.{told}"
        ),
        alt=f"Confusion matrix of {count} classes.{told}",
        height=4.6,
        draw=draw,
    )


def class_accuracy(runs: list[Run]) -> Chart | None:
    """Bars of the accuracy on each class; None where no cell has answers on record."""
    chosen = _chosen(runs)
    if chosen is None:
        return None
    run, answers = chosen
    matrix = answers.confusion
    sizes = matrix.sum(axis=1)
    tested = np.flatnonzero(sizes)
    accuracy = 100.0 * np.diag(matrix)[tested] / sizes[tested]
    order = np.argsort(accuracy, kind="stable")[:MOST_BARS]
    names = [answers.class_names[place] for place in tested[order]]
    cut = f" The {MOST_BARS} lowest of {len(tested)} are shown." if len(tested) > MOST_BARS else ""

    def draw(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        places = np.arange(len(names))
        axes.barh(places, accuracy[order], color=theme.passes["backward_input"])
        labels = [
            f"{shown(name, LETTERS)} ({sizes[tested[i]]})"
            for name, i in zip(names, order, strict=True)
        ]
        axes.set_yticks(places, labels, fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("top-1 accuracy [%]")

    return Chart(
        title=f"Accuracy of each class, {shown(run.label)}",
        caption=f"Lowest first; in brackets the number of its test pictures.{cut}",
        alt="Top-1 accuracy of each class: "
        + ", ".join(f"{n} {a:.1f} %" for n, a in zip(names, accuracy[order], strict=True)),
        height=1.2 + 0.2 * len(names),
        draw=draw,
    )


def worst_pictures(runs: list[Run]) -> Chart | None:
    """The wrong answers that were surest; None where there is none on record."""
    chosen = _chosen(runs)
    if chosen is None or not len(chosen[1].worst):
        return None
    run, answers = chosen
    count = len(answers.worst)
    rows = -(-count // COLUMNS)

    def draw(figure: Figure, theme: Theme) -> None:
        # one pair of axes for all: a layout of many takes a second each
        axes = figure.subplots()
        axes.axis("off")
        for index, place in enumerate(answers.worst):
            row, column = divmod(index, COLUMNS)
            picture = answers.worst_images[index].transpose(1, 2, 0)
            if picture.shape[2] == 1:
                picture = np.repeat(picture, 3, axis=2)
            top = row * (1 + LINES_OF_TEXT)
            axes.imshow(picture, extent=(column, column + 0.95, top + 1, top))
            true, said = answers.labels[place], answers.predicted[place]
            axes.text(
                column,
                top + 1.02,
                f"{shown(answers.class_names[true], LETTERS)}\n"
                f"not {shown(answers.class_names[said], LETTERS)}",
                fontsize=7.5,
                va="top",
            )
        axes.set_xlim(0, COLUMNS)
        axes.set_ylim(rows * (1 + LINES_OF_TEXT), 0)

    files = [name for name in answers.worst_names if name]
    listed = f" Their files, row by row: {', '.join(files)}." if files else ""
    return Chart(
        title=f"Worst pictures, {shown(run.label)}",
        caption=(
            "Wrongly answered test pictures whose true class (first line) got the lowest "
            f"probability, worst first; the second line is the answer.{listed}"
        ),
        alt=f"{count} wrongly answered test pictures.",
        height=0.7 + 1.5 * rows,
        draw=draw,
    )


def _chosen(runs: list[Run]) -> tuple[Run, Answers] | None:
    """The cell that the report opens with if it has answers, else the last one that has."""
    first = leading(runs)
    for run in ([first] if first else []) + runs[::-1]:
        if run.answers is not None:
            return run, run.answers
    return None


def _most_confused(matrix: np.ndarray) -> tuple[int, int] | None:
    """The true class and the wrong answer that occur together most often."""
    wrong = matrix - np.diag(np.diag(matrix))
    if not wrong.any():
        return None
    place = int(wrong.argmax())
    return place // len(matrix), place % len(matrix)
