"""Offsets: every token has a place, and the text there makes the token."""

from __future__ import annotations

from itertools import pairwise

import pytest
from release_text import hard_strings

from gpt1.text.standardize import repair, standardize
from gpt1.text.tokenizer import Tokenizer


def test_offsets_are_those_of_a_known_text(released: Tokenizer) -> None:
    encoding = released.encode_with_offsets(" “Hello,\n my Dog… ")
    assert encoding.text == '" Hello , \n my Dog...'
    assert [encoding.text[start:end] for start, end in encoding.offsets] == (
        ['"', "Hello", ",", "\n", "my", "Dog", "..."]
    )
    assert [token.removesuffix("</w>") for token in encoding.tokens] == (
        ['"', "hello", ",", "\n", "my", "dog", "..."]
    )


@pytest.mark.parametrize("words", ["original", "slow"])
def test_slices_of_the_cleaned_text_make_the_tokens(released: Tokenizer, words: str) -> None:
    tokenizer = released.with_words(words)
    for text in [*hard_strings(seed=31, count=1500), " \n "]:
        encoding = tokenizer.encode_with_offsets(text)
        assert encoding.ids == tokenizer.encode(text)
        if words == "original":
            assert encoding.text == standardize(repair(text))
        assert encoding.tokens == tokenizer.tokens(encoding.ids)
        assert len(encoding.offsets) == len(encoding.ids)
        covered = "".join(encoding.text[start:end] for start, end in encoding.offsets)
        if "İ" not in encoding.text:  # two tokens may share it
            assert covered == encoding.text.replace(" ", "")
            assert all(a[1] <= b[0] for a, b in pairwise(encoding.offsets))
        for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
            part = encoding.text[start:end]
            if token == "<unk>":
                assert len(part) == 1 or part == "<unk>"
            else:
                # a sigma's form depends on the word around it
                lower = part.lower().replace("ς", "σ")
                piece = token.removesuffix("</w>").replace("ς", "σ")
                assert piece == lower or ("İ" in part and piece in lower)


def test_a_letter_that_becomes_two_is_shared(released: Tokenizer) -> None:
    encoding = released.encode_with_offsets("xİx")
    assert encoding.tokens == ["xi", "<unk>", "x</w>"]  # the dot of İ is unknown
    assert encoding.offsets == [(0, 2), (1, 2), (2, 3)]


def test_literal_unk_has_a_place_in_slow_mode(released: Tokenizer) -> None:
    encoding = released.with_words("slow").encode_with_offsets("A <unk>B\n<unk> \nC")
    assert encoding.text == "a <unk> b <unk> c"
    assert encoding.offsets == [(0, 1), (2, 7), (8, 9), (10, 15), (16, 17)]


def test_fast_offsets_are_places_in_the_input(released: Tokenizer) -> None:
    fast = released.with_words("fast")
    for text in [*hard_strings(seed=33, count=300), "Ünï can't <unk> …", " \n "]:
        encoding = fast.encode_with_offsets(text)
        assert encoding.text == text
        assert encoding.ids == fast.encode(text)
        assert len(encoding.offsets) == len(encoding.ids)
        for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
            if text.isascii() and text.isprintable() and token != "<unk>":
                assert text[start:end].lower() == token.removesuffix("</w>")
