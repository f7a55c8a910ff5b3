"""A vocabulary and a model small enough to train in a test."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import Corpus, make_corpus

import gpt1
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


@pytest.fixture(scope="module")
def corpus(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory,
    stories: list[str], tokenizer: Tokenizer,
) -> Corpus:  # fmt: skip
    """Shards, and runs over them of the module's SHAPE and SETTINGS."""
    place, module = tmp_path_factory.mktemp("corpus"), request.module
    return make_corpus(place, stories, tokenizer, module.SHAPE, *module.SETTINGS)


@pytest.fixture(scope="module")
def whole(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[gpt1.GPT1, Path]:
    """A run never interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return corpus.train(out), out
