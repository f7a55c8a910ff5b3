"""Rows, labels and parameters that estimators refuse: the message names the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import worlds
from fits import CLASSES, one_step
from gpt1.errors import CheckpointError, GPT1Error, InputError, UsageError
from gpt1.tasks.predictor import Predictor

NAN, INF = float("nan"), float("inf")
TEXTS = ["the dog", "a cat", "the dog is", "cat"]
PAIRS = [("the dog", "a cat"), ("a cat", "dog"), ("dog", "dog"), ("cat", "a cat")]
CHOICES = [(text, ["the dog", "a cat", "and"]) for text in TEXTS]
ROWS: dict[str, list[Any]] = {"classification": TEXTS, "choice": CHOICES}
LABELS: dict[str, list[Any]] = {"regression": [0, 5, 0, 5], "choice": [0, 1, 0, 1]}

ALL = tuple(CLASSES)
CLASSIFIERS = ("classification", "entailment", "similarity")
OF_PAIRS = ("entailment", "similarity", "regression")
SEVERAL = (*OF_PAIRS, "choice")


def rows(kind: str) -> list[Any]:
    return ROWS.get(kind, PAIRS)


def labels(kind: str) -> list[Any]:
    return LABELS.get(kind, ["a", "b", "a", "b"])


def replaced(values: list[Any], at: int, value: Any) -> list[Any]:
    return [value if i == at else old for i, old in enumerate(values)]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Estimators with untrained models of the labels or answers of `worlds`."""
    place, estimators = tmp_path_factory.mktemp("fitted"), {}
    for kind, cls in CLASSES.items():
        task, words = worlds.TASKS[kind], worlds.tokenizer(place / "words", words="fast")
        Predictor(worlds.model(task, words).float(), words, task).save(place / kind)
        estimators[kind] = cls.load(place / kind).set_params(verbose=False)
    return estimators


def refuse(
    kind: str, model: str, X: Any, y: Any, said: str, place: Path, params: Any = None
) -> None:
    """Fit, and check that it is refused before anything is written or learned."""
    estimator = one_step(kind, model, run=place / "run").set_params(**params or {})
    with pytest.raises(UsageError, match=said) as caught:
        estimator.fit(X, y)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 300
    assert not hasattr(estimator, "predictor_")
    assert not list(place.iterdir())


# A text, and what is said of it in row @
BAD_TEXTS: list[tuple[Any, str]] = [
    (7, r"X\[@\].* is 7; it must be a text .str.. Correct"),
    (None, r"X\[@\].* is None; it must be a text"),
    (NAN, r"X\[@\].* is nan; it must be a text"),
    (b"a cat", r"X\[@\].* is b'a cat'; it must be a text"),
    ("", r"X\[@\].* is '', without a word.*leave it out"),
    (" \n", r"X\[@\].* is ' ..', without a word"),
    ("the\0dog", r"X\[@\].* with a NUL character"),
    ("the \ud800", r"X\[@\].* with a lone surrogate"),
    ("\u200b\x01", r"example @ .* has no words. Leave"),
]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(("text", "said"), BAD_TEXTS)
def test_texts_without_words_are_named(
    kind: str, text: Any, said: str, model: str, fitted: dict[str, Any], tmp_path: Path
) -> None:
    bad = text if kind == "classification" else (text, rows(kind)[0][1])
    X = replaced(rows(kind), 2, bad)
    refuse(kind, model, X, labels(kind), said.replace("@", "2"), tmp_path)
    if isinstance(text, str) and not text.strip("\u200b\x01 \n"):  # the other rows are not lost
        with pytest.warns(UserWarning, match=r"X\[1\], X\[2\] have a text without a word"):
            predicted = fitted[kind].predict([X[0], bad, bad])
        alone = fitted[kind].predict(X[:1])[0]
        assert predicted[0] == (pytest.approx(alone) if kind == "regression" else alone)
        return
    with pytest.raises(InputError, match=said.replace("@", "1")):
        fitted[kind].predict([X[0], bad])


