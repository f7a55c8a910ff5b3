"""Generation with onnxruntime (extra `onnx`): the fastest engine there is for 8 and 4 bits on CPUs.

Two graphs, made in memory: the blocks, whose attention (GroupQueryAttention) reads and writes
the cache in place, and the head. Matrices of 8 or 4 bits are multiplied by MatMulNBits, which
rounds its input to 8 bits by block too. All else is float32, and embeddings are the model's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt1._version import __version__
from gpt1.errors import ConfigError
from gpt1.generation.kernels import Trial, try_kernel
from gpt1.generation.quantize import quantize_groups
from gpt1.generation.torch_backend import weight_versions
from gpt1.model.cache import KeyValueCache
from gpt1.model.onnx_graph import Graph, add_block
from gpt1.model.padding import repeat_last
from gpt1.model.transformer import Transformer

Weights = Literal["float32", "int8", "int4"]

_FORMS: dict[str, tuple[int, int]] = {"int8": (8, 64), "int4": (4, 32)}
"""Bits, and how many weights of a row share a scale: with 128 a row's numbers depend on others."""
_TOLERANCES = {"int8": 5e-2, "int4": 2e-1}
"""The largest errors in a trial, relative to the largest value."""
_TYPES = {torch.float32: np.float32, torch.int32: np.int32}


