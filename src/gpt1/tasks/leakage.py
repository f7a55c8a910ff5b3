"""How many test rows a training set holds already, and held-out rows that it does not hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from gpt1.errors import counted
from gpt1.tasks.kinds import KINDS
from gpt1.tasks.spec import Example

GRAM = 13
"""How many words in a row count as overlap, as is usual for language models."""
LISTED = 10
"""How many rows a message names at most."""
LEAST_HELD_OUT = 20
"""Rows: where the share comes to fewer, nothing is held out."""
_LEAST_WORDS = 3  # a shorter text, such as an answer "yes", is no sign that rows belong together
_RARE = 4  # rows of a class, one of which is held out at least
_BINS = 5  # of the labels of a regression
_BLOCK = 4_096  # examples hashed at a time: bounds the memory


@dataclass(frozen=True)
class Leakage:
    """Test rows that occur in training as a whole (`exact`), or share 13 words in a row with it.

    rows: how many test rows there are; listing: the indices of the first ten that are either.
    texts: what a text is called, such as premise -> the test rows that have one which a training
    row has. A row of one text has none, and texts of fewer than three words do not count.
    """

    exact: int
    overlapping: int
    rows: int
    listing: tuple[int, ...] = ()
    texts: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Return whether test rows and training rows have anything in common."""
        return bool(self.exact or self.overlapping or any(self.texts.values()))

    def __str__(self) -> str:
        first = f" (first rows: {', '.join(map(str, self.listing))})" if self.listing else ""
        return (
            f"{self.exact:,} of {counted(self.rows, 'test row')} occur{'s' * (self.exact == 1)} in "
            f"training, {self.overlapping:,} share{'s' * (self.overlapping == 1)} a run of {GRAM} "
            f"words with it{first}{self._shared()}"
        )

    def _shared(self) -> str:
        """Return which single texts both have, "" for rows of one text."""
        counts = [f"a {name} in {count:,}" for name, count in self.texts.items() if count]
        if counts:
            return f"; single texts that training has: {', '.join(counts).replace('a a', 'an a')}"
        return "; no single text is in training too" if self.texts else ""


def leakage(
    train: Sequence[Example], test: Sequence[Example], kind: str = "classification"
) -> Leakage:
    """Return how many test examples occur in training; case, white space and labels do not count.

    The two texts of a similarity or regression are the same in either order.

    >>> print(leakage([Example(("One  day", "A night"))], [Example(("a night", "one day"))],
    ...     "similarity"))
    1 of 1 test row occurs in training, 0 share a run of 13 words with it (first rows: 0)
    """
    identity = KINDS[kind].identity
    known = {identity(example) for example in train}
    exact = np.array([identity(example) in known for example in test], bool)
    numbers: dict[str, int] = {}
    grams = [(np.zeros(0, np.uint64), np.zeros(0, np.int64)), *_grams(test, numbers)]
    hashes, rows = map(np.concatenate, zip(*grams, strict=True))
    order = np.argsort(hashes)
    hashes, rows = hashes[order], rows[order]
    overlapping = np.zeros(len(test), bool)
    for known_hashes, _ in _grams(train, numbers):
        known_hashes.sort()  # look-ups in a sorted list: ten times faster than np.unique and isin
        nearest = np.minimum(np.searchsorted(known_hashes, hashes), len(known_hashes) - 1)
        overlapping[rows[known_hashes[nearest] == hashes]] = True
    listing = np.flatnonzero(exact | overlapping)[:LISTED].tolist()
    texts = _shared_texts(train, test, kind)
    return Leakage(int(exact.sum()), int(overlapping.sum()), len(test), tuple(listing), texts)


def _shared_texts(train: Sequence[Example], test: Sequence[Example], kind: str) -> dict[str, int]:
    """Return how many test rows have a text of each name that a training row has."""
    known = {text for example in train for _, text in _named_texts(example, kind)}
    counts: Counter[str] = Counter()
    for example in test:
        named = _named_texts(example, kind)
        counts.update(dict.fromkeys((name for name, _ in named), 0))
        counts.update({name for name, text in named if text in known})
    order = (*KINDS[kind].text_names, "question")
    return {name: counts[name] for name in order if name in counts}


def _named_texts(example: Example, kind: str) -> list[tuple[str, str]]:
    """Return (name, text) of each text of an example of several; short ones are left out."""
    if len(example.texts) == 1:
        return []
    *names, last = KINDS[kind].text_names
    named = list(zip_longest(names, example.texts, fillvalue=last))
    texts = [(name, _fold(text)) for name, text in [*named, ("question", example.question)]]
    return [(name, text) for name, text in texts if _is_long(text)]


def _grams(
    examples: Sequence[Example], numbers: dict[str, int]
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int64]]]:
    """Yield a hash of each run of words, and the index of the example it is in.

    `numbers` gives each word a number; 64 bits: among ten million runs a false match has odds of
    1 in 100,000.
    """
    powers = np.random.default_rng(13).integers(0, 1 << 63, GRAM, np.int64).astype(np.uint64)
    powers = (powers << np.uint64(1)) | np.uint64(1)

    def number(text: str) -> list[int]:
        return [numbers.setdefault(word, len(numbers) + 1) for word in text.casefold().split()]

    passage = lru_cache(maxsize=1)(number)  # whose questions stand together
    for start in range(0, len(examples), _BLOCK):
        ids: list[int] = []
        lengths: list[int] = []
        for example in examples[start : start + _BLOCK]:  # texts in the order the model reads them
            context, *rest = example.texts
            words = passage(context) + number(" ".join([example.question, *rest]))
            ids += words
            lengths.append(len(words))
        count = len(ids) - GRAM + 1
        if count < 1:
            continue
        # Small numbers are spread over 64 bits first, so that sums of a few do not meet.
        spread = _spread(np.array(ids, np.uint64))
        rows = np.repeat(np.arange(start, start + len(lengths)), lengths)
        hashes = np.zeros(count, np.uint64)
        for i, power in enumerate(powers):
            hashes += spread[i : i + count] * power
        inside = rows[:count] == rows[GRAM - 1 :]
        if inside.any():
            yield hashes[inside], rows[:count][inside]


