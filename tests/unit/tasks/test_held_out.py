"""What is held out: every class, about the share asked for, and no text of the training rows."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from gpt1.tasks.leakage import hold_out
from gpt1.tasks.spec import Example

SEEDS = range(20)


def _texts(examples: list[Example]) -> set[str]:
    return {" ".join(text.casefold().split()) for e in examples for text in e.texts}


@pytest.mark.parametrize(("rows", "rare"), [(200, 4), (400, 8), (1000, 10), (2000, 4)])
def test_rare_classes_are_held_out_in_their_share(rows: int, rare: int) -> None:
    examples = [Example((f"text {i}",), int(i < rare)) for i in range(rows)]
    for seed in SEEDS:
        training, validation = hold_out(examples, 0.1, seed)
        held = Counter(example.label for example in validation)
        assert held == {1: max(1, round(rare / 10)), 0: round((rows - rare) / 10)}
        assert sorted(training + validation, key=str) == sorted(examples, key=str)
        assert hold_out(examples, 0.1, seed) == (training, validation)
    assert len({str(hold_out(examples, 0.1, seed)[1]) for seed in SEEDS}) > 15


def _sides_differ(training: list[Example], validation: list[Example]) -> bool:
    """Tell whether no text, or no first text where some are in most rows, is on both sides."""
    first = [{" ".join(e.texts[0].split()) for e in part} for part in (training, validation)]
    return not _texts(training) & _texts(validation) or not first[0] & first[1]


@pytest.mark.parametrize("kind", ["classification", "entailment", "similarity", "choice"])
def test_no_text_of_a_row_held_out_is_in_a_training_row(kind: str) -> None:
    draw = random.Random(kind)
    count = {"classification": 1, "choice": 3}.get(kind, 2)

    def text() -> str:
        spelled = f"a text of number {draw.randrange(400)}"
        return draw.choice([spelled, spelled.upper(), f"  {spelled} "])

    examples = [Example(tuple(text() for _ in range(count)), i % 2) for i in range(300)]
    if kind != "classification":  # else most rows hang together
        examples = [
            Example((f"context number {i % 60}", *e.texts[1:]), e.label)
            for i, e in enumerate(examples)
        ]
    for seed in SEEDS:
        training, validation = hold_out(examples, 0.1, seed, kind)
        assert len(validation) >= 15
        assert _sides_differ(training, validation)


def test_pairs_that_share_one_of_their_texts_stay_together() -> None:
    examples = [
        Example((f"premise number {i}", f"the hypothesis {i % 50}"), i % 2) for i in range(300)
    ]
    training, validation = hold_out(examples, 0.1, 0, "entailment")
    assert not _texts(training) & _texts(validation)
    assert all(12 <= n <= 18 for n in Counter(e.label for e in validation).values())


def test_a_text_that_most_rows_share_does_not_prevent_holding_out() -> None:
    examples = [
        Example((f"premise number {i}", "the one hypothesis here"), i % 2) for i in range(300)
    ]
    training, validation = hold_out(examples, 0.1, 0, "entailment")
    assert (len(training), len(validation)) == (270, 30)


def test_regressions_hold_out_every_range_and_several_labels_each_class() -> None:
    pairs = [Example((f"text {i}", f"other {i}"), i / 100) for i in range(500)]
    _, validation = hold_out(pairs, 0.1, 0, "regression")
    assert Counter(int(e.label) for e in validation if e.label) == Counter(
        dict.fromkeys(range(5), 10)
    )
    several = [Example((f"text {i}",), (0, 1) if i % 10 else (2,)) for i in range(300)]
    held = Counter(c for e in hold_out(several, 0.1, 0, "multi-label")[1] for c in e.label)
    assert held == {0: 27, 1: 27, 2: 3}


def test_few_rows_and_classes_with_one_row_are_all_for_training() -> None:
    few = [Example((f"text {i}",), i % 2) for i in range(150)]
    assert hold_out(few, 0.1, 0) == (few, [])
    assert hold_out(few, 0.0, 0)[1] == []
    rows = [Example((f"text {i}",), i % 2) for i in range(299)] + [Example(("rare",), 2)]
    for seed in SEEDS:
        training, validation = hold_out(rows, 0.1, seed)
        assert {example.label for example in training} == {0, 1, 2}
        assert len(validation) == 30
