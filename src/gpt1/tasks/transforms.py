"""The paper's input transformations: texts as ids -> the sequences the model reads (spec 5).

    classification  start text extract
    entailment      start premise delimiter hypothesis extract
    similarity      start a delimiter b extract, start b delimiter a extract   states are added
    choice          start context question delimiter answer extract            one an answer

What is too long is cut by these rules (spec 5.3; the paper tells none). R is what n_ctx leaves
beside the special tokens:

* a single text keeps its first R ids;
* of a pair each keeps its first R / 2, or, if one side is shorter, the other takes what is left;
* of a choice the answer and the question stay whole and the context keeps its first ids; an answer
  of more than R / 2 keeps its first R / 2, a question what the answer leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpt1.errors import ConfigError, InputError
from gpt1.tasks.spec import SPECIAL
from gpt1.text.tokenizer import Tokenizer

SHORTEST = 16
"""Positions a model needs for a task: with fewer, hardly any text is left."""

Ids = Sequence[int]


@dataclass(frozen=True)
class Special:
    """The ids of the three special tokens, found by name."""

    start: int
    delimiter: int
    extract: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Special:
        """Find them. Raises InputError if the tokenizer has none."""
        ids = [tokenizer.added.get(name) for name in SPECIAL]
        start, delimiter, extract = ids
        if start is None or delimiter is None or extract is None:
            raise InputError(
                f"the tokenizer has no tokens {', '.join(SPECIAL)}; a model gets them when it is "
                f"fine-tuned on a task. Fine-tune it first: gpt1 finetune --task ..."
            )
        return cls(start, delimiter, extract)


def single(text: Ids, special: Special, n_ctx: int) -> tuple[list[list[int]], bool]:
    """Return [start text extract], at most n_ctx ids, and whether the text is truncated.

    Raises ConfigError for a model of fewer than 16 positions, as do the other transformations.
    """
    kept = text[: _check(n_ctx) - 2]
    return [[special.start, *kept, special.extract]], len(kept) < len(text)


def pair(first: Ids, second: Ids, special: Special, n_ctx: int) -> tuple[list[list[int]], bool]:
    """Return [start first delimiter second extract] and whether it is truncated.

    >>> pair([5, 6], [7], Special(40, 41, 42), 16)
    ([[40, 5, 6, 41, 7, 42]], False)
    """
    a, b = _truncate_pair(first, second, _check(n_ctx) - 3)
    truncated = len(a) + len(b) < len(first) + len(second)
    return [[special.start, *a, special.delimiter, *b, special.extract]], truncated


def both_orders(
    first: Ids, second: Ids, special: Special, n_ctx: int
) -> tuple[list[list[int]], bool]:
    """Return the two sequences of a pair in no order, and whether they are truncated."""
    a, b = _truncate_pair(first, second, _check(n_ctx) - 3)
    start, delimiter, extract = special.start, special.delimiter, special.extract
    rows = [[start, *a, delimiter, *b, extract], [start, *b, delimiter, *a, extract]]
    rows.sort()  # so that (a, b) and (b, a) are the same input to the last bit
    return rows, len(a) + len(b) < len(first) + len(second)


def choices(
    context: Ids, question: Ids, answers: Sequence[Ids], special: Special, n_ctx: int
) -> tuple[list[list[int]], bool]:
    """Return [start context question delimiter answer extract] for each answer.

    And whether any is truncated.
    """
    room = _check(n_ctx) - 3
    rows, truncated = [], False
    for answer in answers:
        a = answer[: max(room // 2, room - len(question) - len(context))]
        q = question[: room - len(a)]
        z = context[: room - len(a) - len(q)]
        rows.append([special.start, *z, *q, special.delimiter, *a, special.extract])
        truncated |= len(a) + len(q) + len(z) < len(answer) + len(question) + len(context)
    return rows, truncated


def words_in_a_row(
    words: Sequence[Ids], special: Special, n_ctx: int
) -> tuple[list[list[int]], bool]:
    """Return [start words extract] and whether words are left out: all from the first too many.

    Of a first word that is longer than the window, as many ids as there is room for are kept.
    """
    room = _check(n_ctx) - 2
    kept: list[int] = []
    for word in words:
        if len(kept) + len(word) > room:
            kept = kept or list(word[:room])
            break
        kept += word
    return [[special.start, *kept, special.extract]], len(kept) < sum(map(len, words))


def _truncate_pair(first: Ids, second: Ids, room: int) -> tuple[Ids, Ids]:
    half = room // 2
    return first[: max(half, room - len(second))], second[: max(half, room - len(first))]


def _check(n_ctx: int) -> int:
    if n_ctx < SHORTEST:
        raise ConfigError(
            f"the model has {n_ctx} positions; a task needs {SHORTEST}. Take a larger model."
        )
    return n_ctx
