"""One function for each table and figure of the paper: train what is missing, then render.

    sweep = Sweep("out", "data", model="mini")
    reproduction = table5(sweep)
    document.write(reproduction.document, sweep.out)

All results are kept in the sweep's folder, so a second call only renders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from gpt1.checkpoint import hub
from gpt1.checkpoint.folder import read_config
from gpt1.errors import ConfigError, DataError
from gpt1.evaluation.zero_shot_curves import Point, measure_run, models_of_run
from gpt1.evaluation.zero_shot_sets import SETTINGS, Questions, check_sets, load_sets
from gpt1.model.build import count_parameters
from gpt1.reproduction import figures, pretraining, tables
from gpt1.reproduction.document import Document
from gpt1.reproduction.paper import FULL, FURTHER, LSTM, NO_AUX, NO_PRETRAINING, SETS
from gpt1.reproduction.plan import Display, execute, make_plan
from gpt1.reproduction.results import Experiment, ExperimentResult, Models, read_results
from gpt1.reproduction.sweep import Budget, Sweep
from gpt1.tasks.datasets import data_set

VARIANTS = {"full": FULL, "no-pretraining": NO_PRETRAINING, "no-aux": NO_AUX, "lstm": LSTM}
"""The variants by the names that the command takes."""

_NO_LSTM = (
    "The LSTM's line is left out: no --lstm was given. To make one: gpt1 pretrain SHARDS --size "
    "lstm-mini --out RUN, then --lstm RUN/model."
)

Render = Callable[[Sequence[ExperimentResult], Models, Sequence[str]], Document]
"""From results, the models, and notes on what is missing, to a document."""


@dataclass(frozen=True)
class Reproduction:
    """A document, and what could not be measured for a reason other than missing data."""

    document: Document
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """How a table or figure is made.

    sets: the data sets; () means those of the paper. Without `train` only finished results are
    shown, whatever their settings.
    """

    sets: Sequence[str] = ()
    seeds: int = 1
    train: bool = True
    display: Display = field(default_factory=Display)


def table5(
    sweep: Sweep,
    variants: Sequence[str] = (FULL, NO_PRETRAINING, NO_AUX),
    options: Options | None = None,
) -> Reproduction:
    """Return table 5, and the same of the paper's further data sets.

    Raises ConfigError, DataError if there is nothing to show, Interrupted.
    """
    options = options or Options()
    experiments = [
        Experiment(data, variant, seed)
        for data in check_names(options.sets or (*SETS, *FURTHER))
        for seed in range(options.seeds)
        for variant in variants
    ]
    notes = () if sweep.lstm else (_NO_LSTM,)
    return _reproduce(sweep, experiments, tables.table5, options, notes)


def tables2_4(sweep: Sweep, options: Options | None = None) -> Reproduction:
    """Return tables 2, 3 and 4; see `table5`."""
    options = options or Options()
    experiments = [
        Experiment(data, FULL, seed)
        for data in check_names(options.sets or (*SETS, *FURTHER))
        for seed in range(options.seeds)
    ]
    return _reproduce(sweep, experiments, tables.tables2_4, options)


def figure2_left(sweep: Sweep, options: Options | None = None) -> Reproduction:
    """Return figure 2, left; see `table5`."""
    options = options or Options()
    layers = read_config(hub.resolve(sweep.model(FULL))).n_layer
    sets = check_names(options.sets or ("mnli", "race"))
    experiments = figures.experiments_by_layers(sets, layers, options.seeds)
    return _reproduce(sweep, experiments, partial(figures.figure2_left, layers=layers), options)


def figure2_right(
    out: Path | str,
    data: Path | str,
    *,
    runs: Sequence[Path] = (),
    sets: Sequence[str] = (),
    limit: int | None = None,
    tiny: pretraining.TinyRun | None = None,
    display: Display | None = None,
) -> Reproduction:
    """Return figure 2, right, over the models that `runs` left; without any `tiny` is made.

    limit: rows of each data set, of RACE a quarter. Raises ConfigError, DataError,
    CheckpointError, Interrupted.
    """
    display = display or Display()
    for run in runs:
        models_of_run(run)  # raises before anything is read
    questions: dict[str, Questions] = {}
    skipped = []
    for name in check_sets(sets or SETTINGS):
        display.status(f"reading the data: {name}", "")
        try:
            questions |= load_sets(data, [name], Budget().of(name, limit))
        except DataError as error:
            skipped.append(f"{name} is left out: {error}")
            continue
        for line in questions[name].account:
            display.note(line)
    if not questions:
        raise DataError("there is nothing to measure on. " + " ".join(skipped))
    if not runs:
        runs = [pretraining.pretrain_tiny(out, data, tiny or pretraining.TinyRun(), display)]
    curves: dict[str, list[Point]] = {}
    for run in runs:
        name = label(run)
        name = name if name not in curves else f"{name} ({len(curves) + 1})"
        display.status(f"measuring {name}", "rows")
        curves[name] = measure_run(run, questions, progress=display.progress)
    return Reproduction(pretraining.figure2_right(curves, skipped))


def describe_models(sweep: Sweep, *, lstm: bool = False) -> Models:
    """Return the names and the sizes of a sweep's models. Raises ConfigError for a wrong --lstm."""
    model = sweep.model(FULL)
    models = Models(label(model), count_parameters(read_config(hub.resolve(model))))
    if not lstm:
        return models
    config = read_config(hub.resolve(sweep.model(LSTM)))
    if config.n_hidden is None:
        raise ConfigError(
            f"--lstm is {sweep.lstm}, which is a Transformer. Give an LSTM: gpt1 pretrain SHARDS "
            f"--size lstm-mini --out RUN makes one."
        )
    return replace(models, lstm=label(sweep.model(LSTM)), lstm_parameters=count_parameters(config))


