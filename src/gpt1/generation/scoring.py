"""Log-probabilities of continuations: `score`, perplexity and zero-shot all rest on these.

Everything is computed in the precision of the model given: float32 as loaded, narrower for one that
`torch_backend.narrow` returns; without dropout, gradients or autocast. Sequences are sorted by
length and padded on the right, which changes no score: states never see what comes after them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt1.callbacks import ProgressCallback
from gpt1.errors import InputError
from gpt1.model.build import Model
from gpt1.model.cache import KeyValueCache
from gpt1.model.losses import CACHED
from gpt1.model.padding import pad_right
from gpt1.model.transformer import Transformer

Ids = Sequence[int]
LogProbs = NDArray[np.float64]
"""Natural logarithms, one for each id of a continuation, (T,)."""

ROWS = 32
"""The most contexts in one forward pass."""
TOKENS = 4096
"""The most ids in one forward pass; a longer sequence goes alone."""


@contextmanager
def evaluation_mode(model: Model) -> Iterator[None]:
    """Switch dropout, gradients and autocast off, and back afterwards."""
    training = model.training
    model.train(False)
    try:
        with torch.inference_mode(), torch.autocast(model.tokens.weight.device.type, enabled=False):
            yield
    finally:
        model.train(training)


def continuation_logprobs(
    model: Model,
    contexts: Sequence[Ids],
    continuations: Sequence[Sequence[Ids]],
    *,
    progress: ProgressCallback | None = None,
) -> list[list[LogProbs]]:
    """Return the log-probability of each id of each continuation, given all ids before it.

    contexts: n of them, of at least one id; the log-probabilities of their own ids are not
    computed, so score a whole text with its first id as the context. continuations: for each
    context one or more, of at least one id. Result [i][j] belongs to continuations[i][j]; its sum
    or mean is the continuation's score. A Transformer reads a context that has several
    continuations only once. `progress` counts contexts.

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
    several = any(len(options) > 1 for options in continuations)
    device = model.tokens.weight.device
    scores: list[list[LogProbs]] = [[]] * len(contexts)
    with evaluation_mode(model):
        for batch in _batches(model, contexts, continuations, progress):
            pairs = [(list(contexts[i]), list(c)) for i in batch for c in continuations[i]]
            # the state of the id before predicts an id, so states begin one before the continuation
            if several and isinstance(model, Transformer):
                ids, _ = pad_right([context[-1:] + c for context, c in pairs], device=device)
                cache = _read_contexts(model, [contexts[i] for i in batch], ids.shape[1])
                counts = torch.tensor([len(continuations[i]) for i in batch])
                hidden = model.hidden(ids[:, :-1], cache=cache.repeat(counts))
                starts = [0] * len(pairs)
            else:
                ids, _ = pad_right([context + c for context, c in pairs], device=device)
                hidden = model.hidden(ids[:, :-1])
                starts = [len(context) - 1 for context, _ in pairs]
            lengths = [len(c) for _, c in pairs]
            row = torch.arange(len(pairs)).repeat_interleave(torch.tensor(lengths))
            column = torch.cat([torch.arange(n) + s for s, n in zip(starts, lengths, strict=True)])
            logprobs = token_logprobs(model, hidden[row, column], ids[row, column + 1])
            parts = iter(np.split(logprobs.cpu().double().numpy(), np.cumsum(lengths)[:-1]))
            for i in batch:
                scores[i] = [next(parts) for _ in continuations[i]]
    return scores


def next_logits(
    model: Model, contexts: Sequence[Ids], ids: Ids, *, progress: ProgressCallback | None = None
) -> NDArray[np.float64]:
    """Return the logits (n, K) that `ids`, K of them, have right after each of n contexts."""
    device = model.tokens.weight.device
    weight = model.tokens.weight[torch.tensor(ids, device=device)]  # (K, C)
    logits = np.empty((len(contexts), len(ids)))
    with evaluation_mode(model):
        for batch in _batches(model, contexts, [[()]] * len(contexts), progress):
            padded, lengths = pad_right([contexts[i] for i in batch], device=device)
            hidden = model.hidden(padded)
            last = hidden[torch.arange(len(batch), device=device), lengths - 1]  # (B, C)
            logits[batch] = (last @ weight.T).cpu().double().numpy()
    return logits


def _read_contexts(model: Transformer, contexts: Sequence[Ids], more: int) -> KeyValueCache:
    """Return a cache that holds all of each context but its last id, with room for `more` ids.

    The last id is read with the continuations: its state predicts their first ids.
    """
    weight = model.tokens.weight
    ids, lengths = pad_right([context[:-1] for context in contexts])
    capacity = ids.shape[1] + more
    cache = KeyValueCache(
        model.config, len(ids), capacity=capacity, device=weight.device, dtype=weight.dtype
    )
    if ids.shape[1]:
        model.hidden(ids.to(weight.device), cache=cache)
        cache.advance(lengths)
    return cache


def token_logprobs(model: Model, states: Tensor, targets: Tensor) -> Tensor:
    """Return the log-probabilities (N,) that states (N, C) give to targets, int64 (N,).

    Only a few states meet it at a time: the logits of all would be
    the largest tensor there is.
    """
    step = max(1, 4 * CACHED // model.config.vocab_size)
    parts = []
    for h, y in zip(torch.split(states, step), torch.split(targets, step), strict=True):
        logits = model.logits(h)  # (n, V)
        parts.append(logits.gather(1, y[:, None])[:, 0] - logits.logsumexp(1))
    return torch.cat(parts)


def _batches(
    model: Model,
    contexts: Sequence[Ids],
    continuations: Sequence[Sequence[Ids]],
    progress: ProgressCallback | None,
) -> Iterator[list[int]]:
    """Yield indices of contexts, longest first, of up to ROWS contexts and TOKENS ids.

    TOKENS counts padding, and a context once for each continuation. The longest context and the
    longest continuation of a batch, less the last id, fit the model even if they meet in no row.
    """
    more = [max(map(len, options)) for options in continuations]
    order = sorted(range(len(contexts)), key=lambda i: (-len(contexts[i]), -more[i], i))
    batches: list[list[int]] = [[]]
    for i in order:
        together = [*batches[-1], i]
        longest = len(contexts[together[0]]) + max(more[j] for j in together)
        ids = longest * sum(len(continuations[j]) for j in together)
        if len(together) > 1 and (
            len(together) > ROWS or ids > TOKENS or longest - 1 > model.config.n_ctx
        ):
            batches.append([i])
        else:
            batches[-1] = together
    done = 0
    for batch in filter(None, batches):
        yield batch
        done += len(batch)
        if progress is not None:
            progress(done, len(contexts))
