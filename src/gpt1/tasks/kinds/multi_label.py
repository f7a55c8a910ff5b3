"""Multi-label classification: any number of classes for a text, each decided on its own."""

from __future__ import annotations

import ast
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from gpt1.data.tables import text_fault
from gpt1.errors import DataError
from gpt1.tasks.bootstrap import bootstrap_sums
from gpt1.tasks.kinds import evaluation
from gpt1.tasks.kinds.base import Array, Task
from gpt1.tasks.kinds.classes import (
    check_class_names,
    class_index,
    classes_fault,
    sorted_names,
)
from gpt1.tasks.kinds.fields import Fields
from gpt1.tasks.metrics import f1_of_sums, share_of_sums
from gpt1.tasks.spec import Example, Label, label_name
from gpt1.tasks.transforms import Ids, Special, single

if TYPE_CHECKING:
    from torch import Tensor

SEPARATOR = "|"
THRESHOLD = 0.5


@dataclass(frozen=True)
class MultiLabel(Task):
    """A text with any of `classes`; the label is their indices in order, () for none.

    The head gives a number for each class, and its sigmoid is that class's probability. The loss
    of a text is the sum of the binary cross-entropies of its classes, as those of independent
    coins. class_weight is what a text that has the class counts in that class's term (PyTorch's
    pos_weight); "balanced" is the ratio of texts without it to texts with it.
    """

    classes: tuple[str, ...]
    metric: str = field(default="micro_f1", kw_only=True)

    kind = "multi-label"
    text_columns = ("text",)
    label_column = "labels"
    metric_names = ("micro_f1", "macro_f1", "subset_accuracy")
    num_texts: ClassVar[int] = 1

    @classmethod
    def read_label(cls, fields: Fields) -> tuple[str, ...] | None:
        """Return the names of the classes: a list, JSON, or a text with | between them."""
        value, place = fields.get(cls.label_column), fields.place
        if value is None:
            return None
        if isinstance(value, str):
            value = _split(value, place)
        elif isinstance(value, np.ndarray):
            value = value.tolist()
        elif isinstance(value, int | float):
            value = [value]
        if not isinstance(value, list | tuple) or not all(
            isinstance(name, str | int | float) for name in value
        ):
            raise DataError(
                f"{place}: the labels are {str(value)[:40]!r}; they must be a list of names, or a "
                f"text with {SEPARATOR} between them."
            )
        names = [label_name(name).strip() for name in value]
        for name in names:
            if name and (fault := text_fault(name)):
                raise DataError(f"{place}: a label is {name!r}: {fault}. Correct the row.")
        return tuple(dict.fromkeys(filter(None, names)))

    @classmethod
    def learn(cls, examples: Sequence[Example], raw: Sequence[Any], places: Sequence[str]) -> Self:
        """Return the task with the labels that occur, in order. Raises DataError."""
        classes = {name for names in raw for name in names}
        if not classes:
            raise DataError(f"{places[0]}: no row has a label; a task needs at least one class.")
        if fault := classes_fault(len(classes), sum(map(len, raw))):
            raise DataError(
                f"{places[0]}: the labels are {SEPARATOR.join(raw[0])[:40]!r}, and {fault}. Name "
                f"the right column, --columns labels=NAME (Python: columns={{'labels': NAME}})."
            )
        return cls(sorted_names(classes))

    def parse_label(self, raw: Any, place: str) -> Label:
        """Return the indices of classes. Raises DataError for a class that is not the task's."""
        return tuple(sorted(class_index(self.classes, name, place) for name in raw))

    def count_labels(self, examples: Sequence[Example | None]) -> dict[str, int]:
        """Return how many examples have each class, and how many none."""
        labels = [example.label for example in examples if example is not None]
        counts = self._indicators(labels).sum(0).astype(int).tolist()
        return {**dict(zip(self.classes, counts, strict=True)), "(none)": labels.count(())}

    def describe(self) -> str:
        """Return what the task is, for messages."""
        names = ", ".join(self.classes[:8]) + (", ..." if len(self.classes) > 8 else "")
        return f"{self.kind} with the classes {names}"

    @classmethod
    def classes_of(cls, example: Example) -> Collection[Any]:
        """Return the classes of an example."""
        return example.label if isinstance(example.label, tuple) else ()

    @staticmethod
    def sequences(
        texts: Sequence[Ids], special: Special, n_ctx: int, *, question: Ids = ()
    ) -> tuple[list[list[int]], bool]:
        """Return the text between the start and the extract token."""
        (text,) = texts
        return single(text, special, n_ctx)

    @property
    def num_outputs(self) -> int:
        """A number for each class."""
        return len(self.classes)

    @property
    def score_names(self) -> tuple[str, ...]:
        """The classes."""
        return self.classes

    def is_sound(self) -> bool:
        """Return whether there are classes and a metric of this kind."""
        return len(self.classes) >= 1 and self.metric in self.metric_names

    def _indicators(self, labels: Sequence[Label | None]) -> Array:
        """Return (n, classes): 1 where an example has the class."""
        indicators = np.zeros((len(labels), len(self.classes)))
        for row, label in zip(indicators, labels, strict=True):
            row[list(label if isinstance(label, tuple) else ())] = 1
        return indicators

    def targets(self, example: Example) -> Array:
        """Return 1 for the classes of the example, 0 for the others, (1, classes)."""
        return self._indicators([example.label])

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the binary cross-entropies (n, classes) of logits and targets."""
        return logits.clamp(min=0) - logits * targets + (-logits.abs()).exp().log1p()

    def class_weights(self, wanted: str | Mapping[str, float] | None, targets: Array) -> Array:
        """Return what each of the losses counts, (n, classes). Raises ConfigError."""
        if wanted is None:
            return np.ones_like(targets)
        if isinstance(wanted, Mapping):
            check_class_names(wanted, self.classes)
            weights = np.array([wanted.get(name, 1.0) for name in self.classes])
        else:
            with_class = targets.sum(0)
            weights = (len(targets) - with_class).clip(1) / with_class.clip(1)
        return np.where(targets == 1, weights, 1.0)

    def probabilities(self, logits: Tensor, readable: NDArray[np.bool_]) -> Array:
        """Return the probability of each class, (n, classes)."""
        found: Array = logits.double().sigmoid().numpy()
        return found

    def decide(self, probabilities: Array) -> Array:
        """Return (n, classes): 1 where the probability is at least 0.5."""
        return (probabilities >= THRESHOLD).astype(np.float64)

    def compute_metric(
        self, targets: Array, probabilities: Array, units: NDArray[np.int64]
    ) -> float:
        """Return the task's metric of probabilities against targets, both (n, classes)."""
        metric, counts = _METRICS[self.metric]
        return float(metric(counts(targets, self.decide(probabilities)).sum(0)[None])[0])

    def evaluate(
        self,
        examples: Sequence[Example],
        probabilities: Array,
        places: Sequence[str],
        first: Sequence[str] = (),
    ) -> MultiLabelEvaluation:
        """Return micro and macro F1, subset accuracy, figures per class and calibration."""
        gold = self._indicators([example.label for example in examples])
        predicted = self.decide(probabilities)
        names = dict.fromkeys(
            [*(name for name in first if name in self.metric_names), *self.metric_names]
        )
        wrong = gold != predicted
        distance = np.where(wrong, np.abs(probabilities - THRESHOLD), -1.0)  # (n, classes)
        rows = np.flatnonzero(wrong.any(1))
        rows = rows[np.argsort(-distance.max(1)[rows], kind="stable")]
        confidence = np.maximum(probabilities, 1 - probabilities)
        _, frequency = np.unique(gold, axis=0, return_counts=True)
        return MultiLabelEvaluation(
            task=self,
            rows=len(examples),
            metrics={
                name: bootstrap_sums(metric, counts(gold, predicted))
                for name in names
                for metric, counts in [_METRICS[name]]
            },
            baseline=float(frequency.max() / len(examples)),
            classes=evaluation.class_figures(
                self.classes, (gold * predicted).sum(0).astype(int), gold.sum(0).astype(int),
                predicted.sum(0).astype(int),
            ),
            bins=evaluation.calibration_bins(confidence.ravel(), ~wrong.ravel()),
            wrong=len(rows),
            errors=tuple(
                evaluation.Mistake(
                    i, places[i], examples[i].texts, "", self._joined(gold[i]),
                    self._joined(predicted[i]), float(confidence[i, distance[i].argmax()]),
                )
                for i in rows[: evaluation.ERRORS].tolist()
            ),
        )  # fmt: skip

    def _joined(self, indicators: Array) -> str:
        return SEPARATOR.join(np.array(self.classes)[indicators == 1].tolist())

    def records(self, examples: Sequence[Example], probabilities: Array) -> list[dict[str, Any]]:
        """Return the labels of each example, and the probability of every class."""
        return [
            {
                "labels": [name for name, has in zip(self.classes, row, strict=True) if has],
                "probabilities": dict(zip(self.classes, np.round(p, 6).tolist(), strict=True)),
            }
            for row, p in zip(self.decide(probabilities), probabilities, strict=True)
        ]

    def csv_cells(self, record: Mapping[str, Any]) -> list[str]:
        """Return the labels with | between them, and the probabilities."""
        labels = SEPARATOR.join(record["labels"])
        return [labels, *(f"{p:.6f}" for p in record["probabilities"].values())]

    def named_texts(self, example: Example) -> list[tuple[str, str]]:
        """Return the text without a name."""
        return [("", example.texts[0])]


