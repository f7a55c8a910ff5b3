"""Learn the merges of a new vocabulary (spec 2.8; Sennrich et al. 2016).

The most frequent pair of neighbours is merged everywhere, again and again. Ties go to the
lexicographically largest pair, as in Sennrich's own tool. A pair that would spell an existing token
("ab" + "c" after "a" + "bc") is skipped, so that every merge adds a token. Pairs are counted once;
a merge visits only the positions where it occurs, and each visit shortens a word by one symbol, so
the cost is n log n in the characters of the distinct words.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

from gpt1.callbacks import ProgressCallback
from gpt1.errors import InputError, counted
from gpt1.text.bpe import END, NEWLINE
from gpt1.text.chunks import ChunkCache
from gpt1.text.pre_tokenizers import (
    NEWLINE_CHUNK,
    UNKNOWN,
    UNKNOWN_CHUNK,
    WordsMode,
    check_texts,
    make_pre_tokenizer,
)
from gpt1.text.vocabulary import Merge, Vocabulary

Pair = tuple[int, int]
_GAP, _DEAD = -1, -2  # between words; a position merged into the symbol before it


def learn(
    counts: Mapping[str, int],
    vocab_size: int,
    *,
    min_count: int = 2,
    progress: ProgressCallback | None = None,
) -> Vocabulary:
    r"""Learn a vocabulary of `vocab_size` tokens from words and their counts.

    The ids are ordered as in the release's file (spec 2.1.3): `<unk>`, the characters by first
    appearance in the words (the most frequent words first, ties in lexicographic order), the same
    with `</w>`, the merges, newline. Stops early when no pair occurs `min_count` times. Raises
    InputError if there are no words, or more characters than `vocab_size` has room for.

    >>> learn({"low": 5, "lower": 2}, 14).tokens[11:]
    ('lo', 'low</w>', '\n</w>')
    """
    if not counts:
        raise InputError("there are no words in these texts; give texts that have some.")
    words = sorted(counts, key=lambda word: (-counts[word], word))
    characters = list(dict.fromkeys("".join(words)))
    base = [UNKNOWN, *characters, *(character + END for character in characters)]
    wanted = vocab_size - len(base) - 1
    if wanted < 0:
        raise InputError(
            f"vocab_size is {vocab_size:,}; it must be at least {len(base) + 1:,} for the "
            f"{counted(len(characters), 'character')} of these texts. Choose a larger vocab_size, "
            f"or remove rare characters."
        )
    corpus = _Corpus(words, counts)
    merges = _merges(corpus, wanted, min_count, progress or (lambda done, total: None))
    tokens = [*base, *(left + right for left, right in merges), NEWLINE]
    return Vocabulary.of({token: id for id, token in enumerate(tokens)}, merges)


def count_words(texts: Iterable[str], words: WordsMode) -> Counter[str]:
    """Return how often each lower-case word occurs in `texts`. Raises InputError."""
    marks: dict[str, tuple[str, ...]] = {NEWLINE_CHUNK: (), UNKNOWN_CHUNK: ()}
    items = ChunkCache(make_pre_tokenizer(words), lambda word: (word,), marks)
    counts: Counter[str] = Counter()
    for text in check_texts(texts):
        counts.update(items(text))
    return counts


class _Corpus:
    """The distinct words as one row of symbols, with the count of every pair of neighbours.

    A position holds the symbol that starts there and the positions of its neighbours; a merge joins
    two symbols in place. Symbols are indices into `texts`; _GAP separates words.
    """

    def __init__(self, words: list[str], counts: Mapping[str, int]) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}
        self.symbols: list[int] = [_GAP]
        self.weights: list[int] = [0]
        for word in words:
            self.symbols += [self.number(character) for character in word[:-1]]
            self.symbols += [self.number(word[-1] + END), _GAP]
            self.weights += [counts[word]] * (len(word) + 1)
        self.after = list(range(1, len(self.symbols) + 1))
        self.before = list(range(-1, len(self.symbols) - 1))
        self.pairs: Counter[Pair] = Counter()
        self.where: defaultdict[Pair, list[int]] = defaultdict(list)
        """The positions where a pair occurs or has occurred."""
        for position, pair in enumerate(pairwise(self.symbols)):
            if _GAP not in pair:
                self.pairs[pair] += self.weights[position]
                self.where[pair].append(position)

    def number(self, text: str) -> int:
        """Return the number of a symbol, a new one if there is none yet."""
        if text not in self._numbers:
            self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return self._numbers[text]

    def merge(self, pair: Pair) -> set[Pair]:
        """Merge all occurrences of `pair`, from left to right; return the pairs that gained."""
        left, right = pair
        new = self.number(self.texts[left] + self.texts[right])
        symbols, after, before = self.symbols, self.after, self.before
        pairs, where = self.pairs, self.where
        gained: set[Pair] = set()

        def gain(pair: Pair, position: int) -> None:
            pairs[pair] += weight
            where[pair].append(position)
            gained.add(pair)

        for position in sorted(where.pop(pair)):
            second = after[position]
            if symbols[position] != left or symbols[second] != right:
                continue  # has been merged
            weight, previous, following = self.weights[position], before[position], after[second]
            symbols[position], symbols[second] = new, _DEAD
            after[position], before[following] = following, position
            if symbols[previous] != _GAP:
                pairs[symbols[previous], left] -= weight
                gain((symbols[previous], new), previous)
            if symbols[following] != _GAP:
                pairs[right, symbols[following]] -= weight
                gain((new, symbols[following]), position)
        del pairs[pair]
        return gained


def _merges(
    corpus: _Corpus, wanted: int, min_count: int, progress: ProgressCallback
) -> list[Merge]:
    keys: dict[int, tuple[int, ...]] = {}  # sort the largest text first

    def entry(pair: Pair) -> tuple[int, tuple[int, ...], tuple[int, ...], Pair]:
        for symbol in pair:
            if symbol not in keys:
                keys[symbol] = (*(-ord(character) for character in corpus.texts[symbol]), 1)
        return -corpus.pairs[pair], keys[pair[0]], keys[pair[1]], pair

    # A pair that gained is pushed again; one that lost waits with too high a count until it is
    # popped. So the first entry whose count is true is the best pair.
    heap = [entry(pair) for pair in corpus.pairs]
    heapq.heapify(heap)
    merges: list[Merge] = []
    merged: set[str] = set()
    while heap and len(merges) < wanted:
        negative, _, _, pair = heapq.heappop(heap)
        count = corpus.pairs.get(pair, 0)
        if count != -negative:
            if 0 < count < -negative:
                heapq.heappush(heap, entry(pair))
            continue
        if count < min_count:
            break
        left, right = corpus.texts[pair[0]], corpus.texts[pair[1]]
        if left + right in merged:
            continue
        merges.append((left, right))
        merged.add(left + right)
        progress(len(merges), wanted)
        for gained in corpus.merge(pair):
            heapq.heappush(heap, entry(gained))
    return merges
