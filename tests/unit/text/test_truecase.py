"""Truecasing: two hundred sentences by hand, and the same text in pieces of any size."""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import given, strategies as st

from gpt1.text.truecase import Truecaser, truecase

_ROWS = Path(__file__).with_name("truecase.tsv").read_text("utf-8").splitlines()
PAIRS = [tuple(row.replace("\\n", "\n").split("\t")) for row in _ROWS]


def in_pieces(text: str, cuts: list[int]) -> str:
    caser, pieces, start = Truecaser(), [], 0
    for end in [*sorted(cuts), len(text)]:
        pieces.append(caser.push(text[start:end]))
        start = max(start, end)
    return "".join(pieces) + caser.finish()


def test_two_hundred_sentences_are_as_a_person_writes_them() -> None:
    assert len(PAIRS) >= 200
    wrong = [(text, truecase(text), right) for text, right in PAIRS if truecase(text) != right]
    assert wrong == []


def test_text_that_is_right_stays_right() -> None:
    wrong = [(right, truecase(right)) for _, right in PAIRS if truecase(right) != right]
    assert wrong == []


def test_pieces_of_any_size_join_to_the_same_text() -> None:
    draw = random.Random(0)
    text = " ".join(text for text, _ in PAIRS)
    for _ in range(20):
        cuts = [draw.randrange(len(text)) for _ in range(draw.choice([1, 30, 3000]))]
        assert in_pieces(text, cuts) == truecase(text)


@given(st.text(alphabet="ai.\"'!?,;: \n()-n1tsm", max_size=40), st.lists(st.integers(0, 40)))
def test_only_case_and_blanks_ever_change_and_never_twice(text: str, cuts: list[int]) -> None:
    found = in_pieces(text, [min(cut, len(text)) for cut in cuts])
    assert found == truecase(text)
    assert found.casefold().replace(" ", "") == text.casefold().replace(" ", "")
