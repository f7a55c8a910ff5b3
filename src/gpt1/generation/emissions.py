"""Which text each id writes, for an automaton over characters.

What an id writes depends on what the decoder holds back: the blank after a word, or the start of a
clean-up. There are few such states. Clean-ups know a dozen characters and look at no more than the
first three of a token, so tokens that look alike to them are decoded once.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gpt1.generation.streaming import StreamDecoder
from gpt1.text.bpe import END
from gpt1.text.detokenize import CLEAN_UP
from gpt1.text.tokenizer import Tokenizer

_SEEN = max(len(old) for old, _ in CLEAN_UP) - 1
_FILLER = "x"  # in no clean-up
_KNOWN = frozenset("".join(old for old, _ in CLEAN_UP))
assert _FILLER not in _KNOWN


class Emissions:
    """The text that each id writes in each state of a decoder, without the blank it begins with.

    A token is a head, its first characters, and a rest that is written as it is: `head_of` (V,)
    has each id's head, -1 for ids that write no text, and `rests` the other characters.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._states: list[tuple[StreamDecoder, bool]] = []
        """Decoders, and whether each has written something."""
        self._numbers: dict[object, int] = {}
        self._after: dict[int, tuple[list[str], NDArray[np.int64]]] = {}
        self.head_of = np.full(len(tokenizer), -1)
        self.rests = [""] * len(tokenizer)
        heads: dict[tuple[str, bool, bool], int] = {}
        for id, token in enumerate(tokenizer.vocabulary.tokens):
            text = token.removesuffix(END)
            held = tokenizer.words == "slow" and text.isspace()  # without end: endless states
            if id != tokenizer.unknown_id and not held:
                head = text[:_SEEN], len(text) > _SEEN, token != text
                self.head_of[id] = heads.setdefault(head, len(heads))
                self.rests[id] = text[_SEEN:]
        self._heads = list(heads)

    def start(self, prompt: Sequence[int]) -> int:
        """Return the state after a prompt."""
        return self._number(StreamDecoder(self._tokenizer, prompt), False)

    def rest(self, state: int) -> str:
        """Return what is still written if the text ends here."""
        decoder, started = self._states[state]
        text = decoder.copy().finish()
        return text if started else text.lstrip(" ")

    def after(self, state: int) -> tuple[list[str], NDArray[np.int64]]:
        """Return the text that each head writes, and the states that follow."""
        if state not in self._after:
            decoder, started = self._states[state]
            decoded: dict[str, tuple[str, int]] = {}
            texts, states = [], []
            for head, more, ends in self._heads:
                alike = "".join(c if _is_known(c) else _FILLER for c in head)
                token = alike + _FILLER * more + END * ends
                if token not in decoded:
                    other = decoder.copy()
                    text = other.push_token(token)
                    text = text if started else text.lstrip(" ")
                    decoded[token] = text, self._number(other, started or bool(text))
                text, following = decoded[token]
                own = [*(c for c in head if not _is_known(c)), *[""] * more, ""]
                parts = zip(text.split(_FILLER), own, strict=True)
                texts.append("".join([part + character for part, character in parts]))
                states.append(following)
            self._after[state] = texts, np.array(states)
        return self._after[state]

    def _number(self, decoder: StreamDecoder, started: bool) -> int:
        key = decoder.state, started
        if key not in self._numbers:
            self._numbers[key] = len(self._states)
            self._states.append((decoder, started))
        return self._numbers[key]


def _is_known(character: str) -> bool:
    return character in _KNOWN or character.isspace()


@functools.lru_cache(maxsize=4)
def emissions_of(tokenizer: Tokenizer, size: int) -> Emissions:
    """Return the emissions of a tokenizer, made once; `size` tells if tokens were added."""
    return Emissions(tokenizer)
