"""The estimate before the first update: measured without leaving a trace."""

from __future__ import annotations

from typing import cast

import pytest
import torch

from gpt1.config import ModelConfig, load_run
from gpt1.text.tokenizer import Tokenizer
from gpt1.training.estimate import LIBRARIES, estimate, estimate_memory
from gpt1.training.trainer import resolve_config

SHAPE = ModelConfig(vocab_size=40, n_ctx=8, n_embd=12, n_layer=2, n_head=3)
CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("micro_tokens", [1, 8, 50])
def test_it_is_finite_whatever_is_asked(micro_tokens: int, dtype: torch.dtype) -> None:
    found = estimate(SHAPE, tokens=1, micro_tokens=micro_tokens, device=CPU, dtype=dtype)
    assert 0 < found.seconds < 1
    assert found.flops_per_second > 0


def test_it_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    estimate(SHAPE, tokens=10**6, micro_tokens=64, device=CPU, dtype=torch.float32)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_python_takes_is_counted_too() -> None:
    found = estimate(SHAPE, tokens=10**6, micro_tokens=64, device=CPU, dtype=torch.float32)
    assert LIBRARIES < found.memory < 2 * LIBRARIES
    assert f"about {found.memory / 2**30:.1f} GiB of memory" in str(found)
    assert "tokens/s" in str(found)


@pytest.mark.parametrize(
    ("size", "longest", "dtype", "rows"),
    [
        ("mini", 0, "bfloat16", 16),
        ("mini", 0, "float32", 16),
        ("mini", 60, "bfloat16", 32),
        ("gpt1", 30, "bfloat16", 32),
        ("gpt1", 0, "bfloat16", 2),
        ("gpt1", 0, "float32", 1),
    ],
)
def test_a_run_takes_as_many_rows_at_a_time_as_fit(
    size: str, longest: int, dtype: str, rows: int
) -> None:
    train = {"batch_size": 32, "device": "cpu", "dtype": dtype}
    config = load_run(size=size, train=train)
    tokenizer = range(config.model.vocab_size)  # only its size counts
    resolved = resolve_config(config, cast(Tokenizer, tokenizer), longest)
    assert resolved.train.micro_batch_size == rows
    length = longest or 512
    memory = estimate_memory(resolved.model, rows * length, length, CPU, getattr(torch, dtype))
    assert memory < 4e9