def test_all_bad_rows_are_named(model: str, tmp_path: Path, fitted: dict[str, Any]) -> None:
    X = ["the dog", "", None, "a cat"]
    said = r"X\[1\] is '', without a word.* Likewise X\[2\]\."
    refuse("classification", model, X, ["a", "b"] * 2, said, tmp_path)
    with pytest.raises(InputError, match=r"X\[2\] is None; it must be a text .str.\. Correct"):
        fitted["classification"].predict(X)


BAD_ROWS: list[tuple[tuple[str, ...], Any, str]] = [
    (ALL, "the dog", "X is 'the dog'; it must be a list.*Put a single row into a list"),
    (ALL, None, "X is None; it must be a list"),
    (ALL, 7, "X is 7; it must be a list"),
    (ALL, {"text": ["the dog"]}, "X is {.*it must be a list"),
    (ALL, (text for text in TEXTS), "X is <generator.* make a list"),
    (ALL, [], "X has no rows; give at least one"),
    (SEVERAL, replaced(PAIRS, 0, "the dog"), r"X\[0\] is 'the dog'; it must be a pair"),
    (SEVERAL, [("a", "b", "c")] * 4, r"X\[0\] has 3 parts; it must be a pair"),
    (OF_PAIRS, np.array(PAIRS)[:, [0, 1, 0]], r"X\[0\] has 3 parts"),
    (OF_PAIRS, replaced(PAIRS, 0, ("dog",)), r"X\[0\] has 1 part"),
    (OF_PAIRS, replaced(PAIRS, 1, ("dog", None)), r"X\[1\]\[1\] is None; it must be a text"),
    (("choice",), replaced(CHOICES, 1, ("a", "bc")), r"X\[1\]\[1\] is 'bc'; .* of the answers"),
    (("choice",), replaced(CHOICES, 0, ("a", ["b"])), r"X\[0\] has 1 answer; .* at least two"),
    (("choice",), replaced(CHOICES, 0, ("a", [])), r"X\[0\] has 0 answers; .* at least two"),
    (("choice",), replaced(CHOICES, 1, ("a", ["b", "c"])), r"X\[1\] has 2 .* X\[0\] 3; all rows"),
    (("choice",), replaced(CHOICES, 0, ("a", ["b", "", "c"])), r"X\[0\]\[1\]\[1\] is '', without"),
    (("choice",), replaced(CHOICES, 2, (None, ["b", "c", "d"])), r"X\[2\]\[0\] is None"),
]
SPELLINGS = [("Good", "good"), (" a", "a"), ("a  c", "a c"), ("True", "true"), ("1", "1.0")]
"""Labels that are one class in a file."""
NO_NUMBER = r"y\[1\] is .*; it must be a finite number"
NO_ANSWER = r"y\[1\] is .*; it must be the index of the right answer, 0 to 2"
BAD_LABELS: list[tuple[tuple[str, ...], Any, str]] = [
    (ALL, [0, 1, 0], "X has 4 rows and y 3; give one label for each row"),
    (ALL, [0, 1, 0, 1, 0], "X has 4 rows and y 5; give one label for each row"),
    (ALL, None, "y is None"),
    (ALL, [], "y has no rows"),
    (ALL, "abab", "y is 'abab'; it must be a list"),
    (ALL, [[0, 1]] * 4, r"y\[0\] is \[.*one label"),
    (ALL, [0, None, 1, 0], r"y\[1\] is None"),
    (ALL, np.array([0, NAN, 1, 0]), r"y\[1\] is nan"),
    (CLASSIFIERS, ["a"] * 4, "y has one class, a, in 4 rows.*at least two|least two classes"),
    (CLASSIFIERS, ["a", "b", 3, "b"], r"y\[2\] is 3, y\[0\] is 'a'; all .* of one type"),
    (CLASSIFIERS, [True, False, 1, 0], r"y\[2\] is 1, y\[0\] is True"),
    (CLASSIFIERS, [0.5, 1, 2, 3], r"y\[0\] is 0.5, a continuous value.*SimilarityRegressor"),
    (CLASSIFIERS, [1.0, INF, 1.0, 2.0], r"y\[1\] is inf.*a label is"),
    (CLASSIFIERS, ["a", "  ", "a", "b"], r"y\[1\] is ' +'; a label is"),
    (CLASSIFIERS, ["a", "", "a", "b"], r"y\[1\] is ''; every row needs a label"),
    (CLASSIFIERS, ["a", pandas.NA, "a", "b"], r"y\[1\] is <NA>; every row needs a label"),
    *((CLASSIFIERS, [first, "b", "b", other], r"y\[3\] is .* and y\[0\] .*, which are spellings")
      for first, other in SPELLINGS),
    (CLASSIFIERS, ["True", True, "b", "b"], r"y\[1\] is True, y\[0\] is 'True'; .* one type"),
    (CLASSIFIERS, [1j, 0, 1, 0], r"y\[0\] is 1j; a label is a text"),
    (("regression",), [2.0] * 4, "y has 4 equal scores, 2; a regression needs scores that differ"),
    *((("regression",), [1, odd, 1, 2], NO_NUMBER) for odd in ("high", "1", INF, True)),
    (("regression",), [1, 1e200, -1e200, 2], r"y\[1\] is 1e\+200; .*between -1e\+30 and 1e\+30"),
    (("regression",), [1, 10**400, 1, 2], r"y\[1\] is 1000.*finite number|between"),
    *((("choice",), [0, odd, 0, 1], NO_ANSWER) for odd in (-1, 3, 0.5, "a cat", True, 10**400)),
]  # fmt: skip


