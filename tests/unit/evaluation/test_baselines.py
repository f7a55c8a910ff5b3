"""Simple baselines learn what words, shared words and usual tags tell, for every kind of task."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import worlds
from gpt1.evaluation import baselines
from gpt1.evaluation.baselines import MAJORITY, OVERLAP, TFIDF, USUAL_TAG, baseline_figures
from gpt1.tasks.kinds import Choice, Classification, Entailment, Regression, Similarity
from gpt1.tasks.spec import Example

WORDS = ["dog", "cat", "sun", "moon", "tree", "lake", "bird", "fish"]


def _words(draw: random.Random, count: int = 4) -> list[str]:
    return draw.sample(WORDS, count)


def _word_decides(draw: random.Random) -> Example:
    label = draw.randrange(2)
    return Example((" ".join([*_words(draw), ("bad", "good")[label]]),), label)


def _overlap_decides(draw: random.Random) -> Example:
    label, first = draw.randrange(2), _words(draw)
    other = [word for word in WORDS if word not in first]
    return Example((" ".join(first), " ".join(first[:3] if label else other[:3])), label)


def _answer_decides(draw: random.Random) -> Example:
    label = draw.randrange(3)
    answers = [" ".join([*_words(draw, 2), "right" if i == label else "wrong"]) for i in range(3)]
    return Example((" ".join(_words(draw)), *answers), label, "which?")


def _score_of_words(draw: random.Random) -> Example:
    count, first = draw.randrange(5), _words(draw)
    other = [word for word in WORDS if word not in first]
    return Example((" ".join(first), " ".join(first[:count] + other[count:])), count / 4 * 5)


@pytest.mark.parametrize(
    ("task", "make", "best", "metric"),
    [
        (Classification(("bad", "good")), _word_decides, TFIDF, "accuracy"),
        (Entailment(("no", "yes")), _overlap_decides, OVERLAP, "accuracy"),
        (Similarity(("no", "yes")), _overlap_decides, OVERLAP, "f1"),
        (Choice(3), _answer_decides, TFIDF, "accuracy"),
        (Regression(scale=(0.0, 5.0)), _score_of_words, OVERLAP, "pearson"),
    ],
)
def test_each_baseline_learns_what_it_can(
    task: baselines.Task, make: Callable[[random.Random], Example], best: str, metric: str
) -> None:
    draw = random.Random(1)
    train, test = ([make(draw) for _ in range(200)] for _ in range(2))
    figures = baseline_figures(task, train, test)
    assert list(figures) == [MAJORITY, TFIDF, OVERLAP][: 3 if len(train[0].texts) > 1 else 2]
    assert figures[best][metric] > 0.95
    labels = np.array([example.label for example in test], float)
    if metric == "accuracy":
        usual = np.bincount([int(e.label or 0) for e in train]).argmax()
        assert figures[MAJORITY]["accuracy"] == np.mean(labels == usual)
    elif metric == "f1":
        assert figures[MAJORITY]["f1"] == pytest.approx(2 * labels.mean() / (1 + labels.mean()))
    else:
        assert figures[MAJORITY]["pearson"] == 0


@pytest.mark.parametrize("kind", worlds.TASKS)
def test_every_kind_has_baselines_with_and_without_training_rows(kind: str) -> None:
    task, examples = worlds.TASKS[kind], worlds.examples(kind, 40)
    figures = baseline_figures(task, examples[:30], examples[30:])
    several = len(examples[0].texts) > 1
    wanted = [TFIDF, OVERLAP] if several else [TFIDF]
    assert list(figures) == [MAJORITY, *([USUAL_TAG] if task.num_texts is None else wanted)]
    assert len({tuple(values) for values in figures.values()}) == 1
    assert list(baseline_figures(task, [], examples)) == [MAJORITY]


def test_without_scikit_learn_there_is_the_majority_and_a_hint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(baselines, "has_sklearn", lambda: False)
    rows = [_word_decides(random.Random(i)) for i in range(20)]
    figures = baseline_figures(Classification(("bad", "good")), rows, rows)
    assert list(figures) == [MAJORITY]
    assert "pip install 'gpt1[sklearn]'" in baselines.baselines_note(figures, 20)
    assert "--train FILE" in baselines.baselines_note(figures, 0)


def test_tfidf_is_scikit_learn_called_by_hand() -> None:
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline

    def words() -> TfidfVectorizer:
        return TfidfVectorizer(
            ngram_range=(1, 2),
            sublinear_tf=True,
            token_pattern=r"(?u)\w+|[^\w\s]",
            dtype=np.float32,
        )

    draw = random.Random(2)
    train, test = ([_word_decides(draw) for _ in range(60)] for _ in range(2))
    train = [Example(e.texts, draw.choice([e.label, 0, 1])) for e in train]
    texts, new = ([e.texts[0] for e in rows] for rows in (train, test))
    labels = [e.label for e in train]
    by_hand = make_pipeline(words(), LogisticRegression(max_iter=1000)).fit(texts, labels)
    scores = baselines.baseline_scores(Classification(("bad", "good")), train, test)
    np.testing.assert_allclose(scores[TFIDF], by_hand.predict_proba(new), rtol=1e-6)

    pairs, others = ([_score_of_words(draw) for _ in range(60)] for _ in range(2))
    vectors = words().fit(text for e in pairs for text in e.texts)

    def features(rows: list[Example]) -> Any:
        first, second = (vectors.transform(c) for c in zip(*(e.texts for e in rows), strict=True))
        return hstack([first + second, abs(first - second)], format="csr")

    ridge = Ridge().fit(features(pairs), [e.label for e in pairs])
    task = Regression(scale=(0.0, 5.0))
    found = task.decide(baselines.baseline_scores(task, pairs, others)[TFIDF])
    low, high = min(e.label for e in pairs), max(e.label for e in pairs)  # type: ignore[type-var]
    np.testing.assert_allclose(
        found, np.clip(ridge.predict(features(others)), low, high), atol=1e-5
    )
