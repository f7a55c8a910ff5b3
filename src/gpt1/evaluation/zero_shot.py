"""The four zero-shot heuristics of the paper's figure 2, right (section 5; spec 7.2).

    acceptability   mean log-probability of a sentence's tokens, against a threshold
    sentiment       is "positive" or "negative" likelier after the text and "very"
    choices         the answer whose tokens are the likeliest after document and question
    schemas         the candidate after which the rest of the sentence is the likeliest

Nothing is trained. A text's first token has nothing before it and is never scored (spec 7.2.5).
Any language model will do that has `hidden`, `tokens` and `config`; computed in the weights'
precision, float32 as loaded, without autocast and without dropout. Texts are sorted by length and
padded on the right, which changes no score: states never see what comes after them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from gpt1.config import ModelConfig
from gpt1.errors import InputError
from gpt1.model.cache import KeyValueCache
from gpt1.model.losses import CACHED
from gpt1.model.transformer import Transformer
from gpt1.tasks.datasets.winograd import Schema
from gpt1.tasks.metrics import matthews
from gpt1.text.tokenizer import Tokenizer

Scores = NDArray[np.float64]
Ids = list[int]
Report = Callable[[int], None]
"""Takes how many rows more have been scored."""

ROWS = 32
"""Sequences in one forward pass, at most."""
TOKENS = 4096
"""Ids in one forward pass, at most; a single longer sequence goes alone."""

PROMPT, NEGATIVE, POSITIVE = " very", "negative", "positive"
"""Spec 7.2.2; ids 963, 9503 and 6353 of the released vocabulary."""


class LanguageModel(Protocol):
    """What the heuristics need: Transformer and LSTM have it."""

    @property
    def config(self) -> ModelConfig: ...
    @property
    def tokens(self) -> nn.Embedding: ...
    @property
    def training(self) -> bool: ...
    def train(self, mode: bool = True) -> Any: ...
    def hidden(self, ids: Tensor, /) -> Tensor: ...


def acceptability(
    model: LanguageModel,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    rows: int = ROWS,
    report: Report | None = None,
) -> Scores:
    """Return each text's mean log-probability (n,), in nats a token (spec 7.2.1).

    Of a text longer than n_ctx + 1 ids, the first ones count. `rows` bounds a batch. Raises
    InputError for a text of less than two tokens.
    """
    found = tokenizer.encode_batch(texts)
    for number, ids in enumerate(found):
        if len(ids) < 2:
            raise InputError(
                f"text {number}, {texts[number][:40]!r}, has {len(ids)} tokens; a score needs two, "
                f"since the first has nothing before it. Leave it out."
            )
    limit = model.config.n_ctx + 1
    return _mean_logprobs(model, [ids[:limit] for ids in found], [1] * len(found), rows, report)


def best_threshold(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the threshold with the best Matthews where scores above it are class 1 (spec 7.2.1).

    It lies midway between two neighbouring scores, so that equal scores stay together, or below
    them all; the lowest of equally good ones. Choose it on other rows than it is judged on. Raises
    InputError for empty or unequal columns, and labels other than 0 and 1.
    """
    s, y = np.asarray(scores, np.float64), np.asarray(labels)
    matthews(y, s > 0)  # refuses columns that are empty or unequal
    if not np.isin(y, (0, 1)).all() or not np.isfinite(s).all():
        raise InputError(
            "labels hold other classes than 0 and 1, or scores nan or infinity; give finite "
            "scores, and 1 for what is acceptable."
        )
    order = np.argsort(s, kind="stable")
    s, y = s[order], y[order].astype(np.float64)
    n, positives = len(s), y.sum()
    below = np.arange(n)  # how many scores each cut leaves under it
    misses = np.concatenate([[0.0], np.cumsum(y)[:-1]])  # positives among them
    hits, above = positives - misses, n - below
    spread = positives * (n - positives) * above * below
    quality = np.divide(
        hits * n - positives * above, np.sqrt(spread), out=np.zeros(n), where=spread > 0
    )
    quality[1:][s[1:] == s[:-1]] = -np.inf  # no cut between equal scores
    cut = int(np.argmax(quality))
    if cut == 0:
        return float(s[0] - 1.0)
    middle = float((s[cut - 1] + s[cut]) / 2)
    return middle if middle < s[cut] else float(s[cut - 1])  # neighbours a rounding apart


