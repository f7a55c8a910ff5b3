"""Bootstrap intervals against scipy's, and against resampling one row after the other."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import scipy.stats

from gpt1.errors import InputError
from gpt1.tasks import bootstrap as module
from gpt1.tasks.bootstrap import Interval, bootstrap, difference, mean_metric, resample
from gpt1.tasks.metrics import METRICS, matthews

EXACT = 1e-12
COUNTED = [0.6528386578371339, 0.793973544191546]
PAIRED = [0.06686186126291443, 0.27741699524300123]


def columns_for(metric: str, n: int, *rights: float) -> tuple[Any, list[Any]]:
    """Return gold (n,) and a column of predictions for each share of right ones."""
    random = np.random.default_rng(n)
    if metric in ("pearson", "spearman"):
        gold = random.integers(0, 26, n) / 5
        return gold, [np.round(gold + random.normal(size=n) / right, 1) for right in rights]
    gold = random.integers(0, 2, n)
    return gold, [np.where(random.random(n) < right, gold, 1 - gold) for right in rights]


@pytest.mark.parametrize("name", METRICS)
def test_bootstrap_against_scipy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLES", 8000)
    gold, (predicted,) = columns_for(name, 200, 0.75)
    wanted = scipy.stats.bootstrap(
        (gold, predicted), METRICS[name], paired=True, vectorized=False, method="percentile",
        n_resamples=4000, rng=np.random.default_rng(4),
    ).confidence_interval  # fmt: skip
    width = wanted.high - wanted.low
    resampled = resample(name, gold, [predicted], seed=3)
    for ours in (
        bootstrap(name, gold, predicted, seed=3),
        Interval.of(METRICS[name](gold, predicted), resampled),
    ):
        assert ours.value == METRICS[name](gold, predicted)
        assert ours.low == pytest.approx(wanted.low, abs=0.06 * width)
        assert ours.high == pytest.approx(wanted.high, abs=0.06 * width)


def test_bootstrap_of_many_classes_against_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts of pairs are drawn at once; drawing rows one sample after the other is the same."""
    monkeypatch.setattr(module, "SAMPLES", 4000)
    random = np.random.default_rng(0)
    gold = random.integers(5, 9, 300)
    predicted = np.where(random.random(300) < 0.5, gold, random.integers(5, 9, 300))
    counted = bootstrap("matthews", gold, predicted)
    plain = bootstrap(lambda g, p: matthews(g, p), gold, predicted, seed=1)
    width = plain.high - plain.low
    assert counted.low == pytest.approx(plain.low, abs=0.08 * width)
    assert counted.high == pytest.approx(plain.high, abs=0.08 * width)


@pytest.mark.parametrize("name", METRICS)
def test_the_seed_alone_decides(name: str) -> None:
    gold, (predicted,) = columns_for(name, 60, 0.75)
    one, other = (bootstrap(name, gold, predicted, seed=s) for s in (1, 2))
    assert one == bootstrap(METRICS[name], gold, predicted, seed=1)
    assert (one.low, one.high) != (other.low, other.high)
    assert one.value == other.value


def test_intervals_do_not_change() -> None:
    """Published intervals can be made again, digit for digit."""
    gold, (ours, others) = columns_for("f1", 200, 0.75, 0.6)
    counted = bootstrap("f1", gold, ours, seed=5)
    paired = difference("f1", gold, [ours], [others], seed=5)
    assert [counted.low, counted.high] == pytest.approx(COUNTED, abs=EXACT)
    assert [paired.low, paired.high] == pytest.approx(PAIRED, abs=EXACT)


@pytest.mark.parametrize("name", METRICS)
def test_bootstrap_is_quick(name: str) -> None:
    rows = 1500 if name in ("pearson", "spearman") else 10_000
    gold, (predicted,) = columns_for(name, rows, 0.75)
    start = time.process_time()
    bootstrap(name, gold, predicted)
    assert time.process_time() - start < 2


def test_the_smallest_columns_and_what_is_refused() -> None:
    assert bootstrap("accuracy", [1], [1]) == Interval(1.0, 1.0, 1.0)
    assert bootstrap("matthews", [1, 0], [1, 0]).high == 1.0
    assert bootstrap("pearson", [1, 0], [1, 0]).value == pytest.approx(1.0)
    with pytest.raises(InputError, match="no metric 'auc'"):
        bootstrap("auc", [1], [1])
    with pytest.raises(InputError, match="same length"):
        bootstrap("f1", [], [])


@pytest.mark.parametrize("name", METRICS)
def test_a_paired_difference_is_that_of_resampled_rows(name: str) -> None:
    gold, columns = columns_for(name, 60, 0.9, 0.7, 0.5, 0.4)
    ours, others = columns[:2], columns[2:]
    paired = difference(name, gold, ours, others, seed=7)
    random = np.random.default_rng(7)
    slow = []
    for _ in range(module.SAMPLES):
        rows = random.integers(len(gold), size=len(gold))
        first, second = (
            np.mean([METRICS[name](gold[rows], p[rows]) for p in side]) for side in (ours, others)
        )
        slow.append(first - second)
    assert paired.low == pytest.approx(np.quantile(slow, 0.025), abs=EXACT)
    assert paired.high == pytest.approx(np.quantile(slow, 0.975), abs=EXACT)
    assert paired.value == mean_metric(name, gold, ours) - mean_metric(name, gold, others)
    assert paired.low < paired.value < paired.high


def test_pairs_are_surer_than_two_intervals() -> None:
    """A model that is right wherever another is, and on a few rows more, is surely better."""
    gold, (worse,) = columns_for("accuracy", 400, 0.7)
    better = worse.copy()
    more = np.flatnonzero(worse != gold)[:12]
    better[more] = gold[more]
    assert difference("accuracy", gold, [better], [worse]).low > 0
    apart = [bootstrap("accuracy", gold, p) for p in (better, worse)]
    assert apart[0].low < apart[1].high  # which two intervals would not show
    assert difference("f1", gold, [worse], [worse]) == Interval(0.0, 0.0, 0.0)


def test_several_seeds_are_their_mean() -> None:
    gold, columns = columns_for("accuracy", 60, 0.5, 0.6, 0.7)
    assert mean_metric("accuracy", gold, columns) == pytest.approx(
        np.mean([(gold == p).mean() for p in columns])
    )
    together = resample("accuracy", gold, columns, seed=3)
    alone = [resample("accuracy", gold, [p], seed=3) for p in columns]
    assert together == pytest.approx(np.mean(alone, axis=0), abs=EXACT)
