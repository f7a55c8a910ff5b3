"""Every sampling field x what people send by mistake, over HTTP, from the one table of bounds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

import serving
from gpt1.config import SamplingConfig
from gpt1.serving.models import Served
from gpt1.serving.protocol.completions import FIELDS, MOST_LOGPROBS, CompletionRequest
from serving import Running

VALUES = [math.nan, math.inf, -0.0, -1, 1e308, True, "1", None, 2**64]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serving.running([Served.of("tiny", serving.gpt(), slots=2)]) as server:
        yield server


def is_allowed(name: str, value: Any) -> bool:
    """Tell whether SamplingConfig takes a value; null means that it is not given."""
    if value is None or (name == "stop" and value == "1"):
        return True
    if name == "logprobs" and isinstance(value, int) and value > MOST_LOGPROBS:
        return False
    try:
        SamplingConfig(**{{**FIELDS, "logprobs": "alternatives"}[name]: value})
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", [*FIELDS, "logprobs"])
def test_a_field_is_taken_or_named(server: Running, name: str) -> None:
    for value in VALUES:
        body = json.dumps({"prompt": "my dog", "max_tokens": 1, name: value})
        answer = server.post(
            "/v1/completions", content=body, headers={"content-type": "application/json"}
        )
        if name == "regex" and value == "1":
            assert answer.status_code in (200, 400)  # whether the vocabulary has a 1
        elif is_allowed(name, value):
            assert answer.status_code == 200, (value, answer.text)
        else:
            error = answer.json()["error"]
            assert (answer.status_code, error["param"]) == (400, name), (value, error)
            assert name in error["message"]
            assert "should be" in error["message"]


def test_the_description_has_the_bounds_of_the_table() -> None:
    described = CompletionRequest.model_json_schema()["properties"]
    assert described["temperature"]["maximum"] == 1e4
    assert described["temperature"]["default"] == 1.0
    assert described["max_tokens"]["default"] == 16
    for name, own in FIELDS.items():
        assert described[name]["description"] == SamplingConfig.model_fields[own].description


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"7", b'"x"', b"{}", b"\xff\xfe", b"[" * 100_000,
        b'{"prompt": ' + b'{"a":' * 50_000, b'{"prompt": "\\ud800"}', b'{"\\ud800": 1}',
        b'{"prompt": ' + b"9" * 5000 + b"}", b'{"prompt": [NaN]}', b'{"prompt": [1, true]}',
        b'{"prompt": "x", "logit_bias": {"\\u0663": 1}}',
        b'{"prompt": "x", "logit_bias": {"99": 1}}',
        b'{"prompt": "x", "logit_bias": {"1": NaN}}', b'{"prompt": "\\u0000"}',
        b'{"prompt": "x", "choices": [""]}', b'{"prompt": "x", "regex": "("}',
        b'{"prompt": "x", "regex": "(a|b)*a(a|b){20}"}', b'{"prompt": "x", "model": 1}',
        b'{"prompt": [[]]}', b'{"prompt": ["", "x"]}', b'{"prompt": {"a": 1}}',
    ],
    ids=range(26),
)  # fmt: skip
def test_a_broken_body_is_a_clean_400(server: Running, body: bytes) -> None:
    answer = server.post(
        "/v1/completions", content=body, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, "Traceback" in answer.text) == (400, False), answer.text[:300]
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert 10 < len(error["message"]) < 400
    answer.text.encode()
