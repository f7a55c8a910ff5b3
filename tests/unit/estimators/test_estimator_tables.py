"""Estimators with what pandas and the tools of scikit-learn hand them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pytest
from sklearn import config_context
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    KFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline

import gpt1
from fits import make, one_step, rows
from gpt1.errors import ConfigError, InputError

X, Y = rows("classification", 12)
COLUMN = np.array(X, object)[:, None]
FRAME = pandas.DataFrame({"review": X})
PAIRS = pandas.DataFrame(rows("entailment", 12)[0], columns=["premise", "hypothesis"])


@pytest.fixture
def clf(model: str) -> Any:
    return one_step("classification", model)


# Forms of X and y

FORMS: list[Any] = [
    COLUMN,
    COLUMN.astype(str),
    FRAME,
    FRAME.astype("string"),
    FRAME.review.astype("category"),
    pyarrow.array(X),
    pyarrow.chunked_array([X]),
    pyarrow.table({"review": X}),
    [[text] for text in X],
]


def test_columns_of_texts(clf: Any) -> None:
    expected = clf.fit(X, Y).predict_proba(X)
    for form in FORMS:
        assert np.array_equal(clf.predict_proba(form), expected), type(form)
    for y in (pyarrow.array(Y), pyarrow.table({"y": Y}), pandas.Series(Y, dtype="category")):
        assert np.array_equal(clf.fit(FRAME, y).predict_proba(FRAME), expected), type(y)
    with pytest.warns(UserWarning, match="DataConversionWarning|column-vector"):
        clf.fit(FRAME, pandas.DataFrame({"y": Y}))


def test_a_file_is_read(clf: Any, tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "new.csv", index=False)
    clf.fit(X, Y)
    assert np.array_equal(clf.predict(tmp_path / "new.csv"), clf.predict(X))
    with pytest.warns(UserWarning, match="X is read from the file"):
        clf.predict(str(tmp_path / "new.csv"))


def test_tables_of_several_columns_are_asked_about(clf: Any, model: str) -> None:
    said = r"X has the columns id, premise, hypothesis; .* e\.g\. X\[\['premise', 'hypothesis'\]\]"
    with pytest.raises(InputError, match=said):
        one_step("entailment", model).fit(
            pandas.concat([FRAME.review.rename("id"), PAIRS], axis=1), Y
        )
    with pytest.raises(InputError, match=r"X has the columns premise, hyp.* X\['hypothesis'\]"):
        clf.fit(PAIRS, Y)
    with pytest.raises(InputError, match=r"X\[0\] has 2 columns"):
        clf.fit(PAIRS.to_numpy(), Y)


def test_names_of_columns(model: str, tmp_path: Path) -> None:
    clf = one_step("entailment", model).fit(PAIRS, Y)
    assert clf.feature_names_in_.tolist() == ["premise", "hypothesis"]
    assert clf.n_features_in_ == 2
    expected = clf.predict_proba(PAIRS)
    assert np.array_equal(clf.predict_proba(pyarrow.Table.from_pandas(PAIRS)), expected)
    assert np.array_equal(clf.predict_proba(PAIRS.to_numpy().tolist()), expected)
    clf.save(tmp_path / "model")
    for fitted in (clf, gpt1.EntailmentClassifier.load(tmp_path / "model", device="cpu")):
        assert np.array_equal(fitted.feature_names_in_, clf.feature_names_in_)
        for frame, said in (
            (PAIRS[["hypothesis", "premise"]], "must be in the same order"),
            (PAIRS.assign(id=1), "unseen at fit time:\n- id"),
            (PAIRS[["premise"]], "yet now missing:\n- hypothesis"),
        ):
            for table in (frame, pyarrow.Table.from_pandas(frame)):
                with pytest.raises(ValueError, match=said):
                    fitted.predict(table)
        with pytest.warns(UserWarning, match="does not have valid feature names"):
            fitted.predict(PAIRS.to_numpy())
    clf.fit(PAIRS.to_numpy().tolist(), Y)
    assert not hasattr(clf, "feature_names_in_")


# Weights, and what else fit and predict do


def test_weights_count_as_rows(model: str) -> None:
    texts, labels = ["the dog"] * 3 + ["a cat"] * 3, ["x", "y", "y", "x", "x", "y"]

    def proba(weights: Any) -> Any:
        clf = make("classification", model, "train.steps=20", batch_size=6)
        return clf.fit(texts, labels, sample_weight=weights).predict_proba(["the dog"])[0, 0]

    assert proba([50, 1, 1, 1, 1, 1]) > proba(None) > proba([1, 50, 50, 1, 1, 1])
    assert proba(np.ones(6)) == proba(None) == proba(1) == proba(pandas.Series([1] * 6))
    clf = one_step("classification", model).fit(texts, labels, [1, 1, 1, 0, 0, 0])
    alone = one_step("classification", model).fit(texts[:3], labels[:3])
    assert np.array_equal(clf.predict_proba(texts), alone.predict_proba(texts))


def test_weights_are_routed(clf: Any) -> None:
    weights = [1.0, 0.0] * 6
    with config_context(enable_metadata_routing=True):
        clf.set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        scores = cross_validate(clf, X, Y, cv=2, params={"sample_weight": weights})
    assert np.isfinite(scores["test_score"]).all()


def test_logarithms(clf: Any) -> None:
    clf.fit(X, Y)
    np.testing.assert_allclose(np.exp(clf.predict_log_proba(X)), clf.predict_proba(X))


def test_bfloat16_predicts_nearly_the_same(model: str) -> None:
    texts, labels = rows("classification", 24)
    clf = make("classification", model, epochs=6).fit(texts, labels)
    exact = clf.predict_proba(texts)
    near = clf.set_params(dtype="bfloat16").predict_proba(texts)
    assert 0 < np.abs(near - exact).max() < 0.02
    assert np.array_equal(clf.set_params(dtype="float32").predict_proba(texts), exact)
    with pytest.raises(ConfigError, match="dtype is 'int8'; it must be float32 or bfloat16"):
        clf.set_params(dtype="int8").predict(texts)


def test_a_warm_start_goes_on(model: str, tmp_path: Path) -> None:
    texts, labels = rows("classification", 24)
    clf = make("classification", model, epochs=6).fit(texts, labels)
    before = clf.predict_proba(texts)
    clf.save(tmp_path / "model")
    still = {"warm_start": True, "learning_rate": 1e-9, "epochs": 1}
    for fitted in (clf, gpt1.TextClassifier.load(tmp_path / "model", device="cpu")):
        first = fitted.model_
        fitted.set_params(**still).fit(texts, labels)
        np.testing.assert_allclose(fitted.predict_proba(texts), before, atol=1e-4)
        assert fitted.model_ is not first
        again = fitted.fit([*texts, "and"], [*labels, "another"])  # its row alone is new
        known = again.predict_proba(texts)[:, 1:]
        np.testing.assert_allclose(known / known.sum(1, keepdims=True), before, atol=1e-4)
    cold = clf.set_params(warm_start=False).fit(texts, labels).predict_proba(texts)
    assert np.abs(cold - before).max() > 0.05


CONTEXTS, FIRST, SECOND = ["the dog", "a cat"] * 2, ["is", "and"] * 2, ["a", "the"] * 2
ANSWERS = list(map(list, zip(FIRST, SECOND, strict=True)))
CHOICES: dict[str, Any] = {
    "pairs": list(zip(CONTEXTS, ANSWERS, strict=True)),
    "lists": pandas.DataFrame({"context": CONTEXTS, "answers": ANSWERS}),
    "wide": pandas.DataFrame({"answer_1": SECOND, "context": CONTEXTS, "answer_0": FIRST}),
    "letters": pandas.DataFrame({"context": CONTEXTS, "answerA": FIRST, "answerB": SECOND}),
    "arrow": pyarrow.table({"context": CONTEXTS, "answer_0": FIRST, "answer_1": SECOND}),
    "array": np.array([CONTEXTS, FIRST, SECOND], dtype=object).T,
}


@pytest.mark.parametrize("form", CHOICES)
def test_forms_of_choices(form: str, model: str) -> None:
    chooser = one_step("choice", model).fit(CHOICES["pairs"], [0, 1] * 2)
    expected = chooser.predict_proba(CHOICES["pairs"])
    chooser = one_step("choice", model).fit(CHOICES[form], [0, 1] * 2)
    np.testing.assert_array_equal(chooser.predict_proba(CHOICES[form]), expected)


PAIR = [("the dog", "a cat")]
WARM: list[tuple[str, Any, Any, Any, Any]] = [
    # estimator, first X and y, then labels of the first row, and what the model knows then
    ("TextClassifier", ["the", "a", "cat"], ["b", "a", "c"], ["b"], ["a", "b", "c"]),
    ("TextClassifier", ["the", "a"], ["b", "a"], ["z"], ["a", "b", "z"]),
    ("TextClassifier", ["the", "a"], [1, 2], [2], [1, 2]),
    ("MultiLabelClassifier", ["the", "a"], [["b"], ["a"]], [["c", "b"]], ["a", "b", "c"]),
    ("SequenceLabeler", [["the"], ["a"]], [["B-X"], ["O"]], [["O"]], ["O", "B-X"]),
    ("SimilarityRegressor", PAIR * 2, [0, 5], [2], (0, 5)),
    ("SimilarityRegressor", PAIR * 2, [0, 5], [9], (0, 9)),
]


@pytest.mark.parametrize(("name", "texts", "labels", "more", "known"), WARM)
def test_a_warm_start_knows_the_labels_of_before(
    name: str, texts: Any, labels: Any, more: Any, known: Any, model: str
) -> None:
    clf = getattr(gpt1, name)(model, early_stopping=False, verbose=False, warm_start=True)
    clf.set_params(settings=("train.steps=1",)).fit(texts, labels).fit(texts[:1], more)
    assert list(getattr(clf, "classes_", getattr(clf.predictor_.task, "scale", ()))) == list(known)


def test_there_is_no_partial_fit(clf: Any) -> None:
    assert not hasattr(clf, "partial_fit")
    with pytest.raises(AttributeError, match="warm_start=True"):
        clf.partial_fit(X, Y)


# Tools

INTEGERS = [int(label == "pos") for label in Y]
TOOLS: dict[str, Any] = {
    "bagging": lambda clf: BaggingClassifier(clf, n_estimators=2, random_state=0),
    "imputer": lambda clf: make_pipeline(
        SimpleImputer(strategy="constant", fill_value="a cat", missing_values=None), clf
    ),
    "columns": lambda clf: make_pipeline(ColumnTransformer([("x", "passthrough", [0])]), clf),
    "voting": lambda clf: VotingClassifier([("a", clf), ("b", clf)], voting="soft"),
    "stacking": lambda clf: StackingClassifier([("a", clf)], LogisticRegression(), cv=2),
    "calibrated": lambda clf: CalibratedClassifierCV(clf, cv=2),
    "rest": OneVsRestClassifier,
    "threshold": lambda clf: TunedThresholdClassifierCV(clf, cv=2),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool(tool: str, clf: Any) -> None:
    texts = COLUMN.copy()
    if tool == "imputer":
        texts[1, 0] = None
    fitted = TOOLS[tool](clf).fit(texts, INTEGERS)
    assert set(fitted.predict(texts)) <= {0, 1}
    assert fitted.predict_proba(texts).shape == (12, 2)


def test_several_outputs(clf: Any) -> None:
    targets = np.array([Y, Y[::-1]]).T
    fitted = MultiOutputClassifier(clf).fit(X, targets)
    assert fitted.predict(X).shape == (12, 2)
    assert [p.shape for p in fitted.predict_proba(X)] == [(12, 2)] * 2


def test_what_asks_again_and_again(clf: Any, model: str) -> None:
    for method, shape in (("predict", (12,)), ("predict_proba", (12, 2))):
        assert cross_val_predict(clf, X, Y, cv=2, method=method).shape == shape
    assert np.isfinite(learning_curve(clf, X, Y, cv=2, train_sizes=[1.0])[2]).all()
    tagger = gpt1.SequenceLabeler(model, verbose=False, early_stopping=False, epochs=1)
    words, tags = [["the", "dog"], ["a", "cat", "is"]] * 4, [["B-X", "O"], ["O", "B-X", "O"]] * 4
    assert np.isfinite(cross_val_score(tagger, words, tags, cv=KFold(2))).all()
    pairs = one_step("entailment", model).fit(PAIRS, Y)
    importance = permutation_importance(pairs, PAIRS, Y, n_repeats=2, random_state=0)
    assert importance.importances_mean.shape == (2,)
