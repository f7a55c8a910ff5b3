"""Entities in sequences of tags: IOB1, IOB2, IOBES and the like, read as conlleval reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from gpt1.tasks.metrics import SumMetric, f1_of_sums

Entity = tuple[str, int, int]
"""(type, first word, word after the last)."""

OUTSIDE = "O"
_SCHEME = re.compile(r"[BIESLUM](-.+)?")
_WORD = re.compile(r"\w+|[^\w\s]")


def entities(tags: Sequence[str]) -> list[Entity]:
    """Return the entities of a sentence, by the rules of conlleval and of seqeval's default mode.

    A tag is a letter and a type. B and S begin an entity, E and S end one, O is none; so does any
    change of type, and I after O, E or S begins one too.

    >>> entities(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
    [('PER', 0, 2), ('LOC', 3, 4), ('LOC', 4, 5)]
    """
    spans: list[Entity] = []
    begin, letter, kind = 0, OUTSIDE, "_"
    for number, tag in enumerate([*tags, OUTSIDE]):
        before, kind_before = letter, kind
        letter, kind = tag[0], tag[1:].split("-", 1)[-1] or "_"
        changes = kind != kind_before
        if (
            before in "ES"
            or (before in "BI" and letter in "BSO")
            or (before not in "O." and changes)
        ):
            spans.append((kind_before, begin, number))
        if (
            letter in "BS"
            or (letter in "EI" and before in "ESO")
            or (letter not in "O." and changes)
        ):
            begin = number
    return spans


def _count_entities(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> NDArray[np.float64]:
    """Return (sentences, 3): entities rightly predicted, those in gold, those in predicted."""
    rows = []
    for sentence in zip(gold, predicted, strict=True):
        g, p = (set(entities(tags)) for tags in sentence)
        rows.append((len(g & p), len(g), len(p)))
    return np.array(rows, np.float64)


entity_f1 = SumMetric(_count_entities, f1_of_sums)
"""The F1 of whole entities, from the tags of sentences."""


def usual_metric(tags: Iterable[str]) -> str:
    """Return "entity_f1" if tags mark entities; else they are, say, parts of speech."""
    marked = all(tag == OUTSIDE or _SCHEME.fullmatch(tag) for tag in tags)
    return "entity_f1" if marked else "token_accuracy"


def split_words(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of each word of a text: letters and digits, or one other character.

    >>> split_words("U.S., no")
    [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 8)]
    """
    return [match.span() for match in _WORD.finditer(text)]


def tags_of_spans(
    words: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int, str]]
) -> list[str]:
    """Return IOB2 tags of words, each tagged if it has a character in common with a span.

    Raises ValueError if a word has characters of two spans.
    """
    tags = [OUTSIDE] * len(words)
    for start, end, label in spans:
        letter = "B"
        for number, (first, last) in enumerate(words):
            if first < end and start < last:
                if tags[number] != OUTSIDE:
                    raise ValueError(f"two spans meet at {max(first, start)}")
                tags[number], letter = f"{letter}-{label}", "I"
    return tags
