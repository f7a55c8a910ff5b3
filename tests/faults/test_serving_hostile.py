"""Requests that no honest client sends, and some that one does: never a fault of the server."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clients
import pytest
from clients import NOTHING, Answer, Connection, Process
from harness import long

pytest.importorskip("uvicorn")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

VALID: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "/v1/completions": lambda draw: {
        "prompt": prompt(draw),
        "max_tokens": draw.randint(0, 4),
        **dict(draw.sample(OPTIONS, draw.randint(0, 4))),
    },
    "/v1/embeddings": lambda draw: {
        "input": prompt(draw),
        "encoding_format": draw.choice(["float", "base64"]),
        "layer": draw.randint(-1, 2),
    },
    "/v1/tokenize": lambda draw: {"text": text(draw)},
    "/v1/next_tokens": lambda draw: {"prompt": text(draw), "k": draw.randint(1, 60)},
    "/v1/score": lambda draw: {"input": [text(draw) + " dog"] * draw.randint(1, 3)},
    "/v1/explain": lambda draw: {"text": text(draw), "lens": 1, "attention": [[0, 1]]},
}
OPTIONS: list[tuple[str, Any]] = [
    ("temperature", 0.7), ("temperature", 2), ("top_p", 0.5), ("top_k", 3), ("n", 2),
    ("logprobs", 3), ("echo", True), ("stream", True), ("stop", ["a", "so"]), ("stop", "."),
    ("seed", 2**63 - 1), ("seed", 0), ("logit_bias", {"3": -100, "5": 100}), ("user", None),
    ("presence_penalty", -2.0), ("best_of", None),
]  # fmt: skip
OTHERS = [
    "suffix",
    "model",
    "input",
    "\0",
    "regex",
    "choices",
    "force_words",
    "bad_words",
    "overflow",
]
WORDS = ["hello", "dog", "cute", "so", "\n", "é", "𝕏", "\u202e", "\0", "<script>", "Ω", "."]
STRANGE: list[Any] = [
    None, True, 0, -1, 1.5, 1e308, -0.0, 2**31, 2**63, 10**400, "", "1", "\ud800", "\0", "x" * 9999,
    [], [[]], [None], [-1], [2**63], [1.5], [[1, "a"]], {}, {"a": {}}, [[[[]]]], ["a", 1],
    [""] * 99, {"99": 1}, {"-1": 1}, {"0": 101}, {"x" * 30: 1}, float("nan"), float("inf"),
]  # fmt: skip
RAW: list[bytes] = [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b'"\\ud800"', b"{}" * 9, b'{"prompt": "a"', b"NaN",
    b"[" * 9999, b'{"a":' * 5000, b'{"prompt": ' + b"9" * 5000 + b"}", b"\0" * 99,
    '{"prompt": "a"}'.encode("utf-16"), b'{"prompt": "\xed\xa0\x80"}', b'{"prompt": "a", "n": NaN}',
    b'{"prompt": 1, "prompt": "a", "max_tokens": 1}', b'{"prompt": "a\x01"}',
]  # fmt: skip
PATHS = [
    "/v1/completions/", "/v1/nothing", "/v1/models/tiny", "/v1/models/none", "/v1/models/%00",
    "/%00", "/..%2f..%2fetc/passwd", "/%ff", "/" + "a" * 3000, "//", "/static/..", "/metrics",
    "/docs", "/health/ready", "/openapi.json", "/v1/completions?key=1",
    "/%2e%2e/%2e%2e/app.py", "/v1/score%0d",
]  # fmt: skip
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "BREW"]
PLANNED = {200, 307, 400, 403, 404, 405, 413, 415, 429}
BROKEN: list[bytes] = [
    b"\0", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02",
    b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 4000 + b"\r\n", b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n\0\0\0\r\n\r\n",
]  # fmt: skip
LATE = b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
"""Refused before its body, which has no type; what follows is no chunk."""


def text(draw: random.Random) -> str:
    return " ".join(["so", "cute", *(draw.choice(WORDS) for _ in range(draw.randint(0, 8)))])


def prompt(draw: random.Random) -> Any:
    return draw.choice([text(draw), [text(draw), "so"], [1, 2, 3], [[1], [2, 3]]])


def spoil(draw: random.Random, body: dict[str, Any]) -> bytes:
    """Return a body that may be wrong in a field, have one too many, or be no JSON."""
    kind = draw.randrange(4)
    if kind == 0:
        return draw.choice(RAW)
    names = [*body, *(name for name, _ in OPTIONS), *OTHERS]
    body = body | {draw.choice(names): draw.choice(STRANGE) for _ in range(draw.randint(1, 2))}
    data = bytearray(json.dumps(body).encode())
    if kind == 1:
        for _ in range(draw.randint(1, 3)):
            data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data)


def made(draw: random.Random) -> tuple[str, bytes, set[int]]:
    """Return a method, a request, and the statuses that it may have."""
    path = draw.choice([*VALID])
    body = VALID[path](draw)
    kind = draw.randrange(10)
    if kind < 4:
        return "POST", clients.request(body, path), {200}
    if kind < 8:
        return "POST", clients.request(spoil(draw, body), path), {200, 400, 404}
    method = draw.choice(METHODS)
    headers = draw.choice([{}, {"Content-Type": "text/plain"}, {"Origin": "http://a"}, {"a": "b"}])
    return method, clients.request(body, draw.choice(PATHS), method, **headers), PLANNED


def fault(method: str, answer: Answer, expected: set[int]) -> str | None:
    """Return what is wrong with an answer."""
    if answer.status not in expected:
        return "its status"
    if method == "HEAD":
        return None
    if answer.status >= 400:
        error = answer.json["error"]
        return None if {*error} == {"message", "type", "param", "code"} else "its error"
    if answer.headers.get(b"content-type") == b"application/json":
        constants: list[str] = []
        json.loads(answer.body, parse_constant=constants.append)
        return f"it holds {constants[0]}" if constants else None
    return None


@pytest.mark.parametrize("count", [800, long(20000, id="20000")])
def test_no_request_is_a_fault_of_the_server(server: Process, count: int) -> None:
    outcomes: Counter[int] = Counter()
    faults: list[tuple[str, bytes, Answer]] = []

    async def client(number: int) -> None:
        draw = random.Random(number)
        connection = await Connection.open(server.port)
        for _ in range(count // 10):
            if not connection.is_open:
                await connection.close()
                connection = await Connection.open(server.port)
            method, data, expected = made(draw)
            answer = await connection.ask(data, method)
            outcomes[answer.status] += 1
            if wrong := fault(method, answer, expected):
                faults.append((wrong, data[:2000], answer))
        await connection.close()

    async def all_at_once() -> None:
        await asyncio.gather(*map(client, range(10)))

    before = server.log.count("\n")
    asyncio.run(all_at_once())
    print(dict(outcomes), server.log.count("\n") - before, "lines of the log")
    assert not faults, faults[:5]
    assert outcomes[200] > 0.4 * count
    assert outcomes[400] > 0.1 * count
    assert "Traceback" not in server.log, server.log
    assert server.settled() == NOTHING | {"tasks": 0}


def test_bytes_that_are_no_request_end_their_connection_only(server: Process) -> None:
    async def send(*parts: bytes) -> bytes:
        connection = await Connection.open(server.port)
        for part in parts:
            connection.writer.write(part)
            await asyncio.sleep(0.05)
        connection.writer.write_eof()
        return await connection.ended()

    async def all_at_once() -> list[bytes]:
        sent = [send(data) for data in BROKEN] + [send(LATE, b"zz\r\n"), send(LATE, b"-1\r\n\0")]
        return await asyncio.gather(*sent)

    for said in asyncio.run(all_at_once()):
        print(said[:60])
        statuses = [int(part.split()[0]) for part in said.split(b"HTTP/1.1 ")[1:]]
        assert all(status < 500 for status in statuses), said
    assert "Traceback" not in server.log, server.log
    assert server.settled() == NOTHING | {"tasks": 0}


@pytest.mark.parametrize("examples", [pytest.param(2, marks=pytest.mark.slow), long(40, id="40")])
def test_schemathesis_finds_no_fault(server: Process, tmp_path: Path, examples: int) -> None:
    """Its requests come from the OpenAPI page, valid and invalid."""
    pytest.importorskip("schemathesis")
    command = [sys.executable, "-m", "schemathesis.cli", "run"]
    command += [f"http://127.0.0.1:{server.port}/openapi.json", "--checks", "not_a_server_error"]
    command += [
        "--max-examples",
        str(examples),
        "--seed",
        "1",
        "--phases",
        "examples,coverage,fuzzing",
    ]
    found = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
    print(found.stdout[-1500:])
    assert found.returncode == 0, found.stdout[-5000:] + found.stderr[-2000:]
    assert "Traceback" not in server.log, server.log
    assert server.settled() == NOTHING | {"tasks": 0}
