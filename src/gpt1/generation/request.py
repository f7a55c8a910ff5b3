"""A prompt in the engine: its settings, the ids that follow it, and when they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import torch
from torch import Tensor

from gpt1.config import ModelConfig, SamplingConfig
from gpt1.errors import ContextError, InputError
from gpt1.generation.sampling import FAILED, GREEDY_BELOW
from gpt1.generation.streaming import TextStreamer
from gpt1.text.tokenizer import Tokenizer

Prompt = str | Sequence[int]
"""A text, or its ids."""

FinishReason = Literal["length", "stop", "eos", "error", "cancelled"]


class SamplingOptions(TypedDict, total=False):
    """The keywords of GPT1.generate and stream: the fields of SamplingConfig."""

    max_new_tokens: int
    max_length: int | None
    temperature: float
    top_k: int | None
    top_p: float | None
    min_p: float | None
    repetition_penalty: float
    seed: int | None
    stop: str | Sequence[str] | None
    overflow: Literal["stop", "slide"]


@dataclass(frozen=True, repr=False)
class Generation:
    """The text generated after one prompt.

    text: the prompt as the tokenizer reads it (lower case, cleaned up), then `completion`.
    ids: the prompt's, then the new ones. They include an end token, which is not in the text; with
    a stop string the last id completes the text and may reach beyond it.
    logprobs: for each new id the natural log of the model's own probability, at temperature 1,
    before penalty and filters.
    finish_reason: "length" (a limit, or the model's last position), "stop" (a stop string), "eos"
    (the tokenizer's end token), "error" (the logits were not finite; the text before is kept),
    "cancelled" (by `Engine.cancel`; likewise).
    """

    text: str
    completion: str
    ids: list[int]
    logprobs: list[float]
    finish_reason: FinishReason

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
    alternatives: tuple[tuple[int, float], ...] = ()
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
        alternatives: int = 0,
        name: str = "the prompt",
    ) -> None:
        self.number = number
        self.ids = encode_prompt(tokenizer, prompt, config, name)
        self.prompt_length = len(self.ids)
        self.sampling = sampling
        self.alternatives = alternatives
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
        self.cached = 0
        """How many positions of this row the cache holds."""
        self.seen: Tensor | None = None
        """The ids in the text, boolean (V,), for a repetition penalty."""
        self.finish_reason: FinishReason | None = None if self.limit else "length"
        self._streamer = TextStreamer(tokenizer, self.ids, sampling.stop)
        self._eos_id = tokenizer.eos_id
        seed = random_seed(sampling) if sampling.seed is None else sampling.seed
        self.generator = torch.Generator().manual_seed(seed)

    @property
    def sampling_key(self) -> tuple[float | None, ...]:
        """The settings that shape the next id's distribution; equal ones are sampled together."""
        s = self.sampling
        return s.temperature, s.top_k, s.top_p, s.min_p, s.repetition_penalty

    def accept(self, new_id: int, logprob: float) -> str:
        """Add the next id; return the text that later ids cannot change."""
        if new_id == FAILED:
            return self.finish("error")
        self.ids.append(new_id)
        self.logprobs.append(logprob)
        if self.seen is not None:
            self.seen[new_id] = True
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
            del self.ids[self.prompt_length + count :], self.logprobs[count:]
        return piece

    def result(self) -> Generation:
        """Return the result of a request that has ended."""
        assert self.finish_reason is not None
        completion = self._streamer.text
        text = self._streamer.prompt_text + completion
        return Generation(text, completion, self.ids, self.logprobs, self.finish_reason)


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
