"""Other ways to choose a text: beams, contrastive search, drafts that the model checks.

They stand on the backend's `prefill`, `extend` and `decode`, one prompt at a time, and on the same
`Request` as the engine: limits, processors, constraints and stop strings hold in each of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gpt1.config import SamplingConfig
from gpt1.generation.backend import Backend
from gpt1.generation.request import Event, FinishReason, Generation, Request, Step, choose
from gpt1.generation.sampling import BLOCKED, FAILED, likeliest
from gpt1.model.padding import pad_right

Draft = Callable[[list[int], int], list[int]]
"""Guesses at most so many ids that follow a text."""


# --- beams


@dataclass
class _Beam:
    """An unfinished text, with the sum of its ids' scores and the row that it goes on from."""

    score: float
    request: Request
    parent: int


@dataclass
class _Group:
    """Beams that compete with each other, and the best texts that have ended."""

    width: int
    beams: list[_Beam]
    ended: list[tuple[float, Request]] = field(default_factory=list)

    def end(self, request: Request, score: float, reason: FinishReason | None = None) -> None:
        """Keep a text that ends here, if it is among the best."""
        if reason:
            request.finish(reason)
        length = max(1, len(request.logprobs))
        self.ended.append((score / length**request.sampling.length_penalty, request))
        self.ended = sorted(self.ended, key=lambda pair: -pair[0])[: self.width]

    def is_done(self) -> bool:
        """Tell whether no running beam can, or need, do better (transformers' early_stopping)."""
        if not self.beams or len(self.ended) < self.width:
            return not self.beams
        best, settings = self.beams[0], self.beams[0].request.sampling
        if settings.early_stopping is True:
            return True
        longest = settings.early_stopping == "never" and settings.length_penalty > 0
        length = best.request.limit if longest else len(best.request.logprobs)
        return bool(best.score / length**settings.length_penalty <= self.ended[-1][0])


def beam_search(backend: Backend, request: Request) -> list[Generation]:
    """Return the num_return_sequences best texts, the best first.

    A text's score is the sum of its ids' log-probabilities, as the processors change them, over
    length ** length_penalty, as in transformers. With num_beam_groups, each group loses
    diversity_penalty for every group before it that chose the same id (Vijayakumar et al. 2018).
    """
    settings = request.sampling
    width = settings.num_beams // settings.num_beam_groups
    groups = [
        _Group(width, [_Beam(0.0, request.fork(), 0)]) for _ in range(settings.num_beam_groups)
    ]
    cache = backend.new_cache(settings.num_beams + 1, len(request.ids) + request.limit)
    ids, lengths = pad_right([request.ids])
    logits = backend.prefill(ids, lengths, cache, slice(0, 1)).expand(len(groups), -1)
    while True:
        chosen: Counter[int] = Counter()
        start = 0
        for group in groups:
            rows = logits[start : start + len(group.beams)]
            start += len(group.beams)
            _advance(group, rows, chosen)
        if all(group.is_done() for group in groups):
            break
        for group in groups:
            if group.is_done():
                group.beams = []
        beams = [beam for group in groups for beam in group.beams]
        _reorder(cache, [beam.parent for beam in beams], settings.num_beams)
        for row, beam in enumerate(beams):
            beam.parent = row
        newest = torch.tensor([beam.request.ids[-1] for beam in beams])
        logits = backend.decode(newest, cache, slice(0, len(beams)))
    ended = sorted((pair for group in groups for pair in group.ended), key=lambda pair: -pair[0])
    return [found.result() for _, found in ended[: settings.num_return_sequences]]


