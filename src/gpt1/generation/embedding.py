"""A vector for each text: the state of a layer at one token, or the mean over all of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from gpt1.callbacks import ProgressCallback
from gpt1.errors import ConfigError, Note, counted
from gpt1.generation.scoring import TOKENS, evaluation_mode
from gpt1.model.padding import pad_right
from gpt1.model.transformer import Transformer
from gpt1.tasks.transforms import Special, single
from gpt1.text.tokenizer import Tokenizer

Pool = Literal["mean", "last", "extract"]


def embed(
    model: Transformer,
    tokenizer: Tokenizer,
    rows: Sequence[Sequence[int]],
    *,
    pool: Pool = "mean",
    layer: int = -1,
    progress: ProgressCallback | None = None,
) -> NDArray[np.float32]:
    """Return a vector (C,) for each row of ids, of at least one each, as float32 (N, C).

    pool: the mean over a text's tokens, its last token, or the extract token that a fine-tuned
    model reads behind it. layer: 0 is the embeddings, n_layer or -1 the last block. Rows do not
    depend on one another. Longer rows than n_ctx keep their beginning, which is a Note. `progress`
    counts rows. Raises ConfigError, and InputError without an extract token.
    """
    config = model.config
    if pool not in get_args(Pool):
        raise ConfigError(f"pool is {pool!r}; it must be mean, last or extract.")
    if (
        isinstance(layer, bool)
        or not isinstance(layer, int)
        or not (-config.n_layer - 1 <= layer <= config.n_layer)
    ):
        raise ConfigError(
            f"layer is {layer!r}; this model has layers 0 (the embeddings) to {config.n_layer}, or "
            f"-1 (the last) to {-config.n_layer - 1}."
        )
    if pool == "extract":
        special = Special.of(tokenizer)
        read = [single([row], special, config.n_ctx)[0][0] for row in rows]
    else:
        read = [list(row[: config.n_ctx]) for row in rows]
    if cut := too_long(rows, config.n_ctx, pool):
        warnings.warn(cut_texts(cut, len(rows)), Note, stacklevel=3)
    vectors = np.empty((len(read), config.n_embd), np.float32)
    order = sorted(range(len(read)), key=lambda i: -len(read[i]))
    done = 0
    with evaluation_mode(model):
        while done < len(order):
            chosen = order[done : done + max(1, TOKENS // len(read[order[done]]))]
            ids, lengths = pad_right([read[i] for i in chosen], device=model.tokens.weight.device)
            states = model.hidden(ids, depth=layer % (config.n_layer + 1)).float()  # (B, T, C)
            lengths = lengths.to(states.device)
            if pool == "mean":
                real = torch.arange(ids.shape[1], device=states.device) < lengths[:, None]
                pooled = states.masked_fill(~real[..., None], 0).sum(1) / lengths[:, None]
            else:
                pooled = states[torch.arange(len(chosen), device=states.device), lengths - 1]
            vectors[chosen] = pooled.cpu().numpy()
            done += len(chosen)
            if progress is not None:
                progress(done, len(order))
    return vectors


def cut_texts(cut: int, texts: int) -> str:
    """Return the note about texts whose ends are not read."""
    s = "s" * (cut == 1)
    return f"{cut:,} of {counted(texts, 'text')} exceed{s} the model's length; the end is cut"


def too_long(rows: Sequence[Sequence[int]], n_ctx: int, pool: Pool) -> int:
    """Return how many rows of ids are longer than the model reads."""
    framed = 2 * (pool == "extract")
    return sum(len(row) + framed > n_ctx for row in rows)
