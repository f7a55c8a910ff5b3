"""Whole decoding against the article's strings; streamed decoding against whole decoding."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import pytest

from gpt1.errors import InputError
from gpt1.text.detokenize import CLEAN_UP, StreamDecoder
from gpt1.text.tokenizer import Tokenizer

ARTICLE = [3570, 240, 547, 2585, 544, 4957, 488, 249, 719, 797, 485, 921, 575, 562, 246, 1671, 239]
ARTICLE += [244, 40477, 244]
WORDS = ["original", "slow", "fast"]


def stream(tokenizer: Tokenizer, ids: Sequence[int], prompt: Sequence[int], **how: bool) -> str:
    decoder = StreamDecoder(tokenizer, prompt, **how)
    return "".join(map(decoder.push, ids)) + decoder.finish()


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
    with pytest.raises(InputError, match="ids 0 to 40477"):
        StreamDecoder(released).push(id)


def random_ids(tokenizer: Tokenizer, rng: random.Random, size: int) -> list[int]:
    """Ids among which those that clean-up, stripping and `</w>` act on are frequent."""
    near = re.findall(r"\S+|\n", ". ? ! , ' n't 'm 's 've 're 'v n t 't m s < / w > </ n' i do \n")
    known = tokenizer.vocabulary.ids
    ids = [known[token] for word in near for token in (word, f"{word}</w>") if token in known]
    ids += [0, *tokenizer.added.values()]
    return [
        rng.choice(ids) if rng.random() < 0.8 else rng.randrange(len(tokenizer))
        for _ in range(size)
    ]


@pytest.mark.parametrize("skip_special", [False, True])
@pytest.mark.parametrize("clean_up", [False, True])
@pytest.mark.parametrize("words", WORDS)
def test_streamed_pieces_are_the_whole_text(
    released: Tokenizer, words: str, clean_up: bool, skip_special: bool
) -> None:
    tokenizer = released.with_words(words)
    tokenizer.add_tokens(["<|endoftext|>", " . "])
    rng = random.Random(words)
    how = {"clean_up": clean_up, "skip_special": skip_special}
    for _ in range(500):
        ids = random_ids(tokenizer, rng, rng.randint(0, 12))
        assert stream(tokenizer, ids, (), **how) == tokenizer.decode(ids, **how)


@pytest.mark.parametrize("clean_up", [False, True])
@pytest.mark.parametrize("words", WORDS)
def test_pieces_go_on_from_the_prompt(released: Tokenizer, words: str, clean_up: bool) -> None:
    tokenizer = released.with_words(words)
    rng = random.Random(words)
    changed = 0
    for _ in range(1500):
        prompt = random_ids(tokenizer, rng, rng.randint(0, 5))
        ids = random_ids(tokenizer, rng, rng.randint(0, 6))
        decoder = StreamDecoder(tokenizer, prompt, clean_up=clean_up)
        assert decoder.prompt_text == tokenizer.decode(prompt, clean_up=clean_up)
        text = decoder.prompt_text + stream(tokenizer, ids, prompt, clean_up=clean_up)
        whole = tokenizer.decode([*prompt, *ids], clean_up=clean_up)
        if whole.startswith(decoder.prompt_text):
            assert text == whole
        else:
            changed += 1
    assert changed or not clean_up  # the other case occurred too


def test_a_prompts_end_is_not_rewritten(released: Tokenizer) -> None:
    do, n, t, go = (released.vocabulary.ids[token] for token in ("do</w>", "n", "'t</w>", "go</w>"))
    assert released.decode([do, n, t, go]) == "don't go"
    assert released.decode([do, n]) == "do n"
    assert stream(released, [t, go], [do, n]) == "'t go"


def test_little_is_held_back(released: Tokenizer) -> None:
    decoder = StreamDecoder(released)
    assert [decoder.push(id) for id in ARTICLE[:6]] == ["hello", ",", " my", " dog", " is", " cute"]
    (quote,) = released.encode("'")
    assert decoder.push(quote) == ""  # " ' " may become "'"
    assert decoder.finish() == " '"


def test_no_replacement_is_longer_than_what_it_replaces() -> None:
    assert all(len(new) < len(old) and old.startswith(" ") for old, new in CLEAN_UP)
