"""Stop strings against a reader of single letters, over random ids and stops."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from gpt1.generation.streaming import TextStreamer
from gpt1.text.detokenize import StreamDecoder
from gpt1.text.tokenizer import Tokenizer


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


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_the_text_ends_where_a_reader_of_letters_would_end_it(
    tokenizer: Tokenizer, data: st.DataObject
) -> None:
    some = st.lists(st.integers(0, len(tokenizer) - 1), min_size=1, max_size=25)
    prompt, new = data.draw(some), data.draw(some)
    stops = data.draw(st.lists(st.text("ab '.", min_size=1, max_size=4), max_size=3))
    decoder = StreamDecoder(tokenizer, prompt)
    whole = "".join([decoder.push(i) for i in new]) + decoder.finish()

    streamer = TextStreamer(tokenizer, prompt, stops)
    pieces, read = [], []
    for new_id in new:
        read.append(new_id)
        pieces.append(streamer.push(new_id))
        if streamer.stopped:
            break
    pieces.append(streamer.finish())

    text, stopped = letter_by_letter(whole, stops)
    assert (streamer.text, streamer.stopped) == (text, stopped)
    assert "".join(pieces) == text
    needed = streamer.count_needed(read)
    assert 0 <= needed <= len(read)
    again = StreamDecoder(tokenizer, prompt)
    assert ("".join([again.push(i) for i in new[:needed]]) + again.finish()).startswith(text)


def test_text_is_held_back_only_while_it_may_be_a_stop_string(tokenizer: Tokenizer) -> None:
    plain, stopping = (TextStreamer(tokenizer, [1], stop) for stop in ((), ("zzz",)))
    ids = tokenizer.encode("ab a ba b aba ab")
    assert [plain.push(i) for i in ids] == [stopping.push(i) for i in ids]
