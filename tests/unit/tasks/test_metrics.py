"""The metrics against scikit-learn and scipy."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings, strategies as st

from gpt1.errors import InputError
from gpt1.tasks.metrics import METRICS, accuracy, confusion, f1, matthews, pearson, spearman

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


def test_columns_that_do_not_fit_or_hold_something_else() -> None:
    for metric in METRICS.values():
        for gold, predicted in (([], []), ([1], [1, 0]), ([[1]], [[1]])):
            with pytest.raises(InputError, match="same length"):
                metric(gold, predicted)
    with pytest.raises(InputError, match="columns of numbers"):
        pearson(["a"], ["b"])
    with pytest.raises(InputError, match="predicted holds nan"):
        pearson([1.0, 2.0], [1.0, np.nan])
    with pytest.raises(InputError, match="gold holds nan"):
        accuracy([np.inf], [1])
    for labels in ([0, 3], [-1, 0], [0.5, 1.0]):
        with pytest.raises(InputError, match="predicted holds labels"):
            confusion([0, 1], labels, 3)
