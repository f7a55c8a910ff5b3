"""Generation with PyTorch: the weights' precision while text is generated.

Decoding one id reads every weight once, so weights of 16 bits halve its time, and those of 8 halve
it again. With float16 and int8 only the matrices are narrower; with bfloat16 all is, but the head
of a task. The model itself does not change: a `TorchBackend` holds a copy of its module tree in
evaluation mode, which shares every tensor but the packed matrices. On CUDA, `cuda_graphs` decodes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gpt1.errors import ConfigError
from gpt1.generation import kernels
from gpt1.generation.cuda_graphs import CudaGraphs
from gpt1.generation.kernels import Kernel, Width
from gpt1.generation.threads import Threads
from gpt1.model.build import Model
from gpt1.model.cache import KeyValueCache
from gpt1.model.device import has_bfloat16
from gpt1.model.padding import repeat_last
from gpt1.model.transformer import MLP, Transformer, gelu

M = TypeVar("M", bound=Model)


class TorchBackend:
    """A `Transformer` made ready to generate; see `backend.Backend`.

    weights: the form of the matrices; "float32" means the model's own, unchanged. Raises as
    `narrow`.
    """

    def __init__(self, model: Transformer, weights: Width = "float32") -> None:
        self.config = model.config
        self.weights: Width = weights
        self.name = f"torch {weights}"
        self._source = model
        self._versions = weight_versions(model)
        self.model = narrow(model, weights)
        table = self.model.tokens.weight
        self.device, self.dtype = table.device, table.dtype
        self._graphs = CudaGraphs(self.model) if self.device.type == "cuda" else None
        # float32's sums depend on the number of threads; a text must not
        narrow_on_cpu = weights != "float32" and self.device.type == "cpu"
        self._threads = Threads() if narrow_on_cpu else None
        sizes = [p.numel() * p.element_size() for p in self.model.parameters()]
        packed = [m.num_bytes for m in self.model.modules() if isinstance(m, Kernel)]
        self.num_bytes = sum(sizes) + sum(packed)

    def new_cache(self, slots: int, capacity: int) -> KeyValueCache:
        """Return an empty cache for `slots` rows of up to `capacity` positions."""
        if self._graphs is not None:
            return self._graphs.new_cache(slots, capacity)
        return KeyValueCache(
            self.config, slots, capacity=capacity, device=self.device, dtype=self.dtype
        )

    @torch.inference_mode()
    def prefill(self, ids: Tensor, lengths: Tensor, cache: KeyValueCache, slots: slice) -> Tensor:
        """Read rows (B, T) from position 0 into `slots`; return the logits (B, V) after each."""
        cache[slots].lengths.zero_()
        states = self.extend(ids, lengths, cache, slots)
        return self.logits(states[torch.arange(len(ids)), lengths - 1])  # of (B, C)

    @torch.inference_mode()
    def decode(self, ids: Tensor, cache: KeyValueCache, slots: slice) -> Tensor:
        """Read one further id (B,) of each row in `slots`; return the logits (B, V) after it."""
        logits = None if self._graphs is None else self._graphs.decode(ids, cache, slots)
        if logits is None:
            rows, ids = cache[slots], ids[:, None].to(self.device)

            def step() -> Tensor:
                return self.model.logits(self.model.hidden(ids, cache=rows)[:, -1])

            logits = self._threads.run(step, len(ids)) if self._threads else step()
            rows.advance(1)
        return _widened(logits)

    @torch.inference_mode()
    def extend(self, ids: Tensor, lengths: Tensor, cache: KeyValueCache, slots: slice) -> Tensor:
        """Read further ids (B, T) behind what each row holds; return the states (B, T, C)."""
        rows, positions = cache[slots], None
        if int(lengths.min()) < ids.shape[1]:
            ids, columns = repeat_last(ids, lengths)
            positions = (rows.lengths[:, None] + columns).clamp_max(self.config.n_ctx - 1)
            positions = positions.to(self.device)
        states: Tensor = self.model.hidden(ids.to(self.device), position_ids=positions, cache=rows)
        rows.advance(lengths)
        return states

    def is_current(self) -> bool:
        """Tell whether the model still has the weights that this backend was made from.

        Sees optimizer steps, loaded states, replaced or moved tensors; not writes through `.data`.
        """
        return self._versions == weight_versions(self._source)

    @torch.inference_mode()
    def logits(self, states: Tensor) -> Tensor:
        """Return the logits (..., V) of states (..., C), in float32 or finer."""
        return _widened(self.model.logits(states))


def make_backend(model: Transformer, dtype: str = "auto") -> TorchBackend:
    """Return `model` ready to generate with weights of `dtype`: "auto" or one of `Width`.

    auto: 16 bits where they help, which is float16 with float32 sums on a CPU whose torch has them
    and bfloat16 on CUDA with bfloat16 units; else, and for a model that is not float32, the model's
    own weights. Raises ConfigError for a `dtype` that the device or torch cannot do.
    """
    if dtype == "auto":
        table = model.tokens.weight
        dtype = best_weights(table.device) if table.dtype == torch.float32 else "float32"
    return TorchBackend(model, dtype)  # type: ignore[arg-type]


def narrow(model: M, weights: Width) -> M:
    """Return a copy in evaluation mode with matrices of `weights`, sharing all that stays as it is.

    Raises ConfigError for a width that the model's device cannot do, an LSTM, or other weights than
    float32.
    """
    device = model.tokens.weight.device
    if weights == "float32":
        copied: M = _shallow_copy(model)
    elif not isinstance(model, Transformer):
        raise ConfigError(
            f"dtype is {weights!r}; the LSTM baseline computes in float32. Leave it out."
        )
    elif device.type == "cpu" or weights == "bfloat16":
        kernel = kernels.choose(weights) if device.type == "cpu" else None
        if model.tokens.weight.dtype != torch.float32:
            raise ConfigError(
                f"dtype is {weights!r}; the model is {model.tokens.weight.dtype}, and only float32 "
                f"is rounded. Leave dtype out."
            )
        if weights == "bfloat16":  # and so are the activations: converting them costs more
            head, model = model.head, copy.deepcopy(model).to(torch.bfloat16)
            model.head = head
        packed = {} if kernel is None else _pack(model, kernel)
        copied = _shallow_copy(model, packed)
        copied.lm_head = packed.get(model.tokens)
    else:
        raise ConfigError(
            f"dtype is {weights!r}, which needs a CPU; on {device} use float32 or bfloat16."
        )
    return copied


def best_weights(device: torch.device) -> Width:
    """Return the form of float32 weights that `auto` means on `device`."""
    if device.type == "cuda" and has_bfloat16(device):
        return "bfloat16"
    able = device.type == "cpu" and any(t.failure is None for t in kernels.trials("float16"))
    return "float16" if able else "float32"


def _widened(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype.itemsize < 4 else logits


def _pack(model: Model, kernel: type[Kernel]) -> dict[nn.Module, Kernel]:
    """Return a kernel for each linear layer, and for the tokens' matrix as the head."""
    layers = [model.tokens, *(m for m in model.modules() if isinstance(m, nn.Linear))]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # torch packs on one thread
        packed = pool.map(lambda m: kernel(m.weight, getattr(m, "bias", None)), layers)
        return dict(zip(layers, packed, strict=True))


def _shallow_copy(module: Any, packed: Mapping[nn.Module, Kernel] | None = None) -> Any:
    """Return a copy of the module tree that shares all tensors, in evaluation mode.

    Linear layers are replaced by those `packed`.
    """
    if module is None:  # the heads of a model that has none
        return None
    if packed and isinstance(module, nn.Linear):
        return packed[module]
    other = copy.copy(module)
    other.training = False
    children = module._modules.items()
    other._modules = {name: _shallow_copy(child, packed) for name, child in children}
    if isinstance(other, MLP) and other.activation is gelu:
        first = other._modules["fc"]
        if isinstance(first, Kernel) and first.gelu is False:
            first.gelu, other.activation = True, _unchanged  # in one pass over the memory
    return other


def _unchanged(x: Tensor) -> Tensor:
    return x


def weight_versions(model: nn.Module) -> list[tuple[int, int]]:
    """Return what changes when a weight does: its memory and how often it was written to."""
    weights = model.parameters()  # an inference tensor keeps no count
    return [(p.data_ptr(), -1 if p.is_inference() else p._version) for p in weights]
