"""How sure a figure, an average and a difference are: the bootstrap over measured rows.

Several seeds are several columns of predictions of the same rows; the figure is their metrics'
mean. A difference is paired: both sides are resampled by the same rows (Efron and Tibshirani 1993).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gpt1.evaluation.metrics import METRICS, Interval

SAMPLES = 1000

Array = NDArray[np.float64]


def draws(
    metric: str,
    gold: Array,
    predictions: Sequence[Array],
    *,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Array:
    """Return the mean metric of `predictions`, each (n,), on `samples` resampled sets of rows.

    The same seed draws the same rows, whatever is predicted.
    """
    columns = tuple(np.asarray(p, np.float64).tobytes() for p in predictions)
    return _draws(metric, np.asarray(gold, np.float64).tobytes(), columns, samples, seed).copy()


@lru_cache(maxsize=256)  # a figure, its average and its differences are of the same draws
def _draws(
    metric: str, gold_bytes: bytes, columns: tuple[bytes, ...], samples: int, seed: int
) -> Array:
    gold = np.frombuffer(gold_bytes)
    predictions = [np.frombuffer(column) for column in columns]
    random = np.random.default_rng(seed)
    count = len(gold)
    hits = np.mean([gold == predicted for predicted in predictions], axis=0)
    found = np.empty(samples)
    for sample in range(samples):
        rows = random.integers(count, size=count)
        if metric == "accuracy":
            found[sample] = hits[rows].mean()
        else:
            drawn = gold[rows]
            found[sample] = np.mean([METRICS[metric](drawn, p[rows]) for p in predictions])
    return found


def value(metric: str, gold: Array, predictions: Sequence[Array]) -> float:
    """Return the mean metric of `predictions` on all rows."""
    return float(np.mean([METRICS[metric](gold, predicted) for predicted in predictions]))


def interval(metric: str, gold: Array, predictions: Sequence[Array], *, seed: int = 0) -> Interval:
    """Return the mean metric of `predictions` with its 95 % bootstrap interval."""
    return between(value(metric, gold, predictions), draws(metric, gold, predictions, seed=seed))


def difference(
    metric: str,
    gold: Array,
    ones: Sequence[Array],
    others: Sequence[Array],
    *,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Interval:
    """Return how much higher the mean metric of `ones` is, with its paired 95 % interval."""
    drawn = (draws(metric, gold, side, samples=samples, seed=seed) for side in (ones, others))
    first, second = drawn
    return between(
        value(metric, gold, ones) - value(metric, gold, others),
        first - second,
    )


def between(figure: float, found: Array, level: float = 0.95) -> Interval:
    """Return a figure with the ends between which its resampled values lie."""
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(figure, float(low), float(high))


def baseline(metric: str, gold: Array) -> float:
    """Return what the most frequent answer reaches; the constant answer 1 for F1, 0 correlations.

    >>> baseline("accuracy", np.array([0.0, 1, 1])), round(baseline("f1", np.array([0.0, 1])), 3)
    (0.6666666666666666, 0.667)
    """
    if metric == "accuracy":
        return float(np.unique(gold, return_counts=True)[1].max() / len(gold))
    if metric == "f1":
        return METRICS["f1"](gold, np.ones_like(gold))
    return 0.0
