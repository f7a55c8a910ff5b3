"""The LSTM baseline goes through the one training loop, and what comes out can be measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import runs
import torch
from runs import Corpus, history, same

import gpt1
from gpt1.checkpoint import folder
from gpt1.config import ModelConfig, load_size
from gpt1.errors import InputError
from gpt1.evaluation.perplexity import measure
from gpt1.model.build import count_parameters
from gpt1.model.lstm import LSTM
from gpt1.training.estimate import estimate

SHAPE = {"n_ctx": 16, "n_embd": 16, "n_layer": 1, "n_head": 1, "n_hidden": 24}
SETTINGS = (
    "train.batch_size=4", "train.micro_batch_size=2", "train.dtype=float32", "train.save_every=3",
    "train.eval_every=4", "optimizer.lr=3e-2", "train.steps=10",
)  # fmt: skip


def test_a_run_learns_and_its_model_is_an_lstm(whole: tuple[gpt1.GPT1, Path]) -> None:
    gpt, out = whole
    losses = [line["valid_loss"] for line in history(out) if "valid_loss" in line]
    assert losses[-1] < losses[0] - 0.3
    assert not any("sample" in line for line in history(out))
    assert isinstance(gpt.model, LSTM)
    again = gpt1.load(out)
    assert isinstance(again.model, LSTM)
    assert same(gpt, again)
    assert json.loads((out / "model" / "config.json").read_text())["model_type"] == "gpt1-lstm"


def test_a_resumed_run_is_the_run_never_interrupted(
    corpus: Corpus, tmp_path: Path, whole: tuple[gpt1.GPT1, Path]
) -> None:
    runs.cut_off(corpus, tmp_path / "run", after=7)
    assert same(corpus.train(tmp_path / "run", resume=True), whole[0])
    assert history(tmp_path / "run") == history(whole[1])


def test_it_is_evaluated_as_the_transformer_is(
    whole: tuple[gpt1.GPT1, Path], stories: list[str]
) -> None:
    gpt = gpt1.load(whole[1])
    found = measure(gpt.model, gpt.tokenizer, stories[50:])
    last = [line["valid_loss"] for line in history(whole[1]) if "valid_loss" in line][-1]
    assert found.loss == pytest.approx(last, abs=0.5)


def test_it_does_not_write_and_says_so(whole: tuple[gpt1.GPT1, Path]) -> None:
    with pytest.raises(InputError, match="LSTM baseline"):
        whole[0].generate("the cat")


def test_its_estimate_is_of_an_lstm() -> None:
    assert count_parameters(load_size("lstm")) == 55_745_792
    shape = ModelConfig(vocab_size=40, **{**SHAPE, "n_ctx": 8})
    for micro in (1, 8, 500):
        found = estimate(
            shape, tokens=1, micro_tokens=micro, device=torch.device("cpu"), dtype=torch.float32
        )
        assert 0 < found.seconds < 1


def test_checkpoints_are_folders_of_it(whole: tuple[gpt1.GPT1, Path]) -> None:
    newest = sorted((whole[1] / "checkpoints").iterdir())[-1]
    loaded = folder.load(newest)
    assert loaded.config.n_hidden == 24
    assert set(loaded.state) == set(whole[0].model.state_dict())
