"""Streamed text against whole decoding; stop strings against a reader of single letters."""

from __future__ import annotations

import random
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

import gpt1
from gpt1.checkpoint.hub import resolve
from gpt1.errors import InputError
from gpt1.generation.streaming import StreamDecoder, TextStreamer, as_written
from gpt1.text.tokenizer import Tokenizer

WORDS = ["original", "slow", "fast"]
ARTICLE = [3570, 240, 547, 2585, 544, 4957]  # hello, my dog is cute


@pytest.fixture(scope="module")
def released(release_vocabulary: Path) -> Tokenizer:
    return Tokenizer.load(release_vocabulary)


def stream(tokenizer: Tokenizer, ids: Sequence[int], prompt: Sequence[int]) -> str:
    decoder = StreamDecoder(tokenizer, prompt)
    return "".join(map(decoder.push, ids)) + decoder.finish()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["aba ab's b . ba n't ' a"] * 4, vocab_size=20)


def letter_by_letter(text: str, stops: list[str]) -> tuple[str, bool]:
    """Read a text's letters one by one; end at the first moment that a stop string is complete."""
    for end in range(len(text) + 1):
        found = [s for s in stops if text[:end].endswith(s)]
        if found:
            return text[: end - max(map(len, found))], True
    return text, False


@pytest.mark.filterwarnings("ignore::gpt1.errors.Note")
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_the_text_ends_where_a_reader_of_letters_would_end_it(
    tokenizer: Tokenizer, data: st.DataObject
) -> None:
    some = st.lists(st.integers(0, len(tokenizer) - 1), min_size=1, max_size=25)
    prompt, new = data.draw(some), data.draw(some)
    stops = data.draw(st.lists(st.text("ab '.", min_size=1, max_size=4), max_size=3))
    whole = stream(tokenizer, new, prompt)

    streamer = TextStreamer(tokenizer, prompt, stops)
    pieces, read = [], []
    for new_id in new:
        read.append(new_id)
        pieces.append(streamer.push(new_id))
        if streamer.stopped:
            break
    pieces.append(streamer.finish())

    text, stopped = letter_by_letter(whole, [*stops, *(as_written(s, tokenizer) for s in stops)])
    assert (streamer.text, streamer.stopped) == (text, stopped)
    assert "".join(pieces) == text
    needed = streamer.count_needed(read)
    assert 0 <= needed <= len(read)
    assert stream(tokenizer, new[:needed], prompt).startswith(text)


WRITTEN = [
    ("Mr.", "mr."), ("The End", "the end"), ("  the", " the"), ("A  b", "a b"), (" ,", ","),
    ("\n\n", "\n"), ("the\r\n", "the \n"), ("\nthe", "\n the"), ("do n't", "don't"),
    ("One,two", "one, two"), ("\u2615", "\u2615"), ("the end", "the end"),
]  # fmt: skip


@pytest.mark.parametrize(("stop", "written"), WRITTEN)
def test_a_stop_string_is_compared_as_the_model_writes_it(stop: str, written: str) -> None:
    mini = gpt1.Tokenizer.load(resolve("mini"))
    with warnings.catch_warnings(record=True) as notes:
        assert as_written(stop, mini) == written
    assert len(notes) == (written != stop or stop == "\u2615")
    streamer = TextStreamer(mini, [1], [stop])
    for new_id in mini.encode(f"it is so and {written} now"):
        streamer.push(new_id)
    assert streamer.stopped or not written.strip() or "\u2615" in stop


def test_text_is_held_back_only_while_it_may_be_a_stop_string(tokenizer: Tokenizer) -> None:
    plain, stopping = (TextStreamer(tokenizer, [1], stop) for stop in ((), ("zzz",)))
    ids = tokenizer.encode("ab a ba b aba ab")
    assert [plain.push(i) for i in ids] == [stopping.push(i) for i in ids]


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


@pytest.mark.parametrize("words", WORDS)
def test_streamed_pieces_are_the_whole_text(released: Tokenizer, words: str) -> None:
    tokenizer = released.with_words(words)
    tokenizer.add_tokens(["<|endoftext|>", " . "])
    rng = random.Random(words)
    for _ in range(500):
        ids = random_ids(tokenizer, rng, rng.randint(0, 12))
        assert stream(tokenizer, ids, ()) == tokenizer.decode(ids)


@pytest.mark.parametrize("words", WORDS)
def test_pieces_go_on_from_the_prompt(released: Tokenizer, words: str) -> None:
    tokenizer = released.with_words(words)
    rng = random.Random(words)
    changed = 0
    for _ in range(1500):
        prompt = random_ids(tokenizer, rng, rng.randint(0, 5))
        ids = random_ids(tokenizer, rng, rng.randint(0, 6))
        decoder = StreamDecoder(tokenizer, prompt)
        assert decoder.prompt_text == tokenizer.decode(prompt)
        text = decoder.prompt_text + stream(tokenizer, ids, prompt)
        whole = tokenizer.decode([*prompt, *ids])
        if whole.startswith(decoder.prompt_text):
            assert text == whole
        else:
            changed += 1
    assert changed  # the other case occurred too


def test_a_prompts_end_is_not_rewritten(released: Tokenizer) -> None:
    do, n, t, go = (released.vocabulary.ids[token] for token in ("do</w>", "n", "'t</w>", "go</w>"))
    assert released.decode([do, n, t, go]) == "don't go"
    assert released.decode([do, n]) == "do n"
    assert stream(released, [t, go], [do, n]) == "'t go"


def test_little_is_held_back(released: Tokenizer) -> None:
    decoder = StreamDecoder(released)
    assert [decoder.push(id) for id in ARTICLE] == ["hello", ",", " my", " dog", " is", " cute"]
    (quote,) = released.encode("'")
    assert decoder.push(quote) == ""  # " ' " may become "'"
    assert decoder.finish() == " '"


def test_an_id_out_of_range_is_an_error_that_says_so(released: Tokenizer) -> None:
    with pytest.raises(InputError, match="ids 0 to 40477"):
        StreamDecoder(released).push(40478)
