"""Keys and values of the positions read so far; always an argument, never kept on the model."""

from __future__ import annotations

import torch
from torch import Tensor

from gpt1.config import ModelConfig


class KeyValueCache:
    """Room for B rows of up to `capacity` positions (n_ctx by default), each at its own length.

    `lengths` (B,) counts the positions of each row that are valid; the model writes new keys and
    values behind them and the caller moves `lengths` on (`advance`), so that rows of a right-padded
    batch end where their text ends. `longest` and `shortest` are the same on the host: while they
    agree, reading one more id needs neither mask nor scatter.
    """

    def __init__(
        self,
        config: ModelConfig,
        rows: int,
        *,
        capacity: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        room = config.n_ctx if capacity is None else capacity
        size = (config.n_layer, rows, config.n_head, room, config.n_embd // config.n_head)
        self.keys = torch.zeros(size, device=device, dtype=dtype)  # (L, B, H, capacity, D)
        self.values = torch.zeros(size, device=device, dtype=dtype)
        self.lengths = torch.zeros(rows, dtype=torch.int64, device=device)
        self.longest = self.shortest = 0

    def positions(self, new: int) -> Tensor:
        """Return the positions (B, T) that `new` further ids of each row take."""
        return self.lengths[:, None] + torch.arange(new, device=self.lengths.device)

    def visible(self, new: int) -> Tensor | None:
        """Return the mask (B, 1, T, S) of keys each new id sees; None where causality says all."""
        if self.longest == 0 or (new == 1 and self.longest == self.shortest):
            return None
        keys = torch.arange(self.longest + new, device=self.lengths.device)
        return (keys <= self.positions(new)[:, :, None])[:, None]

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k and v (B, H, T, D) of `layer` behind each row; return all (B, H, S, D)."""
        new, end = k.shape[2], self.longest + k.shape[2]
        if self.longest == self.shortest:
            self.keys[layer, :, :, self.longest : end] = k
            self.values[layer, :, :, self.longest : end] = v
        else:
            index = self.positions(new)[:, None, :, None].expand_as(k)
            self.keys[layer].scatter_(2, index, k)
            self.values[layer].scatter_(2, index, v)
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def advance(self, new: Tensor | int) -> None:
        """Count `new` further ids of each row, (B,) or one number for all, as read."""
        self.lengths = self.lengths + new
        if isinstance(new, int):  # known without asking the device
            self.longest, self.shortest = self.longest + new, self.shortest + new
        else:
            self._measure()

    def keep(self, rows: Tensor) -> None:
        """Keep only `rows`, a tensor of row numbers, in that order."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.lengths = self.lengths[rows]
        self._measure()

    def replace(self, row: int, other: KeyValueCache) -> None:
        """Forget what `row` held; put the only row of `other` there."""
        end = other.longest
        self.keys[:, row, :, :end] = other.keys[:, 0, :, :end]
        self.values[:, row, :, :end] = other.values[:, 0, :, :end]
        self.lengths[row] = end
        self._measure()

    def _measure(self) -> None:
        ends = self.lengths.tolist()
        self.longest, self.shortest = max(ends, default=0), min(ends, default=0)
