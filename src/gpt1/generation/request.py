"""A prompt in the engine: its settings, the ids that follow it, and when they end."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from gpt1.config import ModelConfig, SamplingConfig
from gpt1.errors import CheckpointError, ContextError, InputError, counted
from gpt1.generation.constraints import make_constraint
from gpt1.generation.processors import logits_processors
from gpt1.generation.sampling import (
    BLOCKED,
    FAILED,
    GREEDY_BELOW,
    Alternatives,
    likeliest,
    pick,
)
from gpt1.generation.streaming import TextStreamer
from gpt1.text.tokenizer import Tokenizer

Prompt = str | Sequence[int]
"""A text, or its ids."""

FinishReason = Literal["length", "stop", "eos", "constraint", "blocked", "error", "cancelled"]


@dataclass(frozen=True, repr=False)
class Generation:
    """The text generated after one prompt.

    text: the prompt as the tokenizer reads it (lower case, cleaned up), then `completion`.
    ids: the prompt's, then the new ones. They include an end token, which is not in the text; with
    a stop string the last id completes the text and may reach beyond it.
    logprobs: for each new id the natural log of the model's own probability, at temperature 1,
    before penalty and filters.
    finish_reason: "length" (a limit, or the model's last position), "stop" (a stop string), "eos"
    (the tokenizer's end token), "constraint" (a choice or a match is complete, and the model would
    go on with what it does not allow), "blocked" (the settings allow no id), "error" (the logits
    were not finite, or see `Event.error`; the text before is kept), "cancelled" (by
    `Engine.cancel`; likewise).
    alternatives: for each new id the likeliest ids and their log-probabilities, the likeliest
    first; empty unless `alternatives` asks for them. others: further texts of the same prompt, if
    num_return_sequences asks for them.
    """

    text: str
    completion: str
    ids: list[int]
    logprobs: list[float]
    finish_reason: FinishReason
    alternatives: list[Alternatives] = field(default_factory=list)
    others: list[Generation] = field(default_factory=list)

    def __repr__(self) -> str:
        count, reason = counted(len(self.logprobs), "new id"), self.finish_reason
        return f"Generation({self.text[:200]!r}, {count}, finish_reason={reason!r})"


@dataclass(frozen=True)
class Event:
    """A step of one request.

    request: the number from `Engine.submit`. id, logprob: the new id and its log-probability, None
    if there is none. piece: the text that later ids cannot change, perhaps empty. alternatives: the
    likeliest ids and their log-probabilities, the likeliest first. generation: the result, in the
    request's last event only. error: what was raised while the engine worked on the request, which
    ended it.
    """

    request: int
    id: int | None = None
    logprob: float | None = None
    piece: str = ""
    alternatives: Sequence[tuple[int, float]] = ()
    generation: Generation | None = None
    error: Exception | None = None


class Request:
    """A prompt with its settings, the ids generated so far, and why they ended."""

    def __init__(
        self,
        number: int,
        prompt: Prompt,
        sampling: SamplingConfig,
        tokenizer: Tokenizer,
        config: ModelConfig,
        *,
        name: str = "the prompt",
    ) -> None:
        self.number = number
        self.ids = encode_prompt(tokenizer, prompt, config, name)
        self.prompt_length = len(self.ids)
        self.sampling = sampling
        if sampling.alternatives > config.vocab_size:
            raise InputError(
                f"alternatives is {sampling.alternatives}; it must be from 0 to "
                f"{config.vocab_size}, the size of the vocabulary."
            )
        self.limit = sampling.max_new_tokens
        if sampling.max_length is not None:
            self.limit = sampling.max_length - self.prompt_length
            if self.limit <= 0:
                raise InputError(
                    f"{name} is {counted(self.prompt_length, 'id')} long; max_length is "
                    f"{sampling.max_length}, the prompt included. Raise max_length, or give "
                    f"max_new_tokens instead."
                )
        if sampling.overflow != "slide":
            self.limit = min(self.limit, config.n_ctx - self.prompt_length)
        self.logprobs: list[float] = []
        self.alternatives: list[Alternatives] = []
        self.cached = 0
        """How many positions of this row the cache holds."""
        self.processors = logits_processors(sampling, tokenizer, self.prompt_length)
        self.constraint = make_constraint(sampling, tokenizer)
        if self.constraint:
            self.state = self.constraint.start(self.ids)
            if (least := self.constraint.distance(self.state)) > self.limit:
                raise InputError(
                    f"{name} leaves room for {counted(self.limit, 'new id')}; the constraint needs "
                    f"at least {least}. Raise max_new_tokens, or shorten the prompt."
                )
        self.finish_reason: FinishReason | None = None if self.limit else "length"
        self._streamer = TextStreamer(
            tokenizer, self.ids, sampling.stop, truecase=sampling.truecase and not self.constraint
        )
        self._eos_id = tokenizer.eos_id
        seed = random_seed(sampling) if sampling.seed is None else sampling.seed
        self.generator = torch.Generator().manual_seed(seed)

    @property
    def sampling_key(self) -> tuple[float | None, ...]:
        """The settings that shape the next id's distribution; equal ones are sampled together."""
        s = self.sampling
        return s.temperature, s.top_k, s.top_p, s.min_p, s.typical_p

    def process(self, logits: Tensor) -> Tensor:
        """Return logits (V,) as the settings change them after the present ids."""
        for processor in self.processors:
            logits = processor(logits, self.ids)
        if self.constraint and self.constraint.distance(self.state):
            allowed = self.constraint.allowed(self.state, self.room).to(logits.device)
            logits = logits.masked_fill(~allowed, -torch.inf)
        return logits

    def fork(self) -> Request:
        """Return a request that goes on from here by itself, with the same generator."""
        other = copy.copy(self)
        other.ids, other.logprobs = [*self.ids], [*self.logprobs]
        other.alternatives = [*self.alternatives]
        other._streamer = self._streamer.copy()
        return other

    @property
    def room(self) -> int:
        """How many ids may still follow."""
        return self.limit - len(self.logprobs)

    def take(self, step: Step) -> Event:
        """Add the next id, or end at one that is none; return what became of it.

        Raises what the request's own settings raised in `choose`.
        """
        if step.error:
            raise step.error
        reasons: dict[int, FinishReason] = {FAILED: "error", BLOCKED: "blocked"}
        reason = reasons.get(step.id)
        if self.constraint and not reason:
            if self.constraint.allowed(self.state, self.room)[step.id]:
                self.state = self.constraint.follow(self.state, step.id)
            else:  # where the text may end, every id can be chosen
                reason = "constraint"
        if reason:
            return Event(self.number, piece=self.finish(reason), generation=self.result())
        self.alternatives.append(step.alternatives)
        piece = self.accept(step.id, step.logprob)
        open_ = None if self.finish_reason else self.constraint
        if open_ and not open_.allowed(self.state, self.room).any():
            piece += self.finish("constraint")
        result = self.result() if self.finish_reason else None
        return Event(self.number, step.id, step.logprob, piece, step.alternatives, result)

    def accept(self, new_id: int, logprob: float) -> str:
        """Add the next id; return the text that later ids cannot change."""
        self.ids.append(new_id)
        self.logprobs.append(logprob)
        if new_id == self._eos_id:
            return self.finish("eos")
        piece = self._streamer.push(new_id)
        if self._streamer.stopped or len(self.logprobs) == self.limit:
            piece += self.finish("length")
        return piece

    def finish(self, reason: FinishReason) -> str:
        """End the text here; return the part that was held back."""
        self.finish_reason = reason
        piece = self._streamer.finish()
        if self._streamer.stopped:
            self.finish_reason = "stop"
            count = self._streamer.count_needed(self.ids[self.prompt_length :])
            del self.ids[self.prompt_length + count :]
            del self.logprobs[count:], self.alternatives[count:]
        return piece

    def fail(self, error: Exception) -> Event:
        """End the text here, without what was held back, since something was raised."""
        self.finish_reason = "error"
        return Event(self.number, generation=self.result(), error=error)

    def result(self) -> Generation:
        """Return the result of a request that has ended."""
        assert self.finish_reason is not None
        completion = self._streamer.text
        text = self._streamer.prompt_text + completion
        alternatives = self.alternatives if self.sampling.alternatives else []
        return Generation(
            text, completion, self.ids, self.logprobs, self.finish_reason, alternatives
        )


@dataclass(frozen=True)
class Step:
    """What was chosen to follow a row: the next id, its log-probability and the alternatives.

    error: what the request's processors or its constraint raised; then the rest means nothing.
    """

    id: int
    logprob: float
    alternatives: Alternatives
    error: Exception | None = None


def choose(requests: Sequence[Request], logits: Tensor) -> list[Step]:
    """Choose the next id of each request after logits (B, V), by its own settings.

    An error of one request is in its step, and changes no other.
    """
    groups: dict[tuple[float | None, ...], list[int]] = {}
    for row, request in enumerate(requests):
        groups.setdefault(request.sampling_key, []).append(row)
    steps: dict[int, Step] = {}
    for rows in groups.values():
        group = [requests[row] for row in rows]
        own = logits if len(rows) == len(logits) else logits[rows]
        processed, errors = None, dict[int, Exception]()
        if any(request.processors or request.constraint for request in group):
            changed = [*own]
            for i, request in enumerate(group):
                try:
                    changed[i] = request.process(own[i])
                except Exception as error:
                    errors[rows[i]] = error
            processed = torch.stack(changed)
        generators = [request.generator for request in group]
        picked, logprobs = pick(own, group[0].sampling, generators, processed)
        ids, scores = torch.stack([picked.double(), logprobs.double()]).tolist()
        for row, request, new_id, logprob in zip(rows, group, ids, scores, strict=True):
            others = likeliest(logits[row], request.sampling.alternatives)
            steps[row] = Step(int(new_id), logprob, others, errors.get(row))
    return [steps[row] for row in range(len(requests))]


def pieces(events: Iterator[Event]) -> Iterator[str]:
    """Yield the new text of each event. Raises CheckpointError at the end of what is not finite."""
    for event in events:
        if event.piece:
            yield event.piece
        if event.generation is not None and event.generation.finish_reason == "error":
            raise CheckpointError(
                "the model's logits are not finite, so the text ends here; the weights hold NaN or "
                "infinity. Load a checkpoint from before training went wrong."
            )


def random_seed(sampling: SamplingConfig) -> int:
    """Return a seed from torch's global generator; greedy sampling draws none."""
    return int(torch.randint(2**63 - 1, ())) if sampling.temperature >= GREEDY_BELOW else 0


def encode_prompt(
    tokenizer: Tokenizer, prompt: Prompt, config: ModelConfig, name: str = "the prompt"
) -> list[int]:
    """Return the prompt's ids. Raise InputError or ContextError if the model cannot read them.

    `name` is what messages call the prompt.
    """
    if not isinstance(prompt, str | Sequence):
        what = " ".join(repr(prompt)[:80].split())
        raise InputError(f"{name} is {what}; a prompt is a text, or a list of its ids.")
    ids = tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
    if not ids:
        raise InputError(
            f"{name} is empty; GPT-1 has no start token and needs at least one id. Give it some "
            f"text."
        )
    for i in ids:
        if isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < config.vocab_size:
            raise InputError(
                f"{name} holds the id {i!r}; the model knows whole numbers from 0 to "
                f"{config.vocab_size - 1}. Use the tokenizer that belongs to the model."
            )
    if len(ids) > config.n_ctx:
        raise ContextError(
            f"{name} is {len(ids)} ids long; the model has {config.n_ctx} positions. Shorten "
            f"the text."
        )
    return ids


def by_length(requests: Sequence[Request], padding: int, most: int) -> list[list[Request]]:
    """Return groups of similar length, the longest first, to be read together.

    padding, most: how many ids of padding, and ids in all, a group may have.
    """
    groups: list[list[Request]] = []
    ids = 0
    for request in sorted(requests, key=lambda r: -len(r.ids)):
        length = len(request.ids)
        ids += length
        if groups:
            padded = len(groups[-1][0].ids) * (len(groups[-1]) + 1)
            if padded - ids <= padding and padded <= most:
                groups[-1].append(request)
                continue
        groups.append([request])
        ids = length
    return groups
