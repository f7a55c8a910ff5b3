"""What a run will need, worked out before its first update."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from gpt1.config import ModelConfig
from gpt1.model.losses import CHUNK
from gpt1.training.progress import duration

_TYPICAL_SHARE = 0.5  # of the matrix peak, that whole training steps reach here


@dataclass(frozen=True)
class Estimate:
    """Memory in bytes and time in seconds, and what they were worked out from."""

    memory: int
    seconds: float
    parameters: int
    flops_per_second: float

    def __str__(self) -> str:
        return (
            f"{self.parameters:,} parameters; about {self.memory / 2**30:.1f} GiB of memory and "
            f"{duration(self.seconds)} (this device multiplies "
            f"{self.flops_per_second / 1e9:,.0f} GFLOP/s)"
        )


def count_parameters(config: ModelConfig) -> int:
    """Return the number of weights of a model of this shape (spec 1.9.1).

    >>> count_parameters(ModelConfig())
    116534784
    """
    c = config.n_embd
    block = (3 * c * c + 3 * c) + (c * c + c) + (4 * c * c + 4 * c) + (4 * c * c + c) + 4 * c
    return (config.vocab_size + config.n_ctx) * c + config.n_layer * block


def estimate(
    config: ModelConfig,
    *,
    tokens: int,
    micro_tokens: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Estimate:
    """Estimate a run over `tokens` in all, `micro_tokens` in one forward pass.

    Memory: weights, gradients and Adam's two moments in float32, a 16-bit copy under autocast, one
    micro-batch's activations and one chunk of logits. Time: 6 FLOP a parameter and token, at a
    typical share of the matrix speed measured here.
    """
    parameters = count_parameters(config)
    width = 2 if dtype == torch.bfloat16 else 4
    attention = 0  # on a GPU no weights of attention are kept
    if device.type == "cpu":
        attention = config.n_head * config.n_ctx * (2 if config.attn_pdrop else 1)
    activations = micro_tokens * config.n_layer * (34 * config.n_embd + attention) * width
    logits = min(CHUNK, micro_tokens) * config.vocab_size * (8 + width)
    memory = parameters * (16 + (2 if width == 2 else 0)) + activations + logits
    rate = _matrix_speed(config.n_embd, device, dtype)
    return Estimate(memory, 6 * parameters * tokens / (rate * _TYPICAL_SHARE), parameters, rate)


def _matrix_speed(width: int, device: torch.device, dtype: torch.dtype) -> float:
    """Return FLOP/s of a (1024, C) x (C, 4C) product."""
    a = torch.ones(1024, width, device=device, dtype=dtype)
    b = torch.ones(width, 4 * width, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(4):
        began = time.perf_counter()
        (a @ b).sum().item()
        best = min(best, time.perf_counter() - began)
    return 2 * a.numel() * 4 * width / best
