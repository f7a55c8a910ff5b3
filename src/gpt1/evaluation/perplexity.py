"""How well a model predicts a text, by token and by byte."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gpt1.callbacks import ProgressCallback
from gpt1.data.batches import WindowBatches
from gpt1.errors import DataError, counted
from gpt1.generation.scoring import continuation_logprobs
from gpt1.model.build import Model
from gpt1.model.losses import perplexity
from gpt1.text.tokenizer import IdArray, Tokenizer

_ROWS = 8
"""Windows in one forward pass."""


@dataclass(frozen=True)
class Perplexity:
    """The loss in nats per token, its exponential, and bits per UTF-8 byte of the raw text."""

    loss: float
    perplexity: float
    bits_per_byte: float
    targets: int
    bytes: int


def measure(
    model: Model,
    tokenizer: Tokenizer,
    texts: Iterable[str],
    *,
    progress: ProgressCallback | None = None,
) -> Perplexity:
    """Measure `model` on texts joined in their order, in float32 without dropout.

    Blocks are n_ctx + 1 ids at stride n_ctx, so every id but the first is a target once. `progress`
    counts targets. Raises DataError for fewer than two tokens.
    """
    parts: list[IdArray] = []
    size = 0
    for text in texts:
        size += len(text.encode())
        parts.append(tokenizer.encode_array(text))
    ids = np.concatenate(parts) if parts else np.empty(0, np.int64)
    if len(ids) < 2:
        raise DataError(
            f"the text has {counted(len(ids), 'token')}; perplexity is not defined below two."
        )
    n_ctx = min(model.config.n_ctx, len(ids) - 1)
    total, done = 0.0, 0
    for batch in WindowBatches(ids, n_ctx, _ROWS).once():
        logprobs = continuation_logprobs(
            model, batch.ids[:, :1].tolist(), [[targets] for targets in batch.labels.tolist()]
        )
        total -= sum(float(row.sum()) for (row,) in logprobs)
        done += batch.labels.size
        if progress is not None:
            progress(done, len(ids) - 1)
    loss = total / done
    return Perplexity(loss, perplexity(loss), total / math.log(2) / size, done, size)
