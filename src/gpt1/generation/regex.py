"""Regular expressions as constraints: automata over characters, walked along tokens."""

from __future__ import annotations

import functools
import re
import warnings
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt1.errors import InputError, Note
from gpt1.generation.emissions import emissions_of
from gpt1.text.tokenizer import Tokenizer

State = tuple[int, int]
Codes = tuple[NDArray[np.int32], NDArray[np.int64]]
"""Texts as codes of characters (N, longest), and their lengths (N,)."""
_TOGETHER = 64
"""States that are followed together."""
NEVER = 2**31 - 1
"""The distance of a state from which no end is reached."""


class Regex:
    """A match of a whole regular expression, in the text as a person reads it.

    outlines-core makes the automaton over characters; `Emissions` tells which characters each id
    writes. A state is (the automaton's, that of the emissions).
    """

    def __init__(self, pattern: str, tokenizer: Tokenizer) -> None:
        self.pattern = pattern
        self._emissions = emissions_of(tokenizer, len(tokenizer))
        characters = sorted({*" ", *"".join(tokenizer.vocabulary.tokens)})
        self._table, self._final = _automaton(pattern, characters)
        self._codes = {character: code for code, character in enumerate(characters)}
        self._rests = self._encode(self._emissions.rests)
        self._heads: dict[int, tuple[Codes, NDArray[np.int64]]] = {}
        self._before: dict[State, set[State]] = {}
        """Every state that was reached, and where from."""
        self._distances = np.full((0, 0), NEVER)
        self._moves = functools.lru_cache(maxsize=64)(self._compute_moves)

    def start(self, prompt: Sequence[int]) -> State:
        """Return the state after the prompt; a blank behind it is no part of the match."""
        state = 0, self._emissions.start(prompt)
        if state not in self._before:
            self._measure(state)
        return state

    def distance(self, state: State) -> int:
        """Return how many ids a match is away."""
        return int(self._distances[state])

    def allowed(self, state: State, room: int) -> Tensor:
        """Return the ids after which a match is possible within `room` ids."""
        return torch.from_numpy(self._distances[self._moves(state)] < room)

    def follow(self, state: State, id: int) -> State:
        """Return the state after an allowed id."""
        reached, written = self._moves(state)
        return int(reached[id]), int(written[id])

    def _compute_moves(self, state: State) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return for each id the state that follows, in two parts of (V,); -1 for none."""
        q, written = state
        reached, following = self._reach(written, np.array([q]))
        return reached[0], np.where(reached[0] < 0, -1, following)

    def _reach(
        self, written: int, states: NDArray[Any]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the automaton's states (Q, V) after each id from `states` (Q,), -1 for none.

        The second result is the emissions' states (V,).
        """
        if written not in self._heads:
            texts, following = self._emissions.after(written)
            self._heads[written] = self._encode(texts), np.append(following, -1)
        codes, following = self._heads[written]
        head_of = self._emissions.head_of
        start = np.repeat(states[:, None].astype(np.int32), len(codes[0]), axis=1)
        reached = self._walk(start, codes)[:, head_of]
        reached[:, head_of < 0] = -1
        return self._walk(reached, self._rests), following[head_of]

    def _walk(self, reached: NDArray[np.int32], codes: Codes) -> NDArray[np.int32]:
        """Follow texts (N) from states (Q, N); return the states (Q, N) at their ends."""
        characters, lengths = codes
        for column in range(characters.shape[1]):
            longer = np.flatnonzero(lengths > column)
            reached[:, longer] = self._table[reached[:, longer], characters[longer, column]]
        return reached

    def _encode(self, texts: Sequence[str]) -> Codes:
        lengths = np.array([len(text) for text in texts])
        characters = np.zeros((len(texts), int(lengths.max())), dtype=np.int32)
        for row, text in zip(characters, texts, strict=True):
            row[: len(text)] = [self._codes[character] for character in text]
        return characters, lengths

    def _measure(self, start: State) -> None:
        """Compute the distance of every state that follows from `start`."""
        before = self._before
        before[start] = set()
        layer = [start]
        while layer:
            following: list[State] = []
            for written in sorted({h for _, h in layer}):
                states = [q for q, h in layer if h == written]
                for i in range(0, len(states), _TOGETHER):
                    some = states[i : i + _TOGETHER]
                    reached, after = self._reach(written, np.array(some))
                    for q, row in zip(some, reached, strict=True):
                        seen = np.zeros((len(self._table), int(after.max()) + 1), dtype=bool)
                        seen[row[row >= 0], after[row >= 0]] = True
                        for row_, column in np.argwhere(seen).tolist():
                            other = row_, column
                            if other not in before:
                                before[other] = set()
                                following.append(other)
                            before[other].add((q, written))
            layer = following
        # the last row and column are those of -1, from which nothing is reached
        self._distances = np.full((len(self._table), max(h for _, h in before) + 2), NEVER)
        ends = [state for state in before if self._is_final(state)]
        for state in ends:
            self._distances[state] = 0
        queue = deque(ends)
        while queue:
            state = queue.popleft()
            for other in before[state]:
                if self._distances[other] == NEVER:
                    self._distances[other] = self._distances[state] + 1
                    queue.append(other)
        if self._distances[start] == NEVER:
            raise InputError(_unmatched(self.pattern))

    def _is_final(self, state: State) -> bool:
        q, written = state
        for character in self._emissions.rest(written):
            q = self._table[q, self._codes[character]]
        return bool(self._final[q])


