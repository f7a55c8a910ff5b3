"""The chunked cross-entropy against torch's own over the whole matrix of logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from gpt1.model import losses
from gpt1.model.losses import linear_cross_entropy
from tolerances import BF16, FP64


def problem(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(37, 12, generator=generator, dtype=torch.float64)
    weight = torch.randn(50, 12, generator=generator, dtype=torch.float64)
    labels = torch.randint(50, (37,), generator=generator)
    labels[::5] = -100
    return hidden, weight, labels


def plain(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(hidden @ weight.T, labels, reduction="sum")


@pytest.mark.parametrize("chunk", [1, 4, 29, 1024])
def test_the_sum_and_its_gradients_are_those_of_the_whole(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "CHUNK", chunk)
    found, expected = problem(), problem()
    for tensor in (*found[:2], *expected[:2]):
        tensor.requires_grad_()
    total, count = linear_cross_entropy(*found)
    whole = plain(*expected)
    assert count == int((found[2] != -100).sum())
    assert_close(total, whole, **FP64)
    (3 * total).backward()
    (3 * whole).backward()
    assert_close(found[0].grad, expected[0].grad, **FP64)
    assert_close(found[1].grad, expected[1].grad, **FP64)


def test_the_gradient_is_the_slope() -> None:
    hidden, weight, labels = problem()
    hidden, weight = hidden[:6].requires_grad_(), weight.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda h, w: linear_cross_entropy(h, w, labels[:6])[0], (hidden, weight)
    )


def test_no_target_is_a_sum_of_zero() -> None:
    hidden, weight, labels = problem()
    total, count = linear_cross_entropy(
        hidden.requires_grad_(), weight.requires_grad_(), torch.full_like(labels, -100)
    )
    total.backward()
    assert (total.item(), count) == (0, 0)
    assert hidden.grad is not None
    assert not hidden.grad.any()


def test_only_the_wanted_gradient_is_given() -> None:
    hidden, weight, labels = problem()
    assert_close(linear_cross_entropy(hidden, weight, labels)[0], plain(hidden, weight, labels))
    linear_cross_entropy(hidden.requires_grad_(), weight, labels)[0].backward()
    expected = problem()[0].requires_grad_()
    plain(expected, weight, labels).backward()
    assert_close(hidden.grad, expected.grad, **FP64)


def test_bfloat16_keeps_a_float32_sum() -> None:
    hidden, weight, labels = (t.float() if t.is_floating_point() else t for t in problem())
    expected = plain(hidden, weight, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, _ = linear_cross_entropy(hidden, weight, labels)
    assert total.dtype == torch.float32
    assert abs(total - expected) / expected <= BF16


def test_huge_logits_stay_finite() -> None:
    hidden, weight, labels = problem()
    hidden = (1e4 * hidden).requires_grad_()
    total, _ = linear_cross_entropy(hidden, weight, labels)
    total.backward()
    assert total.isfinite()
    assert_close(total, plain(hidden, weight, labels), **FP64)
    assert hidden.grad is not None
    assert hidden.grad.isfinite().all()


class _Largest(TorchDispatchMode):
    """Notes the most numbers that any tensor held."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return out


def test_no_tensor_grows_with_positions_times_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "CHUNK", 16)
    V, C = 500, 8
    largest = []
    for positions in (64, 256):
        with _Largest() as seen:
            hidden = torch.randn(positions, C).requires_grad_()
            weight = torch.randn(V, C).requires_grad_()
            labels = torch.randint(V, (positions,))
            linear_cross_entropy(hidden, weight, labels)[0].backward()
        largest.append(seen.numbers)
    assert largest == [16 * V, 16 * V]  # one chunk of logits, however many positions
    with _Largest() as seen:
        plain(torch.randn(256, C), torch.randn(V, C), torch.randint(V, (256,)))
    assert seen.numbers == 256 * V  # what the plain way takes
