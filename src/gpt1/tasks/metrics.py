"""The metrics of the paper's tables: numpy alone. `tasks.bootstrap` gives them intervals.

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
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpt1.errors import InputError

Array = NDArray[Any]
Metric = Callable[[ArrayLike, ArrayLike], float]


def accuracy(gold: ArrayLike, predicted: ArrayLike) -> float:
    """Return the share of rows whose labels agree.

    >>> accuracy([0, 1, 1, 0], [0, 1, 0, 0])
    0.75
    """
    g, p = check_pair(gold, predicted)
    return float(np.mean(g == p))


def f1(gold: ArrayLike, predicted: ArrayLike) -> float:
    """Return the F1 of class 1 against all others; 0.0 where neither column has it.

    >>> f1([1, 1, 0, 0], [1, 0, 1, 0])
    0.5
    """
    g, p = check_pair(gold, predicted)
    counts = _counts(2 * (g == 1) + (p == 1), 4)
    return float(_f1_of(counts.reshape(1, 2, 2))[0])


def matthews(gold: ArrayLike, predicted: ArrayLike) -> float:
    """Return Matthews's correlation of labels of any number of classes; 0.0 for a constant column.

    >>> round(matthews([1, 1, 1, 0], [1, 0, 1, 0]), 4)
    0.5774
    """
    codes, n = _codes(*check_pair(gold, predicted))
    return float(_matthews_of(_counts(codes, n * n).reshape(1, n, n))[0])


def pearson(gold: ArrayLike, predicted: ArrayLike) -> float:
    """Return the linear correlation of two columns of numbers; 0.0 where one is constant."""
    g, p = check_pair(gold, predicted, numbers=True)
    return float(_correlate(g[None], p[None])[0])


def spearman(gold: ArrayLike, predicted: ArrayLike) -> float:
    """Return the correlation of ranks, ties at their mean rank; 0.0 where a column is constant."""
    g, p = check_pair(gold, predicted, numbers=True)
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
    g, p = check_pair(gold, predicted)
    for name, labels in (("gold", g), ("predicted", p)):
        if labels.dtype.kind not in "iub" or labels.min() < 0 or labels.max() >= n:
            raise InputError(
                f"{name} holds labels other than the whole numbers 0 to {n - 1}; give class "
                f"indices, and as many classes as there are."
            )
    return _counts(n * g.astype(np.int64) + p, n * n).reshape(n, n)


def f1_of_sums(sums: Array) -> Array:
    """Return the mean F1 of classes, (S,), of sums (S, 3 * classes).

    The first third is what is right, then what there is, then what is predicted. A class of which
    nothing is there nor predicted has an F1 of 0.
    """
    right, there, predicted = np.split(sums, 3, axis=1)
    mean: Array = _divide(2.0 * right, there + predicted).mean(1)
    return mean


def share_of_sums(sums: Array) -> Array:
    """Return the first of two sums as a share of the second, (S,)."""
    return _divide(sums[:, 0], sums[:, 1])


def metric_of_rows(metric: Metric, g: Array, p: Array) -> Callable[[Array], Array]:
    """Return a function from indices of rows (S, n) to the metric on each of the S sets."""
    if metric is accuracy:
        hits = g == p
        return lambda rows: hits[rows].mean(1)
    if metric is f1 or metric is matthews:
        codes, n, of_tables = label_pairs(metric, g, p)

        def of_counts(rows: Array) -> Array:
            cells = codes[rows] + n * n * np.arange(len(rows))[:, None]  # a table of its own each
            return of_tables(_counts(cells.ravel(), len(rows) * n * n).reshape(-1, n, n))

        return of_counts
    if metric is pearson:
        return lambda rows: _correlate(g[rows], p[rows])
    if metric is spearman:
        return lambda rows: _correlate(_ranks(g[rows]), _ranks(p[rows]))
    return lambda rows: np.array([metric(g[row], p[row]) for row in rows])


def label_pairs(metric: Metric, g: Array, p: Array) -> tuple[Array, int, Callable[[Array], Array]]:
    """Return pairs of labels as codes of n classes, n, and the metric of tables (S, n, n)."""
    if metric is f1:
        return 2 * (g == 1) + (p == 1), 2, _f1_of
    return *_codes(g, p), _matthews_of


def check_pair(
    gold: ArrayLike, predicted: ArrayLike, *, numbers: bool = False
) -> tuple[Array, Array]:
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
    ranks = np.empty((samples, n))
    np.put_along_axis(ranks, order, means, 1)
    return ranks


def _divide(above: Array, below: Array) -> Array:
    """Return above / below, 0 where below is 0."""
    below = np.broadcast_to(below, above.shape)
    return np.divide(above, below, out=np.zeros(above.shape), where=below != 0)
