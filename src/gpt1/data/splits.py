"""Hold out a share of the samples for validation; pure functions of the seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gpt1.errors import DataError


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
            f"there {'is' if n == 1 else 'are'} {n} text{'s' * (n != 1)}; a validation share of "
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


def split_texts(texts: Sequence[str], share: float, seed: int) -> Split:
    """Hold out a share of the texts; exact duplicates are left out first, so that none is in both.

    Without a share all texts are for training, duplicates too. Raises DataError.
    """
    if not share:
        return Split(list(texts), [], 0)
    unique = list(dict.fromkeys(texts))
    training, validation = split_validation(len(unique), share, seed)
    duplicates = len(texts) - len(unique)
    return Split([unique[i] for i in training], [unique[i] for i in validation], duplicates)
