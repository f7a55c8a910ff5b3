"""The cache that makes exact words fast: what each white-space chunk comes to.

Text repeats its chunks, so almost all work is `str.split` and dict look-ups. Chunks whose words
depend on their line are never in the cache; nor are very long ones, so its memory is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
        self._marks = marks
        self._limit = limit
        self._cache = dict(marks)

    def __call__(self, text: str) -> list[T]:
        """Return the items of `text`, in order. Raises InputError as `Words.lines`."""
        items: list[T] = []
        for line in self._words.lines(text):
            done = len(items)
            try:
                items.extend(chain.from_iterable(map(self._cache.__getitem__, line)))
            except KeyError:
                del items[done:]
                items.extend(self._new_line(line))
        return items

    def _new_line(self, line: Sequence[str]) -> list[T]:
        if len(self._cache) >= self._limit:
            self._cache = dict(self._marks)
        cache = self._cache
        long: dict[str, tuple[T, ...]] = {}
        for chunk in set(line).difference(cache):
            words = self._words.chunk(chunk)
            if words is None:
                return list(chain.from_iterable(map(self._of_word, self._words.line(line))))
            into = cache if len(chunk) <= LONGEST_CACHED else long
            into[chunk] = tuple(chain.from_iterable(map(self._of_word, words)))
        found = {chunk: cache[chunk] for chunk in line if chunk in cache} | long if long else cache
        return list(chain.from_iterable(map(found.__getitem__, line)))
