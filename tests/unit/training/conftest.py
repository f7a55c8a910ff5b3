"""A vocabulary and a model small enough to train in a test."""

from __future__ import annotations

import pytest

from gpt1.config import ModelConfig
from gpt1.text.tokenizer import Tokenizer

WORDS = "the cat sat on a mat and the dog ran to the sea where an old man told a tale of rain"


@pytest.fixture(scope="session")
def stories() -> list[str]:
    words = WORDS.split()
    return [" ".join(words[(i * k) % 20] for i in range(3, 14 + k % 5)) for k in range(1, 60)]


@pytest.fixture(scope="session")
def tokenizer(stories: list[str]) -> Tokenizer:
    return Tokenizer.train(stories, vocab_size=55)


@pytest.fixture
def shape(tokenizer: Tokenizer) -> ModelConfig:
    return ModelConfig(vocab_size=len(tokenizer), n_ctx=64, n_embd=16, n_layer=2, n_head=2)
