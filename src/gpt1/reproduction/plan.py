"""From a list of experiments to their results: how long it will take, and one way through them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gpt1.callbacks import ProgressCallback
from gpt1.errors import ConfigError, DataError, GPT1Error, Interrupted
from gpt1.model.device import choose_device, choose_dtype
from gpt1.reports.formatting import format_duration
from gpt1.reports.sections import Section, Table
from gpt1.reproduction.results import Experiment, ExperimentResult, title_of
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
    table: Callable[[Section], None] = _ignore


@dataclass(frozen=True)
class Workload:
    """What is to be done for a data set: its rows, and each experiment's tokens and seconds."""

    data: str
    train_rows: int
    test_rows: int
    split: str
    tokens: dict[Experiment, int]
    seconds: dict[Experiment, float]


@dataclass(frozen=True)
class Plan:
    """Experiments: those that are finished, and the workloads of the others.

    skipped: data sets that are left out, in words. failed: data sets that cannot be read.
    """

    experiments: tuple[Experiment, ...]
    finished: dict[Experiment, ExperimentResult] = field(default_factory=dict)
    workloads: tuple[Workload, ...] = ()
    skipped: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def tokens(self) -> dict[Experiment, int]:
        """About how many tokens each experiment reads that is still to be done."""
        return {e: count for work in self.workloads for e, count in work.tokens.items()}

    def table(self) -> Section:
        """Return what is to be done as a table."""
        rows = [
            (
                title_of(work.data), f"{work.train_rows:,}", f"{work.test_rows:,} of {work.split}",
                str(len(work.tokens)), f"{sum(work.tokens.values()):,}",
                format_duration(sum(work.seconds.values())),
            )
            for work in self.workloads
        ]  # fmt: skip
        tokens = self.tokens
        seconds = sum(sum(work.seconds.values()) for work in self.workloads)
        rows.append(
            ("all", "", "", str(len(tokens)), f"{sum(tokens.values()):,}", format_duration(seconds))
        )
        title = f"To do: {len(tokens)} models to train, {len(self.finished)} are done"
        head = ("", "training rows", "measured rows", "models", "tokens", "about")
        return Section(title, Table(head, rows))


def make_plan(sweep: Sweep, experiments: Iterable[Experiment], display: Display) -> Plan:
    """Find out what is finished, what is missing, and how long the rest takes on this machine.

    Raises ConfigError for settings that no model could be trained with, and if results of other
    settings are in the way; DataError if the data folder does not exist.
    """
    experiments = tuple(dict.fromkeys(experiments))
    finished: dict[Experiment, ExperimentResult] = {}
    missing: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        sweep.config(experiment)  # raises
        result = sweep.result(experiment)
        if result is None:
            missing.setdefault(experiment.data, []).append(experiment)
        else:
            finished[experiment] = result
    workloads, skipped, failed = [], [], []
    speeds: dict[str, float] = {}
    for number, (data, todo) in enumerate(missing.items()):
        display.status(f"reading the data: {title_of(data)}", "data sets")
        display.progress(number, len(missing))
        if not sweep.holds(data):  # raises
            skipped.append(f"{title_of(data)} is not in the data folder; it is left out.")
            continue
        try:
            split = sweep.rows(data)
        except (DataError, ConfigError) as error:
            failed.append(f"{title_of(data)}: {error}")
            continue
        tokens = {experiment: sweep.tokens(experiment) for experiment in todo}
        seconds = {}
        for experiment in todo:
            model = sweep.model(experiment.variant)
            if model not in speeds:
                speeds[model] = _seconds_per_token(sweep, experiment)
            seconds[experiment] = tokens[experiment] * speeds[model]
        counts = len(split.train.examples), len(split.test.examples)
        workloads.append(Workload(data, *counts, split.test.split, tokens, seconds))
    return Plan(experiments, finished, tuple(workloads), tuple(skipped), tuple(failed))


def execute(sweep: Sweep, plan: Plan, display: Display) -> tuple[list[ExperimentResult], list[str]]:
    """Return the results of all experiments, training those that are missing, and what failed.

    An experiment that fails does not keep the others from being run. Raises Interrupted; what was
    trained until then is kept.
    """
    results, failed = [], list(plan.failed)
    tokens = plan.tokens
    total, done = sum(tokens.values()), 0
    for experiment in plan.finished:
        sweep.tidy(experiment)  # it may have been cut off just before this
    for experiment in plan.experiments:
        if experiment in plan.finished:
            results.append(plan.finished[experiment])
        if experiment not in tokens:
            continue
        name = describe(experiment)
        number = list(tokens).index(experiment) + 1
        display.status(f"training {number} of {len(tokens)}: {name}", "tokens")

        def report(
            update: int, updates: int, before: int = done, size: int = tokens[experiment]
        ) -> None:
            display.progress(before + size * update // updates, total)

        report(0, 1)
        try:
            results.append(sweep.run(experiment, report))
        except Interrupted as error:
            raise Interrupted(
                f"stopped while training {name}. All is saved in {sweep.out}; the same command "
                f"goes on from there.",
                exit_code=error.exit_code,
            ) from None
        except GPT1Error as error:
            failed.append(f"{name}: {error}")
        except Exception as error:  # out of memory, say; the others may still succeed
            failed.append(f"{name}: {type(error).__name__}: {error}")
        done += tokens[experiment]
    return results, failed


def describe(experiment: Experiment) -> str:
    """Return an experiment's name for people."""
    layers = "" if experiment.layers is None else f", {experiment.layers} blocks"
    return f"{title_of(experiment.data)}, {experiment.variant}{layers}, seed {experiment.seed}"


def _seconds_per_token(sweep: Sweep, experiment: Experiment) -> float:
    config = sweep.config(experiment)
    device = choose_device(config.train.device)
    dtype = choose_dtype(config.train.dtype, device)
    speed = estimate(config.model, tokens=1, micro_tokens=MICRO_TOKENS, device=device, dtype=dtype)
    return speed.seconds