def sentiment(
    model: LanguageModel,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    rows: int = ROWS,
    report: Report | None = None,
) -> Scores:
    """Return the logits (n, 2) of "negative" and "positive" after each text and "very".

    In a vocabulary where one of the two words is several tokens, both columns are the mean
    log-probability of the whole word's tokens instead. Of a text that does not fit before "very",
    the last ids are read (spec 7.2.2).
    """
    prompt = tokenizer.encode(PROMPT)
    words = [tokenizer.encode(NEGATIVE), tokenizer.encode(POSITIVE)]
    found = [ids + prompt for ids in tokenizer.encode_batch(texts)]
    if any(len(word) > 1 for word in words):
        return choices_of_ids(model, found, [words] * len(found), rows=rows, report=report)
    found = [ids[-model.config.n_ctx :] for ids in found]
    device = model.tokens.weight.device
    columns = torch.tensor([word[0] for word in words], device=device)
    scores = np.empty((len(found), 2))
    with _scoring(model):
        for batch in _batches([len(ids) for ids in found], rows):
            ids, lengths = _padded([found[i] for i in batch], device)
            hidden = model.hidden(ids)
            last = hidden[torch.arange(len(batch), device=device), lengths - 1]
            scores[batch] = (last @ model.tokens.weight[columns].T).cpu().double().numpy()
            if report is not None:
                report(len(batch))
    return scores


def choices(
    model: LanguageModel,
    tokenizer: Tokenizer,
    contexts: Sequence[str],
    answers: Sequence[Sequence[str]],
    *,
    rows: int = ROWS,
    reuse: bool = True,
    report: Report | None = None,
) -> Scores:
    """Return the mean log-probability (n, K) of each answer's tokens after its context.

    A context is document and question, with a blank between them: no token stands there, nor before
    the answer (spec 7.2.3). `answers` are n lists of K. A context too long for the model loses its
    first ids, as many as its longest answer needs, so that the question, at its end, stays and all
    K answers are judged after the same ids. With `reuse` a Transformer reads a context once for all
    its answers. Raises InputError for a context or an answer without tokens, or too long an answer.
    """
    found = tokenizer.encode_batch(contexts)
    options = [tokenizer.encode_batch(texts) for texts in answers]
    return choices_of_ids(model, found, options, rows=rows, reuse=reuse, report=report)


def choices_of_ids(
    model: LanguageModel,
    contexts: Sequence[Ids],
    answers: Sequence[Sequence[Ids]],
    *,
    rows: int = ROWS,
    reuse: bool = True,
    report: Report | None = None,
) -> Scores:
    """Do as `choices`, for ids."""
    if len(contexts) != len(answers) or len({len(options) for options in answers}) > 1:
        raise InputError(
            f"there are {len(contexts)} contexts and {len(answers)} lists of answers, of "
            f"{sorted({len(options) for options in answers})} answers; give every context the same "
            f"number of answers."
        )
    limit = model.config.n_ctx
    kept = []
    for number, (context, options) in enumerate(zip(contexts, answers, strict=True)):
        if not context or not options or not all(options):
            raise InputError(
                f"row {number} has an empty context or an empty answer; each needs at least one "
                f"token. Leave the row out."
            )
        longest = max(map(len, options))
        if longest > limit:
            raise InputError(
                f"row {number} has an answer of {longest} tokens; the model has {limit} positions. "
                f"Leave the row out."
            )
        kept.append(context[-(limit + 1 - longest) :])
    if not kept:
        return np.empty((0, 0))
    if reuse and isinstance(model, Transformer):
        return _choices_with_cache(model, kept, answers, rows, report)
    pairs = [(c, a) for c, options in zip(kept, answers, strict=True) for a in options]
    sequences, starts = [c + a for c, a in pairs], [len(c) for c, _ in pairs]
    flat = _mean_logprobs(model, sequences, starts, rows, report, share=len(answers[0]))
    return flat.reshape(len(kept), -1)


def schemas(
    model: LanguageModel,
    tokenizer: Tokenizer,
    sentences: Sequence[Schema],
    *,
    rows: int = ROWS,
    report: Report | None = None,
) -> Scores:
    """Return the mean log-probability (n, K) of what follows each candidate put for the pronoun.

    The candidate itself is not scored, only the rest of the sentence (spec 7.2.4); it stands as it
    is, also for "his" or "its". What comes before and what comes after are tokenized apart, so that
    all candidates are judged on the same ids. Raises InputError where nothing follows.
    """
    contexts = [[one.text[: one.start] + option for option in one.options] for one in sentences]
    rests = [one.text[one.start + len(one.pronoun) :] for one in sentences]
    found, starts = [], []
    for number, (texts, rest) in enumerate(zip(contexts, rests, strict=True)):
        after = tokenizer.encode(rest)
        for text in texts:
            before = tokenizer.encode(text)
            if not after or not before or len(after) > model.config.n_ctx:
                raise InputError(
                    f"schema {number}, {sentences[number].text[:40]!r}, has {len(after)} tokens "
                    f"after its pronoun; there must be 1 to {model.config.n_ctx}. Leave it out."
                )
            before = before[-(model.config.n_ctx + 1 - len(after)) :]
            found.append(before + after)
            starts.append(len(before))
    if len({len(texts) for texts in contexts}) > 1:
        raise InputError("schemas have different numbers of candidates; give all the same.")
    if not found:
        return np.empty((0, 0))
    k = len(contexts[0])
    scores = _mean_logprobs(model, found, starts, rows, report, share=k)
    return scores.reshape(len(sentences), k)


