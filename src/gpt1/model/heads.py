"""The task head: one affine map of the state at the extract token (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt1.model.dropout import keep_mask


class Head(nn.Module):
    """Dropout, then affine to `outputs` numbers (spec 4.3).

    Weights start as normal(0, 0.02), the bias at 0 (spec 1.8.2). In the state dict of a model they
    are head.weight (outputs, C) and head.bias (outputs,).
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        *,
        pdrop: float = 0.1,
        std: float = 0.02,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, width))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.pdrop = pdrop
        self.task: Mapping[str, Any] | None = None
        """What the outputs mean, as in gpt1.json."""
        if not self.weight.is_meta:
            nn.init.normal_(self.weight, std=std, generator=generator)

    def forward(self, states: Tensor, *, shared: bool = False) -> Tensor:
        """Return scores (..., outputs) of states (..., C).

        With `shared`, the states of one example (the axis before the last) share a dropout mask, as
        in the release (spec 4.3.2).
        """
        if self.training and self.pdrop:
            like = states[..., :1, :] if shared else states
            states = states * keep_mask(like, self.pdrop) / (1 - self.pdrop)
        return F.linear(states, self.weight, self.bias)
