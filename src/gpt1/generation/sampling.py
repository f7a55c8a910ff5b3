"""Logits to ids: pure functions, in one fixed order.

    processors -> temperature -> top-k -> top-p -> min-p -> typical -> draw

Temperature 0 takes the likeliest id (the lowest among equals). A filter never separates equals: ids
that tie with the last one kept are kept too, so no result depends on the order of a sort. The draw
goes along the vocabulary, not along the ranking, so two nearly equal logits that change places
by rounding do not change the text. `processors` changes the logits beforehand. Shapes: B rows, V
vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gpt1.config import SamplingConfig

GREEDY_BELOW = 1e-5
"""Temperatures below this are greedy: float32 logits of a GPT-1 are no finer."""

FAILED = -1
"""The id of a row whose logits are not finite."""

BLOCKED = -2
"""The id of a row whose settings allow no id."""

_HEAD = 1024
"""How many of the likeliest ids top-p sorts before it sorts the whole vocabulary."""


def uniforms(generators: Sequence[torch.Generator]) -> Tensor:
    """Return the next number of each generator, float64 (B,) in [0, 1).

    They are drawn on the CPU, so a seed means the same on every device.
    """
    return torch.cat([torch.rand(1, dtype=torch.float64, generator=g) for g in generators])


def probabilities(logits: Tensor, sampling: SamplingConfig) -> Tensor:
    """Return the distribution (B, V) that ids are drawn from, rows summing to 1.

    logits (B, V), float32 or float64. A row with a NaN, or without a finite largest logit, comes
    out as NaN.

    >>> probabilities(torch.tensor([[0.0, 0.0, -9.0]]), SamplingConfig(temperature=1, top_k=2))
    tensor([[0.5000, 0.5000, 0.0000]])
    """
    best = logits.amax(-1, keepdim=True)
    if sampling.temperature < GREEDY_BELOW:
        p = (logits == best).to(logits.dtype)
        return p * (p.cumsum(-1) == 1) + (best - best)  # the first of equals; NaN stays NaN
    x = (logits - best) / sampling.temperature  # the largest is 0: nothing overflows
    V = x.shape[-1]
    if sampling.top_k is not None and sampling.top_k < V:
        x = x.masked_fill(x < x.topk(sampling.top_k).values[:, -1:], -torch.inf)
    p = x.softmax(-1)
    if sampling.top_p is not None and sampling.top_p < 1:
        p = p.masked_fill(p < _nucleus_floor(p, sampling.top_p, sampling.top_k or V), 0)
    if sampling.min_p is not None:
        p = p.masked_fill(p < sampling.min_p * p.amax(-1, keepdim=True), 0)
    p = p / p.sum(-1, keepdim=True)
    if sampling.typical_p is not None and sampling.typical_p < 1:
        p = _typical(p, sampling.typical_p)
    return p


def _typical(p: Tensor, mass: float) -> Tensor:
    """Keep the ids whose surprise is closest to the entropy of p (B, V), up to `mass`.

    Locally typical sampling (Meister et al. 2022).
    """
    entropy = -torch.xlogy(p, p).sum(-1, keepdim=True)
    distance = (p.log() + entropy).abs()
    ranked, order = distance.sort(-1)
    sums = p.gather(-1, order).cumsum(-1, dtype=torch.float64)
    last = (sums < mass).sum(-1, keepdim=True).clamp_max(p.shape[-1] - 1)
    p = p.masked_fill(distance > ranked.gather(-1, last), 0)
    return p / p.sum(-1, keepdim=True)


def _nucleus_floor(p: Tensor, top_p: float, top_k: int) -> Tensor:
    """Return the least probability (B, 1) in the smallest set of likeliest ids with sum >= top_p.

    At most `top_k` ids (and those that tie with the last) have a probability.
    """
    most = min(top_k, p.shape[-1])
    for width in (min(_HEAD, most), most):
        ranked = p.topk(width).values
        sums = ranked.cumsum(-1, dtype=torch.float64)
        if bool((sums[:, -1] >= top_p).all()):
            break
    return ranked.gather(-1, (sums < top_p).sum(-1, keepdim=True).clamp_max(width - 1))


def draw(p: Tensor, u: Tensor) -> Tensor:
    """Return the ids (B,) where each row's running sum of `p` (B, V) passes its `u` (B,).

    >>> draw(torch.tensor([[0.25, 0.0, 0.75]] * 3), torch.tensor([0.0, 0.25, 0.999]).double())
    tensor([0, 2, 2])
    """
    sums = p.cumsum(-1, dtype=torch.float64)
    total = sums[:, -1:]
    target = torch.minimum(u[:, None] * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(sums, target, right=True).squeeze(-1)  # right: never one of p = 0


def pick(
    logits: Tensor,
    sampling: SamplingConfig,
    generators: Sequence[torch.Generator],
    processed: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the next ids (B,) and their natural log-probabilities (B,), on logits' device.

    logits (B, V) are the model's own, and so are the log-probabilities: temperature 1, before
    processors and filters. processed (B, V): the logits to sample from, if they differ. A row whose
    logits hold a NaN, a +infinity, or nothing finite gives FAILED, one whose processed logits leave
    no id gives BLOCKED; the others are as without it.
    """
    if logits.device.type == "mps":  # which has no float64
        logits, processed = logits.cpu(), None if processed is None else processed.cpu()
    changed = logits if processed is None else processed
    if sampling.temperature < GREEDY_BELOW:
        ids = changed.argmax(-1)
    else:
        p = probabilities(changed, sampling)
        u = uniforms(generators).to(p.device, non_blocking=True)
        ids = draw(p, u).clamp_max(logits.shape[-1] - 1)  # a row of NaN points nowhere
    logprobs = logits.gather(-1, ids[:, None]).squeeze(-1) - logits.logsumexp(-1)
    ids = torch.where(changed.amax(-1).isneginf(), BLOCKED, ids)
    return torch.where(logits.amax(-1).isfinite(), ids, FAILED), logprobs


Alternatives = list[tuple[int, float]]
"""Ids and their log-probabilities, the likeliest first."""


def likeliest(logits: Tensor, count: int) -> Alternatives:
    """Return the `count` likeliest ids of logits (V,), with their log-probabilities."""
    if not count:
        return []
    best = logits.topk(count)
    logprobs = best.values - logits.logsumexp(-1)
    return list(zip(best.indices.tolist(), logprobs.tolist(), strict=True))
