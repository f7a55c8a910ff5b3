"""Attention in blocks of queries, and its dropout, against the plain way over the whole square."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import tiny
from gpt1.model import attention
from gpt1.model.attention import (
    DocumentMask,
    block_attention,
    cached_attention,
    causal,
    naive_attention,
)
from gpt1.model.dropout import Dropout, keep_mask
from tolerances import FP64


def heads(T: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, 2, 3, T, 4, generator=generator, dtype=torch.float64)
    return q.requires_grad_(), k.requires_grad_(), v.requires_grad_()


def documents(T: int) -> Tensor:
    """Two rows: one document after another, and padding on the left."""
    owner = torch.arange(T) >= T // 2
    real = torch.arange(T) >= 2
    rows = torch.stack([owner[:, None] == owner, real[None].expand(T, T)])
    return (rows & causal(T, rows.device) | torch.eye(T, dtype=torch.bool))[:, None]


@pytest.mark.parametrize("T", [1, 3, 4, 5, 8, 11])
@pytest.mark.parametrize("masked", [False, True])
def test_blocks_give_the_output_and_gradients_of_the_whole_square(
    T: int, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "BLOCK", 4)
    mask = documents(T) if masked else None
    found, expected = heads(T), heads(T)
    a = block_attention(*found, mask, 0.0)
    b, weights = naive_attention(*expected, mask, 0.0)
    assert_close(a, b, **FP64)
    assert_close(weights.sum(-1), torch.ones(2, 3, T, dtype=torch.float64), **FP64)
    toward = torch.randn(a.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (a * toward).sum().backward()
    (b * toward).sum().backward()
    for mine, other in zip(found, expected, strict=True):
        assert_close(mine.grad, other.grad, **FP64)


def test_dropped_weights_have_the_gradients_of_the_whole_square(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One mask over the whole square, given to the blocks piece by piece."""
    monkeypatch.setattr(attention, "BLOCK", 4)
    T, p = 11, 0.3
    generator = torch.Generator().manual_seed(2)
    kept = (torch.rand(6, T, T, generator=generator) >= p).double()
    pieces = iter([kept[:, s : s + 4, : min(s + 4, T)] for s in range(0, T, 4)])
    monkeypatch.setattr(attention, "keep_mask", lambda like, _: next(pieces))
    found, expected = heads(T), heads(T)
    a = block_attention(*found, None, p)
    q, k, v = expected
    scores = (q @ k.transpose(2, 3) / 2).masked_fill(~causal(T, q.device), -torch.inf)
    b = (scores.softmax(-1) * kept.view(2, 3, T, T) / (1 - p)) @ v
    assert_close(a, b, **FP64)
    a.square().sum().backward()
    b.square().sum().backward()
    for mine, other in zip(found, expected, strict=True):
        assert_close(mine.grad, other.grad, **FP64)


def test_the_gradient_of_blocks_is_the_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BLOCK", 2)
    q, k, v = heads(3)
    assert torch.autograd.gradcheck(lambda *x: block_attention(*x, None, 0.0), (q, k, v))


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(200, 501)
    dropped = Dropout(p)(x)
    share = (dropped == 0).float().mean().item()
    assert abs(share - p) < 0.005
    assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - p)])
    assert abs(dropped.mean().item() - 1) < 0.01
    assert abs((dropped == 0).float().mean(0).std().item() - (p * (1 - p) / 200) ** 0.5) < 0.005


def test_dropout_is_seeded_by_torch_and_off_in_evaluation() -> None:
    x = torch.ones(7, 5)
    torch.manual_seed(3)
    first, second = keep_mask(x, 0.5), keep_mask(x, 0.5)
    torch.manual_seed(3)
    assert torch.equal(keep_mask(x, 0.5), first)
    assert not torch.equal(first, second)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


@pytest.mark.filterwarnings("ignore:flex_attention called without")  # fused on a GPU only
def test_the_flex_kernel_gives_what_the_plain_way_gives_for_packed_documents() -> None:
    T = 150  # more than one of the kernel's blocks
    segments = torch.ones(2, T, dtype=torch.int64)
    segments[0, 40:] = 2
    segments[1, 130:] = 0  # padding
    mask = (segments[:, :, None] == segments[:, None, :])[:, None] & causal(T, segments.device)
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, T, 16, generator=generator)
    with torch.no_grad():
        found = DocumentMask(segments).attend(q, k, v)
        expected, _ = naive_attention(q, k, v, mask, 0.0)
    assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ends", [[3, 3, 3], [9, 8, 7], [200, 1, 2]])  # the last one by one
def test_rows_of_a_cache_each_see_their_own_keys(ends: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    S = max(ends)
    q = torch.randn(3, 2, 1, 4, generator=generator, dtype=torch.float64)
    k, v = torch.randn(2, 3, 2, S, 4, generator=generator, dtype=torch.float64)
    mask = (torch.arange(S) < torch.tensor(ends)[:, None])[:, None, None]
    expected, _ = naive_attention(q, k, v, mask, 0.0)
    assert_close(cached_attention(q, k, v, mask, ends), expected, **FP64)


@pytest.mark.gpu
def test_on_a_gpu_packed_documents_train_as_on_the_cpu() -> None:
    config = tiny.config(attn_pdrop=0.0, resid_pdrop=0.0, embd_pdrop=0.0)
    segments = torch.ones(2, 32, dtype=torch.int64)
    segments[:, 20:] = 2
    ids = torch.randint(0, config.vocab_size, (2, 32), generator=torch.Generator().manual_seed(0))
    gradients = []
    for device in ("cpu", "cuda"):
        model = tiny.model(attn_pdrop=0.0, resid_pdrop=0.0, embd_pdrop=0.0).train().to(device)
        model.hidden(ids.to(device), segments=segments.to(device)).square().sum().backward()
        gradients.append(model.tokens.weight.grad.cpu())
    assert_close(*gradients, rtol=1e-3, atol=1e-3)
