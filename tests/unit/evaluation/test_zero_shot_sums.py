"""Answers of different lengths are compared by means and by sums; one answer is no finding."""

from __future__ import annotations

import numpy as np
import pytest

import tiny
from gpt1.evaluation import zero_shot
from gpt1.evaluation.zero_shot_sets import Questions, measure
from gpt1.tasks.spec import Example
from gpt1.text.tokenizer import Tokenizer

MIXED = [[-1.0, -2.0], [-2.0, -1.0]]


@pytest.mark.parametrize(
    ("scores", "lengths", "value", "by_sums", "note"),
    [
        (MIXED, [1, 1], 1.0, None, ""),
        (MIXED, [2, 2], 1.0, None, ""),
        (MIXED, [1, 2], 1.0, 0.5, "one answer for all rows, by sums: no finding"),
        ([[-1, -2], [-1, -2]], [3, 1], 0.5, 0.5,
         "one answer for all rows, by means and by sums: no finding"),
        ([[-1, -2], [-1, -2]], [1, 1], 0.5, None, "one answer for all rows: no finding"),
    ],
)  # fmt: skip
def test_both_ways_are_told(
    scores: list[list[float]], lengths: list[int], value: float, by_sums: float | None, note: str,
    monkeypatch: pytest.MonkeyPatch, tiny_tokenizer: Tokenizer,
) -> None:  # fmt: skip
    monkeypatch.setattr(zero_shot, "sentiment", lambda *_: np.array(scores))
    monkeypatch.setattr(zero_shot, "sentiment_lengths", lambda _: lengths)
    rows = Questions([Example(("bad",), 0), Example(("good",), 1)])
    [found] = measure(tiny.model(), tiny_tokenizer, {"sst2": rows})
    assert (found.value, found.by_sums, found.note) == (value, by_sums, note)
