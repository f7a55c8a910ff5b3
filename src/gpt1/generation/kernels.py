"""Matrices that read and write float32 and keep their weights in fewer bits.

Each width has one or more kernels of torch. The first call of `choose` for a width runs each on a
small matrix: those that fail or are wrong are dropped, and the fastest of the others is taken, so
nothing here depends on a processor's name. All kernels of a width compute the same numbers but for
the order of sums; those of int8 are equal to the last bit, whatever rows are computed together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt1.errors import ConfigError
from gpt1.generation.quantize import quantize_rows

Width = Literal["float32", "float16", "bfloat16", "int8"]

FEW, MANY = 1, 32
"""Rows of the two trials: one stream, and many."""
SHAPE = (1536, 384)
"""The size (N, K) of the matrix that is tried."""


class Kernel(nn.Module):
    """y = x W^T + b of x (..., K), with W (N, K) kept in another form."""

    num_bytes: int
    """The size of the weights as they are kept."""
    gelu: bool | None = None
    """Whether the result goes through GELU too; None for a kernel that cannot do it."""
    tolerance: float
    """The largest error in a trial, relative to the largest value."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.shape = weight.shape
        self.bias = None if bias is None else bias.detach()
        self.num_bytes = self.pack(weight.detach())
        if bias is not None:
            self.num_bytes += bias.numel() * bias.element_size()

    def pack(self, weight: Tensor) -> int:
        """Keep `weight`; return the number of bytes it takes."""
        raise NotImplementedError


class HalfFbgemm(Kernel):
    """float16 weights, float32 products and sums."""

    tolerance = 1e-3

    def pack(self, weight: Tensor) -> int:  # noqa: D102
        self.packed: Any = torch.ops.quantized.linear_prepack_fp16(weight, self.bias)
        return 2 * weight.numel()

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y: Tensor = torch.ops.quantized.linear_dynamic_fp16(x, self.packed)
        return y


class BFloat16OneDnn(Kernel):
    """bfloat16 weights, inputs and results, float32 sums, in oneDNN's own layout."""

    gelu = False
    tolerance = 2e-2

    def pack(self, weight: Tensor) -> int:  # noqa: D102
        half = weight.bfloat16()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(half, MANY)
        self.half_bias = None if self.bias is None else self.bias.bfloat16()
        return 2 * weight.numel()

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.bfloat16(), self.packed, self.half_bias, "gelu" if self.gelu else "none", [], "tanh"
        )
        return y


class BFloat16(Kernel):
    """bfloat16 weights, inputs and results."""

    tolerance = 2e-2

    def pack(self, weight: Tensor) -> int:  # noqa: D102
        self.plain = weight.bfloat16()
        self.half_bias = None if self.bias is None else self.bias.bfloat16()
        return 2 * weight.numel()

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.linear(x.bfloat16(), self.plain, self.half_bias)


class _Int8(Kernel):
    """int8 weights, one scale a row of W, and inputs rounded to 8 bits, one scale a row of x.

    Products and sums are integers, so a row's result depends on nothing but the row.
    """

    tolerance = 5e-2

    def pack(self, weight: Tensor) -> int:
        rows, self.scale = quantize_rows(weight)
        self.keep(rows)
        return rows.numel() + 4 * len(rows)

    def keep(self, rows: Tensor) -> None:
        raise NotImplementedError

    def products(self, rows: Tensor) -> Tensor:
        """Return rows W^T (M, N), float32, for int8 rows (M, K)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        batch, x = x.shape[:-1], x.reshape(-1, self.shape[1])
        scale = torch.linalg.vector_norm(x, torch.inf, -1, keepdim=True).mul_(1 / 127)
        rows = torch.div(x, scale.clamp_min_(1e-30)).round_().to(torch.int8)
        y = self.products(rows)  # (M, N)
        y = y.mul_(scale) if self.bias is None else torch.addcmul(self.bias, y, scale)
        return y.view(*batch, -1)


class Int8OneDnn(_Int8):
    """By oneDNN, with weights in its own layout."""

    def keep(self, rows: Tensor) -> None:  # noqa: D102
        self.packed = torch.ops.onednn.qlinear_prepack(rows, [MANY, rows.shape[1]])
        self.zero = torch.zeros(len(rows), dtype=torch.int32)

    def products(self, rows: Tensor) -> Tensor:  # noqa: D102
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            rows, 1.0, 0, self.packed, self.scale, self.zero, None, 1.0, 0, torch.float32, "none",
            [], "",
        )  # fmt: skip
        return y


class Int8Matmul(_Int8):
    """By torch's product of int8 matrices."""

    def keep(self, rows: Tensor) -> None:  # noqa: D102
        self.packed = rows

    def products(self, rows: Tensor) -> Tensor:  # noqa: D102
        return torch._int_mm(rows, self.packed.t()).float().mul_(self.scale)


KERNELS: dict[str, tuple[type[Kernel], ...]] = {
    "float16": (HalfFbgemm,),
    "bfloat16": (BFloat16OneDnn, BFloat16),
    "int8": (Int8OneDnn, Int8Matmul),
}
"""The kernels of a CPU for each width below float32."""


@dataclass(frozen=True)
class Trial:
    """How a kernel did on a small matrix: its error, and milliseconds at few and many rows."""

    kernel: str
    error: float | None = None
    few_ms: float | None = None
    many_ms: float | None = None
    failure: str | None = None


@cache
def trials(width: str) -> tuple[Trial, ...]:
    """Run each kernel of `width` once for its error, and for some milliseconds for its speed."""
    return tuple(try_kernel(kernel.__name__, kernel, kernel.tolerance) for kernel in KERNELS[width])


@torch.inference_mode()
def try_kernel(
    name: str, make: Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]], tolerance: float
) -> Trial:
    """Run what `make` returns for a matrix and a bias on few rows and on many."""
    generator = torch.Generator().manual_seed(0)
    weight, bias = (torch.randn(n, generator=generator) for n in (SHAPE, SHAPE[0]))
    inputs = [torch.randn(rows, SHAPE[1], generator=generator) for rows in (FEW, MANY)]
    try:
        packed = make(weight, bias)
        error = max(_error(packed(x), x, weight, bias) for x in inputs)
        few, many = (_milliseconds(packed, x) for x in inputs)
    except (RuntimeError, AttributeError, NotImplementedError) as failure:
        return Trial(name, failure=str(failure).split("\n")[0][:100])
    wrong = None if error <= tolerance else f"wrong by {error:.1%}"
    return Trial(name, error, few, many, wrong)


def choose(width: str) -> type[Kernel]:
    """Return the fastest kernel of `width` on this machine, or raise ConfigError."""
    known = width in KERNELS
    right = [trial for trial in trials(width) if trial.failure is None] if known else []
    if not right:
        able = [name for name in KERNELS if any(t.failure is None for t in trials(name))]
        raise ConfigError(
            f"torch cannot compute with {width} weights on this machine; it can with "
            f"{', '.join(['float32', *able])}. Use one of these as dtype."
        )
    best = min(right, key=lambda t: (t.few_ms or 0) + (t.many_ms or 0))
    return next(kernel for kernel in KERNELS[width] if kernel.__name__ == best.kernel)


def _error(y: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> float:
    exact = x.double() @ weight.double().T + bias
    error = float((y - exact).abs().max() / exact.abs().max())
    return error if error == error else float("inf")


def _milliseconds(call: Callable[[Tensor], Tensor], x: Tensor, seconds: float = 0.003) -> float:
    """Return the shortest of the calls that fit into `seconds`."""
    best, end = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        call(x)
        best = min(best, time.perf_counter() - start)
    return 1000 * best
