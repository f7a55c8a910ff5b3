"""Keys and values of the positions read so far: an argument of the model, never stored on it."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from gpt1.config import ModelConfig


class KeyValueCache:
    """Slots for rows of up to `capacity` positions (n_ctx by default), each with its own length.

    The memory is allocated once; `cache[2:5]` is a cache of three slots that shares it. `lengths`
    (B,) counts the valid positions of each slot and stays on the host, so nothing here waits for a
    device. The model writes new keys and values behind them and the caller advances `lengths`, so
    that each row of a right-padded batch ends where its text ends.
    """

    def __init__(
        self,
        config: ModelConfig,
        slots: int,
        *,
        capacity: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        room = config.n_ctx if capacity is None else capacity
        size = (config.n_layer, slots, config.n_head, room, config.n_embd // config.n_head)
        self.keys = torch.zeros(size, device=device, dtype=dtype)  # (L, B, H, capacity, D)
        self.values = torch.zeros(size, device=device, dtype=dtype)
        self.lengths = torch.zeros(slots, dtype=torch.int64)
        self.n_ctx = config.n_ctx
        self.prepare(0)

    def __getitem__(self, slots: slice) -> KeyValueCache:
        """Return a cache of these slots that shares their memory and lengths."""
        return self._of(self.keys[:, slots], self.values[:, slots], self.lengths[slots])

    @property
    def capacity(self) -> int:
        """The number of positions that a slot has memory for."""
        return self.keys.shape[3]

    def prepare(self, new: int) -> None:
        """Compute, once for all layers, where `new` further ids of each row go.

        `start` and `end` are the longest row's positions; `ends` (each row's end) and `positions`
        (B, T) are None unless rows differ; `mask` (B, 1, T, S) is what each new id attends to, None
        for plain causality.
        """
        lengths = self.lengths.tolist()
        self.start = max(lengths, default=0)
        self.end = self.start + new
        self.ends: list[int] | None = None
        self.positions: Tensor | None = None
        self.mask: Tensor | None = None
        even = min(lengths, default=0) == self.start
        if even and (new <= 1 or self.start == 0):
            return
        device = self.keys.device
        positions = (self.lengths[:, None] + torch.arange(new)).to(device)  # (B, T)
        self.mask = (torch.arange(self.end, device=device) <= positions[:, :, None])[:, None]
        if not even:
            self.ends = [length + new for length in lengths]
            self.positions = positions.clamp_max(self.n_ctx - 1)  # beyond it is padding
            self._index = torch.arange(len(lengths), device=device)[:, None], positions

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k and v (B, H, T, D) of `layer` behind each row; return all (B, H, S, D)."""
        for stored, new in ((self.keys[layer], k), (self.values[layer], v)):
            if self.positions is None:
                stored[:, :, self.start : self.end] = new
            else:
                # scatter_ would do, but takes a thousand times as long in bfloat16 on a CPU
                stored.transpose(1, 2)[self._index] = new.transpose(1, 2)  # (B, T, H, D)
        return self.keys[layer, :, :, : self.end], self.values[layer, :, :, : self.end]

    def advance(self, new: Tensor | int) -> None:
        """Count `new` further ids of each row as read, (B,) on the host or one number for all."""
        self.lengths += new

    def clear(self, slot: int) -> None:
        """Empty a slot; nothing that it held, NaN included, can reach a later row."""
        self.keys[:, slot] = 0
        self.values[:, slot] = 0
        self.lengths[slot] = 0

    def truncate(self, slot: int, length: int) -> None:
        """Forget all but the first `length` positions of a slot."""
        self.lengths[slot] = length

    def move(self, source: int, target: int) -> None:
        """Copy one slot to another."""
        length = int(self.lengths[source])
        self.keys[:, target, :, :length] = self.keys[:, source, :, :length]
        self.values[:, target, :, :length] = self.values[:, source, :, :length]
        self.lengths[target] = length

    def repeat(self, counts: Tensor) -> KeyValueCache:
        """Return a copy that holds slot i counts[i] times, in order; counts int64 (B,)."""
        slots = torch.arange(len(counts)).repeat_interleave(counts)
        moved = slots.to(self.keys.device)
        return self._of(self.keys[:, moved], self.values[:, moved], self.lengths[slots])

    def _of(self, keys: Tensor, values: Tensor, lengths: Tensor) -> KeyValueCache:
        other = copy.copy(self)
        other.keys, other.values, other.lengths = keys, values, lengths
        return other


class StaticCache(KeyValueCache):
    """The first slots of a cache, for steps of one id that never change their shapes.

    `lengths` (B,) is a tensor on the device, which the caller sets before each step. The rows
    attend, under a mask, to all positions but the last, where rows that are not in use may write.
    """

    def __init__(self, cache: KeyValueCache, slots: int) -> None:
        self.keys, self.values = cache.keys[:, :slots], cache.values[:, :slots]
        self.lengths = torch.zeros(slots, dtype=torch.int64, device=cache.keys.device)
        self.n_ctx = cache.n_ctx
        self.start, self.end, self.ends = 0, self.capacity - 1, None

    def prepare(self, new: int = 1) -> None:
        """Compute, once for all layers, where the next id of each row goes."""
        self.positions = self.lengths[:, None].clamp_max(self.n_ctx - 1)
        held = torch.arange(self.end, device=self.lengths.device) <= self.lengths[:, None]
        self.mask = held[:, None, None]  # (B, 1, 1, S)
        rows = torch.arange(len(self.lengths), device=self.lengths.device)
        self._index = rows[:, None], self.lengths[:, None]
