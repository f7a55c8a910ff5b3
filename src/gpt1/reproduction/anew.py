"""One function for each table and figure of the paper: train what is missing, then render.

    grid = Grid("out", "data", model="mini", quiet=True)
    made = table5(grid)
    document.write(made.document, grid.out)

Everything that was measured is kept in the grid's folder, so a second call only renders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from gpt1.reproduction.grid import Budget, Cell, Grid, Result, read_results
from gpt1.reproduction.paper import FULL, FURTHER, LSTM, NO_AUX, NO_PRETRAINING, SETS
from gpt1.reproduction.plan import Plan, Report, carry_out, plan, silent
from gpt1.reproduction.results import About
from gpt1.tasks.datasets import data_set

NAMES = ("table5", "tables2-4", "figure2-left", "figure2-right")
VARIANTS = {"full": FULL, "no-pretraining": NO_PRETRAINING, "no-aux": NO_AUX, "lstm": LSTM}
"""The variants by the names that the command takes."""

_NO_LSTM = (
    "The LSTM's line is left out: no --lstm was given. To make one: gpt1 pretrain SHARDS --size "
    "lstm-mini --out RUN, then --lstm RUN/model."
)

Render = Callable[[Sequence[Result], About, Sequence[str]], Document]


@dataclass(frozen=True)
class Made:
    """A document, and what could not be measured for a reason other than missing data."""

    document: Document
    failed: tuple[str, ...] = ()


def table5(
    grid: Grid,
    *,
    sets: Sequence[str] = (*SETS, *FURTHER),
    variants: Sequence[str] = (FULL, NO_PRETRAINING, NO_AUX),
    seeds: int = 1,
    planned: Callable[[Plan], None] | None = None,
    report: Report = silent,
    train: bool = True,
) -> Made:
    """Return table 5 and what belongs to it; `planned` is told what is to be done, before it is.

    Without `train` only what is finished in the grid's folder is shown, whatever its settings.
    Raises ConfigError, DataError if there is nothing to show, Interrupted.
    """
    cells = [
        Cell(data, variant, seed)
        for data in checked(sets)
        for seed in range(seeds)
        for variant in variants
    ]
    notes = () if grid.has_lstm else (_NO_LSTM,)
    return _make(grid, cells, tables.table5, planned, report, train, notes)


def tables2_4(
    grid: Grid,
    *,
    sets: Sequence[str] = (*SETS, *FURTHER),
    seeds: int = 1,
    planned: Callable[[Plan], None] | None = None,
    report: Report = silent,
    train: bool = True,
) -> Made:
    """Return tables 2, 3 and 4; see `table5`."""
    cells = [Cell(data, FULL, seed) for data in checked(sets) for seed in range(seeds)]
    return _make(grid, cells, tables.tables2_4, planned, report, train)


def figure2_left(
    grid: Grid,
    *,
    sets: Sequence[str] = ("mnli", "race"),
    seeds: int = 1,
    planned: Callable[[Plan], None] | None = None,
    report: Report = silent,
    train: bool = True,
) -> Made:
    """Return figure 2, left; see `table5`."""
    layers = read_config(hub.resolve(grid.model(FULL))).n_layer
    cells = figures.cells_by_layers(checked(sets), layers, seeds)
    render: Render = partial(_left, layers)
    return _make(grid, cells, render, planned, report, train)


def figure2_right(
    out: Path | str,
    data: Path | str,
    *,
    runs: Sequence[Path | str] = (),
    sets: Sequence[str] = tuple(SETTINGS),
    limit: int | None = None,
    texts: int = pretraining.TEXTS,
    overrides: Sequence[str] = (),
    report: Report = silent,
    said: Callable[[str], None] | None = None,
) -> Made:
    """Return figure 2, right, over the models that `runs` left; without any a tiny one is made.

    limit: rows of each data set, of RACE a quarter; texts and overrides are the tiny one's; `said`
    is told what became of the rows of the files. Raises ConfigError, DataError, CheckpointError,
    Interrupted.
    """
    for run in runs:
        models_of_run(run)  # raises before anything is read
    questions: dict[str, Questions] = {}
    lost = []
    for name in check_sets(sets):
        report("looking at the data", name, 0, None)
        try:
            questions |= load_sets(data, [name], Budget().of(name, limit))
        except DataError as error:
            lost.append(f"{name} is left out: {error}")
            continue
        for line in questions[name].account if said else ():
            said(line)  # type: ignore[misc]
    if not questions:
        raise DataError("there is nothing to measure on. " + " ".join(lost))
    if not runs:
        runs = [pretraining.pretrain_tiny(
            out, data, texts=texts, overrides=overrides, report=report
        )]  # fmt: skip
    curves: dict[str, list[Point]] = {}
    for run in runs:
        name = label(run)
        name = name if name not in curves else f"{name} ({len(curves) + 1})"
        curves[name] = measure_run(
            run,
            questions,
            progress=lambda i, models, what, done, rows, name=name: report(  # type: ignore[misc]
                f"measuring {name}, model {i + 1} of {models}",
                f"{what}: {done:,} of {rows:,} rows",
                1000 * i + 1000 * done // rows,
                1000 * models,
            ),
        )
    return Made(pretraining.figure2_right(curves, lost))


def about(grid: Grid, *, lstm: bool = False) -> About:
    """Return the names and the sizes of a grid's models."""
    model = grid.model(FULL)
    parameters = count_parameters(read_config(hub.resolve(model)))
    if not lstm:
        return About(label(model), parameters)
    other = grid.model(LSTM)
    config = read_config(hub.resolve(other))
    if config.n_hidden is None:
        raise ConfigError(
            f"--lstm is {other}, which is a Transformer. Give an LSTM: gpt1 pretrain SHARDS "
            f"--size lstm-mini --out RUN makes one."
        )
    return About(label(model), parameters, label(other), count_parameters(config))


