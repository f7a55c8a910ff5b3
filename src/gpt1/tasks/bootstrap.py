"""How sure a metric is: bootstrap intervals over rows, and of paired differences (Efron 1979).

Rows are drawn with replacement SAMPLES times. The same seed draws the same rows and gives the same
interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpt1.errors import InputError, did_you_mean
from gpt1.tasks.metrics import (
    METRICS,
    Array,
    Metric,
    SumMetric,
    accuracy,
    binary_table,
    check_pair,
    class_table,
    f1,
    f1_of_table,
    matthews,
    matthews_of_table,
    pearson,
    spearman,
)

LEVEL = 0.95
"""The share of resampled values that an interval holds."""
SAMPLES = 1000
"""How many sets of rows the bootstrap draws."""
_CELLS = 1 << 22  # counts of drawn rows that are in memory together


@dataclass(frozen=True)
class Interval:
    """A metric on all rows, with its 95 % percentile bootstrap interval (Efron 1979)."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, resampled: Array) -> Interval:
        """Return a value with the interval that holds 95 % of its resampled values."""
        low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return cls(value, float(low), float(high))


def bootstrap(
    metric: Metric | SumMetric | str, gold: Any, predicted: Any, *, seed: int = 0
) -> Interval:
    """Return a metric with its interval over rows.

    A metric of labels needs only how often each pair of labels occurs, so its pairs are counted at
    once: a multinomial draw, whatever the number of rows. Raises InputError for columns that are
    empty or unequal.
    """
    metric = _named(metric) if isinstance(metric, str) else metric
    random = np.random.default_rng(seed)
    if isinstance(metric, SumMetric):
        return Interval.of(metric(gold, predicted), _resample_sums(metric, gold, predicted, random))
    g, p = _pair(metric, gold, predicted)
    if metric is accuracy:
        return Interval.of(metric(g, p), random.binomial(len(g), np.mean(g == p), SAMPLES) / len(g))
    if metric is not f1 and metric is not matthews:
        return Interval.of(metric(g, p), _resample_rows(metric, g, [p], random))
    make_table, of_table = (
        (binary_table, f1_of_table) if metric is f1 else (class_table, matthews_of_table)
    )
    table = make_table(g, p)
    shares = table[table > 0] / len(g)
    resampled = np.empty(SAMPLES)
    for i in range(SAMPLES):
        drawn = np.zeros_like(table)
        drawn[table > 0] = random.multinomial(len(g), shares)
        resampled[i] = of_table(drawn)
    return Interval.of(of_table(table), resampled)


def _resample_sums(
    metric: SumMetric, gold: Any, predicted: Any, random: np.random.Generator
) -> Array:
    """Return SAMPLES values of a metric of sums, drawn in blocks that bound the memory."""
    counts = metric.counts(gold, predicted)
    step = max(1, _CELLS // len(counts))
    shares = np.full(len(counts), 1 / len(counts))
    blocks = [
        metric.of_sums(random.multinomial(len(counts), shares, min(step, SAMPLES - start)) @ counts)
        for start in range(0, SAMPLES, step)
    ]
    return np.concatenate(blocks)


def resample(
    metric: str, gold: ArrayLike, predictions: Sequence[ArrayLike], *, seed: int = 0
) -> Array:
    """Return the mean metric of several columns of predictions on resampled rows: (SAMPLES,).

    The same seed draws the same rows, whatever is predicted, so that the difference of two calls
    is paired (Efron and Tibshirani 1993). Raises InputError as `bootstrap` does.
    """
    chosen = _named(metric)
    pairs = [_pair(chosen, gold, predicted) for predicted in predictions]
    random = np.random.default_rng(seed)
    return _resample_rows(chosen, pairs[0][0], [p for _, p in pairs], random)


def mean_metric(metric: str, gold: ArrayLike, predictions: Sequence[ArrayLike]) -> float:
    """Return the mean metric of several columns of predictions, one of each seed, say."""
    return float(np.mean([METRICS[metric](gold, predicted) for predicted in predictions]))


def difference(
    metric: str,
    gold: ArrayLike,
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike],
    *,
    seed: int = 0,
) -> Interval:
    """Return how much higher the mean metric of `first` is, with its paired interval."""
    value = mean_metric(metric, gold, first) - mean_metric(metric, gold, second)
    resampled = [resample(metric, gold, columns, seed=seed) for columns in (first, second)]
    return Interval.of(value, resampled[0] - resampled[1])


def _resample_rows(
    metric: Metric, g: Array, predictions: Sequence[Array], random: np.random.Generator
) -> Array:
    """Return SAMPLES values of the mean metric of `predictions`, all on the same drawn rows."""
    resampled = np.empty(SAMPLES)
    for i in range(SAMPLES):
        rows = random.integers(len(g), size=len(g))
        resampled[i] = np.mean([metric(g[rows], p[rows]) for p in predictions])
    return resampled


def _pair(metric: Metric, gold: ArrayLike, predicted: ArrayLike) -> tuple[Array, Array]:
    return check_pair(gold, predicted, numbers=metric in (pearson, spearman))


def _named(metric: str) -> Metric:
    if metric not in METRICS:
        nearest = did_you_mean(metric, METRICS)
        raise InputError(f"there is no metric {metric!r}; there are {', '.join(METRICS)}.{nearest}")
    return METRICS[metric]
