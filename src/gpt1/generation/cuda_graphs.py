"""Decode steps as CUDA graphs.

A step launches some hundred kernels, and a GPU finishes each sooner than a CPU starts the next. A
CUDA graph starts them all with one call, but repeats the shapes and addresses of its capture. So
its step reads ids and lengths from tensors that stay, attends to the whole capacity under a mask,
and leaves the logits in a tensor that stays; there is one graph for each number of rows, rounded up
to a power of two.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable

import torch
from torch import Tensor

from gpt1.errors import Note, first_line
from gpt1.model.cache import KeyValueCache, StaticCache
from gpt1.model.transformer import Transformer

ROOM = 64
"""Capacities are rounded up to multiples of this, so that few differ."""


class StaticStep:
    """A decode step of the first `rows` slots of a cache that never changes its shapes."""

    def __init__(self, model: Transformer, cache: KeyValueCache, rows: int) -> None:
        self._model = model
        self._cache = StaticCache(cache, rows)
        device = cache.keys.device
        self._inputs = torch.zeros(2, rows, dtype=torch.int64, device=device)  # ids, lengths
        self._logits: Tensor | None = None
        self._run: Callable[[], None] | None = None

    def __call__(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Read ids (n,) behind `lengths` (n,) positions; return the logits (n, V) after them.

        The first call captures the step. Raises RuntimeError if that is not possible.
        """
        n, rows = len(ids), self._inputs.shape[1]
        inputs = torch.zeros(2, rows, dtype=torch.int64)
        inputs[1] = self._cache.end  # what rows that are not in use write is never read
        inputs[0, :n], inputs[1, :n] = ids, lengths
        self._inputs.copy_(inputs)
        if self._run is None:
            self._run = capture(self.compute)
        self._run()
        assert self._logits is not None
        return self._logits[:n].clone()  # the next step overwrites them

    def compute(self) -> None:
        """Compute the logits of the inputs; doing so again changes nothing."""
        ids, self._cache.lengths = self._inputs
        states = self._model.hidden(ids[:, None], cache=self._cache)
        self._logits = self._model.logits(states[:, -1])


class CudaGraphs:
    """The captured steps of the cache that it made last.

    A graph belongs to the memory of its cache. So that memory stays, with its graphs, for the next
    cache of the same size.
    """

    def __init__(self, model: Transformer) -> None:
        self._model = model
        self._memory: KeyValueCache | None = None
        self._lent: weakref.ref[KeyValueCache] | None = None
        self._steps: dict[int, StaticStep] = {}
        self._able = True

    def new_cache(self, slots: int, capacity: int) -> KeyValueCache:
        """Return an empty cache for `slots` rows of up to `capacity` positions, or a few more."""
        room = -(-capacity // ROOM) * ROOM + 1  # for rows that are not in use
        memory = self._memory
        free = self._lent is None or self._lent() is None
        if free and memory is not None and (len(memory.lengths), memory.capacity) == (slots, room):
            for held in (memory.keys, memory.values, memory.lengths):
                held.zero_()
        else:
            self._steps, self._memory, memory = {}, None, None  # free the old memory first
            like = self._model.tokens.weight
            memory = self._memory = KeyValueCache(
                self._model.config, slots, capacity=room, device=like.device, dtype=like.dtype
            )
        cache = memory[:]
        self._lent = weakref.ref(cache)
        return cache

    def decode(self, ids: Tensor, cache: KeyValueCache, slots: slice) -> Tensor | None:
        """Return the logits (B, V) after ids (B,), or None if no graph can compute them."""
        n = slots.stop
        if self._lent is None or cache is not self._lent() or slots.start or not self._able:
            return None
        lengths = cache.lengths[:n]
        if int(lengths.max()) >= min(cache.n_ctx, cache.capacity - 1):
            return None  # the plain step says what is wrong
        rows = min(1 << (n - 1).bit_length(), len(cache.lengths))
        if rows not in self._steps:
            self._steps[rows] = StaticStep(self._model, cache, rows)
        try:
            logits = self._steps[rows](ids, lengths)
        except RuntimeError as error:
            self._able = False
            warnings.warn(
                f"CUDA graphs do not work here, so generation is slower: {first_line(error)}",
                Note,
                stacklevel=3,
            )
            return None
        lengths += 1
        return logits


def capture(compute: Callable[[], None]) -> Callable[[], None]:
    """Return what repeats the kernels of `compute`, which may run several times here."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):  # libraries allocate their workspaces, which a capture cannot
            compute()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        compute()
    replay: Callable[[], None] = graph.replay
    return replay
