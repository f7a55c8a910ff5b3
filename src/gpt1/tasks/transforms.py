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
from gpt1.tasks.spec import SPECIAL, Kind
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


def sequences(
    kind: Kind, texts: Sequence[Ids], special: Special, n_ctx: int, *, question: Ids = ()
) -> tuple[list[list[int]], bool]:
    """Return an example's sequences, each at most n_ctx ids, and whether something was cut.

    Raises ConfigError for a model of fewer than 16 positions.

    >>> sequences("entailment", [[5, 6], [7]], Special(40, 41, 42), 16)
    ([[40, 5, 6, 41, 7, 42]], False)
    """
    if n_ctx < SHORTEST:
        raise ConfigError(
            f"the model has {n_ctx} positions; a task needs {SHORTEST}. Take a larger model."
        )
    start, delimiter, extract = special.start, special.delimiter, special.extract
    if kind == "classification":
        (text,) = texts
        kept = text[: n_ctx - 2]
        return [[start, *kept, extract]], len(kept) < len(text)
    room = n_ctx - 3
    if kind == "choice":
        context, *answers = texts
        rows, cut = [], False
        for answer in answers:
            a = answer[: max(room // 2, room - len(question) - len(context))]
            q = question[: room - len(a)]
            z = context[: room - len(a) - len(q)]
            rows.append([start, *z, *q, delimiter, *a, extract])
            cut |= len(a) + len(q) + len(z) < len(answer) + len(question) + len(context)
        return rows, cut
    first, second = texts
    half = room // 2
    a = first[: max(half, room - len(second))]
    b = second[: max(half, room - len(first))]
    cut = len(a) + len(b) < len(first) + len(second)
    rows = [[start, *a, delimiter, *b, extract]]
    if kind != "entailment":
        rows.append([start, *b, delimiter, *a, extract])
        rows.sort()  # so that (a, b) and (b, a) are the same input to the last bit
    return rows, cut
