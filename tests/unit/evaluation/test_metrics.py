"""The metrics against scikit-learn and scipy, and the bootstrap against scipy's."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt1.errors import InputError
from gpt1.evaluation.metrics import (
    METRICS,
    Interval,
    accuracy,
    bootstrap,
    confusion,
    f1,
    matthews,
    pearson,
    spearman,
)

EXACT = 1e-12


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


def made(n: int, *, scores: bool) -> tuple[Any, Any]:
    random = np.random.default_rng(n)
    if scores:
        gold = random.integers(0, 26, n) / 5
        return gold, np.round(gold + random.normal(size=n), 1)
    gold = random.integers(0, 2, n)
    return gold, np.where(random.random(n) < 0.25, 1 - gold, gold)


@pytest.mark.parametrize("name", METRICS)
def test_bootstrap_against_scipy(name: str) -> None:
    metric = METRICS[name]
    gold, predicted = made(200, scores=name in ("pearson", "spearman"))
    found = bootstrap(name, gold, predicted, samples=8000, level=0.9, seed=3)
    wanted = scipy.stats.bootstrap(
        (gold, predicted), metric, paired=True, vectorized=False, method="percentile",
        n_resamples=4000, confidence_level=0.9, rng=np.random.default_rng(4),
    ).confidence_interval  # fmt: skip
    width = wanted.high - wanted.low
    assert found.value == metric(gold, predicted)
    assert found.low == pytest.approx(wanted.low, abs=0.06 * width)
    assert found.high == pytest.approx(wanted.high, abs=0.06 * width)


def test_bootstrap_of_many_classes_against_rows() -> None:
    """Counts of pairs are drawn at once; drawing rows one sample after the other is the same."""
    random = np.random.default_rng(0)
    gold = random.integers(5, 9, 300)
    predicted = np.where(random.random(300) < 0.5, gold, random.integers(5, 9, 300))
    found = bootstrap("matthews", gold, predicted, samples=4000)
    plain = bootstrap(lambda g, p: matthews(g, p), gold, predicted, samples=2000, seed=1)
    width = plain.high - plain.low
    assert found.low == pytest.approx(plain.low, abs=0.08 * width)
    assert found.high == pytest.approx(plain.high, abs=0.08 * width)


@pytest.mark.parametrize("name", METRICS)
def test_the_seed_alone_decides(name: str) -> None:
    gold, predicted = made(60, scores=name in ("pearson", "spearman"))
    one, again, other = (bootstrap(name, gold, predicted, samples=50, seed=s) for s in (1, 1, 2))
    assert one == again
    assert one == bootstrap(METRICS[name], gold, predicted, samples=50, seed=1)
    assert (one.low, one.high) != (other.low, other.high)
    assert one.value == other.value


def test_bootstrap_of_the_smallest() -> None:
    assert bootstrap("accuracy", [1], [1]) == Interval(1.0, 1.0, 1.0)
    assert bootstrap("matthews", [1, 0], [1, 0]).high == 1.0
    assert bootstrap("pearson", [1, 0], [1, 0], samples=1).value == pytest.approx(1.0)


def test_bootstrap_is_quick() -> None:
    for name in METRICS:
        scores = name in ("pearson", "spearman")
        gold, predicted = made(1500 if scores else 10_000, scores=scores)
        start = time.process_time()
        bootstrap(name, gold, predicted)
        assert time.process_time() - start < 2


def test_bootstrap_refuses() -> None:
    for wrong in ({"samples": 0}, {"level": 0.0}, {"level": 1.0}):
        with pytest.raises(InputError, match="at least 1 sample"):
            bootstrap("accuracy", [1], [1], **wrong)
    with pytest.raises(InputError, match="no metric 'auc'"):
        bootstrap("auc", [1], [1])
    with pytest.raises(InputError, match="same length"):
        bootstrap("f1", [], [])
