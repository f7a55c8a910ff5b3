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
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpt1.errors import InputError

Array = NDArray[Any]
Table = NDArray[np.int64]
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
    return f1_of_table(binary_table(*check_pair(gold, predicted)))


def matthews(gold: ArrayLike, predicted: ArrayLike) -> float:
    """Return Matthews's correlation of labels of any number of classes; 0.0 for a constant column.

    >>> round(matthews([1, 1, 1, 0], [1, 0, 1, 0]), 4)
    0.5774
    """
    return matthews_of_table(class_table(*check_pair(gold, predicted)))


def pearson(gold: ArrayLike, predicted: ArrayLike) -> float:
    """Return the linear correlation of two columns of numbers; 0.0 where one is constant."""
    return _correlate(*check_pair(gold, predicted, numbers=True))


def spearman(gold: ArrayLike, predicted: ArrayLike) -> float:
    """Return the correlation of ranks, ties at their mean rank; 0.0 where a column is constant."""
    g, p = check_pair(gold, predicted, numbers=True)
    return _correlate(_ranks(g), _ranks(p))


METRICS: Mapping[str, Metric] = MappingProxyType(
    {f.__name__: f for f in (accuracy, f1, matthews, pearson, spearman)}
)
"""Every metric by the name that `Task.metric` gives it."""


def confusion(gold: ArrayLike, predicted: ArrayLike, n: int) -> Table:
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
    return _table(g.astype(np.int64), p, n)


def binary_table(g: Array, p: Array) -> Table:
    """Return the confusions (2, 2) of class 1 against all others."""
    return _table((g == 1).astype(np.int64), p == 1, 2)


def class_table(g: Array, p: Array) -> Table:
    """Return the confusions (n, n) of the n classes that occur."""
    classes, indices = np.unique(np.concatenate([g, p]), return_inverse=True)
    return _table(indices[: len(g)], indices[len(g) :], len(classes))


def f1_of_table(table: Table) -> float:
    """Return the F1 of confusions (2, 2): 2 TP / (gold 1 + predicted 1)."""
    both = table[1].sum() + table[:, 1].sum()
    return float(2.0 * table[1, 1] / both) if both else 0.0


def matthews_of_table(table: Table) -> float:
    """Return the correlation (R_K of Gorodkin 2004) of confusions (n, n)."""
    counts = table.astype(np.float64)
    right, total = np.trace(counts), counts.sum()
    gold, predicted = counts.sum(1), counts.sum(0)  # (n,)
    covariance = right * total - (gold * predicted).sum()
    spread = (total**2 - (gold**2).sum()) * (total**2 - (predicted**2).sum())
    return float(covariance / np.sqrt(spread)) if spread else 0.0


@dataclass(frozen=True)
class SumMetric:
    """A metric of sums over rows, whose interval is cheap to find."""

    counts: Callable[[Any, Any], Array]
    """From n rows of gold and of predicted to (n, k): what each row adds to the sums."""
    of_sums: Callable[[Array], Array]
    """From S sums, (S, k), to the values of the metric, (S,)."""

    def __call__(self, gold: Any, predicted: Any) -> float:
        """Return the metric of all rows."""
        return float(self.of_sums(self.counts(gold, predicted).sum(0)[None])[0])


def f1_of_sums(sums: Array) -> Array:
    """Return the mean F1 of classes, (S,), of sums (S, 3 * classes).

    The first third counts right predictions, the second what is in gold, the third predictions. A
    class that neither is in gold nor predicted has an F1 of 0.
    """
    right, gold, predicted = np.split(sums, 3, axis=1)
    mean: Array = _divide(2.0 * right, gold + predicted).mean(1)
    return mean


def share_of_sums(sums: Array) -> Array:
    """Return the first of two sums as a share of the second, (S,)."""
    return _divide(sums[:, 0], sums[:, 1])


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
            raise InputError(f"{name} holds nan or infinity; leave such rows out.")
    return g, p


def _table(g: Array, p: Array, n: int) -> Table:
    return np.bincount(n * g + p, minlength=n * n).reshape(n, n).astype(np.int64)


def _correlate(x: Array, y: Array) -> float:
    """Return the correlation of x and y, both (n,); 0 where one is constant."""
    if (x == x[0]).all() or (y == y[0]).all():  # exactly: means are rounded
        return 0.0
    return float(np.clip((_unit(x) * _unit(y)).sum(), -1.0, 1.0))


def _unit(x: Array) -> Array:
    """Return x about its mean and of length 1, whatever the size of its numbers."""
    x = x - x.mean()
    x = _divide(x, np.abs(x).max())  # squares of tiny and of huge numbers stay in range
    return _divide(x, np.sqrt((x * x).sum()))


def _ranks(x: Array) -> Array:
    """Return ranks from 1 of x (n,); equal numbers share the mean of their ranks."""
    _, which, counts = np.unique(x, return_inverse=True, return_counts=True)
    means: Array = np.cumsum(counts) - (counts - 1) / 2
    return means[which]


def _divide(above: Array, below: Array) -> Array:
    """Return above / below, 0 where below is 0."""
    below = np.broadcast_to(below, above.shape)
    return np.divide(above, below, out=np.zeros(above.shape), where=below != 0)
