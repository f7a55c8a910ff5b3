"""NaN or infinity anywhere: noticed at once, never learned from, never saved."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import runs
import safetensors.torch
import torch
from runs import Corpus, history, same

from gpt1.errors import GPT1Error, TrainingError
from gpt1.training import objectives
from gpt1.training.step import Updater

SHAPE = {"n_ctx": 8, "n_embd": 8, "n_layer": 2, "n_head": 2}
SETTINGS = (
    "train.steps=12", "train.batch_size=2", "train.dtype=float32", "train.save_every=1",
    "train.keep_checkpoints=20", "train.eval_every=12", "train.snapshots=[0.5,1.0]",
    "train.sample_prompt=",
)  # fmt: skip
AT = 5
"""The update (from 0) at which something goes wrong."""
WEIGHTS = ("tokens.weight", "positions.weight", "blocks.0.attention.qkv.weight",
           "blocks.1.mlp.fc.bias", "blocks.1.ln_2.weight")  # fmt: skip
BAD = (math.nan, math.inf, -math.inf)


def all_finite(run: Path) -> bool:
    """Tell whether every tensor that was ever published in a run is finite; there must be some."""
    files = list(run.rglob("*.safetensors"))
    assert files
    loaded = (safetensors.torch.load_file(file) for file in files)
    return all(bool(t.isfinite().all()) for tensors in loaded for t in tensors.values())


def skipped(run: Path) -> list[int]:
    return [line["step"] for line in history(run) if "skipped" in line]


def before_update_at(patch: pytest.MonkeyPatch, spoil: Callable[[Updater], None]) -> None:
    """Call spoil(updater) before update AT."""
    runs.before_updates(patch, lambda updater, n: spoil(updater) if n == AT else None)


def set_sums(patch: pytest.MonkeyPatch, factor: Callable[[Any], float]) -> None:
    """Let the loss over a batch be factor(model) times what it is."""
    mean = objectives.token_mean
    objective = objectives.Objective(
        lambda model, batch: {"lm": mean.sums(model, batch)["lm"] * factor(model)},
        mean.counts,
        mean.weights,
    )
    patch.setitem(objectives.BY_NAME, "token_mean", objective)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", WEIGHTS)
def test_a_weight_that_is_not_finite_is_never_published(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, bad: float
) -> None:
    def spoil(updater: Updater) -> None:
        with torch.no_grad():
            updater.model.get_parameter(name).view(-1)[3] = bad

    before_update_at(monkeypatch, spoil)
    run = tmp_path / "run"
    with pytest.raises(GPT1Error):
        corpus.train(run)
    assert max((run / "checkpoints").glob("step-*")).name == f"step-{AT:08d}"
    assert all_finite(run)


@pytest.mark.parametrize("moment", ["exp_avg", "exp_avg_sq"])
@pytest.mark.parametrize("bad", BAD)
def test_a_moment_that_is_not_finite_is_never_published(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, bad: float
) -> None:
    def spoil(updater: Updater) -> None:
        updater.optimizer.state[updater.model.positions.weight][moment].view(-1)[3] = bad

    before_update_at(monkeypatch, spoil)
    with pytest.raises(GPT1Error, match="finite"):
        corpus.train(tmp_path / "run")
    assert all_finite(tmp_path / "run")


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_one_bad_batch_is_left_out_and_the_run_goes_on(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, bad: float
) -> None:
    factor = 1.0
    weights: dict[int, dict[str, torch.Tensor]] = {}

    def act(updater: Updater, number: int) -> None:
        nonlocal factor
        state = updater.model.state_dict()
        weights[number] = {name: value.clone() for name, value in state.items()}
        factor = bad if where == "loss" and number == AT else 1.0
        if where == "gradient" and number == AT:

            def once(gradient: torch.Tensor) -> torch.Tensor:
                hook.remove()
                return torch.full_like(gradient, bad)

            hook = updater.model.blocks[1].mlp.fc.weight.register_hook(once)

    runs.before_updates(monkeypatch, act)
    set_sums(monkeypatch, lambda model: factor)
    corpus.train(tmp_path / "run")
    assert skipped(tmp_path / "run") == [AT + 1]
    assert all_finite(tmp_path / "run")
    unchanged = [
        all(torch.equal(value, weights[number + 1][name]) for name, value in state.items())
        for number, state in weights.items()
        if number + 1 in weights
    ]
    assert unchanged == [number in (0, AT) for number in range(11)]  # the first has rate 0


@pytest.mark.parametrize(("allowed", "numbers"), [(0, "0 to 1"), (2, "4 to 5")])
def test_too_many_bad_batches_in_a_row_end_the_run(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int, numbers: str
) -> None:
    set_sums(monkeypatch, lambda model: math.nan if model.training else 1.0)
    before = f".*The {allowed} before it were left out" if allowed else ""
    said = f"at update {allowed + 1} the loss is nan.*numbers {numbers} {before}.*dtype=float32"
    with pytest.raises(TrainingError, match=said):
        corpus.train(tmp_path / "run", f"train.max_skipped={allowed}")
    assert len(skipped(tmp_path / "run")) == allowed


def test_a_validation_loss_that_is_not_finite_ends_the_run(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_sums(monkeypatch, lambda model: 1.0 if model.training else math.inf)
    with pytest.raises(TrainingError, match="after update 0 the validation loss is inf"):
        corpus.train(tmp_path / "run")


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_memory_that_runs_out_ends_the_run_with_advice_and_it_can_go_on(
    corpus: Corpus, tmp_path: Path, error: Exception
) -> None:
    def short(updater: Updater) -> None:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        before_update_at(patch, short)
        with pytest.raises(
            TrainingError, match=r"memory ran out at update 6.*micro_batch_size \(2"
        ):
            corpus.train(tmp_path / "run")
    resumed = corpus.train(tmp_path / "run", "train.keep_checkpoints=2", resume=True)
    assert same(corpus.train(tmp_path / "whole"), resumed)
