"""Regression: how similar two texts are, in no order, as a score on a scale (spec 4.6)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from gpt1.errors import DataError
from gpt1.reports.sections import Curve, LineChart, Section
from gpt1.tasks.bootstrap import bootstrap
from gpt1.tasks.kinds.base import Array, Task
from gpt1.tasks.kinds.classes import UnorderedPair, finite
from gpt1.tasks.kinds.evaluation import ERRORS, Mistake, TaskEvaluation
from gpt1.tasks.spec import Example, Label

ANCHORS = 6
"""How many points of the scale the head gives a probability to."""
MOST_SCORE = 1e30
"""The bound of a score, either way: its square is still finite."""
_POINTS = 1500  # of a scatter chart


@dataclass(frozen=True)
class Regression(UnorderedPair, Task):
    """A score between the ends of `scale`: the expected one of a distribution over six anchors.

    >>> Regression(scale=(0.0, 5.0)).anchors
    (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
    """

    scale: tuple[float, float]
    metric: str = field(default="pearson", kw_only=True)

    kind = "regression"
    metric_names = ("pearson", "spearman")
    answer_fields = ("score",)

    @property
    def anchors(self) -> tuple[float, ...]:
        """The scores that the head's numbers stand for, evenly from lowest to highest."""
        low, high = self.scale
        return tuple(low + (high - low) * i / (ANCHORS - 1) for i in range(ANCHORS))

    @classmethod
    def learn(
        cls,
        examples: Sequence[Example],
        raw: Sequence[Any],
        places: Sequence[str],
        trained: Task | None = None,
    ) -> Self:
        """Return the task with a scale from the lowest to the highest score. Raises DataError."""
        scores = [_score(text, where) for text, where in zip(raw, places, strict=True)]
        task = cls(scale=(min(scores), max(scores))).going_on(trained)
        low, high = task.scale
        if low == high:
            what = "the only score is" if len(scores) == 1 else f"all {len(scores):,} scores are"
            raise DataError(f"{places[0]}: {what} {low:g}; a regression needs scores that differ.")
        return task

    def parse_label(self, raw: Any, where: str) -> Label:
        """Return a score on the scale. Raises DataError."""
        score, (low, high) = _score(raw, where), self.scale
        if not low <= score <= high:
            raise DataError(
                f"{where}: the score is {score:g}; the task's scale goes from {low:g} to "
                f"{high:g}. Correct the row."
            )
        return score

    @property
    def for_new_rows(self) -> None:
        """None: scores beyond those of the training rows are no mistake."""
        return

    def covering(self, examples: Sequence[Example]) -> Self:
        """Return the task with a scale that has the scores of `examples` as well."""
        scores = [float(e.label) for e in examples if e.label is not None]
        return replace(self, scale=(min([*self.scale, *scores]), max([*self.scale, *scores])))

    def going_on(self, trained: Task | None) -> Self:
        """Return this task with a scale that has that of `trained` as well."""
        if trained is None:
            return self
        assert isinstance(trained, Regression)
        ends = (*self.scale, *trained.scale)
        return replace(self, scale=(min(ends), max(ends)))

    def describe_rows(self, trained: Task, rows: Mapping[int, int]) -> str:
        """Return that a trained head is kept, and its scale if that is another one now."""
        assert isinstance(trained, Regression)
        (low, high), (old_low, old_high) = self.scale, trained.scale
        changed = f"; its scale was {old_low:g} to {old_high:g} and is {low:g} to {high:g}"
        kept = super().describe_rows(trained, rows)
        return kept + changed * (self.scale != trained.scale)

    @classmethod
    def classes_of(cls, example: Example) -> Collection[Any]:
        """Return (): scores that no example has can be predicted."""
        return ()

    @property
    def num_scores(self) -> int:
        """A score for each anchor."""
        return ANCHORS

    def targets(self, example: Example) -> Array:
        """Return the score as a distribution over the two anchors beside it, (1, 6)."""
        targets = np.zeros((1, ANCHORS))
        if example.label is not None:
            low, high = self.scale
            point = (ANCHORS - 1) * (example.label - low) / (high - low)
            below = min(int(point), ANCHORS - 2)
            targets[0, below : below + 2] = below + 1 - point, point - below
        return targets

    def decide(self, probabilities: Array) -> Array:
        """Return the expected score of each example, (n,)."""
        return np.asarray(probabilities @ np.array(self.anchors), np.float64)

    def measure(
        self, examples: Sequence[Example], probabilities: Array, metrics: list[str]
    ) -> ScoreEvaluation:
        """Return the correlations and the mean absolute error."""
        gold = np.array([example.label for example in examples], np.float64)
        predicted = self.decide(probabilities)
        intervals = {name: bootstrap(name, gold, predicted) for name in metrics}
        intervals["mean_absolute_error"] = bootstrap(mean_absolute_error, gold, predicted)
        worst = np.argsort(-np.abs(gold - predicted), kind="stable")[:ERRORS].tolist()
        return ScoreEvaluation(
            task=self,
            rows=len(examples),
            metrics=intervals,
            baseline=float(np.abs(gold - gold.mean()).mean()),
            errors=[
                Mistake(row=i, gold=f"{gold[i]:g}", predicted=f"{predicted[i]:.2f}") for i in worst
            ],
            gold=gold,
            predicted=predicted,
        )

    def records(self, examples: Sequence[Example], probabilities: Array) -> list[dict[str, Any]]:
        """Return the expected score of each example."""
        return [{"score": round(score, 6)} for score in self.decide(probabilities).tolist()]

    def answer_text(self, answer: Any) -> str:
        """Return the score with six decimals."""
        return f"{answer:.6f}"


@dataclass(frozen=True, kw_only=True)
class ScoreEvaluation(TaskEvaluation):
    """Results of a score a row: `gold` and `predicted` are the scores (n,)."""

    gold: Array = field(repr=False)
    predicted: Array = field(repr=False)

    baseline_label = "the same, always saying the mean"

    def details(self) -> dict[str, Any]:
        """Return {}: there are no classes."""
        return {}

    def sections(self) -> list[Section]:
        """Return right against predicted scores and the largest errors."""
        rows = np.arange(self.rows)
        note = "A point for each row; on the dashed line both are equal."
        if self.rows > _POINTS:
            rows = np.sort(np.random.default_rng(0).permutation(self.rows)[:_POINTS])
            note += f" {_POINTS:,} of {self.rows:,} rows."
        points = Curve("", self.gold[rows].tolist(), self.predicted[rows].tolist(), style="dots")
        chart = LineChart("", "right score", "predicted score", [points], diagonal=True)
        return [Section("Scores", [chart], note), self.errors_section("Largest errors")]


def mean_absolute_error(gold: ArrayLike, predicted: ArrayLike) -> float:
    """Return how far off a score is, on average."""
    return float(np.abs(np.asarray(gold) - np.asarray(predicted)).mean())


def _score(text: str, where: str) -> float:
    try:
        score = finite(text)
    except ValueError:
        raise DataError(f"{where}: the label is {text[:40]!r}; it must be a number.") from None
    if abs(score) > MOST_SCORE:
        raise DataError(
            f"{where}: the score is {score:g}; it must be between {-MOST_SCORE:g} and "
            f"{MOST_SCORE:g}. Correct the row."
        )
    return score
