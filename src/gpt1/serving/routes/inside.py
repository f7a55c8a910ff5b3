"""What the model makes of a text: tokens, predictions, scores, its layers, and vectors."""

from __future__ import annotations

import base64
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict
from itertools import product
from typing import Any, TypeVar, cast

import numpy as np
from fastapi import APIRouter, Response
from pydantic import BaseModel

from gpt1.errors import ContextError
from gpt1.generation import embedding, explain, inside
from gpt1.generation.inside import Head
from gpt1.generation.request import Prompt, encode_prompt
from gpt1.serving.models import Served
from gpt1.serving.protocol import Refusal, Usage
from gpt1.serving.protocol.inside import (
    Candidate,
    Embedding,
    EmbeddingRequest,
    Embeddings,
    ExplainRequest,
    Explanation,
    NextTokens,
    NextTokensRequest,
    Position,
    ScoreRequest,
    Scores,
    TextScore,
    TokenizeRequest,
    TokenOfText,
    Tokens,
    Word,
)
from gpt1.serving.routes import Admitted, Service, ServiceOf
from gpt1.serving.routes.completions import as_list
from gpt1.serving.scheduler import Ticket
from gpt1.tasks.spec import Example
from gpt1.text.bpe import END, merge_steps

router = APIRouter()
TOGETHER = 8
"""The most inputs that are computed between two steps of the engines."""
S = TypeVar("S")
T = TypeVar("T")


@router.post("/v1/tokenize", response_model=Tokens)
async def tokenize(body: TokenizeRequest, service: ServiceOf, ticket: Admitted) -> Response:
    """Split a text into words, and words into tokens, merge by merge."""
    served = service.find(body.model)
    service.check_inputs(served, [body.text], "text")
    return _json(await service.scheduler.call(ticket, _tokenize, served, body.text))


@router.post("/v1/next_tokens", response_model=NextTokens)
async def next_tokens(body: NextTokensRequest, service: ServiceOf, ticket: Admitted) -> Response:
    """Return the likeliest next tokens after a prompt."""
    served = service.find(body.model)
    service.check_inputs(served, [body.prompt], "prompt")
    return _json(await service.scheduler.call(ticket, _next_tokens, served, body))


@router.post("/v1/score", response_model=Scores)
async def score(body: ScoreRequest, service: ServiceOf, ticket: Admitted) -> Response:
    """Return how likely the model finds each text."""
    served = service.find(body.model)
    texts = [body.input] if isinstance(body.input, str) else body.input
    service.check_inputs(served, texts, "input")
    scores = await in_parts(service, ticket, _score, served, texts)
    return _json(Scores(data=scores, usage=_usage(service, served, [s.ids for s in scores])))


@router.post("/v1/explain", response_model=Explanation)
async def explain_text(body: ExplainRequest, service: ServiceOf, ticket: Admitted) -> Response:
    """Return the predictions at every position, what each layer would say, and attention."""
    served = service.find(body.model)
    prompt = body.ids if body.text is None else body.text
    assert prompt is not None
    service.check_inputs(served, [prompt], "text")
    work = _explain(service, served, prompt, body)
    found: list[Explanation] = []
    while not found:
        found = await service.scheduler.call(ticket, _proceed, work)
    return _json(found[0])


@router.post("/v1/embeddings", response_model=Embeddings)
async def embeddings(body: EmbeddingRequest, service: ServiceOf, ticket: Admitted) -> Response:
    """Return a vector for each text."""
    served = service.find(body.model)
    inputs = as_list(body.input)
    service.check_inputs(served, inputs, "input")
    found = await in_parts(service, ticket, _embed, served, inputs, body)
    data = []
    for index, (_, vector) in enumerate(found):
        encoded: list[float] | str = vector.tolist()
        if body.encoding_format == "base64":
            encoded = base64.b64encode(vector.astype("<f4").tobytes()).decode()
        data.append(Embedding(index=index, embedding=encoded))
    usage = _usage(service, served, [ids for ids, _ in found])
    return _json(Embeddings(data=data, model=served.name, usage=usage))


async def in_parts(
    service: Service,
    ticket: Ticket,
    function: Callable[..., list[T]],
    served: Served,
    inputs: Sequence[S],
    *more: Any,
) -> list[T]:
    """Return what function(served, some inputs, the number of the first, ...) gives for all.

    Between two steps of the engines it gets about what one pass can read, so that streams go on.
    """
    results: list[T] = []
    for some in _parts(inputs, served.gpt.config.n_ctx):
        start = len(results)
        results += await service.scheduler.call(ticket, function, served, some, start, *more)
    return results


def _parts(inputs: Sequence[S], room: int) -> Iterator[list[S]]:
    """Yield inputs that have about `room` ids together, or a single one, and at most TOGETHER."""
    part: list[S] = []
    size = 0
    for item in inputs:
        own = _size(item)
        if part and (size + own > room or len(part) == TOGETHER):
            yield part
            part, size = [], 0
        part.append(item)
        size += own
    yield part


def _size(item: object) -> int:
    """Return about how many ids an input has: a text is taken for two characters an id."""
    if isinstance(item, Example):
        return len(item.texts) * sum(map(_size, (*item.texts, item.question)))
    if isinstance(item, str):
        return len(item) // 2
    return len(cast(Sequence[object], item))


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


def _usage(service: Service, served: Served, rows: Sequence[Sequence[int]]) -> Usage:
    read = sum(map(len, rows))
    service.metrics.read(served.name, read)
    return Usage(prompt_tokens=read, total_tokens=read)


# --- in the model thread


