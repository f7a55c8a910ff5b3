"""The metrics of the paper's tables, and how sure one can be of them: numpy alone.

    accuracy   share of right labels (spec 6.1: NLI, RACE, Story Cloze, SST-2)
    f1         binary, of the class with index 1 (MRPC, QQP)
    matthews   correlation of labels, of any number of classes (CoLA)
    pearson    correlation of scores (STS-B)
    spearman   the same of their ranks

Where a metric is undefined (a constant column, no positive at all) it is 0.0, never nan: a table
then shows "no better than nothing", as scikit-learn's matthews and f1 do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpt1.errors import InputError

Array = NDArray[Any]
Metric = Callable[[ArrayLike, ArrayLike], float]

_CELLS = 1 << 22
"""Numbers of resampled rows that exist together."""


def accuracy(gold: ArrayLike, predicted: ArrayLike) -> float:
    """Return the share of rows whose labels agree.

    >>> accuracy([0, 1, 1, 0], [0, 1, 0, 0])
    0.75
    """
    g, p = _pair(gold, predicted)
    return float(np.mean(g == p))


def f1(gold: ArrayLike, predicted: ArrayLike) -> float:
    """Return the F1 of class 1 against all others; 0.0 where neither column has it.

    >>> f1([1, 1, 0, 0], [1, 0, 1, 0])
    0.5
    """
    g, p = _pair(gold, predicted)
    counts = _counts(2 * (g == 1) + (p == 1), 4)
    return float(_f1_of(counts.reshape(1, 2, 2))[0])


def matthews(gold: ArrayLike, predicted: ArrayLike) -> float:
    """Return Matthews's correlation of labels of any number of classes; 0.0 for a constant column.

    >>> round(matthews([1, 1, 1, 0], [1, 0, 1, 0]), 4)
    0.5774
    """
    codes, n = _codes(*_pair(gold, predicted))
    return float(_matthews_of(_counts(codes, n * n).reshape(1, n, n))[0])


def pearson(gold: ArrayLike, predicted: ArrayLike) -> float:
    """Return the linear correlation of two columns of numbers; 0.0 where one is constant."""
    g, p = _pair(gold, predicted, numbers=True)
    return float(_correlate(g[None], p[None])[0])


def spearman(gold: ArrayLike, predicted: ArrayLike) -> float:
    """Return the correlation of ranks, ties at their mean rank; 0.0 where a column is constant."""
    g, p = _pair(gold, predicted, numbers=True)
    return float(_correlate(_ranks(g[None]), _ranks(p[None]))[0])


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "accuracy": accuracy,
        "f1": f1,
        "matthews": matthews,
        "pearson": pearson,
        "spearman": spearman,
    }
)
"""Every metric by the name that `Task.metric` gives it."""


def confusion(gold: ArrayLike, predicted: ArrayLike, n: int) -> NDArray[np.int64]:
    """Return counts (n, n): row = the right class, column = the predicted one.

    Raises InputError for labels that are not whole numbers from 0 to n - 1.
    """
    g, p = _pair(gold, predicted)
    for name, labels in (("gold", g), ("predicted", p)):
        if labels.dtype.kind not in "iub" or labels.min() < 0 or labels.max() >= n:
            raise InputError(
                f"{name} holds labels other than the whole numbers 0 to {n - 1}; give class "
                f"indices, and as many classes as there are."
            )
    return _counts(n * g.astype(np.int64) + p, n * n).reshape(n, n)


@dataclass(frozen=True)
class Interval:
    """A metric on all rows, and the ends between which its resampled values lie."""

    value: float
    low: float
    high: float


def bootstrap(
    metric: Metric | str,
    gold: ArrayLike,
    predicted: ArrayLike,
    *,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the metric with its percentile bootstrap interval over rows (Efron 1979).

    Rows are drawn with replacement `samples` times; the same seed gives the same interval. Raises
    InputError for columns that are empty or unequal, samples < 1, a level outside (0, 1).
    """
    if samples < 1 or not 0 < level < 1:
        raise InputError(
            f"samples is {samples} and level {level}; give at least 1 sample and a level between "
            f"0 and 1, like 0.95."
        )
    if isinstance(metric, str):
        if metric not in METRICS:
            raise InputError(f"there is no metric {metric!r}; there are {', '.join(METRICS)}.")
        metric = METRICS[metric]
    g, p = _pair(gold, predicted, numbers=metric in (pearson, spearman))
    random = np.random.default_rng(seed)
    if metric in (accuracy, f1, matthews):
        found = _resample_counts(metric, g, p, samples, random)
    else:
        found = _resample_rows(metric, g, p, samples, random)
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(metric(g, p), float(low), float(high))


