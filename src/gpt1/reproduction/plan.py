"""From a list of experiments to their results: an estimate of the time, then one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache

import torch

from gpt1.callbacks import ProgressCallback
from gpt1.config import ModelConfig
from gpt1.errors import GPT1Error, Interrupted, UsageError, counted
from gpt1.model.device import choose_device, choose_dtype
from gpt1.reports.formatting import format_duration
from gpt1.reports.sections import Table
from gpt1.reports.tables import format_table
from gpt1.reproduction.paper import TITLES
from gpt1.reproduction.results import Experiment, ExperimentResult
from gpt1.reproduction.sweep import Sweep
from gpt1.training.estimate import estimate
from gpt1.training.trainer import MICRO_TOKENS


def _ignore(*_: object) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Display:
    """Where long work shows what it does; by default nowhere.

    status: what is being done, and the unit of progress. note: a line that stays.
    """

    status: Callable[[str, str], None] = _ignore
    progress: ProgressCallback = _ignore
    note: Callable[[str], None] = _ignore


@dataclass(frozen=True)
class Plan:
    """Experiments in their order: those that are finished, and those still to be done.

    tokens: about how many each of the latter reads. rows: a line of the table for each data set.
    skipped: data sets that are not there, in words. failed: those that cannot be read.
    """

    experiments: tuple[Experiment, ...]
    finished: dict[Experiment, ExperimentResult] = field(default_factory=dict)
    tokens: dict[Experiment, int] = field(default_factory=dict)
    rows: list[tuple[str, ...]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        title = f"To do: {counted(len(self.tokens), 'model')} to train; done: {len(self.finished)}"
        head = ("", "training rows", "measured rows", "models", "tokens", "about")
        return f"{title}\n{format_table(Table(head, self.rows))}"


def make_plan(sweep: Sweep, experiments: Iterable[Experiment], display: Display) -> Plan:
    """Plan a sweep: what is finished, what is missing, and how long the rest takes here.

    Raises ConfigError for settings that no model can be trained with, and for results of other
    settings; DataError if the data folder does not exist.
    """
    plan = Plan(tuple(dict.fromkeys(experiments)))
    missing: dict[str, list[Experiment]] = {}
    for experiment in plan.experiments:
        sweep.config(experiment)  # raises
        result = sweep.result(experiment)
        if result is None:
            missing.setdefault(experiment.data, []).append(experiment)
        else:
            plan.finished[experiment] = result
    total = 0.0
    for number, (data, todo) in enumerate(missing.items()):
        title = TITLES[data]
        display.status(f"reading the data: {title}", "data sets")
        display.progress(number, len(missing))
        if not sweep.has_data(data):
            plan.skipped.append(f"{title} is not in the data folder; it is left out.")
            continue
        try:
            split = sweep.rows(data)
            tokens = {experiment: sweep.tokens(experiment) for experiment in todo}
        except UsageError as error:
            plan.failed.append(f"{title}: {error}")
            continue
        seconds = sum(count * _seconds_per_token(sweep, e) for e, count in tokens.items())
        measured = f"{len(split.test.examples):,} of {split.test.split}"
        rows = title, f"{len(split.train.examples):,}", measured
        plan.rows.append((*rows, *_work(tokens, seconds)))
        plan.tokens.update(tokens)
        total += seconds
    plan.rows.append(("all", "", "", *_work(plan.tokens, total)))
    return plan


def _work(tokens: dict[Experiment, int], seconds: float) -> tuple[str, str, str]:
    return str(len(tokens)), f"{sum(tokens.values()):,}", format_duration(seconds)


def execute(sweep: Sweep, plan: Plan, display: Display) -> tuple[list[ExperimentResult], list[str]]:
    """Return the results of all experiments, training those that are missing, and what failed.

    An experiment that fails does not stop the others. Raises Interrupted; what was trained until
    then is kept.
    """
    results, failed = [], list(plan.failed)
    total, done = sum(plan.tokens.values()), 0
    numbers = {experiment: number for number, experiment in enumerate(plan.tokens, 1)}
    for experiment in plan.experiments:
        if experiment in plan.finished:
            sweep.tidy(experiment)  # the sweep may have been cut off just before this
            results.append(plan.finished[experiment])
        if experiment not in plan.tokens:
            continue
        name, size = describe(experiment), plan.tokens[experiment]
        display.status(f"training {numbers[experiment]} of {len(numbers)}: {name}", "tokens")

        def report(update: int, updates: int, before: int = done, size: int = size) -> None:
            display.progress(before + size * update // updates, total)

        report(0, 1)
        try:
            results.append(sweep.run(experiment, report))
        except Interrupted as error:
            raise Interrupted(
                f"stopped while training {name}. Everything is saved in {sweep.out}; the same "
                f"command goes on from there.",
                exit_code=error.exit_code,
            ) from None
        except Exception as error:  # out of memory, say; the others may still succeed
            kind = "" if isinstance(error, GPT1Error) else f"{type(error).__name__}: "
            failed.append(f"{name}: {kind}{error}")
        done += size
    return results, failed


def describe(experiment: Experiment) -> str:
    """Return an experiment's name for people."""
    layers = "" if experiment.layers is None else f", {counted(experiment.layers, 'block')}"
    return f"{TITLES[experiment.data]}, {experiment.variant}{layers}, seed {experiment.seed}"


def _seconds_per_token(sweep: Sweep, experiment: Experiment) -> float:
    train, model = sweep.config(experiment).train, sweep.model_config(experiment.variant)
    device = choose_device(train.device)
    return _measure_speed(model, device, choose_dtype(train.dtype, device))


@cache
def _measure_speed(model: ModelConfig, device: torch.device, dtype: torch.dtype) -> float:
    return estimate(model, tokens=1, micro_tokens=MICRO_TOKENS, device=device, dtype=dtype).seconds