def cases(table: list[tuple[tuple[str, ...], Any, str]]) -> list[Any]:
    return [
        pytest.param(kind, value, said, id=f"{kind}: {said[:40]}-{n}")
        for n, (kinds, value, said) in enumerate(table)
        for kind in kinds
    ]


@pytest.mark.parametrize(("kind", "X", "said"), cases(BAD_ROWS))
def test_rows_of_another_form_are_named(
    kind: str, X: Any, said: str, model: str, tmp_path: Path
) -> None:
    refuse(kind, model, X, labels(kind), said, tmp_path)


@pytest.mark.parametrize(("kind", "y", "said"), cases(BAD_LABELS))
def test_labels_that_cannot_be_are_named(
    kind: str, y: Any, said: str, model: str, tmp_path: Path
) -> None:
    refuse(kind, model, rows(kind), y, said, tmp_path)


BAD_WEIGHTS: list[tuple[Any, str]] = [
    ([1, 1, 1], "X has 4 rows and sample_weight 3; give one weight"),
    ([1, -1, 1, 1], r"sample_weight\[1\] is -1; it must be a finite number, 0 or more"),
    ([1, NAN, 1, 1], r"sample_weight\[1\] is nan"),
    ([1, None, 1, 1], r"sample_weight\[1\] is None"),
    ([0, 0, 0, 0], "every sample_weight is zero"),
    (np.ones((4, 1)), r"sample_weight has the shape \(4, 1\)"),
    ("even", "sample_weight is 'even'; it must be a list"),
]


@pytest.mark.parametrize("kind", ALL)
def test_weights_that_cannot_be_are_named(kind: str, model: str) -> None:
    for weights, said in BAD_WEIGHTS:
        with pytest.raises(InputError, match=said):
            one_step(kind, model).fit(rows(kind), labels(kind), weights)


def test_one_score_and_labels_that_all_differ_are_named(model: str, tmp_path: Path) -> None:
    refuse("regression", model, PAIRS[:1], [2.0], "y has one sample, 2", tmp_path)
    many = [f"the dog {i}" for i in range(25)]
    said = "all 25 rows have different labels.*free text"
    refuse("classification", model, many, list(range(25)), said, tmp_path)


@pytest.mark.parametrize("kind", ALL)
def test_rows_to_predict_must_be_some_and_fit_the_model(kind: str, fitted: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="X has no rows; give at least one"):
        fitted[kind].predict([])
    if kind == "choice":
        with pytest.raises(InputError, match=r"X\[0\] has 2 answers; .* was fitted to 3"):
            fitted[kind].predict([("a", ["b", "c"])])