def label(name: Path | str) -> str:
    """Return a short name of a model or a run.

    >>> label("runs/long/model"), label("mini")
    ('long', 'mini')
    """
    # a path's bytes that are no text could not be written
    path = Path(str(name).encode(errors="replace").decode())
    return path.parent.name if path.name == "model" and path.parent.name else path.name


def check_names(sets: Sequence[str]) -> list[str]:
    """Return the data sets' names, once each. Raises ConfigError for one that does not exist."""
    return list(dict.fromkeys(data_set(name).name for name in sets))


def _reproduce(
    sweep: Sweep,
    experiments: Sequence[Experiment],
    render: Render,
    options: Options,
    notes: Sequence[str] = (),
) -> Reproduction:
    lstm = any(experiment.variant == LSTM for experiment in experiments)
    models = describe_models(sweep, lstm=lstm)
    if not options.train:
        results, missing = _finished(sweep, experiments)
        return Reproduction(render(results, models, [*missing, *notes]))
    plan = make_plan(sweep, experiments, options.display)
    for line in (*plan.skipped, *plan.failed):
        options.display.note(line)
    if plan.workloads:
        options.display.table(plan.table())
    results, failed = execute(sweep, plan, options.display)
    skipped = [*plan.skipped, *failed]
    if not results:
        raise DataError("there is nothing to show. " + " ".join(skipped))
    return Reproduction(render(results, models, [*skipped, *notes]), tuple(failed))


def _finished(
    sweep: Sweep, experiments: Sequence[Experiment]
) -> tuple[list[ExperimentResult], list[str]]:
    """Return the finished results of a sweep's model, and what is missing, in words."""
    results: list[ExperimentResult] = []
    others: list[ExperimentResult] = []
    for result in read_results(sweep.out):
        if result.experiment in experiments:
            other = sweep.made_with_another_model(result)
            (others if other else results).append(result)
    notes = []
    if len(results) < len(experiments):
        count = len(experiments) - len(results)
        notes.append(f"{count} of {len(experiments)} models are not trained yet.")
    if others:
        names = ", ".join(dict.fromkeys(str(result.settings.get("model")) for result in others))
        notes.append(
            f"{len(others)} finished result{'s' * (len(others) != 1)} of {sweep.out} left out: "
            f"made with another model ({names}) than {label(sweep.model(FULL))}. Name theirs with "
            f"--model."
        )
    if not results:
        wrong = notes[1:]
        raise DataError(
            " ".join([f"{sweep.out} holds no finished result of this.", *wrong])
            + " Let it be made first."
        )
    return results, notes
