"""The input transformations: layouts, truncation by the stated rule, symmetry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

import worlds
from gpt1.errors import ConfigError, InputError
from gpt1.tasks.collate import encode
from gpt1.tasks.kinds import KINDS, Regression
from gpt1.tasks.spec import Example
from gpt1.tasks.transforms import SHORTEST, Special

S, D, X = 100, 101, 102
SPECIAL = Special(S, D, X)
ids = st.lists(st.integers(0, 99), max_size=60)
windows = st.integers(SHORTEST, 40)


def sequences(kind: str, texts: list[list[int]], special: Special, n_ctx: int, **more: Any) -> Any:
    """Return an example's sequences, and whether any is truncated."""
    return KINDS[kind].sequences(texts, special, n_ctx, **more)


def test_the_four_layouts() -> None:
    assert sequences("classification", [[1, 2]], SPECIAL, 16) == ([[S, 1, 2, X]], False)
    assert sequences("entailment", [[1], [2, 3]], SPECIAL, 16) == ([[S, 1, D, 2, 3, X]], False)
    both = [[S, 1, 2, D, 3, X], [S, 3, D, 1, 2, X]]
    for kind in ("similarity", "regression"):
        assert sequences(kind, [[1, 2], [3]], SPECIAL, 16) == (both, False)
        assert sequences(kind, [[3], [1, 2]], SPECIAL, 16) == (both, False)
    found = sequences("choice", [[1, 2], [3], [4, 5]], SPECIAL, 16, question=[9])
    assert found == ([[S, 1, 2, 9, D, 3, X], [S, 1, 2, 9, D, 4, 5, X]], False)
    with pytest.raises(ConfigError, match="15 positions; a task needs 16"):
        sequences("classification", [[1]], SPECIAL, 15)


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [  # of 512 positions: 509 for both, 254 each where both are long (spec 5.3)
        (300, 300, (254, 254)),
        (1000, 9, (500, 9)),
        (9, 1000, (9, 500)),
        (254, 255, (254, 255)),
        (255, 255, (254, 254)),
        (509, 0, (509, 0)),
    ],
)
def test_pairs_of_the_paper_s_window(first: int, second: int, kept: tuple[int, int]) -> None:
    (row,), cut = sequences("entailment", [[1] * first, [2] * second], SPECIAL, 512)
    assert (row.count(1), row.count(2)) == kept
    assert cut == (kept != (first, second))


def test_single_texts_and_choices_of_the_paper_s_window() -> None:
    (row,), cut = sequences("classification", [[1] * 511], SPECIAL, 512)
    assert (row.count(1), len(row), cut) == (510, 512, True)
    texts = [[1] * 600, [2] * 10, [3] * 20]
    rows, cut = sequences("choice", texts, SPECIAL, 512, question=[4] * 30)
    assert [row.count(1) for row in rows] == [512 - 3 - 30 - 10, 512 - 3 - 30 - 20]
    assert cut
    rows, cut = sequences("choice", [[1] * 254, [2] * 254], SPECIAL, 512)  # spec 4.5.3's longest
    assert (len(rows[0]), cut) == (511, False)


@given(a=ids, b=ids, n_ctx=windows)
def test_pairs_fit_keep_their_beginnings_and_waste_nothing(a: list, b: list, n_ctx: int) -> None:
    (row,), cut = sequences("entailment", [a, b], SPECIAL, n_ctx)
    assert len(row) <= n_ctx
    assert (row[0], row[-1], row.count(D)) == (S, X, 1)
    middle = row.index(D)
    kept_a, kept_b = row[1:middle], row[middle + 1 : -1]
    assert kept_a == a[: len(kept_a)]
    assert kept_b == b[: len(kept_b)]
    assert cut == (len(a) + len(b) > len(kept_a) + len(kept_b))
    if cut:
        assert len(row) >= n_ctx - 1  # an odd room leaves one place between two long texts
    other = sequences("similarity", [b, a], SPECIAL, n_ctx)
    assert other == sequences("similarity", [a, b], SPECIAL, n_ctx)
    assert row in other[0]


@given(z=ids, q=ids, answers=st.lists(ids, min_size=2, max_size=4), n_ctx=windows)
def test_choices_fit_and_keep_answers_before_questions_before_contexts(
    z: list, q: list, answers: list, n_ctx: int
) -> None:
    rows, cut = sequences("choice", [z, *answers], SPECIAL, n_ctx, question=q)
    room = n_ctx - 3
    for row, answer in zip(rows, answers, strict=True):
        assert len(row) <= n_ctx
        before, after = row[1 : row.index(D)], row[row.index(D) + 1 : -1]
        assert after == answer[: len(after)]
        assert len(after) >= min(len(answer), room // 2)
        if after == answer and len(q) + len(answer) <= room:
            assert before == z[: len(before) - len(q)] + q
        if len(z) + len(q) + len(answer) <= room:
            assert before == z + q
            assert after == answer
        elif len(answer) <= room // 2:
            assert len(row) == n_ctx
    assert cut == any(len(z) + len(q) + len(a) > room for a in answers)


def test_encoding_counts_what_is_cut_and_refuses_what_does_not_fit(tmp_path: Path) -> None:
    task, words = worlds.TASKS["entailment"], worlds.tokenizer(tmp_path)
    with pytest.raises(InputError, match="no tokens _start_"):
        encode([], task, words, 32)
    words.add_tokens(["_start_", "_delimiter_", "_classify_"])
    long = " ".join(["dog"] * 40)
    found = encode([Example(("cat", long), 0), Example(("cat", "dog"), 1)], task, words, 32)
    assert found.truncated == 1
    assert found.lengths.tolist() == [[32], [5]]
    assert found.targets.tolist() == [[1, 0], [0, 1]]
    with pytest.raises(InputError, match=r"example 1 has 1 text; this entailment takes 2"):
        encode([Example(("cat", "dog"), 0), Example(("cat",), 0)], task, words, 32)
    with pytest.raises(InputError, match=r"text 1 of example 0 is ' '; it has no words"):
        encode([Example(("cat", " "), 0)], task, words, 32)


@pytest.mark.parametrize(
    ("score", "expected"),
    [  # spec 4.6: floor(y) gets floor(y) - y + 1, the next one y - floor(y)
        (0, [1, 0, 0, 0, 0, 0]), (2, [0, 0, 1, 0, 0, 0]), (3.75, [0, 0, 0, 0.25, 0.75, 0]),
        (5, [0, 0, 0, 0, 0, 1]),
    ],
)  # fmt: skip
def test_scores_become_distributions(score: float, expected: list[float], tmp_path: Path) -> None:
    words = worlds.tokenizer(tmp_path)
    words.add_tokens(["_start_", "_delimiter_", "_classify_"])
    found = encode([Example(("cat", "dog"), score)], worlds.TASKS["regression"], words, 32)
    assert found.targets[0].tolist() == expected
    wider = Regression(scale=(-10.0, 10.0))
    moved = encode([Example(("cat", "dog"), 4 * score - 10)], wider, words, 32)
    assert moved.targets[0] == pytest.approx(expected)
    assert sum(p * a for p, a in zip(expected, wider.anchors, strict=True)) == 4 * score - 10
