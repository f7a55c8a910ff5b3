"""Perplexity against a plain loop over every token."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
import torch

import tiny
from gpt1.checkpoint import folder
from gpt1.cli import main, progress
from gpt1.config import ModelConfig
from gpt1.errors import DataError
from gpt1.evaluation.perplexity import measure
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import Tokenizer

TEXTS = ["a cat sat on a mat and a rat sat on a cat", "the rat ran", "on and on — it sat"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, vocab_size=30)


@pytest.mark.parametrize("n_ctx", [3, 7, 16, 500])
def test_every_id_but_the_first_counts_once(tokenizer: Tokenizer, n_ctx: int) -> None:
    shape = ModelConfig(vocab_size=len(tokenizer), n_ctx=n_ctx, n_embd=12, n_layer=2, n_head=2)
    model = Transformer(shape, generator=torch.Generator().manual_seed(0)).eval()
    ids = [i for text in TEXTS for i in tokenizer.encode(text)]
    total = 0.0
    for target in range(1, len(ids)):
        start = (target - 1) // n_ctx * n_ctx  # its block begins at a multiple of n_ctx
        logits = model(torch.tensor([ids[start:target]])).logits[0, -1]
        total -= logits.log_softmax(-1)[ids[target]].item()
    found = measure(model, tokenizer, TEXTS)
    size = sum(len(text.encode()) for text in TEXTS)
    assert found.targets == len(ids) - 1
    assert found.loss == pytest.approx(total / found.targets, rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(total / found.targets), rel=1e-4)
    assert found.bits_per_byte == pytest.approx(total / math.log(2) / size, rel=1e-5)


def test_one_token_is_nothing_to_predict(tokenizer: Tokenizer) -> None:
    model = Transformer(
        ModelConfig(vocab_size=len(tokenizer), n_ctx=4, n_embd=4, n_layer=1, n_head=1)
    )
    with pytest.raises(DataError, match="below two"):
        measure(model, tokenizer, ["a"])


def test_without_a_terminal_a_line_is_printed_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.write_vocabulary(tmp_path / "vocabulary")
    folder.save(tmp_path / "model", tiny.model(), Tokenizer.load(tmp_path / "vocabulary"))
    (tmp_path / "text.txt").write_text("the dog and the cat " * 120)
    command = ["gpt1", "evaluate", str(tmp_path / "model"), str(tmp_path / "text.txt"), "--json"]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    with pytest.raises(SystemExit):
        main()
    printed = capsys.readouterr()
    targets = json.loads(printed.out)["targets"]
    assert targets == 599
    assert printed.err.splitlines()[:-2] == [
        f"evaluating: {done} of {targets} tokens" for done in (256, 512, 576, 599)
    ]
