"""Log-probabilities of continuations: `score`, perplexity and zero-shot all rest on these.

Any model will do that has `hidden`, `tokens` and `config`. Everything is computed in the weights'
precision (float32 as loaded), without dropout, gradients or autocast. Sequences are sorted by
length and padded on the right, which changes no score: states never see what comes after them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gpt1.callbacks import ProgressCallback
from gpt1.config import ModelConfig
from gpt1.errors import InputError
from gpt1.model.cache import KeyValueCache
from gpt1.model.losses import CACHED
from gpt1.model.padding import pad_right
from gpt1.model.transformer import Transformer

Ids = Sequence[int]
LogProbs = NDArray[np.float64]
"""Natural logarithms, one for each id of a continuation, (T,)."""

ROWS = 32
"""Sequences in one forward pass, at most."""
TOKENS = 4096
"""Ids in one forward pass, at most; a single longer sequence goes alone."""


class LanguageModel(Protocol):
    """What scoring needs of a model: `Transformer` and `LSTM` have it."""

    @property
    def config(self) -> ModelConfig: ...
    @property
    def tokens(self) -> nn.Embedding: ...
    @property
    def training(self) -> bool: ...
    def train(self, mode: bool = True) -> Any: ...
    def hidden(self, ids: Tensor, /) -> Tensor: ...


@contextmanager
def evaluation_mode(model: LanguageModel) -> Iterator[None]:
    """Switch dropout, gradients and autocast off, and back afterwards."""
    training = model.training
    model.train(False)
    try:
        with (
            torch.inference_mode(),
            torch.autocast(model.tokens.weight.device.type, enabled=False),
        ):
            yield
    finally:
        model.train(training)


def continuation_logprobs(
    model: LanguageModel,
    contexts: Sequence[Ids],
    continuations: Sequence[Sequence[Ids]],
    *,
    rows: int = ROWS,
    progress: ProgressCallback | None = None,
) -> list[list[LogProbs]]:
    """Return the log-probability of each id of each continuation, given all ids before it.

    contexts: n of them, of at least one id; the log-probabilities of their own ids are not
    computed, so score a whole text with its first id as the context. continuations: for each
    context one or more, of at least one id. Result [i][j] belongs to continuations[i][j]; its sum
    or mean is the continuation's score. A Transformer reads a context that has several
    continuations only once. `rows` bounds the sequences in a forward pass; `progress` counts
    contexts.

    Raises InputError for an empty context or continuation, ContextError if a context and its
    continuation without the last id exceed the model's positions.
    """
    if len(contexts) != len(continuations):
        raise InputError(
            f"there are {len(contexts)} contexts and continuations of {len(continuations)}; give "
            f"every context its list of continuations."
        )
    for number, (context, options) in enumerate(zip(contexts, continuations, strict=True)):
        if not len(context) or not options or not all(map(len, options)):
            raise InputError(
                f"row {number} has an empty context or an empty continuation; each needs at least "
                f"one id. Leave the row out."
            )
    if isinstance(model, Transformer) and any(len(options) > 1 for options in continuations):
        return _with_shared_contexts(model, contexts, continuations, rows, progress)
    pairs = [
        (list(context), list(option))
        for context, options in zip(contexts, continuations, strict=True)
        for option in options
    ]
    device = model.tokens.weight.device
    scores: list[LogProbs] = [np.empty(0)] * len(pairs)
    done = 0
    with evaluation_mode(model):
        for batch in _batches([len(context) + len(option) for context, option in pairs], rows):
            ids, _ = pad_right([pairs[i][0] + pairs[i][1] for i in batch], device=device)
            # the state of the id before predicts an id, so the last id need not be read
            starts = [len(pairs[i][0]) - 1 for i in batch]
            lengths = [len(pairs[i][1]) for i in batch]
            found = _of_spans(model, model.hidden(ids[:, :-1]), ids[:, 1:], starts, lengths)
            for i, logprobs in zip(batch, found, strict=True):
                scores[i] = logprobs
            done += len(batch)
            if progress is not None:
                progress(len(contexts) * done // len(pairs), len(contexts))
    rest = iter(scores)
    return [[next(rest) for _ in options] for options in continuations]


def next_logits(
    model: LanguageModel,
    contexts: Sequence[Ids],
    ids: Ids,
    *,
    rows: int = ROWS,
    progress: ProgressCallback | None = None,
) -> NDArray[np.float64]:
    """Return the logits (n, K) that `ids`, K of them, have right after each of n contexts."""
    device = model.tokens.weight.device
    weight = model.tokens.weight[torch.tensor(ids, device=device)]  # (K, C)
    logits = np.empty((len(contexts), len(ids)))
    done = 0
    with evaluation_mode(model):
        for batch in _batches([len(context) for context in contexts], rows):
            padded, lengths = pad_right([contexts[i] for i in batch], device=device)
            hidden = model.hidden(padded)
            last = hidden[torch.arange(len(batch), device=device), lengths - 1]  # (B, C)
            logits[batch] = (last @ weight.T).cpu().double().numpy()
            done += len(batch)
            if progress is not None:
                progress(done, len(contexts))
    return logits


def _with_shared_contexts(
    model: Transformer,
    contexts: Sequence[Ids],
    continuations: Sequence[Sequence[Ids]],
    rows: int,
    progress: ProgressCallback | None,
) -> list[list[LogProbs]]:
    """Read each context but its last id once; then that id and each continuation behind it."""
    device = model.tokens.weight.device
    longest = [max(map(len, options)) for options in continuations]
    most = max(map(len, continuations))
    scores: list[list[LogProbs]] = [[]] * len(contexts)
    done = 0
    with evaluation_mode(model):
        # a cache takes memory for every continuation, not only for what is read
        for batch in _batches(
            [len(context) for context in contexts],
            rows,
            longest,
            limit=model.config.n_ctx,
            copies=most,
        ):
            # the last id is read with the continuations: its state predicts their first ids
            past, lengths = pad_right([contexts[i][:-1] for i in batch], device=device)
            cache = KeyValueCache(
                model.config,
                len(batch),
                capacity=past.shape[1] + max(longest[i] for i in batch),
                device=device,
                dtype=model.tokens.weight.dtype,
            )
            if past.shape[1]:
                model.hidden(past, cache=cache)
                cache.advance(lengths.cpu())
            cache = cache.repeat(torch.tensor([len(continuations[i]) for i in batch]))
            options = [list(option) for i in batch for option in continuations[i]]
            lasts = [contexts[i][-1] for i in batch for _ in continuations[i]]
            ids, _ = pad_right(
                [[last, *option] for last, option in zip(lasts, options, strict=True)],
                device=device,
            )
            hidden = model.hidden(ids[:, :-1], cache=cache)
            found = iter(
                _of_spans(model, hidden, ids[:, 1:], [0] * len(options), list(map(len, options)))
            )
            for i in batch:
                scores[i] = [next(found) for _ in continuations[i]]
            done += len(batch)
            if progress is not None:
                progress(done, len(contexts))
    return scores


def token_logprobs(states: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Return the log-probabilities (N,) that states (N, C) give to targets, int64 (N,).

    weight (V, C) is the tied head. Only a few states meet it at a time: the logits of all would be
    the largest tensor there is.
    """
    step = max(1, 4 * CACHED // len(weight))
    parts = []
    for h, y in zip(torch.split(states, step), torch.split(targets, step), strict=True):
        logits = h @ weight.T  # (n, V)
        parts.append(logits.gather(1, y[:, None])[:, 0] - logits.logsumexp(1))
    return torch.cat(parts)


def _of_spans(
    model: LanguageModel,
    hidden: Tensor,
    targets: Tensor,
    starts: Sequence[int],
    lengths: Sequence[int],
) -> list[LogProbs]:
    """Return the log-probabilities of targets[i, start:start + length] of each row i.

    hidden (B, T, C) are the states that predict targets (B, T).
    """
    places = [torch.arange(s, s + n) for s, n in zip(starts, lengths, strict=True)]
    column = torch.cat(places).to(hidden.device)
    row = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths)).to(hidden.device)
    found = token_logprobs(hidden[row, column], model.tokens.weight, targets[row, column])
    return np.split(found.cpu().double().numpy(), np.cumsum(lengths)[:-1])


def _batches(
    lengths: Sequence[int],
    rows: int,
    more: Sequence[int] | None = None,
    *,
    limit: int | None = None,
    copies: int = 1,
) -> Iterator[list[int]]:
    """Yield row numbers, longest first, of up to `rows` sequences and TOKENS ids with padding.

    `more` are ids that follow in each row, padded apart; a batch's longest sequence and longest
    addition, less the id both count, then fit `limit`. Every row counts `copies` times.
    """
    if rows < 1:
        raise InputError(f"rows is {rows}; a batch has at least 1.")
    after = [0] * len(lengths) if more is None else more
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], -after[i], i))
    batch: list[int] = []
    first = addition = 0
    for i in order:
        size = (first or lengths[i]) + max(addition, after[i])
        full = len(batch) >= rows or (len(batch) + 1) * copies * size > TOKENS
        if batch and (full or (limit is not None and size - 1 > limit)):
            yield batch
            batch, first, addition = [], 0, 0
        batch.append(i)
        first, addition = first or lengths[i], max(addition, after[i])
    if batch:
        yield batch
