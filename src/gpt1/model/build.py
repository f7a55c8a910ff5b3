"""Build the model that a configuration describes, and grow its vocabulary."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from gpt1.config import ModelConfig
from gpt1.errors import InputError
from gpt1.model.lstm import LSTM
from gpt1.model.transformer import Transformer, embedding

Model = Transformer | LSTM


def build_model(config: ModelConfig, *, generator: torch.Generator | None = None) -> Model:
    """Return a model with random weights: the LSTM baseline if n_hidden is set, else a GPT-1."""
    if config.n_hidden is None:
        return Transformer(config, generator=generator)
    return LSTM(config, generator=generator)


def count_parameters(config: ModelConfig) -> int:
    """Return the number of weights of a model of this shape (spec 1.9.1).

    >>> count_parameters(ModelConfig())
    116534784
    """
    with torch.device("meta"):
        return build_model(config).num_parameters()


def fingerprint(model: Model) -> str:
    """Return a hash of all weights."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)} ".encode())
        digest.update(weight.detach().cpu().float().contiguous().numpy())
    return digest.hexdigest()


def grow_vocabulary(model: Model, size: int, *, generator: torch.Generator | None = None) -> None:
    """Grow the token matrix to `size` rows; new rows are drawn from normal(0, 0.02) (spec 2.7).

    Logits of the old tokens do not change. Raises InputError for fewer rows than it has.
    """
    old = model.tokens.weight.detach()
    if size < len(old):
        raise InputError(f"the model has {len(old):,} tokens; it cannot shrink to {size:,}.")
    new = torch.empty(size - len(old), old.shape[1], dtype=old.dtype)
    nn.init.normal_(new, std=model.config.initializer_range, generator=generator)
    weight = torch.cat([old, new.to(old.device)])
    model.tokens = embedding(weight)
    model.config = model.config.model_copy(update={"vocab_size": size})
