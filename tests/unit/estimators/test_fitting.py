"""The estimators: what they learn, and what is kept of it."""

from __future__ import annotations

import json
import random
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gpt1
from fits import CLASSES, make, one_step, rows
from gpt1.checkpoint import folder
from gpt1.errors import (
    CheckpointError,
    ConfigError,
    InputError,
    Interrupted,
    TrainingError,
)
from gpt1.reports.configuration import configuration
from gpt1.reports.history import History
from gpt1.tasks.predictor import Predictor
from gpt1.training import optimizers


@pytest.mark.parametrize("kind", CLASSES)
def test_it_learns(kind: str, learned: Callable[[str], Any]) -> None:
    estimator = learned(kind)
    X, y = rows(kind, 100, seed=1)
    assert estimator.score(X, y) >= 0.95
    predicted = estimator.predict(X)
    if kind == "regression":
        assert predicted.dtype == np.float64
        assert predicted.min() >= 0
        assert predicted.max() <= 5
        return
    probabilities = estimator.predict_proba(X)
    assert probabilities.shape == (100, 3 if kind == "choice" else 2)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-12)
    assert np.array_equal(predicted, estimator.classes_[probabilities.argmax(1)])
    assert predicted.dtype == estimator.classes_.dtype


def test_the_order_of_premise_and_hypothesis_does(learned: Callable[[str], Any]) -> None:
    pairs = [("a dog", "a cat"), ("a cat", "a dog")]
    assert learned("entailment").predict(pairs).tolist() == [1, 0]


# What is the same again


def test_the_same_seed_gives_the_same_and_leaves_the_world_as_it_was(model: str) -> None:
    X, y = rows("classification", 16)
    before = list(X), list(y)
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002 - the generator that must not move
    random.seed(7)
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    estimator = make("classification", model, epochs=1)
    first = estimator.fit(X, y).predict_proba(X)
    again = estimator.fit(X, y).predict_proba(X)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1][1])  # noqa: NPY002
    assert random.getstate() == states[2]
    assert np.array_equal(first, again)
    assert (X, y) == before
    assert estimator.seed_ == 0
    other = estimator.set_params(random_state=1).fit(X, y)
    assert not np.array_equal(other.predict_proba(X), first)


def test_random_states_of_every_sort(model: str) -> None:
    X, y = rows("classification", 8)

    def seed(state: Any) -> int:
        return int(one_step("classification", model, random_state=state).fit(X, y).seed_)

    assert seed(np.int64(5)) == 5
    assert seed(None) != seed(None)
    old = np.random.RandomState(3)
    assert seed(old) != seed(old)  # it goes on, as in scikit-learn
    assert seed(np.random.RandomState(3)) == seed(np.random.RandomState(3))
    assert seed(np.random.default_rng(3)) == seed(np.random.default_rng(3))


def test_a_loaded_model_is_copied(model: str) -> None:
    gpt = gpt1.load(model, dtype="float32")
    before = {name: value.clone() for name, value in gpt.model.state_dict().items()}
    tokens = len(gpt.tokenizer)
    X, y = rows("classification", 8)
    estimator = one_step("classification", gpt).fit(X, y)
    assert gpt.model.head is None
    assert len(gpt.tokenizer) == tokens
    assert before.keys() == gpt.model.state_dict().keys()
    for name, value in gpt.model.state_dict().items():
        assert torch.equal(value, before[name])
    named = one_step("classification", model).fit(X, y)
    assert np.array_equal(estimator.predict_proba(X), named.predict_proba(X))


@pytest.mark.parametrize("kind", CLASSES)
def test_save_and_load(kind: str, learned: Callable[[str], Any], tmp_path: Path) -> None:
    estimator = learned(kind)
    X, y = rows(kind, 30, seed=4)
    estimator.save(tmp_path / "model")
    loaded = CLASSES[kind].load(tmp_path / "model", device="cpu")
    assert np.array_equal(loaded.predict(X), estimator.predict(X))
    if kind != "regression":
        assert np.array_equal(loaded.predict_proba(X), estimator.predict_proba(X))
        assert loaded.classes_.dtype == estimator.classes_.dtype
    assert loaded.get_params() == estimator.get_params()
    for name in ("seed_", "n_cut_", "conflicts_", "history_"):
        assert getattr(loaded, name) == getattr(estimator, name)
    assert vars(loaded).keys() == vars(estimator).keys()
    loaded.save(tmp_path / "again")
    for file in (tmp_path / "model").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()
    assert not [f for f in (tmp_path / "model").iterdir() if f.suffix in (".pkl", ".joblib")]
    refitted = loaded.set_params(settings=("train.steps=1",)).fit(X, y)
    assert np.isfinite(refitted.score(X, y))
    for other in CLASSES:
        if other != kind:
            with pytest.raises(CheckpointError, match=rf"{kind}.* gpt1\.{CLASSES[kind].__name__}"):
                CLASSES[other].load(tmp_path / "model")


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (["b", "a"], "<U1"),
        ([1, -10], int),
        ([True, False], bool),
        ([2.0, 0.0], float),
        (np.array(["no", "yes"], object), object),
        (np.array([3, 4], object), int),
        (np.array([3, 4], np.uint8), np.uint8),
        (("a \"quoted\" = 'label'", "ünïcode\n"), "<U20"),
    ],
)
def test_labels_keep_their_type(labels: Any, dtype: Any, model: str, tmp_path: Path) -> None:
    X = ["the dog", "a cat", "the dog is", "cat"]
    y = [*labels, *labels] if isinstance(labels, list | tuple) else np.concatenate([labels] * 2)
    weights = {labels[0]: 2.0}
    estimator = one_step("classification", model, class_weight=weights).fit(X, y)
    assert estimator.classes_.dtype == dtype
    assert estimator.classes_.tolist() == sorted(labels)
    assert set(estimator.predict(X)) <= set(labels)
    estimator.save(tmp_path / "model")
    loaded = gpt1.TextClassifier.load(tmp_path / "model")
    assert loaded.classes_.dtype == dtype
    assert np.array_equal(loaded.classes_, estimator.classes_)
    assert loaded.class_weight == weights
    assert [type(label) for label in loaded.predict(X)] == [
        type(label) for label in estimator.predict(X)
    ]
    assert np.isfinite(loaded.fit(X, y).predict_proba(X)).all()