class OnnxBackend:
    """A `Transformer` in onnxruntime, on the CPU; see `backend.Backend`.

    It keeps weights of its own, and as many threads as torch had when it was made. Raises
    ConfigError for a model that is not float32 on the CPU, or has other heads than onnxruntime
    knows, and without onnxruntime.
    """

    def __init__(self, model: Transformer, weights: Weights = "float32") -> None:
        if fault := self.fault(model):
            raise ConfigError(fault)
        table = model.tokens.weight
        self.config = model.config
        self.weights: Weights = weights
        self.name = f"onnx {weights}"
        self.device, self.dtype = table.device, torch.float32
        self._source = model
        self._versions = weight_versions(model)
        self._body, body = _session(_blocks(model, weights))
        self._head, head = _session(_head(model, weights))
        rows = (model.tokens, model.positions)
        self.num_bytes = body + head + sum(4 * matrix.weight.numel() for matrix in rows)

    def new_cache(self, slots: int, capacity: int) -> KeyValueCache:
        """Return an empty cache for `slots` rows of up to `capacity` positions."""
        return _Cache(self.config, slots, capacity=capacity)

    @staticmethod
    def fault(model: Transformer) -> str | None:
        """Return why onnxruntime cannot run a model, None if it can."""
        table, config = model.tokens.weight, model.config
        if not is_installed():
            return 'backend onnx needs onnxruntime. Run pip install "gpt1[onnx]".'
        if table.device.type != "cpu" or table.dtype != torch.float32:
            return (
                f"backend onnx runs float32 models on a CPU; this one is {table.dtype} on "
                f"{table.device}. Take backend torch."
            )
        if (config.n_embd // config.n_head) % 8:
            return (
                f"backend onnx needs heads of a multiple of 8 numbers; this model has "
                f"{config.n_head} in a width of {config.n_embd}. Take backend torch."
            )
        return None

    @torch.inference_mode()
    def prefill(self, ids: Tensor, lengths: Tensor, cache: _Cache, slots: slice) -> Tensor:
        """Read rows (B, T) from position 0 into `slots`; return the logits (B, V) after each."""
        cache.lengths[slots] = 0
        states = self.extend(ids, lengths, cache, slots)
        return self.logits(states[torch.arange(len(ids)), lengths - 1])

    @torch.inference_mode()
    def decode(self, ids: Tensor, cache: _Cache, slots: slice) -> Tensor:
        """Read one further id (B,) of each row in `slots`; return the logits (B, V) after it."""
        ones = torch.ones(len(ids), dtype=torch.int64)
        return self.logits(self.extend(ids[:, None], ones, cache, slots)[:, 0])

    @torch.inference_mode()
    def extend(self, ids: Tensor, lengths: Tensor, cache: _Cache, slots: slice) -> Tensor:
        """Read further ids (B, T) behind what each row holds; return the states (B, T, C)."""
        before = cache.lengths[slots]
        ids, columns = repeat_last(ids, lengths)
        positions = (before[:, None] + columns).clamp_max(self.config.n_ctx - 1)
        model = self._source
        h = F.embedding(ids, model.tokens.weight) + F.embedding(positions, model.positions.weight)
        states = torch.empty_like(h)
        binding = cache.binding(self._body, slots)
        after = before + lengths
        inputs = {"h": h, "counts": lengths.int(), "last": (after - 1).int()}
        for name, tensor in inputs.items():
            _bind(binding.bind_input, name, tensor)
        _bind(binding.bind_output, "states", states)
        self._body.run_with_iobinding(binding)
        cache.lengths[slots] = after
        return states

    @torch.inference_mode()
    def logits(self, states: Tensor) -> Tensor:
        """Return the logits (..., V) of states (..., C)."""
        binding = self._head.io_binding()
        flat = states.flatten(0, -2).contiguous()
        logits = flat.new_empty(len(flat), self.config.vocab_size)
        _bind(binding.bind_input, "states", flat)
        _bind(binding.bind_output, "logits", logits)
        self._head.run_with_iobinding(binding)
        return logits.view(*states.shape[:-1], -1)

    def is_current(self) -> bool:
        """Tell whether the model still has the weights that this backend was made from."""
        return self._versions == weight_versions(self._source)


class _Cache(KeyValueCache):
    """Keys and values that onnxruntime reads and writes where they are."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._capacity = torch.tensor(self.keys.shape[3], dtype=torch.int32)
        self._bindings: dict[tuple[int, int], Any] = {}

    def binding(self, session: Any, slots: slice) -> Any:
        """Return the inputs and outputs that are these slots of every layer."""
        key = (slots.start, slots.stop)
        if key not in self._bindings:
            binding = self._bindings[key] = session.io_binding()
            _bind(binding.bind_input, "capacity", self._capacity)
            for part, stored in (("key", self.keys), ("value", self.values)):
                for layer, tensor in enumerate(stored[:, slots]):
                    _bind(binding.bind_input, f"past.{layer}.{part}", tensor)
                    _bind(binding.bind_output, f"present.{layer}.{part}", tensor)
        return self._bindings[key]


class _Packed(Graph):
    """A graph whose matrices are stored in 8 or 4 bits."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self._form = _FORMS.get(weights)

    def linear(self, name: str, x: str, module: nn.Linear) -> str:
        """Apply an affine map to x (..., in)."""
        if self._form is None:
            return super().linear(name, x, module)
        return self.product(name, x, module.weight, self.weight(f"{name}.bias", module.bias))

    def product(self, name: str, x: str, weight: Tensor, bias: str = "") -> str:
        """Multiply x (..., K) by the transpose of weight (N, K), and add a bias (N,)."""
        if self._form is None:
            return self.add("MatMul", x, self.weight(f"{name}.weight", weight.T))
        (bits, group), (N, K) = self._form, weight.shape
        q, scale, zero = quantize_groups(F.pad(weight, (0, -K % group)), bits, group)
        packed = (
            self.weight(f"{name}.q", _packed(q, bits).view(*scale.shape, -1)),
            self.weight(f"{name}.scale", scale),
            self.weight(f"{name}.zero", _packed(zero, bits)),
        )
        return self.add(
            "MatMulNBits", x, *packed, "", bias, domain="com.microsoft",
            N=N, K=K, bits=bits, block_size=group, accuracy_level=4,
        )  # fmt: skip


@cache
def trial(weights: Weights) -> Trial:
    """Run onnxruntime's product of matrices of `weights` once for its error, and for its speed."""

    def make(weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
        graph = _Packed(weights)
        x = graph.input("x", np.float32, ("rows", weight.shape[1]))
        y = graph.product("trial", x, weight, graph.weight("bias", bias))
        graph.output(y, "y", np.float32, ("rows", len(weight)))
        session, _ = _session(graph.model(f"gpt1 {__version__}"))
        return lambda rows: torch.from_numpy(session.run(None, {"x": rows.numpy()})[0])

    return try_kernel("onnxruntime MatMulNBits", make, _TOLERANCES[weights])


def is_installed() -> bool:
    """Tell whether onnx and onnxruntime can be imported."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        return False
    return True


def _blocks(model: Transformer, weights: Weights) -> Any:
    """Return the graph from embeddings (B, T, C) to states, over caches (B, H, capacity, D).

    last (B,): the last position of each row afterwards; counts (B,): how many of its T are real.
    """
    C, H = model.config.n_embd, model.config.n_head
    graph = _Packed(weights)
    h = graph.input("h", np.float32, ("rows", "new", C))
    last, counts = (graph.input(name, np.int32, ("rows",)) for name in ("last", "counts"))
    capacity = graph.input("capacity", np.int32, ())
    shape = ("rows", H, "capacity", C // H)
    block: Any
    for i, block in enumerate(model.blocks):
        past = [graph.input(f"past.{i}.{part}", np.float32, shape) for part in ("key", "value")]
        qkv = graph.linear(f"blocks.{i}.attention.qkv", h, block.attention.qkv)
        kept = [graph.result(f"present.{i}.{part}", np.float32, shape) for part in ("key", "value")]
        unused = [""] * 9  # rotations, biases and scales, which stand before `counts`
        attended = graph.add(
            "GroupQueryAttention", qkv, "", "", *past, last, capacity, *unused, counts,
            outputs=(f"blocks.{i}.heads", *kept), domain="com.microsoft",
            num_heads=H, kv_num_heads=H, scale=1 / math.sqrt(C // H),
        )  # fmt: skip
        h = add_block(graph, f"blocks.{i}", h, attended, block)
    graph.output(h, "states", np.float32, ("rows", "new", C))
    return graph.model(f"gpt1 {__version__}")


def _head(model: Transformer, weights: Weights) -> Any:
    """Return the graph from states (R, C) to logits (R, V)."""
    graph = _Packed(weights)
    states = graph.input("states", np.float32, ("rows", model.config.n_embd))
    logits = graph.product("tokens", states, model.tokens.weight)
    graph.output(logits, "logits", np.float32, ("rows", model.config.vocab_size))
    return graph.model(f"gpt1 {__version__}")


def _packed(q: Tensor, bits: int) -> Tensor:
    """Return values uint8 (N, K) of 8 or 4 bits as bytes, the first one in the lower half."""
    if bits == 8:
        return q
    q = F.pad(q, (0, q.shape[1] % 2))
    return q[:, ::2] | (q[:, 1::2] << 4)


def _session(model: Any) -> tuple[Any, int]:
    """Return a session for a graph, and the bytes of its weights."""
    import onnxruntime

    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    # Waiting threads would spin: they would slow down torch, the other session and other programs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    data = model.SerializeToString()
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(data, options, providers=providers), size


def _bind(bind: Any, name: str, tensor: Tensor) -> None:
    """Let a session read, or write, a tensor where it is; the caller keeps it alive."""
    bind(name, "cpu", 0, _TYPES[tensor.dtype], tuple(tensor.shape), tensor.data_ptr())
