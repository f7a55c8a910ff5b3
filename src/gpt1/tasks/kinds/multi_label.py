"""Multi-label classification: any number of classes for a text, each decided on its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from gpt1.data.tables import text_fault
from gpt1.errors import DataError
from gpt1.tasks.bootstrap import bootstrap
from gpt1.tasks.kinds import evaluation
from gpt1.tasks.kinds.base import Array, ClassWeight, Task
from gpt1.tasks.kinds.classes import ClassTask, classes_fault, one_spelling, sorted_names
from gpt1.tasks.kinds.fields import Fields
from gpt1.tasks.metrics import SumMetric, f1_of_sums, share_of_sums
from gpt1.tasks.spec import Example, Label, label_name
from gpt1.tasks.transforms import single

if TYPE_CHECKING:
    from torch import Tensor

SEPARATOR = "|"
THRESHOLD = 0.5


def _count_classes(gold: Array, predicted: Array) -> Array:
    return np.concatenate([gold * predicted, gold, predicted], axis=1)


def _count_all(gold: Array, predicted: Array) -> Array:
    return np.stack([(gold * predicted).sum(1), gold.sum(1), predicted.sum(1)], axis=1)


def _count_exact(gold: Array, predicted: Array) -> Array:
    exact = (gold == predicted).all(1)
    return np.stack([exact, np.ones_like(exact)], axis=1).astype(np.float64)


_METRICS = {
    "micro_f1": SumMetric(_count_all, f1_of_sums),
    "macro_f1": SumMetric(_count_classes, f1_of_sums),
    "subset_accuracy": SumMetric(_count_exact, share_of_sums),
}


@dataclass(frozen=True)
class MultiLabel(ClassTask):
    """A text with any of `classes`; the label is their indices in order, () for none.

    The head gives a number for each class, and its sigmoid is that class's probability. The loss
    of a text is the sum of the binary cross-entropies of its classes. class_weight is the weight of
    a class's term for texts that have the class (PyTorch's pos_weight); "balanced" is the ratio of
    texts without it to texts with it.
    """

    metric: str = field(default="micro_f1", kw_only=True)

    kind = "multi-label"
    text_columns = ("text",)
    label_column = "labels"
    metric_names = tuple(_METRICS)
    metric_functions = _METRICS
    answer_fields = ("labels", "probabilities")
    sequences = staticmethod(single)

    @classmethod
    def read_label(cls, fields: Fields) -> tuple[str, ...] | None:
        """Return the names of the classes: a list, JSON, or a text with | between them."""
        value = fields.get("labels")
        if value is None:
            return None
        is_number = isinstance(value, int | float)
        items = [value] if is_number else fields.items("labels", SEPARATOR)
        names = [label_name(item) for item in items if item is not None]
        for name in names:
            if name and (fault := text_fault(name)):
                raise DataError(f"{fields.where}: a label is {name!r}: {fault}. Correct the row.")
        return tuple(dict.fromkeys(filter(None, names)))

    @classmethod
    def merge_spellings(cls, raw: list[Any], notes: list[str]) -> list[Any]:
        """Return the labels, those that differ in case or blanks alone as one; `notes` says so."""
        names = one_spelling([name for names in raw for name in names], notes)
        return [tuple(dict.fromkeys(names[name] for name in row)) for row in raw]

    @classmethod
    def learn(
        cls,
        examples: Sequence[Example],
        raw: Sequence[Any],
        places: Sequence[str],
        trained: Task | None = None,
    ) -> Self:
        """Return the task with the labels that occur, in order. Raises DataError."""
        classes = {name for names in raw for name in names}
        task = cls(sorted_names(classes)).going_on(trained)
        if not task.classes:
            raise DataError(f"{places[0]}: no row has a label; a task needs at least one class.")
        if fault := classes_fault(len(classes), sum(map(len, raw))):
            raise DataError(
                f"{places[0]}: the labels are {SEPARATOR.join(raw[0])[:40]!r}, and {fault}. Name "
                f"the right column, --columns labels=NAME (Python: columns={{'labels': NAME}})."
            )
        return task

    def parse_label(self, raw: Any, where: str) -> Label:
        """Return the indices of classes. Raises DataError for a class that is not the task's."""
        return tuple(sorted(self.class_index(name, where) for name in raw))

    def count_labels(self, labels: Sequence[Label]) -> dict[str, int]:
        """Return how many examples have each class, and how many none."""
        counts = Counter(index for label in labels for index in label)
        return {**super().count_labels(list(counts.elements())), "(none)": labels.count(())}

    @classmethod
    def classes_of(cls, example: Example) -> Collection[Any]:
        """Return the classes of an example."""
        return example.label or ()

    def targets(self, example: Example) -> Array:
        """Return 1 for the classes of the example, 0 for the others, (1, classes)."""
        targets = np.zeros((1, len(self.classes)))
        targets[0, list(example.label or ())] = 1
        return targets

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the binary cross-entropies (n, classes) of logits and targets."""
        return logits.clamp(min=0) - logits * targets + (-logits.abs()).exp().log1p()

    def class_weights(self, setting: ClassWeight, targets: Array) -> Array:
        """Return the weight of each loss, (n, classes). Raises ConfigError."""
        weights = {} if setting is None else self.resolve_class_weight(setting, targets)
        return np.where(targets == 1, self.named_weights(weights), 1.0)

    def balanced_weights(self, targets: Array) -> Array:
        """Return weights by which the rows that have a class weigh as those that have not."""
        positives = targets.sum(0)
        return np.asarray((len(targets) - positives).clip(1) / positives.clip(1))

    def probabilities(self, logits: Tensor, readable: NDArray[np.bool_]) -> Array:
        """Return the probability of each class, (n, classes)."""
        probabilities: Array = logits.double().sigmoid().numpy()
        return probabilities

    def decide(self, probabilities: Array) -> Array:
        """Return (n, classes): 1 where the probability is at least 0.5."""
        return (probabilities >= THRESHOLD).astype(np.float64)

    def measure(
        self, examples: Sequence[Example], probabilities: Array, metrics: list[str]
    ) -> MultiLabelEvaluation:
        """Return micro and macro F1, subset accuracy, figures per class and calibration."""
        gold = np.concatenate([self.targets(example) for example in examples])
        predicted = self.decide(probabilities)
        wrong = gold != predicted
        distance = np.where(wrong, np.abs(probabilities - THRESHOLD), -1.0)  # (n, classes)
        rows = np.flatnonzero(wrong.any(1))
        rows = rows[np.argsort(-distance.max(1)[rows], kind="stable")]
        confidence = np.maximum(probabilities, 1 - probabilities)
        _, frequency = np.unique(gold, axis=0, return_counts=True)
        return MultiLabelEvaluation(
            task=self,
            rows=len(examples),
            metrics={name: bootstrap(_METRICS[name], gold, predicted) for name in metrics},
            baseline=float(frequency.max() / len(examples)),
            classes=evaluation.class_figures(
                self.classes, (gold * predicted).sum(0), gold.sum(0), predicted.sum(0)
            ),
            bins=evaluation.calibration_bins(confidence.ravel(), ~wrong.ravel()),
            wrong=len(rows),
            errors=[
                evaluation.Mistake(
                    row=i,
                    gold=SEPARATOR.join(self.answer(gold[i])),
                    predicted=SEPARATOR.join(self.answer(predicted[i])),
                    confidence=float(confidence[i, distance[i].argmax()]),
                )
                for i in rows[: evaluation.ERRORS].tolist()
            ],
        )

    def answer(self, decision: Array) -> list[str]:
        """Return the names of the classes whose indicator in `decision` (classes,) is 1."""
        return [name for name, chosen in zip(self.classes, decision, strict=True) if chosen]

    def answer_text(self, answer: Any) -> str:
        """Return the labels with | between them."""
        return SEPARATOR.join(answer)


@dataclass(frozen=True, kw_only=True)
class MultiLabelEvaluation(evaluation.TaskEvaluation):
    """Results of any number of labels a row; the bins are over the decisions on every class."""

    baseline_label = "subset accuracy, always saying the most frequent set"
    errors_note = "rows with a label too many or missing, the surest first."