def _resample_counts(
    metric: Metric, g: Array, p: Array, samples: int, random: np.random.Generator
) -> Array:
    """Return `samples` values of a metric that only needs how often each pair of labels occurs.

    Drawing n rows with replacement and counting pairs is one multinomial draw, whatever n.
    """
    if metric is accuracy:
        return random.binomial(len(g), np.mean(g == p), samples) / len(g)
    if metric is f1:
        codes, n = 2 * (g == 1) + (p == 1), 2
    else:
        codes, n = _codes(g, p)
    present, counts = np.unique(codes, return_counts=True)
    found = np.empty(samples)
    step = max(1, _CELLS // (n * n))
    for start in range(0, samples, step):
        part = found[start : start + step]
        cells = np.zeros((len(part), n * n), np.int64)
        cells[:, present] = random.multinomial(len(g), counts / len(g), len(part))
        tables = cells.reshape(len(part), n, n)
        part[:] = _f1_of(tables) if metric is f1 else _matthews_of(tables)
    return found


def _resample_rows(
    metric: Metric, g: Array, p: Array, samples: int, random: np.random.Generator
) -> Array:
    """Return `samples` values of any metric, drawing rows."""
    found = np.empty(samples)
    step = max(1, _CELLS // len(g))
    for start in range(0, samples, step):
        rows = random.integers(len(g), size=(min(step, samples - start), len(g)))
        drawn_g, drawn_p = g[rows], p[rows]
        part = slice(start, start + len(rows))
        if metric is pearson:
            found[part] = _correlate(drawn_g, drawn_p)
        elif metric is spearman:
            found[part] = _correlate(_ranks(drawn_g), _ranks(drawn_p))
        else:
            found[part] = [metric(*pair) for pair in zip(drawn_g, drawn_p, strict=True)]
    return found


def _pair(gold: ArrayLike, predicted: ArrayLike, *, numbers: bool = False) -> tuple[Array, Array]:
    """Return both columns as arrays (n,), of float64 if `numbers`; refuse what cannot be paired."""
    try:
        g, p = (
            np.asarray(column, np.float64) if numbers else np.asarray(column)
            for column in (gold, predicted)
        )
    except (TypeError, ValueError):
        raise InputError("gold and predicted are not columns of numbers; give numbers.") from None
    if g.ndim != 1 or g.shape != p.shape or not len(g):
        raise InputError(
            f"gold has shape {g.shape} and predicted {p.shape}; give two columns of the same "
            f"length, of at least one row."
        )
    for name, column in (("gold", g), ("predicted", p)):
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            raise InputError(f"{name} holds nan or infinity; leave such rows out, or mend them.")
    return g, p


def _codes(g: Array, p: Array) -> tuple[Array, int]:
    """Return n * gold + predicted with classes counted from 0, and n, how many occur."""
    classes, codes = np.unique(np.concatenate([g, p]), return_inverse=True)
    n = len(classes)
    return n * codes[: len(g)] + codes[len(g) :], n


def _counts(codes: Array, cells: int) -> NDArray[np.int64]:
    return np.bincount(codes, minlength=cells).astype(np.int64)


def _f1_of(tables: Array) -> Array:
    """Return the F1 of each of (S, 2, 2) tables of counts: 2 TP / (gold 1 + predicted 1)."""
    hits = tables[:, 1, 1]
    return _divide(2.0 * hits, tables[:, 1].sum(1) + tables[:, :, 1].sum(1))


def _matthews_of(tables: Array) -> Array:
    """Return the correlation (R_K of Gorodkin 2004) of each of (S, n, n) tables of counts."""
    counts = tables.astype(np.float64)
    right, total = np.trace(counts, axis1=1, axis2=2), counts.sum((1, 2))
    gold, predicted = counts.sum(2), counts.sum(1)  # (S, n)
    covariance = right * total - (gold * predicted).sum(1)
    spread = (total**2 - (gold**2).sum(1)) * (total**2 - (predicted**2).sum(1))
    return _divide(covariance, np.sqrt(spread))


def _correlate(x: Array, y: Array) -> Array:
    """Return the correlation of each row of x and y, both (S, n); 0 where one is constant."""
    constant = (x == x[:, :1]).all(1) | (y == y[:, :1]).all(1)  # exactly: means are rounded
    x, y = (_unit(column) for column in (x, y))
    return np.where(constant, 0.0, np.clip((x * y).sum(1), -1.0, 1.0))


def _unit(x: Array) -> Array:
    """Return each row about its mean and of length 1, whatever the size of its numbers."""
    x = x - x.mean(1, keepdims=True)
    largest = np.abs(x).max(1, keepdims=True)
    x = _divide(x, largest)  # squares of tiny and of huge numbers stay in range
    return _divide(x, np.sqrt((x * x).sum(1, keepdims=True)))


def _ranks(x: Array) -> Array:
    """Return ranks from 1 of each row of (S, n); equal numbers share the mean of their ranks."""
    samples, n = x.shape
    order = np.argsort(x, axis=1, kind="stable")
    values = np.take_along_axis(x, order, 1)
    new = np.ones((samples, n), bool)
    new[:, 1:] = values[:, 1:] != values[:, :-1]
    starts = np.flatnonzero(new.ravel())  # of runs of equal numbers; every row starts one
    lengths = np.diff(np.append(starts, samples * n))
    means = np.repeat(starts % n + (lengths + 1) / 2, lengths).reshape(samples, n)
    found = np.empty((samples, n))
    np.put_along_axis(found, order, means, 1)
    return found


def _divide(above: Array, below: Array) -> Array:
    """Return above / below, 0 where below is 0."""
    below = np.broadcast_to(below, above.shape)
    return np.divide(above, below, out=np.zeros(above.shape), where=below != 0)
