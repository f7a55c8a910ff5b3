"""Prompts to text: read each prompt once, then write one id a step for all rows together.

    prefill   the prompts, padded on the right, go through the model and fill a cache
    decode    each step reads one id a row; rows that have ended leave the batch

Only the last real position of a row meets the head. A row's text depends on its prompt and seed
alone: positions, randomness, stop strings and limits are all its own. The model's n_ctx positions
are a hard wall: prompt and new ids together never exceed it, unless the window slides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gpt1.config import SamplingConfig
from gpt1.errors import CheckpointError, ContextError, InputError
from gpt1.generation.quantize import Decoder, decoder
from gpt1.generation.sampling import FAILED, GREEDY_BELOW, pick, row_generators
from gpt1.generation.writing import Writer
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import Tokenizer

Prompt = str | Sequence[int]
"""A text, or its ids."""

FinishReason = Literal["length", "stop", "eos", "error"]

ROWS = 32
"""Prompts that share a batch; a longer list is worked off in parts, which changes no text."""


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
    (the tokenizer's end token), "error" (the logits were not finite; what came before is kept).
    """

    text: str
    completion: str
    ids: list[int]
    logprobs: list[float]
    finish_reason: FinishReason


@dataclass(frozen=True)
class StreamEvent:
    """A further piece of prompt number `row`'s completion; the row's last one has the result."""

    row: int
    piece: str
    generation: Generation | None = None


def generate(
    model: Transformer | Decoder,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    sampling: SamplingConfig,
) -> list[Generation]:
    """Continue each prompt and return the results in the prompts' order.

    A `Transformer` writes with its own weights; `quantize.decoder` makes a faster `Decoder` of it.
    Prompt i of the list draws from seed + i, so it is what that prompt alone gives with seed + i;
    without a seed, one is drawn from torch's global generator. A prompt that fills the model's
    positions, or max_new_tokens=0, gives an empty completion with finish_reason "length".

    Raises InputError (a prompt without ids: GPT-1 has no start token; an id the model does not
    know; a prompt of max_length ids or more) and ContextError (more ids than positions).
    """
    results: dict[int, Generation] = {}
    for event in stream_events(model, tokenizer, prompts, sampling):
        if event.generation is not None:
            results[event.row] = event.generation
    return [results[row] for row in range(len(prompts))]


def stream(
    model: Transformer | Decoder,
    tokenizer: Tokenizer,
    prompt: Prompt,
    sampling: SamplingConfig,
) -> Iterator[str]:
    """Continue one prompt piece by piece; the joined pieces are `generate`'s completion.

    Raises as `generate`, before the first piece is asked for, and CheckpointError at the end of the
    text if the logits were not finite: who reads plain pieces has no finish_reason to look at.
    """
    return _pieces(stream_events(model, tokenizer, [prompt], sampling))


def _pieces(events: Iterator[StreamEvent]) -> Iterator[str]:
    for event in events:
        if event.piece:
            yield event.piece
        if event.generation is not None and event.generation.finish_reason == "error":
            raise CheckpointError(
                "the model's logits are not finite, so the text ends here; the weights hold NaN or "
                "infinity. Load a checkpoint from before training went wrong."
            )


def stream_events(
    model: Transformer | Decoder,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    sampling: SamplingConfig,
) -> Iterator[StreamEvent]:
    """Do as `generate`, but give each piece of text as soon as nothing can change it any more.

    The pieces of a row joined are its completion. Prompts are checked at once, before the first
    piece is asked for; closing the iterator early frees its memory.
    """
    if isinstance(prompts, str):
        raise InputError(f"prompts is the text {prompts[:40]!r}; it is a list. Put it in brackets.")
    ready = model if isinstance(model, Decoder) else decoder(model, "float32")
    seed = sampling.seed
    if seed is None:
        seed = int(torch.randint(2**63 - 1, ())) if sampling.temperature >= GREEDY_BELOW else 0
    rows = []
    for number, prompt in enumerate(prompts):
        where = "the prompt" if len(prompts) == 1 else f"prompt {number}"
        if not isinstance(prompt, str | Sequence):
            raise InputError(f"{where} is {prompt!r}; a prompt is a text, or a list of its ids.")
        ids = tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
        check_ids(ids, ready.config.vocab_size, ready.config.n_ctx, where)
        limit = _limit(len(ids), sampling, ready.config.n_ctx, where)
        rows.append(_Row(number, ids, limit, Writer(tokenizer, ids, sampling.stop)))
    return _run(ready, tokenizer.eos_id, rows, sampling, seed)


def check_ids(ids: Sequence[int], vocab_size: int, n_ctx: int, where: str) -> None:
    """Raise InputError or ContextError if the model cannot read `ids`; `where` names them."""
    if not ids:
        raise InputError(
            f"{where} is empty; GPT-1 has no start token and needs at least one id to go on from. "
            f"Give it some text."
        )
    for i in ids:
        if isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < vocab_size:
            raise InputError(
                f"{where} holds the id {i!r}; the model knows whole numbers from 0 to "
                f"{vocab_size - 1}. Use the tokenizer that belongs to the model."
            )
    if len(ids) > n_ctx:
        raise ContextError(
            f"{where} is {len(ids)} ids long; the model has {n_ctx} positions. Shorten the text."
        )


def _limit(length: int, sampling: SamplingConfig, n_ctx: int, where: str) -> int:
    """Return how many ids may be written after a prompt of `length` ids."""
    if sampling.max_length is None:
        limit = sampling.max_new_tokens
    else:
        limit = sampling.max_length - length
        if limit <= 0:
            raise InputError(
                f"{where} is {length} ids long; max_length is {sampling.max_length}, the prompt "
                f"included. Raise max_length, or give max_new_tokens instead."
            )
    return limit if sampling.overflow == "slide" else min(limit, n_ctx - length)


