"""Rows, labels and parameters that estimators refuse: the message names the place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas
import pytest

from fits import one_step
from gpt1.errors import InputError, UsageError

NAN = float("nan")
NA = pandas.NA
TEXTS = ["the dog", "a cat", "the dog is", "cat"]
COUPLES = [("the dog", "a cat"), ("a cat", "dog"), ("dog", "dog"), ("cat", "a cat")]
CHOICES = [(text, ["a dog", "a cat"]) for text in TEXTS]


def replaced(values: list[Any], at: int, value: Any) -> list[Any]:
    return [value if i == at else kept for i, kept in enumerate(values)]


BAD_TEXTS: list[tuple[str, Any, Any, str]] = [
    ("number", replaced(TEXTS, 3, 7), None, r"X\[3\] is 7; it must be a text"),
    ("None", replaced(TEXTS, 2, None), None, r"X\[2\] is None; it must be a text"),
    ("empty", replaced(TEXTS, 1, ""), None, r"X\[1\] is '', without a word"),
    ("no tokens", replaced(TEXTS, 1, "\u200b\x01"), None, r"example 1 .* has no words"),
    ("NUL", replaced(TEXTS, 1, "a\0"), None, r"X\[1\] is 'a\\x00', with a NUL character"),
    ("surrogate", replaced(TEXTS, 1, "a\ud800"), None, r"X\[1\] is .*, with a lone surrogate"),
    ("one text", "the dog", None, r"X is 'the dog'; it must be a list.* into a list"),
    ("a dict", dict.fromkeys(TEXTS), None, r"X is .*; it must be a list"),
    ("a generator", (text for text in TEXTS), None, r"X is <generator.* make a list"),
    ("X is None", None, None, r"X is None; it must be a list"),
    ("no rows", [], [], r"X has no rows"),
    ("column", np.array(TEXTS)[:, None], None, r"X\[0\] is \['the dog'\]; it must be a text"),
    ("fewer labels", TEXTS, [0, 1, 0], r"X has 4 rows and y 3"),
    ("one class", TEXTS, ["a"] * 4, r"y has one class, a, in all 4 rows"),
    ("y has None", TEXTS, ["a", "b", None, "a"], r"y\[2\] is None; every row needs a label"),
    ("y has nan", TEXTS, np.array([1, 0, NAN, 1]), r"y\[2\] is nan; every row"),
    ("empty label", TEXTS, ["a", "b", "", "a"], r"y\[2\] is ''; every row needs a label"),
    ("blank label", TEXTS, ["a", "b", " ", "a"], r"y\[2\] is ' '"),
    ("y has NA", TEXTS, ["a", "b", NA, "a"], r"y\[2\] is <NA>; every row needs a label"),
    ("infinite", TEXTS, [1, 0, float("inf"), 1], r"y\[2\] is inf"),
    ("scores", TEXTS, [0.5, 1, 2, 3], r"y\[0\] is 0.5, a continuous value.*SimilarityRegressor"),
    ("mixed labels", TEXTS, ["1", "0", 1, 0], r"y\[2\] is 1, y\[0\] is '1'; all .* one type"),
    ("bool and number", TEXTS, [True, False, 1, 0], r"y\[2\] is 1, y\[0\] is True"),
    ("several labels", TEXTS, [[0, 1]] * 4, r"y\[0\] is \[0, 1\]; it must be one label"),
    ("y is a text", TEXTS, "abab", r"y is 'abab'; it must be a list"),
    ("complex", TEXTS, [1j, 0, 1, 0], r"y\[0\] is 1j; a label is a text"),
]  # fmt: skip
BAD_PAIRS: list[tuple[str, Any, Any, str]] = [
    ("three", replaced(COUPLES, 2, ("a", "b", "c")), None, r"X\[2\] has 3 parts; .* a pair"),
    ("text", replaced(COUPLES, 2, "ab"), None, r"X\[2\] is 'ab'; it must be a pair"),
    ("None", replaced(COUPLES, 1, ("dog", None)), None, r"X\[1\]\[1\] is None; it must be a text"),
    ("empty", replaced(COUPLES, 1, ("", "dog")), None, r"X\[1\]\[0\] is '', without a word"),
    ("wide", np.array(COUPLES)[:, [0, 1, 0]], None, r"X\[0\] has 3 parts"),
    ("y has None", COUPLES, [0, 1, None, 2], r"y\[2\] is None"),
]  # fmt: skip
BAD_SCORES: list[tuple[str, Any, Any, str]] = [
    ("constant", COUPLES, [2.0] * 4, r"y has 4 equal scores, 2; .* scores that differ"),
    ("one row", COUPLES[:1], [2.0], r"y has one sample, 2"),
    ("y has nan", COUPLES, [0, 1, NAN, 2], r"y\[2\] is nan; it must be a finite number"),
    ("text", COUPLES, ["1", "2", "3", "4"], r"y\[0\] is '1'; it must be a finite number"),
    ("bool", COUPLES, [True, False] * 2, r"y\[0\] is True; it must be a finite number"),
]
BAD_CHOICES: list[tuple[str, Any, Any, str]] = [
    ("no list", replaced(CHOICES, 1, ("a", "dog")), None, r"X\[1\]\[1\] is 'dog'; .* the answers"),
    ("flat", [("a", "b", "c")] * 4, None, r"X\[0\] has 3 parts; .* \(context, \[answer, ...\]\)"),
    ("one answer", replaced(CHOICES, 1, ("a", ["dog"])), None, r"X\[1\] has 1 answer; .* two"),
    ("no answer", replaced(CHOICES, 1, ("a", [])), None, r"X\[1\] has 0 answers; .* two"),
    ("more", replaced(CHOICES, 2, ("a", ["b", "c", "d"])), None, r"X\[2\] has 3 .* X\[0\] 2"),
    ("None", replaced(CHOICES, 2, (None, ["b", "c"])), None, r"X\[2\]\[0\] is None"),
    ("out of range", CHOICES, [0, 1, 2, 0], r"y\[2\] is 2; .* right answer, 0 to 1"),
    ("negative", CHOICES, [0, 1, -1, 0], r"y\[2\] is -1; .* 0 to 1"),
    ("fraction", CHOICES, [0, 1, 0.5, 0], r"y\[2\] is 0.5"),
    ("nan", CHOICES, [0, 1, NAN, 0], r"y\[2\] is nan"),
    ("bool", CHOICES, [False, True, False, True], r"y\[0\] is False"),
]
CASES = [
    *(("classification", *case) for case in BAD_TEXTS),
    *(("entailment", *case) for case in BAD_PAIRS),
    *(("similarity", *case) for case in BAD_PAIRS),
    *(("regression", *case) for case in BAD_PAIRS + BAD_SCORES),
    *(("choice", *case) for case in BAD_CHOICES),
]


@pytest.mark.parametrize(
    ("kind", "what", "X", "y", "message"), CASES, ids=[f"{c[0]}: {c[1]}" for c in CASES]
)
def test_bad_rows(kind: str, what: str, X: Any, y: Any, message: str, model: str) -> None:
    labels = {"choice": [0, 1, 0, 1], "regression": [0, 1, 2.5, 4]}.get(kind, ["a", "b"] * 2)
    with pytest.raises(InputError, match=message) as caught:
        one_step(kind, model).fit(X, labels if y is None else y)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("kind", "X", "message"),
    [
        ("classification", ["dog", 5], r"X\[1\] is 5; it must be a text"),
        ("classification", ["dog", "\x01"], r"example 1"),
        ("entailment", [("dog",)], r"X\[0\] has 1 part"),
        ("similarity", ["dog"], r"X\[0\] is 'dog'; it must be a pair"),
        ("choice", [("dog", ["a", "b"])], r"X\[0\] has 2 answers; .* fitted to 3"),
    ],
)
def test_bad_rows_to_predict(
    kind: str, X: Any, message: str, learned: Callable[[str], Any]
) -> None:
    with pytest.raises(InputError, match=message):
        learned(kind).predict(X)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"epochs": 0}, r"epochs is 0; it should be greater than 0"),
        ({"learning_rate": -1}, r"learning_rate is -1; it should be greater than 0"),
        ({"batch_size": 2.5}, r"batch_size is 2.5"),
        ({"lm_coef": -0.5}, r"lm_coef is -0.5"),
        ({"n_iter_no_change": 0, "early_stopping": True}, r"n_iter_no_change is 0"),
        ({"validation_fraction": 0, "early_stopping": True}, r"validation_fraction is 0"),
        ({"validation_fraction": "x", "early_stopping": True}, r"validation_fraction is 'x'"),
        ({"validation_fraction": 1.0, "early_stopping": True}, r"validation_fraction is 1.0"),
        ({"random_state": -1}, r"random_state is -1"),
        ({"random_state": "dice"}, r"random_state is 'dice'; it must be None"),
        ({"device": "abacus"}, r"device is 'abacus'"),
        ({"recipe": "fast"}, r"recipe is 'fast'; there are"),
        ({"model": None}, r"model is None; .* not saved with an estimator"),
        ({"model": 3}, r"model is 3; it must be a name"),
        ({"settings": "task.clf_pdrop=0"}, r"settings is 'task.clf_pdrop=0'; .* several strings"),
        ({"settings": ("task.clf=0",)}, r"unknown setting 'task.clf'"),
        ({"settings": ("data.valid_share=0.2",)}, r"validation_fraction. Use that"),
        ({"settings": ("model.n_layer=8",)}, r"keeps the model's shape"),
        ({"class_weight": {"a": 2, "c": 1}}, r"class_weight names 'c'; the classes are a, b"),
        ({"class_weight": {"a": 0}}, r"class_weight of 'a' is 0; it must be a number above 0"),
        ({"class_weight": "even"}, r"class_weight is 'even'; it must be None"),
    ],
)
def test_bad_parameters(params: dict[str, Any], message: str, model: str) -> None:
    estimator = one_step("classification", model).set_params(**params)
    with pytest.raises(UsageError, match=message):
        estimator.fit(TEXTS, ["a", "b", "a", "b"])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"low": 1}, r"y\[0\] is 0; the scale goes from 1 to 4"),
        ({"high": 3}, r"y\[3\] is 4; the scale goes from 0 to 3"),
        ({"low": "x"}, r"low is 'x'; it must be a finite number"),
    ],
)
def test_a_bad_scale(params: dict[str, Any], message: str, model: str) -> None:
    with pytest.raises(InputError, match=message):
        one_step("regression", model).set_params(**params).fit(COUPLES, [0, 1, 2.5, 4])
