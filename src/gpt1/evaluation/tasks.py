"""How good a fine-tuned model is at its task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gpt1.callbacks import ProgressCallback
from gpt1.errors import InputError
from gpt1.tasks.kinds.evaluation import TaskEvaluation
from gpt1.tasks.predictor import Predictor
from gpt1.tasks.spec import Example


def evaluate(
    predictor: Predictor,
    examples: Sequence[Example],
    *,
    places: Sequence[str] | None = None,
    metrics: Sequence[str] = (),
    progress: ProgressCallback | None = None,
) -> TaskEvaluation:
    """Measure a model on labelled examples.

    places: where each is from, for people. metrics: those to name first. `progress(done, total)`
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
    where = [""] * len(examples) if places is None else places
    evaluation = task.evaluate(examples, probabilities, where, metrics)
    return replace(evaluation, truncated=encoded.truncated)
