"""scikit-learn's rules: its own checks, cloning, grid search, cross-validation, pipelines, pickle.

Most of its checks make X of random numbers, which text estimators must refuse, and skip estimators
whose tags say so. They run here all the same, unchanged, over two estimators that first write
numbers down as words. Those that cannot hold for text are listed with the reason.
"""

from __future__ import annotations

import importlib
import inspect
import pickle
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas
import pytest
from scipy.sparse import issparse
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator
from sklearn.utils.validation import check_is_fitted

import fits
import gpt1
import tiny
import worlds
from gpt1.checkpoint import folder
from gpt1.errors import GPT1Error, InputError
from gpt1.estimators.base import CLASS_OF
from gpt1.tasks.kinds import KINDS

PAIRS = [("the dog", "a cat"), ("a cat", "is a dog"), ("dog", "dog and"), ("cat", "the cat")] * 3
ROWS: dict[Any, tuple[list[Any], list[Any]]] = {
    gpt1.TextClassifier: ([a for a, _ in PAIRS], ["no", "yes", "no", "yes"] * 3),
    gpt1.EntailmentClassifier: (PAIRS, [0, 1, 2, 1] * 3),
    gpt1.SimilarityClassifier: (PAIRS, [False, False, True, True] * 3),
    gpt1.SimilarityRegressor: (PAIRS, [0.5, 1.5, 4.0, 3.5] * 3),
    gpt1.MultipleChoiceClassifier: ([(a, [b, "is", "the"]) for a, b in PAIRS], [0, 1, 2, 1] * 3),
}
CLASSES = list(ROWS)
OWN = {gpt1.SimilarityRegressor: {"low", "high"}, gpt1.MultipleChoiceClassifier: set()}
ids = {"ids": lambda cls: cls.__name__}


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Parameters of one update of the tiniest model."""
    place = tmp_path_factory.mktemp("estimators")
    words = worlds.tokenizer(place / "words", words="fast")
    folder.save(place / "model", tiny.model(n_embd=8, n_head=1, n_layer=1), words)
    given = {"batch_size": 8, "random_state": 0, "device": "cpu"}
    quick = {"verbose": False, "early_stopping": False, "settings": ("train.steps=1",)}
    return {"model": str(place / "model"), **given, **quick}


# scikit-learn's own checks

WORDS = ["the", "dog", "cat", "is", "a", "and"]


class _OfNumbers:
    """Writes every number of X down as a word; the tags say that X may be numbers."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.two_d_array = True
        return tags

    def _texts(self, X: Any) -> Any:
        if issparse(X):
            return X
        table = np.asarray(X)
        table = table.reshape(len(table), -1)[:, :9].tolist()
        return [" ".join(WORDS[int(abs(number) * 3) % 6] for number in row) for row in table]


class TextsOfNumbers(_OfNumbers, gpt1.TextClassifier):
    def _read(self, X: Any, **blank: bool) -> Any:
        return super()._read(self._texts(X), **blank)


class PairsOfNumbers(_OfNumbers, gpt1.SimilarityRegressor):
    def _read(self, X: Any, **blank: bool) -> Any:
        texts = self._texts(X)
        return super()._read(X if texts is X else [(text, "a dog") for text in texts], **blank)


_LEARNS = "wants a model to be learned from numbers; one update of a tiny one is made here"
_COLUMNS = "counts columns of numbers; text has none"
_NUMBERS = "wants certain numbers in X refused; here they are words"
NOT_FOR_TEXT = {
    "check_array_api_input": "arrays of other libraries hold no text",
    "check_class_weight_classifiers": _LEARNS,
    "check_classifiers_train": _LEARNS,
    "check_fit1d": _COLUMNS,
    "check_fit2d_predict1d": _COLUMNS,
    "check_complex_data": _NUMBERS,
    "check_estimators_empty_data_messages": _COLUMNS,
    "check_estimators_nan_inf": _NUMBERS,
    "check_sample_weight_equivalence_on_dense_data": "rows given twice fall into other batches",
    "check_regressors_train": _LEARNS,
}
SHARED = {
    *("check_estimators_dtypes", "check_dtype_object", "check_f_contiguous_array_estimator"),
    *("check_pipeline_consistency", "check_readonly_memmap_input", "check_fit2d_1feature"),
    *("check_estimators_pickle", "check_positive_only_tag_during_fit", "check_estimator_repr"),
}
"""About what the five share: run over one of the two."""
NO_DATA = [
    *("check_estimator_cloneable", "check_estimator_tags_renamed", "check_valid_tag_types"),
    *("check_estimator_repr", "check_no_attributes_set_in_init", "check_mixin_order"),
    *("check_parameters_default_constructible", "check_get_params_invariance"),
    *("check_do_not_raise_errors_in_init_or_set_params", "check_set_params"),
    "check_estimators_unfitted",
]


