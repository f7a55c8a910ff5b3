"""One prompt on its way through the engine: what is asked, what is written, when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

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


@dataclass(frozen=True)
class Generation:
    """What was written after one prompt.

    text: the prompt as the tokenizer reads it (lower case, cleaned up), then `completion`.
    ids: the prompt's, then the new ones. An end token is among them but not in the text; with a
    stop string they end with the first id that completes the kept text, so the last one may reach
    beyond it.
    logprobs: one for each new id; natural log of the probability the model itself gave it, at
    temperature 1, before penalty and filters.
    finish_reason: "length" (a limit, or the model's last position), "stop" (a stop string), "eos"
    (the tokenizer's end token), "error" (the logits were not finite; what came before is kept),
    "cancelled" (by `Engine.cancel`; likewise).
    """

    text: str
    completion: str
    ids: list[int]
    logprobs: list[float]
    finish_reason: FinishReason


@dataclass(frozen=True)
class Event:
    """A step of one request.

    request: what `Engine.submit` returned. id, logprob: the new id and its log-probability; None
    where none was written. piece: the text that nothing can change any more, perhaps empty.
    alternatives: the likeliest ids and their log-probabilities, the likeliest first, as many as
    were asked for. generation: the result, with the request's last event.
    """

    request: int
    id: int | None = None
    logprob: float | None = None
    piece: str = ""
    alternatives: tuple[tuple[int, float], ...] = ()
    generation: Generation | None = None


class Request:
    """A prompt, its settings, what has been written after it, and when it ends."""

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
        """Positions that the cache holds of this row."""
        self.seen: Tensor | None = None
        """Which ids the text holds, boolean (V,), for a repetition penalty."""
        self.finish_reason: FinishReason | None = None if self.limit else "length"
        self._streamer = TextStreamer(tokenizer, self.ids, sampling.stop)
        self._eos_id = tokenizer.eos_id
        seed = random_seed(sampling) if sampling.seed is None else sampling.seed
        self.generator = torch.Generator().manual_seed(seed)

    @property
    def law(self) -> tuple[float | None, ...]:
        """What the next id's distribution depends on; requests of one law are sampled together."""
        s = self.sampling
        return s.temperature, s.top_k, s.top_p, s.min_p, s.repetition_penalty

    def accept(self, new_id: int, logprob: float) -> str:
        """Take the next id; return the text that nothing can change any more."""
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
        """End the text here; return what of it was held back."""
        self.finish_reason = reason
        piece = self._streamer.finish()
        if self._streamer.stopped:
            self.finish_reason = "stop"
            kept = self._streamer.count_needed(self.ids[self.prompt_length :])
            del self.ids[self.prompt_length + kept :], self.logprobs[kept:]
        return piece

    def result(self) -> Generation:
        """Return what was written; the request has ended."""
        assert self.finish_reason is not None
        completion = self._streamer.text
        text = self._streamer.prompt_text + completion
        return Generation(text, completion, self.ids, self.logprobs, self.finish_reason)


def random_seed(sampling: SamplingConfig) -> int:
    """Return a seed from torch's global generator; greedy sampling takes none from it."""
    return int(torch.randint(2**63 - 1, ())) if sampling.temperature >= GREEDY_BELOW else 0


def encode_prompt(
    tokenizer: Tokenizer, prompt: Prompt, config: ModelConfig, name: str = "the prompt"
) -> list[int]:
    """Return the prompt's ids. Raise InputError or ContextError if the model cannot read them.

    `name` is what messages call the prompt.
    """
    if not isinstance(prompt, str | Sequence):
        raise InputError(f"{name} is {prompt!r}; a prompt is a text, or a list of its ids.")
    ids = tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
    if not ids:
        raise InputError(
            f"{name} is empty; GPT-1 has no start token and needs at least one id to go on from. "
            f"Give it some text."
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
