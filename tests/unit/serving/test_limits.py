"""Keys, hosts, sizes, headers, and clients that are slow."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

import serving
from gpt1.config import ServeConfig
from gpt1.errors import ConfigError
from gpt1.serving.limits import Keys
from gpt1.serving.models import Served
from gpt1.serving.server import check_host
from serving import Running

SECONDS = 0.6
POST = b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    limits = {"head_seconds": SECONDS, "body_seconds": 2 * SECONDS, "max_body": 2000}
    with serving.running([Served.of("tiny", serving.gpt(), slots=2)], **limits) as server:
        yield server


@pytest.fixture(scope="module")
def locked() -> Iterator[Running]:
    with serving.running([Served.of("tiny", serving.gpt(), slots=2)], ["secret-1", "ö"]) as server:
        yield server


def connect(server: Running) -> socket.socket:
    host, port = server.base_url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_a_key_opens_what_others_find_closed(locked: Running) -> None:
    right = {"authorization": "Bearer secret-1"}
    for path in ("/v1/models", "/metrics"):
        assert locked.get(path, headers=right).status_code == 200
        assert locked.get(path, headers={**right, "host": "example.com"}).status_code == 200
        for wrong in ({}, {"authorization": "Bearer secret-"}, {"authorization": "Basic secret-1"},
                      {"authorization": "secret-1"}, {"authorization": "Bearer SECRET-1"},
                      {"authorization": b"Bearer \xff"}):  # fmt: skip
            answer = locked.get(path, headers=wrong)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    other = locked.get("/v1/models", headers={"authorization": "Bearer ö".encode()})
    assert other.status_code == 200
    assert locked.post("/v1/score", {"input": "my dog"}).status_code == 401
    for path in ("/health/live", "/health/ready", "/openapi.json"):
        assert locked.get(path).status_code == 200


def test_keys_come_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys"
    file.write_text("# two\n\n one \ntwo\n")
    keys = Keys.read(str(file))
    assert len(keys) == 2
    assert keys.allow("Bearer one")
    assert not keys.allow("Bearer # two")
    assert b"one" not in repr(vars(keys)).encode()
    monkeypatch.setenv("GPT1_API_KEYS", "three, ,four")
    assert len(Keys.read(None)) == 2
    assert Keys.read(None).allow("bearer four")
    file.write_text("# none\n")
    for bad in (file, tmp_path / "missing", tmp_path):
        with pytest.raises(ConfigError, match="the key file"):
            Keys.read(str(bad))


def test_an_address_for_others_needs_a_key() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9"):
        check_host(host, Keys(()))
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.com"):
        check_host(host, Keys(["x"]))
        with pytest.raises(ConfigError, match="needs a key"):
            check_host(host, Keys(()))


def test_a_page_that_rebinds_its_name_gets_nothing(server: Running) -> None:
    for host in ("localhost", "127.0.0.1:80", "[::1]:9", "LOCALHOST"):
        assert server.get("/v1/models", headers={"host": host}).status_code == 200
    for host in ("evil.example", "localhost.evil.example:80", "", "evil:localhost"):
        assert server.get("/v1/models", headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    ("status", "path", "options"),
    [
        (413, "/v1/score", {"content": b"x" * 2001}),
        (413, "/v1/score", {"content": iter([b"x" * 1000] * 3)}),
        (415, "/v1/score", {"content": b"{}", "headers": {"content-type": "text/plain"}}),
        (415, "/v1/score", {"content": b"{}", "headers": {"content-type": ""}}),
        (405, "/v1/chat/completions", {}),
        (405, "/v1/models", {}),
    ],
    ids=range(6),
)
def test_what_is_no_request_of_ours_is_refused(
    server: Running, status: int, path: str, options: dict[str, object]
) -> None:
    headers = {"content-type": "application/json"}
    answer = server.post(path, **{"headers": headers, **options})
    assert answer.status_code == status, answer.text
    message = answer.json()["error"]["message"]
    assert message.endswith(".")
    assert ("POST /v1/completions continues a text" in message) == ("chat" in path)


def test_every_answer_has_the_headers_of_a_careful_server(server: Running) -> None:
    for path in ("/v1/models", "/nothing", "/v1/models/x"):
        headers = server.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"POST"],
        [b"GET / HTTP/1.1\r\n", *(b"a: b\r\n" for _ in range(50))],
        [POST + b"content-length: 900\r\n\r\n", *(b"x" for _ in range(50))],
        [POST + b"transfer-encoding: chunked\r\n\r\n", *(b"1\r\nx\r\n" for _ in range(50))],
        [
            b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\nGET /he",
            *(b"x" for _ in range(50)),
        ],
    ],
    ids=["nothing", "a-word", "heads", "body", "chunks", "pipelined"],
)
def test_a_slow_client_loses_its_connection(server: Running, parts: list[bytes]) -> None:
    started = time.monotonic()
    with connect(server) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except OSError:
                break
            time.sleep(0.05)
        with contextlib.suppress(ConnectionResetError):
            read_all(connection)
    assert SECONDS * 0.9 < time.monotonic() - started < 2 * SECONDS + 1.5


def test_slow_clients_do_not_hold_up_the_others(server: Running) -> None:
    slow = [connect(server) for _ in range(50)]
    for connection in slow:
        connection.sendall(POST + b"content-length: 100\r\n\r\n{")
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda _: server.post("/v1/score", {"input": "my dog"}), range(12))
        assert {answer.status_code for answer in answers} == {200}
    for connection in slow:
        assert b"408 Request Timeout" in read_all(connection)
        connection.close()


def test_two_requests_may_share_a_connection_beyond_the_deadlines(server: Running) -> None:
    with connect(server) as connection:
        for _ in range(3):
            connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
            answer = b""
            while b"live" not in answer:
                part = connection.recv(65536)
                assert part
                answer += part
            time.sleep(SECONDS * 0.8)


def test_an_answer_that_is_not_read_ends_too() -> None:
    served = Served.of("tiny", serving.gpt(), slots=32)
    with serving.running([served], write_seconds=0.5, max_texts=500, max_tokens=10**5) as server:
        body = (
            b'{"prompt": "my dog", "max_tokens": 100000, "overflow": "slide",  "n": 32,'
            b' "stream": true, "logprobs": 50}'
        )
        with connect(server) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(POST + b"content-length: %d\r\n\r\n" % len(body) + body)
            end = time.monotonic() + 20
            while not len(served.engine):
                assert time.monotonic() < end
                time.sleep(0.01)
            while len(served.engine):
                assert time.monotonic() < end
                time.sleep(0.05)


def test_the_settings_have_bounds() -> None:
    with pytest.raises(ValueError, match="queue"):
        ServeConfig(queue=0)


def test_one_connection_too_many_is_refused_as_openai_does() -> None:
    with (
        serving.running([Served.of("tiny", serving.gpt(), slots=2)], connections=2) as server,
        httpx.Client(base_url=server.base_url) as one,
        httpx.Client(base_url=server.base_url) as two,
    ):
        assert [c.get("/health/live").status_code for c in (one, two)] == [200, 200]
        refused = server.post("/v1/completions", {"prompt": "my dog"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["error"]["code"] == "too_many_connections"
        assert refused.json()["error"]["type"] == "server_error"
        assert one.get("/health/live").status_code == 200
