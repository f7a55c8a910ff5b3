"""Ways to compute attention (spec 1.4): plainly, in blocks, over documents, over a cache.

Training on a CPU works in blocks of queries: the scores of a block with the keys up to its end fit
the processor's cache, and most of what causality hides is never computed. torch's own attention on
a CPU computes the whole square, in float32, as soon as there is dropout.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt1.errors import InputError
from gpt1.model.dropout import keep_mask

BLOCK = 128
"""Queries processed together."""
CALL = 48
"""The cost of one more call of torch's attention on a CPU, in keys of a row."""


def causal(T: int, device: torch.device) -> Tensor:
    """Return the boolean mask (T, T) of what each position may attend to."""
    return torch.ones(T, T, dtype=torch.bool, device=device).tril()


def visible(attention_mask: Tensor | None, ids: Tensor) -> Tensor | None:
    """Return a boolean mask (B, 1, T, T) for ids (B, T), or None for plain causality.

    Every query attends at least to itself, so that a row of padding stays finite.
    """
    T = ids.shape[1]
    if attention_mask is None:
        return None
    if attention_mask.dim() == 2 and attention_mask.shape[1] == T:
        if bool(attention_mask.all()):
            return None
        attention_mask = attention_mask[:, None, None]
    elif attention_mask.dim() != 4 or attention_mask.shape[2:] != (T, T):
        raise InputError(
            f"attention_mask has shape {tuple(attention_mask.shape)}; for {T} positions it is "
            f"(B, {T}) or (B, 1, {T}, {T})."
        )
    itself = torch.eye(T, dtype=torch.bool, device=ids.device)
    return attention_mask.bool() & causal(T, ids.device) | itself


def naive_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float
) -> tuple[Tensor, Tensor]:
    """Return attention's output (B, H, T, D) and weights (B, H, T, S), computed plainly."""
    if mask is None:
        mask = causal(q.shape[2], q.device)
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    if dropout:
        weights = weights * keep_mask(weights, dropout) / (1 - dropout)
    return weights @ v, weights


def cached_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, ends: Sequence[int] | None
) -> Tensor:
    """Return attention's output (B, H, T, D) of new queries over cached keys (B, H, S, D).

    ends: where each row's keys end, if they differ. On a CPU the rows are then computed one by one
    if that is faster than padding all to the longest.
    """
    if (
        ends is not None
        and q.device.type == "cpu"
        and q.shape[2] == 1
        and sum(ends) + CALL * len(ends) < max(ends) * len(ends)
    ):
        rows = zip(torch.split(q, 1), torch.split(k, 1), torch.split(v, 1), ends, strict=True)
        return torch.cat(
            [F.scaled_dot_product_attention(q, k[:, :, :e], v[:, :, :e]) for q, k, v, e in rows]
        )
    return F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None and q.shape[2] > 1)


class DocumentMask:
    """The mask of documents packed into rows, for torch's flex kernel, which skips masked blocks.

    segments (B, T): positions attend to their own segment, up to themselves. For a GPU; the kernel
    has no dropout, and no backward pass on a CPU.
    """

    def __init__(self, segments: Tensor) -> None:
        from torch.nn.attention.flex_attention import create_block_mask  # slow to import

        def visible(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return (q >= k) & (segments[b, q] == segments[b, k])

        B, T = segments.shape
        self._mask = create_block_mask(visible, B, None, T, T, device=segments.device)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return attention's output (B, H, T, D)."""
        out: Tensor = _flex(q.device.type)(q, k, v, block_mask=self._mask)
        return out


Mask = Tensor | DocumentMask | None
"""Boolean (B, 1, T, T) and causal, documents packed into rows, or plain causality."""


def same_segment(segments: Tensor, head_size: int, dropout: float) -> Tensor | DocumentMask:
    """Return a mask by which positions attend to their own segment only; segments (B, T)."""
    if segments.device.type == "cuda" and not dropout and head_size >= 16:  # the kernel's minimum
        return DocumentMask(segments)
    mask = visible((segments[:, :, None] == segments[:, None, :])[:, None], segments)
    assert mask is not None
    return mask


@functools.cache
def _flex(device: str) -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    kernel: Callable[..., Any] = flex_attention
    return torch.compile(kernel) if device == "cuda" else kernel


def block_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Return causal attention's output (B, H, T, D), with dropout on its weights.

    q, k, v (B, H, T, D); mask boolean (B, 1, T, T), already causal, or None. Differentiable once.
    """
    bias = None
    if mask is not None:
        bias = torch.zeros_like(mask, dtype=q.dtype).masked_fill_(~mask, -torch.inf)
    out: Tensor = _BlockAttention.apply(q, k, v, bias, dropout)  # type: ignore[no-untyped-call]
    return out


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float
    ) -> Tensor:
        B, H, T, D = q.shape
        q = (q * D**-0.5).reshape(B * H, T, D)
        k, v = k.reshape(B * H, T, D), v.reshape(B * H, T, D)
        out = torch.empty_like(q)
        corner = torch.full((BLOCK, BLOCK), -torch.inf, dtype=q.dtype).triu_(1)
        saved: list[Tensor | None] = []
        with torch.autocast(q.device.type, enabled=False):
            for start in range(0, T, BLOCK):
                end = min(start + BLOCK, T)
                scores = torch.bmm(q[:, start:end], k[:, :end].transpose(1, 2))  # (BH, t, s)
                if bias is None:
                    scores[:, :, start:] += corner[: end - start, : end - start]
                else:
                    scores.view(B, H, end - start, end).add_(bias[:, :, start:end, :end])
                weights = torch.softmax(scores, -1)
                keep = keep_mask(weights, dropout) if dropout else None
                dropped = weights if keep is None else weights * keep
                out[:, start:end] = torch.bmm(dropped, v[:, :end])
                saved += [weights, keep]
        if dropout:
            out *= 1 / (1 - dropout)
        ctx.dropout = dropout
        ctx.save_for_backward(q, k, v, out, *saved)
        return out.view(B, H, T, D)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v, out, *saved = ctx.saved_tensors
        shape = grads[0].shape
        grad = grads[0].reshape(q.shape)
        # softmax's gradient is w * (dw - sum(w * dw)); that sum over keys equals this one over D
        exact = torch.promote_types(grad.dtype, torch.float32)
        inner = (grad.to(exact) * out).sum(-1, keepdim=True)
        if ctx.dropout:
            grad = grad * (1 / (1 - ctx.dropout))
        T = q.shape[1]
        grad_q = torch.empty_like(q)
        grad_k, grad_v = torch.zeros_like(k), torch.zeros_like(v)
        # the last block first: it has all keys, so the sums begin with the largest product
        for start in reversed(range(0, T, BLOCK)):
            end = min(start + BLOCK, T)
            keep, weights = saved.pop(), saved.pop()
            g = grad[:, start:end]
            grad_weights = torch.bmm(g, v[:, :end].transpose(1, 2))
            dropped = weights
            if keep is not None:
                grad_weights *= keep
                dropped = weights * keep
            grad_v[:, :end] += torch.bmm(dropped.transpose(1, 2), g)
            grad_scores = grad_weights.sub_(inner[:, start:end]).mul_(weights)
            grad_q[:, start:end] = torch.bmm(grad_scores, k[:, :end])
            grad_k[:, :end] += torch.bmm(grad_scores.transpose(1, 2), q[:, start:end])
        grad_q *= q.shape[2] ** -0.5
        return grad_q.view(shape), grad_k.view(shape), grad_v.view(shape), None, None
