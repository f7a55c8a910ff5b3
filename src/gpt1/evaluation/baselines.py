"""Simple baselines: what the same rows give without a model, to set a model's figures beside.

    majority        the most frequent answer (for F1 of two classes: always the second)
    TF-IDF          words and pairs of words, with logistic regression or, for scores, ridge
    word overlap    the shares of words that a pair, or a context and an answer, have in common
    usual tag       sequence labelling: the tag that each word mostly has in training

All but the majority are learned from training rows. They need scikit-learn, the extra
`gpt1[sklearn]`, but for the usual tag.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt1.errors import counted
from gpt1.model.allocator import address_space_left
from gpt1.tasks.datasets.entry import sample
from gpt1.tasks.kinds import Task
from gpt1.tasks.spec import Example

Array = NDArray[np.float64]
Features = Callable[[Sequence[tuple[str, ...]]], Any]
"""From the texts of examples to a matrix with a row for each."""

MAJORITY, TFIDF, OVERLAP, USUAL_TAG = "majority", "TF-IDF", "word overlap", "usual tag"
MOST_ROWS = 20_000
"""Training rows that are learned from; of more, a random sample."""
_LEAST = 512 << 20  # bytes without which scipy's BLAS waits for memory for ever


def has_sklearn() -> bool:
    """Return whether scikit-learn is installed."""
    return find_spec("sklearn") is not None


def baseline_figures(
    task: Task, train: Sequence[Example], test: Sequence[Example], metrics: Sequence[str] = ()
) -> dict[str, dict[str, float]]:
    """Return each baseline's metrics on labelled rows; without `train`, those of the majority.

    metrics: those to name first. `train` and `test` have the labels of `task`.
    """
    figures = {}
    for name, probabilities in baseline_scores(task, train, test).items():
        evaluation = task.evaluate(test, probabilities, [""] * len(test), metrics)
        figures[name] = {metric: found.value for metric, found in evaluation.metrics.items()}
    if "f1" in figures[MAJORITY]:
        second = np.tile([0.0, 1.0], (len(test), 1))
        always = task.evaluate(test, second, [""] * len(test), ["f1"])
        figures[MAJORITY]["f1"] = always.metrics["f1"].value
    return figures


def baseline_scores(
    task: Task, train: Sequence[Example], test: Sequence[Example]
) -> dict[str, Array]:
    """Return each baseline's probabilities (units, num_scores) of the rows of `test`."""
    targets = [task.targets(example) for example in train or test]
    majority = np.concatenate(targets).mean(0)
    units = sum(len(task.targets(example)) for example in test)
    scores = {MAJORITY: np.tile(majority, (units, 1))}
    rows = sample(len(train), MOST_ROWS)
    train, targets = [train[i] for i in rows], [targets[i] for i in rows]
    if train and task.num_texts is None:
        scores[USUAL_TAG] = _usual_tags(train, targets, test, majority)
    elif train and has_sklearn():
        if address_space_left() < _LEAST:
            raise MemoryError
        scores[TFIDF] = _learn(task, train, test, _tfidf(task))
        if len(train[0].texts) > 1:
            scores[OVERLAP] = _learn(task, train, test, lambda texts: _overlap(texts, task.ordered))
    return scores


def _usual_tags(
    train: Sequence[Example], targets: Sequence[Array], test: Sequence[Example], default: Array
) -> Array:
    sums: dict[str, Array] = {}
    for example, rows in zip(train, targets, strict=True):
        for word, row in zip(example.texts, rows, strict=True):
            sums[word.casefold()] = sums.get(word.casefold(), 0) + row
    words = [word.casefold() for example in test for word in example.texts]
    chances = np.array([sums.get(word, default) for word in words])
    return np.asarray(chances / chances.sum(1, keepdims=True), np.float64)


def _learn(
    task: Task, train: Sequence[Example], test: Sequence[Example], features: Features
) -> Array:
    """Return the probabilities that a linear model of `features` gives the rows of `test`."""
    from sklearn.linear_model import LogisticRegression, Ridge

    right = np.concatenate([task.targets(example) for example in train])
    if task.num_outputs == 1:  # each answer is a row, that is right or not
        pairs, questions = _answers(train), _answers(test)
        model = LogisticRegression(max_iter=1000).fit(features(pairs), right.ravel() > 0.5)
        logits = model.decision_function(features(questions)).reshape(len(test), -1)
        chances = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(chances / chances.sum(1, keepdims=True), np.float64)
    x, new = features([e.texts for e in train]), features([e.texts for e in test])
    if not task.label_names:
        scores = Ridge().fit(x, task.decide(right)).predict(new)
        labels = np.array([e.label for e in train], np.float64)
        low, high = labels.min(), labels.max()
        texts = test[0].texts
        rows = [task.targets(Example(texts, label)) for label in np.clip(scores, low, high)]
        return np.concatenate(rows)
    if (right.sum(1) == 1).all() and np.ptp(right.argmax(1)):
        model = LogisticRegression(max_iter=1000).fit(x, right.argmax(1))
        chances = np.zeros((len(test), right.shape[1]))
        chances[:, model.classes_] = model.predict_proba(new)
        return chances
    columns = [
        LogisticRegression(max_iter=1000).fit(x, column > 0.5).predict_proba(new)[:, 1]
        if 0 < column.mean() < 1
        else np.full(len(test), column[0])
        for column in right.T
    ]
    return np.column_stack(columns)


def _answers(examples: Sequence[Example]) -> list[tuple[str, ...]]:
    """Return the context, with the question, and the answer, for each answer of each example."""
    return [
        (f"{example.texts[0]} {example.question}", answer)
        for example in examples
        for answer in example.texts[1:]
    ]


def _tfidf(task: Task) -> Features:
    """Return the function that fits TF-IDF to the texts it is first called with, and uses it."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\w+|[^\w\s]", dtype=np.float32
    )

    def features(texts: Sequence[tuple[str, ...]]) -> Any:
        if not hasattr(words, "vocabulary_"):
            words.fit(text for row in texts for text in row)
        parts = [words.transform(column) for column in zip(*texts, strict=True)]
        if task.num_outputs == 1:  # the context is the same for all answers
            return parts[1]
        if not task.ordered:
            return hstack([parts[0] + parts[1], abs(parts[0] - parts[1])], format="csr")
        return hstack(parts, format="csr")

    return features


def _overlap(texts: Sequence[tuple[str, ...]], ordered: bool) -> Array:
    """Return the words that two texts share as shares of the first, the second, and both."""
    rows = []
    for first, second in texts:
        a, b = (set(text.casefold().split()) for text in (first, second))
        both = len(a & b)
        shares = [both / max(len(a), 1), both / max(len(b), 1)]
        rows.append([*(shares if ordered else sorted(shares)), both / max(len(a | b), 1)])
    return np.array(rows)


def baselines_note(figures: Mapping[str, object], rows: int) -> str:
    """Return what the baselines are learned from, and how to get more of them.

    rows: how many training rows there are.
    """
    if not rows:
        return "majority is that of the measured rows; --train FILE gives simple baselines too"
    learned = (
        f"baselines are learned from {min(rows, MOST_ROWS):,} of {counted(rows, 'training row')}"
    )
    if len(figures) > 1 or has_sklearn():
        return learned
    return f"{learned}; pip install 'gpt1[sklearn]' adds TF-IDF and word overlap"
