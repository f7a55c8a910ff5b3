"""What a model came to on labelled rows: its figures, as JSON, and as sections of a page.

The intervals are 95 % bootstrap ones over rows: they say how much a figure would move with another
test set of this size, not with another training seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpt1.reports.sections import ABSENT, Curve, LineChart, Section, Table
from gpt1.tasks.bootstrap import Interval
from gpt1.tasks.kinds.base import Task
from gpt1.tasks.spec import Example

BINS = 10
"""Of confidence, for the calibration."""
ERRORS = 50
"""The most confident ones that are kept."""
LABELS = {
    "accuracy": "accuracy",
    "f1": "F1",
    "matthews": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "mean_absolute_error": "mean absolute error",
    "entity_f1": "entity F1",
    "token_accuracy": "token accuracy",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "subset_accuracy": "subset accuracy (all labels right)",
}
_TEXT = 600  # characters of an error's text

Array = NDArray[np.float64]


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


@dataclass(frozen=True)
class Mistake:
    """A row that the model gets wrong, or far off: `row` is its number, from 0.

    confidence: the probability of what was predicted; None where there is none.
    """

    row: int
    place: str
    texts: tuple[str, ...]
    question: str
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
    """What a model came to on labelled rows.

    metrics: by name, the task's own first. baseline: the figure of always giving the same answer.
    truncated: rows longer than the window. wrong: rows that are not right; errors: the worst of
    them, at most 50. classes and bins are empty for tasks without classes.
    """

    task: Task
    rows: int
    truncated: int = 0
    metrics: Mapping[str, Interval]
    baseline: float
    errors: tuple[Mistake, ...] = ()
    wrong: int = 0
    classes: tuple[ClassFigures, ...] = ()
    bins: tuple[Bin, ...] = ()

    baseline_label = ""
    """What `baseline` is, for people."""
    unit = "rows"
    """What is counted for each class."""
    classes_title = "Per class"
    errors_note = ""
    """Which rows count as wrong, and how they are ordered."""

    def metric_label(self, name: str) -> str:
        """Return what a metric is called, for people."""
        return LABELS.get(name, name)

    def figures(self) -> list[tuple[str, str, str]]:
        """Return (name, value, interval) for people."""
        rows = [
            (self.metric_label(name), f"{one.value:.4f}", f"{one.low:.4f} to {one.high:.4f}")
            for name, one in self.metrics.items()
        ]
        return [*rows, (self.baseline_label, f"{self.baseline:.4f}", "")]

    def to_json(self) -> dict[str, Any]:
        """Return everything but the single rows as JSON values; errors keep their texts."""
        return {
            "task": self.task.to_json(),
            "rows": self.rows,
            "truncated": self.truncated,
            "metrics": {name: asdict(one) for name, one in self.metrics.items()},
            "baseline": self.baseline,
            **self.details(),
            "errors": [asdict(one) for one in self.errors],
        }

    def details(self) -> dict[str, Any]:
        """Return what an evaluation of this kind of task has besides, as JSON values."""
        return {
            "classes": [asdict(one) for one in self.classes],
            "calibration": [asdict(one) for one in self.bins],
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
        rows = [
            (
                one.name,
                f"{one.rows:,}",
                f"{one.predicted:,}",
                ABSENT if one.precision is None else f"{one.precision:.3f}",
                ABSENT if one.recall is None else f"{one.recall:.3f}",
            )
            for one in self.classes
        ]
        return Table(("", self.unit, "predicted", "precision", "recall"), rows)

    def errors_section(self, title: str, note: str = "") -> Section:
        """Return the errors with their texts."""
        if not self.errors:
            return Section(title, None, "None: every row is right.")
        sure = self.errors[0].confidence is not None
        rows = []
        for one in self.errors:
            texts = self.task.named_texts(Example(one.texts, None, one.question))
            confidence = [] if one.confidence is None else [f"{one.confidence:.3f}"]
            text = "\n".join(_shorten(f"{name}: {text}" if name else text) for name, text in texts)
            rows.append((one.short_place, one.gold, one.predicted, *confidence, text))
        head = ("row", "right", "predicted", *["sure"] * sure, "text")
        return Section(title, Table(head, rows, "texts"), note)


def class_figures(
    names: Sequence[str], hits: ArrayLike, rows: ArrayLike, predicted: ArrayLike
) -> tuple[ClassFigures, ...]:
    """Return each class's figures from counts (C,): predicted rightly, there, and predicted."""
    columns = (np.asarray(column).tolist() for column in (hits, rows, predicted))
    return tuple(
        ClassFigures(name, n, p, hit / p if p else None, hit / n if n else None)
        for name, hit, n, p in zip(names, *columns, strict=True)
    )


def calibration_bins(confidence: Array, right: NDArray[np.bool_]) -> tuple[Bin, ...]:
    """Return the bins of confidence that have rows."""
    number = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    return tuple(
        Bin(
            i / BINS,
            (i + 1) / BINS,
            int(inside.sum()),
            float(confidence[inside].mean()),
            float(right[inside].mean()),
        )
        for i in range(BINS)
        if (inside := number == i).any()
    )


def _calibration(bins: Sequence[Bin]) -> list[Section]:
    """Return confidence against accuracy, as a chart and as a table."""
    curve = Curve("", [b.confidence for b in bins], [b.accuracy for b in bins], marker=True)
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
        Section("", Table(("probability", "rows", "mean", "right"), rows), narrow=True),
    ]


def _shorten(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[:_TEXT]} ..."
