"""Estimators that learn quickly, and invented rows for them."""

from __future__ import annotations

import random
from typing import Any

import gpt1

CLASSES: dict[str, Any] = {
    "classification": gpt1.TextClassifier,
    "entailment": gpt1.EntailmentClassifier,
    "similarity": gpt1.SimilarityClassifier,
    "regression": gpt1.SimilarityRegressor,
    "choice": gpt1.MultipleChoiceClassifier,
}
WORDS = [["dog", "the"], ["cat", "and"]]


def rows(kind: str, count: int, seed: int = 0) -> tuple[list[Any], list[Any]]:
    """Return invented rows whose label a single word of one of two groups gives away."""
    draw = random.Random(seed)

    def text(group: int) -> str:
        filling = draw.choices(["is", "a"], k=draw.randint(0, 3))
        filling.insert(draw.randint(0, len(filling)), draw.choice(WORDS[group]))
        return " ".join(filling)

    X: list[Any] = []
    y: list[Any] = []
    for _ in range(count):
        g, h, right = draw.randrange(2), draw.randrange(2), draw.randrange(3)
        pair = (text(g), text(h))
        X.append(pair[0] if kind == "classification" else pair)
        if kind == "choice":
            X[-1] = (pair[0], [text(int(i == right)) for i in range(3)])
        y.append(
            {
                "classification": ["neg", "pos"][g],
                "entailment": h,  # the order matters
                "similarity": bool(g or h),  # and here it does not
                "regression": 2.5 * (g + h),
                "choice": right,
            }[kind]
        )
    return X, y


def make(kind: str, model: Any, *settings: str, **params: Any) -> Any:
    """Return an estimator that learns quickly."""
    given = {"batch_size": 8, "learning_rate": 1e-2, "lm_coef": 0, "random_state": 0, **params}
    return CLASSES[kind](
        model,
        **{"verbose": False, "early_stopping": False, "device": "cpu", **given},
        settings=("task.clf_pdrop=0", "train.dtype=float32", *settings),
    )


def one_step(kind: str, model: Any, *settings: str, **params: Any) -> Any:
    return make(kind, model, "train.steps=1", *settings, **params)
