"""How much of what a model writes stands in the texts it was trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Copying:
    """What samples share with the training texts, in words without regard to case and punctuation.

    `longest` is the longest run of words that stands in a training text, `phrase` that run,
    `found` the samples that stand in one whole, of `samples`.
    """

    longest: int
    phrase: str
    found: int
    samples: int

    def __str__(self) -> str:
        return (
            f"copied from the training texts: {self.found} of {self.samples} samples whole "
            f"({self.found / max(1, self.samples):.0%}); the longest shared run is {self.longest} "
            f"words ({self.phrase!r})"
        )


def copied(samples: Sequence[str], texts: Sequence[str]) -> Copying:
    """Compare samples with the training texts.

    >>> copied(["A cat sat down."], ["Then a cat sat!", "It sat down."])
    Copying(longest=3, phrase='a cat sat', found=0, samples=1)
    """
    corpus = "\n".join(_words(text) for text in texts)
    longest, phrase, found = 0, "", 0
    for sample in samples:
        words = _words(sample).split()
        found += bool(words) and _words(sample) in corpus
        for start in range(len(words)):
            while start + longest < len(words):
                run = " ".join(words[start : start + longest + 1])
                if f" {run} " not in corpus:
                    break
                longest, phrase = longest + 1, run
    return Copying(longest, phrase, found, len(samples))


def _words(text: str) -> str:
    words = re.findall(r"\w+", text.lower())
    return f" {' '.join(words)} "
