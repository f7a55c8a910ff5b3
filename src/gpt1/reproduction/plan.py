"""From a list of cells to their results: how long it will take, and one way through all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gpt1.errors import ConfigError, DataError, GPT1Error, Interrupted
from gpt1.model.device import choose_device, choose_dtype
from gpt1.reports.formatting import format_duration
from gpt1.reproduction.document import Table
from gpt1.reproduction.grid import Cell, Grid, Result
from gpt1.reproduction.results import title_of
from gpt1.training.estimate import estimate
from gpt1.training.start import MICRO_TOKENS

Report = Callable[[str, str, int, int | None], None]
"""Takes what is being done, how far it is in words, and how much of how much is done."""

_LOOK = 2.0
"""Seconds between two looks at how far a cell's training is."""
_TRAINING = 0.9
"""The share of a cell's time that its training takes; then its rows are measured."""


def silent(doing: str, state: str, done: int, total: int | None) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Work:
    """What is to be done for a data set: its rows, and each cell's tokens and seconds."""

    data: str
    train_rows: int
    test_rows: int
    split: str
    tokens: dict[Cell, int]
    seconds: dict[Cell, float]


@dataclass(frozen=True)
class Plan:
    """All cells; `works` are those that are not done, `lost` says which data sets are left out.

    failed: what could not even be begun, for a reason other than a data set that is not there.
    """

    cells: tuple[Cell, ...]
    works: tuple[Work, ...]
    done: int
    lost: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """About how long the rest takes."""
        return sum(sum(work.seconds.values()) for work in self.works)

    def table(self) -> Table:
        """Return what is to be done as a table."""
        rows = [
            (
                title_of(work.data), f"{work.train_rows:,}", f"{work.test_rows:,} of {work.split}",
                str(len(work.tokens)), f"{sum(work.tokens.values()):,}",
                format_duration(sum(work.seconds.values())),
            )
            for work in self.works
        ]  # fmt: skip
        count = sum(len(work.tokens) for work in self.works)
        tokens = sum(sum(work.tokens.values()) for work in self.works)
        rows.append(("all", "", "", str(count), f"{tokens:,}", format_duration(self.seconds)))
        head = ("", "training rows", "measured rows", "models", "tokens", "about")
        return Table(f"To do: {count} models to train, {self.done} are done", head, tuple(rows))


@dataclass
class Outcome:
    """What came of a plan: results, and what failed, in words."""

    results: list[Result] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def plan(grid: Grid, cells: Iterable[Cell], report: Report = silent) -> Plan:
    """Find out what is done, what is missing, and how long the rest takes on this machine.

    Raises ConfigError for settings that no cell could be trained with, and if results of other
    settings are in the way; DataError if the data folder is not there.
    """
    cells = list(dict.fromkeys(cells))
    sets: dict[str, list[Cell]] = {}
    for cell in cells:
        grid.config(cell)  # raises
        if grid.result(cell) is None:
            sets.setdefault(cell.data, []).append(cell)
    works, lost, failed = [], [], []
    speeds: dict[str, float] = {}
    for number, (data, todo) in enumerate(sets.items()):
        report("looking at the data", title_of(data), number, len(sets))
        if not grid.holds(data):  # raises
            lost.append(f"{title_of(data)} is not in the data folder; it is left out.")
            continue
        try:
            train, test = grid.rows(data)
        except (DataError, ConfigError) as error:
            failed.append(f"{title_of(data)}: {error}")
            continue
        tokens = {cell: grid.tokens(cell) for cell in todo}
        for cell in todo:
            if grid.model(cell.variant) not in speeds:
                speeds[grid.model(cell.variant)] = _seconds_per_token(grid, cell)
        seconds = {cell: tokens[cell] * speeds[grid.model(cell.variant)] for cell in todo}
        works.append(
            Work(data, len(train.examples), len(test.examples), test.split, tokens, seconds)
        )
    done = len(cells) - sum(map(len, sets.values()))
    return Plan(tuple(cells), tuple(works), done, tuple(lost), tuple(failed))


