"""The cache that makes exact words fast: the ids of each white-space chunk.

Text repeats its chunks, so almost all the work is `str.split` and dict look-ups. Chunks whose words
depend on their line are never cached, nor are very long ones, so the memory is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TypeVar

from gpt1.text.pre_tokenizers import PreTokenizer

T = TypeVar("T")

LONGEST_CACHED = 64
"""In characters; longer chunks and words are not cached."""


class ChunkCache(dict[str, tuple[T, ...]]):
    """Map each chunk to its items: ids, or the words themselves.

    `of_word` returns the items of a lower-case word, `marks` holds those of the two marks of
    `pre_tokenizers`. The cache is emptied when it holds `limit` chunks (2^19 take some 100 MB).
    Threads share it without a lock: what is found for a chunk depends on nothing but the chunk.
    """

    def __init__(
        self,
        pre_tokenizer: PreTokenizer,
        of_word: Callable[[str], tuple[T, ...]],
        marks: Mapping[str, tuple[T, ...]],
    ) -> None:
        super().__init__()
        self._pre_tokenizer, self._of_word, self._marks = pre_tokenizer, of_word, marks
        self.limit = 1 << 19

    def __call__(self, text: str) -> list[T]:
        """Return the items of `text`, in order. Raises InputError, see `PreTokenizer`."""
        items: list[T] = []
        get = self.__getitem__
        for line in self._pre_tokenizer.lines(text):
            done = len(items)
            try:
                items.extend(chain.from_iterable(map(get, line)))
            except _DependsOnLineError:
                del items[done:]
                items.extend(self._of_words(self._pre_tokenizer.line(line)))
        return items

    def __missing__(self, chunk: str) -> tuple[T, ...]:
        items = self._marks.get(chunk)
        if items is None:
            words = self._pre_tokenizer.chunk(chunk)
            if words is None:
                raise _DependsOnLineError
            items = self._of_word(words[0]) if len(words) == 1 else tuple(self._of_words(words))
        if len(self) >= self.limit:
            self.clear()
        if len(chunk) <= LONGEST_CACHED:
            self[chunk] = items
        return items

    def _of_words(self, words: Sequence[str]) -> Iterator[T]:
        return chain.from_iterable(map(self._of_word, words))


class _DependsOnLineError(Exception):
    """The words of a chunk depend on the rest of its line."""
