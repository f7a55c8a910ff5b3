"""Requests that come and go at any step, over a backend of a few lines and over PyTorch's."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from gpt1.config import ModelConfig, SamplingConfig
from gpt1.errors import ContextError, InputError
from gpt1.generation.backend import Backend
from gpt1.generation.engine import FAILURES, Engine, generate
from gpt1.generation.request import Event, Generation
from gpt1.generation.torch_backend import TorchBackend
from gpt1.text.tokenizer import Tokenizer
from gpt1.text.vocabulary import Vocabulary

CONFIG = tiny.config(n_ctx=24)
SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 1.0},
    {"temperature": 0.8, "top_k": 5},
    {"temperature": 1.2, "top_p": 0.9, "min_p": 0.02},
    {"repetition_penalty": 1.4},
    {"presence_penalty": 1.5, "no_repeat_ngram_size": 2, "logit_bias": {"dog": 3.0}},
    {"temperature": 1.0, "frequency_penalty": 1.0, "typical_p": 0.7, "bad_words": ("a", "cat")},
    {"temperature": 1.0, "stop": ("t", "o ")},
    {"temperature": 1.0, "overflow": "slide", "max_new_tokens": 40},
    {"max_new_tokens": 0},
]


class Histories(list[list[int]]):
    """What each slot has read."""

    def move(self, source: int, target: int) -> None:
        self[target] = [*self[source]]

    def clear(self, slot: int) -> None:
        self[slot] = []

    def truncate(self, slot: int, length: int) -> None:
        del self[slot][length:]


class HashBackend:
    """Logits that are drawn anew for every sequence of ids: any mix-up of rows shows."""

    name, num_bytes, device = "hash", 0, torch.device("cpu")

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.prefills: list[tuple[int, ...]] = []
        self.caches = 0

    def after(self, ids: list[int]) -> Tensor:
        seed = torch.Generator().manual_seed(hash(tuple(ids)) % 2**63)
        return 3 * torch.randn(self.config.vocab_size, generator=seed)

    def new_cache(self, slots: int, capacity: int) -> Histories:
        self.caches += 1
        return Histories([] for _ in range(slots))

    def prefill(self, ids: Tensor, lengths: Tensor, cache: Histories, slots: slice) -> Tensor:
        self.prefills.append(tuple(ids.shape))
        for row, length, slot in zip(ids, lengths, range(slots.start, slots.stop), strict=True):
            cache[slot] = row[:length].tolist()
        return torch.stack([self.after(history) for history in cache[slots]])

    def decode(self, ids: Tensor, cache: Histories, slots: slice) -> Tensor:
        return self.extend(ids[:, None], torch.ones(len(ids)).long(), cache, slots)[:, 0]

    def extend(self, ids: Tensor, lengths: Tensor, cache: Histories, slots: slice) -> Tensor:
        rows = []
        for history, row, length in zip(cache[slots], ids.tolist(), lengths.tolist(), strict=True):
            start = len(history)
            history += row[:length]
            seen = [history[: start + min(i, length)] for i in range(1, len(row) + 1)]
            rows.append(torch.stack([self.after(ids) for ids in seen]))
        return torch.stack(rows)

    def logits(self, states: Tensor) -> Tensor:
        return states


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(Vocabulary.of(tiny.vocabulary(), [tuple(m.split()) for m in tiny.MERGES]))


@pytest.fixture(params=["hash", "torch"])
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "hash":
        return HashBackend(CONFIG)
    return TorchBackend(tiny.model(n_ctx=24).double())


def run(engine: Engine) -> list[Event]:
    events = []
    while len(engine):
        events += engine.step()
    return events


def some_request(source: random.Random) -> tuple[list[int], SamplingConfig]:
    prompt = [source.randrange(1, CONFIG.vocab_size) for _ in range(source.randint(1, 24))]
    settings = {"max_new_tokens": source.randint(1, 12), **source.choice(SETTINGS)}
    return prompt, SamplingConfig(seed=source.randrange(1000), alternatives=2, **settings)


@pytest.mark.parametrize("seed", range(12))
def test_each_request_writes_what_it_writes_alone(
    backend: Backend, tokenizer: Tokenizer, seed: int
) -> None:
    """Submit, step and cancel in any order, with settings of every kind side by side."""
    source = random.Random(seed)
    engine = Engine(backend, tokenizer, slots=source.randint(1, 5))
    requests: dict[int, tuple[list[int], SamplingConfig]] = {}
    results: dict[int, Generation] = {}
    cancelled: set[int] = set()
    events: dict[int, list[Event]] = {}
    while len(requests) < 20 or len(engine):
        action = source.random()
        if action < 0.3 and len(requests) < 20:
            prompt, sampling = some_request(source)
            requests[engine.submit(prompt, sampling)] = prompt, sampling
        elif action < 0.35 and requests:
            number = source.choice(list(requests))
            generation = engine.cancel(number)
            assert (generation is None) == (number in results)
            if generation is not None:
                results[number] = generation
                cancelled.add(number)
        else:
            for event in engine.step():
                assert event.request not in results  # nothing comes after a request's last event
                events.setdefault(event.request, []).append(event)
                if event.generation is not None:
                    results[event.request] = event.generation
    assert list(requests) == list(range(20)) == sorted(results)
    for number, (prompt, sampling) in requests.items():
        found, alone = results[number], generate(backend, tokenizer, [prompt], sampling)[0]
        seen = events.get(number, [])
        pieces = "".join(event.piece for event in seen)
        written = [event.id for event in seen if event.id is not None]
        new = found.ids[len(prompt) :]
        assert written[: len(new)] == new
        assert all(event.alternatives for event in seen if event.id is not None)
        if number in cancelled and found.finish_reason == "cancelled":
            assert found.ids == alone.ids[: len(found.ids)]
            assert found.completion.startswith(pieces)
        else:
            assert (found.ids, found.text) == (alone.ids, alone.text)
            assert found.finish_reason == alone.finish_reason
            assert found.logprobs == pytest.approx(alone.logprobs, abs=1e-9)
            assert pieces == found.completion or number in cancelled


def test_alternatives_are_the_likeliest_ids_and_their_log_probabilities(
    tokenizer: Tokenizer,
) -> None:
    backend = HashBackend(CONFIG)
    engine = Engine(backend, tokenizer)
    sampling = SamplingConfig(max_new_tokens=5, temperature=1, seed=1, alternatives=4)
    engine.submit([3, 4], sampling)
    engine.submit([5], SamplingConfig(max_new_tokens=5))
    history = [3, 4]
    for event in run(engine):
        if event.request == 1:
            assert not event.alternatives
            continue
        logprobs = backend.after(history).log_softmax(-1)
        best = logprobs.topk(4)
        assert [i for i, _ in event.alternatives] == best.indices.tolist()
        assert [p for _, p in event.alternatives] == pytest.approx(best.values.tolist(), abs=1e-5)
        assert event.id is not None
        assert event.logprob == pytest.approx(float(logprobs[event.id]), abs=1e-5)
        history.append(event.id)


def test_a_cancelled_request_frees_its_slot_at_once(tokenizer: Tokenizer) -> None:
    engine = Engine(HashBackend(CONFIG), tokenizer, slots=1)
    sampling = SamplingConfig(max_new_tokens=10)
    first, second, third = (engine.submit([i], sampling) for i in (3, 4, 5))
    assert [event.request for event in engine.step()] == [first]
    generation = engine.cancel(first)
    assert generation is not None
    assert (generation.finish_reason, len(generation.ids)) == ("cancelled", 2)
    waiting = engine.cancel(third)
    assert waiting is not None
    assert (waiting.finish_reason, waiting.ids) == ("cancelled", [5])
    assert engine.cancel(first) is engine.cancel(third) is engine.cancel(99) is None
    assert len(engine) == 1
    assert {event.request for event in run(engine)} == {second}


def test_prompts_of_similar_length_are_read_together_into_one_cache(tokenizer: Tokenizer) -> None:
    backend = HashBackend(tiny.config(n_ctx=512))
    prompts = [[1] * length for length in (100, 7, 103, 6, 500, 7, 101, 104)]
    generate(backend, tokenizer, prompts, SamplingConfig(max_new_tokens=2))
    assert backend.prefills == [(1, 500), (4, 104), (3, 7)]
    many = [[1 + i % 60] for i in range(100)]
    engine = Engine(backend, tokenizer, slots=4)
    for prompt in many:
        engine.submit(prompt, SamplingConfig(max_new_tokens=3))
    assert len(run(engine)) == 300
    assert backend.caches == 2  # one of each engine


def test_what_does_not_fit_is_refused(tokenizer: Tokenizer) -> None:
    engine = Engine(HashBackend(CONFIG), tokenizer, capacity=10)
    with pytest.raises(ContextError, match=r"the prompt needs 11 positions; .* slots have 10"):
        engine.submit([1] * 8, SamplingConfig(max_new_tokens=3))
    wrong = CONFIG.vocab_size + 1
    with pytest.raises(InputError, match=f"alternatives is {wrong}; it must be from 0 to"):
        engine.submit([1], SamplingConfig(max_new_tokens=3, alternatives=wrong))
    assert len(engine) == 0
    assert engine.step() == []


# Failures


class Broken(HashBackend):
    """Fails in the steps that it is told; the failing step may have written a part of its rows."""

    def __init__(self, method: str, steps: range) -> None:
        super().__init__(CONFIG)
        self.method, self.steps, self.calls = method, steps, 0

    def _maybe(self, method: str, cache: Histories, slots: slice) -> None:
        if method == self.method:
            self.calls += 1
            if self.calls - 1 in self.steps:
                for history in cache[slots]:
                    history.append(1)
                raise MemoryError("broken on purpose")

    def prefill(self, ids: Tensor, lengths: Tensor, cache: Histories, slots: slice) -> Tensor:
        self._maybe("prefill", cache, slots)
        return super().prefill(ids, lengths, cache, slots)

    def decode(self, ids: Tensor, cache: Histories, slots: slice) -> Tensor:
        self._maybe("decode", cache, slots)
        return super().decode(ids, cache, slots)


EIGHT = [
    SamplingConfig(max_new_tokens=12, temperature=1, seed=i, repetition_penalty=1.0 + 0.1 * (i % 3))
    for i in range(8)
]


def alone(tokenizer: Tokenizer, number: int) -> Generation:
    return generate(HashBackend(CONFIG), tokenizer, [[3 + number]], EIGHT[number])[0]


def ends(events: list[Event]) -> dict[int, Event]:
    return {event.request: event for event in events if event.generation}


@pytest.mark.parametrize("place", ["process", "accept", "finish"])
@pytest.mark.parametrize("number", [1, 3])  # alone in its group of settings, and not
def test_an_error_of_one_row_ends_that_row_only(
    backend: Backend, tokenizer: Tokenizer, place: str, number: int
) -> None:
    engine = Engine(backend, tokenizer, slots=8)
    numbers = [engine.submit([3 + i], sampling) for i, sampling in enumerate(EIGHT)]
    engine.step()
    row = next(row for row in engine._running if row.number == numbers[number])
    error = KeyError("broken on purpose")

    def broken(*_: object) -> Any:
        raise error

    if place == "process":
        row.processors = [broken]
    else:
        setattr(row._streamer, {"accept": "push", "finish": "finish"}[place], broken)
    found = ends(run(engine))
    assert [i for i, event in found.items() if event.error] == [numbers[number]]
    assert found[numbers[number]].error is error
    assert found[numbers[number]].generation.finish_reason == "error"
    for i, sampling in enumerate(EIGHT):
        if i != number:
            own = generate(backend, tokenizer, [[3 + i]], sampling)[0]
            assert found[numbers[i]].generation.ids == own.ids
    engine.submit([3], EIGHT[0])
    assert ends(run(engine))[8].generation.ids == found[0].generation.ids


def test_a_broken_row_can_be_cancelled(tokenizer: Tokenizer) -> None:
    engine = Engine(HashBackend(CONFIG), tokenizer, slots=1)
    number = engine.submit([3], EIGHT[0])
    engine.step()
    engine._running[0]._streamer = None
    with pytest.raises(AttributeError):
        engine.cancel(number)
    assert len(engine) == 0


@pytest.mark.parametrize(("method", "failed"), [("decode", 4), ("prefill", 1)])
def test_an_error_of_the_backend_ends_the_rows_that_it_worked_on(
    tokenizer: Tokenizer, method: str, failed: int
) -> None:
    """Four slots, four texts that wait; the third call fails."""
    engine = Engine(Broken(method, range(2, 3)), tokenizer, slots=4)
    for i, sampling in enumerate(EIGHT):
        settings = {"max_new_tokens": 12 - i} if i < 4 else {}  # the slots are freed one by one
        engine.submit([3 + i], sampling.model_copy(update=settings))
    found = ends(run(engine))
    assert len(found) == 8
    errors = [event for event in found.values() if event.error]
    assert len(errors) == failed
    assert {type(event.error) for event in errors} == {MemoryError}
    for i, event in found.items():
        if event.error is None:
            expected = alone(tokenizer, i).ids
            assert event.generation.ids == expected[: len(event.generation.ids)]
            assert len(event.generation.ids) == (13 - i if i < 4 else 13)


@pytest.mark.parametrize("method", ["decode", "prefill"])
def test_a_backend_that_never_recovers_is_told(tokenizer: Tokenizer, method: str) -> None:
    engine = Engine(Broken(method, range(10**6)), tokenizer, slots=1)
    for _ in range(20):
        engine.submit([3], EIGHT[0])
    failed = 0
    for _ in range(20 if method == "decode" else 10):  # each fails in its second step, or its first
        if failed == FAILURES - 1:
            with pytest.raises(MemoryError):
                run(engine)
            return
        failed += sum(event.error is not None for event in engine.step())
    pytest.fail("the engine never gives up")


def test_generate_raises_what_was_raised(tokenizer: Tokenizer) -> None:
    with pytest.raises(MemoryError):
        generate(Broken("decode", range(1)), tokenizer, [[3], [4]], EIGHT[0])