def carry_out(grid: Grid, planned: Plan, report: Report = silent) -> Outcome:
    """Return the results of all cells, training those that are not done.

    A cell that fails is told of in `failed` and does not keep the others from being run. Raises
    Interrupted; what was trained until then is kept.
    """
    seconds = {cell: each for work in planned.works for cell, each in work.seconds.items()}
    rows = {work.data: work.train_rows for work in planned.works}
    outcome = Outcome(failed=list(planned.failed))
    clock = _Clock(planned.seconds, len(seconds), report)
    for cell in planned.cells:
        if cell not in seconds:
            found = grid.result(cell)
            outcome.results += [found] if found is not None else []
            continue
        name = describe(cell)
        try:
            with clock.running(name, seconds[cell], _share(grid, cell, rows[cell.data])):
                outcome.results.append(grid.run(cell))
        except Interrupted as error:
            raise Interrupted(
                f"stopped while training {name}. All is saved in {grid.out}; the same command goes "
                f"on from there.",
                exit_code=error.exit_code,
            ) from None
        except GPT1Error as error:
            outcome.failed.append(f"{name}: {error}")
        except Exception as error:  # out of memory, say; the others may still do
            outcome.failed.append(f"{name}: {type(error).__name__}: {error}")
    return outcome


def describe(cell: Cell) -> str:
    """Return a cell's name for people."""
    layers = "" if cell.layers is None else f", {cell.layers} blocks"
    return f"{title_of(cell.data)}, {cell.variant}{layers}, seed {cell.seed}"


def _seconds_per_token(grid: Grid, cell: Cell) -> float:
    config = grid.config(cell)
    device = choose_device(config.train.device)
    speed = estimate(
        config.model,
        tokens=1,
        micro_tokens=MICRO_TOKENS,
        device=device,
        dtype=choose_dtype(config.train.dtype, device),
    )
    return speed.seconds


@contextmanager
def watched(look: Callable[[], None]) -> Iterator[None]:
    """Call `look` every two seconds, in a thread of its own, as long as the block runs."""
    over = threading.Event()

    def watch() -> None:
        look()
        while not over.wait(_LOOK):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class _Clock:
    """Tells which cell is being trained and how long the rest takes, by how long the first took."""

    def __init__(self, expected: float, count: int, report: Report) -> None:
        self._expected, self._count, self._report = expected, count, report
        self._number, self._done = 0, 0.0
        self._pace, self._known = 1.0, 0.0
        self._began = time.monotonic()

    @contextmanager
    def running(self, name: str, seconds: float, share: Callable[[], float]) -> Iterator[None]:
        """Report, as long as the block runs, how far it is."""
        self._number += 1

        def look() -> None:
            done = self._done + seconds * _TRAINING * share()
            state = f"{name}, {self._left(done)} left"
            doing = f"training {self._number} of {self._count}"
            self._report(doing, state, round(1000 * done), round(1000 * self._expected))

        try:
            with watched(look):
                yield
        finally:
            self._done += seconds

    def _left(self, done: float) -> str:
        spent = time.monotonic() - self._began
        if done > self._known and spent > _LOOK:  # in between no one knows more than before
            self._known = done
            self._pace = spent / done
        return format_duration(max(0.0, self._expected * self._pace - spent))


def _share(grid: Grid, cell: Cell, rows: int) -> Callable[[], float]:
    """Return a function that tells which share of a cell's updates is done, by its run's log."""
    train = grid.config(cell).train
    total = train.steps or max(1, round(train.epochs * rows / train.batch_size))
    log = grid.out / "runs" / cell.name / "metrics.jsonl"

    def share() -> float:
        try:
            return min(1.0, log.read_bytes().count(b"\n") / total)
        except OSError:
            return 0.0

    return share
