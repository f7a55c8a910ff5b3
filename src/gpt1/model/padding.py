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


def repeat_last(ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return ids (B, T) padded with each row's own last id, and where each comes from, (B, T).

    Attention gives padding the weight 0, and 0 times NaN is NaN: what a row does not own must not
    be read for it.

    >>> repeat_last(torch.tensor([[3, 1], [4, 0]]), torch.tensor([2, 1]))
    (tensor([[3, 1],
            [4, 4]]), tensor([[0, 1],
            [0, 0]]))
    """
    columns = torch.arange(ids.shape[1]).minimum((lengths[:, None] - 1).clamp_min(0))
    return ids.gather(1, columns), columns