def label(name: Path | str) -> str:
    """Return a short name of a model or a run.

    >>> label("runs/long/model"), label("mini")
    ('long', 'mini')
    """
    # bytes of a name that are no text could not be written
    path = Path(str(name).encode(errors="replace").decode())
    return path.parent.name if path.name == "model" and path.parent.name else path.name


def checked(sets: Sequence[str]) -> list[str]:
    """Return the data sets' names, once each. Raises ConfigError for an unknown one, or none."""
    found = list(dict.fromkeys(data_set(name).name for name in sets))
    if not found:
        raise ConfigError(f"no data set is named; there are {', '.join((*SETS, *FURTHER))}.")
    return found


def _left(layers: int, results: Sequence[Result], about: About, lost: Sequence[str]) -> Document:
    return figures.figure2_left(results, about, layers, lost)


def _make(
    grid: Grid,
    cells: Sequence[Cell],
    render: Render,
    planned: Callable[[Plan], None] | None,
    report: Report,
    train: bool,
    notes: Sequence[str] = (),
) -> Made:
    named = about(grid, lstm=any(cell.variant == LSTM for cell in cells))
    if not train:
        ours: list[Result] = []
        strange: list[Result] = []
        for one in read_results(grid.out):
            if one.cell in set(cells):
                (strange if grid.is_of_another_model(one) else ours).append(one)
        results = [grid.with_leakage(grid.with_parts(one)) for one in ours]
        lost = _left_out(grid, strange)
        if not results:
            raise DataError(
                " ".join([f"{grid.out} holds no finished result of this.", *lost])
                + " Let it be made first."
            )
        return Made(render(results, named, [*_unfinished(cells, results), *lost, *notes]))
    found = plan(grid, cells, report)
    if planned is not None:
        planned(found)
    outcome = carry_out(grid, found, report)
    lost = [*found.lost, *outcome.failed]
    if not outcome.results:
        raise DataError("there is nothing to show. " + " ".join(lost))
    results = [grid.with_leakage(result) for result in outcome.results]
    return Made(render(results, named, [*lost, *notes]), tuple(outcome.failed))


def _left_out(grid: Grid, strange: Sequence[Result]) -> list[str]:
    if not strange:
        return []
    names = ", ".join(dict.fromkeys(str(r.settings.get("model")) for r in strange))
    return [
        f"{len(strange)} finished result{'s' * (len(strange) != 1)} of {grid.out} left out: made "
        f"with another model ({names}) than {label(grid.model(FULL))}. Name theirs with --model."
    ]


def _unfinished(cells: Sequence[Cell], results: Sequence[Result]) -> list[str]:
    count = len(set(cells)) - len(results)
    return [f"{count} of {len(set(cells))} models are not trained yet."] if count else []
