"""Sampling against distributions computed by hand, by brute force and by transformers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.stats import chi2
from torch import Tensor
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from gpt1.config import SamplingConfig
from gpt1.generation.processors import penalise
from gpt1.generation.sampling import (
    BLOCKED,
    FAILED,
    GREEDY_BELOW,
    draw,
    pick,
    probabilities,
    uniforms,
)

LOGITS = torch.tensor([[0.4, 0.3, 0.2, 0.1]], dtype=torch.float64).log()


def row_generators(seed: int, rows: Sequence[int]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + row) for row in rows]


@pytest.mark.parametrize(
    ("settings_", "expected"),
    [
        ({"temperature": 1}, [0.4, 0.3, 0.2, 0.1]),
        ({"temperature": 0.5}, [16 / 30, 9 / 30, 4 / 30, 1 / 30]),  # squares, normalised
        ({"temperature": 0}, [1, 0, 0, 0]),
        ({"temperature": 1, "top_k": 2}, [4 / 7, 3 / 7, 0, 0]),
        ({"temperature": 1, "top_k": 99}, [0.4, 0.3, 0.2, 0.1]),
        ({"temperature": 1, "top_p": 0.65}, [4 / 7, 3 / 7, 0, 0]),  # 0.4 < 0.65 <= 0.4 + 0.3
        ({"temperature": 1, "top_p": 0.39}, [1, 0, 0, 0]),
        ({"temperature": 1, "top_p": 1e-12}, [1, 0, 0, 0]),
        ({"temperature": 1, "top_p": 1}, [0.4, 0.3, 0.2, 0.1]),
        ({"temperature": 1, "min_p": 0.6}, [4 / 7, 3 / 7, 0, 0]),  # over 0.6 * 0.4 = 0.24
        ({"temperature": 1, "min_p": 1}, [1, 0, 0, 0]),
        # top-k first: 0.4, 0.3, 0.2 become 4/9, 3/9, 2/9, so 0.75 needs two; of all four, three
        ({"temperature": 1, "top_k": 3, "top_p": 0.75}, [4 / 7, 3 / 7, 0, 0]),
        ({"temperature": 1, "top_p": 0.75}, [4 / 9, 3 / 9, 2 / 9, 0]),
        # temperature before top-p: squared, 16/30 alone passes 0.5
        ({"temperature": 0.5, "top_p": 0.5}, [1, 0, 0, 0]),
    ],
)
def test_the_distribution_is_the_one_computed_by_hand(
    settings_: dict[str, float], expected: list[float]
) -> None:
    p = probabilities(LOGITS, SamplingConfig(**settings_))
    torch.testing.assert_close(p, torch.tensor([expected], dtype=torch.float64))


def test_the_repetition_penalty_comes_before_everything_else() -> None:
    logits = torch.tensor([[2.0, 1.9, -1.0]], dtype=torch.float64)
    penalised = penalise(logits[0], [0, 2, 0], 2)[None]
    p = probabilities(penalised, SamplingConfig(temperature=1))
    torch.testing.assert_close(p, torch.tensor([[1.0, 1.9, -2.0]]).double().softmax(-1))
    ids, _ = pick(logits, SamplingConfig(), row_generators(0, [0]), penalised)
    assert ids.tolist() == [1]  # greedy too: the penalty takes the lead from id 0


def penalised(logits: Tensor, seen: Tensor, sampling: SamplingConfig) -> Tensor:
    pairs = zip(logits, seen, strict=True)
    penalty = sampling.repetition_penalty
    return torch.stack([penalise(x, ids.nonzero()[:, 0].tolist(), penalty) for x, ids in pairs])


def transformers_distribution(logits: Tensor, seen: Tensor, s: SamplingConfig) -> Tensor:
    """The same settings through transformers' processors, in the order of its `generate`."""
    ids = [row.nonzero().T for row in seen]
    out = []
    for row, seen_ids in zip(logits, ids, strict=True):
        x = RepetitionPenaltyLogitsProcessor(s.repetition_penalty)(seen_ids, row[None].clone())
        x = TemperatureLogitsWarper(float(s.temperature))(seen_ids, x)
        if s.top_k is not None:
            x = TopKLogitsWarper(s.top_k)(seen_ids, x)
        if s.top_p is not None:
            x = TopPLogitsWarper(s.top_p)(seen_ids, x)
        if s.min_p is not None:
            x = MinPLogitsWarper(s.min_p)(seen_ids, x)
        if s.typical_p is not None:
            x = TypicalLogitsWarper(s.typical_p)(seen_ids, x)
        out.append(x.softmax(-1))
    return torch.cat(out)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    V=st.sampled_from([2, 7, 300, 3000]),
    temperature=st.floats(0.2, 3),
    top_k=st.none() | st.integers(1, 400),
    top_p=st.none() | st.floats(0.05, 0.99),
    min_p=st.none() | st.floats(0, 0.9),
    typical_p=st.none() | st.floats(0.05, 0.99),
    penalty=st.floats(0.5, 2),
)
def test_the_distribution_is_that_of_transformers(
    seed: int,
    V: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    typical_p: float | None,
    penalty: float,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(3, V, generator=generator, dtype=torch.float64)
    seen = torch.rand(3, V, generator=generator) < 0.2
    seen[:, 0] = True
    sampling = SamplingConfig(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, typical_p=typical_p,
        repetition_penalty=penalty,
    )  # fmt: skip
    torch.testing.assert_close(
        probabilities(penalised(logits, seen, sampling), sampling),
        transformers_distribution(logits, seen, sampling),
    )


def test_what_ties_with_the_last_id_kept_is_kept() -> None:
    logits = torch.tensor([[1.0, 3.0, 1.0, 1.0, 0.0]], dtype=torch.float64)
    for settings_ in ({"top_k": 2}, {"top_p": 0.75}, {"top_k": 2, "top_p": 0.9}):
        kept = probabilities(logits, SamplingConfig(temperature=1, **settings_)) > 0
        assert kept.tolist() == [[True, True, True, True, False]], settings_


def test_greedy_takes_the_first_of_equals() -> None:
    logits = torch.tensor([[0.0, 5.0, 5.0], [7.0, 7.0, 7.0]])
    assert pick(logits, SamplingConfig(), row_generators(0, [0, 1]))[0].tolist() == [1, 0]
    assert probabilities(logits, SamplingConfig()).argmax(-1).tolist() == [1, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "temperature", [1e-45, 1e-38, 1e-12, GREEDY_BELOW * 0.99, GREEDY_BELOW, 1e-4]
)
def test_tiny_temperatures_are_finite_and_greedy(dtype: torch.dtype, temperature: float) -> None:
    generator = torch.Generator().manual_seed(7)
    logits = 10 * torch.randn(200, 500, generator=generator, dtype=dtype)
    top = logits.topk(2).values
    logits = logits[top[:, 0] - top[:, 1] > 1e-2]  # clear leaders: exp(-1e-2 / 1e-4) is nothing
    sampling = SamplingConfig(temperature=temperature)
    assert probabilities(logits, sampling).isfinite().all()
    ids, _ = pick(logits, sampling, row_generators(0, range(len(logits))))
    assert len(logits) > 150
    assert torch.equal(ids, logits.argmax(-1))


def test_huge_temperatures_and_logits_are_finite() -> None:
    logits = torch.tensor([[3e38, -3e38, 0.0], [1e4, -1e4, 0.0]])
    for temperature in (1e-4, 1, 1e4):
        p = probabilities(logits, SamplingConfig(temperature=temperature, top_k=2, top_p=0.9))
        assert p.isfinite().all()
        torch.testing.assert_close(p.sum(-1), torch.ones(2))


@pytest.mark.parametrize(
    "settings_",
    [
        {"temperature": 1},
        {"temperature": 0.7, "top_k": 20},
        {"temperature": 1.3, "top_p": 0.8},
        {"temperature": 1, "min_p": 0.05, "repetition_penalty": 1.5},
        {"temperature": 1.2, "typical_p": 0.6},
    ],
)
def test_draws_follow_the_distribution(settings_: dict[str, float]) -> None:
    """Chi-square over 40,000 draws; a right sampler fails for one seed in 10^6."""
    N, V = 40_000, 60
    generator = torch.Generator().manual_seed(11)
    logits = torch.randn(1, V, generator=generator, dtype=torch.float64) * 1.5
    seen = torch.rand(1, V, generator=generator) < 0.3
    sampling = SamplingConfig(**settings_)
    processed = penalised(logits, seen, sampling)
    p = probabilities(processed, sampling)
    rows, chunk = [], 2000
    source = row_generators(3, [0]) * chunk  # one row's stream, read on and on
    for _ in range(N // chunk):
        ids, _ = pick(logits.expand(chunk, V), sampling, source, processed.expand(chunk, V))
        rows.append(ids)
    counts = torch.bincount(torch.cat(rows), minlength=V).double()
    possible = p[0] > 0
    assert not counts[~possible].any()
    expected = p[0][possible] * N
    statistic = float(((counts[possible] - expected) ** 2 / expected).sum())
    assert statistic < chi2.ppf(1 - 1e-6, int(possible.sum()) - 1)


def test_a_draw_is_the_id_whose_share_holds_the_number() -> None:
    p = torch.tensor([[0.0, 0.5, 0.0, 0.25, 0.25, 0.0]], dtype=torch.float64)
    numbers = torch.tensor([0.0, 0.4999, 0.5, 0.7499, 0.75, math.nextafter(1, 0)]).double()
    assert draw(p.expand(6, 6), numbers).tolist() == [1, 1, 3, 3, 4, 4]


@settings(max_examples=100, deadline=None)
@given(
    weights=st.lists(st.floats(0, 1e3), min_size=1, max_size=30).filter(any),
    u=st.floats(0, 1, exclude_max=True),
)
def test_an_impossible_id_is_never_drawn(weights: list[float], u: float) -> None:
    p = torch.tensor([weights], dtype=torch.float64)
    id_ = int(draw(p, torch.tensor([u], dtype=torch.float64)))
    assert 0 <= id_ < len(weights)
    assert weights[id_] > 0


def test_logprobs_are_the_models_own_whatever_the_settings() -> None:
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    sampling = SamplingConfig(temperature=0.3, top_k=3, repetition_penalty=3)
    processed = penalised(logits, torch.ones(4, 50), sampling)
    ids, logprobs = pick(logits, sampling, row_generators(0, range(4)), processed)
    expected = logits.log_softmax(-1).gather(-1, ids[:, None])[:, 0]
    torch.testing.assert_close(logprobs, expected)


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("bad", [math.nan, math.inf, "nothing finite"])
@pytest.mark.parametrize("row", range(8))
def test_a_broken_row_fails_alone(temperature: float, bad: float | str, row: int) -> None:
    logits = torch.randn(8, 40, generator=torch.Generator().manual_seed(5))
    sampling = SamplingConfig(temperature=temperature, top_k=10, top_p=0.9, min_p=0.01)
    whole, whole_logprobs = pick(logits, sampling, row_generators(1, range(8)))
    if isinstance(bad, str):
        logits[row] = -math.inf
    else:
        logits[row, 17] = bad
    ids, logprobs = pick(logits, sampling, row_generators(1, range(8)))
    others = torch.arange(8) != row
    assert ids[row] == FAILED
    assert torch.equal(ids[others], whole[others])
    assert torch.equal(logprobs[others], whole_logprobs[others])


def test_a_row_draws_the_same_numbers_alone_and_among_others() -> None:
    together = torch.stack([uniforms(g) for g in [row_generators(40, range(5))] * 3])
    alone = [torch.cat([uniforms(g) for g in [row_generators(40 + i, [0])] * 3]) for i in range(5)]
    assert torch.equal(together, torch.stack(alone, 1))
    assert together.unique().numel() == together.numel()


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_row_that_may_write_nothing_is_blocked_alone(temperature: float) -> None:
    logits = torch.randn(3, 40, generator=torch.Generator().manual_seed(5))
    sampling = SamplingConfig(temperature=temperature, top_k=10)
    whole, _ = pick(logits, sampling, row_generators(1, range(3)))
    processed = logits.clone()
    processed[1] = -math.inf
    ids, _ = pick(logits, sampling, row_generators(1, range(3)), processed)
    assert ids.tolist() == [int(whole[0]), BLOCKED, int(whole[2])]
    processed[2] = logits[2, 3] = math.nan
    assert pick(logits, sampling, row_generators(1, range(3)), processed)[0][2] == FAILED