def _advance(group: _Group, logits: Tensor, chosen: Counter[int]) -> None:
    """Extend the beams of a group by one id; `chosen` counts the ids of the groups before."""
    scores = []
    for beam, row in zip(group.beams, logits, strict=True):
        request = beam.request
        processed = request.process(row.log_softmax(-1))
        if request.constraint and not request.constraint.distance(request.state):
            group.end(request.fork(), beam.score, "constraint")
            allowed = request.constraint.allowed(request.state, request.room).to(row.device)
            processed = processed.masked_fill(~allowed, -torch.inf)
        elif not row.amax().isfinite():
            group.end(request.fork(), -torch.inf, "error")
            processed = torch.full_like(row, -torch.inf)
        elif processed.amax().isneginf():
            group.end(request.fork(), beam.score, "blocked")
        scores.append(beam.score + processed.double())
    beams, group.beams = group.beams, []
    if not scores:
        return
    V = logits.shape[-1]
    total = torch.cat(scores)
    for i, count in list(chosen.items()):
        total[i::V] -= count * beams[0].request.sampling.diversity_penalty
    best = total.topk(min(2 * group.width, len(total)))
    for rank, (score, place) in enumerate(zip(*map(Tensor.tolist, best), strict=True)):
        if score == -torch.inf or len(group.beams) == group.width:
            break
        row, new_id = divmod(int(place), V)
        request = beams[row].request.fork()
        own = logits[row]
        logprob = float(own[new_id] - own.logsumexp(-1))
        request.take(Step(new_id, logprob, likeliest(own, request.sampling.alternatives)))
        if rank < group.width or not request.finish_reason:
            chosen[new_id] += 1
        if not request.finish_reason:
            group.beams.append(_Beam(score, request, beams[row].parent))
        elif rank < group.width:
            group.end(request, score)


def _reorder(cache: Any, parents: Sequence[int], spare: int) -> None:
    """Let slot i hold what slot parents[i] held."""
    pending = {target: source for target, source in enumerate(parents) if target != source}
    while pending:
        free = next((target for target in pending if target not in pending.values()), None)
        if free is not None:
            cache.move(pending.pop(free), free)
            continue
        kept = next(iter(pending))  # a circle: one of it goes aside
        cache.move(kept, spare)
        pending = {t: spare if source == kept else source for t, source in pending.items()}


# --- contrastive search


def contrastive_search(backend: Backend, request: Request) -> Iterator[Event]:
    """Choose likely ids whose states differ from all before (Su et al. 2022).

    Of the top_k likeliest ids, takes the one with the largest (1 - penalty_alpha) * probability -
    penalty_alpha * (largest cosine of its state with those of the text).
    """
    alpha, k = request.sampling.penalty_alpha or 0.0, request.sampling.top_k or 1
    k = min(k, backend.config.vocab_size)
    cache = backend.new_cache(k, len(request.ids) + request.limit)
    ids, lengths = pad_right([request.ids])
    states = backend.extend(ids, lengths, cache, slice(0, 1))[0]  # (T, C)
    logits = backend.logits(states[-1:])[0]
    known = F.normalize(states.double(), dim=-1)
    while not request.finish_reason:
        others = likeliest(logits, request.sampling.alternatives)
        processed = request.process(logits)
        best = processed.softmax(-1).topk(k)
        if not logits.amax().isfinite() or processed.amax().isneginf():
            yield request.take(
                Step(FAILED if not logits.amax().isfinite() else BLOCKED, 0.0, others)
            )
            return
        for slot in range(1, k):
            cache.move(0, slot)
        read = torch.ones(k, dtype=torch.int64)
        found = backend.extend(best.indices[:, None].cpu(), read, cache, slice(0, k))  # (k, 1, C)
        after = F.normalize(found[:, 0].double(), dim=-1)
        alike = (after @ known.T).amax(-1)
        scores = (1 - alpha) * best.values.double() - alpha * alike
        chosen = int(scores.masked_fill(best.values == 0, -torch.inf).argmax())
        new_id = int(best.indices[chosen])
        logprob = float(logits[new_id] - logits.logsumexp(-1))
        if chosen:
            cache.move(chosen, 0)
        yield request.take(Step(new_id, logprob, others))
        known = torch.cat([known, after[chosen : chosen + 1]])
        logits = backend.logits(found[chosen])[0]


# --- speculative decoding


def speculate(backend: Backend, request: Request, draft: Draft, count: int) -> Iterator[Event]:
    """Read up to `count` guessed ids at once, and keep those that the model writes anyway.

    Every id is chosen from the model's own logits by the request's own draw, so the text is that of
    plain decoding, greedy or with a seed.
    """
    n_ctx = backend.config.n_ctx
    cache = backend.new_cache(1, min(len(request.ids) + request.limit, n_ctx))
    ids, lengths = pad_right([request.ids])
    event = request.take(choose([request], backend.prefill(ids, lengths, cache, slice(0, 1)))[0])
    yield event
    while not request.finish_reason:
        guesses = draft(request.ids, min(count, request.room - 1))
        ids, lengths = pad_right([[request.ids[-1], *guesses]])
        logits = backend.logits(backend.extend(ids, lengths, cache, slice(0, 1)))[0]
        for row, guess in zip(logits, [*guesses, None], strict=True):
            event = request.take(choose([request], row[None])[0])
            yield event
            if request.finish_reason:
                return
            if event.id != guess:
                break
        cache.truncate(0, len(request.ids) - 1)


