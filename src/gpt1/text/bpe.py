"""Merge the characters of a word into the vocabulary's tokens (spec 2.3).

The `tokenizers` library merges; the ids of each word are cached here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

from tokenizers.models import BPE as Engine

from gpt1.text.chunks import LONGEST_CACHED
from gpt1.text.pre_tokenizers import UNKNOWN

END = "</w>"
"""Marks the last token of a word."""
NEWLINE = "\n" + END
"""The token of a newline (spec 2.3.5)."""


class BPE:
    """Apply a vocabulary's merges; each character that it lacks becomes an `<unk>`.

    >>> vocab = {"<unk>": 0, "l": 1, "o": 2, "w</w>": 3, "lo": 4, "low</w>": 5}
    >>> bpe = BPE(vocab, [("l", "o"), ("lo", "w</w>")])
    >>> bpe("low"), bpe("lol"), bpe.pieces("o?w")
    ((5,), (4, 0), [(2, 0, 1), (0, 1, 2), (3, 2, 3)])
    """

    def __init__(self, vocab: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> None:
        self._engine = Engine(
            vocab=dict(vocab),
            merges=list(merges),
            unk_token=UNKNOWN,
            end_of_word_suffix=END,
            fuse_unk=False,
            cache_capacity=0,
        )
        self._lengths = {
            id: 1 if token == UNKNOWN else len(token.removesuffix(END))
            for token, id in vocab.items()
        }
        self._cached = lru_cache(1 << 18)(self._merge)

    def __call__(self, word: str) -> tuple[int, ...]:
        """Return the ids of a lower-case word."""
        return self._cached(word) if len(word) <= LONGEST_CACHED else self._merge(word)

    def _merge(self, word: str) -> tuple[int, ...]:
        return tuple(token.id for token in self._engine.tokenize(word))

    def pieces(self, word: str) -> list[tuple[int, int, int]]:
        """Return (id, start, end) of each token of a lower-case word, in characters."""
        pieces: list[tuple[int, int, int]] = []
        start = 0
        for id in self(word):
            end = start + self._lengths[id]
            pieces.append((id, start, end))
            start = end
        return pieces


def merge_steps(
    symbols: Sequence[str], ranks: Mapping[tuple[str, str], int]
) -> list[tuple[str, str, int]]:
    """Return the merges of a word's symbols in their order: left, right, rank (spec 2.3).

    >>> merge_steps(["l", "o", "w</w>"], {("l", "o"): 0, ("lo", "w</w>"): 1})
    [('l', 'o', 0), ('lo', 'w</w>', 1)]
    """
    word, steps = list(symbols), []
    while pairs := [(ranks[pair], i) for i, pair in enumerate(pairwise(word)) if pair in ranks]:
        rank, i = min(pairs)
        steps.append((word[i], word[i + 1], rank))
        word[i : i + 2] = [word[i] + word[i + 1]]
    return steps
