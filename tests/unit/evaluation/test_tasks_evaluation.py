"""Figures of a fine-tuned model on labelled rows, and the page of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import worlds
from gpt1.errors import InputError
from gpt1.evaluation.tasks import evaluate, render_evaluation
from gpt1.tasks.kinds import KINDS, Classification, Task
from gpt1.tasks.metrics import accuracy, f1, matthews, pearson
from gpt1.tasks.predictor import Predictor
from gpt1.tasks.spec import Example
from pages import Page

TWO = Classification(("bad", "good"))
NASTY = '<script>alert("x")</script> & \ud800'


def predictor(tmp_path: Path, task: Task) -> Predictor:
    words = worlds.tokenizer(tmp_path / "vocabulary")
    return Predictor(worlds.model(task, words), words, task)


def fixed(tmp_path: Path, task: Task, probabilities: Sequence[Sequence[float]]) -> Predictor:
    """Return a predictor that gives these probabilities, whatever the texts."""
    made = predictor(tmp_path, task)
    made.score = lambda *_, **__: np.array(probabilities)  # type: ignore[method-assign]
    return made


def texts(labels: Sequence[float], text: str = "the dog") -> list[Example]:
    return [Example((f"{text} {i}",), label) for i, label in enumerate(labels)]


@pytest.mark.parametrize("kind", worlds.PAPER_KINDS)
def test_the_figures_are_those_of_the_predictions(kind: str, tmp_path: Path) -> None:
    task = worlds.TASKS[kind]
    made = predictor(tmp_path, task)
    examples = worlds.examples(kind, 40)
    seen: list[tuple[int, int]] = []
    found = evaluate(made, examples, progress=lambda *done: seen.append(done))
    gold = np.array([example.label for example in examples], float)
    predicted = made.decide(made.probabilities(examples))
    assert seen[-1] == (40, 40)
    assert found.rows == 40
    assert found.truncated == made.encode(examples).truncated
    if kind == "regression":
        assert list(found.metrics) == ["pearson", "spearman", "mean_absolute_error"]
        assert found.metrics["pearson"].value == pearson(gold, predicted)
        off = np.abs(gold - predicted)
        assert found.metrics["mean_absolute_error"].value == pytest.approx(off.mean())
        assert found.baseline == pytest.approx(np.abs(gold - gold.mean()).mean())
        assert [one.row for one in found.errors] == np.argsort(-off, kind="stable").tolist()
    else:
        assert found.metrics["accuracy"].value == accuracy(gold, predicted)
        wanted = {"choice": ["accuracy"], "classification": ["accuracy", "matthews"]}
        assert list(found.metrics) == wanted.get(kind, ["accuracy", "f1", "matthews"])
        if "f1" in found.metrics:
            assert found.metrics["f1"].value == f1(gold, predicted)
            assert found.metrics["matthews"].value == matthews(gold, predicted)
        counts = np.array(found.confusion)
        assert counts.sum() == 40
        assert np.trace(counts) == (gold == predicted).sum() == 40 - found.wrong
        assert sum(one.rows for one in found.bins) == 40
        assert [one.rows for one in found.classes] == counts.sum(1).tolist()
        sure = [one.confidence for one in found.errors]
        assert sure == sorted(sure, reverse=True)  # type: ignore[type-var]
        assert {one.row for one in found.errors} == set(np.flatnonzero(gold != predicted))
    for interval in found.metrics.values():
        assert interval.low <= interval.value <= interval.high
    values = json.loads(json.dumps(found.to_json()))
    assert (values["rows"], values["task"]["kind"]) == (40, kind)
    assert len(Page(render_evaluation("on rows", found)).charts) == 1


def test_precision_recall_and_calibration_by_hand(tmp_path: Path) -> None:
    probabilities = [[0.95, 0.05], [0.35, 0.65], [0.25, 0.75], [0.31, 0.69], [0.0, 1.0]]
    found = evaluate(fixed(tmp_path, TWO, probabilities), texts([0, 0, 1, 1, 1]), metrics=["f1"])
    assert list(found.metrics) == ["f1", "accuracy", "matthews"]
    assert found.confusion == ((1, 1), (0, 3))
    bad, good = found.classes
    assert (bad.rows, bad.predicted, bad.precision, bad.recall) == (2, 1, 1.0, 0.5)
    assert (good.rows, good.predicted, good.precision, good.recall) == (3, 4, 0.75, 1.0)
    assert found.baseline == 0.6
    assert [(one.low, one.rows, one.accuracy) for one in found.bins] == [
        (0.6, 2, 0.5), (0.7, 1, 1.0), (0.9, 2, 1.0),
    ]  # fmt: skip
    by_hand = (2 * abs(0.67 - 0.5) + 1 * abs(0.75 - 1) + 2 * abs(0.975 - 1)) / 5
    assert found.calibration_error == pytest.approx(by_hand)
    (error,) = found.errors
    assert (error.row, error.gold, error.predicted, error.confidence) == (1, "bad", "good", 0.65)


def test_a_class_never_predicted_and_one_without_rows(tmp_path: Path) -> None:
    task = Classification(("a", "b", "c"))
    found = evaluate(fixed(tmp_path, task, [[0.9, 0.1, 0], [0.8, 0.2, 0]]), texts([0, 1]))
    assert [(one.precision, one.recall) for one in found.classes] == [
        (0.5, 1.0), (None, 0.0), (None, None),
    ]  # fmt: skip


def test_scores_beyond_the_scale_of_the_training_rows_are_measured(tmp_path: Path) -> None:
    made = predictor(tmp_path, worlds.TASKS["regression"])
    examples = [Example(("the dog", "a cat"), 50.0), Example(("the", "and a"), -70.0)]
    found = evaluate(made, examples)
    assert found.metrics["mean_absolute_error"].value > 50
    assert Page(render_evaluation("far", found)).charts[0].count("<use") >= 2


@pytest.mark.parametrize("examples", [[], [Example(("the dog",))], [Example(("a", "b"), 0)]])
def test_what_cannot_be_measured_is_refused(examples: list[Example], tmp_path: Path) -> None:
    with pytest.raises(InputError):
        evaluate(predictor(tmp_path, TWO), examples)


# The page


def test_the_page_holds_all_it_needs_and_escapes_every_text(tmp_path: Path) -> None:
    task = Classification(("<b>bad", "good & 'well'"))
    found = evaluate(
        fixed(tmp_path, task, [[0.2, 0.8], [0.1, 0.9]]),
        texts([0, 1], NASTY.replace("\ud800", "")),
        locations=[f"folder/{NASTY}.csv:7", "b.csv:8"],
    )
    text = Page(render_evaluation(NASTY, found, account=NASTY)).text
    assert "<script>" not in text
    assert "<b>bad" not in text
    assert "&lt;b&gt;bad" in text
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt; &amp;" in text
    assert text.count("0.800") == 1
    assert "b.csv" not in text  # that row is right


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_of_every_kind_is_sound(kind: str, tmp_path: Path) -> None:
    made = predictor(tmp_path, worlds.TASKS[kind])
    examples = [Example(e.texts, e.label, e.question) for e in worlds.examples(kind, 30)]
    text = Page(render_evaluation(kind, evaluate(made, examples))).text
    named = {
        "entailment": "hypothesis",
        "choice": "answer_2",
        "classification": "surest",
        "multi-label": "surest",
        "sequence-labelling": "surest",
    }
    assert named.get(kind, "text_b") in text


def test_many_classes_give_a_list_of_confusions_and_long_texts_are_shortened(
    tmp_path: Path,
) -> None:
    task = Classification(tuple(f"c{i}" for i in range(40)))
    probabilities = np.full((40, 40), 0.01)
    probabilities[np.arange(40), (np.arange(40) + 1) % 40] = 0.61
    found = evaluate(
        fixed(tmp_path, task, probabilities.tolist()), texts(range(40), "the dog " * 200)
    )
    text = Page(render_evaluation("many", found)).text
    assert "matrix" not in text.partition("<body>")[2]
    assert text.count(" ...</td>") == 40
    assert len(text) < 100_000


def test_a_faultless_model_and_ten_thousand_scores_give_a_small_page(tmp_path: Path) -> None:
    found = evaluate(fixed(tmp_path, TWO, [[0.9, 0.1]]), texts([0]))
    assert "None: every row is right." in Page(render_evaluation("one", found)).text
    made = predictor(tmp_path, worlds.TASKS["regression"])
    examples = worlds.examples("regression", 30)
    found = evaluate(made, examples)
    many = type(found)(
        **{
            **vars(found),
            "rows": 10_000,
            "gold": np.tile(found.gold, 334)[:10_000],
            "predicted": np.tile(found.predicted, 334)[:10_000],
        }
    )
    made_page = Page(render_evaluation("many", many))
    assert 1500 <= made_page.charts[0].count("<use") < 1550  # the points and the ticks
    assert "1,500 of 10,000 rows" in made_page.text
