"""The four zero-shot heuristics of the paper's figure 2, right (section 5; spec 7.2).

    acceptability   whether the mean log-probability of a sentence's tokens is above a threshold
    sentiment       whether "positive" or "negative" is likelier after the text and "very"
    choices         the answer whose tokens are likeliest after document and question
    schemas         the candidate after which the rest of the sentence is likeliest

Nothing is trained. A text's first token has nothing before it and is never scored (spec 7.2.5).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpt1.callbacks import ProgressCallback
from gpt1.errors import InputError, counted
from gpt1.generation.scoring import continuation_logprobs, next_logits
from gpt1.model.build import Model
from gpt1.tasks.datasets.winograd import Schema
from gpt1.tasks.metrics import matthews
from gpt1.text.tokenizer import Tokenizer

Scores = NDArray[np.float64]
Ids = list[int]
Progress = ProgressCallback | None

PROMPT, NEGATIVE, POSITIVE = " very", "negative", "positive"
"""Spec 7.2.2; ids 963, 9503 and 6353 of the released vocabulary."""


def acceptability(
    model: Model, tokenizer: Tokenizer, texts: Sequence[str], progress: Progress = None
) -> Scores:
    """Return each text's mean log-probability (n,), in nats per token (spec 7.2.1).

    Only the first n_ctx + 1 ids of a text count. Raises InputError for fewer than two.
    """
    encoded = tokenizer.encode_batch(texts)
    for number, ids in enumerate(encoded):
        if len(ids) < 2:
            raise InputError(
                f"text {number}, {texts[number][:40]!r}, has {counted(len(ids), 'token')}; a score "
                f"needs at least two. Leave it out."
            )
    first = [ids[:1] for ids in encoded]
    rest = [[ids[1 : model.config.n_ctx + 1]] for ids in encoded]
    return choices_of_ids(model, first, rest, progress).reshape(len(texts))


def best_threshold(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the threshold above which scores are class 1 with the best Matthews (spec 7.2.1).

    It is midway between two neighbouring scores, or below them all; the lowest of equally good
    ones. Raises InputError for empty or unequal columns, and labels other than 0 and 1.
    """
    s, y = np.asarray(scores, np.float64), np.asarray(labels)
    matthews(y, s > 0)  # refuses columns that are empty or unequal
    if not np.isin(y, (0, 1)).all() or not np.isfinite(s).all():
        raise InputError(
            "labels hold other classes than 0 and 1, or scores nan or infinity; give finite "
            "scores, and the label 1 for acceptable texts."
        )
    order = np.argsort(s, kind="stable")
    s, y = s[order], y[order].astype(np.float64)
    n, positives = len(s), y.sum()
    above = np.arange(n, 0, -1)  # how many scores each cut leaves above it
    hits = y[::-1].cumsum()[::-1]  # positives among them
    spread = positives * (n - positives) * above * (n - above)
    covariance = hits * n - positives * above
    quality = np.divide(covariance, np.sqrt(spread), out=np.zeros(n), where=spread > 0)
    quality[1:][s[1:] == s[:-1]] = -np.inf  # no cut between equal scores
    cut = int(np.argmax(quality))
    if cut == 0:
        return float(s[0] - 1.0)
    middle = float((s[cut - 1] + s[cut]) / 2)
    return middle if middle < s[cut] else float(s[cut - 1])  # neighbours a rounding apart


def sentiment(
    model: Model, tokenizer: Tokenizer, texts: Sequence[str], progress: Progress = None
) -> Scores:
    """Return the logits (n, 2) of "negative" and "positive" after each text and "very".

    If a word is several tokens, the columns are the mean log-probabilities of the words' tokens
    instead. Of a text that is too long, the last ids are read (spec 7.2.2).
    """
    prompt = tokenizer.encode(PROMPT)
    words = [tokenizer.encode(NEGATIVE), tokenizer.encode(POSITIVE)]
    contexts = [ids + prompt for ids in tokenizer.encode_batch(texts)]
    if any(len(word) > 1 for word in words):
        return choices_of_ids(model, contexts, [words] * len(contexts), progress)
    contexts = [ids[-model.config.n_ctx :] for ids in contexts]
    return next_logits(model, contexts, [word[0] for word in words], progress=progress)


def sentiment_lengths(tokenizer: Tokenizer) -> list[int]:
    """Return how many tokens "negative" and "positive" have."""
    return [len(tokenizer.encode(word)) for word in (NEGATIVE, POSITIVE)]


def choices(
    model: Model,
    tokenizer: Tokenizer,
    contexts: Sequence[str],
    answers: Sequence[Sequence[str]],
    progress: Progress = None,
) -> Scores:
    """Return the mean log-probability (n, K) of each answer's tokens after its context.

    A context is document and question, separated by a blank (spec 7.2.3); `answers` are n lists of
    K. A context that is too long loses its first ids, as many as its longest answer needs, so that
    all K answers follow the same ids. Raises InputError for a context or an answer without tokens,
    and for an answer that is too long.
    """
    context_ids = tokenizer.encode_batch(contexts)
    options = [tokenizer.encode_batch(texts) for texts in answers]
    return choices_of_ids(model, context_ids, options, progress)


def choices_of_ids(
    model: Model,
    contexts: Sequence[Ids],
    answers: Sequence[Sequence[Ids]],
    progress: Progress = None,
) -> Scores:
    """Like `choices`, for ids."""
    counts = sorted({len(options) for options in answers})
    if len(contexts) != len(answers) or len(counts) > 1:
        raise InputError(
            f"there are {counted(len(contexts), 'context')} and "
            f"{counted(len(answers), 'list')} of answers, with "
            f"{' or '.join(map(str, counts))} in a list; give every context the same number."
        )
    limit = model.config.n_ctx
    shortened = []
    for number, (context, options) in enumerate(zip(contexts, answers, strict=True)):
        longest = max(map(len, options))
        if longest > limit:
            raise InputError(
                f"row {number} has an answer of {longest} tokens; the model has {limit} positions. "
                f"Leave the row out."
            )
        shortened.append(context[-(limit + 1 - longest) :])
    logprobs = continuation_logprobs(model, shortened, answers, progress=progress)
    means = [[option.mean() for option in row] for row in logprobs]
    return np.array(means).reshape(len(contexts), *counts or [0])


def schemas(
    model: Model, tokenizer: Tokenizer, sentences: Sequence[Schema], progress: Progress = None
) -> Scores:
    """Return the mean log-probability (n, K) of what follows each candidate put for the pronoun.

    Only the rest of the sentence is scored, not the candidate itself (spec 7.2.4). The rest is
    tokenized by itself, so that its ids are the same after all candidates. Raises InputError if
    nothing follows.
    """
    counts = sorted({len(schema.options) for schema in sentences})
    if len(counts) > 1:
        raise InputError(
            f"schemas have {' or '.join(map(str, counts))} candidates; give all the same number."
        )
    contexts: list[Ids] = []
    rests: list[list[Ids]] = []
    for number, schema in enumerate(sentences):
        rest = tokenizer.encode(schema.text[schema.start + len(schema.pronoun) :])
        if not 0 < len(rest) <= model.config.n_ctx:
            raise InputError(
                f"schema {number}, {schema.text[:40]!r}, has {len(rest)} tokens after its pronoun; "
                f"there must be 1 to {model.config.n_ctx}. Leave it out."
            )
        before = schema.text[: schema.start]
        contexts += [tokenizer.encode(before + option) for option in schema.options]
        rests += [[rest]] * len(schema.options)
    scores = choices_of_ids(model, contexts, rests, progress)
    return scores.reshape(len(sentences), *counts or [0])
