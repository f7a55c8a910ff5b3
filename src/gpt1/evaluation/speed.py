"""How fast this machine writes, and what bounds it.

A step of decoding reads every weight once and multiplies it once for each row, so no step is
shorter than the weights' bytes by the memory's bandwidth, nor than its products by the processor's
peak. Weights that fit into the processor's own caches can pass the first bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from statistics import median

import torch
import torch.nn.functional as F

from gpt1.config import ModelConfig
from gpt1.errors import ConfigError
from gpt1.generation import kernels
from gpt1.generation.backend import Backend
from gpt1.generation.choose_backend import make_backend
from gpt1.model.transformer import Transformer

BITS = {"float32": 32, "float16": 16, "bfloat16": 16, "int8": 8, "int4": 4}
"""The size of a weight, without the scales of groups."""
_MULTIPLIED_AS = {"float16": "float32", "int4": "int8"}
_NEAR_FLOAT32 = ("float32", "float16", "bfloat16", "int8")
_PROMPT = 8


@dataclass(frozen=True)
class Machine:
    """Bytes a second that are read from memory; operations a second, by the type of a matrix."""

    bandwidth: float
    peaks: dict[str, float]

    def bound(self, config: ModelConfig, dtype: str, rows: int) -> float:
        """Return how many ids a second `rows` streams could write at most."""
        weights = matrix_weights(config)
        seconds = weights * BITS[dtype] / 8 / self.bandwidth
        if peak := self.peaks.get(_MULTIPLIED_AS.get(dtype, dtype)):
            seconds = max(seconds, 2 * weights * rows / peak)
        return rows / seconds


@dataclass(frozen=True)
class Rate:
    """Ids a second that `rows` streams wrote together, and their share of the machine's bound."""

    dtype: str
    backend: str
    rows: int
    ids_per_second: float
    share: float


def matrix_weights(config: ModelConfig) -> int:
    """Return how many weights a step of decoding multiplies.

    >>> matrix_weights(ModelConfig(vocab_size=100, n_embd=8, n_layer=2, n_head=2))
    2336
    """
    return 12 * config.n_layer * config.n_embd**2 + config.vocab_size * config.n_embd


def measure_machine(device: torch.device, width: int = 768) -> Machine:
    """Measure the bandwidth and the peaks, each as the best of some runs, in a few seconds.

    The matrices are (1024, width) and (4 width, width), those of an MLP.
    """
    block = torch.ones(64 << 20, device=device)  # 256 MiB, more than caches hold
    bandwidth = 4 * block.numel() / _best(lambda: float(block.sum()), 12)
    a, b = (torch.randn(rows, width, device=device) for rows in (1024, 4 * width))
    peaks = {}
    for name in ("float32", "bfloat16", "int8"):
        try:
            multiply = _product(name, a, b)
            peaks[name] = 2 * a.numel() * len(b) / _best(multiply, 15)
        except (ConfigError, RuntimeError, NotImplementedError):
            continue  # this machine has none
    return Machine(bandwidth, peaks)


def _product(dtype: str, a: torch.Tensor, b: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Return a call of the product that this type has: of 8 bits, of the fastest kernel."""
    if dtype != "int8":
        kind = getattr(torch, dtype)
        return partial(F.linear, a.to(kind), b.to(kind))
    if a.device.type != "cpu":
        raise ConfigError("the kernels of 8 bits are a CPU's")
    return partial(kernels.choose(dtype)(b, None), a)


def _best(call: Callable[[], object], runs: int) -> float:
    """Return the seconds of the shortest of some runs."""
    best = float("inf")
    for _ in range(runs):
        began = time.perf_counter()
        result = call()
        if isinstance(result, torch.Tensor) and result.is_cuda:
            torch.cuda.synchronize(result.device)
        best = min(best, time.perf_counter() - began)
    return best


def measure_rates(
    model: Transformer, machine: Machine, rows: Sequence[int] = (1, 8, 32), seconds: float = 1
) -> Iterator[Rate]:
    """Yield the greedy rate of every width and backend that this machine can run.

    Each rate is that of the median step of as many as fit into `seconds`, behind a short prompt.
    """
    for dtype, name in product(BITS, ("torch", "onnx")):
        try:
            backend = make_backend(model, dtype, name)
        except ConfigError:  # not on this machine, or not installed
            continue
        for count in rows:
            rate = count / _median_step(backend, count, seconds)
            share = rate / machine.bound(model.config, dtype, count)
            yield Rate(dtype, name, count, rate, share)


def _median_step(backend: Backend, rows: int, seconds: float) -> float:
    """Return the median seconds of a step of `rows` rows, of at least three."""
    room = min(_PROMPT + 128, backend.config.n_ctx)
    cache, slots = backend.new_cache(rows, room), slice(0, rows)
    prompt = torch.ones(rows, min(_PROMPT, room - 1), dtype=torch.int64)
    lengths = torch.full((rows,), prompt.shape[1])
    steps: list[float] = []
    held, end = room, time.perf_counter() + seconds
    while len(steps) < 3 or time.perf_counter() < end:
        if held == room:
            ids = backend.prefill(prompt, lengths, cache, slots).argmax(-1).cpu()
            held = prompt.shape[1]
        began = time.perf_counter()
        ids = backend.decode(ids, cache, slots).argmax(-1).cpu()
        steps.append(time.perf_counter() - began)
        held += 1
    return median(steps)


def recommended(rates: Sequence[Rate], rows: int) -> Rate:
    """Return the fastest rate for `rows` streams whose texts are near those of float32.

    Weights of 4 bits are faster on some machines, and cost a few percent of perplexity.
    """
    return max(
        (rate for rate in rates if rate.rows == rows and rate.dtype in _NEAR_FLOAT32),
        key=lambda rate: rate.ids_per_second,
    )
