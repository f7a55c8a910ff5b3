"""The engine's contract with its caller: limits, stops, ends, errors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from gpt1.config import ModelConfig, SamplingConfig
from gpt1.errors import CheckpointError, ContextError, InputError
from gpt1.generation.engine import generate, stream, stream_events
from gpt1.generation.request import Generation
from gpt1.generation.torch_backend import TorchBackend
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import Tokenizer

CORPUS = ["the old man said it's no use , and the sea didn't care ! is that so ?"] * 3
PROMPT = "The old man"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.train(CORPUS, vocab_size=64)
    tokenizer.add_tokens(["<|endoftext|>"])
    return tokenizer


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Transformer:
    shape = {"n_ctx": 60, "n_embd": 24, "n_layer": 2, "n_head": 2, "initializer_range": 0.3}
    config = ModelConfig(vocab_size=len(tokenizer), **shape)
    return Transformer(config, generator=torch.Generator().manual_seed(5)).eval()


Write = Callable[..., Generation]


@pytest.fixture(scope="module")
def write(model: Transformer, tokenizer: Tokenizer) -> Write:
    def write(prompt: str | list[int] = PROMPT, **settings: object) -> Generation:
        sampling = SamplingConfig(**{"temperature": 1.0, "seed": 1, **settings})
        return generate(TorchBackend(model), tokenizer, [prompt], sampling)[0]

    return write


def test_the_text_is_the_prompt_as_read_and_the_completion(
    write: Write, tokenizer: Tokenizer
) -> None:
    found = write()
    assert found.completion
    prompt = tokenizer.encode(PROMPT)
    assert write(prompt) == found
    assert write(max_new_tokens=0) == Generation("the old man", "", prompt, [], "length")
    assert found.text == "the old man" + found.completion
    assert found.ids[: len(prompt)] == prompt
    assert len(found.ids) - len(prompt) == len(found.logprobs)
    assert all(isinstance(i, int) for i in found.ids)
    assert all(logprob < 0 for logprob in found.logprobs)


def test_max_length_counts_the_prompt(write: Write, tokenizer: Tokenizer) -> None:
    assert len(write(max_length=20, max_new_tokens=64).ids) == 20
    length = len(tokenizer.encode(PROMPT))
    with pytest.raises(
        InputError, match=rf"the prompt is {length} ids long; max_length is {length}, the prompt"
    ):
        write(max_length=length)


def test_every_stop_string_ends_the_text_right_before_itself(
    write: Write, tokenizer: Tokenizer
) -> None:
    """Brute force: every piece of 1 to 5 letters of the whole completion as a stop string."""
    whole = write(max_new_tokens=30)
    prompt = len(tokenizer.encode(PROMPT))
    stops = {
        whole.completion[i : i + size] for size in range(1, 6) for i in range(len(whole.completion))
    }
    for stop in sorted(stops):
        found = write(max_new_tokens=30, stop=(stop,))
        assert found.completion == whole.completion[: whole.completion.index(stop)]
        assert found.finish_reason == "stop"
        assert found.text == "the old man" + found.completion
        new = found.ids[prompt:]
        assert found.ids == whole.ids[: len(found.ids)]
        assert found.logprobs == whole.logprobs[: len(new)]
        assert tokenizer.decode(found.ids).startswith(found.text.rstrip())
        if new:  # without the last id some of the kept text would be missing
            assert not tokenizer.decode(found.ids[:-1]).startswith(found.text)


def test_of_several_stop_strings_the_one_complete_first_wins(write: Write) -> None:
    whole = write(max_new_tokens=30).completion
    for at in range(2, len(whole) - 6):
        long, short = whole[at : at + 6], whole[at + 2 : at + 4]
        expected = min(
            (whole.index(s) + len(s), whole.index(s)) for s in (long, short)
        )  # by where it ends, then by where it begins
        found = write(max_new_tokens=30, stop=(long, short))
        assert found.completion == whole[: expected[1]]


def test_the_end_token_ends_the_text_and_is_among_the_ids(
    model: Transformer, tokenizer: Tokenizer, write: Write
) -> None:
    ends = [write(seed=seed, max_new_tokens=49) for seed in range(60)]
    ended = [found for found in ends if found.finish_reason == "eos"]
    assert ended
    assert tokenizer.eos_id is not None
    for found in ends:
        assert (found.ids[-1] == tokenizer.eos_id) == (found.finish_reason == "eos")
        assert found.ids.count(tokenizer.eos_id) == (found.finish_reason == "eos")
        assert "endoftext" not in found.text
    found = ended[0]
    assert found.text == tokenizer.decode(found.ids[:-1])
    assert len(found.logprobs) == len(found.ids) - len(tokenizer.encode(PROMPT))


def test_a_seed_repeats_itself_and_none_follows_torchs(write: Write) -> None:
    assert write(seed=4) == write(seed=4)
    assert write(seed=4) != write(seed=5)
    torch.manual_seed(1)
    first, second = write(seed=None), write(seed=None)
    torch.manual_seed(1)
    assert write(seed=None) == first
    assert first != second


def test_prompt_i_draws_from_the_seed_plus_i(
    model: Transformer, tokenizer: Tokenizer, write: Write
) -> None:
    found = generate(
        TorchBackend(model), tokenizer, [PROMPT] * 3, SamplingConfig(temperature=1, seed=7)
    )
    assert [g.ids for g in found] == [write(seed=7 + i).ids for i in range(3)]
    assert found[0].ids != found[1].ids


def test_a_repetition_penalty_counts_the_prompt_and_the_new_ids(
    model: Transformer, tokenizer: Tokenizer, write: Write
) -> None:
    ids = tokenizer.encode(PROMPT)
    expected = list(ids)
    for _ in range(20):
        with torch.no_grad():
            logits = model(torch.tensor([expected])).logits[0, -1]
        for i in set(expected):
            logits[i] = logits[i] / 1.7 if logits[i] > 0 else logits[i] * 1.7
        expected.append(int(logits.argmax()))
    found = write(temperature=0, repetition_penalty=1.7, max_new_tokens=20)
    assert found.ids == expected[: len(found.ids)]
    assert len(found.ids) == len(expected) or found.finish_reason == "eos"


def test_a_stream_gives_text_long_before_its_end(model: Transformer, tokenizer: Tokenizer) -> None:
    sampling = SamplingConfig(max_new_tokens=45, temperature=1, seed=1, stop=("@@@",))
    events = list(stream_events(TorchBackend(model), tokenizer, [PROMPT], sampling))
    assert len([event for event in events if event.piece]) > 15
    assert events[-1].generation is not None
    assert all(event.generation is None for event in events[:-1])


def test_stop_strings_that_do_not_come_in_the_completion_change_nothing(write: Write) -> None:
    whole = write(max_new_tokens=30)
    assert "old man" not in whole.completion  # it is in the prompt
    for stop in ("old man", whole.completion[-1] + "@", whole.completion[5] + "@", "JOKE"):
        assert write(max_new_tokens=30, stop=(stop,)) == whole


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        *(
            ([prompt], "the prompt is empty; GPT-1 has no start token")
            for prompt in ("", "\n ", [])
        ),
        *(
            ([[1], [2, bad]], rf"prompt 1 holds the id {re.escape(repr(bad))}; .* 0 to")
            for bad in (-1, 10**4, 2**63, True, 1.0, None, "a")
        ),
        ([3, 4], "prompt 0 is 3; a prompt is a text, or a list"),
        ("the sea", "it is a list"),
        ([[1] * 61], r"the prompt is 61 ids long; the model has 60 positions"),
    ],
)
def test_what_is_no_prompt_is_refused(
    model: Transformer, tokenizer: Tokenizer, prompts: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        generate(TorchBackend(model), tokenizer, prompts, SamplingConfig())
    assert isinstance(error.value, ContextError) == ("61" in message)


def test_the_ends_of_what_is_allowed(model: Transformer, tokenizer: Tokenizer) -> None:
    backend, sampling = TorchBackend(model), SamplingConfig()
    assert generate(backend, tokenizer, [], sampling) == []
    assert len(generate(backend, tokenizer, [[1] * 60], sampling)[0].ids) == 60
    with pytest.raises(InputError):
        stream(backend, tokenizer, "", sampling)  # before the first piece is asked for
    V = len(tokenizer)
    assert generate(backend, tokenizer, [[V - 1]], sampling)
    with pytest.raises(InputError, match=f"the prompt holds the id {V}"):
        generate(backend, tokenizer, [[V]], sampling)


def test_weights_of_nan_end_a_generation_and_break_a_stream(
    model: Transformer, tokenizer: Tokenizer
) -> None:
    broken = Transformer(model.config)
    with torch.no_grad():
        broken.blocks[0].mlp.fc.weight[0, 0] = math.nan
    found = generate(TorchBackend(broken), tokenizer, [PROMPT], SamplingConfig())[0]
    assert (found.completion, found.logprobs, found.finish_reason) == ("", [], "error")
    with pytest.raises(CheckpointError, match="not finite"):
        list(stream(TorchBackend(broken), tokenizer, PROMPT, SamplingConfig()))
