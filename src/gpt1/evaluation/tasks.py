"""How good a fine-tuned model is at its task: figures with intervals, confusions, errors.

The intervals are 95 % bootstrap ones over rows: they say how much a figure would move with another
test set of this size, not with another training seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpt1.errors import InputError
from gpt1.pipeline import Predictor
from gpt1.tasks.metrics import Interval, bootstrap, confusion
from gpt1.tasks.spec import Example, Task

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
}


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

    confidence: the probability of what was predicted; of a regression None.
    """

    row: int
    place: str
    texts: tuple[str, ...]
    question: str
    gold: str
    predicted: str
    confidence: float | None


@dataclass(frozen=True)
class TaskEvaluation:
    """What a model came to on labelled rows.

    metrics: by name, the task's own first. baseline: accuracy of always giving the most frequent
    class, or the mean absolute error of always giving the mean score. confusion: row = the right
    class, column = the predicted one. cut: rows longer than the window.
    """

    task: Task
    rows: int
    cut: int
    metrics: Mapping[str, Interval]
    baseline: float
    classes: tuple[ClassFigures, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    bins: tuple[Bin, ...] = ()
    calibration_error: float | None = None
    errors: tuple[Mistake, ...] = ()
    wrong: int = 0
    """Rows with the wrong class."""
    gold: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), repr=False)
    predicted: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), repr=False)

    def figures(self) -> list[tuple[str, str, str]]:
        """Return (name, value, interval) for people."""
        found = []
        for name, one in self.metrics.items():
            label = LABELS.get(name, name)
            if name == "f1":
                label += f" of {self.task.classes[1]}"
            found.append((label, f"{one.value:.4f}", f"{one.low:.4f} to {one.high:.4f}"))
        if self.task.kind == "regression":
            found.append(("the same, always saying the mean", f"{self.baseline:.4f}", ""))
        else:
            what = "answer" if self.task.kind == "choice" else "class"
            label = f"accuracy, always saying the most frequent {what}"
            found.append((label, f"{self.baseline:.4f}", ""))
        if self.calibration_error is not None:
            found.append(("calibration error", f"{self.calibration_error:.4f}", ""))
        return found

    def to_json(self) -> dict[str, Any]:
        """Return everything but the single rows as JSON values; errors keep their texts."""
        values: dict[str, Any] = {
            "task": self.task.to_json(),
            "rows": self.rows,
            "cut": self.cut,
            "metrics": {name: asdict(one) for name, one in self.metrics.items()},
            "baseline": self.baseline,
        }
        if self.task.kind != "regression":
            values |= {
                "classes": [asdict(one) for one in self.classes],
                "confusion": [list(row) for row in self.confusion],
                "calibration_error": self.calibration_error,
                "calibration": [asdict(one) for one in self.bins],
                "wrong": self.wrong,
            }
        return values | {"errors": [asdict(one) for one in self.errors]}


def evaluate(
    predictor: Predictor,
    examples: Sequence[Example],
    *,
    places: Sequence[str] | None = None,
    metrics: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> TaskEvaluation:
    """Measure a model on labelled examples.

    places: where each is from, for people. metrics: those to name first. `progress(done, all)`
    counts examples. Raises InputError for no examples, one without a label or that does not fit.
    """
    if not examples:
        raise InputError("there are no examples to measure; give at least one.")
    if any(example.label is None for example in examples):
        raise InputError("an example has no label; give labelled ones alone.")
    task = predictor.task
    # a score may lie beyond the scale of the training rows, so labels are not encoded
    encoded = predictor.encode([replace(example, label=None) for example in examples])
    probabilities = predictor.score(encoded, progress=progress)
    predicted = predictor.decide(probabilities)
    gold = np.array([example.label for example in examples], np.float64)
    where = [""] * len(examples) if places is None else list(places)
    found = TaskEvaluation(
        task=task,
        rows=len(examples),
        cut=encoded.cut,
        metrics=_metrics(task, metrics, gold, predicted),
        baseline=0.0,
        gold=gold,
        predicted=predicted,
    )
    if task.kind == "regression":
        off = np.abs(gold - predicted)
        worst = np.argsort(-off, kind="stable")[:ERRORS].tolist()
        return replace(
            found,
            baseline=float(np.abs(gold - gold.mean()).mean()),
            errors=tuple(
                _mistake(i, examples[i], where[i], f"{gold[i]:g}", f"{predicted[i]:.2f}", None)
                for i in worst
            ),
        )
    names = class_names(task)
    counts = confusion(gold.astype(np.int64), predicted.astype(np.int64), len(names))
    sure = probabilities.max(1)
    right = gold == predicted
    wrong = np.flatnonzero(~right)
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")]
    bins = _bins(sure, right)
    return replace(
        found,
        baseline=float(counts.sum(1).max() / len(examples)),
        classes=tuple(_class(name, counts, i) for i, name in enumerate(names)),
        confusion=tuple(tuple(row) for row in counts.tolist()),
        bins=bins,
        calibration_error=sum(b.rows * abs(b.confidence - b.accuracy) for b in bins)
        / len(examples),
        errors=tuple(
            _mistake(
                i,
                examples[i],
                where[i],
                names[int(gold[i])],
                names[int(predicted[i])],
                float(sure[i]),
            )
            for i in wrong[:ERRORS].tolist()
        ),
        wrong=len(wrong),
    )


def class_names(task: Task) -> tuple[str, ...]:
    """Return what the columns of a task's scores are called; a choice's are answer_0, ..."""
    return task.classes or tuple(f"answer_{i}" for i in range(task.answers or 0))


def mean_absolute_error(gold: ArrayLike, predicted: ArrayLike) -> float:
    """Return how far off a score is, on average."""
    return float(np.abs(np.asarray(gold) - np.asarray(predicted)).mean())


def _metrics(
    task: Task, first: Sequence[str], gold: NDArray[np.float64], predicted: NDArray[np.float64]
) -> dict[str, Interval]:
    if task.kind == "regression":
        fitting = ["pearson", "spearman"]
    elif task.kind == "choice":
        fitting = ["accuracy"]
    else:
        fitting = ["accuracy", *["f1"] * (len(task.classes) == 2), "matthews"]
    names = dict.fromkeys([*(name for name in first if name in fitting), *fitting])
    found = {name: bootstrap(name, gold, predicted) for name in names}
    if task.kind == "regression":
        found["mean_absolute_error"] = bootstrap(mean_absolute_error, gold, predicted)
    return found


def _class(name: str, counts: NDArray[np.int64], i: int) -> ClassFigures:
    hits, rows, predicted = int(counts[i, i]), int(counts[i].sum()), int(counts[:, i].sum())
    return ClassFigures(
        name,
        rows,
        predicted,
        hits / predicted if predicted else None,
        hits / rows if rows else None,
    )


def _bins(sure: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[Bin, ...]:
    """Return the bins of confidence that have rows."""
    number = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    return tuple(
        Bin(
            i / BINS,
            (i + 1) / BINS,
            int(inside.sum()),
            float(sure[inside].mean()),
            float(right[inside].mean()),
        )
        for i in range(BINS)
        if (inside := number == i).any()
    )


def _mistake(
    row: int, example: Example, place: str, gold: str, predicted: str, confidence: float | None
) -> Mistake:
    return Mistake(row, place, example.texts, example.question, gold, predicted, confidence)
