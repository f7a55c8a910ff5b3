"""Hold out a share of the samples for validation; pure functions of the seed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gpt1.errors import DataError, counted


def split_validation(n: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Split 0 .. n - 1 into (training, validation), each in order.

    A share above 0 gives at least one of each. Raises DataError when n is too small for that.

    >>> training, validation = split_validation(10, 0.2, seed=0)
    >>> len(training), len(validation), sorted(training + validation) == list(range(10))
    (8, 2, True)
    """
    if not share:
        return list(range(n)), []
    if n < 2:
        raise DataError(
            f"there {'is' if n == 1 else 'are'} {counted(n, 'text')}; a validation share of "
            f"{share} needs two that differ. Give more text, or set data.valid_share=0."
        )
    count = min(max(round(n * share), 1), n - 1)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(n).tolist()
    return sorted(order[count:]), sorted(order[:count])


class Split(NamedTuple):
    """Texts for training and for validation, and how many duplicates were left out."""

    training: list[str]
    validation: list[str]
    duplicates: int
    cut: int = 0
    """How many long texts were cut: their ends are for validation."""


def split_texts(texts: Sequence[str], share: float, seed: int, long: int | None = None) -> Split:
    """Hold out a share of the texts; exact duplicates are left out first, so that none is in both.

    Where the share is less than one text, the ends of those of more than `long` words are held out,
    if there are any: of a book, not all or nothing. Without a share all texts are for training,
    duplicates too. Raises DataError.

    >>> split_texts(["one two three four"], 0.25, 0, long=3)
    Split(training=['one two three'], validation=['four'], duplicates=0, cut=1)
    """
    if not share:
        return Split(list(texts), [], 0)
    unique = list(dict.fromkeys(texts))
    duplicates = len(texts) - len(unique)
    if long is not None and len(unique) * share < 1:
        parts = [_cut(text, share, long) for text in unique]
        ends = [end for _, end in parts if end]
        if ends:
            return Split([start for start, _ in parts], ends, duplicates, len(ends))
    training, validation = split_validation(len(unique), share, seed)
    return Split([unique[i] for i in training], [unique[i] for i in validation], duplicates)


def _cut(text: str, share: float, long: int) -> tuple[str, str]:
    """Return a text without the last share of its words, and these; "" if it is not long."""
    words = list(re.finditer(r"\S+", text))
    if len(words) <= long:
        return text, ""
    start = words[len(words) - max(1, round(share * len(words)))].start()
    return text[:start].rstrip(), text[start:]
