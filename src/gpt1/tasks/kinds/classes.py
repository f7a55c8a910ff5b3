"""Classification, entailment and similarity: one class of several for a text or a pair."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from gpt1.errors import ConfigError, DataError
from gpt1.reports.sections import Matrix, Section, Table
from gpt1.tasks.bootstrap import bootstrap
from gpt1.tasks.kinds.base import Array, ClassWeight, Task
from gpt1.tasks.kinds.evaluation import (
    ERRORS,
    Mistake,
    TaskEvaluation,
    calibration_bins,
    class_figures,
)
from gpt1.tasks.metrics import confusion
from gpt1.tasks.spec import Example, Label, fold_name
from gpt1.tasks.transforms import both_orders, pair, single

MOST_CLASSES = 1_000
"""With more different labels than this, they are not taken for classes."""
_TELLING = 20  # rows: when as many all have different labels, that is no accident
_MATRIX = 20  # classes; with more, the most frequent confusions are listed
_PAIRS = 30  # confusions that are listed


def one_spelling(names: Sequence[str], notes: list[str]) -> dict[str, str]:
    """Return each name's most frequent spelling; those of one class are added to `notes`.

    >>> one_spelling(["Good", "good", "good", "bad"], [])
    {'good': 'good', 'Good': 'good', 'bad': 'bad'}
    """
    spelled: dict[str, list[str]] = {}
    for name, _ in Counter(names).most_common():
        spelled.setdefault(fold_name(name), []).append(name)
    for first, *others in spelled.values():
        if others:
            what = ", ".join(map(repr, others))
            notes.append(f"the labels {what} are taken for {first!r}, which differs in case only")
    return {name: spellings[0] for spellings in spelled.values() for name in spellings}


@dataclass(frozen=True)
class ClassTask(Task):
    """A task with named classes, each of which has a score."""

    classes: tuple[str, ...]

    @property
    def score_names(self) -> tuple[str, ...]:
        """The classes."""
        return self.classes

    def resolve_class_weight(self, setting: ClassWeight, targets: Array) -> dict[str, float]:
        """Return the weight of each class by task.class_weight. Raises ConfigError."""
        if isinstance(setting, Mapping):
            weights = self.named_weights(setting)
        else:
            weights = self.balanced_weights(targets)
        return dict(zip(self.classes, weights.tolist(), strict=True))

    def class_weights(self, setting: ClassWeight, targets: Array) -> Array:
        """Return the weight of each example, or word, (n,). Raises ConfigError."""
        weights = {} if setting is None else self.resolve_class_weight(setting, targets)
        return targets @ self.named_weights(weights)

    def balanced_weights(self, targets: Array) -> Array:
        """Return weights by which all classes that occur weigh the same in sum."""
        counts = targets.sum(0)
        return np.asarray(counts.sum() / (np.count_nonzero(counts) * counts.clip(1)))

    def named_weights(self, weights: Mapping[str, float]) -> Array:
        """Return the weight of each class, 1 for those not named. Raises ConfigError."""
        unknown = sorted(weights.keys() - set(self.classes))
        if unknown:
            raise ConfigError(
                f"task.class_weight names {unknown[0]!r}; the classes are "
                f"{', '.join(self.classes)}."
            )
        return np.array([weights.get(name, 1.0) for name in self.classes])

    def going_on(self, trained: Task | None) -> Self:
        """Return this task with the classes of `trained` before its own.

        Several classes that `trained` has none of are those of another task.
        """
        if trained is None or (len(self.classes) > 1 and not self.rows_of(trained)):
            return self
        assert isinstance(trained, ClassTask)
        known = {*map(fold_name, trained.classes)}
        new = (name for name in self.classes if fold_name(name) not in known)
        return replace(self, classes=(*trained.classes, *new))

    def rows_of(self, trained: Task) -> Mapping[int, int]:
        """Return where the classes are among those of a trained head, by their names."""
        places = {fold_name(name): i for i, name in enumerate(trained.score_names)}
        names = enumerate(map(fold_name, self.classes))
        return {i: places[name] for i, name in names if name in places}

    def describe_rows(self, trained: Task, rows: Mapping[int, int]) -> str:
        """Return which classes of a trained head are kept, which are new and which left out."""
        if not rows:
            return (
                f"none of the classes that the model was trained for "
                f"({_listed(trained.score_names)}) is among the new ones: the head is drawn anew"
            )
        new = [name for i, name in enumerate(self.classes) if i not in rows]
        old = [name for i, name in enumerate(trained.score_names) if i not in rows.values()]
        return (
            f"the model's trained head is kept for {_listed([self.classes[i] for i in rows])}"
            + (f"; new rows are drawn for {_listed(new)}" if new else "")
            + (f"; {_listed(old)} are left out" if old else "")
        )

    def class_index(self, name: str, where: str) -> int:
        """Return the index of a class. Raises DataError if there is none of that name."""
        if name in self.classes:
            return self.classes.index(name)
        spelled = [known for known in self.classes if fold_name(known) == fold_name(name)]
        if len(spelled) == 1:
            return self.classes.index(spelled[0])
        raise DataError(
            f"{where}: the label is {name[:40]!r}; the task's classes are "
            f"{', '.join(self.classes[:20])}. Correct the row."
        )


@dataclass(frozen=True)
class SingleClassTask(ClassTask):
    """A task with one class for each example; the label is an index into `classes`."""

    metric_names = ("accuracy", "f1", "matthews")

    @classmethod
    def merge_spellings(cls, raw: list[Any], notes: list[str]) -> list[Any]:
        """Return the labels, those that differ in case or blanks alone as one; `notes` says so."""
        names = one_spelling(raw, notes)
        return [names[name] for name in raw]

    @classmethod
    def learn(
        cls,
        examples: Sequence[Example],
        raw: Sequence[Any],
        places: Sequence[str],
        trained: Task | None = None,
    ) -> Self:
        """Return the task with the labels that occur, in order. Raises DataError."""
        classes = set(raw)
        task = cls(sorted_names(classes)).going_on(trained)
        if len(task.classes) == 1:
            what = "the only row has" if len(raw) == 1 else f"all {len(raw):,} rows have"
            raise DataError(
                f"{places[0]}: {what} the label {raw[0]!r}; a task needs at least two classes."
            )
        if fault := classes_fault(len(classes), len(raw)):
            raise DataError(
                f"{places[0]}: the label is {raw[0][:40]!r}, and {fault}. Name the right column, "
                f"--columns label=NAME (Python: columns={{'label': NAME}})."
            )
        return task

    def parse_label(self, raw: Any, where: str) -> Label:
        """Return the index of a class. Raises DataError."""
        return self.class_index(raw, where)

    def translate(self, other: Task) -> Mapping[int, int] | None:
        """Return where the classes of `other` are among this task's, None if they differ."""
        if type(other) is not type(self) or set(other.score_names) != set(self.classes):
            return None
        return {i: self.classes.index(name) for i, name in enumerate(other.score_names)}

    @property
    def usable_metrics(self) -> tuple[str, ...]:
        """The metrics; F1, that of the second class, only where there are two."""
        return tuple(n for n in self.metric_names if n != "f1" or len(self.classes) == 2)

    def measure(
        self, examples: Sequence[Example], probabilities: Array, metrics: list[str]
    ) -> TaskEvaluation:
        """Return accuracy, F1 of the second of two classes, Matthews correlation, confusions."""
        metrics = [name for name in metrics if name in self.usable_metrics]
        return ClassEvaluation.of(self, examples, probabilities, metrics)


