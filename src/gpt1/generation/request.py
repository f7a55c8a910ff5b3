"""A prompt in the engine: its settings, the ids that follow it, and when they end."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter
from typing import Any, Literal, TypedDict, TypeVar, cast, get_type_hints

import torch
from torch import Tensor

from gpt1.config import ModelConfig, SamplingConfig
from gpt1.errors import ContextError, InputError, did_you_mean
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


class SamplingOptions(TypedDict, total=False):
    """The keywords of GPT1.generate and stream: the fields of SamplingConfig."""

    max_new_tokens: int
    max_length: int | None
    temperature: float
    top_k: int | None
    top_p: float | None
    min_p: float | None
    typical_p: float | None
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    no_repeat_ngram_size: int
    logit_bias: Mapping[str | int, float]
    bad_words: Sequence[str]
    choices: Sequence[str]
    regex: str | None
    force_words: Sequence[str]
    num_beams: int
    num_beam_groups: int
    diversity_penalty: float
    length_penalty: float
    early_stopping: Literal[True, False, "never"]
    penalty_alpha: float | None
    prompt_lookup_num_tokens: int | None
    num_assistant_tokens: int
    best_of: int
    num_return_sequences: int
    alternatives: int
    seed: int | None
    stop: str | Sequence[str] | None
    overflow: Literal["stop", "slide"]
    truecase: bool


F = TypeVar("F", bound=Callable[..., Any])


def named_options(method: F) -> F:
    """Name the keywords of a method that takes `**sampling` in its signature, and check them.

    So `help` and notebooks show every setting with its default; type checkers and editors read
    `SamplingOptions`.
    """
    signature = inspect.signature(method)
    options = get_type_hints(SamplingOptions)
    named = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=field.default, annotation=options[name])
        for name, field in SamplingConfig.model_fields.items()
    ]
    others = [p for p in signature.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
    whole = signature.replace(parameters=[*others, *named])

    @functools.wraps(method)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for name in kwargs:
            if name not in whole.parameters:
                hint = did_you_mean(name, [*whole.parameters])
                raise TypeError(f"{method.__name__}() has no parameter {name!r}.{hint}")
        return method(*args, **kwargs)

    checked.__signature__ = whole  # type: ignore[attr-defined]
    return cast(F, checked)


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
    were not finite; the text before is kept), "cancelled" (by `Engine.cancel`; likewise).
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
        count, reason = len(self.logprobs), self.finish_reason
        return f"Generation({self.text[:200]!r}, {count} new ids, finish_reason={reason!r})"


@dataclass(frozen=True)
class Event:
    """A step of one request.

    request: the number from `Engine.submit`. id, logprob: the new id and its log-probability, None
    if there is none. piece: the text that later ids cannot change, perhaps empty. alternatives: the
    likeliest ids and their log-probabilities, the likeliest first. generation: the result, in the
    request's last event only.
    """

    request: int
    id: int | None = None
    logprob: float | None = None
    piece: str = ""
    alternatives: Sequence[tuple[int, float]] = ()
    generation: Generation | None = None


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
                    f"{name} is {self.prompt_length} ids long; max_length is {sampling.max_length},"
                    f" the prompt included. Raise max_length, or give max_new_tokens instead."
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
                    f"{name} leaves room for {self.limit} new ids; the constraint needs at least "
                    f"{least}. Raise max_new_tokens, or shorten the prompt."
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
        """Add the next id, or end at one that is none; return what became of it."""
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
    """What was chosen to follow a row: the next id, its log-probability and the alternatives."""

    id: int
    logprob: float
    alternatives: Alternatives


def choose(requests: Sequence[Request], logits: Tensor) -> list[Step]:
    """Choose the next id of each request after logits (B, V), by its own settings."""
    groups: dict[tuple[float | None, ...], list[int]] = {}
    for row, request in enumerate(requests):
        groups.setdefault(request.sampling_key, []).append(row)
    steps: dict[int, Step] = {}
    for rows in groups.values():
        group = [requests[row] for row in rows]
        own = logits if len(rows) == len(logits) else logits[rows]
        processed = None
        if any(request.processors or request.constraint for request in group):
            pairs = zip(group, own, strict=True)
            processed = torch.stack([request.process(x) for request, x in pairs])
        generators = [request.generator for request in group]
        picked, logprobs = pick(own, group[0].sampling, generators, processed)
        ids, scores = torch.stack([picked.double(), logprobs.double()]).tolist()
        for row, request, new_id, logprob in zip(rows, group, ids, scores, strict=True):
            others = likeliest(logits[row], request.sampling.alternatives)
            steps[row] = Step(int(new_id), logprob, others)
    return [steps[row] for row in range(len(requests))]


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
