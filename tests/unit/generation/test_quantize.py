"""Rounded matrices: no error above half a step, and none that a search over scales would halve."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gpt1.generation.quantize import quantize_groups, quantize_rows


def weights(rows: int = 12, columns: int = 96) -> Tensor:
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(3)) * 0.1
    weight[1] = 0
    weight[2] = 0.25  # one value only
    weight[3] = weight[3].abs()  # one sign only
    weight[4, 7] = 5  # an outlier
    return weight


def restored(q: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    N, G = scale.shape
    return ((q.view(N, G, -1).float() - zero[..., None]) * scale[..., None]).view(N, -1)


def test_rows_are_rounded_to_the_nearest_step() -> None:
    weight = weights()
    q, scale = quantize_rows(weight)
    assert (q.dtype, q.shape, scale.dtype) == (torch.int8, weight.shape, torch.float32)
    assert q.min() >= -127
    assert ((q * scale[:, None] - weight).abs() <= scale[:, None] / 2 * (1 + 1e-5)).all()
    used = weight.abs().amax(1) > 0
    assert (q.abs().amax(1)[used] == 127).all()  # the whole range is used
    assert (q[1] == 0).all()
    assert scale[1] == 1


@pytest.mark.parametrize(("bits", "group"), [(4, 32), (4, 16), (8, 96)])
def test_groups_are_no_worse_than_plain_rounding_and_nearly_the_best(bits: int, group: int) -> None:
    weight = weights()
    q, scale, zero = quantize_groups(weight, bits, group)
    assert (q.dtype, q.shape, zero.dtype) == (torch.uint8, weight.shape, torch.uint8)
    assert scale.shape == zero.shape == (12, 96 // group)
    assert int(q.max()) < 2**bits > int(zero.max())
    error = (restored(q, scale, zero) - weight).view(12, -1, group).square().sum(2)

    w = weight.view(12, -1, group)
    low, high = w.amin(2).clamp_max(0), w.amax(2).clamp_min(0)
    step = ((high - low) / (2**bits - 1))[..., None].clamp_min(1e-12)
    first = (-low[..., None] / step).round()
    plain = ((w / step + first).round().clamp(0, 2**bits - 1) - first) * step
    assert (error <= (plain - w).square().sum(2) * (1 + 1e-4) + 1e-12).all()  # in every group

    best = torch.full_like(error, torch.inf)  # brute force: every range of a fine grid
    for shrink in torch.linspace(0.5, 1.1, 61):
        fine = step * shrink
        for offset in range(16 if bits == 4 else 0):
            at = (w / fine + offset).round().clamp(0, 2**bits - 1) - offset
            best = torch.minimum(best, (at * fine - w).square().sum(2))
    if bits == 4:
        assert error.sum() < 1.05 * best.sum()


def test_a_group_of_zeros_stays_zero_and_one_value_stays_itself() -> None:
    q, scale, zero = quantize_groups(weights())
    rounded = restored(q, scale, zero)
    assert (rounded[1] == 0).all()
    torch.testing.assert_close(rounded[2], torch.full((96,), 0.25))