def _spread(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return well mixed 64-bit numbers for small ones (the finisher of splitmix64)."""
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def hold_out(
    examples: Sequence[Example], share: float, seed: int, kind: str = "classification"
) -> tuple[list[Example], list[Example]]:
    """Split examples into (training, validation), a pure function of the seed.

    Rows that share a text (a premise, a passage, one of a pair) stay together, or the score on the
    rows held out would be that of texts already seen. Where that would hold out too little, as a
    few texts are in most of the rows, rows that share their first text stay together, then their
    second, then only rows that are equal.

    Each class (for a regression, each fifth of the labels) has about `share` of its rows held out:
    one at least if it has four, and never all. Case and white space of texts do not count. Where
    `share` comes to less than 20 rows nothing is held out: they could not tell which model is best.

    >>> examples = [Example((f"text {n}",), int(n < 8)) for n in range(200)]
    >>> training, validation = hold_out(examples, 0.1, seed=0)
    >>> len(training), sum(example.label == 1 for example in validation)
    (180, 1)
    """
    different = len({KINDS[kind].identity(example) for example in examples})
    if round(different * share) < LEAST_HELD_OUT:
        return list(examples), []
    held = rows_held_out(examples, share, seed, kind)
    training = [example for i, example in enumerate(examples) if i not in held]
    return training, [examples[i] for i in sorted(held)]


def rows_held_out(examples: Sequence[Example], share: float, seed: int, kind: str) -> set[int]:
    """Return the indices of the rows that `hold_out` takes, however few they are."""
    classes = _classes(examples, kind)
    held: set[int] = set()
    for keys in _groupings(examples, kind):
        held = _choose(_components(keys), classes, share, seed)
        if len(held) >= round(len(examples) * share) / 2:
            break
    return held


def _groupings(examples: Sequence[Example], kind: str) -> Iterable[list[list[Hashable]]]:
    """Yield ways to say what rows have in common, the strictest first: some keys for each row."""
    identities: list[Hashable] = [KINDS[kind].identity(example) for example in examples]
    texts = [[_fold(text) for text in example.texts] for example in examples]
    count = min(map(len, texts))
    if count > 1:
        long = [list(filter(_is_long, row)) for row in texts]
        yield [[whole, *row] for whole, row in zip(identities, long, strict=True)]
        for i in range(2):
            yield [[whole, row[i]] for whole, row in zip(identities, texts, strict=True)]
    yield [[whole] for whole in identities]


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())


def _is_long(text: str) -> bool:
    return len(text.split()) >= _LEAST_WORDS


def _components(keys: Sequence[Sequence[Hashable]]) -> list[list[int]]:
    """Return the rows that hang together by shared keys (union-find), in order of their first."""
    parent = list(range(len(keys)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[Hashable, int] = {}
    for i, row in enumerate(keys):
        for key in row:
            a, b = root(first.setdefault(key, i)), root(i)
            parent[max(a, b)] = min(a, b)
    groups: dict[int, list[int]] = {}
    for i in range(len(keys)):
        groups.setdefault(root(i), []).append(i)
    return list(groups.values())


def _classes(examples: Sequence[Example], kind: str) -> list[set[Hashable]]:
    """Return the classes of each row; a regression's are the fifths of its labels."""
    classes = [set(KINDS[kind].classes_of(example)) for example in examples]
    if any(classes):
        return classes
    labels = np.array([example.label for example in examples], float)
    edges = np.quantile(labels, np.linspace(0, 1, _BINS + 1)[1:-1])
    return [{int(index)} for index in np.searchsorted(edges, labels)]


def _choose(
    groups: Sequence[Sequence[int]], classes: Sequence[set[Hashable]], share: float, seed: int
) -> set[int]:
    """Return the rows of groups that hold about `share` of each class, the rarest class first."""
    totals = Counter(name for row in classes for name in row)
    quota = {name: int(share * n) for name, n in totals.items()}
    rest = round(share * totals.total()) - sum(quota.values())
    for name in sorted(totals, key=lambda name: quota[name] - share * totals[name])[:rest]:
        quota[name] += 1  # the largest remainders
    rare = {name for name, n in totals.items() if n >= _RARE and not quota[name]}
    if len(rare) <= sum(quota.values()) / 2:  # else there are many small classes
        quota |= dict.fromkeys(rare, 1)
    counts = [Counter(name for i in group for name in classes[i]) for group in groups]
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(groups)).tolist()
    taken: set[int] = set()
    held: Counter[Hashable] = Counter()
    for slack in (1.0, 1.5):  # groups may be larger than what is still missing
        for name in sorted(quota, key=lambda name: (totals[name], str(name))):
            for g in order:
                if held[name] >= quota[name]:
                    break
                if g in taken or name not in counts[g]:
                    continue
                most = {c: min(slack * quota[c], totals[c] - 1) for c in counts[g]}
                if all(held[c] + n <= most[c] for c, n in counts[g].items()):
                    taken.add(g)
                    held += counts[g]
    return {i for g in taken for i in groups[g]}
