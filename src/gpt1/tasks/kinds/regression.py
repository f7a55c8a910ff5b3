"""Regression: how similar two texts are, in no order, as a score on a scale (spec 4.6)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from gpt1.errors import DataError
from gpt1.tasks.kinds.base import Array, Task
from gpt1.tasks.kinds.classes import UnorderedPair, finite
from gpt1.tasks.kinds.score_evaluation import ScoreEvaluation
from gpt1.tasks.spec import Example, Label

ANCHORS = 6
"""Points of the scale that the head gives a probability to."""
MOST_SCORE = 1e30
"""A score's bound, either way: its square still is a number."""


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

    @property
    def anchors(self) -> tuple[float, ...]:
        """The scores that the head's numbers stand for, evenly from lowest to highest."""
        low, high = self.scale
        return tuple(low + (high - low) * i / (ANCHORS - 1) for i in range(ANCHORS))

    @classmethod
    def learn(cls, examples: Sequence[Example], raw: Sequence[Any], places: Sequence[str]) -> Self:
        """Return the task with a scale from the lowest to the highest score. Raises DataError."""
        scores = [_score(text, place) for text, place in zip(raw, places, strict=True)]
        low, high = min(scores), max(scores)
        if low == high:
            what = "the only score is" if len(scores) == 1 else f"all {len(scores):,} scores are"
            raise DataError(f"{places[0]}: {what} {low:g}; a regression needs scores that differ.")
        return cls(scale=(low, high))

    def parse_label(self, raw: Any, place: str) -> Label:
        """Return a score on the scale. Raises DataError."""
        score, (low, high) = _score(raw, place), self.scale
        if not low <= score <= high:
            raise DataError(
                f"{place}: the score is {score:g}; the task's scale goes from {low:g} to "
                f"{high:g}. Correct the row."
            )
        return score

    @property
    def for_new_rows(self) -> None:
        """Scores beyond those of the training rows are no mistake."""
        return

    def covering(self, examples: Sequence[Example]) -> Self:
        """Return the task with a scale that has the scores of `examples` as well."""
        scores = [float(e.label) for e in examples if e.label is not None]
        return replace(self, scale=(min([*self.scale, *scores]), max([*self.scale, *scores])))

    @classmethod
    def classes_of(cls, example: Example) -> Collection[Any]:
        """Return (): no score must be taught to be predicted."""
        return ()

    @property
    def num_outputs(self) -> int:
        """A number for each anchor."""
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

    def evaluate(
        self,
        examples: Sequence[Example],
        probabilities: Array,
        places: Sequence[str],
        first: Sequence[str] = (),
    ) -> ScoreEvaluation:
        """Return the correlations and the mean absolute error."""
        fitting = self.metric_names
        names = list(dict.fromkeys([*(name for name in first if name in fitting), *fitting]))
        predicted = self.decide(probabilities)
        return ScoreEvaluation.of(self, examples, predicted, places, names)

    def records(self, examples: Sequence[Example], probabilities: Array) -> list[dict[str, Any]]:
        """Return the expected score of each example."""
        return [{"score": round(score, 6)} for score in self.decide(probabilities).tolist()]

    @property
    def empty_record(self) -> dict[str, Any]:
        """The answer for a row that cannot be used."""
        return {"score": None}

    @property
    def csv_header(self) -> list[str]:
        """One column."""
        return ["score"]

    def csv_cells(self, record: Mapping[str, Any]) -> list[str]:
        """Return the score."""
        return [f"{record['score']:.6f}"]

    def is_sound(self) -> bool:
        """Return whether the scale has two ends."""
        return self.scale[0] < self.scale[1] and self.metric in self.metric_names


def _score(text: str, place: str) -> float:
    try:
        score = finite(text)
    except ValueError:
        raise DataError(f"{place}: the label is {text[:40]!r}; it must be a number.") from None
    if abs(score) > MOST_SCORE:
        raise DataError(
            f"{place}: the score is {score:g}; it must be between {-MOST_SCORE:g} and "
            f"{MOST_SCORE:g}. Correct the row."
        )
    return score