@dataclass(frozen=True)
class Classification(SingleClassTask):
    """One text: start text extract."""

    kind = "classification"
    text_columns = ("text",)
    sequences = staticmethod(single)


@dataclass(frozen=True)
class Entailment(SingleClassTask):
    """A premise and a hypothesis, in this order: start premise delimiter hypothesis extract."""

    kind = "entailment"
    text_columns = ("text_a", "text_b")
    text_names = ("premise", "hypothesis")
    sequences = staticmethod(pair)

    def named_texts(self, example: Example) -> list[tuple[str, str]]:
        """Return the premise and the hypothesis."""
        return list(zip(self.text_names, example.texts, strict=True))


class UnorderedPair:
    """Two texts in no order: both orders are read, and their states are added (spec 5)."""

    text_columns: ClassVar[tuple[str, ...]] = ("text_a", "text_b")
    ordered: ClassVar[bool] = False
    num_sequences = 2
    sequences = staticmethod(both_orders)


@dataclass(frozen=True)
class Similarity(UnorderedPair, SingleClassTask):
    """Two texts in no order, with a class."""

    kind = "similarity"


@dataclass(frozen=True, kw_only=True)
class ClassEvaluation(TaskEvaluation):
    """Results of one label a row. confusion: row = the right class, column = the predicted one."""

    confusion: Sequence[Sequence[int]]
    calibration_error: float

    baseline_label = "accuracy, always saying the most frequent class"
    errors_note = (
        "rows with a wrong label, the surest first. Often the given label is what is wrong: check "
        "these first."
    )

    @classmethod
    def of(
        cls, task: Task, examples: Sequence[Example], probabilities: Array, metrics: list[str]
    ) -> Self:
        """Return the results of probabilities (n, num_scores) of labelled examples."""
        names = task.score_names
        gold = np.array([example.label for example in examples], np.float64)
        predicted = task.decide(probabilities)
        counts = confusion(gold.astype(np.int64), predicted.astype(np.int64), len(names))
        confidence = probabilities.max(1)
        right = gold == predicted
        wrong = np.flatnonzero(~right)
        wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
        bins = calibration_bins(confidence, right)
        distance = sum(b.rows * abs(b.confidence - b.accuracy) for b in bins)
        return cls(
            task=task,
            rows=len(examples),
            metrics={name: bootstrap(name, gold, predicted) for name in metrics},
            baseline=float(counts.sum(1).max() / len(examples)),
            classes=class_figures(names, np.diagonal(counts), counts.sum(1), counts.sum(0)),
            confusion=tuple(map(tuple, counts.tolist())),
            bins=bins,
            calibration_error=distance / len(examples),
            wrong=len(wrong),
            errors=[
                Mistake(
                    row=i,
                    gold=names[int(gold[i])],
                    predicted=names[int(predicted[i])],
                    confidence=float(confidence[i]),
                )
                for i in wrong[:ERRORS].tolist()
            ],
        )

    def metric_label(self, name: str) -> str:
        """Return the name of a metric as a page shows it."""
        return super().metric_label(name) + f" of {self.task.score_names[1]}" * (name == "f1")

    def figures(self) -> list[tuple[str, str, str]]:
        """Return (name, value, interval) of each figure, as text."""
        return [*super().figures(), ("calibration error", f"{self.calibration_error:.4f}", "")]

    def details(self) -> dict[str, Any]:
        """Return the figures of each class, the confusions and the calibration."""
        error = self.calibration_error
        return {**super().details(), "confusion": self.confusion, "calibration_error": error}

    def sections(self) -> list[Section]:
        """Return confusions, figures per class, calibration and the most confident errors."""
        return [self._confusions(), *super().sections()]

    def _confusions(self) -> Section:
        names = self.task.score_names
        if len(names) <= _MATRIX:
            note = (
                "A row for each right label, a column for each predicted one. Right is blue and "
                "wrong is red, the darker the larger the share of its row."
            )
            return Section("Confusions", Matrix(names, self.confusion), note)
        wrong = np.array(self.confusion) * (1 - np.eye(len(names), dtype=np.int64))
        order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS].tolist()
        pairs = [divmod(i, len(names)) for i in order]
        rows = [(names[g], names[p], f"{wrong[g, p]:,}") for g, p in pairs if wrong[g, p]]
        table = Table(("right", "predicted", "rows"), rows)
        return Section("Confusions", table, f"The most frequent of {len(names)} classes.")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")


def classes_fault(classes: int, rows: int) -> str:
    """Return why labels look like another column's, such as one of free text; "" if they do not.

    >>> classes_fault(2, 40), classes_fault(30, 40), classes_fault(5, 5)
    ('', '', '')
    >>> classes_fault(40, 40)
    'all 40 rows have different labels: that looks like free text, or numbers, and not like classes'
    """
    looks = "that looks like free text, or numbers, and not like classes"
    if classes == rows >= _TELLING:
        return f"all {rows:,} rows have different labels: {looks}"
    if classes > MOST_CLASSES:
        most = f"{MOST_CLASSES:,} are the most"
        return f"{rows:,} rows have {classes:,} different labels, {most}: {looks}"
    return ""


def sorted_names(names: set[str]) -> tuple[str, ...]:
    """Return labels in order: by number if all are numbers, else by letters."""
    try:
        return tuple(sorted(names, key=lambda text: (finite(text), text)))
    except ValueError:
        return tuple(sorted(names))


def finite(text: str) -> float:
    """Return a number. Raises ValueError for what is none, or not finite."""
    number = float(text)
    if not math.isfinite(number) or "_" in text:  # float takes 1_000, which no table means
        raise ValueError(text)
    return number
