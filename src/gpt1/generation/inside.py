"""What happens inside the model as it reads a text: predictions, the logit lens, attention."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt1.errors import InputError
from gpt1.generation.explain import NextToken
from gpt1.generation.sampling import Alternatives, likeliest
from gpt1.generation.scoring import evaluation_mode
from gpt1.model.transformer import Transformer
from gpt1.text.bpe import END
from gpt1.text.tokenizer import Tokenizer

Head = tuple[int, int]
"""A layer and a head of it, both counted from 0."""


_ROWS = 64
"""Positions between two pauses."""


@dataclass(frozen=True)
class ReadToken:
    """A token of a text, as the model saw it coming.

    logprob: its log-probability given all tokens before it; rank: 1 is the likeliest; both None for
    the first, which nothing predicts. alternatives: the likeliest tokens in its place.
    """

    id: int
    text: str
    logprob: float | None
    rank: int | None
    alternatives: list[NextToken]


@dataclass(frozen=True, repr=False)
class Inside:
    """A text of T tokens, and what the model makes of it.

    next: the likeliest tokens after the text; logits (V,): those of all. lens: for the embeddings
    (0) and each block's output, what the tied head says of it at each position, the likeliest
    first. The states are normalized already (GPT-1's norms come after the sums), so the head reads
    them as they are.
    attention: (T, T) of each head that was asked for, a row for each query.
    """

    ids: list[int]
    logits_shape: tuple[int, int, int]
    positions: list[ReadToken]
    next: list[NextToken]
    logits: Tensor
    lens: list[list[list[NextToken]]]
    attention: dict[Head, Tensor]


def token_text(tokenizer: Tokenizer, id: int) -> str:
    """Return a token's own text; a blank stands for the end of its word."""
    return tokenizer.id_to_token(id).replace(END, " ")


def look_inside(
    model: Transformer,
    tokenizer: Tokenizer,
    ids: Sequence[int],
    *,
    heads: Collection[Head] = (),
    lens: int = 0,
    alternatives: int = 10,
) -> Inside:
    """Return what the model makes of ids, of at least one, at every position.

    lens, alternatives: how many tokens to name, 0 for none. Raises InputError for a head or a
    number that the model does not have.
    """
    steps = look_inside_stepwise(model, tokenizer, ids, heads, lens, alternatives)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Inside = end.value
            return found


def look_inside_stepwise(
    model: Transformer,
    tokenizer: Tokenizer,
    ids: Sequence[int],
    heads: Collection[Head],
    lens: int,
    alternatives: int,
) -> Generator[None, None, Inside]:
    """Do what `look_inside` does, with a pause after the model's pass and every few positions."""
    config = model.config
    for layer, head in heads:
        if not (0 <= layer < config.n_layer and 0 <= head < config.n_head):
            raise InputError(
                f"attention names layer {layer}, head {head}; the model has layers 0 to "
                f"{config.n_layer - 1} with heads 0 to {config.n_head - 1}."
            )
    for name, count in (("lens", lens), ("alternatives", alternatives)):
        if not 0 <= count <= config.vocab_size:
            raise InputError(
                f"{name} is {count}; it must be from 0 to {config.vocab_size}, the size of the "
                f"vocabulary."
            )
    with evaluation_mode(model):
        output = model(
            torch.tensor([ids], device=model.tokens.weight.device),
            output_hidden_states=lens > 0,
            output_attentions=bool(heads),
        )
    logits = output.logits[0]  # (T, V)
    layers = output.attentions or []
    yield
    found = read_logprobs(logits, ids, 0)
    best = [[], *(yield from _best_of_each(logits, alternatives, tokenizer))]
    lenses = []
    for states in output.hidden_states or []:
        with evaluation_mode(model):
            of_layer = model.logits(states[0])
        lenses.append((yield from _best_of_each(of_layer, lens, tokenizer)))
    return Inside(
        ids=list(ids),
        logits_shape=(1, *logits.shape),
        positions=[
            ReadToken(id, token_text(tokenizer, id), logprob, rank, best[t])
            for t, (id, (logprob, rank, _)) in enumerate(zip(ids, found, strict=True))
        ],
        next=best[-1],
        logits=logits[-1],
        lens=lenses,
        attention={(layer, head): layers[layer][0, head] for layer, head in heads},
    )


def prompt_logprobs(
    model: Transformer, ids: Sequence[int], alternatives: int
) -> list[tuple[float | None, Alternatives]]:
    """Return each id's log-probability and the likeliest ids in its place; the first has none."""
    with evaluation_mode(model):
        logits = model(torch.tensor([ids], device=model.tokens.weight.device)).logits[0]
    return [(p, others) for p, _, others in read_logprobs(logits, ids, alternatives)]


def read_logprobs(
    logits: Tensor, ids: Sequence[int], alternatives: int
) -> list[tuple[float | None, int | None, Alternatives]]:
    """Return the log-probability, the rank and the likeliest rivals of T ids, by logits (T, V)."""
    targets = torch.tensor(ids[1:], device=logits.device, dtype=torch.int64)[:, None]
    before = logits[:-1]
    own = before.gather(1, targets)
    logprobs = (own - before.logsumexp(1, keepdim=True))[:, 0].tolist()
    ranks = ((before > own).sum(1) + 1).tolist()
    others = [likeliest(row, alternatives) for row in before]
    return [(None, None, []), *zip(logprobs, ranks, others, strict=True)]


def _best_of_each(
    logits: Tensor, k: int, tokenizer: Tokenizer
) -> Generator[None, None, list[list[NextToken]]]:
    """Return the `k` likeliest tokens by each row of logits (T, V), with a pause every few rows."""
    found = []
    for t, row in enumerate(logits, 1):
        found.append(_best(row, k, tokenizer))
        if t % _ROWS == 0:
            yield
    return found


def _best(logits: Tensor, k: int, tokenizer: Tokenizer) -> list[NextToken]:
    """Return the `k` likeliest tokens by logits (V,)."""
    top = logits.topk(k)
    p = (top.values - logits.logsumexp(-1)).exp().tolist() if k else []
    return [
        NextToken(id, token_text(tokenizer, id), probability, logit)
        for id, probability, logit in zip(top.indices.tolist(), p, top.values.tolist(), strict=True)
    ]
