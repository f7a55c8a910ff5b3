"""The metrics against scikit-learn and scipy, and the bootstrap against scipy's."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings, strategies as st

from gpt1.errors import InputError
from gpt1.tasks.metrics import (
    METRICS,
    Interval,
    accuracy,
    bootstrap,
    confusion,
    difference,
    f1,
    matthews,
    mean_metric,
    pearson,
    resample,
    spearman,
)

EXACT = 1e-12
COUNTED = [0.6528386578371339, 0.793973544191546]
PAIRED = [0.06686186126291443, 0.27741699524300123]


def columns(values: st.SearchStrategy[Any], least: int = 1) -> st.SearchStrategy[Any]:
    """Two columns of one length."""
    return st.lists(st.tuples(values, values), min_size=least, max_size=40).map(
        lambda pairs: tuple(map(np.array, zip(*pairs, strict=True)))
    )


@settings(deadline=None, max_examples=150)
@given(columns(st.integers(0, 3)))
def test_labels_against_scikit_learn(both: tuple[Any, Any]) -> None:
    gold, predicted = both
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of one class only
        wanted_matthews = sklearn.metrics.matthews_corrcoef(gold, predicted)
    wanted_f1 = sklearn.metrics.f1_score(gold == 1, predicted == 1, zero_division=0)
    wanted_counts = sklearn.metrics.confusion_matrix(gold, predicted, labels=range(4))
    assert accuracy(gold, predicted) == sklearn.metrics.accuracy_score(gold, predicted)
    assert f1(gold, predicted) == pytest.approx(wanted_f1, abs=EXACT)
    assert matthews(gold, predicted) == pytest.approx(wanted_matthews, abs=EXACT)
    assert np.array_equal(confusion(gold, predicted, 4), wanted_counts)


@settings(deadline=None, max_examples=150)
@given(columns(st.integers(-3, 3), least=2))
def test_scores_with_ties_against_scipy(both: tuple[Any, Any]) -> None:
    gold, predicted = both
    if len(set(gold)) == 1 or len(set(predicted)) == 1:
        assert pearson(gold, predicted) == spearman(gold, predicted) == 0.0
        return
    wanted = scipy.stats.pearsonr(gold, predicted).statistic
    assert pearson(gold, predicted) == pytest.approx(wanted, abs=EXACT)
    wanted = scipy.stats.spearmanr(gold, predicted).statistic
    assert spearman(gold, predicted) == pytest.approx(wanted, abs=EXACT)


@pytest.mark.parametrize("scale", [1e-300, 1e-6, 1.0, 1e6, 1e300])
@pytest.mark.parametrize("n", [2, 3, 1500])
def test_scores_of_any_size(scale: float, n: int) -> None:
    random = np.random.default_rng(n)
    gold = random.normal(size=n)
    predicted = gold + random.normal(size=n)
    wanted = scipy.stats.pearsonr(gold, predicted).statistic
    assert pearson(gold * scale, predicted) == pytest.approx(wanted, abs=1e-9)
    wanted = scipy.stats.spearmanr(gold, predicted).statistic
    assert spearman(gold * scale, predicted) == pytest.approx(wanted, abs=EXACT)


def test_what_is_undefined_is_nothing() -> None:
    assert pearson([0.1] * 7, range(7)) == spearman(range(7), [0.1] * 7) == 0.0
    assert matthews([1, 1, 0], [1, 1, 1]) == matthews([2, 2], [2, 2]) == 0.0
    assert f1([0, 0], [0, 0]) == f1([2, 0], [0, 2]) == 0.0
    assert all(metric([1], [1]) in (0.0, 1.0) for metric in METRICS.values())


def test_by_hand() -> None:
    gold, predicted = [1, 1, 1, 0, 0, 2], [1, 1, 0, 0, 1, 1]
    assert accuracy(gold, predicted) == 0.5
    assert f1(gold, predicted) == pytest.approx(2 * 2 / (3 + 4))
    assert confusion(gold, predicted, 3).tolist() == [[1, 1, 0], [1, 2, 0], [0, 1, 0]]
    assert spearman([1, 2, 2, 9], [1, 3, 2, 4]) == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert list(METRICS) == ["accuracy", "f1", "matthews", "pearson", "spearman"]


@pytest.mark.parametrize("metric", METRICS.values())
@pytest.mark.parametrize(("gold", "predicted"), [([], []), ([1], [1, 0]), ([[1]], [[1]])])
def test_columns_that_do_not_fit(metric: Any, gold: Any, predicted: Any) -> None:
    with pytest.raises(InputError, match="same length"):
        metric(gold, predicted)


def test_columns_that_hold_something_else() -> None:
    with pytest.raises(InputError, match="columns of numbers"):
        pearson(["a"], ["b"])
    with pytest.raises(InputError, match="predicted holds nan"):
        pearson([1.0, 2.0], [1.0, np.nan])
    with pytest.raises(InputError, match="gold holds nan"):
        accuracy([np.inf], [1])
    for labels in ([0, 3], [-1, 0], [0.5, 1.0]):
        with pytest.raises(InputError, match="predicted holds labels"):
            confusion([0, 1], labels, 3)


def columns_for(metric: str, n: int, *rights: float) -> tuple[Any, list[Any]]:
    """Return gold (n,) and a column of predictions for each share of right ones."""
    random = np.random.default_rng(n)
    if metric in ("pearson", "spearman"):
        gold = random.integers(0, 26, n) / 5
        return gold, [np.round(gold + random.normal(size=n) / right, 1) for right in rights]
    gold = random.integers(0, 2, n)
    return gold, [np.where(random.random(n) < right, gold, 1 - gold) for right in rights]


@pytest.mark.parametrize("name", METRICS)
def test_bootstrap_against_scipy(name: str) -> None:
    gold, (predicted,) = columns_for(name, 200, 0.75)
    wanted = scipy.stats.bootstrap(
        (gold, predicted), METRICS[name], paired=True, vectorized=False, method="percentile",
        n_resamples=4000, rng=np.random.default_rng(4),
    ).confidence_interval  # fmt: skip
    width = wanted.high - wanted.low
    resampled = resample(name, gold, [predicted], samples=8000, seed=3)
    for ours in (
        bootstrap(name, gold, predicted, samples=8000, seed=3),
        Interval.of(METRICS[name](gold, predicted), resampled),
    ):
        assert ours.value == METRICS[name](gold, predicted)
        assert ours.low == pytest.approx(wanted.low, abs=0.06 * width)
        assert ours.high == pytest.approx(wanted.high, abs=0.06 * width)


def test_bootstrap_of_many_classes_against_rows() -> None:
    """Counts of pairs are drawn at once; drawing rows one sample after the other is the same."""
    random = np.random.default_rng(0)
    gold = random.integers(5, 9, 300)
    predicted = np.where(random.random(300) < 0.5, gold, random.integers(5, 9, 300))
    counted = bootstrap("matthews", gold, predicted, samples=4000)
    plain = bootstrap(lambda g, p: matthews(g, p), gold, predicted, samples=2000, seed=1)
    width = plain.high - plain.low
    assert counted.low == pytest.approx(plain.low, abs=0.08 * width)
    assert counted.high == pytest.approx(plain.high, abs=0.08 * width)


@pytest.mark.parametrize("name", METRICS)
def test_the_seed_alone_decides(name: str) -> None:
    gold, (predicted,) = columns_for(name, 60, 0.75)
    one, again, other = (bootstrap(name, gold, predicted, samples=50, seed=s) for s in (1, 1, 2))
    assert one == again == bootstrap(METRICS[name], gold, predicted, samples=50, seed=1)
    assert (one.low, one.high) != (other.low, other.high)
    assert one.value == other.value


def test_intervals_do_not_change() -> None:
    """Published intervals can be made again, digit for digit."""
    gold, (ours, others) = columns_for("f1", 200, 0.75, 0.6)
    counted = bootstrap("f1", gold, ours, seed=5)
    paired = difference("f1", gold, [ours], [others], seed=5)
    assert [counted.low, counted.high] == pytest.approx(COUNTED, abs=EXACT)
    assert [paired.low, paired.high] == pytest.approx(PAIRED, abs=EXACT)


def test_bootstrap_of_the_smallest() -> None:
    assert bootstrap("accuracy", [1], [1]) == Interval(1.0, 1.0, 1.0)
    assert bootstrap("matthews", [1, 0], [1, 0]).high == 1.0
    assert bootstrap("pearson", [1, 0], [1, 0], samples=1).value == pytest.approx(1.0)


def test_bootstrap_is_quick() -> None:
    for name in METRICS:
        gold, (predicted,) = columns_for(
            name, 1500 if name in ("pearson", "spearman") else 10_000, 0.75
        )
        start = time.process_time()
        bootstrap(name, gold, predicted)
        assert time.process_time() - start < 2


def test_bootstrap_refuses() -> None:
    with pytest.raises(InputError, match="at least 1"):
        bootstrap("accuracy", [1], [1], samples=0)
    with pytest.raises(InputError, match="no metric 'auc'"):
        bootstrap("auc", [1], [1])
    with pytest.raises(InputError, match="same length"):
        bootstrap("f1", [], [])


@pytest.mark.parametrize("name", METRICS)
def test_a_paired_difference_is_that_of_resampled_rows(name: str) -> None:
    gold, columns = columns_for(name, 60, 0.9, 0.7, 0.5, 0.4)
    ours, others = columns[:2], columns[2:]
    paired = difference(name, gold, ours, others, samples=200, seed=7)
    random = np.random.default_rng(7)
    slow = []
    for _ in range(200):
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
