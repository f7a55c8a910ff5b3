"""The results of a model on labelled rows: its figures, as JSON, and as sections of a page.

The intervals are 95 % bootstrap ones over rows: they say how much a figure would move with another
test set of this size, not with another training seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpt1.errors import counted
from gpt1.reports.sections import ABSENT, Curve, LineChart, Section, Table
from gpt1.tasks.bootstrap import Interval
from gpt1.tasks.kinds.base import Array, Task
from gpt1.tasks.spec import Example

BINS = 10
"""How many bins of confidence the calibration has."""
ERRORS = 50
"""How many errors an evaluation holds at most."""
_LABELS = {
    "matthews": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "subset_accuracy": "subset accuracy (all labels right)",
}
_TEXT = 600  # characters of an error's text


@dataclass(frozen=True)
class ClassFigures:
    """One class or answer: precision is None if never predicted, recall if there is no row."""

    name: str
    rows: int
    predicted: int
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class Bin:
    """Rows whose likeliest class has a probability from low to high."""

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A row that the model gets wrong, or far off: `row` is its number, from 0.

    confidence: the probability of what was predicted; None where there is none.
    """

    row: int
    place: str = ""
    texts: tuple[str, ...] = ()
    question: str = ""
    gold: str
    predicted: str
    confidence: float | None = None

    @property
    def short_place(self) -> str:
        """The file's name and line without the folders; the number of the row, from 1, else."""
        name, colon, line = self.place.rpartition(":")
        return f"{Path(name).name}{colon}{line}" if self.place else f"{self.row + 1}"


@dataclass(frozen=True, kw_only=True)
class TaskEvaluation:
    """The results of a model on labelled rows.

    metrics: by name, the task's own first. baseline: the figure of always giving the same answer.
    baselines: a simple way's name -> metric -> its value on the same rows.
    truncated: rows longer than the window. wrong: rows that are not right; errors: the worst of
    them, at most 50. classes and bins are empty for tasks without classes.
    """

    task: Task
    rows: int
    truncated: int = 0
    metrics: Mapping[str, Interval]
    baseline: float
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    baselines_note: str = ""
    errors: Sequence[Mistake]
    wrong: int = 0
    classes: Sequence[ClassFigures] = ()
    bins: Sequence[Bin] = ()

    baseline_label = ""
    """What a page calls `baseline`."""
    unit = "rows"
    """What is counted for each class."""
    classes_title = "Per class"
    errors_note = ""
    """Which rows count as wrong, and how they are ordered."""

    def metric_label(self, name: str) -> str:
        """Return the name of a metric as a page shows it."""
        return _LABELS.get(name) or name.replace("_", " ").replace("f1", "F1")

    def figures(self) -> list[tuple[str, str, str]]:
        """Return (name, value, interval) of each figure, as text."""
        rows = [
            (self.metric_label(name), f"{m.value:.4f}", f"{m.low:.4f} to {m.high:.4f}")
            for name, m in self.metrics.items()
        ]
        return [*rows, (self.baseline_label, f"{self.baseline:.4f}", "")]

    def figure_table(self) -> Table:
        """Return `figures` with those of the baselines beside them."""
        beside = [
            [f"{figures[name]:.4f}" for figures in self.baselines.values()] for name in self.metrics
        ]
        rows = [
            (*figure, *cells)
            for figure, cells in zip_longest(
                self.figures(), beside, fillvalue=[""] * len(self.baselines)
            )
        ]
        return Table(("metric", "value", "95% interval", *self.baselines), rows)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the single rows as JSON values; errors keep their texts."""
        return {
            "task": self.task.to_json(),
            "rows": self.rows,
            "truncated": self.truncated,
            "metrics": {name: asdict(interval) for name, interval in self.metrics.items()},
            "baseline": self.baseline,
            "baselines": self.baselines,
            **self.details(),
            "errors": [asdict(error) for error in self.errors],
        }

    def details(self) -> dict[str, Any]:
        """Return the figures that only this kind of task has, as JSON values."""
        return {
            "classes": [asdict(figures) for figures in self.classes],
            "calibration": [asdict(bin) for bin in self.bins],
            "wrong": self.wrong,
        }

    def sections(self) -> list[Section]:
        """Return what a page shows under the figures: classes, calibration, errors."""
        note = f"{len(self.errors):,} of {self.wrong:,} {self.errors_note}"
        return [
            Section(self.classes_title, self.class_table(), narrow=True),
            *_calibration(self.bins),
            self.errors_section("Most confident errors", note),
        ]

    def class_table(self) -> Table:
        """Return precision and recall of each class."""

        def share(value: float | None) -> str:
            return ABSENT if value is None else f"{value:.3f}"

        rows = [
            (c.name, f"{c.rows:,}", f"{c.predicted:,}", share(c.precision), share(c.recall))
            for c in self.classes
        ]
        return Table(("", self.unit, "predicted", "precision", "recall"), rows)

    def errors_section(self, title: str, note: str = "") -> Section:
        """Return the errors with their texts."""
        if not self.errors:
            return Section(title, None, "None: every row is right.")
        rows = []
        for error in self.errors:
            texts = self.task.named_texts(Example(error.texts, None, error.question))
            text = "\n".join(_shorten(f"{name}: {text}" if name else text) for name, text in texts)
            confidence = [] if error.confidence is None else [f"{error.confidence:.3f}"]
            rows.append((error.short_place, error.gold, error.predicted, *confidence, text))
        head = ("row", "right", "predicted", *["sure"] * (len(rows[0]) - 4), "text")
        return Section(title, Table(head, rows, "texts"), note)


def class_figures(
    names: Iterable[str], hits: ArrayLike, rows: ArrayLike, predicted: ArrayLike
) -> list[ClassFigures]:
    """Return each class's figures from counts (C,): rightly predicted, rows, and predicted."""
    columns = (np.asarray(column, np.int64).tolist() for column in (hits, rows, predicted))
    return [
        ClassFigures(name, n, p, hit / p if p else None, hit / n if n else None)
        for name, hit, n, p in zip(names, *columns, strict=True)
    ]


def calibration_bins(confidence: Array, right: NDArray[np.bool_]) -> list[Bin]:
    """Return the bins of confidence that have rows."""
    number = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    bins = []
    for i in np.unique(number).tolist():
        inside = number == i
        mean, accuracy = float(confidence[inside].mean()), float(right[inside].mean())
        bins.append(Bin(i / BINS, (i + 1) / BINS, int(inside.sum()), mean, accuracy))
    return bins


def _calibration(bins: Sequence[Bin]) -> list[Section]:
    """Return confidence against accuracy, as a chart and as a table."""
    counts = [counted(b.rows, "row") if b is bins[0] else f"{b.rows:,}" for b in bins]
    x, y = [b.confidence for b in bins], [b.accuracy for b in bins]
    curve = Curve("", x, y, marker=True, notes=counts)
    axes = ("probability of the predicted label", "share that is right")
    rows = [
        (f"{b.low:g} to {b.high:g}", f"{b.rows:,}", f"{b.confidence:.2f}", f"{b.accuracy:.2f}")
        for b in bins
    ]
    note = (
        "Below the dashed line the model is surer than it should be. The calibration error is the "
        "mean distance from the line."
    )
    chart = LineChart("", *axes, [curve], diagonal=True)
    return [
        Section("How sure, and how often right", [chart], note, narrow=True),
        Section("In figures", Table(("probability", "rows", "mean", "right"), rows), narrow=True),
    ]


def _shorten(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[:_TEXT]} ..."