def _checks(cls: Any) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            pytest.param(cls, check, id=f"{cls.__name__}-{_name(check)}-{number}")
            for number, (_, check) in enumerate(estimator_checks_generator(cls()))
            if _name(check) not in NOT_FOR_TEXT
            and (cls is TextsOfNumbers or _name(check) not in SHARED)
        ]


def _name(check: Any) -> str:
    while isinstance(check, partial):
        check = check.func
    return str(check.__name__)


@pytest.mark.parametrize(("cls", "check"), _checks(TextsOfNumbers) + _checks(PairsOfNumbers))
def test_a_check_of_scikit_learn(cls: Any, check: Any, params: dict[str, Any]) -> None:
    check(cls(**params))


def test_the_checks_that_are_left_out_exist() -> None:
    assert {name for name in NOT_FOR_TEXT if not hasattr(estimator_checks, name)} == set()


@pytest.mark.parametrize("cls", CLASSES, **ids)
@pytest.mark.parametrize("check", NO_DATA)
def test_a_check_that_needs_no_data(cls: Any, check: str) -> None:
    getattr(estimator_checks, check)(cls.__name__, cls())


@pytest.mark.parametrize("cls", CLASSES, **ids)
def test_check_estimator_takes_the_tags_for_what_they_are(cls: Any) -> None:
    with pytest.warns(SkipTestWarning, match="Can't test estimator"):
        check_estimator(cls())
    tags = cls().__sklearn_tags__()
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array
    assert tags.target_tags.required
    assert is_regressor(cls()) == (cls is gpt1.SimilarityRegressor)
    assert is_classifier(cls()) != is_regressor(cls())


@pytest.mark.parametrize("cls", CLASSES, **ids)
def test_numbers_are_refused(cls: Any, params: dict[str, Any]) -> None:
    # what check_dict_unchanged and the like give a text estimator
    X = np.random.default_rng(0).uniform(size=(20, 3))
    with pytest.raises(InputError, match=r"X\[0\](\[1\]\[0\])? (is|has)"):
        cls(**params).fit(X, X[:, 0] > 0.5)


@pytest.mark.parametrize("cls", CLASSES, **ids)
def test_what_fit_and_predict_change(cls: Any, params: dict[str, Any]) -> None:
    # check_dict_unchanged, check_dont_overwrite_parameters, check_fit_check_is_fitted,
    # check_estimators_fit_returns_self and check_fit_idempotent with texts
    X, y = ROWS[cls]
    estimator = cls(**params)
    before = dict(vars(estimator))
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)
    for method in ("predict", "predict_proba", "save"):
        if hasattr(estimator, method):
            with pytest.raises(NotFittedError):
                getattr(estimator, method)(X)
    assert estimator.fit(X, y) is estimator
    check_is_fitted(estimator)
    assert all(vars(estimator)[name] is value for name, value in before.items())
    added = vars(estimator).keys() - before.keys()
    assert all(name.endswith("_") and not name.startswith("_") for name in added)
    fitted = dict(vars(estimator))
    first = estimator.predict(X)
    if cls is not gpt1.SimilarityRegressor:
        estimator.predict_proba(X)
    assert vars(estimator) == fitted
    assert np.array_equal(estimator.fit(X, y).predict(X), first)
    assert not hasattr(clone(estimator), "predictor_")


def test_the_parameters_of_the_five() -> None:
    shared = set(inspect.signature(gpt1.MultipleChoiceClassifier).parameters)
    for cls in CLASSES:
        own = set(cls().get_params())
        assert own >= shared
        assert own - shared == OWN.get(cls, {"class_weight"})
    estimator = gpt1.TextClassifier("mini", epochs=2)
    assert repr(estimator) == "TextClassifier(epochs=2)"
    assert estimator.set_params(epochs=3, random_state=1) is estimator
    assert repr(clone(estimator)) == "TextClassifier(epochs=3, random_state=1)"
    with pytest.raises(ValueError, match="Invalid parameter 'depth'"):
        estimator.set_params(depth=3)


# The tools around estimators


@pytest.mark.parametrize("cls", CLASSES, **ids)
def test_cross_validation(cls: Any, params: dict[str, Any]) -> None:
    X, y = ROWS[cls]
    scores = cross_val_score(cls(**params), X, y, cv=2, n_jobs=1, error_score="raise")
    assert np.isfinite(scores).all()
    assert np.array_equal(scores, cross_val_score(cls(**params), X, y, cv=2, n_jobs=1))


