"""What is minimised: functions from a model and a batch to sums, and the counts to divide by.

A loss is the weighted sum over terms of (sum over the update) / (count over the update). Counts
come from the data alone, so they are known before the first forward pass, and k micro-batches give
the gradient of one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt1.data.batches import Batch
from gpt1.model.losses import linear_cross_entropy
from gpt1.model.transformer import Transformer


@dataclass(frozen=True)
class Objective:
    """A loss by its terms.

    `sums` gives each term's sum over a batch; `counts` its count; `weights` the factor of each
    term. With `averaged` off the gradient is that of the plain sums, as in the article.
    """

    sums: Callable[[Transformer, Batch], dict[str, Tensor]]
    counts: Callable[[Batch], dict[str, float]]
    weights: Mapping[str, float]
    averaged: bool = True


def _hidden(model: Transformer, batch: Batch) -> Tensor:
    """Return states (B, T, C); documents packed into one row do not see one another."""
    device = model.tokens.weight.device
    ids = torch.from_numpy(batch.ids).to(device)
    segments = positions = None
    if batch.segments is not None:
        segments = torch.from_numpy(batch.segments).to(device)
    if batch.positions is not None:
        positions = torch.from_numpy(batch.positions).to(device)
    return model.hidden(ids, position_ids=positions, segments=segments)


def _token_sums(model: Transformer, batch: Batch) -> dict[str, Tensor]:
    hidden = _hidden(model, batch)
    labels = torch.from_numpy(batch.labels).to(hidden.device)
    total, _ = linear_cross_entropy(hidden.flatten(0, 1), model.tokens.weight, labels.flatten())
    return {"lm": total}


def _pack_means(model: Transformer, batch: Batch) -> dict[str, Tensor]:
    hidden = _hidden(model, batch)
    labels = torch.from_numpy(batch.labels).to(hidden.device)
    means = []
    for row, targets in zip(hidden, labels, strict=True):
        total, count = linear_cross_entropy(row, model.tokens.weight, targets)
        means.append(total / count)
    return {"lm": torch.stack(means).sum()}


token_mean = Objective(
    sums=_token_sums, counts=lambda batch: {"lm": float(batch.targets)}, weights={"lm": 1.0}
)
"""Mean cross-entropy over all targets of the update (paper, equation 1)."""

pack_sum = Objective(
    sums=_pack_means,
    counts=lambda batch: {"lm": float(len(batch.ids))},
    weights={"lm": 1.0},
    averaged=False,
)
"""The article's: each pack's mean, summed over the packs of an update (spec 9.8.5)."""

BY_NAME = {"token_mean": token_mean, "pack_sum": pack_sum}
