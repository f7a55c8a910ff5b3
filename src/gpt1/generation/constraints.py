"""What a completion must be: a choice, a match of a regular expression, a text with some phrases.

A constraint is an automaton: from a state, an id leads to another. It knows how few ids it takes
from a state to a text that may end, so it never begins what the limit would cut off. Where the text
may end and may also go on, the model decides: the text ends as soon as it chooses an id that the
constraint does not allow.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from gpt1.config import SamplingConfig
from gpt1.errors import InputError, Note
from gpt1.generation.regex import NEVER, regex_constraint
from gpt1.text.bpe import END
from gpt1.text.tokenizer import Tokenizer

State = Any


class Constraint(Protocol):
    """An automaton over ids. States can be compared and are never changed."""

    def start(self, prompt: Sequence[int]) -> State:
        """Return the state right after the prompt."""

    def distance(self, state: State) -> int:
        """Return how many further ids it takes at least until the text may end."""

    def allowed(self, state: State, room: int) -> Tensor:
        """Return the next ids, boolean (V,), after which the text may end within `room` ids."""

    def follow(self, state: State, id: int) -> State:
        """Return the state after an allowed id."""


def make_constraint(sampling: SamplingConfig, tokenizer: Tokenizer) -> Constraint | None:
    """Return the constraint that `sampling` asks for. Raises InputError if none can fulfil it."""
    if sampling.choices:
        return Choices(
            [_ids_of(text, tokenizer, "choices") for text in sampling.choices], tokenizer
        )
    if sampling.force_words:
        return ForceWords(sampling.force_words, tokenizer)
    if sampling.regex is not None:
        return regex_constraint(sampling.regex, tokenizer, len(tokenizer))
    return None


class Choices:
    """One of several texts, as a trie of their ids."""

    def __init__(self, choices: Sequence[Sequence[int]], tokenizer: Tokenizer) -> None:
        self._size = len(tokenizer)
        self._next: dict[tuple[int, ...], set[int]] = {}
        self._distance: dict[tuple[int, ...], int] = {}
        for ids in map(tuple, choices):
            for i in range(len(ids) + 1):
                nearest = min(len(ids) - i, self._distance.get(ids[:i], NEVER))
                self._distance[ids[:i]] = nearest
                self._next.setdefault(ids[:i], set()).update(ids[i : i + 1])

    def start(self, prompt: Sequence[int]) -> State:
        """Return the root."""
        return ()

    def distance(self, state: State) -> int:
        """Return the length of the shortest rest of a choice."""
        return self._distance[state]

    def allowed(self, state: State, room: int) -> Tensor:
        """Return the ids that lead to a choice within `room` ids."""
        ids = [i for i in self._next[state] if self._distance[*state, i] < room]
        return _mask(self._size, ids)

    def follow(self, state: State, id: int) -> State:
        """Return the ids so far."""
        return (*state, id)


class ForceWords:
    """A text that contains some words or phrases, each begun at the start of a word.

    Once the model chooses the first id of a phrase, the rest of it follows. What is still missing
    when only the room for it is left is written then.
    """

    def __init__(self, phrases: Sequence[str], tokenizer: Tokenizer) -> None:
        self._phrases = [tuple(_ids_of(text, tokenizer, "force_words")) for text in phrases]
        self._tokenizer = tokenizer
        for text, ids in zip(phrases, self._phrases, strict=True):
            word = tokenizer.encode("a")
            if tokenizer.decode(ids) not in tokenizer.decode([*word, *ids, *word]):
                raise InputError(
                    f"force_words holds {text!r}, whose marks are joined to the words around it. "
                    f"Give the words alone."
                )
        tokens = tokenizer.tokens(range(len(tokenizer)))
        self._plain = torch.ones(len(tokens), dtype=torch.bool)  # no added token
        self._plain[len(tokenizer.vocabulary.tokens) :] = False
        self._ends = self._plain & torch.tensor([token.endswith(END) for token in tokens])

    def start(self, prompt: Sequence[int]) -> State:
        """Return (missing phrases, the rest of the one begun, whether a word may begin)."""
        return tuple(range(len(self._phrases))), (), self._is_end(prompt[-1])

    def distance(self, state: State) -> int:
        """Return the ids of what is missing, and one to end the word before it."""
        missing, rest, boundary = state
        ids = len(rest) + sum(len(self._phrases[i]) for i in missing)
        return ids + bool(missing and not rest and not boundary)

    def allowed(self, state: State, room: int) -> Tensor:
        """Return the ids that leave room for what is missing."""
        missing, rest, boundary = state
        if rest:
            return _mask(len(self._plain), [rest[0]])
        if not missing:
            return torch.ones_like(self._plain)
        spare = room - self.distance((missing, (), True))
        found = self._plain if spare > 1 else self._ends if spare == 1 else ~self._plain & False
        if boundary:
            found = found | _mask(len(self._plain), [self._phrases[i][0] for i in missing])
        return found

    def follow(self, state: State, id: int) -> State:
        """Return the state after an id, which may begin a phrase or go on with it."""
        missing, rest, boundary = state
        if not rest and boundary:
            begun = next((i for i in missing if self._phrases[i][0] == id), None)
            if begun is not None:
                missing = tuple(i for i in missing if i != begun)
                rest = self._phrases[begun]
        return missing, rest[1:], self._is_end(id)

    def _is_end(self, id: int) -> bool:
        return self._tokenizer.id_to_token(id).endswith(END)


def _ids_of(text: str, tokenizer: Tokenizer, name: str) -> list[int]:
    """Return the ids of a text that is to be written; a Note says if it is written differently."""
    ids = tokenizer.encode(text)
    if not ids or tokenizer.unknown_id in ids:
        raise InputError(
            f"{name} holds {text!r}, which the vocabulary lacks, so the model cannot write it. "
            f"Leave it out."
        )
    if (written := tokenizer.decode(ids)) != text:
        warnings.warn(f"{text!r} is {written!r} as the model writes it", Note, stacklevel=2)
    return ids


def _mask(size: int, ids: Sequence[int]) -> Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[torch.tensor(ids, dtype=torch.int64)] = True
    return mask
