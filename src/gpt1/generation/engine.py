"""Prompts to text: requests come and go, and each step generates one id in every row.

    submit    queues a request
    step      prefill: the queued prompts are read into free slots of the cache
              decode: one id of each row is read; the next ids of all are sampled together
    cancel    ends a request and frees its slot at once

The running rows fill the first slots of one cache, which is allocated once; the last row takes the
place of one that ends. Only the last position of a row meets the head. A row's text depends only on
its own prompt and settings. Prompt and new ids together never exceed the model's n_ctx positions,
unless the window slides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from gpt1.config import SamplingConfig
from gpt1.errors import ContextError, InputError
from gpt1.generation.backend import Backend
from gpt1.generation.request import (
    Event,
    Generation,
    Prompt,
    Request,
    by_length,
    choose,
    encode_prompt,
    pieces,
    random_seed,
)
from gpt1.generation.strategies import apart, best_of, is_plain, run
from gpt1.model.padding import pad_right
from gpt1.text.tokenizer import Tokenizer

SLOTS = 32
"""Rows generated together; further requests wait, which changes no text."""
PREFILL = 4096
"""The most ids in one prefill; a longer prompt is read alone."""
PADDING = {"cpu": 32, "cuda": 1024}
"""The most ids of padding in a prefill, by device: about the cost of another pass."""
FAILURES = 10
"""When the backend has failed in so many steps, and finished no text, it will not recover."""


class Engine:
    """Generates text for many prompts at once, each with its own settings.

    engine = Engine(backend, tokenizer)
    request = engine.submit("once upon a time", SamplingConfig(temperature=0.8, seed=1))
    while len(engine):
        for event in engine.step():
            print(event.piece, end="")

    `slots` rows are generated together; `capacity` is the number of positions of each, n_ctx by
    default. Not to be used by two threads at once.
    """

    def __init__(
        self,
        backend: Backend,
        tokenizer: Tokenizer,
        *,
        slots: int = SLOTS,
        capacity: int | None = None,
    ) -> None:
        self.backend = backend
        self.tokenizer = tokenizer
        self.slots = slots
        self.capacity = backend.config.n_ctx if capacity is None else capacity
        self._cache: Any = None  # made for the first step
        self._running: list[Request] = []
        """Row i is in slot i."""
        self._waiting: deque[Request] = deque()
        self._submitted = 0
        self._failures = 0
        """Steps in which the backend failed since a text was last finished."""

    def __len__(self) -> int:
        """Return how many requests have not ended."""
        return len(self._running) + len(self._waiting)

    def submit(
        self,
        prompt: Prompt,
        sampling: SamplingConfig,
        *,
        name: str = "the prompt",
    ) -> int:
        """Queue a request; return its number, counted from 0.

        `name` is what messages call the prompt. A prompt that fills the model's positions, or
        max_new_tokens=0, ends at once with an empty completion. Raises InputError (a prompt without
        ids, an unknown id, a prompt of max_length ids or more, a setting that does not fit the
        vocabulary) and ContextError (more ids than positions).
        """
        config = self.backend.config
        if not is_plain(sampling) or max(sampling.best_of, sampling.num_return_sequences) > 1:
            raise InputError(
                "a slot of the engine writes one text, id by id; beams, contrastive search, "
                "look-up and several texts of a prompt are for `generate`."
            )
        request = Request(self._submitted, prompt, sampling, self.tokenizer, config, name=name)
        needed = min(len(request.ids) + request.limit, config.n_ctx)
        if needed > self.capacity:
            raise ContextError(
                f"{name} needs {needed} positions; the engine's slots have {self.capacity}. "
                f"Shorten the text or lower max_new_tokens."
            )
        self._submitted += 1
        self._waiting.append(request)
        return request.number

    @torch.inference_mode()
    def cancel(self, number: int) -> Generation | None:
        """End a request; return its result so far, or None if it had ended already."""
        for request in [*self._running, *self._waiting]:
            if request.number == number:
                if request in self._running:
                    self._release(self._running.index(request))
                else:
                    self._waiting.remove(request)
                request.finish("cancelled")
                return request.result()
        return None

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Generate one id in every row; return the events of all rows that had a step or ended.

        What is raised for one request ends that one, what the backend raises those that it was
        working on: see `Event.error`. Raises the backend's error if FAILURES steps failed and no
        text was finished meanwhile.
        """
        logits: list[Tensor] = []
        if self._running:
            try:
                logits.append(self._decode())
            except Exception as error:
                return self._give_up(error)
        events, admitted = self._admit()
        events += self._prefill(admitted, logits)
        if not logits:
            if errors := [event.error for event in events if event.error]:
                self._count(errors[0])
            return events
        try:
            steps = choose(self._running, torch.cat(logits))
        except Exception as error:
            return events + self._give_up(error)
        for row, step in zip(self._running, steps, strict=True):
            try:
                events.append(row.take(step))
            except Exception as error:
                events.append(row.fail(error))
            else:
                self._failures *= not row.finish_reason
        for slot in reversed(range(len(self._running))):  # rows behind it have not ended
            if self._running[slot].finish_reason:
                self._release(slot)
        return events

    def _decode(self) -> Tensor:
        """Read the newest id of each row; return the logits (B, V) after them."""
        for slot, request in enumerate(self._running):
            if request.cached == self.backend.config.n_ctx:
                self._slide(slot)
            request.cached += 1
        ids = torch.tensor([request.ids[-1] for request in self._running])
        return self.backend.decode(ids, self._cache, slice(0, len(ids)))

    def _slide(self, slot: int) -> None:
        """Make room in a row: keep the last half window, read again from position 0."""
        request = self._running[slot]
        half = max(1, self.backend.config.n_ctx // 2)
        window = request.ids[-half:-1]  # the newest id is read with the other rows'
        if window:
            ids, lengths = pad_right([window])
            self.backend.prefill(ids, lengths, self._cache, slice(slot, slot + 1))
        else:
            self._cache.clear(slot)
        request.cached = len(window)

    def _admit(self) -> tuple[list[Event], list[Request]]:
        """Return the queued requests that get slots, after the events of those that end at once."""
        events: list[Event] = []
        admitted: list[Request] = []
        while self._waiting and len(self._running) + len(admitted) < self.slots:
            request = self._waiting.popleft()
            if request.finish_reason:
                events.append(Event(request.number, generation=request.result()))
            else:
                admitted.append(request)
        return events, admitted

    def _prefill(self, requests: Sequence[Request], logits: list[Tensor]) -> list[Event]:
        """Read prompts into the slots behind the running rows; add the logits after them.

        Returns the events of those that could not be read.
        """
        events: list[Event] = []
        padding = PADDING.get(self.backend.device.type, PADDING["cuda"])
        for group in by_length(requests, padding, PREFILL):
            ids, lengths = pad_right([request.ids for request in group])
            start = len(self._running)
            slots = slice(start, start + len(group))
            try:
                if self._cache is None:
                    self._cache = self.backend.new_cache(self.slots, self.capacity)
                logits.append(self.backend.prefill(ids, lengths, self._cache, slots))
            except Exception as error:
                events += [request.fail(error) for request in group]
                for slot in range(start, slots.stop) if self._cache is not None else ():
                    self._cache.clear(slot)  # a part of it may have been written
                continue
            self._running += group
            for request in group:
                request.cached = len(request.ids)
        return events

    def _give_up(self, error: Exception) -> list[Event]:
        """End all rows, and drop their cache: nobody knows what it holds."""
        rows, self._running, self._cache = self._running, [], None
        self._count(error)
        return [row.fail(error) for row in rows]

    def _count(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == FAILURES:
            raise error

    def _release(self, slot: int) -> None:
        """Free a slot: the last row takes its place."""
        ended = self._running[slot]
        if ended.finish_reason == "error":
            self._cache.clear(slot)  # its keys and values may be NaN
        last = self._running.pop()
        if last is not ended:
            self._cache.move(len(self._running), slot)
            self._running[slot] = last


def generate(
    backend: Backend,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    sampling: SamplingConfig,
    *,
    assistant: Backend | None = None,
) -> list[Generation]:
    """Continue each prompt and return the results in the prompts' order.

    Prompt i of the list draws from seed + i, so it is what that prompt alone gives with seed + i;
    without a seed, one is drawn from torch's global generator. Raises as `Engine.submit`.
    """
    results: dict[int, Generation] = {}
    for event in stream_events(backend, tokenizer, prompts, sampling, assistant=assistant):
        if event.generation is not None:
            results[event.request] = event.generation
    return [results[number] for number in range(len(prompts))]


def stream(
    backend: Backend,
    tokenizer: Tokenizer,
    prompt: Prompt,
    sampling: SamplingConfig,
    *,
    assistant: Backend | None = None,
) -> Iterator[str]:
    """Continue one prompt piece by piece; the joined pieces are `generate`'s completion.

    Raises as `Engine.submit`, before the first piece, and CheckpointError at the end of the text if
    the logits were not finite, since plain pieces have no finish_reason.
    """
    events = stream_events(backend, tokenizer, [prompt], sampling, assistant=assistant)
    return pieces(events)


def stream_events(
    backend: Backend,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    sampling: SamplingConfig,
    *,
    assistant: Backend | None = None,
) -> Iterator[Event]:
    """Like `generate`, but yield the event of each new id; `request` is the prompt's index.

    Beams, and several texts of a prompt, have one event at their end. assistant: a smaller model
    of the same vocabulary, whose guesses the model checks.

    Prompts are checked at once, before the first event; closing the iterator frees its memory.
    """
    if isinstance(prompts, str):
        raise InputError(f"prompts is the text {prompts[:40]!r}; it is a list. Put it in brackets.")
    names = [f"prompt {i}" if len(prompts) > 1 else "the prompt" for i in range(len(prompts))]
    rows = [
        encode_prompt(tokenizer, prompt, backend.config, name)
        for prompt, name in zip(prompts, names, strict=True)
    ]
    longest = max(map(len, rows), default=0)
    most = sampling.max_length or longest + sampling.max_new_tokens
    capacity = min(backend.config.n_ctx, max(longest, most))
    seed = random_seed(sampling) if sampling.seed is None else sampling.seed
    several = 1 if sampling.num_beams > 1 else max(sampling.best_of, sampling.num_return_sequences)
    if assistant is not None and max(sampling.num_beams, several) > 1:
        raise InputError("an assistant goes with one text, without beams. Leave out one of them.")
    if not is_plain(sampling) or assistant is not None:
        requests = []
        for i, (ids, name) in enumerate(zip(rows, names, strict=True)):
            own = sampling.model_copy(update={"seed": seed + i})
            requests.append(Request(i, ids, own, tokenizer, backend.config, name=name))
        return run(backend, requests, assistant)
    engine = Engine(backend, tokenizer, slots=min(SLOTS, several * len(rows)), capacity=capacity)
    for i, (ids, name) in enumerate(zip(rows, names, strict=True)):
        for own in apart(sampling, seed + i, several):
            engine.submit(ids, own, name=name)
    return _events(engine) if several == 1 else _best(engine, sampling, several)


def _events(engine: Engine) -> Iterator[Event]:
    while len(engine):
        for event in engine.step():
            if event.error:
                raise event.error
            yield event


def _best(engine: Engine, sampling: SamplingConfig, several: int) -> Iterator[Event]:
    """Yield one event for each prompt, once all of its texts have ended."""
    results: dict[int, dict[int, Generation]] = {}
    for event in _events(engine):
        if event.generation is not None:
            number, text = divmod(event.request, several)
            found = results.setdefault(number, {})
            found[text] = event.generation
            if len(found) == several:
                texts = [found[j] for j in range(several)]
                best = best_of(texts, sampling.num_return_sequences, ranked=sampling.best_of > 1)
                yield Event(number, piece=best.completion, generation=best)
