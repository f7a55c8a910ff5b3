"""The released vocabulary, and the plain pipelines to compare with."""

from __future__ import annotations

from pathlib import Path

import pytest
from release_text import Release

from gpt1.text.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def released(release_vocabulary: Path) -> Tokenizer:
    return Tokenizer.load(release_vocabulary)


@pytest.fixture(scope="session")
def plain(release_vocabulary: Path) -> Release:
    return Release(
        release_vocabulary / "encoder_bpe_40000.json", release_vocabulary / "vocab_40000.bpe"
    )
