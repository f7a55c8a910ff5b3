"""The model's predictions for a text: the article's walk as data, in the model's precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt1.errors import CheckpointError, InputError, counted
from gpt1.generation.backend import Backend
from gpt1.generation.request import encode_prompt
from gpt1.generation.scoring import continuation_logprobs, evaluation_mode
from gpt1.generation.torch_backend import TorchBackend
from gpt1.model.losses import perplexity
from gpt1.model.padding import pad_right
from gpt1.model.transformer import Transformer
from gpt1.reports.sections import Table
from gpt1.reports.tables import html_table
from gpt1.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class NextToken:
    """A candidate for the next id; its probability is at temperature 1, without filters."""

    id: int
    text: str
    probability: float
    logit: float


class NextTokens(list[NextToken]):
    """Candidates for the next id, the likeliest first: a list that a notebook shows as a table."""

    def table(self) -> Table:
        """Return the candidates as a table."""
        rows = [[str(step), *token_cells(token)] for step, token in enumerate(self, 1)]
        return Table(("", "token", "id", "logit", "p"), rows)

    def _repr_html_(self) -> str:
        return html_table(self.table())


@dataclass(frozen=True, repr=False)
class Score:
    """How likely the model finds a text.

    ids: the text's T ids. logprobs: T - 1 natural logs, of each of ids[1:] given all ids before it.
    loss: minus their mean. perplexity: exp(loss).
    """

    loss: float
    perplexity: float
    ids: list[int]
    logprobs: list[float]

    def __repr__(self) -> str:
        loss, count = self.loss, len(self.ids)
        return f"Score(loss={loss:.4f}, perplexity={self.perplexity:.5g}, {counted(count, 'id')})"


@dataclass(frozen=True)
class Position:
    """The model's prediction after ids[0..index], and the rank of the id that follows.

    actual: the id that follows, None at the last position. rank: 1 is the likeliest.
    """

    index: int
    id: int
    token: str
    predicted: NextToken
    actual: NextToken | None
    rank: int | None


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        following = self.next_tokens[0].text if self.next_tokens else ""
        name = type(self).__name__
        return f"{name}({self.text[:60]!r}, {counted(len(self.ids), 'id')}, next {following!r})"

    def table(self) -> Table:
        """Return, for each position, the predicted and the actual token."""
        rows = []
        for p in self.positions:
            actual = ["", "", ""]
            if p.actual is not None:
                actual = [repr(p.actual.text), f"{p.actual.probability:.4f}", str(p.rank)]
            predicted = [repr(p.predicted.text), f"{p.predicted.probability:.4f}"]
            rows.append([str(p.index), repr(p.token), str(p.id), *predicted, *actual])
        return Table(("", "token", "id", "predicted", "p", "actual", "p", "rank"), rows)

    def _repr_html_(self) -> str:
        return html_table(self.table()) + NextTokens(self.next_tokens)._repr_html_()


def token_cells(token: NextToken) -> list[str]:
    """Return a token as cells of a table: text, id, logit, probability."""
    return [repr(token.text), str(token.id), f"{token.logit:.4f}", f"{token.probability:.4f}"]


def next_tokens(model: Transformer, tokenizer: Tokenizer, text: str, k: int = 10) -> NextTokens:
    """Return the `k` likeliest next tokens after `text`, the likeliest first.

    Raises InputError (no text, k not in 1..V) and ContextError (longer than the model's positions).
    """
    V = model.config.vocab_size
    if not 1 <= k <= V:
        raise InputError(f"k is {k}; it must be from 1 to {V}, the size of the vocabulary.")
    ids = encode_prompt(tokenizer, text, model.config, "the text")
    return NextTokens(_greedy(TorchBackend(model), tokenizer, ids, 1, k))


def score_texts(
    model: Transformer, tokenizer: Tokenizer, texts: Sequence[str], names: Sequence[str]
) -> list[Score]:
    """Return the loss, perplexity and log-probabilities of each text (spec 9.5.1).

    `names` are what messages call them. Raises InputError (fewer than two ids), ContextError
    (longer than the model's positions).
    """
    rows = []
    for text, name in zip(texts, names, strict=True):
        ids = encode_prompt(tokenizer, text, model.config, name)
        if len(ids) < 2:
            raise InputError(
                f"{name} is 1 id long ({text[:40]!r}); a score needs at least 2, since the first "
                f"id is not predicted. Give a longer text."
            )
        rows.append(ids)
    return score_ids(model, rows)


def score_ids(model: Transformer, rows: Sequence[list[int]]) -> list[Score]:
    """Return the scores of texts as ids, from 2 to the model's positions each."""
    found = continuation_logprobs(model, [ids[:1] for ids in rows], [[ids[1:]] for ids in rows])
    scores = []
    for ids, (logprobs,) in zip(rows, found, strict=True):
        _check_finite(torch.from_numpy(logprobs))
        loss = -float(logprobs.mean())
        scores.append(Score(loss, perplexity(loss), ids, logprobs.tolist()))
    return scores


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
    ids = encode_prompt(tokenizer, text, model.config, "the text")
    T = len(ids)
    with evaluation_mode(model):
        logits = model(torch.tensor([ids], device=model.tokens.weight.device)).logits[0]  # (T, V)
    _check_finite(logits)
    rows, columns = _ends(T), _ends(V)
    backend = TorchBackend(model)
    article_steps: list[NextToken] = []
    glued, glued_ids = text, ids
    while len(article_steps) < steps and len(glued_ids) <= model.config.n_ctx:
        article_steps += _greedy(backend, tokenizer, glued_ids, 1)
        glued += article_steps[-1].text
        glued_ids = tokenizer.encode(glued)
    return Explanation(
        text=text,
        ids=ids,
        tokens=[tokenizer.id_to_token(i) for i in ids],
        parameters=model.num_parameters(),
        logits_shape=(1, T, V),
        corner_rows=rows,
        corner_columns=columns,
        corners=logits[rows][:, columns].tolist(),
        loss=score_texts(model, tokenizer, [text], ["the text"])[0].loss if T > 1 else None,
        positions=_positions(logits, ids, tokenizer),
        next_tokens=_best(logits[-1], k, tokenizer),
        steps=_greedy(backend, tokenizer, ids, min(steps, model.config.n_ctx - T)),
        article_steps=article_steps,
        article_text=glued,
    )


def _check_finite(values: Tensor) -> None:
    if not bool(values.isfinite().all()):
        raise CheckpointError(
            "the model's logits are not finite; its weights hold NaN or infinity, or are far too "
            "large. Load a checkpoint from before training went wrong."
        )


def _greedy(
    backend: Backend, tokenizer: Tokenizer, ids: Sequence[int], steps: int, k: int = 1
) -> list[NextToken]:
    """Return the greedy choices of `steps` steps after `ids`, or the `k` likeliest of one step.

    An end token does not end them.
    """
    if not steps:
        return []
    cache, slots = backend.new_cache(1, len(ids) + steps), slice(0, 1)
    logits = backend.prefill(*pad_right([ids]), cache, slots)
    _check_finite(logits)
    choices = _best(logits[0], k, tokenizer)
    for _ in range(steps - 1):
        logits = backend.decode(torch.tensor([choices[-1].id]), cache, slots)
        choices += _best(logits[0], 1, tokenizer)
    return choices


def _best(logits: Tensor, k: int, tokenizer: Tokenizer) -> list[NextToken]:
    p = logits.softmax(-1)
    return [_token(i, logits, p, tokenizer) for i in logits.topk(k).indices.tolist()]


def _token(i: int, logits: Tensor, p: Tensor, tokenizer: Tokenizer) -> NextToken:
    return NextToken(i, tokenizer.decode([i]), float(p[i]), float(logits[i]))


def _positions(logits: Tensor, ids: Sequence[int], tokenizer: Tokenizer) -> list[Position]:
    """Return what logits (T, V) predict at each of T ids."""
    p = logits.softmax(-1)
    positions = []
    for t, best in enumerate(logits.argmax(-1).tolist()):
        actual, rank = None, None
        if t + 1 < len(ids):
            actual = _token(ids[t + 1], logits[t], p[t], tokenizer)
            rank = int((logits[t] > logits[t, ids[t + 1]]).sum()) + 1
        predicted = _token(best, logits[t], p[t], tokenizer)
        token = tokenizer.id_to_token(ids[t])
        positions.append(Position(t, ids[t], token, predicted, actual, rank))
    return positions


def _ends(size: int) -> list[int]:
    """Return the first and last three of `size` indices, or all if they are no more than six."""
    return list(range(size)) if size <= 6 else [0, 1, 2, size - 3, size - 2, size - 1]
