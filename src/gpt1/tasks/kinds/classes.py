"""Classification, entailment and similarity: one class of several for a text or a pair."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from gpt1.errors import ConfigError, DataError
from gpt1.tasks.kinds.base import Array, Task
from gpt1.tasks.kinds.class_evaluation import ClassEvaluation
from gpt1.tasks.spec import Example, Label
from gpt1.tasks.transforms import Ids, Special, both_orders, pair, single

MOST_CLASSES = 1_000
"""More different labels than this are no classes."""
_TELLING = 20  # rows: so many with a label each of its own are no accident


@dataclass(frozen=True)
class ClassTask(Task):
    """Tasks with a class for each example, as an index into `classes`."""

    classes: tuple[str, ...]

    metric_names = ("accuracy", "f1", "matthews")
    num_texts: ClassVar[int] = 2

    @classmethod
    def learn(cls, examples: Sequence[Example], raw: Sequence[Any], places: Sequence[str]) -> Self:
        """Return the task with the labels that occur, in order. Raises DataError."""
        classes = set(raw)
        if len(classes) == 1:
            what = "the only row has" if len(raw) == 1 else f"all {len(raw):,} rows have"
            raise DataError(
                f"{places[0]}: {what} the label {raw[0]!r}; a task needs at least two classes."
            )
        if fault := classes_fault(len(classes), len(raw)):
            raise DataError(
                f"{places[0]}: the label is {raw[0][:40]!r}, and {fault}. Name the right column, "
                f"--columns label=NAME (Python: columns={{'label': NAME}})."
            )
        return cls(sorted_names(classes))

    def parse_label(self, raw: Any, place: str) -> Label:
        """Return the index of a class. Raises DataError."""
        return class_index(self.classes, raw, place)

    def translate(self, other: Task) -> Mapping[int, int] | None:
        """Return where the classes of `other` are among this task's, None if they differ."""
        if type(other) is not type(self) or set(other.score_names) != set(self.classes):
            return None
        return {i: self.classes.index(name) for i, name in enumerate(other.score_names)}

    def describe(self) -> str:
        """Return what the task is, for messages."""
        names = ", ".join(self.classes[:8]) + (", ..." if len(self.classes) > 8 else "")
        return f"{self.kind} with the classes {names}"

    @property
    def num_outputs(self) -> int:
        """A number for each class."""
        return len(self.classes)

    @property
    def score_names(self) -> tuple[str, ...]:
        """The classes."""
        return self.classes

    def class_weights(self, wanted: str | Mapping[str, float] | None, targets: Array) -> Array:
        """Return what each example counts, (n,). Raises ConfigError."""
        if wanted is None:
            return np.ones(len(targets))
        codes = targets.argmax(1)
        if isinstance(wanted, Mapping):
            check_class_names(wanted, self.classes)
            weights = [wanted.get(name, 1.0) for name in self.classes]
        else:  # balanced: all classes the same in sum
            counts = np.bincount(codes, minlength=len(self.classes)).tolist()
            weights = [len(targets) / (len(counts) * max(1, n)) for n in counts]
        return np.asarray(np.array(weights)[codes], np.float64)

    def evaluate(
        self,
        examples: Sequence[Example],
        probabilities: Array,
        places: Sequence[str],
        first: Sequence[str] = (),
    ) -> ClassEvaluation:
        """Return accuracy, F1 of the second of two classes, Matthews correlation, confusions."""
        fitting = ["accuracy", *["f1"] * (len(self.classes) == 2), "matthews"]
        names = list(dict.fromkeys([*(name for name in first if name in fitting), *fitting]))
        return ClassEvaluation.of(self, examples, probabilities, places, names)

    def records(self, examples: Sequence[Example], probabilities: Array) -> list[dict[str, Any]]:
        """Return the likeliest class of each example, and the probability of every class."""
        return [
            {
                "label": self.classes[int(index)],
                "probabilities": dict(zip(self.classes, np.round(row, 6).tolist(), strict=True)),
            }
            for index, row in zip(self.decide(probabilities), probabilities, strict=True)
        ]


@dataclass(frozen=True)
class Classification(ClassTask):
    """One text: start text extract."""

    kind = "classification"
    text_columns = ("text",)
    num_texts = 1

    @staticmethod
    def sequences(
        texts: Sequence[Ids], special: Special, n_ctx: int, *, question: Ids = ()
    ) -> tuple[list[list[int]], bool]:
        """Return the text between the start and the extract token."""
        (text,) = texts
        return single(text, special, n_ctx)

    def named_texts(self, example: Example) -> list[tuple[str, str]]:
        """Return the text without a name."""
        return [("", example.texts[0])]


@dataclass(frozen=True)
class Entailment(ClassTask):
    """A premise and a hypothesis, in this order: start premise delimiter hypothesis extract."""

    kind = "entailment"
    text_columns = ("text_a", "text_b")

    @staticmethod
    def sequences(
        texts: Sequence[Ids], special: Special, n_ctx: int, *, question: Ids = ()
    ) -> tuple[list[list[int]], bool]:
        """Return the pair in its order."""
        premise, hypothesis = texts
        return pair(premise, hypothesis, special, n_ctx)

    def named_texts(self, example: Example) -> list[tuple[str, str]]:
        """Return the premise and the hypothesis."""
        return list(zip(("premise", "hypothesis"), example.texts, strict=True))


class UnorderedPair:
    """Two texts in no order: both orders are read, and their states added (spec 5)."""

    text_columns: ClassVar[tuple[str, ...]] = ("text_a", "text_b")
    ordered: ClassVar[bool] = False
    num_texts = 2
    num_sequences = 2

    @staticmethod
    def sequences(
        texts: Sequence[Ids], special: Special, n_ctx: int, *, question: Ids = ()
    ) -> tuple[list[list[int]], bool]:
        """Return the pair in both orders."""
        first, second = texts
        return both_orders(first, second, special, n_ctx)


@dataclass(frozen=True)
class Similarity(UnorderedPair, ClassTask):
    """Two texts in no order, with a class."""

    kind = "similarity"


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
        return (
            f"{rows:,} rows have {classes:,} different labels, {MOST_CLASSES:,} are the most: "
            f"{looks}"
        )
    return ""


def sorted_names(names: set[str]) -> tuple[str, ...]:
    """Return labels in order: by number if all are numbers, else by letters."""
    try:
        return tuple(sorted(names, key=lambda text: (finite(text), text)))
    except ValueError:
        return tuple(sorted(names))


def class_index(classes: Sequence[str], name: str, place: str) -> int:
    """Return the index of a class. Raises DataError if there is none of that name."""
    if name in classes:
        return classes.index(name)
    raise DataError(
        f"{place}: the label is {name[:40]!r}; the task's classes are "
        f"{', '.join(classes[:20])}. Correct the row."
    )


def check_class_names(weights: Mapping[str, float], classes: Sequence[str]) -> None:
    """Raise ConfigError if task.class_weight names a class that the task does not have."""
    unknown = sorted(weights.keys() - set(classes))
    if unknown:
        raise ConfigError(
            f"task.class_weight names {unknown[0]!r}; the classes are {', '.join(classes)}."
        )


def finite(text: str) -> float:
    """Return a number. Raises ValueError for what is none, or not finite."""
    number = float(text)
    if not math.isfinite(number) or "_" in text:  # Python's own 1_000 is nobody's number
        raise ValueError(text)
    return number
