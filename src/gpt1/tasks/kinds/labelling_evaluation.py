"""What a model came to on sentences with a tag for each word: entities, calibration, errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from gpt1.tasks.bootstrap import bootstrap_sums
from gpt1.tasks.entities import entities
from gpt1.tasks.kinds import evaluation
from gpt1.tasks.kinds.base import Array, Task
from gpt1.tasks.metrics import f1_of_sums, share_of_sums
from gpt1.tasks.spec import Example


@dataclass(frozen=True, kw_only=True)
class LabellingEvaluation(evaluation.TaskEvaluation):
    """Of a tag for each word; the bins are over words, the classes are types of entities."""

    words: int

    baseline_label = "token accuracy, always saying the most frequent tag"
    unit = "entities"
    classes_title = "Per type of entity"
    errors_note = "sentences with a wrong tag, that with the surest wrong tag first."

    @classmethod
    def of(
        cls,
        task: Task,
        examples: Sequence[Example],
        predicted: Sequence[list[str]],
        probabilities: Array,
        places: Sequence[str],
        metrics: Iterable[str],
    ) -> LabellingEvaluation:
        """Measure predicted tags of labelled sentences; probabilities are (words, tags)."""
        gold = [list(example.label or ()) for example in examples]
        right = np.array([g == p for g, p in zip(chain(*gold), chain(*predicted), strict=True)])
        confidence = probabilities.max(1)
        there, given, both = Counter[str](), Counter[str](), Counter[str]()
        wrong: list[tuple[float, int]] = []
        start = 0
        for i, pair in enumerate(zip(gold, predicted, strict=True)):
            g, p = (set(entities(tags)) for tags in pair)
            for counter, found in ((there, g), (given, p), (both, g & p)):
                counter.update(name for name, *_ in found)
            words = slice(start, start := start + len(pair[0]))
            if not right[words].all():
                wrong.append((float(confidence[words][~right[words]].max()), i))
        wrong.sort(key=lambda each: (-each[0], each[1]))
        types = sorted(there | given)
        most = Counter(chain(*gold)).most_common(1)[0][1]
        intervals = {}
        for name in metrics:
            metric, counts = METRICS[name]
            intervals[name] = bootstrap_sums(metric, counts(gold, predicted))
        return cls(
            task=task,
            rows=len(examples),
            metrics=intervals,
            baseline=most / len(right),
            classes=evaluation.class_figures(
                types, *([each[name] for name in types] for each in (both, there, given))
            ),
            bins=evaluation.calibration_bins(confidence, right),
            words=len(right),
            wrong=len(wrong),
            errors=tuple(
                evaluation.Mistake(
                    i, places[i], (task.named_texts(examples[i])[0][1],), "",
                    _shown(examples[i], gold[i]), _shown(examples[i], predicted[i]), sure,
                )
                for sure, i in wrong[: evaluation.ERRORS]
            ),
        )  # fmt: skip

    def details(self) -> dict[str, Any]:
        """Return the figures of each type of entity and the calibration."""
        return {"words": self.words, **super().details()}


def _shown(example: Example, tags: Sequence[str]) -> str:
    """Return the entities of a sentence as text."""
    found = entities(tags)
    return ", ".join(f"{name}: {' '.join(example.texts[b:e])}" for name, b, e in found) or "none"


def entity_counts(gold: Sequence[list[str]], predicted: Sequence[list[str]]) -> Array:
    """Return (sentences, 3): entities predicted rightly, those there are, those predicted."""
    rows = []
    for pair in zip(gold, predicted, strict=True):
        g, p = (set(entities(tags)) for tags in pair)
        rows.append((len(g & p), len(g), len(p)))
    return np.array(rows, np.float64)


def _count_words(gold: Sequence[list[str]], predicted: Sequence[list[str]]) -> Array:
    pairs = zip(gold, predicted, strict=True)
    return np.array([(sum(map(str.__eq__, g, p)), len(g)) for g, p in pairs], np.float64)


METRICS = {
    "entity_f1": (f1_of_sums, entity_counts),
    "token_accuracy": (share_of_sums, _count_words),
}
"""Functions of sums, and what each sentence adds to the sums."""
