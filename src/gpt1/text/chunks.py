"""The cache that makes exact words fast: what each white-space chunk comes to.

Text repeats its chunks, so almost all work is `str.split` and dict look-ups. Chunks whose words
depend on their line are never in the cache; nor are very long ones, so its memory is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Generic, TypeVar

from gpt1.text.words import Words

T = TypeVar("T")

LONGEST_CACHED = 64
"""Characters: longer chunks and words are worked out each time."""


class ChunkCache(Generic[T]):
    """Turn text into items (ids, or words themselves), chunk by chunk.

    `of_word` gives the items of a lower-case word, `marks` those of the two marks of `words`.
    The cache is emptied when it holds `limit` chunks (2^19 take some 100 MB).
    """

    def __init__(
        self,
        words: Words,
        of_word: Callable[[str], tuple[T, ...]],
        marks: Mapping[str, tuple[T, ...]],
        *,
        limit: int = 1 << 19,
    ) -> None:
        self._words = words
        self._of_word = of_word
        self._cache = _Cache(words, of_word, marks, limit)

    def __call__(self, text: str) -> list[T]:
        """Return the items of `text`, in order. Raises InputError as `Words.lines`."""
        items: list[T] = []
        get = self._cache.__getitem__
        for line in self._words.lines(text):
            done = len(items)
            try:
                items.extend(chain.from_iterable(map(get, line)))
            except _DependsOnLineError:
                del items[done:]
                for word in self._words.line(line):
                    items.extend(self._of_word(word))
        return items


class _DependsOnLineError(Exception):
    """A chunk has no words of its own."""


class _Cache(dict[str, tuple[T, ...]]):
    """Chunk -> items, worked out when first asked for."""

    def __init__(
        self,
        words: Words,
        of_word: Callable[[str], tuple[T, ...]],
        marks: Mapping[str, tuple[T, ...]],
        limit: int,
    ) -> None:
        super().__init__()
        self._words, self._of_word, self._marks, self.limit = words, of_word, marks, limit

    def __missing__(self, chunk: str) -> tuple[T, ...]:
        items = self._marks.get(chunk)
        if items is None:
            words = self._words.chunk(chunk)
            if words is None:
                raise _DependsOnLineError
            if len(words) == 1:
                items = self._of_word(words[0])
            else:
                items = tuple(chain.from_iterable(map(self._of_word, words)))
        if len(self) >= self.limit:
            self.clear()
        if len(chunk) <= LONGEST_CACHED:
            self[chunk] = items
        return items
