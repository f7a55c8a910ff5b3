"""The paper's input transformations: texts as ids -> the sequences the model reads (spec 5).

All have one signature, so that a kind of task can name the one it uses; only a choice has a
`question`.

    classification  start text extract
    entailment      start premise delimiter hypothesis extract
    similarity      start a delimiter b extract, start b delimiter a extract   states are added
    choice          start context question delimiter answer extract            one an answer

What is too long is truncated by these rules (spec 5.3; the paper gives none). R is the room that
n_ctx leaves beside the special tokens:

* a single text keeps its first R ids;
* of a pair each keeps its first R / 2, or, if one side is shorter, the other takes what is left;
* of a choice the answer and the question stay whole and the context keeps its first ids; an answer
  of more than R / 2 keeps its first R / 2, a question what the answer leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gpt1.errors import ConfigError, InputError
from gpt1.tasks.spec import SPECIAL
from gpt1.text.tokenizer import Tokenizer

SHORTEST = 16
"""The fewest positions that a model must have: with fewer, hardly any text is left."""

Ids = Sequence[int]
Sequences = tuple[list[list[int]], bool]
"""An example's sequences, and whether any is truncated."""


class Special(NamedTuple):
    """The ids of the three special tokens."""

    start: int
    delimiter: int
    extract: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Special:
        """Find them by name. Raises InputError if the tokenizer has none."""
        if not set(SPECIAL) <= set(tokenizer.added):
            raise InputError(
                f"the tokenizer has no tokens {', '.join(SPECIAL)}; a model gets them when it is "
                f"fine-tuned on a task. Fine-tune it first: gpt1 finetune --task ..."
            )
        return cls(*(tokenizer.added[name] for name in SPECIAL))


def single(texts: Sequence[Ids], special: Special, n_ctx: int, *, question: Ids = ()) -> Sequences:
    """Return [start text extract], at most n_ctx ids, and whether the text is truncated.

    Raises ConfigError for a model of fewer than 16 positions, as do the other transformations.
    """
    (text,) = texts
    start = text[: _check(n_ctx) - 2]
    return [[special.start, *start, special.extract]], len(start) < len(text)


def pair(texts: Sequence[Ids], special: Special, n_ctx: int, *, question: Ids = ()) -> Sequences:
    """Return [start first delimiter second extract] and whether it is truncated.

    >>> pair([[5, 6], [7]], Special(40, 41, 42), 16)
    ([[40, 5, 6, 41, 7, 42]], False)
    """
    first, second = texts
    room = _check(n_ctx) - 3
    a = first[: max(room // 2, room - len(second))]
    b = second[: max(room // 2, room - len(first))]
    truncated = len(a) + len(b) < len(first) + len(second)
    return [[special.start, *a, special.delimiter, *b, special.extract]], truncated


def both_orders(
    texts: Sequence[Ids], special: Special, n_ctx: int, *, question: Ids = ()
) -> Sequences:
    """Return the two sequences of a pair in no order, and whether they are truncated."""
    rows, truncated = pair(texts, special, n_ctx)
    rows += pair(texts[::-1], special, n_ctx)[0]
    return sorted(rows), truncated  # (a, b) and (b, a) are the same input to the last bit


def choices(texts: Sequence[Ids], special: Special, n_ctx: int, *, question: Ids = ()) -> Sequences:
    """Return [start context question delimiter answer extract] for each answer.

    And whether any is truncated.
    """
    context, *answers = texts
    room = _check(n_ctx) - 3
    rows, truncated = [], False
    for answer in answers:
        a = answer[: max(room // 2, room - len(question) - len(context))]
        q = question[: room - len(a)]
        z = context[: room - len(a) - len(q)]
        rows.append([special.start, *z, *q, special.delimiter, *a, special.extract])
        truncated |= len(a) + len(q) + len(z) < len(answer) + len(question) + len(context)
    return rows, truncated


def sentence(
    texts: Sequence[Ids], special: Special, n_ctx: int, *, question: Ids = ()
) -> Sequences:
    """Return [start words extract] and whether the last words are left out for want of room.

    A first word that is longer than the window keeps as many ids as there is room for.
    """
    room = _check(n_ctx) - 2
    ids: list[int] = []
    for word in texts:
        if len(ids) + len(word) > room:
            ids = ids or list(word[:room])
            break
        ids += word
    return [[special.start, *ids, special.extract]], len(ids) < sum(map(len, texts))


def _check(n_ctx: int) -> int:
    if n_ctx < SHORTEST:
        raise ConfigError(
            f"the model has {n_ctx} positions; a task needs {SHORTEST}. Take a larger model."
        )
    return n_ctx
