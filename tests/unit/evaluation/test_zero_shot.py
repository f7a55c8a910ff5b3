"""The four heuristics against answers worked out by hand, and one row at a time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tiny
from gpt1.config import ModelConfig
from gpt1.errors import ConfigError, DataError, InputError
from gpt1.evaluation.zero_shot import (
    acceptability,
    best_threshold,
    choices,
    choices_of_ids,
    schemas,
    sentiment,
)
from gpt1.evaluation.zero_shot_sets import SETTINGS, Questions, measure
from gpt1.model.transformer import Transformer
from gpt1.tasks.datasets.winograd import Schema
from gpt1.tasks.metrics import matthews
from gpt1.tasks.spec import Example
from gpt1.text.tokenizer import Tokenizer

TEXT = (
    "the a cat dog mat sat ran on very good bad film was fast slow chased because it "
    "negative positive where is"
)
WORDS = TEXT.split()


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    """A tokenizer that has each of WORDS as one token."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it stops once all words are whole
        tokenizer = Tokenizer.train([TEXT] * 3, vocab_size=1000)
    assert all(len(tokenizer.encode(word)) == 1 for word in WORDS)
    return tokenizer


class Bigrams(nn.Module):
    """A model that looks at the last id alone, and at which of `signals` have been.

    chances: (word, next word) -> probability; what is left is shared by all other tokens.
    signals: word -> what is added to a later word's logit.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        chances: Mapping[tuple[str, str], float],
        signals: Mapping[str, tuple[str, float]] | None = None,
        n_ctx: int = 64,
    ) -> None:
        super().__init__()
        size = len(tokenizer)
        self.config = ModelConfig(vocab_size=size, n_ctx=n_ctx)
        self.tokens = nn.Embedding(size, size, _weight=torch.eye(size))

        def id(word: str) -> int:
            return tokenizer.encode(word)[0]

        table = torch.full((size, size), math.nan, dtype=torch.float64)
        for (word, following), chance in chances.items():
            table[id(word), id(following)] = chance
        for row in table:
            row[row.isnan()] = (1 - row.nansum()) / row.isnan().sum()
        self.table = table.log().float()
        self.signals = torch.zeros(size, size)
        for word, (later, bonus) in (signals or {}).items():
            self.signals[id(word), id(later)] = bonus

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        return states @ self.tokens.weight.T

    def hidden(self, ids: Tensor) -> Tensor:
        assert ids.shape[1] <= self.config.n_ctx
        return self.table[ids] + self.signals[ids].cumsum(1)


def log(*chances: float) -> float:
    """Return the mean of the logs."""
    return sum(map(math.log, chances)) / len(chances)


# By hand


def test_acceptability_by_hand(words: Tokenizer) -> None:
    model = Bigrams(words, {("the", "cat"): 0.5, ("cat", "sat"): 0.25, ("sat", "on"): 0.125})
    found = acceptability(model, words, ["The cat sat", "the cat", "The cat sat on"])
    assert found == pytest.approx([log(0.5, 0.25), log(0.5), log(0.5, 0.25, 0.125)], abs=1e-6)


def test_sentiment_by_hand(words: Tokenizer) -> None:
    model = Bigrams(
        words,
        {("very", "negative"): 0.2, ("very", "positive"): 0.1},
        {"good": ("positive", 1.5), "bad": ("positive", -0.5)},
    )
    texts = ["the film was good", "a bad film", "the film was good good", "a film"]
    signals = np.array([[0, 1.5], [0, -0.5], [0, 3.0], [0, 0]])
    assert sentiment(model, words, texts) == pytest.approx(np.log([0.2, 0.1]) + signals, abs=1e-6)


def test_choices_by_hand(words: Tokenizer) -> None:
    """The mean decides, not the sum: the longer answer has the lower product and wins."""
    model = Bigrams(
        words, {("where", "a"): 0.2, ("where", "on"): 0.1, ("on", "the"): 0.9, ("the", "mat"): 0.9}
    )
    found = choices(model, words, ["the cat sat where"], [["a", "on the mat"]])
    assert found == pytest.approx(np.array([[log(0.2), log(0.1, 0.9, 0.9)]]), abs=1e-6)
    assert found.argmax() == 1
    assert 0.1 * 0.9 * 0.9 < 0.2


def test_schemas_by_hand(words: Tokenizer) -> None:
    """What follows the candidate is scored; how likely the candidate is itself does not count."""
    text = "The dog chased the cat because it was slow"
    schema = Schema(text, "it", text.index("it "), ("The dog", "the cat"), 1)
    chances = {("dog", "was"): 0.1, ("cat", "was"): 0.4, ("was", "slow"): 0.5, ("the", "dog"): 0.9}
    found = schemas(Bigrams(words, chances), words, [schema])
    assert found == pytest.approx(np.array([[log(0.1, 0.5), log(0.4, 0.5)]]), abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "labels", "threshold"),
    [
        ([-3.0, -2.0, -1.0], [0, 1, 1], -2.5),
        ([-1.0, -2.0, -3.0, -4.0], [1, 0, 1, 0], -3.5),  # equal to -1.5: the lower one
        ([-1.0, -1.0, -2.0], [1, 0, 0], -1.5),  # equal scores stay together
        ([-1.0, -2.0], [1, 1], -3.0),  # nothing to tell apart: all are acceptable
        ([5.0], [0], 4.0),
    ],
)
def test_threshold_by_hand(scores: list[float], labels: list[int], threshold: float) -> None:
    assert best_threshold(scores, labels) == threshold


def test_threshold_against_trying_all() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        n = random.integers(1, 30)
        scores = np.round(random.normal(size=n), 1)
        labels = random.integers(0, 2, n)
        tried = [matthews(labels, scores > t) for t in [*scores, -99]]
        found = best_threshold(scores, labels)
        assert matthews(labels, scores > found) == pytest.approx(max(tried), abs=1e-12)


def test_threshold_between_neighbours() -> None:
    low = 1.0
    high = np.nextafter(low, 2)
    found = best_threshold([low, high], [0, 1])
    assert low <= found < high


# One row at a time


@pytest.fixture(scope="module")
def model() -> Transformer:
    return tiny.model(n_ctx=24)


def texts(count: int, longest: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    pieces = ["the", "dog", "cat", "is", "and", "a", "be", "."]
    sizes = random.integers(2, longest, count)
    return [" ".join(random.choice(pieces, size)) for size in sizes]


def plain(model: Transformer, ids: list[int], start: int) -> float:
    """Return the mean log-probability of ids[start:], one forward pass for each."""
    found = []
    for end in range(start, len(ids)):
        logits = model(torch.tensor([ids[:end]])).logits[0, -1]
        found.append(logits.double().log_softmax(-1)[ids[end]].item())
    return sum(found) / len(found)


def test_acceptability_one_by_one(model: Transformer, tiny_tokenizer: Tokenizer) -> None:
    given = texts(10, 40)
    ids = [tiny_tokenizer.encode(text)[:25] for text in given]
    assert max(map(len, ids)) == 25  # n_ctx + 1: the rest is left out
    wanted = [plain(model, row, 1) for row in ids]
    assert acceptability(model, tiny_tokenizer, given) == pytest.approx(wanted, abs=1e-5)


def test_sentiment_of_words_in_pieces(model: Transformer, tiny_tokenizer: Tokenizer) -> None:
    words = [tiny_tokenizer.encode(word) for word in ("negative", "positive")]
    assert min(map(len, words)) > 1
    given = texts(6, 30)
    wanted = []
    for text in given:
        ids = (tiny_tokenizer.encode(text) + tiny_tokenizer.encode("very"))[
            -(25 - max(map(len, words))) :
        ]
        wanted.append([plain(model, ids + word, len(ids)) for word in words])
    assert sentiment(model, tiny_tokenizer, given) == pytest.approx(np.array(wanted), abs=1e-5)


def test_contexts_of_one_id_and_answers_that_fill_the_model(model: Transformer) -> None:
    contexts = [[5], [5, 6, 7], [5] * 24, [9], [5] * 24]
    answers = [[[6], [7, 8]], [[1] * 24, [2]], [[3], [4]], [[3] * 24, [4]], [[2] * 12, [3]]]
    scores = choices_of_ids(model, contexts, answers)
    for context, options, row in zip(contexts, answers, scores, strict=True):
        kept = context[-(25 - max(map(len, options))) :]
        wanted = [plain(model, kept + option, len(kept)) for option in options]
        assert row == pytest.approx(wanted, abs=1e-5)


def test_a_context_is_read_once(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    hidden = model.hidden

    def counted(ids: Tensor, **options: Any) -> Tensor:
        read.append(ids.numel())
        return hidden(ids, **options)

    monkeypatch.setattr(model, "hidden", counted)
    choices_of_ids(model, [[3] * 20] * 5, [[[1, 2], [3, 4], [5, 6]]] * 5)
    assert read == [5 * 19, 5 * 3 * 2]


# What cannot be scored


@pytest.mark.parametrize(
    ("contexts", "answers", "message"),
    [
        ([""], [["a"]], "row 0 has an empty context or an empty continuation"),
        (["a", "a"], [["a"], [" "]], "row 1 has an empty context or an empty continuation"),
        (["a"], [["a cat sat on it"]], "row 0 has an answer of 5 tokens; the model has 4"),
        (["a", "the"], [["cat"], ["cat", "dog"]], "give every context the same number"),
        (["a", "the"], [["cat"]], "give every context the same number"),
    ],
)
def test_choices_that_have_no_score(
    words: Tokenizer, contexts: list[str], answers: list[list[str]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        choices(Bigrams(words, {}, n_ctx=4), words, contexts, answers)


def test_texts_that_have_no_score(words: Tokenizer) -> None:
    model = Bigrams(words, {}, n_ctx=4)
    with pytest.raises(InputError, match="text 1, 'the', has 1 token;"):
        acceptability(model, words, ["the cat", "the"])
    schema = Schema("the cat chased it", "it", 15, ("a dog", "a cat"), 0)
    with pytest.raises(InputError, match="schema 0, 'the cat chased it', has 0 tokens after"):
        schemas(model, words, [schema])
    three = Schema("it sat on", "it", 0, ("a dog", "a cat", "a mat"), 0)
    two = Schema("it sat on", "it", 0, ("a dog", "a cat"), 0)
    with pytest.raises(InputError, match="have 2 or 3 candidates"):
        schemas(model, words, [three, two])


def test_nothing_has_no_scores(words: Tokenizer) -> None:
    model = Bigrams(words, {})
    assert acceptability(model, words, []).shape == (0,)
    assert sentiment(model, words, []).shape == (0, 2)
    assert choices(model, words, [], []).size == schemas(model, words, []).size == 0


def test_thresholds_that_cannot_be_chosen() -> None:
    for scores, labels in (([], []), ([1.0], [0, 1])):
        with pytest.raises(InputError, match="same length"):
            best_threshold(scores, labels)
    for scores, labels in (([1.0, 2.0], [0, 2]), ([math.nan, 1.0], [0, 1])):
        with pytest.raises(InputError, match="other classes than 0 and 1, or scores nan"):
            best_threshold(scores, labels)


# All sets together


def test_measure_by_hand(words: Tokenizer) -> None:
    model = Bigrams(
        words,
        {
            ("the", "cat"): 0.5, ("cat", "sat"): 0.5, ("the", "ran"): 0.001,
            ("where", "on"): 0.3, ("where", "a"): 0.1, ("where", "the"): 0.05,
            ("where", "is"): 0.01, ("dog", "was"): 0.1, ("cat", "was"): 0.3,
        },
        {"good": ("positive", 2.0), "bad": ("negative", 2.0)},
    )  # fmt: skip
    text = "the dog chased the cat because it was slow"
    schema = [Schema(text, "it", text.index("it "), ("the dog", "the cat"), x) for x in (0, 1, 1)]
    answers = ("a", "on", "the", "is")  # the question's last word tells them apart
    sentences = [Example(("the cat sat",), 1), Example(("the ran",), 0), Example(("the cat",), 1)]
    sets = {
        "dpr": Questions(schema),
        "cola": Questions([*sentences, Example(("the ran the ran",), 0)], tuning=sentences),
        "sst2": Questions([Example(("a good film",), 1), Example(("a bad film",), 1)]),
        "race": Questions([Example(("a cat", *answers), i, "where") for i in (1, 1, 0, 1)]),
    }
    seen: list[tuple[int, int]] = []
    found = measure(model, words, sets, progress=lambda *now: seen.append(now))
    assert [one.data for one in found] == ["dpr", "cola", "sst2", "race"]
    values = {one.data: one.value for one in found}
    assert values == pytest.approx({"dpr": 2 / 3, "cola": 1.0, "sst2": 0.5, "race": 0.75})
    normalised = {one.data: one.normalised for one in found}
    assert normalised == pytest.approx(
        {"dpr": (2 / 3 - 0.5) / 0.264, "cola": 1 / 0.35, "sst2": 0.0, "race": 0.5 / 0.283}
    )
    assert [one.rows for one in found] == [3, 4, 2, 4]
    assert all(one.low <= one.value <= one.high for one in found)
    assert found[0].threshold is None
    assert found[1].threshold == pytest.approx((log(0.5) + log(0.001)) / 2, abs=1e-5)
    assert seen == [(3, 16), (10, 16), (12, 16), (16, 16)]


def test_settings_run_from_guessing_to_the_state_of_the_art() -> None:
    for setting in SETTINGS.values():
        assert setting.normalised(setting.random) == 0.0
        assert setting.normalised(setting.reference) == 1.0
        assert 0 <= setting.random < setting.reference < 1


def test_measure_refuses(words: Tokenizer) -> None:
    model = Bigrams(words, {})
    with pytest.raises(ConfigError, match="there are cola, sst2"):
        measure(model, words, {"rte": Questions([])})
    with pytest.raises(DataError, match="sst2 has 0 rows"):
        measure(model, words, {"sst2": Questions([])})
    with pytest.raises(DataError, match="cola has 1 row, and 0 to choose a threshold"):
        measure(model, words, {"cola": Questions([Example(("the cat",), 1)])})
