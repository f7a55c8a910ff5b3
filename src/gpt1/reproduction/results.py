"""Results put together: the seeds of a data set and a variant are one figure with an interval."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from gpt1.reproduction import paper
from gpt1.reproduction.grid import Result
from gpt1.reproduction.paper import FULL, FURTHER, LSTM, SETS, TITLES
from gpt1.tasks import metrics
from gpt1.tasks.datasets import data_set
from gpt1.tasks.metrics import Interval


@dataclass(frozen=True)
class About:
    """The models that were fine-tuned: their names, and how many weights they have."""

    model: str
    parameters: int
    lstm: str = ""
    lstm_parameters: int = 0

    def of(self, variant: str) -> str:
        """Return the name and the size of a variant's model."""
        if variant == LSTM:
            return f"{self.lstm}, {_millions(self.lstm_parameters)}"
        return f"{self.model}, {_millions(self.parameters)}"


@dataclass(frozen=True)
class Figure:
    """One figure: a data set or a part of it, a variant, all seeds."""

    data: str
    variant: str
    results: tuple[Result, ...]
    part: str = ""

    @property
    def name(self) -> str:
        """The data set, or the part of it, as in paper.TITLES."""
        return f"{self.data}_{self.part}" if self.part else self.data

    @property
    def metric(self) -> str:
        """The paper's metric for it."""
        return data_set(self.data).task.metric

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The indices of the rows it is about."""
        result = self.results[0]
        if self.part:
            return np.array(result.parts[self.part], np.int64)
        return np.arange(len(result.gold))

    @property
    def gold(self) -> NDArray[np.float64]:
        """The right answers."""
        return self.results[0].gold[self.rows]

    @property
    def predictions(self) -> list[NDArray[np.float64]]:
        """What was predicted, of each seed."""
        return [result.predicted[self.rows] for result in self.results]

    def interval(self, metric: str | None = None) -> Interval:
        """Return the seeds' mean with its bootstrap interval."""
        chosen = metric or self.metric
        value = metrics.mean_metric(chosen, self.gold, self.predictions)
        return Interval.of(value, self.resampled(chosen))

    def resampled(self, metric: str | None = None) -> NDArray[np.float64]:
        """Return the seeds' mean on resampled rows, the same rows for all variants: (samples,)."""
        return metrics.resample(
            metric or self.metric, self.gold, self.predictions, seed=seed_of(self.data)
        )

    @property
    def seeds(self) -> dict[int, float]:
        """The metric of each seed."""
        pairs = zip(self.results, self.predictions, strict=True)
        return {r.cell.seed: metrics.mean_metric(self.metric, self.gold, [p]) for r, p in pairs}

    @cached_property
    def text(self) -> str:
        """The figure for people: value (interval), and the seeds' range if there are several."""
        seeds = ""
        if len(self.results) > 1:
            values = self.seeds.values()
            seeds = f"; {len(values)} seeds {percent(min(values))} to {percent(max(values))}"
        return shown(self.interval(), seeds)


class Figures:
    """All results of whole models, found by data set and variant."""

    def __init__(self, results: Iterable[Result]) -> None:
        found: dict[tuple[str, str], list[Result]] = {}
        for result in results:
            if result.cell.layers is None:
                found.setdefault((result.cell.data, result.cell.variant), []).append(result)
        self.all = {
            (data, variant): Figure(
                data, variant, tuple(sorted(some, key=lambda result: result.cell.seed))
            )
            for (data, variant), some in found.items()
        }

    @property
    def variants(self) -> list[str]:
        """The variants that have a figure, in the paper's order."""
        return [v for v in paper.VARIANTS if any(variant == v for _, variant in self.all)]

    @property
    def sets(self) -> list[str]:
        """The data sets that have a figure, in the paper's order."""
        known = {data for data, _ in self.all}
        order = [*SETS, *FURTHER]
        return [d for d in order if d in known] + sorted(known - set(order))

    def get(self, column: str, variant: str = FULL) -> Figure | None:
        """Return the figure of a data set, or of a part such as mnli_matched; None without one."""
        data, _, part = column.partition("_")
        found = self.all.get((data, variant))
        if found is None or not part:
            return found
        if not all(result.parts.get(part) for result in found.results):
            return None
        return Figure(data, variant, found.results, part)


def baseline(metric: str, gold: NDArray[np.float64]) -> float:
    """Return what the most frequent answer reaches; the constant answer 1 for F1, 0 correlations.

    >>> baseline("accuracy", np.array([0.0, 1, 1])), round(baseline("f1", np.array([0.0, 1])), 3)
    (0.6666666666666666, 0.667)
    """
    if metric == "accuracy":
        return float(np.unique(gold, return_counts=True)[1].max() / len(gold))
    if metric == "f1":
        return metrics.f1(gold, np.ones_like(gold))
    return 0.0


def seed_of(data: str) -> int:
    """Return the bootstrap's seed: one's own for each data set, the same for all its variants."""
    return crc32(data.encode())


def title_of(column: str) -> str:
    return TITLES.get(column, column)


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def shown(found: Interval, more: str = "") -> str:
    return f"{percent(found.value)} ({percent(found.low)} to {percent(found.high)}{more})"


def _millions(count: int) -> str:
    """Write a number of weights.

    >>> _millions(13_989_120), _millions(40_000)
    ('14.0 M', '0.04 M')
    """
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e6:.2g} M"
