"""How good a fine-tuned model is at its task, and the page that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gpt1._version import __version__
from gpt1.callbacks import ProgressCallback
from gpt1.errors import InputError, counted
from gpt1.evaluation.baselines import baseline_figures, baselines_note
from gpt1.reports.page import render_page
from gpt1.tasks.kinds.evaluation import TaskEvaluation
from gpt1.tasks.predictor import Predictor
from gpt1.tasks.spec import Example


def evaluate(
    predictor: Predictor,
    examples: Sequence[Example],
    *,
    locations: Sequence[str] | None = None,
    metrics: Sequence[str] = (),
    train: Sequence[Example] = (),
    progress: ProgressCallback | None = None,
) -> TaskEvaluation:
    """Measure a model on labelled examples, and simple baselines beside it.

    locations: where each example is from, for the page. metrics: those to name first. train: the
    rows that baselines are learned from. `progress` counts examples. Raises InputError for no
    examples, or one that has no label or does not fit.
    """
    if not examples:
        raise InputError("there are no examples to measure; give at least one.")
    if any(example.label is None for example in examples):
        raise InputError("an example has no label; give only examples that have one.")
    # a score may lie beyond the scale of the training rows, so labels are not encoded
    encoded = predictor.encode([replace(example, label=None) for example in examples])
    probabilities = predictor.score(encoded, progress=progress)
    locations = locations or [""] * len(examples)
    evaluation = predictor.task.evaluate(examples, probabilities, locations, metrics)
    task = predictor.task
    baselines = baseline_figures(task.covering([*train, *examples]), train, examples, metrics)
    note = baselines_note(baselines, len(train))
    return replace(
        evaluation, truncated=encoded.truncated, baselines=baselines, baselines_note=note
    )


def render_evaluation(
    title: str, evaluation: TaskEvaluation, account: str = "", leakage: str = ""
) -> bytes:
    """Return an evaluation as an HTML page.

    account: how many rows were read and used. leakage: which of them the model was trained on.
    """
    long = f", {evaluation.truncated:,} of them longer than the model's window and truncated"
    note = (
        f"{counted(evaluation.rows, 'row')} measured{long * bool(evaluation.truncated)}. The "
        f"intervals hold 95 % of 1,000 resamplings of the rows. gpt1 {__version__}."
    )
    leakage = leakage or "whether the model was trained on some of these rows is not known here"
    leakage = f"{leakage[0].upper()}{leakage[1:]}."
    summary = [*filter(None, [account, note, leakage, evaluation.baselines_note])]
    names, cards = list(evaluation.baselines), []
    for name, value, interval, *others in evaluation.figure_table().rows:
        beside = [
            f"{other} {figure}" for other, figure in zip(names, others, strict=True) if figure
        ]
        cards.append((name, value, "; ".join(filter(None, [interval, *beside]))))
    return render_page(title, summary, evaluation.sections(), cards)
