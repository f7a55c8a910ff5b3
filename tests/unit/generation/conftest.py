"""A model and a tokenizer of the article's sentence."""

from __future__ import annotations

import pytest
import torch

from gpt1.config import ModelConfig
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import Tokenizer


@pytest.fixture(scope="package")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["hello , my dog is cute and i ' m so cute ."] * 3, vocab_size=50)


@pytest.fixture(scope="package")
def model(tokenizer: Tokenizer) -> Transformer:
    shape = {"n_ctx": 64, "n_embd": 24, "n_layer": 2, "n_head": 2, "initializer_range": 0.3}
    config = ModelConfig(vocab_size=len(tokenizer), **shape)
    return Transformer(config, generator=torch.Generator().manual_seed(5)).eval()
