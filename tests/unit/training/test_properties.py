"""What holds for any run: pure updates, schedules that end, clipping, estimates, progress."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpt1.config import (
    DistributedConfig,
    ModelConfig,
    RunConfig,
    ScheduleConfig,
    TrainConfig,
    load_run,
)
from gpt1.data.batches import WindowBatches
from gpt1.errors import ConfigError
from gpt1.model.build import count_parameters
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import Tokenizer
from gpt1.training import distributed, objectives, optimizers, schedules
from gpt1.training.estimate import LIBRARIES, estimate
from gpt1.training.step import Updater, _seed
from gpt1.training.trainer import resolve_config

SHAPE = {"vocab_size": 40, "n_ctx": 8, "n_embd": 12, "n_layer": 2, "n_head": 3}
CPU = torch.device("cpu")


class Trainer:
    """A model, its optimizer and its data, made anew from numbers alone."""

    def __init__(self, seed: int = 0, **model: Any) -> None:
        self.config = RunConfig(
            model=ModelConfig(**{**SHAPE, **model}), train=TrainConfig(batch_size=4, seed=seed)
        )
        ids = np.random.Generator(np.random.PCG64(5)).integers(0, 40, 300)
        self.batches = WindowBatches(ids, 8, 4, seed=seed, shuffle=True, micro_batch_size=2)
        self.model = Transformer(self.config.model, generator=torch.Generator().manual_seed(1))
        self.updater = Updater(self.model, objectives.token_mean, self.config)
        self.optimizer = self.updater.optimizer

    def update(self, number: int) -> None:
        self.updater.update(self.batches.update(number), number, lr=1e-2)

    def state(self) -> dict[str, torch.Tensor]:
        weights = {f"weights.{name}": p.detach() for name, p in self.model.named_parameters()}
        found = weights | optimizers.state(self.model, self.optimizer)
        return {name: tensor.clone() for name, tensor in found.items()}

    def continue_from(self, state: dict[str, torch.Tensor]) -> None:
        weights = {k.removeprefix("weights."): v for k, v in state.items() if "weights." in k}
        self.model.load_state_dict(weights)
        tensors = {k: v.clone() for k, v in state.items() if "weights." not in k}
        optimizers.restore(self.model, self.optimizer, tensors)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# An update


def test_an_update_depends_on_weights_optimizer_seed_and_step_alone() -> None:
    first = Trainer()
    states = [first.state()]
    for step in range(4):
        first.update(step)
        states.append(first.state())
    for step in (3, 1, 2, 0):  # in any order, by any trainer, whatever was drawn before
        other = Trainer()
        other.continue_from(states[step])
        other.model.eval()
        torch.manual_seed(1000 + step)
        torch.rand(step + 1)
        np.random.default_rng().random(3)
        other.update(step)
        assert same(other.state(), states[step + 1])


def test_another_seed_step_or_dropout_gives_another_update() -> None:
    def after(step: int, trainer: Trainer) -> dict[str, torch.Tensor]:
        trainer.update(step)
        return trainer.state()

    base = after(0, Trainer())
    others = [after(0, Trainer(seed=1)), after(1, Trainer()), after(0, Trainer(resid_pdrop=0.2))]
    for a, b in itertools.combinations([base, *others], 2):
        assert not same(a, b)


def test_dropout_is_drawn_anew_in_every_step_and_micro_batch() -> None:
    seeds = [_seed(s, n, i) for s in range(5) for n in range(50) for i in range(4)]
    assert len(set(seeds)) == len(seeds)
    trainer = Trainer()
    batch = trainer.batches.update(0)[0]
    losses = set()
    for number, i in itertools.product(range(3), range(3)):
        torch.manual_seed(_seed(0, number, i))
        trainer.model.train()
        losses.add(float(objectives.token_mean.sums(trainer.model, batch)["lm"].detach()))
    assert len(losses) == 9


# Resolving


def test_more_processes_than_samples_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(ConfigError, match=r"batch_size is 7; 8 processes"):
        distributed.check(DistributedConfig(), 7)
    distributed.check(DistributedConfig(), 9)
    with pytest.raises(ConfigError, match=r"batch_size is 9 .* takes the same number"):
        distributed.check(DistributedConfig(strategy="fsdp"), 9)


@pytest.mark.parametrize(
    ("n_embd", "n_ctx", "batch_size", "given", "expected"),
    [
        (192, 512, 64, None, 16),  # 8,192 tokens a forward pass
        (192, 512, 8, None, 8),
        (192, 128, 100, None, 64),
        (768, 512, 64, None, 5),  # of a larger model what fits 4 GB
        (768, 128, 64, None, 25),
        (768, 16384, 4, None, 1),
        (768, 8192, 4, None, 1),
        (768, 512, 64, 3, 3),
        (768, 512, 2, 64, 64),
    ],
)
def test_the_micro_batch_fits_unless_it_is_given(
    tokenizer: Tokenizer, n_embd: int, n_ctx: int, batch_size: int, given: int | None, expected: int
) -> None:
    config = load_run(
        model={"n_ctx": n_ctx, "n_embd": n_embd, "vocab_size": 77},
        train={"batch_size": batch_size, "micro_batch_size": given, "device": "cpu"},
    )
    settled = resolve_config(config, tokenizer)
    assert settled.train.micro_batch_size == expected
    assert settled.model.vocab_size == len(tokenizer)
    assert settled.train.device in ("cpu", "cuda", "mps")
    assert settled.train.dtype in ("float32", "bfloat16")
    assert resolve_config(settled, tokenizer) == settled


def test_tensors_are_gathered_in_one_order_whatever_order_they_were_read_in() -> None:
    tensors = {name: torch.zeros(2) for name in "bca"}
    assert list(distributed.Ranks().gather(tensors)) == ["a", "b", "c"]


# Schedules


@pytest.mark.parametrize("name", ["warmup_cosine", "warmup_linear", "warmup_constant", "linear"])
@pytest.mark.parametrize("warmup", [0, 1, 7, 50, 100])
@pytest.mark.parametrize("count_from", [0, 1])
def test_a_schedule_rises_then_never_rises_again(name: str, warmup: int, count_from: int) -> None:
    config = ScheduleConfig.model_validate(
        {"name": name, "warmup_steps": warmup, "warmup_share": 1, "count_from": count_from}
    )
    updates = 100
    factors = [schedules.factor(config, update, updates) for update in range(updates)]
    assert all(0 <= factor <= 1 for factor in factors)
    rising = [b > a for a, b in itertools.pairwise(factors[: max(1, warmup - count_from)])]
    if name == "warmup_linear":  # times 1 - x, so its top is at half the run at the latest
        rising = rising[: updates // 2 - count_from]
    assert all(rising)
    falling = factors[max(0, warmup - count_from) :]
    assert all(b <= a for a, b in itertools.pairwise(falling))


@pytest.mark.parametrize("updates", [1, 2, 10, 1000])
@pytest.mark.parametrize("share", [0, 0.1, 0.5])
def test_the_linear_schedule_ends_just_above_zero(updates: int, share: float) -> None:
    config = ScheduleConfig(name="linear", warmup_share=share, count_from=1)
    last = schedules.factor(config, updates - 1, updates)
    assert 0 < last <= 1
    assert schedules.factor(config, updates, updates) == 0
    assert last == pytest.approx(1 / (updates + 1 - share * updates), rel=1e-12)


def test_the_other_schedules_end_where_their_formulas_say() -> None:
    updates, x = 1000, 0.999
    for name, end in (
        ("warmup_cosine", 0.5 * (1 + math.cos(math.pi * x))),
        ("warmup_linear", 1 - x),
        ("warmup_constant", 1.0),
    ):
        config = ScheduleConfig.model_validate({"name": name, "warmup_steps": 100})
        assert schedules.factor(config, 0, updates) == 0
        assert schedules.factor(config, updates - 1, updates) == pytest.approx(end, abs=1e-12)
        beyond = schedules.factor(config, 5 * updates, updates)
        assert beyond == pytest.approx(schedules.factor(config, updates, updates))


# Clipping


@pytest.mark.parametrize("limit", [1e-6, 0.5, 1.0, 50.0, None])
@pytest.mark.parametrize("size", [1e-8, 1e-3, 1.0, 1e6])
def test_clipping_keeps_the_direction_and_the_limit(limit: float | None, size: float) -> None:
    generator = torch.Generator().manual_seed(3)
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((3, 4), (5,), (2,))]
    for parameter in parameters[:2]:  # the last has no gradient
        parameter.grad = size * torch.randn(parameter.shape, generator=generator)
    before = torch.cat([p.grad.flatten() for p in parameters[:2] if p.grad is not None])
    norm = before.double().norm()
    found = optimizers.clip(parameters, limit)
    after = torch.cat([p.grad.flatten() for p in parameters[:2] if p.grad is not None])
    assert float(found) == pytest.approx(float(norm), rel=1e-5)
    assert parameters[2].grad is None
    if limit is None or float(norm) <= limit:
        assert torch.equal(after, before)
    else:
        assert float(after.double().norm()) == pytest.approx(limit, rel=1e-5)
        torch.testing.assert_close(after.double() / limit, before.double() / norm)


# Estimates


@pytest.mark.parametrize(
    "shape",
    [
        {"vocab_size": 2, "n_ctx": 1, "n_embd": 1, "n_layer": 1, "n_head": 1},
        {"vocab_size": 99, "n_ctx": 32, "n_embd": 24, "n_layer": 2, "n_head": 3},
        {"vocab_size": 1000, "n_ctx": 7, "n_embd": 30, "n_layer": 5, "n_head": 5},
        {},
    ],
)
def test_the_count_of_parameters_is_the_models_own(shape: dict[str, int]) -> None:
    config = ModelConfig(**shape)
    with torch.device("meta"):
        model = Transformer(config)
    assert count_parameters(config) == sum(p.numel() for p in model.parameters())
    assert count_parameters(config) == model.num_parameters()


MEMORY = """
import sys, torch
sys.path.insert(0, sys.argv[1])
import numpy as np
from test_properties import Trainer
from gpt1.data.batches import WindowBatches

