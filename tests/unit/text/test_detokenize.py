"""Whole decoding against the article's strings."""

from __future__ import annotations

import pytest

from gpt1.errors import InputError
from gpt1.text.tokenizer import Tokenizer

ARTICLE = [3570, 240, 547, 2585, 544, 4957, 488, 249, 719, 797, 485, 921, 575, 562, 246, 1671, 239]
ARTICLE += [244, 40477, 244]


JOKE = [4778, 271, 599, 587, 512, 1370, 246, 2301, 498, 989, 763, 640, 595, 2132, 498, 481, 1294]
JOKE += [257, 246, 2301]
DOG = [547, 2585, 544, 4957, 488, 249, 256, 258, 595, 881, 645, 249, 994, 580, 9306, 522, 595, 239]
DOG += [244, 40477]


@pytest.mark.parametrize(
    ("words", "ids", "clean_up", "text"),
    [
        ("original", ARTICLE, True,
         'hello, my dog is cute and i\'m going to take him for a walk. " \n "'),
        ("fast", ARTICLE, True,
         'hello, my dog is cute and i\'m going to take him for a walk. " \n "'),
        ("original", ARTICLE, False,
         'hello , my dog is cute and i \'m going to take him for a walk . " \n "'),
        ("original", JOKE, True,
         "joke : what do you call a group of people who are not afraid of the dark? a group"),
        ("fast", DOG, True,
         "my dog is cute and i'm not sure if i should be offended or not. \" \n"),
        ("original", [40477], True, "\n"), ("slow", [40477], True, ""),
        ("fast", [40477], True, "\n"),
    ],
)  # fmt: skip
def test_the_articles_ids_are_the_articles_text(
    released: Tokenizer, words: str, ids: list[int], clean_up: bool, text: str
) -> None:
    assert released.with_words(words).decode(ids, clean_up=clean_up) == text


def test_special_tokens_can_be_left_out(released: Tokenizer) -> None:
    tokenizer = released.with_words("fast")
    (end,) = tokenizer.add_tokens(["<|endoftext|>"])
    ids = [246, 0, 259, end]
    assert tokenizer.decode(ids) == "a <unk>b <|endoftext|>"
    assert tokenizer.decode(ids, skip_special=True) == "a b"


@pytest.mark.parametrize("id", [-1, 40478, 10**9])
def test_an_id_out_of_range_is_an_error_that_says_so(released: Tokenizer, id: int) -> None:
    with pytest.raises(InputError, match="ids 0 to 40477"):
        released.decode([246, id])
