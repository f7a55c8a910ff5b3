"""What a model came to on labelled rows: its figures, as JSON, and as sections of a page.

The intervals are 95 % bootstrap ones over rows: they say how much a figure would move with another
test set of this size, not with another training seed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpt1.reports.sections import ABSENT, Bar, Bars, Examples, Section, Table
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
    confidence: float | None

    @classmethod
    def of(
        cls,
        row: int,
        example: Example,
        place: str,
        gold: str,
        predicted: str,
        confidence: float | None = None,
    ) -> Mistake:
        """Return what is kept of an example that was predicted wrongly."""
        return cls(row, place, example.texts, example.question, gold, predicted, confidence)

    @property
    def short_place(self) -> str:
        """The file's name and line without the folders; the number of the row, from 1, else."""
        name, colon, line = self.place.rpartition(":")
        return f"{Path(name).name}{colon}{line}" if self.place else f"{self.row + 1}"


@dataclass(frozen=True, kw_only=True)
class TaskEvaluation(ABC):
    """What a model came to on labelled rows.

    metrics: by name, the task's own first. baseline: the figure of always giving the same answer.
    truncated: rows longer than the window. errors: the worst ones, at most 50.
    """

    task: Task
    rows: int
    truncated: int = 0
    metrics: Mapping[str, Interval]
    baseline: float
    errors: tuple[Mistake, ...] = ()
    classes: tuple[ClassFigures, ...] = ()

    classes_title = "Per class"
    unit = "rows"
    """What is counted for each class."""
    baseline_label = ""
    """What `baseline` is, for people."""

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
        return {}

    @abstractmethod
    def sections(self) -> list[Section]:
        """Return what a page shows of the evaluation, under its figures."""

    def class_table(self, name: str = "") -> Table:
        """Return precision and recall of each class; `name` heads the classes."""
        return Table(
            (name, self.unit, "predicted", "precision", "recall"),
            tuple(
                (
                    one.name,
                    f"{one.rows:,}",
                    f"{one.predicted:,}",
                    ABSENT if one.precision is None else f"{one.precision:.3f}",
                    ABSENT if one.recall is None else f"{one.recall:.3f}",
                )
                for one in self.classes
            ),
        )

    def examples_section(self, title: str, note: str = "") -> Section:
        """Return the errors with their texts."""
        if not self.errors:
            return Section(title, None, "None: every row is right.")
        sure = self.errors[0].confidence is not None
        rows = []
        for one in self.errors:
            cells = [one.short_place, one.gold, one.predicted]
            if one.confidence is not None:
                cells.append(f"{one.confidence:.3f}")
            texts = self.task.named_texts(Example(one.texts, None, one.question))
            rows.append((tuple(cells), tuple((name, _short(text)) for name, text in texts)))
        head = ("row", "right", "predicted", *["sure"] * sure, "text")
        return Section(title, Examples(head, tuple(rows)), note)


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


def calibration_section(bins: Sequence[Bin]) -> Section:
    """Return a chart of confidence against accuracy."""
    bars = tuple(
        Bar(
            b.low, b.high, b.accuracy,
            f"{b.rows:,} rows, sure {b.confidence:.2f}, right {b.accuracy:.2f}",
        )
        for b in bins
    )  # fmt: skip
    return Section(
        "How sure, and how often right",
        Bars(bars, "probability of the predicted label", "share that is right"),
        "Bars below the dashed line: the model is surer than it should be. The calibration error "
        "is the mean distance from the line.",
        narrow=True,
    )


def _short(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[:_TEXT]} ..."
