"""docs/gpt1_in_numpy.py, the readable twin, against the model and the tokenizer."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import gpt1
import tiny
from gpt1.checkpoint import folder
from gpt1.model.transformer import Transformer
from gpt1.text.bpe import BPE
from gpt1.text.tokenizer import Tokenizer
from tolerances import TWIN

FILE = Path(__file__).parents[2] / "docs" / "gpt1_in_numpy.py"
MINI = FILE.parents[1] / "src" / "gpt1" / "assets" / "mini"


@pytest.fixture(scope="module")
def twin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpt1_in_numpy", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("twin")
    tiny.write_vocabulary(path / "vocabulary")
    folder.save(path / "model", tiny.model(), Tokenizer.load(path / "vocabulary"))
    return path / "model"


@pytest.fixture(scope="module")
def model(place: Path) -> Transformer:
    return folder.build(folder.load(place)).double()


@pytest.fixture(scope="module")
def weights(twin: ModuleType, place: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    return twin.read_weights(place), json.loads((place / "config.json").read_text())


@pytest.mark.parametrize("length", [1, 2, 11, 32])
def test_the_logits_agree(
    twin: ModuleType, model: Transformer, weights: tuple[Any, Any], length: int
) -> None:
    ids = np.random.default_rng(length).integers(99, size=length).tolist()
    logits = model(torch.tensor([ids])).logits[0]
    assert_close(torch.from_numpy(twin.forward(ids, *weights)), logits, **TWIN)


def words_of_jokes(data: Path) -> Iterator[str]:
    for file in sorted((data / "jokes").rglob("*.csv")):
        with file.open(encoding="utf-8", newline="") as lines:
            for row in csv.reader(lines):
                yield from re.findall(r"\w+|[^\w\s]", " ".join(row).lower())


def test_the_loss_and_the_greedy_text_agree(
    twin: ModuleType, model: Transformer, weights: tuple[Any, Any]
) -> None:
    ids = np.random.default_rng(0).integers(99, size=20).tolist()
    loss = model(torch.tensor([ids]), labels=torch.tensor([ids])).loss
    assert_close(torch.tensor(twin.loss(ids, *weights)), loss, **TWIN)
    written = torch.tensor([[3, 14, 15]])
    while written.shape[1] < 20:
        written = torch.cat([written, model(written).logits[:, -1:].argmax(-1)], 1)
    assert twin.generate([3, 14, 15], *weights, 20) == written[0].tolist()


def test_it_reads_every_word_of_the_jokes_and_the_article_s_prompt(
    twin: ModuleType, data_folder: Path, release_vocabulary: Path, tmp_path: Path
) -> None:
    for ours, released in (("vocab.json", "encoder_bpe_40000.json"),
                           ("merges.txt", "vocab_40000.bpe")):  # fmt: skip
        (tmp_path / ours).write_bytes((release_vocabulary / released).read_bytes())
    vocabulary, ranks = twin.read_vocabulary(tmp_path)
    ids = twin.encode("Hello , my dog is cute and", vocabulary, ranks)
    assert ids == [3570, 240, 547, 2585, 544, 4957, 488]
    fast = BPE(vocabulary, list(ranks))
    words = sorted(set(words_of_jokes(data_folder)))[::7]
    assert len(words) > 500
    for word in words:
        assert twin.encode_word(word, vocabulary, ranks) == list(fast(word)), word


def test_it_runs_on_mini_as_its_page_says() -> None:
    page = (FILE.parent / "numpy.md").read_text("utf-8")
    command = [sys.executable, str(FILE), str(MINI), "it was a dark and"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert f"```text\n{done.stdout}```" in page, done.stderr
    gpt = gpt1.load("mini", dtype="float32")
    ids = gpt.generate("it was a dark and", max_length=20).ids
    assert done.stdout.split() == gpt.tokenizer.decode(ids, clean_up=False).split()


def test_it_runs_as_a_script(place: Path) -> None:
    command = [sys.executable, str(FILE), str(place), "the dog"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the dog ")
    assert "torch" not in FILE.read_text("utf-8")
