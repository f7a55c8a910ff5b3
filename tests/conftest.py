"""Shared fixtures: where the real data is, and the vectors that any implementation must match."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real text and data sets (GPT1_DATA); skips where it is missing."""
    folder = Path(os.environ.get("GPT1_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data folder at {folder}; set GPT1_DATA")
    return folder


@pytest.fixture(scope="session")
def release_vocabulary(data_folder: Path) -> Path:
    """The folder of the vocabulary files that OpenAI released."""
    return data_folder / "gpt1_bpe"


@pytest.fixture(scope="session")
def tokenizer_vectors() -> list[dict[str, Any]]:
    return json.loads((ROOT / "tests/vectors/tokenizer-vectors.json").read_text("utf-8"))["vectors"]


@pytest.fixture(scope="session")
def model_vectors() -> dict[str, Any]:
    return json.loads((ROOT / "tests/vectors/model-vectors.json").read_text("utf-8"))
