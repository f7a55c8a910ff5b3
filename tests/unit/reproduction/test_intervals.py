"""The bootstrap of means and differences, against the same done slowly."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gpt1.evaluation.metrics import METRICS, bootstrap
from gpt1.reproduction import intervals

Array = NDArray[np.float64]


def columns(metric: str, rows: int = 60, seed: int = 0) -> tuple[Array, list[Array]]:
    """Return gold and four columns of predictions, better from one to the next."""
    random = np.random.default_rng(seed)
    if metric in ("pearson", "spearman"):
        gold = random.normal(size=rows)
        return gold, [gold + random.normal(size=rows) * noise for noise in (3, 2, 1, 0.5)]
    gold = random.integers(2, size=rows).astype(float)
    return gold, [
        np.where(random.random(rows) < right, gold, 1 - gold) for right in (0.5, 0.6, 0.7, 0.9)
    ]


@pytest.mark.parametrize("metric", list(METRICS))
def test_a_paired_difference_is_that_of_resampled_rows(metric: str) -> None:
    gold, some = columns(metric)
    ones, others = some[2:], some[:2]
    found = intervals.difference(metric, gold, ones, others, samples=200, seed=7)
    random = np.random.default_rng(7)
    slow = []
    for _ in range(200):
        rows = [int(i) for i in random.integers(len(gold), size=len(gold))]
        sides = []
        for side in (ones, others):
            values = [
                METRICS[metric](np.array([gold[i] for i in rows]), np.array([p[i] for i in rows]))
                for p in side
            ]
            sides.append(sum(values) / len(values))
        slow.append(sides[0] - sides[1])
    assert found.low == pytest.approx(np.quantile(slow, 0.025), abs=1e-12)
    assert found.high == pytest.approx(np.quantile(slow, 0.975), abs=1e-12)
    means = [np.mean([METRICS[metric](gold, p) for p in side]) for side in (ones, others)]
    assert found.value == pytest.approx(means[0] - means[1])
    assert found.low < found.value < found.high


def test_pairs_are_surer_than_two_intervals() -> None:
    """A model that is right wherever another is, and on a few rows more, is surely better."""
    random = np.random.default_rng(1)
    gold = random.integers(2, size=400).astype(float)
    worse = np.where(random.random(400) < 0.7, gold, 1 - gold)
    better = worse.copy()
    better[np.flatnonzero(worse != gold)[:12]] = gold[np.flatnonzero(worse != gold)[:12]]
    found = intervals.difference("accuracy", gold, [better], [worse])
    assert found.low > 0
    apart = [intervals.interval("accuracy", gold, [p]) for p in (better, worse)]
    assert apart[0].low < apart[1].high  # which two intervals would not show


def test_the_same_model_twice_differs_by_nothing() -> None:
    gold, (one, *_) = columns("f1")
    found = intervals.difference("f1", gold, [one], [one])
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("metric", list(METRICS))
def test_an_interval_is_about_that_of_the_metrics(metric: str) -> None:
    gold, some = columns(metric, rows=300)
    ours = intervals.interval(metric, gold, [some[2]])
    other = bootstrap(metric, gold, some[2])
    assert ours.value == other.value
    assert ours.low == pytest.approx(other.low, abs=0.02)
    assert ours.high == pytest.approx(other.high, abs=0.02)


def test_several_seeds_are_their_mean() -> None:
    gold, some = columns("accuracy")
    found = intervals.interval("accuracy", gold, some[:3], seed=3)
    assert found.value == pytest.approx(np.mean([(gold == p).mean() for p in some[:3]]))
    drawn = [intervals.draws("accuracy", gold, [p], seed=3) for p in some[:3]]
    assert found.low == pytest.approx(np.quantile(np.mean(drawn, axis=0), 0.025))


def test_what_a_constant_answer_reaches() -> None:
    gold = np.array([0.0, 1, 1, 2, 1, 0])
    assert intervals.baseline("accuracy", gold) == 0.5
    assert intervals.baseline("f1", np.array([0.0, 0, 0, 1])) == pytest.approx(0.4)
    assert intervals.baseline("matthews", gold) == intervals.baseline("pearson", gold) == 0.0
