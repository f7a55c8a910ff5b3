"""/v1/completions with OpenAI's own client: the texts are those of GPT1.generate."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

import serving
from gpt1.pipeline import GPT1
from gpt1.serving.models import Served
from serving import Running


@pytest.fixture(scope="module")
def gpt() -> GPT1:
    return serving.gpt()


@pytest.fixture(scope="module")
def server(gpt: GPT1) -> Iterator[Running]:
    with serving.running([Served.of("tiny", gpt, slots=8)]) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def write(client: OpenAI, prompt: Any = "my dog", **options: Any) -> Any:
    ours = {n: options.pop(n) for n in ("top_k", "min_p", "truecase", "choices") if n in options}
    return client.completions.create(model="tiny", prompt=prompt, extra_body=ours, **options)


SETTINGS: list[dict[str, Any]] = [
    {"temperature": 0.0, "max_tokens": 20},
    {"temperature": 1.0, "seed": 3, "max_tokens": 20},
    {"temperature": 0.8, "seed": 4, "top_k": 5, "max_tokens": 12, "stop": ["cute"]},
    {"temperature": 1.0, "seed": 5, "min_p": 0.1, "frequency_penalty": 1.0, "truecase": True},
    {"temperature": 0.0, "presence_penalty": 2.0, "logit_bias": {"3": -100, "7": 5}},
    {"temperature": 1.0, "seed": 6, "choices": ["is cute", "so so"]},
]


def own(options: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of GPT1.generate that options of the interface stand for."""
    settings = {"max_tokens": 16, **options}
    settings["max_new_tokens"] = settings.pop("max_tokens")
    if "logit_bias" in settings:
        settings["logit_bias"] = {int(id): b for id, b in settings["logit_bias"].items()}
    return settings


@pytest.mark.parametrize("options", SETTINGS, ids=range(len(SETTINGS)))
def test_texts_are_those_of_generate(client: OpenAI, gpt: GPT1, options: dict[str, Any]) -> None:
    expected = gpt.generate("my dog", **own(options))
    answer = write(client, **options)
    assert answer.choices[0].text == expected.completion
    assert answer.choices[0].finish_reason == (
        "length" if expected.finish_reason == "length" else "stop"
    )
    assert answer.usage.prompt_tokens == len(expected.ids) - len(expected.logprobs)
    assert answer.usage.completion_tokens == len(expected.logprobs)
    pieces = [*write(client, stream=True, stream_options={"include_usage": True}, **options)]
    assert "".join(c.text for p in pieces for c in p.choices) == expected.completion
    assert pieces[-1].usage == answer.usage
    assert [p.usage for p in pieces[:-1]] == [None] * (len(pieces) - 1)


def test_sixteen_at_once_are_as_each_alone(client: OpenAI, gpt: GPT1) -> None:
    def text(seed: int) -> str:
        options = {"seed": seed, "max_tokens": 4 + 2 * seed, "temperature": seed % 4 / 2}
        if seed % 2:
            return write(client, **options).choices[0].text
        return "".join(p.choices[0].text for p in write(client, stream=True, **options))

    with ThreadPoolExecutor(16) as pool:
        texts = [*pool.map(text, range(16))]
    assert texts == [
        gpt.generate("my dog", seed=i, max_new_tokens=4 + 2 * i, temperature=i % 4 / 2).completion
        for i in range(16)
    ]


def test_several_prompts_and_texts_have_pythons_seeds(client: OpenAI, gpt: GPT1) -> None:
    ids = gpt.tokenizer.encode("my dog")
    answer = write(client, ["my dog", "i ' m"], n=2, best_of=3, seed=9, max_tokens=6)
    expected = gpt.generate(
        ["my dog", "i ' m"], num_return_sequences=2, best_of=3, seed=9, max_new_tokens=6,
        temperature=1.0,
    )  # fmt: skip
    texts = [t.completion for e in expected for t in (e, *e.others)]
    assert [(c.index, c.text) for c in answer.choices] == [*enumerate(texts)]
    streamed = ["", ""]
    for piece in write(client, [ids], n=2, seed=9, max_tokens=6, stream=True):
        streamed[piece.choices[0].index] += piece.choices[0].text
    two = gpt.generate("my dog", num_return_sequences=2, seed=9, max_new_tokens=6, temperature=1.0)
    assert streamed == [two.completion, two.others[0].completion]
    assert write(client, ids, seed=9).choices[0].text == write(client, seed=9).choices[0].text


@pytest.mark.parametrize("stop", [None, "cute"])
def test_logprobs_are_the_models(client: OpenAI, gpt: GPT1, stop: str | None) -> None:
    options: dict[str, Any] = {"seed": 21, "temperature": 1.2, "max_tokens": 30, "stop": stop}
    expected = gpt.generate("my dog", alternatives=3, **own(options))
    whole = write(client, logprobs=3, **options).choices[0]
    found = whole.logprobs
    assert found.token_ids == expected.ids[-len(expected.logprobs) :]
    assert found.token_logprobs == pytest.approx(expected.logprobs, abs=1e-6)
    for i, alternatives in enumerate(expected.alternatives):
        assert found.top_ids[i][:3] == [id for id, _ in alternatives]
        assert found.tokens[i] in found.top_logprobs[i]
    kept = len(found.tokens) - bool(stop)  # of the last one, the stop string takes a part
    for token, start in zip(found.tokens[:kept], found.text_offset, strict=False):
        near = whole.text[start : start + len(token) + 4]  # a clean-up may hold some letters back
        assert token.strip() in near
    parts = [p.choices[0].logprobs for p in write(client, logprobs=3, stream=True, **options)]
    for name in ("tokens", "token_logprobs", "text_offset", "top_logprobs"):
        assert [x for part in parts for x in getattr(part, name)] == getattr(found, name)


def test_an_echo_has_the_prompts_logprobs(client: OpenAI, gpt: GPT1) -> None:
    score = gpt.score("my dog is cute")
    for stream in (False, True):
        answer = write(client, "my dog is cute", echo=True, logprobs=0, max_tokens=0, stream=stream)
        choice = (next(iter(answer)) if stream else answer).choices[0]
        assert choice.text == "my dog is cute"
        assert choice.logprobs.token_logprobs[0] is None
        assert choice.logprobs.token_logprobs[1:] == pytest.approx(score.logprobs, abs=1e-5)
        assert choice.logprobs.text_offset[0] == 0
    longer = write(client, echo=True, temperature=0.0, max_tokens=5).choices[0].text
    assert longer == gpt.generate("my dog", max_new_tokens=5).text


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("suffix", {"suffix": "x"}),
        ("user", {"user": "x"}),
        ("num_beams", {"extra_body": {"num_beams": 2}}),
        ("best_of", {"best_of": 2, "stream": True}),
        ("max_tokens", {"max_tokens": 5000}),
        ("best_of", {"best_of": 200}),
        ("n", {"n": 2, "temperature": 0}),
        ("logprobs", {"logprobs": 101}),
        ("prompt", {"prompt": []}),
        ("stream_options", {"stream_options": {"x": 1}, "stream": True}),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused_by_name(
    client: OpenAI, field: str, options: dict[str, Any]
) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.completions.create(**{"model": "tiny", "prompt": "my dog", **options})
    assert caught.value.param == field
    assert field in caught.value.message


def test_other_names_of_models_are_not_found(client: OpenAI) -> None:
    with pytest.raises(NotFoundError, match="there is no model 'other'; this server has tiny"):
        client.completions.create(model="other", prompt="x")
    assert client.models.retrieve("tiny").id == client.models.list().data[0].id == "tiny"
