"""Matrices in 8 or 4 bits: pure functions of weights, shared by all backends.

rows     weight[n, k] = q[n, k] * scale[n]                       int8, one scale a row
groups   weight[n, k] = (q[n, k] - zero[n, g]) * scale[n, g]     g = k // group
"""

from __future__ import annotations

import torch
from torch import Tensor

_CLIPS = tuple(1 - 0.05 * i for i in range(5))
"""The shares of a range that are tried: a smaller one has finer steps, and cuts more off."""


def quantize_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return q, int8 (N, K) in -127..127, and scale, float32 (N,), of weight (N, K).

    A row of zeros has scale 1.
    """
    weight = weight.detach().float()
    scale = weight.abs().amax(1) / 127
    scale = torch.where(scale == 0, 1.0, scale)  # NaN stays NaN
    return (weight / scale[:, None]).round().to(torch.int8), scale


def quantize_groups(
    weight: Tensor, bits: int = 4, group: int = 32
) -> tuple[Tensor, Tensor, Tensor]:
    """Return q, uint8 (N, K) in 0..2^bits-1, scale, float32 (N, K/group), and zero, uint8 alike.

    Of several clipped ranges, each group has the one whose values, rescaled by least squares, are
    nearest to its weights. K must be a multiple of `group`.
    """
    N = len(weight)
    top = 2**bits - 1
    w = weight.detach().float().view(N, -1, group)
    low, high = w.amin(2, keepdim=True).clamp_max(0), w.amax(2, keepdim=True).clamp_min(0)
    best = torch.full_like(low, torch.inf)
    for clip in _CLIPS:
        scale = (high - low) * (clip / top)
        scale = torch.where(scale == 0, 1.0, scale)
        zero = (-low * clip / scale).round()
        q = (w / scale + zero).round_().clamp_(0, top)
        steps = q - zero
        square = steps.square().sum(2, keepdim=True)
        fitted = (steps * w).sum(2, keepdim=True) / square.clamp_min(1)
        scale = torch.where(fitted > 0, fitted, scale)
        error = (steps * scale - w).square_().sum(2, keepdim=True)
        if clip == _CLIPS[0]:
            best_q, best_scale, best_zero = q, scale, zero
        better = error < best
        best = torch.where(better, error, best)
        best_q = torch.where(better, q, best_q)
        best_scale = torch.where(better, scale, best_scale)
        best_zero = torch.where(better, zero, best_zero)
    q = best_q.view(N, -1).to(torch.uint8)
    return q, best_scale.squeeze(2), best_zero.squeeze(2).to(torch.uint8)
