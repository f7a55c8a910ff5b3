"""Learn the merges of a vocabulary of one's own (spec 2.8; Sennrich et al. 2016).

The most frequent pair of neighbours is merged everywhere, again and again. Of several pairs equally
frequent the lexicographically largest is taken, as Sennrich's own tool did. Pairs are counted once;
after a merge only the words that hold it are looked at again. A pair that would spell a token made
before ("ab" + "c" after "a" + "bc") is passed over, so that every merge adds one token.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

from gpt1.errors import InputError
from gpt1.text.bpe import END, NEWLINE
from gpt1.text.chunks import ChunkCache
from gpt1.text.vocabulary import Merge, Vocabulary
from gpt1.text.words import (
    NEWLINE_CHUNK,
    UNKNOWN,
    UNKNOWN_CHUNK,
    WordsMode,
    check_text,
    make_words,
)

Progress = Callable[[int, int], None]
"""Called with (merges learnt, merges wanted)."""


def learn(
    counts: Mapping[str, int],
    vocab_size: int,
    *,
    min_count: int = 2,
    progress: Progress | None = None,
) -> Vocabulary:
    """Return a vocabulary of `vocab_size` tokens in all, learnt from words and their counts.

    The ids have the structure of the release's file (spec 2.1.3): `<unk>`, the characters by first
    appearance in the words from the most frequent on (equals in lexicographic order), the same with
    `</w>`, the merges, newline. It stops early when no pair occurs `min_count` times. Raises
    InputError if there are no words, or more characters than `vocab_size` has room for.

    >>> learn({"low": 5, "lower": 2}, 14).tokens[11:]
    ('lo', 'low</w>', '\\n</w>')
    """
    if not counts:
        raise InputError("there are no words in these texts; a vocabulary needs some.")
    words = sorted(counts, key=lambda word: (-counts[word], word))
    characters = list(dict.fromkeys("".join(words)))
    base = [UNKNOWN, *characters, *(character + END for character in characters)]
    wanted = vocab_size - len(base) - 1
    if wanted < 0:
        raise InputError(
            f"vocab_size is {vocab_size}; these texts have {len(characters)} characters, which "
            f"take {len(base) + 1} tokens. Choose a larger vocab_size, or drop rare characters."
        )
    merges = _merges(words, counts, wanted, min_count, progress or (lambda done, total: None))
    tokens = [*base, *(left + right for left, right in merges), NEWLINE]
    return Vocabulary.of({token: id for id, token in enumerate(tokens)}, merges)


def count_words(texts: Iterable[str], words: WordsMode) -> Counter[str]:
    """Return how often each lower-case word occurs in `texts`. Raises InputError."""
    items = ChunkCache(
        make_words(words), lambda word: (word,), {NEWLINE_CHUNK: (), UNKNOWN_CHUNK: ()}
    )
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(items(check_text(text)))
    return counts


class _Largest:
    """A pair that sorts before its lexicographic predecessors, for the heap."""

    __slots__ = ("pair",)

    def __init__(self, pair: Merge) -> None:
        self.pair = pair

    def __lt__(self, other: _Largest) -> bool:
        return self.pair > other.pair


def _merges(
    words: list[str], counts: Mapping[str, int], wanted: int, min_count: int, progress: Progress
) -> list[Merge]:
    symbols = [[*word[:-1], word[-1] + END] for word in words]
    times = [counts[word] for word in words]
    pairs: Counter[Merge] = Counter()
    where: defaultdict[Merge, set[int]] = defaultdict(set)
    for n, word in enumerate(symbols):
        for pair in pairwise(word):
            pairs[pair] += times[n]
            where[pair].add(n)
    heap = [(-count, _Largest(pair)) for pair, count in pairs.items()]
    heapq.heapify(heap)
    merges: list[Merge] = []
    made: set[str] = set()
    while heap and len(merges) < wanted:
        count, largest = heapq.heappop(heap)
        best = largest.pair
        if -count != pairs[best]:  # counted anew since; its true count is in the heap too
            continue
        if -count < min_count:
            break
        if "".join(best) in made:
            continue
        merges.append(best)
        made.add("".join(best))
        progress(len(merges), wanted)
        changes: Counter[Merge] = Counter()
        for n in where.pop(best):
            old = symbols[n]
            new = symbols[n] = _merge(old, best)
            for pair in pairwise(old):
                changes[pair] -= times[n]
            for pair in pairwise(new):
                changes[pair] += times[n]
                where[pair].add(n)
        for pair, change in changes.items():
            if change:
                pairs[pair] += change
                if pairs[pair] > 0:
                    heapq.heappush(heap, (-pairs[pair], _Largest(pair)))
        del pairs[best]
    return merges


def _merge(word: list[str], pair: Merge) -> list[str]:
    """Merge all occurrences of `pair`, from left to right, not overlapping."""
    left, right = pair
    merged: list[str] = []
    n = 0
    while n < len(word):
        if word[n] == left and n + 1 < len(word) and word[n + 1] == right:
            merged.append(left + right)
            n += 2
        else:
            merged.append(word[n])
            n += 1
    return merged
