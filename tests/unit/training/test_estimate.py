"""The estimate before the first update: measured without leaving a trace."""

from __future__ import annotations

import pytest
import torch

from gpt1.config import ModelConfig
from gpt1.training.estimate import LIBRARIES, estimate

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


def test_a_checkpoint_needs_memory_too() -> None:
    wide = ModelConfig(vocab_size=60_000, n_ctx=8, n_embd=64, n_layer=1, n_head=1)
    found = estimate(wide, tokens=1, micro_tokens=1, device=CPU, dtype=torch.float32)
    assert found.memory == (16 + 20) * found.parameters


def test_what_python_takes_is_told_as_well() -> None:
    found = estimate(SHAPE, tokens=10**6, micro_tokens=64, device=CPU, dtype=torch.float32)
    assert f"about {(LIBRARIES + found.memory) / 2**30:.1f} GiB of memory" in str(found)
    assert "tokens/s" in str(found)