def test_what_json_cannot_hold(model: str, tmp_path: Path) -> None:
    X, y = rows("classification", 8)
    gpt = gpt1.load(model, dtype="float32")
    given = {
        "learning_rate": np.float64(1e-3),
        "batch_size": np.int64(4),
        "random_state": np.random.RandomState(0),
        "run": tmp_path / "run",
    }
    estimator = one_step("classification", gpt, **given).fit(X, y)
    estimator.save(tmp_path / "model")
    loaded = gpt1.TextClassifier.load(tmp_path / "model")
    assert (loaded.learning_rate, loaded.batch_size) == (1e-3, 4)
    assert loaded.random_state == estimator.seed_
    assert loaded.run == str(tmp_path / "run")
    with pytest.raises(ConfigError, match="model is None"):
        loaded.fit(X, y)
    loaded.set_params(model=model, run=None).fit(X, y)
    assert np.array_equal(loaded.predict_proba(X), estimator.predict_proba(X))


def test_a_folder_of_the_command_line_can_be_loaded(
    learned: Callable[[str], Any], tmp_path: Path
) -> None:
    estimator = learned("entailment")
    estimator.predictor_.save(tmp_path / "model")  # what gpt1 finetune leaves
    loaded = gpt1.EntailmentClassifier.load(tmp_path / "model")
    X, _ = rows("entailment", 5)
    assert np.array_equal(loaded.predict_proba(X), estimator.predict_proba(X))
    assert loaded.classes_.tolist() == ["0", "1"]
    estimator.save(tmp_path / "own")
    predictor = Predictor.load(tmp_path / "own")  # and the command line takes ours
    assert predictor.task == estimator.predictor_.task


def test_a_folder_that_is_none(model: str, tmp_path: Path, learned: Callable[[str], Any]) -> None:
    with pytest.raises(CheckpointError, match="has no task"):
        gpt1.TextClassifier.load(model)
    predictor = learned("classification").predictor_
    sound = {"params": {"settings": []}, "fitted": {}, "classes": ["a", "b"], "dtype": "<U1"}
    for broken in (
        {},
        {**sound, "params": {"settings": [], "depth": 3}},
        sound,  # the classes are others
        {**sound, "classes": ["neg", "pos"], "dtype": "no"},
    ):
        extra = {"task": predictor.task.to_json(), "estimator": broken}
        folder.save(tmp_path / "model", predictor.model, predictor.tokenizer, extra)
        with pytest.raises(CheckpointError, match="section estimator"):
            gpt1.TextClassifier.load(tmp_path / "model")


# What is kept of a run


def test_parameters_reach_the_run(model: str, tmp_path: Path) -> None:
    X, y = rows("classification", 20)
    estimator = gpt1.TextClassifier(
        model,
        recipe="release",
        epochs=0.5,
        learning_rate=0.01,
        batch_size=4,
        lm_coef=0.25,
        class_weight="balanced",
        n_iter_no_change=7,
        random_state=11,
        device="cpu",
        verbose=False,
        run=tmp_path / "run",
        settings=["task.clf_pdrop=0.3", "train.log_every=3"],
    ).fit(X, y)
    config = json.loads((tmp_path / "run/run.json").read_text("utf-8"))["config"]
    train, task = config["train"], config["task"]
    assert (train["epochs"], train["batch_size"], train["patience"]) == (0.5, 4, 7)
    assert (train["seed"], train["log_every"], train["save_every"]) == (11, 3, 1000)
    assert config["optimizer"]["lr"] == 0.01
    weights = dict(zip(*np.unique(y, return_counts=True), strict=True))
    assert (task["lm_coef"], task["clf_pdrop"]) == (0.25, 0.3)
    assert task["class_weight"] == {name: 20 / (2 * n) for name, n in weights.items()}
    assert task["embeddings"] == "one"
    assert (tmp_path / "run/model").is_dir()
    assert estimator.seed_ == 11
    heading, *sections = configuration(History.read(tmp_path / "run"))
    tables = [section.content for section in sections]
    assert "the recipe release" in heading.note
    assert sorted(table.rows[n][0] for table in tables for n in table.marked) == [
        "batch_size", "class_weight", "clf_pdrop", "device", "epochs", "lm_coef", "log_every", "lr",
        "patience", "seed",
    ]  # fmt: skip
    with pytest.raises(TrainingError, match="there is a run already"):
        estimator.fit(X, y)