def _tokenize(served: Served, text: str) -> Tokens:
    encoding = served.gpt.tokenizer.encode_with_offsets(text)
    tokens, words = [], list[list[int]]()
    for i, (id, (start, end)) in enumerate(zip(encoding.ids, encoding.offsets, strict=True)):
        own = inside.token_text(served.gpt.tokenizer, id)
        raw = list(own.encode())
        tokens.append(TokenOfText(id=id, text=own, bytes=raw, start=start, end=end))
        starts_word = not i or encoding.tokens[i - 1].endswith(END) or start > tokens[i - 1].end
        words += [[]] if starts_word else []
        words[-1].append(i)
    return Tokens(
        clean=encoding.text,
        tokens=tokens,
        words=[
            Word(
                text=encoding.text[tokens[word[0]].start : tokens[word[-1]].end],
                merges=merge_steps(_symbols([encoding.tokens[i] for i in word]), served.ranks),
                tokens=[encoding.tokens[i] for i in word],
            )
            for word in words
        ],
    )


def _symbols(tokens: Sequence[str]) -> list[str]:
    """Return what merging begins with: a word's characters, the last one with its end mark."""
    symbols = []
    for token in tokens:
        letters = token.removesuffix(END)
        symbols += [token] if letters == "<unk>" else [*letters]
        if letters != token:
            symbols[-1] += END
    return symbols


def _next_tokens(served: Served, body: NextTokensRequest) -> NextTokens:
    model, tokenizer = served.gpt.transformer(), served.gpt.tokenizer
    ids = encode_prompt(tokenizer, body.prompt, served.gpt.config)
    look = inside.look_inside(model, tokenizer, ids, alternatives=min(body.k, len(tokenizer)))
    logits = look.logits.tolist() if body.logits else None
    return NextTokens(ids=ids, next=[asdict(token) for token in look.next], logits=logits)


def _score(served: Served, texts: Sequence[str], first: int) -> list[TextScore]:
    names = [f"input {i}" for i in range(first, first + len(texts))]
    scores = explain.score_texts(served.gpt.scorer(), served.gpt.tokenizer, texts, names)
    return [TextScore(**asdict(score)) for score in scores]


def _proceed(work: Generator[None, None, T]) -> list[T]:
    """Go on to the next pause; return the result, if there is one."""
    try:
        next(work)
    except StopIteration as end:
        return [end.value]
    return []


def _explain(
    service: Service, served: Served, prompt: Prompt, body: ExplainRequest
) -> Generator[None, None, Explanation]:
    model, config = served.gpt.transformer(), served.gpt.config
    ids = encode_prompt(served.gpt.tokenizer, prompt, config, "the text")
    heads: list[Head] = [*product(range(config.n_layer), range(config.n_head))]
    if body.attention != "all":
        heads = [(layer, head) for layer, head in body.attention]
    T = len(ids)
    named = T * (body.lens * (config.n_layer + 1) + body.alternatives)
    numbers = T * T * len(heads) + 4 * named  # of an id, a text, a probability, a logit
    if numbers > service.settings.max_values:
        raise Refusal(
            400,
            f"the answer would hold {numbers:,} numbers; at most {service.settings.max_values:,}. "
            f"Ask for fewer heads or alternatives, or shorten the text.",
            param="attention",
        )
    look = yield from inside.look_inside_stepwise(
        model,
        served.gpt.tokenizer,
        ids,
        heads,
        min(body.lens, config.vocab_size),
        min(body.alternatives, config.vocab_size),
    )
    attention = {}
    for (layer, head), weights in look.attention.items():
        attention[f"{layer}.{head}"] = weights.double().cpu().numpy().round(8).tolist()
        yield
    lens = []
    for of_layer in look.lens:
        lens.append((yield from _candidates(of_layer)))
    others = yield from _candidates([read.alternatives for read in look.positions])
    positions = [
        Position(**{**vars(read), "alternatives": own})
        for read, own in zip(look.positions, others, strict=True)
    ]
    return Explanation.model_construct(
        ids=ids,
        tokens=[position.text for position in look.positions],
        positions=positions,
        next=[Candidate(**vars(token)) for token in look.next],
        lens=lens,
        attention=attention,
        logits_shape=look.logits_shape,
    )


def _candidates(
    places: Sequence[Sequence[explain.NextToken]],
) -> Generator[None, None, list[list[Candidate]]]:
    """Return the candidates of each place as they are sent, with a pause every few places."""
    found = []
    for t, place in enumerate(places, 1):
        found.append([Candidate(**vars(token)) for token in place])
        if t % 64 == 0:
            yield
    return found


def _embed(
    served: Served, inputs: Sequence[Prompt], first: int, body: EmbeddingRequest
) -> list[tuple[list[int], Any]]:
    gpt = served.gpt
    rows = [
        encode_prompt(gpt.tokenizer, prompt, gpt.config, f"input {i}")
        for i, prompt in enumerate(inputs, first)
    ]
    framed = 2 * (body.pool == "extract")  # nothing is cut: the vector would be of another text
    for i, row in enumerate(rows, first):
        if len(row) + framed > gpt.config.n_ctx:
            raise ContextError(
                f"input {i} is {len(row)} ids long; the model has {gpt.config.n_ctx} positions, "
                f"of which pool={body.pool} takes {framed}. Shorten the text."
            )
    vectors = embedding.embed(
        gpt.transformer(), gpt.tokenizer, rows, pool=body.pool, layer=body.layer
    )
    return [(row, np.asarray(vector)) for row, vector in zip(rows, vectors, strict=True)]