def look_up(ids: list[int], count: int) -> list[int]:
    """Guess that what followed the last two ids (or one) before follows again.

    >>> look_up([7, 8, 9, 1, 7, 8], 2)
    [9, 1]
    """
    for size in (2, 1):
        last = ids[-size:]
        for start in range(len(ids) - size - 1, -1, -1):
            if ids[start : start + size] == last:
                return ids[start + size : start + size + count]
    return []


class Assistant:
    """Guesses with a smaller model of the same vocabulary."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._cache = backend.new_cache(1, backend.config.n_ctx)
        self._read: list[int] = []

    def draft(self, ids: list[int], count: int) -> list[int]:
        """Return the ids that the small model writes greedily."""
        guesses: list[int] = []
        count = min(count, self._backend.config.n_ctx - len(ids))
        for _ in range(count):
            text = [*ids, *guesses]
            same = 0
            while same < min(len(self._read), len(text) - 1) and self._read[same] == text[same]:
                same += 1
            self._cache.truncate(0, same)
            new, lengths = pad_right([text[same:]])
            states = self._backend.extend(new, lengths, self._cache, slice(0, 1))
            self._read = text
            guesses.append(int(self._backend.logits(states[:, -1]).argmax()))
        return guesses


# --- several texts of a prompt

APART = 1_000_003
"""Between the seeds of a prompt's texts, so that they are not the next prompts'."""


def apart(sampling: SamplingConfig, seed: int, count: int) -> list[SamplingConfig]:
    """Return the settings of each of `count` texts of a prompt, with seeds of their own."""
    one = {"best_of": 1, "num_return_sequences": 1}
    seeds = [(seed + j * APART) % 2**63 for j in range(count)]
    return [sampling.model_copy(update={"seed": own, **one}) for own in seeds]


def best_of(results: Sequence[Generation], count: int, *, ranked: bool) -> Generation:
    """Return one text with `others`, `count` in all, by mean log-probability if `ranked`."""
    if ranked:
        results = sorted(results, key=mean_logprob, reverse=True)
    return replace(results[0], others=list(results[1:count]))


def mean_logprob(generation: Generation) -> float:
    """Return what `best_of` ranks texts by; -inf for one without ids, or with an error."""
    failed = generation.finish_reason == "error" or not generation.logprobs
    return -math.inf if failed else sum(generation.logprobs) / len(generation.logprobs)


def is_plain(sampling: SamplingConfig) -> bool:
    """Tell whether the engine's slots do it; an assistant is not among the settings."""
    drafts = sampling.prompt_lookup_num_tokens
    return sampling.num_beams == 1 and sampling.penalty_alpha is None and drafts is None


@torch.inference_mode()
def run(
    backend: Backend, requests: Sequence[Request], assistant: Backend | None
) -> Iterator[Event]:
    """Yield the events of requests, one after another, by the strategy that each asks for."""
    for request in requests:
        yield from _run(backend, request, assistant)


def _run(backend: Backend, request: Request, assistant: Backend | None) -> Iterator[Event]:
    settings = request.sampling
    if request.finish_reason:
        return iter([Event(request.number, generation=request.result())])
    if settings.num_beams > 1:
        return _as_event(backend, request)
    if settings.penalty_alpha is not None:
        return contrastive_search(backend, request)
    if assistant is not None:
        return speculate(
            backend, request, Assistant(assistant).draft, settings.num_assistant_tokens
        )
    return speculate(backend, request, look_up, settings.prompt_lookup_num_tokens or 1)


def _as_event(backend: Backend, request: Request) -> Iterator[Event]:
    found = beam_search(backend, request)
    result = best_of(found, len(found), ranked=False)
    yield Event(request.number, piece=result.completion, generation=result)
