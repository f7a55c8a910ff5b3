"""The cleaning steps against ftfy itself and the release's regular expressions."""

from __future__ import annotations

import random

import ftfy
import pytest
import release_text
from release_text import hard_strings

from gpt1.text.standardize import repair, standardize


def test_repair_is_ftfy() -> None:
    for text in hard_strings(seed=11, count=1500):
        assert repair(text) == ftfy.fix_text(text)


def test_repair_is_ftfy_where_lines_depend_on_lines_before() -> None:
    rng = random.Random(0)
    pieces = ["&amp;", "<", "\n", "\r\n", "\r", "é", "a b", "Ã©", "\x00", "&eacute", "\f", "“"]
    pieces += ["\ud83d", "\ude00"]
    for _ in range(1500):
        text = "".join(rng.choices(pieces, k=rng.randint(1, 9)))
        assert repair(text) == ftfy.fix_text(text)


def test_every_ascii_character_is_repaired_as_ftfy_does() -> None:
    for code in range(128):
        for text in (chr(code), f"a{chr(code)}b", f"&{chr(code)};", f"é{chr(code)}\n{chr(code)}x"):
            assert repair(text) == ftfy.fix_text(text)


@pytest.mark.parametrize("backslash", [False, True])
def test_standardize_is_the_releases(backslash: bool) -> None:
    pattern = release_text._PAD_SLOW if backslash else release_text._PAD
    for text in hard_strings(seed=12, count=1500):
        assert standardize(text, backslash=backslash) == release_text.standardize(text, pattern)


def test_the_backslash_is_padded_only_on_demand() -> None:
    assert standardize("a\\b+c") == "a\\b + c"
    assert standardize("a\\b+c", backslash=True) == "a \\ b + c"
