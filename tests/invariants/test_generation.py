"""What must hold of generation whatever the model: cache, batch, stream, window, failure."""

from __future__ import annotations

import gc
import random
import resource
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import gpt1
from gpt1.config import ModelConfig, SamplingConfig
from gpt1.generation import engine
from gpt1.generation.engine import generate, stream
from gpt1.generation.torch_backend import TorchBackend, make_backend
from gpt1.model.cache import KeyValueCache
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import Tokenizer

CORPUS = [
    "the old man didn't see the sea, but he's been there.",
    "why did the chicken cross the road? to get to the other side!",
    "it's a small world, isn't it? \" yes , \" she said .",
] * 5
SETTINGS = {
    "greedy": {},
    "sampled": {"temperature": 1.0, "seed": 17},
    "filtered": {"temperature": 0.9, "top_k": 30, "top_p": 0.9, "min_p": 0.01, "seed": 5},
    "penalised": {"temperature": 0.0, "repetition_penalty": 1.3},
    "stopped": {"temperature": 1.2, "seed": 3, "stop": ("e", "th", ". ")},
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(CORPUS, vocab_size=100)


def make(tokenizer: Tokenizer, dtype: torch.dtype = torch.float32, n_ctx: int = 48) -> Transformer:
    """A random model with weights, and positions above all, so large that its texts vary."""
    shape = {"n_ctx": n_ctx, "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.3}
    config = ModelConfig(vocab_size=len(tokenizer), **shape)
    model = Transformer(config, generator=torch.Generator().manual_seed(8)).to(dtype)
    with torch.no_grad():
        model.positions.weight *= 10
    return model


def some_prompts(tokenizer: Tokenizer, count: int, longest: int = 24) -> list[list[int]]:
    source = random.Random(4)
    return [
        [source.randrange(1, len(tokenizer)) for _ in range(source.randint(1, longest))]
        for _ in range(count)
    ]


def naive_greedy(model: Transformer, prompt: list[int], count: int, *, slide: bool) -> list[int]:
    """Read everything anew for each id; slide as documented."""
    model = model.eval()
    ids, window = list(prompt), list(prompt)
    with torch.no_grad():
        for _ in range(count):
            best = int(model(torch.tensor([window])).logits[0, -1].argmax())
            ids.append(best)
            if len(window) == model.config.n_ctx:
                assert slide
                window = ids[-max(1, model.config.n_ctx // 2) :]
            else:
                window.append(best)
    return ids


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_and_without_a_cache_the_ids_are_the_same(
    tokenizer: Tokenizer, dtype: torch.dtype
) -> None:
    model = make(tokenizer, dtype)
    for prompt in some_prompts(tokenizer, 6):
        found = generate(
            TorchBackend(model), tokenizer, [prompt], SamplingConfig(max_new_tokens=24)
        )[0]
        assert found.ids == naive_greedy(model, prompt, 24, slide=False)
        assert len(set(found.ids[len(prompt) :])) > 3  # a model that repeats itself proves nothing


def test_logprobs_are_those_of_one_uncached_pass(tokenizer: Tokenizer) -> None:
    model = make(tokenizer, torch.float64).eval()
    sampling = SamplingConfig(temperature=0.7, top_k=5, seed=1, max_new_tokens=20)
    for found in generate(TorchBackend(model), tokenizer, some_prompts(tokenizer, 3), sampling):
        ids = torch.tensor([found.ids])
        with torch.no_grad():
            logprobs = model(ids).logits.log_softmax(-1)[0, :-1]
        expected = logprobs.gather(-1, ids[0, 1:, None])[:, 0][-len(found.logprobs) :]
        torch.testing.assert_close(torch.tensor(found.logprobs).double(), expected)


@pytest.mark.parametrize("weights", ["auto", "float32"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_batch_of_eight_writes_what_each_prompt_writes_alone(
    tokenizer: Tokenizer, name: str, weights: str
) -> None:
    ready = make_backend(make(tokenizer), weights)
    prompts = some_prompts(tokenizer, 8, longest=40)
    sampling = SamplingConfig(max_new_tokens=30, **SETTINGS[name])
    for i, found in enumerate(generate(ready, tokenizer, prompts, sampling)):
        seeded = sampling.model_copy(update={"seed": (sampling.seed or 0) + i})
        alone = generate(ready, tokenizer, [prompts[i]], seeded)[0]
        assert replace(found, logprobs=alone.logprobs) == alone
        assert found.logprobs == pytest.approx(alone.logprobs, rel=1e-4, abs=1e-4)
        assert "".join(stream(ready, tokenizer, prompts[i], seeded)) == alone.completion


@pytest.mark.slow
@pytest.mark.parametrize("name", ["greedy", "sampled"])
def test_500_prompts_write_the_same_in_any_batch(tokenizer: Tokenizer, name: str) -> None:
    ready = make_backend(make(tokenizer))
    prompts = some_prompts(tokenizer, 500)
    sampling = SamplingConfig(max_new_tokens=16, **SETTINGS[name])
    source, start = random.Random(1), 0
    while start < 500:
        batch = prompts[start : start + source.randint(1, 32)]
        seeded = sampling.model_copy(update={"seed": start})
        for i, found in enumerate(generate(ready, tokenizer, batch, seeded), start):
            alone = sampling.model_copy(update={"seed": i})
            assert found.ids == generate(ready, tokenizer, [prompts[i]], alone)[0].ids
        start += len(batch)


def test_nothing_of_the_engines_mode_leaks_between_pieces(tokenizer: Tokenizer) -> None:
    model = make(tokenizer).train()
    for piece in stream(TorchBackend(model), tokenizer, [3, 4], SamplingConfig(max_new_tokens=5)):
        assert piece
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
        assert model.training
    found = generate(TorchBackend(model), tokenizer, [[3, 4]], SamplingConfig(max_new_tokens=20))[0]
    assert found.ids == naive_greedy(model, [3, 4], 20, slide=False)  # no dropout, though training


@pytest.mark.parametrize("n_ctx", [1, 2, 3, 5, 16])
def test_a_sliding_window_reads_the_last_half_again(tokenizer: Tokenizer, n_ctx: int) -> None:
    model = make(tokenizer, torch.float64, n_ctx=n_ctx)
    sampling = SamplingConfig(max_new_tokens=3 * n_ctx + 5, overflow="slide")
    prompts = [p[:n_ctx] for p in some_prompts(tokenizer, 8)]
    for prompt, found in zip(
        prompts, generate(TorchBackend(model), tokenizer, prompts, sampling), strict=True
    ):
        assert found.ids == naive_greedy(model, prompt, 3 * n_ctx + 5, slide=True)
        assert found.finish_reason == "length"


def test_a_sliding_window_goes_on_for_2000_ids(tokenizer: Tokenizer) -> None:
    model = make(tokenizer)
    sampling = SamplingConfig(max_new_tokens=2000, overflow="slide", temperature=1, seed=0)
    found = generate(TorchBackend(model), tokenizer, [[5, 6, 7]], sampling)[0]
    assert len(found.ids) == 2003
    assert len(found.logprobs) == 2000
    assert len(set(found.ids[-200:])) > 10


@pytest.mark.parametrize("length", range(1, 13))
def test_the_positions_are_a_hard_wall(tokenizer: Tokenizer, length: int) -> None:
    """Every prompt length and limit around n_ctx = 12: never more ids than positions."""
    model = make(tokenizer, n_ctx=12)
    for limit in (0, 1, 2, 10, 11, 12, 13, 40):
        sampling = SamplingConfig(max_new_tokens=limit)
        found = generate(TorchBackend(model), tokenizer, [[1] * length], sampling)[0]
        assert len(found.ids) == min(length + limit, 12)
        assert found.finish_reason == "length"


class Breaking(TorchBackend):
    """Puts NaN into one prompt's logits, and keys, at one step."""

    prompt: list[int]
    step = slot = -1
    calls = 0

    def prefill(self, ids: Tensor, lengths: Tensor, cache: Any, slots: slice) -> Tensor:
        logits = super().prefill(ids, lengths, cache, slots)
        for row, length in enumerate(lengths.tolist()):
            if ids[row, :length].tolist() == self.prompt:
                self.slot = slots.start + row
                if self.step == 0:
                    self.destroy(logits[row], cache)
        return logits

    def decode(self, ids: Tensor, cache: Any, slots: slice) -> Tensor:
        logits = super().decode(ids, cache, slots)
        self.calls += 1
        if self.calls == self.step:
            self.destroy(logits[self.slot], cache)
        return logits

    def destroy(self, logits: Tensor, cache: Any) -> None:
        logits[:] = torch.nan
        cache.keys[:, self.slot] = cache.values[:, self.slot] = torch.nan


@pytest.mark.parametrize("name", ["greedy", "filtered"])
def test_logits_that_are_not_finite_end_their_row_alone(
    tokenizer: Tokenizer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN at each of 8 steps in each of 8 rows: that row ends, no other notices."""
    model = make(tokenizer)
    prompts = some_prompts(tokenizer, 8)
    sampling = SamplingConfig(max_new_tokens=9, **SETTINGS[name])
    whole = generate(TorchBackend(model), tokenizer, prompts, sampling)
    monkeypatch.setattr(engine, "SLOTS", 8)  # what waits gets the slot of the row that failed
    later = sampling.model_copy(update={"seed": (sampling.seed or 0) + 8})
    after = generate(TorchBackend(model), tokenizer, [prompts[3]], later)[0]
    for step in range(8):
        for row in range(8):
            broken = Breaking(model)
            broken.step, broken.prompt = step, prompts[row]
            found = generate(broken, tokenizer, [*prompts, prompts[3]], sampling)
            if row != 3:
                assert found[8].ids == after.ids
            for i in range(8):
                if i != row:
                    assert found[i].ids == whole[i].ids
                    assert found[i].completion == whole[i].completion
            assert found[row].finish_reason == "error"
            assert found[row].ids == whole[row].ids[: len(prompts[row]) + step]
            assert len(found[row].logprobs) == step


class Watching(TorchBackend):
    """Notes how many rows are decoded together, and what there is room for."""

    rows: list[int]
    room: tuple[int, int]

    def prefill(self, ids: Tensor, lengths: Tensor, cache: Any, slots: slice) -> Tensor:
        logits = super().prefill(ids, lengths, cache, slots)
        assert len(logits) == len(ids)  # not of every position
        return logits

    def decode(self, ids: Tensor, cache: Any, slots: slice) -> Tensor:
        self.rows.append(len(ids))
        return super().decode(ids, cache, slots)

    def new_cache(self, slots: int, capacity: int) -> KeyValueCache:
        self.room = slots, capacity
        return super().new_cache(slots, capacity)


def test_only_last_positions_meet_the_head_and_ended_rows_leave(tokenizer: Tokenizer) -> None:
    backend = Watching(make(tokenizer))
    backend.rows = []
    sampling = SamplingConfig(max_length=12)
    generate(backend, tokenizer, [[1] * 10, [2] * 4, [3] * 11], sampling)
    assert backend.rows == [2, *[1] * 6]
    assert backend.room == (3, 12)  # not n_ctx: only what these prompts can need


def test_two_hundred_calls_leave_no_memory_behind(tokenizer: Tokenizer) -> None:
    ready = make_backend(make(tokenizer))
    sampling = SamplingConfig(max_new_tokens=3, temperature=1, seed=0, stop=("zz",))

    def calls(count: int) -> None:
        for _ in range(count):
            generate(ready, tokenizer, [[3, 4, 5], [6]], sampling)
            next(stream(ready, tokenizer, [3, 4], sampling), None)  # given up after one piece

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(item), Tensor) for item in gc.get_objects())

    calls(20)
    before, resident = tensors(), resident_bytes()
    calls(200)
    assert tensors() == before
    assert resident_bytes() - resident < 5e6


@pytest.mark.slow
@pytest.mark.parametrize("width", ["float32", "float16", "bfloat16", "int8", "onnx int8"])
def test_five_hundred_calls_of_mini_leave_no_memory_behind(width: str) -> None:
    name, _, dtype = width.rpartition(" ")
    if name:
        pytest.importorskip("onnxruntime")
    gpt = gpt1.load("mini", dtype=dtype, backend=name or "torch")

    def calls(count: int) -> None:
        for i in range(count):
            prompt = "Once upon a time there was a king" + " and a queen" * (i % 7)
            gpt.generate(prompt, max_new_tokens=8, temperature=0.8, seed=i)

    calls(50)
    resident = resident_bytes()
    calls(500)
    assert resident_bytes() - resident < 5e6


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
