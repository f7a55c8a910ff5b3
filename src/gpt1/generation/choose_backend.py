"""Which backend generates: torch or onnxruntime, by what is asked for and what is faster here."""

from __future__ import annotations

import time
from functools import cache
from typing import Literal, get_args

import torch

from gpt1.config import ModelConfig
from gpt1.errors import ConfigError
from gpt1.generation import kernels, onnx_backend, torch_backend
from gpt1.generation.kernels import Width
from gpt1.generation.onnx_backend import OnnxBackend
from gpt1.generation.torch_backend import TorchBackend
from gpt1.model.transformer import Transformer

Name = Literal["auto", "torch", "onnx"]
DTYPES = ("auto", *get_args(Width), "int4")
_LACKING = {"torch": ("int4",), "onnx": ("float16", "bfloat16")}


def check(dtype: str, backend: str) -> None:
    """Raise ConfigError if there is no such `dtype` or `backend`, or not together, or installed."""
    if dtype not in DTYPES:
        raise ConfigError(f"dtype is {dtype!r}; it must be one of {', '.join(DTYPES)}.")
    if backend not in get_args(Name):
        raise ConfigError(f"backend is {backend!r}; it must be auto, torch or onnx.")
    if lacking := _LACKING.get(backend, ()):
        able = ", ".join(name for name in DTYPES if name not in lacking)
        if dtype in lacking:
            raise ConfigError(f"dtype is {dtype!r}; backend {backend} can do {able}.")
    if (backend == "onnx" or dtype == "int4") and not onnx_backend.is_installed():
        raise ConfigError(
            f"dtype {dtype} with backend {backend} needs onnxruntime. Run "
            f'pip install "gpt1[onnx]", or take backend torch and another dtype.'
        )


def make_backend(
    model: Transformer, dtype: str = "auto", backend: str = "auto"
) -> TorchBackend | OnnxBackend:
    """Return `model` ready to generate with weights of `dtype`.

    Backend auto: torch, but for int8 the faster one of those installed, and for int4 onnx. Backend
    onnx: dtype auto means float32. Raises ConfigError as `check`, or if the model does not fit.
    """
    check(dtype, backend)
    if backend == "auto":
        able = dtype == "int4" or OnnxBackend.fault(model) is None
        backend = automatic(dtype)[0] if able else "torch"
    if backend == "onnx":
        return OnnxBackend(model, "float32" if dtype == "auto" else dtype)  # type: ignore[arg-type]
    return torch_backend.make_backend(model, dtype)


def automatic(dtype: str) -> tuple[str, str]:
    """Return the backend that auto means for weights of `dtype` on this machine, and why."""
    if dtype == "int4":
        return "onnx", "torch has none"
    if dtype in _LACKING["onnx"]:
        return "torch", "onnxruntime has none"
    if dtype != "int8":
        return "torch", "it uses the model's own weights"
    if not onnx_backend.is_installed():
        return "torch", "onnxruntime is not installed"
    if all(trial.failure is not None for trial in kernels.trials("int8")):
        return "onnx", "torch cannot here"
    spent = trial_seconds()
    times = ", ".join(f"{name} {1000 * seconds:.2f} ms" for name, seconds in spent.items())
    return min(spent, key=lambda name: spent[name]), f"faster in a trial: {times}"


@cache
def trial_seconds() -> dict[str, float]:
    """Return how long each backend decodes with int8 weights in a short trial."""
    shape = ModelConfig(vocab_size=4096, n_ctx=64, n_embd=384, n_layer=2, n_head=6)
    model = Transformer(shape, generator=torch.Generator().manual_seed(0)).eval()
    spent = {"torch": _seconds(TorchBackend(model, "int8"))}
    spent["onnx"] = _seconds(OnnxBackend(model, "int8"))
    return spent


def _seconds(backend: TorchBackend | OnnxBackend) -> float:
    """Return the shortest steps of one row and of eight, added up."""
    total = 0.0
    for rows in (1, 8):
        store = backend.new_cache(rows, 32)
        ids = torch.ones(rows, dtype=torch.int64)
        best = float("inf")
        for _ in range(24):
            start = time.perf_counter()
            backend.decode(ids, store, slice(0, rows))  # type: ignore[arg-type]
            best = min(best, time.perf_counter() - start)
        total += best
    return total