class _Row:
    """One prompt, what has been written after it, and when it ends."""

    def __init__(self, number: int, prompt: list[int], limit: int, writer: Writer) -> None:
        self.number = number
        self.ids = list(prompt)
        self.prompt_length = len(prompt)
        self.limit = limit
        self.logprobs: list[float] = []
        self.writer = writer
        self.finish_reason: FinishReason | None = None if limit else "length"

    def accept(self, new_id: int, logprob: float, eos_id: int | None) -> str:
        """Take the next id; return the text it settles."""
        if new_id == FAILED:
            self.finish_reason = "error"
            return self.writer.finish()
        self.ids.append(new_id)
        self.logprobs.append(logprob)
        if new_id == eos_id:
            self.finish_reason = "eos"
            piece = ""
        else:
            piece = self.writer.push(new_id)
            if len(self.logprobs) == self.limit:
                self.finish_reason = "length"
        if self.finish_reason:
            piece += self.writer.finish()
        if self.writer.stopped:
            self.finish_reason = "stop"
            kept = self.writer.needed(self.ids[self.prompt_length :])
            del self.ids[self.prompt_length + kept :], self.logprobs[kept:]
        return piece

    def result(self) -> Generation:
        assert self.finish_reason is not None
        completion = self.writer.text
        text = self.writer.prompt_text + completion
        return Generation(text, completion, self.ids, self.logprobs, self.finish_reason)


def _run(
    model: Decoder, eos_id: int | None, rows: list[_Row], sampling: SamplingConfig, seed: int
) -> Iterator[StreamEvent]:
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        for row in part:
            if row.finish_reason:
                yield StreamEvent(row.number, "", row.result())
        batch = _Batch(model, [row for row in part if not row.finish_reason], sampling, seed)
        while batch.rows:
            for row, piece in batch.step(eos_id):
                if row.finish_reason:
                    yield StreamEvent(row.number, piece, row.result())
                elif piece:
                    yield StreamEvent(row.number, piece)


class _Batch:
    """The rows being written together: their cache and the logits their next ids come from."""

    def __init__(
        self, model: Decoder, rows: list[_Row], sampling: SamplingConfig, seed: int
    ) -> None:
        self.rows = rows
        self._model = model
        self._sampling = sampling
        self._generators = row_generators(seed, [row.number for row in rows])
        self._logits: Tensor | None = None
        self._seen: Tensor | None = None

    @torch.inference_mode()
    def step(self, eos_id: int | None) -> list[tuple[_Row, str]]:
        """Write one id in every row; return each row with the text that it settled."""
        logits = self._prefill() if self._logits is None else self._logits
        picked, logprobs = pick(logits, self._sampling, self._generators, self._seen)
        new_ids, scores = torch.stack([picked.double(), logprobs.double()]).tolist()
        written = []
        for row, new_id, score in zip(self.rows, new_ids, scores, strict=True):
            written.append((row, row.accept(int(new_id), score, eos_id)))
        going = [i for i, row in enumerate(self.rows) if row.finish_reason is None]
        if len(going) < len(self.rows):
            self._keep(going)
        if going:
            self._read()
        return written

    def _prefill(self) -> Tensor:
        """Read all prompts and return the logits (B, V) after each."""
        lengths = [len(row.ids) for row in self.rows]
        n_ctx = self._model.config.n_ctx
        capacity = min(n_ctx, max(len(row.ids) + row.limit for row in self.rows))
        self._cache = self._model.new_cache(len(self.rows), capacity)
        padded = torch.zeros(len(lengths), max(lengths), dtype=torch.int64)  # (B, T)
        for line, row in zip(padded, self.rows, strict=True):
            line[: len(row.ids)] = torch.tensor(row.ids)
        ends = torch.tensor(lengths, device=self._model.device)
        hidden = self._model.hidden(padded.to(self._model.device), cache=self._cache)
        self._cache.advance(ends)
        if self._sampling.repetition_penalty != 1:
            shape = len(lengths), self._model.config.vocab_size
            self._seen = torch.zeros(shape, dtype=torch.bool, device=self._model.device)
            for line, row in zip(self._seen, self.rows, strict=True):
                line[row.ids] = True
        last = hidden[torch.arange(len(lengths), device=ends.device), ends - 1]  # (B, C)
        return self._model.head(last)

    def _read(self) -> None:
        """Read the id each row has just written; the logits after it are the next step's."""
        n_ctx = self._model.config.n_ctx
        if self._cache.longest == n_ctx:
            for i, length in enumerate(self._cache.lengths.tolist()):
                if length == n_ctx:
                    self._slide(i)
        new = torch.tensor([row.ids[-1:] for row in self.rows], device=self._model.device)
        if self._seen is not None:
            self._seen.scatter_(1, new, True)
        hidden = self._model.hidden(new, cache=self._cache)
        self._cache.advance(1)
        self._logits = self._model.head(hidden[:, -1])

    def _slide(self, i: int) -> None:
        """Make room in row `i`: only the last half window stays, read again from position 0."""
        half = max(1, self._model.config.n_ctx // 2)
        window = self.rows[i].ids[-half:-1]  # the newest id is read with the other rows'
        fresh = self._model.new_cache(1, half)
        if window:
            self._model.hidden(torch.tensor([window], device=self._model.device), cache=fresh)
            fresh.advance(len(window))
        self._cache.replace(i, fresh)

    def _keep(self, going: list[int]) -> None:
        self.rows = [self.rows[i] for i in going]
        self._generators = [self._generators[i] for i in going]
        kept = torch.tensor(going, dtype=torch.int64, device=self._model.device)
        self._cache.keep(kept)
        if self._seen is not None:
            self._seen = self._seen[kept]
