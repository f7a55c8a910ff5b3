"""What a training set already holds of a test set, against counting by hand and by brute force."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from gpt1.tasks.datasets import data_set
from gpt1.tasks.leakage import GRAM, Leakage, hold_out, leakage
from gpt1.tasks.spec import Example


def _brute(train: list[Example], test: list[Example], kind: str) -> Leakage:
    def words(example: Example) -> list[str]:
        context, *rest = example.texts
        return " ".join([context, example.question, *rest]).lower().split()

    def key(example: Example) -> object:
        texts = [example.question, *example.texts]
        folded = [" ".join(text.lower().split()) for text in texts]
        return (
            (folded[0], frozenset(folded[1:])) if kind in ("similarity", "regression") else folded
        )

    def runs(example: Example) -> list[str]:
        found = words(example)
        return [" ".join(found[i : i + GRAM]) for i in range(len(found) - GRAM + 1)]

    exact = [any(key(t) == key(e) for t in train) for e in test]
    over = [any(set(runs(t)) & set(runs(e)) for t in train) for e in test]
    listing = [i for i in range(len(test)) if exact[i] or over[i]][:10]
    return Leakage(sum(exact), sum(over), len(test), tuple(listing), _texts(train, test, kind))


NAMES = {"entailment": ["premise", "hypothesis"], "choice": ["context", "answer", "answer"]}


def _texts(train: list[Example], test: list[Example], kind: str) -> dict[str, int]:
    def fold(text: str) -> str:
        return " ".join(text.lower().split())

    known = {fold(text) for e in train for text in (*e.texts, e.question)}
    rows: dict[str, set[int]] = {}
    for i, e in enumerate(test if kind != "classification" else []):
        names = [*NAMES.get(kind, ["text", "text"]), "question"]
        for name, text in zip(names, (*e.texts, e.question), strict=True):
            if len(text.split()) > 2:
                rows.setdefault(name, set()).update([i] * (fold(text) in known))
    return {name: len(found) for name, found in rows.items()}


@pytest.mark.parametrize("kind", ["classification", "entailment", "similarity", "choice"])
def test_counts_are_those_of_brute_force(kind: str) -> None:
    rng = random.Random(kind)

    def text(most: int) -> str:
        # Two words, one of them rare, make long shared runs likely, but not certain.
        count = rng.randint(1, most)
        return "".join(rng.choices(["a ", "A\n", "b  ", "B "], [6, 6, 1, 1], k=count))

    def example() -> Example:
        most = rng.choice([2, 2, 18])
        count = {"classification": 1, "choice": 3}.get(kind, 2)
        question = text(3) if kind == "choice" else ""
        return Example(tuple(text(most) for _ in range(count)), rng.randint(0, 1), question)

    found = []
    for _ in range(60):
        train = [example() for _ in range(rng.randint(0, 12))]
        test = [example() for _ in range(rng.randint(0, 12))]
        found.append(leakage(train, test, kind))
        assert found[-1] == _brute(train, test, kind)
    assert any(0 < one.overlapping < one.rows for one in found)
    assert any(one.exact for one in found)


def test_runs_do_not_go_on_from_one_example_into_the_next() -> None:
    words = [str(i) for i in range(GRAM)]
    halves = [Example((" ".join(words[:6]),)), Example((" ".join(words[6:]),))]
    whole = [Example((" ".join(words),))]
    assert leakage(halves, whole) == Leakage(0, 0, 1)
    assert leakage(whole, [*halves, *whole]) == Leakage(1, 1, 3, (2,))
    pair = Example((" ".join(words[:6]), " ".join(words[6:])))
    assert leakage([pair], whole).overlapping == 1, "the texts of one example are one run"


@pytest.mark.parametrize(
    ("kind", "train", "test", "said"),
    [
        ("entailment", ("a premise of training", "no"), ("A  premise of training", "yes and no"),
         "a premise in 1"),
        ("entailment", ("one two three", "four five six"), ("four five six", "one two three"),
         "a premise in 1, a hypothesis in 1"),
        ("similarity", ("one two three", "x y z"), ("z y x", "One two three"), "a text in 1"),
        ("choice", ("one two three", "go", "stay put now"), ("the other one", "go", "Stay put now"),
         "an answer in 1"),
        ("choice", ("one two three", "go", "stay"), ("the other one", "go", "stay"), "no single"),
        ("entailment", ("one two", "no"), ("one two", "yes"), ""),
        ("classification", ("one two three",), ("one two three",), ""),
    ],
)  # fmt: skip
def test_single_texts_of_training_are_named(
    kind: str, train: tuple[str, ...], test: tuple[str, ...], said: str
) -> None:
    found = leakage([Example(train)], [Example(test)], kind)
    wanted = {"": "it", "no single": "; no single text is in training too"}
    tail = wanted.get(said, f"; single texts that training has: {said}")
    assert str(found).endswith(tail) or (not said and "single" not in str(found))
    assert bool(found) == ("in 1" in said or kind == "classification")


def test_it_is_told_in_one_line_with_the_first_ten() -> None:
    rows = [Example((f"text {i}",)) for i in range(1_200)]
    assert str(leakage(rows, rows)) == (
        "1,200 of 1,200 test rows occur in training, 0 share a run of 13 words with it "
        "(first rows: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)"
    )
    assert str(leakage([], rows[:1])).endswith("of 13 words with it")


def test_ten_thousand_rows_against_as_many_take_seconds() -> None:
    rng = random.Random(0)
    words = [f"w{i}" for i in range(5_000)]
    rows = [Example((" ".join(rng.choices(words, k=60)),)) for _ in range(20_000)]
    start = time.perf_counter()
    assert leakage(rows[:10_000], rows[9_990:]).exact == 10
    assert time.perf_counter() - start < 20, "a few seconds, with room for a busy machine"


def test_real_splits_do_not_overlap_as_their_makers_say(data_folder: Path) -> None:
    for name, train, test in (("qnli", "train", "dev"), ("snli", "train", "test")):
        data = data_set(name)
        rows = [data.load(data_folder, split).examples for split in (train, test)]
        assert leakage(rows[0], rows[1], data.task.kind).exact == 0


@pytest.mark.parametrize("kind", ["classification", "similarity"])
def test_equal_texts_are_held_out_together_and_every_class_is_learned(kind: str) -> None:
    draw = random.Random(0)
    texts = [f"text {draw.randrange(150)}" for _ in range(299)]
    rows = [
        Example((text.upper() if draw.random() < 0.5 else f" {text}",), i % 2)
        for i, text in enumerate(texts)
    ]
    if kind == "similarity":
        rows = [Example(tuple(draw.sample([*"abcdefghijklmnop"], 2)), i % 2) for i in range(299)]
    rows.append(Example(tuple("a single row"[:6] for _ in rows[0].texts), 2))

    def keys(part: list[Example]) -> set[frozenset[str]]:
        return {frozenset(text.strip().lower() for text in e.texts) for e in part}

    for seed in range(20):
        training, validation = hold_out(rows, 0.4, seed, kind)
        assert len(training) + len(validation) == 300
        assert len(validation) >= 20
        assert not keys(training) & keys(validation)
        assert {example.label for example in training} == {0, 1, 2}
    assert hold_out(rows, 0.4, 0, kind) == hold_out(rows, 0.4, 0, kind)
    assert hold_out(rows, 0.4, 0, kind)[1] != hold_out(rows, 0.4, 1, kind)[1]
    assert hold_out(rows, 0.0, 0, kind) == (rows, [])
    assert hold_out(rows[:30], 0.5, 0, kind) == (rows[:30], [])
