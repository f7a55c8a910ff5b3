"""The only cross-entropy: over the tied head, in chunks of positions, as a sum and a count.

The logits of a whole batch are the largest tensor in training a GPT-1 (V = 40,478 numbers per
position). Here they exist for one chunk at a time: its gradients are computed at once and the
logits dropped, so memory grows with positions, not with positions x vocabulary. The result is a sum
and a count, not a mean, so that neither accumulation nor the number of ranks changes a gradient.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gpt1.errors import InputError

IGNORED = -100
CHUNK = 1024
"""Positions whose logits exist together."""
CACHED = 1 << 20
"""Logits processed together: as many as fit the processor's cache."""


def perplexity(loss: float) -> float:
    """Return exp(loss), infinite if that is too large for a float.

    >>> round(perplexity(2.9124), 1)  # the paper's 18.4
    18.4
    """
    return math.exp(loss) if loss < 709 else math.inf


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, labels: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, int]:
    """Return the summed cross-entropy of `hidden @ weight.T` against `labels`, and their count.

    hidden (..., C), weight (V, C), labels int64 (...): the id each position must predict, -100 for
    none; weights (...): the weight of each label in the sum, by default 1. Computes in autocast's
    dtype if it is on; the sum is float32, or float64 for float64 input.
    """
    hidden, labels = hidden.flatten(0, -2), labels.flatten()  # (N, C), (N,)
    weights = None if weights is None else weights.flatten()
    targets = (labels != IGNORED).nonzero().squeeze(1)
    if len(targets) < len(labels):
        hidden, labels = hidden[targets], labels[targets]
        weights = None if weights is None else weights[targets]
    total: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, weight, labels, weights
    )
    return total, len(targets)


def next_token_loss(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """Return the mean loss of predicting each position's next label, a scalar.

    hidden (B, T, C); weight (V, C); labels int64 (B, T), the ids themselves: they are shifted here,
    and -100 is no target. Raises InputError if no target is left.
    """
    total, count = linear_cross_entropy(hidden[:, :-1], weight, labels[:, 1:])
    if not count:
        raise InputError(
            "labels hold no target; a loss needs at least two ids in a row, and labels that are "
            "not all -100 after the first. Give a longer text."
        )
    return total / count


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, weights: Tensor | None
    ) -> Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        if hidden.dtype == torch.float64:
            dtype = None
        w = weight.to(dtype or weight.dtype)
        h_all = hidden.to(w.dtype)
        exact = torch.float64 if w.dtype == torch.float64 else torch.float32
        total = torch.zeros((), dtype=exact, device=hidden.device)
        wanted = any(ctx.needs_input_grad[:2])
        grad_hidden = torch.empty_like(hidden) if wanted else None
        grad_weight = torch.zeros_like(weight) if wanted else None
        weights = hidden.new_ones(1) if weights is None else weights
        weights = weights.to(exact).expand(len(labels))[:, None]
        with torch.autocast(device, enabled=False):
            for start in range(0, len(labels), CHUNK):
                h, y = h_all[start : start + CHUNK], labels[start : start + CHUNK]
                logits = h @ w.T  # (n, V)
                rows = max(1, CACHED // logits.shape[1]) if device == "cpu" else CHUNK
                for part, targets, share in zip(
                    torch.split(logits, rows),
                    torch.split(y, rows),
                    torch.split(weights[start : start + CHUNK], rows),
                    strict=True,
                ):
                    total += _nll_and_error(part, targets[:, None], share)
                if grad_hidden is None or grad_weight is None:
                    continue
                grad_hidden[start : start + CHUNK] = logits @ w
                grad_weight += logits.T @ h
        ctx.save_for_backward(grad_hidden, grad_weight)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        scale = grads[0]
        return grad_hidden * scale.to(grad_hidden.dtype), grad_weight * scale, None, None


def _nll_and_error(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum of negative log-likelihoods; put its gradient in place of `logits`.

    One exponential per logit: the log of the sum is the largest logit less the log of its share.
    """
    scores = logits.to(weights.dtype)
    shares = scores.softmax(1)
    log_sum = scores.amax(1, keepdim=True) - shares.amax(1, keepdim=True).log()
    total = ((log_sum - scores.gather(1, labels)) * weights).sum()
    shares.scatter_add_(1, labels, shares.new_full((1, 1), -1).expand_as(labels))
    logits.copy_(shares.mul_(weights))
    return total