@pytest.mark.parametrize(
    "cls", [gpt1.TextClassifier, gpt1.SimilarityRegressor, gpt1.MultipleChoiceClassifier], **ids
)
def test_grid_search(cls: Any, params: dict[str, Any]) -> None:
    X, y = ROWS[cls]
    grid = {"learning_rate": [1e-4, np.float64(1e-2)]}
    search = GridSearchCV(cls(**params), grid, cv=2, error_score="raise")
    search.fit(X, y)
    assert set(search.best_params_) == {"learning_rate"}
    assert search.predict(X).shape == (12,)
    assert search.score(X, y) == search.best_estimator_.score(X, y)


def test_a_grid_over_everything_that_it_may_be_over(params: dict[str, Any]) -> None:
    X, y = ROWS[gpt1.TextClassifier]
    grid = [
        {"class_weight": [None, "balanced", {"yes": 2}]},
        {"lm_coef": [0, 0.5], "settings": [("train.steps=2",)]},
        {"early_stopping": [True], "batch_size": np.array([4])},
        {"recipe": ["supervised", "release"]},
    ]
    estimator = gpt1.TextClassifier(**params)
    search = GridSearchCV(estimator, grid, cv=[(range(8), range(4))], error_score="raise")
    search.fit(X, y)
    assert len(search.cv_results_["params"]) == 8


def test_a_pipeline(params: dict[str, Any]) -> None:
    def shout(texts: list[str]) -> list[str]:
        return [f"{text} and a dog" for text in texts]

    X, y = ROWS[gpt1.TextClassifier]
    line = make_pipeline(FunctionTransformer(shout), gpt1.TextClassifier(**params))
    line.set_params(textclassifier__lm_coef=0).fit(X, y)
    alone = gpt1.TextClassifier(**params, lm_coef=0).fit(shout(X), y)
    assert np.array_equal(line.predict_proba(X), alone.predict_proba(shout(X)))
    assert line.score(X, y) == alone.score(shout(X), y)
    assert np.isfinite(cross_val_score(line, X, y, cv=2, error_score="raise")).all()


@pytest.mark.parametrize("cls", CLASSES, **ids)
def test_pickle_and_joblib(cls: Any, params: dict[str, Any], tmp_path: Path) -> None:
    X, y = ROWS[cls]
    fresh = pickle.loads(pickle.dumps(cls(**params)))
    estimator = fresh.fit(X, y)
    joblib.dump(estimator, tmp_path / "estimator")
    for copied in (pickle.loads(pickle.dumps(estimator)), joblib.load(tmp_path / "estimator")):
        assert np.array_equal(copied.predict(X), estimator.predict(X))
        assert copied.get_params() == estimator.get_params()
        assert copied.model_ is copied.predictor_.model
        assert np.array_equal(copied.fit(X, y).predict(X), estimator.predict(X))


def test_fits_in_threads(params: dict[str, Any]) -> None:
    X, y = ROWS[gpt1.TextClassifier]
    estimator = gpt1.TextClassifier(**params)
    with joblib.parallel_config("threading"):
        scores = cross_val_score(estimator, X, y, cv=2, n_jobs=2, error_score="raise")
    assert np.isfinite(scores).all()


# Rows of every form, and without scikit-learn


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("gpt1.estimators")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(GPT1Error, match=r'pip install "gpt1\[sklearn\]"') as caught:
        importlib.import_module("gpt1.estimators")
    assert isinstance(caught.value, ImportError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", fits.CLASSES)
def test_lists_tuples_arrays_and_columns(kind: str, learned: Callable[[str], Any]) -> None:
    estimator = learned(kind)
    X, y = fits.rows(kind, 6, seed=5)
    array = np.empty(len(X), object)
    array[:] = X
    forms = [tuple(X), array, pandas.Series(X, index=range(9, 15))]
    if kind == "classification":
        forms += [np.array(X), pandas.Series(X, dtype="string"), [np.str_(text) for text in X]]
    else:
        forms += [[list(row) for row in X]]
    if kind in ("entailment", "similarity", "regression"):
        forms += [np.array(X), np.array(X, object), pandas.DataFrame(X, columns=["a", "b"])]
    if kind == "choice":
        forms += [[(context, tuple(answers)) for context, answers in X]]
        forms += [[(context, np.array(answers)) for context, answers in X]]
    for form in forms:
        assert np.array_equal(estimator.predict(form), estimator.predict(X)), type(form)
    expected = estimator._learn_labels(estimator._read(X), y)[:2]
    for labels in (tuple(y), np.array(y), np.array(y, object), pandas.Series(y, index=range(6))):
        assert estimator._learn_labels(estimator._read(X), labels)[:2] == expected


def test_names_of_the_classes() -> None:
    assert {getattr(gpt1, name)._kind: name for name in CLASS_OF.values()} == CLASS_OF
    assert CLASS_OF.keys() == KINDS.keys()
