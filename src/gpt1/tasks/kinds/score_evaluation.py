"""What a model came to on rows with a score each: right against predicted ones, errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpt1.reports.sections import Curve, LineChart, Section
from gpt1.tasks.bootstrap import bootstrap
from gpt1.tasks.kinds.base import Array, Task
from gpt1.tasks.kinds.evaluation import ERRORS, Mistake, TaskEvaluation
from gpt1.tasks.spec import Example

_POINTS = 1500  # of a scatter chart


@dataclass(frozen=True, kw_only=True)
class ScoreEvaluation(TaskEvaluation):
    """Of a score a row: `gold` and `predicted` are the scores (n,)."""

    gold: Array = field(repr=False)
    predicted: Array = field(repr=False)

    baseline_label = "the same, always saying the mean"

    @classmethod
    def of(
        cls,
        task: Task,
        examples: Sequence[Example],
        predicted: Array,
        places: Sequence[str],
        metrics: Sequence[str],
    ) -> ScoreEvaluation:
        """Measure predicted scores (n,) of labelled examples."""
        gold = np.array([example.label for example in examples], np.float64)
        off = np.abs(gold - predicted)
        worst = np.argsort(-off, kind="stable")[:ERRORS].tolist()
        errors = [
            Mistake(i, places[i], examples[i].texts, examples[i].question, f"{gold[i]:g}",
                    f"{predicted[i]:.2f}")
            for i in worst
        ]  # fmt: skip
        intervals = {name: bootstrap(name, gold, predicted) for name in metrics}
        intervals["mean_absolute_error"] = bootstrap(mean_absolute_error, gold, predicted)
        return cls(
            task=task,
            rows=len(examples),
            metrics=intervals,
            baseline=float(np.abs(gold - gold.mean()).mean()),
            errors=tuple(errors),
            gold=gold,
            predicted=predicted,
        )

    def details(self) -> dict[str, Any]:
        """Return {}: there are no classes."""
        return {}

    def sections(self) -> list[Section]:
        """Return right against predicted scores and the largest errors."""
        chosen = np.arange(len(self.gold))
        if len(chosen) > _POINTS:
            chosen = np.sort(np.random.default_rng(0).permutation(len(chosen))[:_POINTS])
        gold, predicted = self.gold[chosen].tolist(), self.predicted[chosen].tolist()
        points = Curve("", gold, predicted, style="dots")
        note = "A point for each row; on the dashed line both are equal."
        if len(chosen) < self.rows:
            note += f" {len(chosen):,} of {self.rows:,} rows."
        chart = LineChart("", "right score", "predicted score", [points], diagonal=True)
        return [Section("Scores", [chart], note), self.errors_section("Largest errors")]


def mean_absolute_error(gold: ArrayLike, predicted: ArrayLike) -> float:
    """Return how far off a score is, on average."""
    return float(np.abs(np.asarray(gold) - np.asarray(predicted)).mean())
