"""Changes to the logits against transformers' processors, and against counting by hand."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor
from transformers import (
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
)

import tiny
from gpt1.config import SamplingConfig
from gpt1.errors import InputError
from gpt1.generation.engine import generate
from gpt1.generation.processors import logits_processors
from gpt1.generation.torch_backend import TorchBackend
from gpt1.text.tokenizer import Tokenizer
from gpt1.text.vocabulary import Vocabulary

V = len(tiny.vocabulary())
THE, DOG, CAT = (tiny.vocabulary()[f"{word}</w>"] for word in ("the", "dog", "cat"))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(Vocabulary.of(tiny.vocabulary(), [tuple(m.split()) for m in tiny.MERGES]))


def processed(ids: list[int], tokenizer: Tokenizer, logits: Tensor, **fields: object) -> Tensor:
    for processor in logits_processors(SamplingConfig(**fields), tokenizer, 2):
        logits = processor(logits, ids)
    return logits


@settings(max_examples=10, deadline=None)
@given(
    ids=st.lists(st.integers(80, 86), min_size=2, max_size=24),
    bias=st.dictionaries(st.integers(0, V - 1), st.floats(-100, 100), max_size=4),
    penalty=st.floats(0.5, 2),
    presence=st.floats(-2, 2),
    frequency=st.floats(-2, 2),
    n=st.integers(0, 4),
    seed=st.integers(0, 99),
)
def test_the_changes_are_those_of_transformers_and_openai(
    tokenizer: Tokenizer,
    ids: list[int],
    bias: dict[int, float],
    penalty: float,
    presence: float,
    frequency: float,
    n: int,
    seed: int,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(V, generator=generator, dtype=torch.float64)
    found = processed(
        ids, tokenizer, logits, logit_bias=bias, repetition_penalty=penalty,
        presence_penalty=presence, frequency_penalty=frequency, no_repeat_ngram_size=n,
        bad_words=["dog", "the cat"],
    )  # fmt: skip
    row = torch.tensor([ids])
    expected = logits[None].clone()
    if bias:
        expected = SequenceBiasLogitsProcessor({(i,): x for i, x in bias.items()})(row, expected)
    expected = RepetitionPenaltyLogitsProcessor(penalty)(row, expected)
    for i, count in Counter(ids[2:]).items():  # the first two are the prompt's
        expected[0, i] -= presence + count * frequency
    if n:
        expected = NoRepeatNGramLogitsProcessor(n)(row, expected)
    expected = NoBadWordsLogitsProcessor([[DOG], [THE, CAT]])(row, expected)
    known = [i for i in range(V) if i not in spelled(tokenizer, ids)]
    torch.testing.assert_close(found[known], expected[0, known])


def spelled(tokenizer: Tokenizer, ids: list[int]) -> set[int]:
    """Return the ids that complete "dog" or "the cat" in other tokens, by trying all of them."""
    bad = re.compile(r"(?<![^\W_])(dog|the cat)$")
    return {i for i in range(V) if bad.search(tokenizer.decode([*ids, i]))}


@pytest.mark.parametrize("seed", range(3))
def test_a_bad_word_is_not_written_in_any_tokens(tokenizer: Tokenizer, seed: int) -> None:
    words = ["cat", "the dog", "a", "is and", "t'"]
    backend = TorchBackend(tiny.model(seed))
    settings_ = {"max_new_tokens": 30, "temperature": 1.5, "seed": seed}
    bias = {"t": 6.0, "cat": 8, "the": 8, "dog": 8, "is": 8, "and": 8, "a": 8, "'": 7}
    found = {}
    for bad_words in ([], words):
        sampling = SamplingConfig(bad_words=bad_words, logit_bias=bias, **settings_)
        texts = generate(backend, tokenizer, [[THE]] * 40, sampling)
        pattern = re.compile(r"(?<![^\W_])(" + "|".join(words) + r")(?![^\W_])")
        found[len(bad_words)] = sum(bool(pattern.search(g.completion)) for g in texts)
    assert found[0] > 20
    assert found[len(words)] == 0


def test_what_the_vocabulary_lacks_is_refused(tokenizer: Tokenizer) -> None:
    for token, said in {"dog cat": "the text of 2", "€": "not in", V: "not in", -1: "not"}.items():
        with pytest.raises(InputError, match=rf"logit_bias holds {token!r}, which is {said}"):
            processed([1], tokenizer, torch.zeros(V), logit_bias={token: 1.0})
    for word in ("€", " "):
        with pytest.raises(InputError, match=f"bad_words holds '{word}'"):
            processed([1], tokenizer, torch.zeros(V), bad_words=[word])


def test_where_nothing_is_allowed_the_text_ends_and_says_so(tokenizer: Tokenizer) -> None:
    every = [t.removesuffix("</w>") for t in tiny.vocabulary() if t not in ("<unk>", "\n</w>")]
    bias = {0: -100.0, tiny.vocabulary()["\n</w>"]: -100.0}
    sampling = SamplingConfig(bad_words=every, logit_bias=bias, no_repeat_ngram_size=1)
    found = generate(TorchBackend(tiny.model()), tokenizer, ["the"], sampling)[0]
    assert found.finish_reason == "blocked"
    assert len(found.ids) <= 3
    assert len(found.logprobs) == len(found.ids) - 1


def test_every_new_id_has_its_alternatives(tokenizer: Tokenizer) -> None:
    backend = TorchBackend(tiny.model())
    sampling = SamplingConfig(max_new_tokens=9, temperature=1, seed=2, alternatives=3)
    found = generate(backend, tokenizer, ["the"], sampling)[0]
    assert [len(row) for row in found.alternatives] == [3] * len(found.logprobs) == [3] * 9
    for new_id, logprob, row in zip(found.ids[1:], found.logprobs, found.alternatives, strict=True):
        assert row == sorted(row, key=lambda pair: -pair[1])
        assert dict(row).get(new_id, logprob) == pytest.approx(logprob)
        assert logprob <= row[0][1] + 1e-6
    stop = found.completion[3:5]
    cut = generate(backend, tokenizer, ["the"], sampling.model_copy(update={"stop": (stop,)}))[0]
    assert cut.finish_reason == "stop"
    assert cut.alternatives == found.alternatives[: len(cut.logprobs)]
