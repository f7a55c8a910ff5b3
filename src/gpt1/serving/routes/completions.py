"""/v1/completions: the texts that follow prompts, whole or as they are written."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Literal

from fastapi import APIRouter, Response
from fastapi.sse import EventSourceResponse

from gpt1.config import SamplingConfig
from gpt1.generation.inside import prompt_logprobs, token_text
from gpt1.generation.request import Event, Generation, Prompt
from gpt1.generation.sampling import Alternatives
from gpt1.generation.strategies import apart, mean_logprob
from gpt1.generation.streaming import TextStreamer
from gpt1.serving.models import Served
from gpt1.serving.protocol import FAILED, Prompts, Refusal, Usage
from gpt1.serving.protocol.completions import (
    Choice,
    Completion,
    CompletionRequest,
    Completions,
    Logprobs,
)
from gpt1.serving.routes import Admitted, Service, ServiceOf
from gpt1.serving.scheduler import Job
from gpt1.text.tokenizer import Tokenizer

router = APIRouter()
PromptLogprobs = Sequence[tuple[float | None, Alternatives]]
_STREAM = {"cache-control": "no-cache", "x-accel-buffering": "no"}  # for proxies


@router.post(
    "/v1/completions",
    response_model=Completion,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def completions(body: CompletionRequest, service: ServiceOf, ticket: Admitted) -> Response:
    """Continue prompts; with `stream`, as server-sent events that end with [DONE]."""
    served, scheduler = service.find(body.model), service.scheduler
    prompts, sampling = as_list(body.prompt), body.sampling()
    several = max(sampling.best_of, sampling.num_return_sequences)
    service.check_inputs(served, prompts, "prompt")
    _check(body, sampling, service, len(prompts) * several)
    if sampling.regex is not None:
        await service.patterns.check(sampling.regex)
    seed = secrets.randbits(32) if sampling.seed is None else sampling.seed
    settings = [apart(sampling, seed + i, several) for i in range(len(prompts))]
    job, ids = await scheduler.submit(ticket, served, prompts, settings)
    service.metrics.read(served.name, sum(map(len, ids)))
    writers = []
    for i, prompt in enumerate(ids):
        read: PromptLogprobs = []
        if body.echo and body.logprobs is not None:
            read = await scheduler.call(ticket, _read, served, prompt, body.logprobs)
        for j in range(several):
            tokenizer = served.gpt.tokenizer
            writers.append(Writer(i * several + j, tokenizer, prompt, body, sampling, read))
    shell = Completion(
        id=f"cmpl-{secrets.token_hex(12)}",
        created=int(time.time()),
        model=served.name,
        seed=seed,
        choices=[],
    )
    if body.stream:
        events = _stream(job, ids, writers, shell, body)
        return EventSourceResponse(events, headers=_STREAM)
    results: dict[int, Generation] = {}
    async for step in job.steps():
        for row, event in step:
            writers[row].push(event)
            if event.generation is not None:
                results[row] = event.generation
    chosen: list[Choice] = []
    for i in range(len(prompts)):
        rows = [*range(i * several, (i + 1) * several)]
        if sampling.best_of > 1:
            rows.sort(key=lambda row: mean_logprob(results[row]), reverse=True)
        for row in rows[: sampling.num_return_sequences]:
            choice = writers[row].whole()
            chosen.append(choice.model_copy(update={"index": len(chosen)}))
    usage = _usage(ids, sum(writer.written for writer in writers))
    answer = shell.model_copy(update={"choices": chosen, "usage": usage})
    return Response(answer.model_dump_json(), media_type="application/json")


def as_list(prompts: Prompts) -> list[Prompt]:
    """Return one prompt or several as a list of texts or lists of ids."""
    if isinstance(prompts, str):
        return [prompts]
    if isinstance(prompts[0], int):
        return [prompts]
    return [*prompts]


def _check(body: Completions, sampling: SamplingConfig, service: Service, texts: int) -> None:
    """Raise Refusal for what is more than this server does for a request."""
    limits = service.settings
    if sampling.max_new_tokens > limits.max_tokens:
        message = (
            f"max_tokens is {sampling.max_new_tokens}; this server writes at most "
            f"{limits.max_tokens}."
        )
        raise Refusal(400, message, param="max_tokens")
    if texts > limits.max_texts:
        name = "n" if sampling.best_of == 1 else "best_of"
        message = f"prompts times {name} make {texts:,} texts; at most {limits.max_texts:,}."
        raise Refusal(400, message, param=name)
    if body.stream and sampling.best_of > 1:
        message = "best_of cannot be streamed: which text is best is known at the end."
        raise Refusal(400, message, param="best_of")


def _read(served: Served, ids: Sequence[int], alternatives: int) -> PromptLogprobs:
    return prompt_logprobs(served.gpt.scorer(), ids, alternatives)


def _usage(prompts: Sequence[Sequence[int]], written: int) -> Usage:
    read = sum(map(len, prompts))
    return Usage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)


async def _stream(
    job: Job,
    prompts: Sequence[Sequence[int]],
    writers: Sequence[Writer],
    shell: Completion,
    body: Completions,
) -> AsyncIterator[bytes]:
    """Yield the events of an answer, those of a step together."""
    unset = {"usage"} if not (body.stream_options and body.stream_options.include_usage) else set()
    # All that an event repeats is written once.
    before, choices, after = shell.model_dump_json(exclude=unset).partition('"choices":[')
    lines: list[str] = []

    def take(writer: Writer) -> None:
        if choice := writer.take():
            lines.append(f"data: {before}{choices}{choice.model_dump_json()}{after}\n\n")

    def taken() -> bytes:
        text = "".join(lines)
        lines.clear()
        return text.encode()

    try:
        for writer in writers:
            take(writer)
        if lines:
            yield taken()
        async for step in job.steps():
            for row, event in step:
                writers[row].push(event)
                take(writers[row])
            if lines:
                yield taken()
        if not unset:
            usage = _usage(prompts, sum(writer.written for writer in writers))
            last = shell.model_copy(update={"usage": usage})
            lines.append(f"data: {last.model_dump_json()}\n\n")
    except Refusal as refusal:
        lines.append(f"data: {refusal.answer.model_dump_json()}\n\n")
    else:
        lines.append("data: [DONE]\n\n")
    yield taken()


class Writer:
    """One text of an answer: from the events of its row to the parts of its choice.

    A token is reported as soon as what it adds to the text has been given out, so that the parts
    never name one that a stop string takes back.
    """

    def __init__(
        self,
        index: int,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        body: Completions,
        sampling: SamplingConfig,
        read: PromptLogprobs,
    ) -> None:
        self.index = index
        self.written = 0
        """How many tokens the text has, once it has ended."""
        self._tokenizer = tokenizer
        self._logprobs = body.logprobs is not None
        constrained = bool(sampling.choices or sampling.regex or sampling.force_words)
        truecase = sampling.truecase and not constrained
        self._new = TextStreamer(tokenizer, prompt, truecase=truecase)
        self._text = self._new.prompt_text if body.echo else ""
        self._before = len(self._text)
        self._given = self._before
        """How much of the text has come."""
        self._pending: deque[tuple[int, int, float | None, Alternatives]] = deque()
        """(where it begins, id, logprob, alternatives) of tokens that are not reported."""
        self._reason: Literal["stop", "length"] | None = None
        self._count = 0
        own = TextStreamer(tokenizer, (), truecase=truecase)
        for id, (logprob, alternatives) in zip(prompt, read, strict=False):
            self._pending.append((len(own.text), id, logprob, alternatives))
            own.push(id)

    def push(self, event: Event) -> None:
        """Take an event of the row. Raises Refusal if it failed."""
        if event.error:
            raise Refusal(500, FAILED, code="internal_error")
        if event.id is not None and self._logprobs:
            self._count += 1
            start = self._before + len(self._new.text)
            self._pending.append((start, event.id, event.logprob, [*event.alternatives]))
            if event.id != self._tokenizer.eos_id:
                self._new.push(event.id)
        self._text += event.piece
        self._given += len(event.piece)
        if (end := event.generation) is not None:
            if end.finish_reason == "error":
                raise Refusal(500, "the model's logits are not finite; its weights are damaged.")
            self.written = len(end.logprobs)
            for _ in range(self._count - self.written):
                self._pending.pop()
            self._reason = "length" if end.finish_reason == "length" else "stop"

    def take(self) -> Choice | None:
        """Return what is new since the last call, if anything is."""
        ready = []
        while self._pending and (self._reason or self._pending[0][0] < self._given):
            ready.append(self._pending.popleft())
        text, self._text = self._text, ""
        if not (text or ready or self._reason):
            return None
        logprobs = self._report(ready) if self._logprobs else None
        return Choice(index=self.index, text=text, logprobs=logprobs, finish_reason=self._reason)

    def whole(self) -> Choice:
        """Return the choice of a text that has ended, of which nothing was taken."""
        choice = self.take()
        assert choice is not None
        return choice

    def _report(self, tokens: Sequence[tuple[int, int, float | None, Alternatives]]) -> Logprobs:
        found = Logprobs()
        for start, id, logprob, alternatives in tokens:
            if logprob is not None and id not in [other for other, _ in alternatives]:
                alternatives = [*alternatives, (id, logprob)]
            found.tokens.append(token_text(self._tokenizer, id))
            found.token_ids.append(id)
            found.token_logprobs.append(logprob)
            texts = {token_text(self._tokenizer, other): p for other, p in alternatives}
            found.top_logprobs.append(texts or None)
            found.top_ids.append([other for other, _ in alternatives])
            found.text_offset.append(start)
        return found
