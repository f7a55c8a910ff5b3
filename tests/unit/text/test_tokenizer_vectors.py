"""Every recorded vector, in all three ways of cutting words, with the steps in between."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

import pytest
from release_text import Release, hard_strings

from gpt1.text import english
from gpt1.text.pre_tokenizers import FastPreTokenizer, OriginalPreTokenizer
from gpt1.text.standardize import repair, standardize
from gpt1.text.tokenizer import Tokenizer

COLUMNS = {"original": "openai", "slow": "hf_slow", "fast": "hf_fast"}
SLOW = pytest.mark.slow
Vectors = list[dict[str, Any]]


@pytest.mark.parametrize("words", COLUMNS)
@pytest.mark.parametrize("source", ["spacy", "file"])
def test_ids_are_those_of_the_vectors(
    released: Tokenizer,
    tokenizer_vectors: Vectors,
    words: str,
    source: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if source == "file":
        rules = json.loads(json.dumps(english.spacys_rules()))
        monkeypatch.setattr(english, "spacys_rules", lambda: rules)
    tokenizer = released.with_words(words)
    assert len(tokenizer_vectors) == 327
    for _ in range(2):  # computed, then cached
        for vector in tokenizer_vectors:
            assert tokenizer.encode(vector["text"]) == vector[COLUMNS[words]]["ids"]


@pytest.mark.parametrize("words", ["slow", "fast"])
def test_raw_text_is_that_of_the_vectors(
    released: Tokenizer, tokenizer_vectors: Vectors, words: str
) -> None:
    tokenizer = released.with_words(words)
    for vector in tokenizer_vectors:
        column = vector[COLUMNS[words]]
        assert tokenizer.decode(column["ids"], clean_up=False) == column["decoded"]


def test_steps_are_those_of_the_vectors(tokenizer_vectors: Vectors) -> None:
    original, fast = OriginalPreTokenizer(), FastPreTokenizer()
    for vector in tokenizer_vectors:
        text, column = vector["text"], vector["openai"]
        assert repair(text) == column["ftfy"]
        assert standardize(column["ftfy"]) == column["standardized"]
        found = [
            ["\n "] if line == ["\n"] else original.cased_line(line)
            for line in original.lines(text)
        ]
        assert list(chain.from_iterable(found)) == column["words"]
        if "<unk>" not in text:  # recorded there without the special token
            words = chain.from_iterable(fast.line(line) for line in fast.lines(text))
            assert list(words) == vector["hf_fast"]["words"]


@pytest.mark.parametrize(("seed", "count"), [(21, 1500), pytest.param(23, 20_000, marks=SLOW)])
def test_original_and_slow_are_the_plain_pipelines_on_hard_strings(
    released: Tokenizer, plain: Release, seed: int, count: int
) -> None:
    slow = released.with_words("slow")
    context = ["'s:D", "' 's:D", "'\n's:D", "x' 's:D a", "'s:D ' 's:D", "dogs' 's°C."]
    for text in [*context, *hard_strings(seed, count)]:
        assert released.encode(text) == plain.encode(text)
        assert slow.encode(text) == plain.encode_slow(text)


def test_slow_knows_unk_in_any_case_and_lowers_each_letter_alone(released: Tokenizer) -> None:
    slow = released.with_words("slow")
    assert slow.encode("a<UNK>b") == [246, 0, 259]
    assert slow.encode("ΣΑΣ") == slow.encode("σασ") != slow.encode("σας")
    assert released.encode("ΣΑΣ") == released.encode("σας")
