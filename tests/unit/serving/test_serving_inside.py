"""What the endpoints say of a text is what the model computes, to 1e-6."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from openai import OpenAI

import serving
from gpt1.pipeline import GPT1
from gpt1.serving.models import Served
from serving import Running

TEXT = "my dog is cute"
EXACT = {"abs": 1e-6, "rel": 0}


@pytest.fixture(scope="module")
def gpt() -> GPT1:
    return serving.gpt()


@pytest.fixture(scope="module")
def server(gpt: GPT1) -> Iterator[Running]:
    with serving.running([Served.of("tiny", gpt, slots=2)], max_values=2000) as server:
        yield server


def ask(server: Running, path: str, **body: Any) -> Any:
    answer = server.post(path, body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_explain_says_what_the_model_computes(server: Running, gpt: GPT1) -> None:
    found = ask(server, "/v1/explain", text=TEXT, attention="all", lens=3, alternatives=4)
    ids = gpt.tokenizer.encode(TEXT)
    with torch.no_grad():
        output = gpt.model(torch.tensor([ids]), output_hidden_states=True, output_attentions=True)
        tied = gpt.model.tokens.weight.detach().T
    logits = output.logits[0]
    T, V = logits.shape
    assert found["ids"] == ids
    assert found["logits_shape"] == [1, T, V]
    logprobs = logits.log_softmax(-1)
    for t, position in enumerate(found["positions"]):
        assert position["id"] == ids[t]
        if t == 0:
            assert position["logprob"] is position["rank"] is None
            assert position["alternatives"] == []
            continue
        assert position["logprob"] == pytest.approx(float(logprobs[t - 1, ids[t]]), **EXACT)
        order = logits[t - 1].argsort(descending=True).tolist()
        assert order[position["rank"] - 1] == ids[t]
        assert [a["id"] for a in position["alternatives"]] == order[:4]
        for a in position["alternatives"]:
            assert a["logit"] == pytest.approx(float(logits[t - 1, a["id"]]), **EXACT)
            assert a["probability"] == pytest.approx(float(logprobs[t - 1, a["id"]].exp()), **EXACT)
    assert [a["id"] for a in found["next"]] == logits[-1].topk(4).indices.tolist()
    assert len(found["lens"]) == gpt.config.n_layer + 1
    for layer, states in zip(found["lens"], output.hidden_states, strict=True):
        p = (states[0] @ tied).softmax(-1)
        for t, place in enumerate(layer):
            assert [a["id"] for a in place] == p[t].topk(3).indices.tolist()
            assert [a["probability"] for a in place] == pytest.approx(
                p[t].topk(3).values.tolist(), **EXACT
            )
    assert len(found["attention"]) == gpt.config.n_layer * gpt.config.n_head
    for name, weights in found["attention"].items():
        layer, head = map(int, name.split("."))
        np.testing.assert_allclose(
            weights, output.attentions[layer][0, head].detach().numpy(), atol=1e-6, rtol=0
        )
    some = ask(server, "/v1/explain", ids=ids, attention=[[1, 0]], alternatives=0)
    assert some["attention"] == {"1.0": found["attention"]["1.0"]}
    assert some["lens"] == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"text": TEXT, "ids": [1]}, "text or ids"),
        ({}, "text or ids"),
        ({"text": TEXT, "attention": [[2, 0]]}, "layers 0 to 1"),
        ({"text": TEXT, "attention": [[0]]}, "attention"),
        ({"ids": [1] * 60, "attention": "all"}, "numbers; at most 2,000"),
        ({"ids": [50]}, "the id 50"),
        ({"ids": [1] * 65}, "65 ids long; the model has 64 positions"),
        ({"text": "a" * 5000}, "5,000 characters"),
    ],
)
def test_what_cannot_be_explained_is_refused(
    server: Running, body: dict[str, Any], words: str
) -> None:
    answer = server.post("/v1/explain", body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_scores_and_next_tokens_are_the_models(server: Running, gpt: GPT1) -> None:
    texts = [TEXT, "i ' m so cute ."] * 5
    found = ask(server, "/v1/score", input=texts)
    for score, text in zip(found["data"], texts, strict=True):
        expected = gpt.score(text)
        assert score["ids"] == expected.ids
        assert score["logprobs"] == pytest.approx(expected.logprobs, **EXACT)
        assert score["perplexity"] == pytest.approx(expected.perplexity, rel=1e-6)
    assert found["usage"]["prompt_tokens"] == sum(len(s["ids"]) for s in found["data"])
    following = ask(server, "/v1/next_tokens", prompt="my dog", k=3)
    expected = gpt.next_tokens("my dog", k=3)
    assert [token["id"] for token in following["next"]] == [token.id for token in expected]
    for token, own in zip(following["next"], expected, strict=True):
        assert token["probability"] == pytest.approx(own.probability, **EXACT)


def test_a_text_is_split_as_the_tokenizer_does(server: Running, gpt: GPT1) -> None:
    text = "My dog's cute ☕!"
    found = ask(server, "/v1/tokenize", text=text)
    encoding = gpt.tokenizer.encode_with_offsets(text)
    assert [token["id"] for token in found["tokens"]] == encoding.ids
    assert [(token["start"], token["end"]) for token in found["tokens"]] == encoding.offsets
    assert found["clean"] == encoding.text
    assert [token for word in found["words"] for token in word["tokens"]] == encoding.tokens
    merges = gpt.tokenizer.vocabulary.merges
    for word in found["words"]:
        assert "".join(word["text"].split()) == word["text"]
        for left, right, rank in word["merges"]:
            assert tuple(merges[rank]) == (left, right)
        made = {left + right for left, right, _ in word["merges"]}
        letters = {token for token in word["tokens"] if len(token.removesuffix("</w>")) > 1}
        assert letters - {"<unk>"} <= made
    assert ask(server, "/v1/tokenize", text="")["tokens"] == []


def test_vectors_are_those_of_embed(server: Running, gpt: GPT1) -> None:
    texts = [TEXT, "so", "i ' m"] * 4
    with OpenAI(base_url=f"{server.base_url}/v1", api_key="none") as client:  # asks for base64
        answer = client.embeddings.create(model="tiny", input=texts)
    found = np.array([item.embedding for item in answer.data], np.float32)
    np.testing.assert_allclose(found, gpt.embed(texts), atol=1e-6, rtol=0)
    raw = ask(server, "/v1/embeddings", input=gpt.tokenizer.encode(TEXT), pool="last", layer=1)
    np.testing.assert_allclose(
        raw["data"][0]["embedding"], gpt.embed([TEXT], pool="last", layer=1)[0], atol=1e-6, rtol=0
    )
    packed = ask(server, "/v1/embeddings", input=TEXT, encoding_format="base64")
    decoded = np.frombuffer(base64.b64decode(packed["data"][0]["embedding"]), "<f4")
    np.testing.assert_allclose(decoded, found[0], atol=1e-6, rtol=0)
    for body, word in [
        ({"input": TEXT, "dimensions": 8}, "dimensions"),
        ({"input": [[1] * 65]}, "positions"),
        ({"input": TEXT, "pool": "extract"}, "fine-tuned"),
        ({"input": TEXT, "layer": 7}, "layer is 7"),
        ({"input": [TEXT] * 65}, "65 items"),
    ]:
        refused = server.post("/v1/embeddings", body)
        assert (refused.status_code, word in refused.text) == (400, True), refused.text


@pytest.mark.parametrize(
    ("path", "body", "least"),
    [
        ("/v1/score", {"input": [" ".join([TEXT] * 5)] * 6}, 6),
        ("/v1/embeddings", {"input": [[1] * 64] * 6}, 6),
        ("/v1/score", {"input": [TEXT] * 16}, 2),
        ("/v1/explain", {"ids": [1] * 64, "lens": 2, "attention": [[0, 0], [1, 1]]}, 7),
    ],
)
def test_a_large_call_is_made_in_parts_between_steps(
    gpt: GPT1, path: str, body: dict[str, Any], least: int
) -> None:
    """While a text is written, there is a step of the engine after every part of a call."""
    served = Served.of("tiny", gpt, slots=2)
    with serving.running([served]) as server, ThreadPoolExecutor(1) as pool:
        scheduler = server.app.state.service.scheduler
        log: list[str] = []
        step, work = served.engine.step, scheduler._work

        def logged(name: str, function: Any) -> Any:
            return lambda *arguments: (log.append(name), function(*arguments))[1]

        served.engine.step = logged("step", step)  # type: ignore[method-assign]
        scheduler._work = logged("part", work)
        long = {"prompt": "my dog", "max_tokens": 4000, "overflow": "slide", "stream": True}
        url = f"{server.base_url}/v1/completions"
        with httpx.stream("POST", url, json=long) as stream:
            lines = stream.iter_lines()
            next(lines)
            answer = pool.submit(server.post, path, body).result(30)
        assert answer.status_code == 200
        assert log.count("part") >= least
        assert "part part" not in " ".join(log)
