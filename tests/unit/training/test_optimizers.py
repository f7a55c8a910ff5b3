"""Adam as released, clipping, and the schedules, against the vectors and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gpt1.config import OptimizerConfig, ScheduleConfig, load_run
from gpt1.data.batches import ArticleBatches
from gpt1.errors import ConfigError
from gpt1.training import optimizers, schedules


class OneWeight(nn.Module):
    def __init__(self, value: float, *, matrix: bool) -> None:
        super().__init__()
        shape = (1, 1) if matrix else (1,)
        self.w = nn.Parameter(torch.full(shape, value, dtype=torch.float64))


def test_adam_follows_the_vector(model_vectors: dict[str, Any]) -> None:
    vector = model_vectors["adam_scalar_as_matrix_element"]
    model = OneWeight(vector["p0"], matrix=True)
    config = OptimizerConfig(lr=vector["lr"], weight_decay=vector["l2"], max_grad_norm=None)
    optimizer = optimizers.build(model, config)
    for gradient, expected in zip(vector["grads"], vector["p_after_each"], strict=True):
        model.w.grad = torch.full((1, 1), gradient, dtype=torch.float64)
        optimizer.step()
        assert model.w.item() == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("matrix", [True, False])
def test_adam_is_the_release_formula(matrix: bool) -> None:
    config = OptimizerConfig(lr=3e-3, weight_decay=0.1, eps=1e-3)
    model = OneWeight(0.7, matrix=matrix)
    optimizer = optimizers.build(model, config)
    p, m, v = 0.7, 0.0, 0.0
    for n, (g, f) in enumerate([(0.3, 0.0), (-0.2, 0.5), (0.05, 1.0), (0.9, 0.7)], start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        rate = 3e-3 * f * math.sqrt(1 - 0.999**n) / (1 - 0.9**n)
        p -= rate * (m / (math.sqrt(v) + 1e-3) + (0.1 * p if matrix else 0.0))
        model.w.grad = torch.full_like(model.w, g)
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * f
        optimizer.step()
        assert model.w.item() == pytest.approx(p, rel=1e-12)


def test_adamw_is_torchs() -> None:
    ours, theirs = OneWeight(0.7, matrix=True), OneWeight(0.7, matrix=True)
    a = optimizers.build(ours, OptimizerConfig(name="adamw", lr=1e-2, weight_decay=0.1))
    b = torch.optim.AdamW(theirs.parameters(), lr=1e-2, weight_decay=0.1)
    for gradient in (0.3, -0.1, 0.2):
        for model, optimizer in ((ours, a), (theirs, b)):
            model.w.grad = torch.full((1, 1), gradient, dtype=torch.float64)
            optimizer.step()
    assert ours.w.item() == pytest.approx(theirs.w.item(), rel=1e-12)


class OneBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.tokens = nn.Embedding(7, 5)
        self.blocks = nn.ModuleList([nn.Linear(5, 8), nn.Linear(8, 5)])
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Five Newton-Schulz steps in float64, with the coefficients of Jordan et al. 2024."""
    x = matrix / matrix.norm()
    x = x.T if len(x) > len(x.T) else x
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if len(matrix) > len(matrix.T) else x


