"""What the model thinks of a text: the article's walk as data, in the model's own precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt1.errors import CheckpointError, InputError
from gpt1.generation.engine import check_ids
from gpt1.generation.quantize import Decoder, decoder
from gpt1.model.losses import perplexity
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class NextToken:
    """A candidate for the next id; probability at temperature 1, without filters."""

    id: int
    text: str
    probability: float
    logit: float


@dataclass(frozen=True)
class Score:
    """How likely the model finds a text.

    ids: the text's, T of them. logprobs: T - 1 natural logs, of ids[1:], each given all before it;
    the first id has nothing before it and is not scored. loss: minus their mean. perplexity:
    exp(loss).
    """

    loss: float
    perplexity: float
    ids: list[int]
    logprobs: list[float]


@dataclass(frozen=True)
class Position:
    """What the model predicts after ids[0..index], and what it makes of the id that follows.

    `actual` is None at the last position; `rank` 1 means it was the likeliest.
    """

    index: int
    id: int
    token: str
    predicted: NextToken
    actual: NextToken | None
    rank: int | None


@dataclass(frozen=True)
class Explanation:
    """Every step of the article's walk (spec 9.2-9.5).

    ids and tokens (as the vocabulary has them): T of each. logits_shape: (1, T, V). corner_rows,
    corner_columns, corners: the first and last three of both directions, as a printed tensor shows
    them. loss: None for a single id. next_tokens: the likeliest ids after the text. steps: the
    greedy choices that follow, on ids. article_steps, article_text: the same loop as the article
    has it, gluing each decoded choice to the text and tokenizing anew (spec 9.4.5), which is why
    its words run together.
    """

    text: str
    ids: list[int]
    tokens: list[str]
    parameters: int
    logits_shape: tuple[int, int, int]
    corner_rows: list[int]
    corner_columns: list[int]
    corners: list[list[float]]
    loss: float | None
    positions: list[Position]
    next_tokens: list[NextToken]
    steps: list[NextToken]
    article_steps: list[NextToken]
    article_text: str


@torch.inference_mode()
def next_tokens(
    model: Transformer, tokenizer: Tokenizer, text: str, k: int = 10
) -> list[NextToken]:
    """Return the `k` likeliest next tokens after `text`, the likeliest first.

    Raises InputError (no text, k not in 1..V) and ContextError (longer than the model's positions).
    """
    V = model.config.vocab_size
    if not 1 <= k <= V:
        raise InputError(f"k is {k}; it must be from 1 to {V}, the size of the vocabulary.")
    ready = decoder(model, "float32")
    ids = _encode(ready, tokenizer, text)
    hidden = ready.hidden(_row(ready, ids))[:, -1]
    return _best(_finite(ready.head(hidden))[0], k, tokenizer)


@torch.inference_mode()
def score(model: Transformer, tokenizer: Tokenizer, text: str) -> Score:
    """Return the loss, perplexity and log-probabilities of `text` (spec 9.5.1).

    Raises InputError (fewer than two ids), ContextError (longer than the model's positions).
    """
    ready = decoder(model, "float32")
    ids = _encode(ready, tokenizer, text)
    if len(ids) < 2:
        raise InputError(
            f"the text is 1 id long ({text[:40]!r}); the first id has nothing before it to be "
            f"predicted from, so a score needs at least 2. Give a longer text."
        )
    logits = _finite(ready.head(ready.hidden(_row(ready, ids))[0, :-1]))  # (T - 1, V)
    logprobs = _logprobs(logits, ids[1:])
    loss = -float(logprobs.mean())
    return Score(loss, perplexity(loss), ids, logprobs.tolist())


@torch.inference_mode()
def explain(
    model: Transformer, tokenizer: Tokenizer, text: str, *, k: int = 10, steps: int = 20
) -> Explanation:
    """Return every step from `text` to the next tokens, and `steps` greedy choices after it.

    Raises InputError (no text, k or steps out of range), ContextError (longer than the model's
    positions). The greedy choices end at the model's last position.
    """
    V = model.config.vocab_size
    if not 1 <= k <= V or steps < 0:
        raise InputError(
            f"k is {k} and steps is {steps}; k must be from 1 to {V}, steps 0 or more."
        )
    ready = decoder(model, "float32")
    ids = _encode(ready, tokenizer, text)
    logits = _finite(ready.head(ready.hidden(_row(ready, ids))[0]))  # (T, V)
    T = len(ids)
    rows, columns = _ends(T), _ends(V)
    article_steps, article_text = _article_loop(ready, tokenizer, text, steps)
    return Explanation(
        text=text,
        ids=ids,
        tokens=[tokenizer.id_to_token(i) for i in ids],
        parameters=model.num_parameters(),
        logits_shape=(1, T, V),
        corner_rows=rows,
        corner_columns=columns,
        corners=logits[rows][:, columns].tolist(),
        loss=-float(_logprobs(logits[:-1], ids[1:]).mean()) if T > 1 else None,
        positions=_positions(logits, ids, tokenizer),
        next_tokens=_best(logits[-1], k, tokenizer),
        steps=_greedy_loop(ready, tokenizer, ids, steps),
        article_steps=article_steps,
        article_text=article_text,
    )


def _encode(ready: Decoder, tokenizer: Tokenizer, text: str) -> list[int]:
    ids = tokenizer.encode(text)
    check_ids(ids, ready.config.vocab_size, ready.config.n_ctx, "the text")
    return ids


def _row(ready: Decoder, ids: Sequence[int]) -> Tensor:
    return torch.tensor([ids], dtype=torch.int64, device=ready.device)  # (1, T)


def _finite(logits: Tensor) -> Tensor:
    if not bool(logits.isfinite().all()):
        raise CheckpointError(
            "the model's logits are not finite; its weights hold NaN or infinity, or are far too "
            "large. Load a checkpoint from before training went wrong."
        )
    return logits


def _logprobs(logits: Tensor, targets: Sequence[int]) -> Tensor:
    index = torch.tensor(targets, device=logits.device)[:, None]
    return logits.log_softmax(-1).gather(-1, index)[:, 0]


def _best(logits: Tensor, k: int, tokenizer: Tokenizer) -> list[NextToken]:
    """Return the `k` likeliest of logits (V,)."""
    p = logits.softmax(-1)
    return [_token(i, logits, p, tokenizer) for i in logits.topk(k).indices.tolist()]


def _token(i: int, logits: Tensor, p: Tensor, tokenizer: Tokenizer) -> NextToken:
    return NextToken(i, tokenizer.decode([i]), float(p[i]), float(logits[i]))


def _positions(logits: Tensor, ids: Sequence[int], tokenizer: Tokenizer) -> list[Position]:
    p = logits.softmax(-1)
    out = []
    for t, best in enumerate(logits.argmax(-1).tolist()):
        actual, rank = None, None
        if t + 1 < len(ids):
            actual = _token(ids[t + 1], logits[t], p[t], tokenizer)
            rank = int((logits[t] > logits[t, ids[t + 1]]).sum()) + 1
        predicted = _token(best, logits[t], p[t], tokenizer)
        out.append(Position(t, ids[t], tokenizer.id_to_token(ids[t]), predicted, actual, rank))
    return out


def _ends(size: int) -> list[int]:
    return list(range(size)) if size <= 6 else [0, 1, 2, size - 3, size - 2, size - 1]


def _greedy_loop(
    ready: Decoder, tokenizer: Tokenizer, ids: list[int], steps: int
) -> list[NextToken]:
    read, out = list(ids), []
    for _ in range(min(steps, ready.config.n_ctx - len(ids))):
        out.append(_choice(ready, tokenizer, read))
        read.append(out[-1].id)
    return out


def _article_loop(
    ready: Decoder, tokenizer: Tokenizer, text: str, steps: int
) -> tuple[list[NextToken], str]:
    """Do as the article: append the decoded choice to the text, read the text anew."""
    out: list[NextToken] = []
    while len(out) < steps and len(ids := tokenizer.encode(text)) <= ready.config.n_ctx:
        out.append(_choice(ready, tokenizer, ids))
        text += out[-1].text
    return out, text


def _choice(ready: Decoder, tokenizer: Tokenizer, ids: Sequence[int]) -> NextToken:
    return _best(ready.head(ready.hidden(_row(ready, ids))[:, -1])[0], 1, tokenizer)[0]