def test_none_is_what_the_recipe_says(model: str, tmp_path: Path) -> None:
    one_step(
        "choice", model, learning_rate=None, batch_size=None, lm_coef=None, run=tmp_path / "r"
    ).fit(*rows("choice", 6))
    config = json.loads((tmp_path / "r/run.json").read_text("utf-8"))["config"]
    assert config["optimizer"]["lr"] == 5e-4  # small: the model is
    assert (config["train"]["batch_size"], config["train"]["epochs"]) == (32, 3)
    assert (config["task"]["lm_coef"], config["task"]["class_weight"]) == (0.5, None)


def test_class_weights_are_those_of_the_labels(model: str) -> None:
    X = ["the dog"] * 6 + ["a cat"] * 2
    y = [1] * 6 + [0] * 2

    def probabilities(weight: Any) -> Any:
        estimator = make("classification", model, "train.steps=3", class_weight=weight)
        return estimator.fit(X, y).predict_proba(X)

    balanced = probabilities("balanced")
    # 8 / (2 * 6) and 8 / (2 * 2)
    np.testing.assert_allclose(balanced, probabilities({1: 2 / 3, 0: 2.0}), rtol=0, atol=1e-5)
    assert (probabilities({0: 50})[:, 0] > probabilities(None)[:, 0]).all()


def test_early_stopping(model: str) -> None:
    X, y = rows("similarity", 120)
    estimator = make(
        "similarity",
        model,
        "train.eval_every=1",
        epochs=50,
        learning_rate=1e-30,
        early_stopping=True,
        n_iter_no_change=2,
        validation_fraction=0.25,
    ).fit(X, y)
    # 563 updates, 56.3 of them to warm up, then two epochs of 11.25 updates
    assert [line["step"] for line in estimator.history_] == list(range(80))
    assert all(line.keys() == {"step", "loss", "accuracy"} for line in estimator.history_)
    assert estimator.set_params(early_stopping=False, epochs=1).fit(X, y).history_ == []


def test_what_is_counted_and_said(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    X = ["the dog", "The  dog", "a cat", "is a cat", "dog " * 40, "cat " * 50]
    y = ["yes", "no", "no", "no", "yes", "no"]
    estimator = one_step("classification", model, verbose=True).fit(X, y)
    assert (estimator.conflicts_, estimator.n_cut_) == (1, 2)
    out, error = capfd.readouterr()
    assert out == ""
    assert "1 text occurs with different labels; all are kept" in error
    assert "2 are longer than the window" in error
    assert "update 1/1" in error
    assert list(tmp_path.iterdir()) == []  # the run is gone
    estimator.predict(X)
    assert "2 of 6 rows did not fit the model's window" in capfd.readouterr()[1]
    estimator.set_params(verbose=False).fit(X, y).predict(X)
    assert capfd.readouterr() == ("", "")


def test_a_scale_may_be_wider_than_the_scores(model: str) -> None:
    X, y = rows("regression", 10)
    estimator = one_step("regression", model).fit(X, y)
    assert estimator.predictor_.task.scale == (min(y), max(y))
    estimator.set_params(low=-5, high=10).fit(X, y)
    assert estimator.predictor_.task.scale == (-5, 10)
    predicted = estimator.predict(X)
    assert ((predicted >= -5) & (predicted <= 10)).all()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt(
    number: int, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = KeyboardInterrupt if number == signal.SIGINT else Interrupted
    clip = optimizers.clip

    def interrupted(*given: Any) -> float:
        monkeypatch.setattr(optimizers, "clip", clip)  # once: a second signal stops at once
        signal.raise_signal(number)
        return clip(*given)

    monkeypatch.setattr(optimizers, "clip", interrupted)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    estimator = make("classification", model, epochs=3)
    with pytest.raises(expected):
        estimator.fit(*rows("classification", 20))
    assert "predictor_" not in vars(estimator)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_fit_leaves_the_fitted_model(learned: Callable[[str], Any]) -> None:
    estimator = learned("choice")
    before = dict(vars(estimator))
    with pytest.raises(InputError):
        estimator.fit([("the dog", ["a", "cat"])], [2])
    assert vars(estimator) == before
