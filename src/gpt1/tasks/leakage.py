"""How many test rows a training set holds already, and held-out rows that it does not hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gpt1.data.splits import split_validation
from gpt1.tasks.kinds import KINDS
from gpt1.tasks.spec import Example

GRAM = 13
"""How many words in a row count as overlap, as is usual for language models."""
LEAST_HELD_OUT = 20
"""The fewest texts to hold out; fewer cannot tell which model is better."""
LISTED = 10
"""How many rows a message names at most."""
_BLOCK = 4_096  # examples hashed at a time: bounds the memory


@dataclass(frozen=True)
class Leakage:
    """Test rows that occur in training as a whole (`exact`), or share 13 words in a row with it.

    rows: how many test rows there are; listing: the indices of the first ten that are either.
    """

    exact: int
    overlapping: int
    rows: int
    listing: tuple[int, ...] = ()

    def __str__(self) -> str:
        first = f" (first rows: {', '.join(map(str, self.listing))})" if self.listing else ""
        return (
            f"of {self.rows:,} test row{'s' * (self.rows != 1)} {self.exact:,} occur in training "
            f"and {self.overlapping:,} share a run of {GRAM} words with it{first}"
        )


def leakage(
    train: Sequence[Example], test: Sequence[Example], kind: str = "classification"
) -> Leakage:
    """Return how many test examples occur in training; case, white space and labels do not count.

    The two texts of a similarity or regression are the same in either order.

    >>> print(leakage([Example(("One  day", "A night"))], [Example(("a night", "one day"))],
    ...     "similarity"))
    of 1 test row 1 occur in training and 0 share a run of 13 words with it (first rows: 0)
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
    return Leakage(int(exact.sum()), int(overlapping.sum()), len(test), tuple(listing))


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
    """Split examples into (training, validation); equal texts are never in both.

    `share` is that of the different texts. Case, white space and, for similarity and regression,
    the order of the two texts do not count; every class stays among the training rows. Nothing is
    held out where that would be fewer than 20 texts.

    >>> examples = [Example((f"{text} {n}",), 0) for n in range(100) for text in ("a", "A ", "b")]
    >>> training, validation = hold_out(examples, 0.3, seed=0)
    >>> len(training) + len(validation), len({e.texts[0].casefold() for e in validation}) >= 60
    (300, True)
    >>> len(hold_out(examples, 0.05, seed=0)[1])
    0
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, example in enumerate(examples):
        groups.setdefault(KINDS[kind].identity(example), []).append(i)
    members = list(groups.values())
    if round(len(members) * share) < LEAST_HELD_OUT:
        return list(examples), []
    chosen, held = split_validation(len(members), share, seed)
    # a class that no training row has cannot be validated
    classes = [set(KINDS[kind].classes_of(example)) for example in examples]
    taught = {name for group in chosen for i in members[group] for name in classes[i]}
    held = [g for g in held if all(classes[i] <= taught for i in members[g])]
    validation = sorted(i for group in held for i in members[group])
    training = sorted(set(range(len(examples))) - set(validation))
    return [examples[i] for i in training], [examples[i] for i in validation]