def test_muon_is_its_formula_on_the_blocks_matrices_and_adamw_elsewhere() -> None:
    config = OptimizerConfig(name="muon", lr=1e-2, weight_decay=0.1)
    ours, theirs = OneBlock(), OneBlock()
    optimizer = optimizers.build(ours, config)
    rest = {n: p for n, p in theirs.named_parameters() if p.dim() == 1 or n == "tokens.weight"}
    adamw = torch.optim.AdamW(
        [
            {"params": [p for p in rest.values() if p.dim() == 2], "weight_decay": 0.1},
            {"params": [p for p in rest.values() if p.dim() == 1], "weight_decay": 0.0},
        ],
        lr=1e-2,
    )
    generator = torch.Generator().manual_seed(1)
    mean = {name: torch.zeros_like(p) for name, p in theirs.named_parameters()}
    for factor in (1.0, 0.5, 0.25):
        for group in (*optimizer.param_groups, *adamw.param_groups):
            group["lr"] = 1e-2 * factor
        before = {name: p.detach().clone() for name, p in ours.named_parameters()}
        for (name, p), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            gradient = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            p.grad, other.grad = gradient.clone(), gradient
            mean[name] = 0.95 * mean[name] + 0.05 * gradient
        optimizer.step()
        adamw.step()
        for name, p in ours.named_parameters():
            if name in rest:
                torch.testing.assert_close(p, rest[name], rtol=1e-12, atol=0)
                continue
            mix = 0.05 * p.grad + 0.95 * mean[name]
            rate = 1e-2 * factor
            step = rate * 0.1 * before[name] + rate * 0.2 * 8**0.5 * orthogonal(mix)
            off = (before[name] - p.detach() - step).norm() / step.norm()
            assert off < 0.02, (name, off)  # torch orthogonalises in bfloat16


def test_muon_under_fsdp_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Use distributed\.strategy=ddp"):
        load_run(overrides=["optimizer.name=muon", "distributed.strategy=fsdp"])


@pytest.mark.parametrize("name", ["warmup_linear", "warmup_cosine", "warmup_constant"])
def test_release_schedules_follow_the_vectors(name: str, model_vectors: dict[str, Any]) -> None:
    vector = model_vectors["schedules_warmup_0.002"]
    found = [getattr(schedules, name)(x, 0.002) for x in vector["x"]]
    assert found == pytest.approx(vector[name], abs=1e-11)


def test_jokes_schedule_peaks_after_its_warm_up_and_ends_near_zero() -> None:
    for updates in (10, 20, 1000):
        schedule = load_run(recipe="jokes").schedule
        factors = [schedules.factor(schedule, update, updates) for update in range(updates)]
        assert factors[0] > 0
        assert max(factors) == factors[updates // 10 - 1] == 1.0
        assert 0 < factors[-1] <= 1 / (0.9 * updates)


def test_warmup_stable_decay_rises_stays_and_falls_over_the_last_updates() -> None:
    schedule = ScheduleConfig(
        name="warmup_stable_decay", warmup_steps=4, decay_share=0.25, count_from=1
    )
    factors = [schedules.factor(schedule, update, 40) for update in range(40)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors[29] == 1.0 > factors[30] > factors[31]
    assert 0 < factors[39] < 0.06
    assert factors[35] == pytest.approx(1 - math.sqrt((36 - (41 - 10.25)) / 10.25))
    endless = schedule.model_copy(update={"decay_share": 0.0})
    assert {schedules.factor(endless, update, 40) for update in range(4, 40)} == {1.0}
    assert schedules.same_start(endless, 1000, schedule, 40, 30)
    assert not schedules.same_start(endless, 1000, schedule, 40, 31)


def test_pretraining_warms_up_over_2000_updates_but_a_tenth_of_a_short_run() -> None:
    schedule = load_run(recipe="pretrain").schedule
    assert schedules.warmup_steps(schedule, 37_000) == 2000
    assert schedules.warmup_steps(schedule, 300) == 30


def test_the_article_never_passes_half_its_rate() -> None:
    """Table 9.8.6: the rates shown after each epoch, from packs in the article's number."""
    run = load_run(recipe="article")
    joke = np.zeros(300, dtype=np.int64)  # two of them are over 500: each becomes a pack
    batches = ArticleBatches([joke] * 15_676, 500, run.train.batch_size, seed=0)
    updates = [batches.steps(epochs) for epochs in range(1, 6)]
    assert 489 <= updates[0] <= 490
    rates = [run.optimizer.lr * schedules.factor(run.schedule, n, updates[-1]) for n in updates]
    assert [f"{rate:.3g}" for rate in rates] == [
        "2.93e-06", "5.87e-06", "8.81e-06", "1.18e-05", "1.47e-05",
    ]  # fmt: skip
    assert schedules.factor(run.schedule, 5000, 10_000) == 0.0  # it would have dropped to 0 next
