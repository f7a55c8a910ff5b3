"""One function for each table and figure of the paper: train what is missing, then render.

    sweep = Sweep(Path("out"), "data", "mini")
    document, failed = table5(sweep, Options())
    document.write(sweep.out)

Results stay in the sweep's folder, so a second call only renders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from gpt1.errors import DataError, counted
from gpt1.evaluation.zero_shot_curves import measure_run, models_of_run
from gpt1.evaluation.zero_shot_sets import SETTINGS, Questions, check_sets, load_sets
from gpt1.reports.formatting import short_names
from gpt1.reproduction import figures, tables
from gpt1.reproduction.document import Document
from gpt1.reproduction.paper import FULL, FURTHER, LSTM, NO_AUX, NO_PRETRAINING, SETS
from gpt1.reproduction.plan import Display, execute, make_plan
from gpt1.reproduction.pretraining import pretrain_tiny
from gpt1.reproduction.results import Experiment, ExperimentResult, read_results
from gpt1.reproduction.sweep import Sweep, fingerprint, label, limit_of
from gpt1.tasks.datasets import data_set

VARIANTS = {"full": FULL, "no-pretraining": NO_PRETRAINING, "no-aux": NO_AUX, "lstm": LSTM}
"""The variants by their names on the command line."""

_NO_LSTM = (
    "The LSTM's row is left out: no --lstm was given. To make one: gpt1 pretrain SHARDS --size "
    "lstm-mini --out RUN, then --lstm RUN/model."
)

Render = Callable[[Sequence[ExperimentResult], Sequence[str]], Document]
"""Makes a document from results, and notes on what is missing."""

Reproduction = tuple[Document, list[str]]
"""A document, and what failed for a reason other than missing data."""


@dataclass(frozen=True)
class Options:
    """How a table or figure is made.

    sets: the data sets; () means those of the paper. train: False shows only finished results,
    whatever their settings.
    """

    sets: Sequence[str] = ()
    seeds: int = 1
    train: bool = True
    display: Display = field(default_factory=Display)


def table5(
    sweep: Sweep, options: Options, variants: Sequence[str] = (FULL, NO_PRETRAINING, NO_AUX)
) -> Reproduction:
    """Return table 5, and the same of the paper's further data sets.

    Raises ConfigError, DataError if there is nothing to show, Interrupted.
    """
    notes = () if sweep.lstm else (_NO_LSTM,)
    return _reproduce(sweep, _experiments(options, variants), tables.table5, options, notes)


def tables2_4(sweep: Sweep, options: Options) -> Reproduction:
    """Return tables 2, 3 and 4; see `table5`."""
    return _reproduce(sweep, _experiments(options, [FULL]), tables.tables2_4, options)


def figure2_left(sweep: Sweep, options: Options) -> Reproduction:
    """Return figure 2, left; see `table5`."""
    layers = sweep.model_config(FULL).n_layer
    sets = check_names(options.sets or ("mnli", "race"))
    experiments = figures.experiments_by_layers(sets, layers, options.seeds)
    return _reproduce(sweep, experiments, partial(figures.figure2_left, layers=layers), options)


def figure2_right(
    sweep: Sweep, options: Options, *, runs: Sequence[Path] = (), texts: int = 8
) -> Reproduction:
    """Return figure 2, right, over the snapshots of `runs`.

    Without any, a tiny model is pre-trained on `texts` novels. Raises ConfigError, DataError,
    CheckpointError, Interrupted.
    """
    display = options.display
    for run in runs:
        models_of_run(run)  # raises before anything is read
    questions: dict[str, Questions] = {}
    skipped = []
    for name in check_sets(options.sets or SETTINGS):
        display.status(f"reading the data: {name}", "")
        try:
            questions |= load_sets(sweep.data, [name], limit_of(name, sweep.test))
        except DataError as error:
            skipped.append(f"{name} is left out: {error}")
        else:
            display.note("\n".join(questions[name].account))
    if not questions:
        raise DataError("there is nothing to measure on. " + " ".join(skipped))
    if not runs:
        runs = [pretrain_tiny(sweep.out, sweep.data, texts, sweep.overrides, display)]
    curves = {}
    for run, name in zip(runs, short_names(runs), strict=True):
        display.status(f"measuring {name}", "rows")
        curves[name] = measure_run(run, questions, progress=display.progress)
    return figures.figure2_right(curves, skipped), []


def check_names(sets: Sequence[str]) -> list[str]:
    """Return the data sets' names, once each. Raises ConfigError for one that does not exist."""
    return list(dict.fromkeys(data_set(name).name for name in sets))


def _experiments(options: Options, variants: Sequence[str]) -> list[Experiment]:
    return [
        Experiment(data, variant, seed)
        for data in check_names(options.sets or (*SETS, *FURTHER))
        for seed in range(options.seeds)
        for variant in variants
    ]


def _reproduce(
    sweep: Sweep,
    experiments: Sequence[Experiment],
    render: Render,
    options: Options,
    notes: Sequence[str] = (),
) -> Reproduction:
    failed: list[str] = []
    if options.train:
        plan = make_plan(sweep, experiments, options.display)
        for line in (*plan.skipped, *plan.failed, *([str(plan)] if plan.tokens else ())):
            options.display.note(line)
        results, failed = execute(sweep, plan, options.display)
        skipped = [*plan.skipped, *failed]
    else:
        results, skipped = _finished(sweep, experiments)
    if not results:
        raise DataError("there is nothing to show. " + " ".join(skipped))
    return render(results, [*skipped, *notes]), failed


def _finished(
    sweep: Sweep, experiments: Sequence[Experiment]
) -> tuple[list[ExperimentResult], list[str]]:
    """Return the finished results of the sweep's models, and notes on those that are missing."""
    finished = [result for result in read_results(sweep.out) if result.experiment in experiments]
    weights = {e.variant: fingerprint(sweep.model(e.variant)) for e in experiments}
    results = [r for r in finished if r.settings.get("weights") == weights[r.experiment.variant]]
    others = [result.model for result in finished if result not in results]
    notes = []
    if len(results) < len(experiments):
        count = len(experiments) - len(results)
        notes.append(f"Not trained yet: {count} of {counted(len(experiments), 'model')}.")
    if others:
        notes.append(
            f"{len(others)} finished result(s) of {sweep.out} left out: made with another model "
            f"({', '.join(sorted(set(others)))}) than {label(sweep.start)}. Name it with --model."
        )
    return results, notes
