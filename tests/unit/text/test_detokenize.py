"""Whole decoding against the article's strings."""

from __future__ import annotations

import pytest

from gpt1.errors import InputError
from gpt1.text.detokenize import CLEAN_UP
from gpt1.text.tokenizer import Tokenizer

ARTICLE = [3570, 240, 547, 2585, 544, 4957, 488, 249, 719, 797, 485, 921, 575, 562, 246, 1671, 239]
ARTICLE += [244, 40477, 244]
WORDS = ["original", "slow", "fast"]


def test_the_articles_ids_are_the_articles_text(released: Tokenizer) -> None:
    text = 'hello, my dog is cute and i\'m going to take him for a walk. " \n "'
    assert released.decode(ARTICLE) == text
    assert released.with_words("fast").decode(ARTICLE) == text
    raw = 'hello , my dog is cute and i \'m going to take him for a walk . " \n "'
    assert released.decode(ARTICLE, clean_up=False) == raw


def test_the_articles_joke_and_its_last_newline(released: Tokenizer) -> None:
    joke = [4778, 271, 599, 587, 512, 1370, 246, 2301, 498, 989, 763, 640, 595, 2132, 498, 481]
    joke += [1294, 257, 246, 2301]
    text = "joke : what do you call a group of people who are not afraid of the dark? a group"
    assert released.decode(joke) == text
    dog = [547, 2585, 544, 4957, 488, 249, 256, 258, 595, 881, 645, 249, 994, 580, 9306, 522, 595]
    dog += [239, 244, 40477]
    text = "my dog is cute and i'm not sure if i should be offended or not. \" \n"
    assert released.with_words("fast").decode(dog) == text


def test_a_lone_newline_survives_but_in_slow_mode(released: Tokenizer) -> None:
    decoded = {words: released.with_words(words).decode([40477]) for words in WORDS}
    assert decoded == {"original": "\n", "slow": "", "fast": "\n"}


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


def test_no_replacement_is_longer_than_what_it_replaces() -> None:
    assert all(len(new) < len(old) and old.startswith(" ") for old, new in CLEAN_UP)
