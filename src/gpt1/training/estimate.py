"""How much memory and time a run will need, estimated before its first update."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gpt1.config import ModelConfig
from gpt1.model.attention import BLOCK
from gpt1.model.build import count_parameters
from gpt1.model.losses import CHUNK, linear_cross_entropy
from gpt1.model.lstm import Recurrent
from gpt1.model.transformer import Block
from gpt1.reports.formatting import format_duration

LIBRARIES = 450 << 20
"""Bytes that Python, torch, its compiled kernels, the tokenizer and the report take."""
_GAPS = 1.1  # the gaps between blocks: as large as `allocator.Gaps` lets them become


@dataclass(frozen=True)
class Estimate:
    """A run's memory in bytes, its time in seconds, and the speed measured."""

    memory: int
    seconds: float
    parameters: int
    flops_per_second: float

    def __str__(self) -> str:
        speed = self.flops_per_second / (6 * self.parameters)
        return (
            f"{self.parameters:,} parameters; about {self.memory / 2**30:.1f} GiB of memory, and "
            f"{format_duration(self.seconds)} without validation, at the {speed:,.0f} tokens/s "
            f"({self.flops_per_second / 1e9:,.0f} GFLOP/s) measured here"
        )


def estimate(
    config: ModelConfig,
    *,
    tokens: int,
    micro_tokens: int,
    device: torch.device,
    dtype: torch.dtype,
    length: int | None = None,
) -> Estimate:
    """Estimate a run over `tokens` in all, at most `micro_tokens` of them in one forward pass.

    `length` is the positions of a row, by default n_ctx. Time: one block and the head, forward and
    backward, measured on `device`.
    """
    parameters = count_parameters(config)
    seconds = _seconds_per_token(config, micro_tokens, device, dtype)
    memory = estimate_memory(config, micro_tokens, length or config.n_ctx, device, dtype)
    return Estimate(memory, tokens * seconds, parameters, 6 * parameters / seconds)


def estimate_memory(
    config: ModelConfig, micro_tokens: int, length: int, device: torch.device, dtype: torch.dtype
) -> int:
    """Return the bytes that a run needs with `micro_tokens` in rows of `length` positions.

    Weights, gradients and Adam's state in float32, a 16-bit copy under autocast; what the blocks
    keep for their backward pass, a chunk of logits, and two gradients of the token matrix.
    """
    width = 2 if dtype == torch.bfloat16 else 4
    attention = 0.0  # a GPU stores no attention weights
    if device.type == "cpu":  # half of the square, and a mask of dropout
        attention = config.n_head * (length + BLOCK) / 2 * (2 if config.attn_pdrop else 1)
    stored = config.n_layer * ((21 if width == 2 else 19) * config.n_embd + attention)
    if config.n_hidden is not None:
        stored = 10 * config.n_embd + 16 * config.n_hidden
    weights = count_parameters(config) * (16 + (2 if width == 2 else 0))
    logits = min(CHUNK, micro_tokens) * config.vocab_size * width
    gradients = 8 * config.vocab_size * config.n_embd
    return round(_GAPS * (LIBRARIES + weights + micro_tokens * stored * width + logits + gradients))


def _seconds_per_token(
    config: ModelConfig, micro_tokens: int, device: torch.device, dtype: torch.dtype
) -> float:
    """Time a block and the head on a few rows; return the time of the whole model."""
    C, T = config.n_embd, config.n_ctx
    probed = min(micro_tokens, 1024 if device.type == "cpu" else 8192)  # enough to fill the device
    rows = max(1, probed // T)
    if config.n_hidden is not None:  # its speed depends on the rows, and not on their length
        rows = max(1, micro_tokens // T)
        T = max(1, probed // rows)
    bf16 = dtype == torch.bfloat16
    with torch.random.fork_rng([device] if device.type == "cuda" else []), device:
        layer: Callable[..., Tensor]
        if config.n_hidden is not None:
            layer = partial(Recurrent(config, config.n_hidden), segments=None)
        else:
            layer = Block(config, 0)
        h = torch.randn(rows, T, C, requires_grad=True)
        hidden = torch.randn(min(CHUNK, rows * T), C, requires_grad=True)
        tokens = torch.randn(config.vocab_size, C).mul_(config.initializer_range).requires_grad_()
        labels = torch.randint(config.vocab_size, (len(hidden),))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            block_seconds = _median_seconds(lambda: layer(h).sum())
            head_seconds = _median_seconds(lambda: linear_cross_entropy(hidden, tokens, labels)[0])
    return config.n_layer * block_seconds / (rows * T) + head_seconds / len(hidden)


def _median_seconds(loss: Callable[[], Tensor]) -> float:
    """Return the median time of `loss` and its gradients, after a run to warm up."""
    times = []
    for _ in range(4):
        began = time.perf_counter()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        if value.is_cuda:
            torch.cuda.synchronize(value.device)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])