@functools.lru_cache(maxsize=8)
def regex_constraint(pattern: str, tokenizer: Tokenizer, size: int) -> Regex:
    """Return the automaton, made once for requests alike; `size` tells if tokens were added."""
    plain = pattern.removeprefix("^")
    if plain.endswith("$") and not plain.endswith("\\$"):
        plain = plain[:-1]
    lower = re.sub(
        r"\\p\{\w+\}|\\.|\(\?P?<\w+>|[A-Z]",
        lambda m: m[0].lower() if len(m[0]) == 1 else m[0],
        plain,
    )
    if lower != plain:
        note = f"the model writes lower case, so the regular expression is taken as {lower!r}"
        warnings.warn(note, Note, stacklevel=2)
    return Regex(lower, tokenizer)


def _automaton(
    pattern: str, characters: Sequence[str]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return transitions (Q + 1, characters) and which states are final; 0 is the first.

    -1 means none; that is the last row, from which there is no way out.
    """
    try:
        from outlines_core import Index, Vocabulary
    except ImportError:
        raise InputError(
            "regex needs outlines-core, which is not installed: pip install 'gpt1[regex]'"
        ) from None
    vocabulary = Vocabulary(len(characters), {c: [i] for i, c in enumerate(characters)})
    try:
        index = Index(pattern, vocabulary)
    except ValueError as error:
        if "incompatible" in str(error):
            raise InputError(_unmatched(pattern)) from None
        raise InputError(
            f"regex is {pattern!r}, which outlines-core cannot compile: {error}. It takes neither "
            f"look-around, nor back-references, nor \\b."
        ) from None
    transitions = index.get_transitions()
    first = index.get_initial_state()
    targets = {t for row in transitions.values() for t in row.values()}
    states = [first, *sorted({*transitions, *targets, *index.get_final_states()} - {first})]
    number = {state: i for i, state in enumerate(states)}
    table = np.full((len(states) + 1, len(characters)), -1, dtype=np.int32)
    for state, row in transitions.items():
        for code, target in row.items():
            if code < len(characters):  # the others are its own end mark
                table[number[state], code] = number[target]
    final = np.zeros(len(states) + 1, dtype=bool)
    final[[number[state] for state in index.get_final_states()]] = True
    return table, final


def _unmatched(pattern: str) -> str:
    return (
        f"regex is {pattern!r}; the model can write no text that matches it. Its vocabulary is in "
        f"lower case and lacks some characters."
    )
