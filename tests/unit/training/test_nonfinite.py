"""NaN or infinity anywhere: noticed at once, never learned from, never saved."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import gpt1
from gpt1 import storage
from gpt1.data.shards import write_shards
from gpt1.data.tables import open_texts
from gpt1.errors import GPT1Error, TrainingError
from gpt1.text.tokenizer import Tokenizer
from gpt1.training import objectives
from gpt1.training.step import Updater

SIZE = "[model]\nvocab_size = 80\nn_ctx = 8\nn_embd = 8\nn_layer = 2\nn_head = 2\n"
AT = 5
"""The update (from 0) at which something goes wrong."""
WEIGHTS = ("tokens.weight", "positions.weight", "blocks.0.attention.qkv.weight",
           "blocks.1.mlp.fc.bias", "blocks.1.ln_2.weight")  # fmt: skip
BAD = (math.nan, math.inf, -math.inf)


@pytest.fixture(scope="module")
def corpus(
    tmp_path_factory: pytest.TempPathFactory, stories: list[str], tokenizer: Tokenizer
) -> Path:
    place = tmp_path_factory.mktemp("corpus")
    (place / "size.toml").write_text(SIZE)
    (place / "text.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in stories))
    write_shards(place / "shards", open_texts(place / "text.jsonl"), tokenizer, workers=1)
    return place


def train(corpus: Path, out: Path, *more: str) -> gpt1.GPT1:
    settings = ["train.steps=12", "train.batch_size=2", "train.dtype=float32",
                "train.save_every=1", "train.keep_checkpoints=20", "train.eval_every=12",
                "train.snapshots=[0.5,1.0]", "train.sample_prompt=", *more]  # fmt: skip
    return gpt1.pretrain(
        corpus / "shards", valid=corpus / "shards", size=str(corpus / "size.toml"), out=out,
        overrides=settings,
    )  # fmt: skip


def all_finite(run: Path) -> bool:
    """Tell whether every tensor that was ever published in a run is finite; there must be some."""
    files = list(run.rglob("*.safetensors"))
    assert files
    loaded = (safetensors.torch.load_file(file) for file in files)
    return all(bool(t.isfinite().all()) for tensors in loaded for t in tensors.values())


def skipped(run: Path) -> list[int]:
    lines = storage.Log(run / "metrics.jsonl").read()
    return [line["step"] for line in lines if "skipped" in line]


def before_update(monkeypatch: pytest.MonkeyPatch, spoil: Any) -> None:
    """Call spoil(model, optimizer) before update AT, once."""
    update = Updater.update

    def spoiled(self: Updater, batches: Any, number: int, *args: Any) -> Any:
        if number == AT:
            spoil(self.model, self.optimizer)
        return update(self, batches, number, *args)

    monkeypatch.setattr(Updater, "update", spoiled)


@pytest.mark.parametrize(("name", "bad"), list(itertools.product(WEIGHTS, BAD)))
def test_a_weight_that_is_not_finite_is_never_published(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, bad: float
) -> None:
    def spoil(model: Any, optimizer: Any) -> None:
        with torch.no_grad():
            model.get_parameter(name).view(-1)[3] = bad

    before_update(monkeypatch, spoil)
    run = tmp_path / "run"
    with pytest.raises(GPT1Error):
        train(corpus, run)
    newest = max((run / "checkpoints").glob("step-*")).name
    assert newest == f"step-{AT:08d}"
    assert all_finite(run)


@pytest.mark.parametrize("moment", ["exp_avg", "exp_avg_sq"])
@pytest.mark.parametrize("bad", BAD)
def test_a_moment_that_is_not_finite_is_never_published(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, bad: float
) -> None:
    def spoil(model: Any, optimizer: Any) -> None:
        optimizer.state[model.positions.weight][moment].view(-1)[3] = bad

    before_update(monkeypatch, spoil)
    run = tmp_path / "run"
    with pytest.raises(GPT1Error, match="finite"):
        train(corpus, run)
    assert all_finite(run)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_one_bad_batch_is_left_out_and_the_run_goes_on(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, bad: float
) -> None:
    wrong = False
    sums = objectives.token_mean.sums

    def spoiled_sums(model: Any, batch: Any) -> dict[str, torch.Tensor]:
        found = sums(model, batch)
        return {"lm": found["lm"] * bad} if wrong and where == "loss" else found

    def spoil(model: Any, optimizer: Any) -> None:
        nonlocal wrong
        wrong = True
        if where == "gradient":

            def once(grad: torch.Tensor) -> torch.Tensor:
                handle.remove()
                return torch.full_like(grad, bad)

            handle = model.blocks[1].mlp.fc.weight.register_hook(once)

    update = Updater.update

    def watched(self: Updater, batches: Any, number: int, *args: Any) -> Any:
        nonlocal wrong
        if number == AT:
            spoil(self.model, self.optimizer)
        weights = {k: v.clone() for k, v in self.model.state_dict().items()}
        try:
            return update(self, batches, number, *args)
        finally:
            if wrong:  # the optimizer was not stepped
                now = self.model.state_dict()
                assert all(torch.equal(value, now[name]) for name, value in weights.items())
            wrong = False

    monkeypatch.setattr(Updater, "update", watched)
    objective = objectives.Objective(
        spoiled_sums, objectives.token_mean.counts, objectives.token_mean.weights
    )
    monkeypatch.setitem(objectives.BY_NAME, "token_mean", objective)
    run = tmp_path / "run"
    train(corpus, run)
    assert skipped(run) == [AT + 1]
    assert all_finite(run)


@pytest.mark.parametrize("allowed", [0, 2])
def test_too_many_bad_batches_in_a_row_end_the_run(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    sums = objectives.token_mean.sums
    objective = objectives.Objective(
        lambda model, batch: {"lm": sums(model, batch)["lm"] * (math.nan if model.training else 1)},
        objectives.token_mean.counts,
        objectives.token_mean.weights,
    )
    monkeypatch.setitem(objectives.BY_NAME, "token_mean", objective)
    with pytest.raises(TrainingError, match=f"at update {allowed + 1} the loss is nan"):
        train(corpus, tmp_path / "run", f"train.max_skipped={allowed}")
    assert len(skipped(tmp_path / "run")) == allowed


def test_a_validation_loss_that_is_not_finite_ends_the_run(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = objectives.token_mean.sums
    objective = objectives.Objective(
        lambda model, batch: {"lm": sums(model, batch)["lm"] * (1 if model.training else math.inf)},
        objectives.token_mean.counts,
        objectives.token_mean.weights,
    )
    monkeypatch.setitem(objectives.BY_NAME, "token_mean", objective)
    with pytest.raises(TrainingError, match="after update 0 the validation loss is inf"):
        train(corpus, tmp_path / "run")


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_memory_that_runs_out_ends_the_run_with_advice_and_it_can_go_on(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def short(model: Any, optimizer: Any) -> None:
        raise error

    update = Updater.update
    before_update(monkeypatch, short)
    with pytest.raises(TrainingError, match=r"memory ran out at update 6.*micro_batch_size \(2"):
        train(corpus, tmp_path / "run")
    monkeypatch.setattr(Updater, "update", update)
    resumed = gpt1.pretrain(
        corpus / "shards", valid=corpus / "shards", size=str(corpus / "size.toml"),
        out=tmp_path / "run", resume=True,
        overrides=["train.steps=12", "train.batch_size=2", "train.dtype=float32",
                   "train.eval_every=12", "train.sample_prompt="],
    )  # fmt: skip
    whole = train(corpus, tmp_path / "whole")
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])
