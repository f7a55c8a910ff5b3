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
from gpt1.model.build import count_parameters
from gpt1.model.losses import CHUNK, linear_cross_entropy
from gpt1.model.lstm import Recurrent
from gpt1.model.transformer import Block
from gpt1.reports.formatting import format_duration

LIBRARIES = 600 << 20
"""Bytes that Python, torch, its compiled kernels, the tokenizer and the report take, and gaps."""


@dataclass(frozen=True)
class Estimate:
    """A run's memory in bytes (without LIBRARIES), its time in seconds, and the speed measured."""

    memory: int
    seconds: float
    parameters: int
    flops_per_second: float

    def __str__(self) -> str:
        speed = self.flops_per_second / (6 * self.parameters)
        return (
            f"{self.parameters:,} parameters; about {(self.memory + LIBRARIES) / 2**30:.1f} GiB of "
            f"memory and {format_duration(self.seconds)} ({speed:,.0f} tokens/s, measured here: "
            f"{self.flops_per_second / 1e9:,.0f} GFLOP/s)"
        )


def estimate(
    config: ModelConfig,
    *,
    tokens: int,
    micro_tokens: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Estimate:
    """Estimate a run over `tokens` in all, `micro_tokens` in one forward pass.

    Memory: weights, gradients and Adam's state in float32, a 16-bit copy under autocast; then one
    micro-batch's activations and a chunk of logits, or a checkpoint while it is written (12 bytes
    a parameter, and Adam's 8 once more while they are copied). Time: one block and the head,
    forward and backward, measured on `device`.
    """
    parameters = count_parameters(config)
    width = 2 if dtype == torch.bfloat16 else 4
    attention = 0  # a GPU stores no attention weights
    if device.type == "cpu":
        attention = config.n_head * config.n_ctx * (2 if config.attn_pdrop else 1)
    stored = config.n_layer * (34 * config.n_embd + attention)
    if config.n_hidden is not None:
        stored = 10 * config.n_embd + 16 * config.n_hidden
    activations = micro_tokens * stored * width
    logits = min(CHUNK, micro_tokens) * config.vocab_size * (8 + width)
    fixed = parameters * (16 + (2 if width == 2 else 0))
    memory = fixed + max(activations + logits, 20 * parameters)
    seconds = _seconds_per_token(config, micro_tokens, device, dtype)
    return Estimate(memory, tokens * seconds, parameters, 6 * parameters / seconds)


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
