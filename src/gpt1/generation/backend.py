"""The interface between the engine and a model: whatever implements it can generate text."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from gpt1.config import ModelConfig


class Cache(Protocol):
    """The keys and values of the rows a backend has read, one row in each slot."""

    def move(self, source: int, target: int) -> None:
        """Copy slot `source` into slot `target`."""

    def clear(self, slot: int) -> None:
        """Empty a slot, so that nothing in it, NaN included, can reach a later row."""

    def truncate(self, slot: int, length: int) -> None:
        """Forget all but the first `length` positions of a slot."""


class Backend(Protocol):
    """A model that reads ids and returns logits, without dropout or gradients.

    name: e.g. "torch float16". num_bytes: the size of its weights. device: that of its logits. Ids
    are int64 tensors on the CPU; logits (B, V) are float32 or float64. The rows in use always fill
    the first slots of a cache, so `slots` is a range.
    """

    name: str
    config: ModelConfig
    num_bytes: int
    device: torch.device

    def new_cache(self, slots: int, capacity: int) -> Cache:
        """Return an empty cache for `slots` rows of up to `capacity` positions."""

    def prefill(self, ids: Tensor, lengths: Tensor, cache: Any, slots: slice) -> Tensor:
        """Read rows from position 0 into `slots`; return the logits (B, V) after each.

        ids (B, T) are padded on the right; lengths (B,) are at least 1.
        """

    def decode(self, ids: Tensor, cache: Any, slots: slice) -> Tensor:
        """Read one further id (B,) of each row in `slots`; return the logits (B, V) after it."""

    def extend(self, ids: Tensor, lengths: Tensor, cache: Any, slots: slice) -> Tensor:
        """Read further ids behind what each row in `slots` holds, perhaps nothing.

        ids (B, T) are padded on the right; lengths (B,) count each row's own. The longest row and T
        fit into the cache together. Returns the states (B, T, C) after every id, for `logits`.
        """

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits (..., V) of states (..., C)."""