BAD_PARAMETERS: list[tuple[dict[str, Any], str]] = [
    ({"epochs": 0}, "epochs is 0; it should be greater than 0"),
    ({"learning_rate": -1}, "learning_rate is -1; it should be greater than 0"),
    ({"learning_rate": NAN}, "learning_rate is nan"),
    ({"batch_size": 0}, "batch_size is 0"),
    ({"batch_size": 2.5}, "batch_size is 2.5"),
    ({"lm_coef": -0.5}, "lm_coef is -0.5"),
    ({"n_iter_no_change": 0, "early_stopping": True}, "n_iter_no_change is 0"),
    *(({"validation_fraction": odd, "early_stopping": True},
       f"validation_fraction is {odd!r}.*more than 0 and less than 1") for odd in (0, 1.0, "x")),
    ({"random_state": -1}, "random_state is -1"),
    ({"random_state": "dice"}, "random_state is 'dice'; it must be None"),
    ({"device": "abacus"}, "device is 'abacus'"),
    ({"recipe": "fast"}, "recipe is 'fast'; there are"),
    ({"model": None}, "model is None; .* not saved with an estimator"),
    ({"model": 3}, "model is 3; it must be a name such as mini"),
    ({"settings": "task.clf_pdrop=0"}, "settings is 'task.clf_pdrop=0'; .* several strings"),
    ({"settings": ("task.clf=0",)}, "unknown setting 'task.clf'"),
    ({"settings": ("data.valid_share=0.2",)}, "validation_fraction. Use that"),
    ({"settings": ("model.n_layer=8",)}, "keeps the model's shape"),
]  # fmt: skip


@pytest.mark.parametrize("kind", ALL)
def test_bad_parameters(kind: str, model: str, tmp_path: Path) -> None:
    for params, said in BAD_PARAMETERS:
        refuse(kind, model, rows(kind), labels(kind), said, tmp_path, params)
    with pytest.raises(GPT1Error, match="the model is 'nowhere'"):
        one_step(kind, "nowhere").fit(rows(kind), labels(kind))


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_bad_class_weights(kind: str, model: str, tmp_path: Path) -> None:
    for weights, said in (
        ({"a": 2, "c": 1}, "^class_weight names 'c'; the classes are a, b"),
        ({"a": 0}, "class_weight of 'a' is 0; it must be a number above 0"),
        ("even", "class_weight is 'even'; it must be None"),
    ):
        refuse(kind, model, rows(kind), labels(kind), said, tmp_path, {"class_weight": weights})


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"low": 1}, r"y\[0\] is 0; the scale goes from 1 to 5. Correct it"),
        ({"high": 3}, r"y\[1\] is 5; the scale goes from 0 to 3"),
        ({"low": "x"}, r"low is 'x'; it must be a finite number"),
    ],
)
def test_a_bad_scale(params: dict[str, Any], said: str, model: str, tmp_path: Path) -> None:
    refuse("regression", model, PAIRS, labels("regression"), said, tmp_path, params)


@pytest.mark.parametrize("kind", ALL)
def test_an_estimator_is_not_loaded_from_another_kind_or_from_nothing(
    kind: str, model: str, fitted: dict[str, Any], tmp_path: Path
) -> None:
    other = "choice" if kind != "choice" else "similarity"
    cls, right = CLASSES[kind], CLASSES[other].__name__
    fitted[other].save(tmp_path / "other")
    said = f"holds a model for {other}; {cls.__name__} is for {kind}. Load it with gpt1.{right}"
    with pytest.raises(CheckpointError, match=said):
        cls.load(tmp_path / "other")
    with pytest.raises(CheckpointError, match="has no task"):
        cls.load(model)
    with pytest.raises(GPT1Error, match="nowhere"):
        cls.load("nowhere")
    for call in (cls().predict, cls().save):
        with pytest.raises(Exception, match="not fitted"):
            call(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_is_odd_but_sound_is_taken(fitted: dict[str, Any]) -> None:
    for kind in ALL:
        texts = ["the dog and a cat " * 50, "THE  dog", "dog\n\ncat", "é", "the dog" + "!" * 90]
        X: list[Any] = texts
        if kind != "classification":
            X = [(text, rows(kind)[0][1]) for text in texts]
        together = fitted[kind].predict(X)
        alone = [fitted[kind].predict([row])[0] for row in X]
        if kind == "regression":
            np.testing.assert_allclose(alone, together, rtol=1e-5)
        else:
            np.testing.assert_array_equal(alone, together)
