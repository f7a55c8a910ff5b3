"""Padding of sequences to one length."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pad_right(
    sequences: Sequence[Sequence[int]], *, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Return ids (B, T), padded on the right with id 0, and their lengths (B,), both int64.

    >>> pad_right([[3, 1], [4]])
    (tensor([[3, 1],
            [4, 0]]), tensor([2, 1]))
    """
    lengths = [len(ids) for ids in sequences]
    padded = torch.zeros(len(sequences), max(lengths), dtype=torch.int64)
    for row, ids in zip(padded, sequences, strict=True):
        row[: len(ids)] = torch.tensor(ids, dtype=torch.int64)
    return padded.to(device), torch.tensor(lengths, device=device)
