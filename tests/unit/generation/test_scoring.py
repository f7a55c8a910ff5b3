"""Log-probabilities of continuations against one forward pass a continuation."""

from __future__ import annotations

import random
from itertools import chain

import pytest
import torch

import tiny
from gpt1.errors import ContextError, InputError
from gpt1.generation import scoring
from gpt1.generation.kernels import Width
from gpt1.generation.scoring import continuation_logprobs, next_logits, token_logprobs
from gpt1.generation.torch_backend import narrow
from gpt1.model.build import Model, build_model
from tolerances import FP64

SOURCE = random.Random(3)


def ids_of(length: int) -> list[int]:
    return [SOURCE.randrange(tiny.config().vocab_size) for _ in range(length)]


@pytest.fixture(params=["transformer", "lstm"])
def model(request: pytest.FixtureRequest) -> Model:
    if request.param == "transformer":
        return tiny.model().double()
    shape = tiny.config(n_hidden=20, n_layer=1)
    return build_model(shape, generator=torch.Generator().manual_seed(0)).double()


def alone(model: Model, context: list[int], option: list[int]) -> list[float]:
    with torch.no_grad():
        logits = model.eval()(torch.tensor([context + option])[:, :-1]).logits
    logprobs = logits[0, len(context) - 1 :].log_softmax(-1)
    return logprobs.gather(1, torch.tensor(option)[:, None])[:, 0].tolist()


@pytest.mark.parametrize("most", [1, 4])
@pytest.mark.parametrize("rows", [1, 3, 32])
def test_each_continuation_is_scored_as_alone(
    model: Model, most: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "TOKENS", 90)
    monkeypatch.setattr(scoring, "ROWS", rows)
    monkeypatch.setattr(scoring, "CACHED", 40)  # a few states meet the head at a time
    contexts = [ids_of(SOURCE.randint(1, 20)) for _ in range(12)]
    options = [
        [ids_of(SOURCE.randint(1, 12)) for _ in range(SOURCE.randint(1, most))] for _ in contexts
    ]
    seen: list[tuple[int, int]] = []
    model.train()  # dropout is off all the same
    found = continuation_logprobs(model, contexts, options, progress=lambda *now: seen.append(now))
    assert model.training
    assert seen[-1] == (12, 12)
    assert seen == sorted(seen)
    for context, choices, each in zip(contexts, options, found, strict=True):
        for option, logprobs in zip(choices, each, strict=True):
            torch.testing.assert_close(logprobs.tolist(), alone(model, context, option), **FP64)


def test_the_logits_of_a_few_ids_right_after_each_context(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "ROWS", 3)
    contexts = [ids_of(n) for n in (3, 1, 32, 9)]
    found = next_logits(model, contexts, [5, 7])
    for context, pair in zip(contexts, found, strict=True):
        with torch.no_grad():
            expected = model.eval()(torch.tensor([context])).logits[0, -1, [5, 7]]
        torch.testing.assert_close(torch.from_numpy(pair), expected, **FP64)


def test_a_continuation_may_end_one_id_behind_the_last_position(model: Model) -> None:
    n_ctx = model.config.n_ctx
    for options in ([ids_of(13)], [ids_of(13), ids_of(2)]):
        assert len(continuation_logprobs(model, [ids_of(n_ctx - 12)], [options])[0][0]) == 13
        with pytest.raises(ContextError, match=f"{n_ctx + 1} ids long"):
            continuation_logprobs(model, [ids_of(n_ctx - 11)], [options])


def test_what_cannot_be_scored_is_named(model: Model) -> None:
    for context, option in (([], [1]), ([1], [])):
        with pytest.raises(InputError, match="row 1 has an empty context or an empty contin"):
            continuation_logprobs(model, [[1], context], [[[2]], [option]])
    with pytest.raises(InputError, match="there are 2 contexts and continuations of 1"):
        continuation_logprobs(model, [[1], [2]], [[[2]]])


def test_states_become_log_probabilities_through_the_head(model: Model) -> None:
    states = torch.randn(5, model.config.n_embd, dtype=torch.float64)
    targets = torch.tensor([3, 0, 10, 7, 7])
    logits = states @ model.tokens.weight.T
    expected = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(token_logprobs(model, states, targets), expected)


@pytest.mark.parametrize("width", ["float16", "bfloat16", "int8"])
def test_narrower_matrices_score_through_the_same_function(width: Width) -> None:
    model = tiny.model()
    contexts = [ids_of(1) for _ in range(6)]
    texts = [[ids_of(7)], [ids_of(3), ids_of(5)]] * 3
    exact = continuation_logprobs(model, contexts, texts)
    near = continuation_logprobs(narrow(model, width), contexts, texts)
    for found, expected in zip(chain(*near), chain(*exact), strict=True):
        assert abs(found - expected).max() < 0.2
        assert abs(found - expected).max() > 0  # it is not the same model
