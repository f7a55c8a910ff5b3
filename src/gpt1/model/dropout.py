"""Fast dropout masks: on a CPU torch draws each value alone, which takes ten times as long."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_LEVELS = 1 << 16


def keep_mask(like: Tensor, p: float) -> Tensor:
    """Return zeros with probability p and ones otherwise, of the shape and dtype of `like`.

    p is rounded to a multiple of 2^-16. Seeded by torch's global generator, like torch's dropout.
    """
    if like.device.type != "cpu":
        return torch.empty_like(like).bernoulli_(1 - p)
    seed = int(torch.randint(2**63 - 1, ()))
    random = np.random.Generator(np.random.SFC64(seed))
    count = like.numel()
    words = random.integers(0, 1 << 64, -(-count // 4), dtype=np.uint64)
    keep = words.view(np.uint16)[:count] >= round(p * _LEVELS)
    return torch.from_numpy(keep.view(np.int8)).view(like.shape).to(like.dtype)


class Dropout(torch.nn.Module):
    """Inverted dropout (spec 1.7): kept values are divided by 1 - p."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return x; in training, with a share p of its values dropped."""
        if not self.training or not self.p:
            return x
        return x * keep_mask(x, self.p).mul_(1 / (1 - self.p))