@dataclass(frozen=True, kw_only=True)
class MultiLabelEvaluation(evaluation.TaskEvaluation):
    """Of any number of labels a row; the bins are over the decisions on every class."""

    baseline_label = "subset accuracy, always saying the most frequent set"
    errors_note = "rows with a label too many or missing, the surest first."


def _split(text: str, place: str) -> Any:
    """Return the labels of a cell: JSON, or names with | between them. Raises DataError."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return text.split(SEPARATOR)
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)  # as pandas writes a column of lists
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise DataError(
            f"{place}: the labels are {text[:40]!r}, which is no JSON list. Correct the row."
        ) from None


def _count_classes(gold: Array, predicted: Array) -> Array:
    return np.concatenate([gold * predicted, gold, predicted], axis=1)


def _count_all(gold: Array, predicted: Array) -> Array:
    return np.stack([(gold * predicted).sum(1), gold.sum(1), predicted.sum(1)], axis=1)


def _count_exact(gold: Array, predicted: Array) -> Array:
    exact = (gold == predicted).all(1)
    return np.stack([exact, np.ones_like(exact)], axis=1).astype(np.float64)


_METRICS = {
    "micro_f1": (f1_of_sums, _count_all),
    "macro_f1": (f1_of_sums, _count_classes),
    "subset_accuracy": (share_of_sums, _count_exact),
}
"""Functions of sums, and what each row adds to the sums."""
