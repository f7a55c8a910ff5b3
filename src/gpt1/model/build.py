"""Which model a configuration describes."""

from __future__ import annotations

import torch

from gpt1.config import ModelConfig
from gpt1.model.lstm import LSTM
from gpt1.model.transformer import Transformer

Model = Transformer | LSTM


def build_model(config: ModelConfig, *, generator: torch.Generator | None = None) -> Model:
    """Return a model with random weights: the LSTM baseline if n_hidden is set, else a GPT-1."""
    if config.n_hidden is None:
        return Transformer(config, generator=generator)
    return LSTM(config, generator=generator)