def peak():  # getrusage would count what the parent had, too
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

torch.set_num_threads(1)
Trainer().update(0)  # what the libraries take for themselves
before = peak()
trainer = Trainer(vocab_size=6000, n_ctx=128, n_embd=192, n_layer=3, n_head=4)
ids = np.random.Generator(np.random.PCG64(5)).integers(0, 6000, 4000)
trainer.batches = WindowBatches(ids, 128, 8, seed=0, shuffle=True, micro_batch_size=8)
for step in range(2):
    trainer.update(step)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_the_estimate_of_memory_is_near_what_is_taken() -> None:
    command = [sys.executable, "-c", MEMORY, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    config = ModelConfig(vocab_size=6000, n_ctx=128, n_embd=192, n_layer=3, n_head=4)
    expected = (
        estimate(config, tokens=2048, micro_tokens=1024, device=CPU, dtype=torch.float32).memory
        - LIBRARIES
    )
    assert 1 / 3 < int(done.stdout) / expected < 3, (int(done.stdout), expected)


def test_an_estimate_grows_with_what_it_is_of() -> None:
    def of(tokens: int = 10**6, micro: int = 1024, **shape: Any) -> Any:
        config = ModelConfig(**{**SHAPE, **shape})
        return estimate(config, tokens=tokens, micro_tokens=micro, device=CPU, dtype=torch.float32)

    base = of()
    assert of(micro=4096).memory > base.memory
    assert of(n_layer=4).memory > base.memory
    assert of(vocab_size=4000).memory > base.memory
    twice = of(tokens=2 * 10**6)
    work = [e.seconds * e.flops_per_second / e.parameters for e in (base, twice)]
    assert work[1] == pytest.approx(2 * work[0])
    assert f"{base.parameters:,} parameters" in str(base)
