"""What a model came to on rows with one label each: confusions, calibration, errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpt1.reports.sections import Matrix, Section, Table
from gpt1.tasks.bootstrap import bootstrap
from gpt1.tasks.kinds.base import Array, Task
from gpt1.tasks.kinds.evaluation import (
    ERRORS,
    Mistake,
    TaskEvaluation,
    calibration_bins,
    class_figures,
)
from gpt1.tasks.metrics import confusion
from gpt1.tasks.spec import Example

_MATRIX = 20  # classes; with more, the most frequent confusions are listed
_PAIRS = 30


@dataclass(frozen=True, kw_only=True)
class ClassEvaluation(TaskEvaluation):
    """Of one label a row. confusion: row = the right class, column = the predicted one."""

    names: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration_error: float
    noun: str = "class"

    errors_note = (
        "rows with a wrong label, the surest first. Often the given label is what is wrong: check "
        "these first."
    )

    @classmethod
    def of(
        cls,
        task: Task,
        examples: Sequence[Example],
        probabilities: Array,
        places: Sequence[str],
        metrics: Sequence[str],
        noun: str = "class",
    ) -> ClassEvaluation:
        """Measure probabilities (n, classes) of labelled examples."""
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
        errors = [
            Mistake(
                i, places[i], examples[i].texts, examples[i].question, names[int(gold[i])],
                names[int(predicted[i])], float(confidence[i]),
            )
            for i in wrong[:ERRORS].tolist()
        ]  # fmt: skip
        return cls(
            task=task,
            rows=len(examples),
            metrics={name: bootstrap(name, gold, predicted) for name in metrics},
            baseline=float(counts.sum(1).max() / len(examples)),
            names=names,
            classes=class_figures(names, np.diagonal(counts), counts.sum(1), counts.sum(0)),
            confusion=tuple(tuple(row) for row in counts.tolist()),
            bins=bins,
            calibration_error=distance / len(examples),
            errors=tuple(errors),
            wrong=len(wrong),
            noun=noun,
        )

    @property
    def baseline_label(self) -> str:  # type: ignore[override]
        """What `baseline` is, for people."""
        return f"accuracy, always saying the most frequent {self.noun}"

    def metric_label(self, name: str) -> str:
        """Return what a metric is called, for people."""
        return super().metric_label(name) + (f" of {self.names[1]}" if name == "f1" else "")

    def figures(self) -> list[tuple[str, str, str]]:
        """Return (name, value, interval) for people."""
        return [*super().figures(), ("calibration error", f"{self.calibration_error:.4f}", "")]

    def details(self) -> dict[str, Any]:
        """Return the figures of each class, the confusions and the calibration."""
        confusion = [list(row) for row in self.confusion]
        error = self.calibration_error
        return {**super().details(), "confusion": confusion, "calibration_error": error}

    def sections(self) -> list[Section]:
        """Return confusions, figures per class, calibration and the most confident errors."""
        return [self._confusions(), *super().sections()]

    def _confusions(self) -> Section:
        names = self.names
        if len(names) <= _MATRIX:
            return Section(
                "Confusions",
                Matrix(names, self.confusion),
                "A row for each right label, a column for each predicted one. Right is blue and "
                "wrong is red, the darker the larger the share of its row.",
            )
        wrong = np.array(self.confusion) * (1 - np.eye(len(names), dtype=np.int64))
        order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS].tolist()
        pairs = [divmod(i, len(names)) for i in order]
        rows = tuple((names[g], names[p], f"{wrong[g, p]:,}") for g, p in pairs if wrong[g, p])
        table = Table(("right", "predicted", "rows"), rows)
        return Section("Confusions", table, f"The most frequent of {len(names)} classes.")
