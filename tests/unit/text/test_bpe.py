"""Merging against the plain loop of the paper, and the small case of the transformers tests."""

from __future__ import annotations

import random
from pathlib import Path
from time import perf_counter

import pytest
import release_text
from release_text import Release

from gpt1.text.bpe import BPE
from gpt1.text.tokenizer import Tokenizer

SMALL = "l o w e r s t i d n w</w> r</w> t</w> lo low er</w> low</w> lowest</w> newer</w> wider</w>"


def test_the_small_case_of_transformers() -> None:
    vocab = {token: id for id, token in enumerate([*SMALL.split(), "<unk>"])}
    bpe = BPE(vocab, [("l", "o"), ("lo", "w"), ("e", "r</w>")])
    assert bpe("lower") == (14, 15)


def test_merges_are_those_of_the_plain_loop(released: Tokenizer, plain: Release) -> None:
    rng = random.Random(0)
    bpe = BPE(released.vocabulary.ids, released.vocabulary.merges)
    letters = "etaoinshrdlu" * 3 + "bcfgjkmpqvwxyz'.é日0"
    for _ in range(2000):
        word = "".join(rng.choices(letters, k=rng.randint(1, 14)))
        expected = tuple(plain.ids.get(s, 0) for s in release_text.merge(word, plain.ranks))
        assert bpe(word) == expected
        assert bpe(word) == expected  # from the cache


@pytest.mark.parametrize("words", ["original", "slow", "fast"])
def test_a_megabyte_of_one_letter_takes_near_linear_time(released: Tokenizer, words: str) -> None:
    tokenizer = released.with_words(words)
    tokenizer.encode("warm up")

    def seconds(size: int) -> float:
        start = perf_counter()
        ids = tokenizer.encode("a" * size)
        taken = perf_counter() - start
        assert sum(len(t.removesuffix("</w>")) for t in tokenizer.tokens(ids)) == size
        return taken

    quarter, whole = seconds(250_000), seconds(1_000_000)
    assert whole < 10 * quarter  # 4 if linear, 16 if quadratic
    assert whole < 10


def test_huge_words_stay_out_of_the_cache(release_vocabulary: Path) -> None:
    tokenizer = Tokenizer.load(release_vocabulary)
    tokenizer.encode("a" * 10_000 + " short")
    assert tokenizer._bpe._cached.cache_info().currsize == 1
    assert set(tokenizer._ids_of) == {"short"}