def _mean_logprobs(
    model: LanguageModel,
    sequences: Sequence[Ids],
    starts: Sequence[int],
    rows: int,
    report: Report | None,
    share: int = 1,
) -> Scores:
    """Return the mean log-probability of ids[start:] of each sequence, given all before each id.

    `share` sequences are one row to `report`.
    """
    scores = np.empty(len(sequences))
    done = 0
    device = model.tokens.weight.device
    with _scoring(model):
        for batch in _batches([len(ids) for ids in sequences], rows):
            ids, _ = _padded([sequences[i] for i in batch], device)
            spans = [(starts[i] - 1, len(sequences[i]) - 1) for i in batch]  # states that predict
            hidden = model.hidden(ids[:, :-1])
            scores[batch] = _means(model, hidden, ids[:, 1:], spans)
            done += len(batch)
            if report is not None:
                report(done // share - (done - len(batch)) // share)
    return scores


def _choices_with_cache(
    model: Transformer,
    contexts: Sequence[Ids],
    answers: Sequence[Sequence[Ids]],
    rows: int,
    report: Report | None,
) -> Scores:
    """Read each context but its last id once; then that id and each of the answers behind it."""
    k = len(answers[0])
    longest = [max(map(len, options)) for options in answers]
    scores = np.empty((len(contexts), k))
    device = model.tokens.weight.device
    lengths = [len(context) for context in contexts]
    with _scoring(model):
        # a cache takes memory for every answer, not only for what is read: k times the ids
        for batch in _batches(lengths, rows, longest, limit=model.config.n_ctx, copies=k):
            # the last id is read with the answers: its state predicts their first ids
            past, past_lengths = _padded([contexts[i][:-1] for i in batch], device)
            room = past.shape[1] + max(longest[i] for i in batch)
            cache = KeyValueCache(
                model.config,
                len(batch),
                capacity=room,
                device=device,
                dtype=model.tokens.weight.dtype,
            )
            if past.shape[1]:
                model.hidden(past, cache=cache)
                cache.advance(past_lengths)
            cache.keep(torch.arange(len(batch), device=device).repeat_interleave(k))
            pairs = [(contexts[i][-1:], answer) for i in batch for answer in answers[i]]
            ids, _ = _padded([last + answer for last, answer in pairs], device)
            hidden = model.hidden(ids[:, :-1], cache=cache)
            means = _means(model, hidden, ids[:, 1:], [(0, len(answer)) for _, answer in pairs])
            scores[batch] = means.reshape(len(batch), k)
            if report is not None:
                report(len(batch))
    return scores


def _means(
    model: LanguageModel, hidden: Tensor, targets: Tensor, spans: Sequence[tuple[int, int]]
) -> Scores:
    """Return the mean log-probability of targets[i, first:end] of each row (B,).

    hidden (B, T, C) are the states that predict targets (B, T). Only they meet the head, a few at a
    time: logits of all positions would be the largest thing here.
    """
    weight = model.tokens.weight
    places = torch.cat([torch.arange(first, end) for first, end in spans]).to(hidden.device)
    counts = torch.tensor([end - first for first, end in spans], device=hidden.device)
    row = torch.repeat_interleave(counts)
    states, labels = hidden[row, places], targets[row, places]
    found = []
    step = max(1, 4 * CACHED // len(weight))
    for h, y in zip(torch.split(states, step), torch.split(labels, step), strict=True):
        logits = h @ weight.T
        found.append(logits.gather(1, y[:, None])[:, 0] - logits.logsumexp(1))
    sums = torch.zeros(len(spans), dtype=torch.float64)
    sums.index_add_(0, row.cpu(), torch.cat(found).cpu().double())
    means: Scores = (sums / counts.cpu()).numpy()
    return means


@contextmanager
def _scoring(model: LanguageModel) -> Iterator[None]:
    """Switch dropout, gradients and autocast off for a while."""
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


def _padded(sequences: Sequence[Ids], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ids (B, T), filled up on the right with id 0, and lengths (B,)."""
    lengths = [len(ids) for ids in sequences]
    ids = torch.zeros(len(sequences), max(lengths), dtype=torch.int64)
    for row, sequence in zip(ids, sequences, strict=True):
        row[: len(sequence)] = torch.tensor(sequence, dtype=torch.int64)
    return ids.to(device), torch.tensor(lengths, device=device)
