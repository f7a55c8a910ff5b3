"""Whatever answers in the hub's place: one error with the remedy, in time, nothing outside."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from gpt1.checkpoint import hub
from gpt1.errors import HubError
from gpt1.storage import transfer
from hub import QuietHandler

COMMIT = "c" * 40
FILES = {"config.json": b"{}", "model.safetensors": b"weights"}
Step = Callable[["Handler"], None]


class Handler(QuietHandler):
    """Answer as a hub would, but for the step that a case replaces."""

    steps: dict[str, Step]

    def answer(self) -> None:
        step = "list" if self.path.startswith("/api/") else self.command.lower()
        try:
            self.steps.get(step, type(self).usual)(self)
        except OSError:
            self.close_connection = True

    def usual(self) -> None:
        if self.path.startswith("/api/"):
            listing(*FILES)(self)
        else:
            data = FILES[self.path.rpartition("/")[2]]
            headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
            self.send(200, data, headers)

    def send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def listing(*names: Any, **more: Any) -> Step:
    content = {"sha": COMMIT, "siblings": [{"rfilename": name} for name in names]} | more
    return lambda handler: handler.send(200, json.dumps(content).encode())


def body(data: bytes) -> Step:
    return lambda handler: handler.send(200, data)


def status(code: int, **headers: str) -> Step:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.send(code, b"<html>", named)


def described(**headers: str) -> Step:
    """Describe a file with these headers instead of the right ones."""

    def step(handler: Handler) -> None:
        data = FILES[handler.path.rpartition("/")[2]]
        right = {"ETag": hashlib.sha256(data).hexdigest(), "X-Repo-Commit": COMMIT}
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = {n: v for n, v in (right | given).items() if v}
        handler.send(200, data, kept)

    return step


def drop(handler: Handler) -> None:
    handler.close_connection = True
    handler.connection.close()


def stall(handler: Handler) -> None:
    time.sleep(8)


def cut_short(handler: Handler) -> None:
    handler.send(200, b"we", {"Content-Length": "7"})
    handler.close_connection = True


def drip(handler: Handler) -> None:
    handler.send(200, b"", {"Content-Length": "1000000"})
    for _ in range(80):
        handler.wfile.write(b" ")
        time.sleep(0.1)


def drip_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for i in range(80):
        handler.wfile.write(b"X-%d: 1\r\n" % i)
        time.sleep(0.1)


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.close_connection = True
    while True:
        handler.wfile.write(b"[" * 65536)


def other(handler: Handler) -> None:
    handler.send(200, bytes(len(FILES[handler.path.rpartition("/")[2]])))


def to_itself(handler: Handler) -> None:
    handler.send(302, headers={"Location": handler.path})


def to(place: str) -> Step:
    return lambda handler: handler.send(302, headers={"Location": place})


HTML = body(b"<html>Accept the terms of this network</html>")
NO_HUB = "what answers in the hub's place is not one"
UNREACHED = "cannot be reached, and it was not fetched before. Check the connection"
NOT_KEPT = "Nothing of it was kept"
CASES: dict[str, tuple[dict[str, Step], str]] = {
    "login page": ({"list": HTML}, NO_HUB),
    "login page for files": ({"head": HTML}, NO_HUB),
    "nothing": ({"list": body(b"")}, NO_HUB),
    "null": ({"list": body(b"null")}, NO_HUB),
    "a list": ({"list": body(b"[]")}, NO_HUB),
    "names are numbers": ({"list": listing(1, None)}, "holds no weights"),
    "no names": ({"list": listing(siblings=None)}, NO_HUB),
    "not UTF-8": ({"list": body(b'{"sha": "\xff"}')}, NO_HUB),
    "deep": ({"list": body(b"[" * 200_000)}, NO_HUB),
    "5,000 digits": ({"list": body(b'{"sha": ' + b"9" * 5000 + b"}")}, NO_HUB),
    "endless list": ({"list": endless}, NO_HUB),
    "dropped": ({"list": drop}, UNREACHED),
    "dropped at files": ({"head": drop}, UNREACHED),
    "dropped in a file": ({"get": drop}, UNREACHED),
    "cut short": ({"get": cut_short}, UNREACHED),
    "list cut short": ({"list": cut_short}, UNREACHED),
    "redirects": ({"list": to_itself}, UNREACHED),
    "redirects at files": ({"head": to_itself}, UNREACHED),
    "redirects in a file": ({"get": to_itself}, UNREACHED),
    "redirect to nowhere": ({"list": to("http://127.0.0.1:9/")}, UNREACHED),
    "redirect to a file": ({"list": to("file:///etc/passwd")}, UNREACHED),
    "stalling list": ({"list": stall}, UNREACHED),
    "stalling head": ({"head": stall}, UNREACHED),
    "stalling file": ({"get": stall}, UNREACHED),
    "dripping list": ({"list": drip}, UNREACHED),
    "dripping file": ({"head": described(X_Linked_Size="1000000"), "get": drip}, UNREACHED),
    "dripping headers": ({"list": drip_headers}, UNREACHED),
    "401": ({"list": status(401)}, "no model has that name, or it is private"),
    "403": ({"list": status(403)}, "hf auth login"),
    "404": ({"list": status(404)}, "no model has that name"),
    "429": ({"list": status(429, Retry_After="99999")}, "answers 429. Try again later"),
    "500": ({"list": status(500)}, "answers 500. Try again later"),
    "503 at files": ({"head": status(503)}, "answers 503. Try again later"),
    "500 in a file": ({"get": status(500)}, "answers 500. Try again later"),
    "commit out": ({"list": listing(*FILES, sha="../../../out")}, NOT_KEPT),
    "commit a number": ({"list": listing(*FILES, sha=7)}, NOT_KEPT),
    "names out": ({"list": listing("../model.safetensors", "/model.npy")}, "holds no weights"),
    "etag out": ({"head": described(ETag='"../../../../out"')}, NOT_KEPT),
    "linked etag out": ({"head": described(X_Linked_Etag='"../../out"')}, NOT_KEPT),
    "etag absolute": ({"head": described(ETag='"/elsewhere/out"')}, NOT_KEPT),
    "etag empty": ({"head": described(ETag='""')}, NOT_KEPT),
    "etag long": ({"head": described(ETag="a" * 5000)}, NOT_KEPT),
    "no etag": ({"head": described(ETag="")}, NO_HUB),
    "no commit": ({"head": described(X_Repo_Commit="")}, NO_HUB),
    "commit of files out": ({"head": described(X_Repo_Commit="../../out")}, NOT_KEPT),
    "another content": ({"get": other}, NOT_KEPT),
    "login page in a file": ({"get": HTML}, NO_HUB),
    "larger than announced": ({"get": endless}, NO_HUB),
    "smaller than announced": ({"get": body(b"w")}, NO_HUB),
}


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Ask a hub that answers with these steps for me/tiny."""
    servers = []

    def fetch(steps: dict[str, Step]) -> Path:
        kind = type("Case", (Handler,), {"steps": steps})
        server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        hub._fetch.cache_clear()
        return hub.resolve("me/tiny")

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "deep" / "er" / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(transfer, "PATIENCE", 2.5)
    monkeypatch.setattr(transfer, "TIMEOUT", 1.0)
    monkeypatch.setattr(transfer, "_PAUSE", 0.05)
    yield fetch
    hub._fetch.cache_clear()
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("case", CASES)
def test_every_answer_ends_in_one_error(
    tmp_path: Path, ask: Callable[..., Path], case: str
) -> None:
    steps, message = CASES[case]
    started = time.monotonic()
    with pytest.raises(HubError) as caught:
        ask(steps)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 6
    outside = [
        p for p in tmp_path.rglob("*") if "cache" not in p.parts and p.name not in ("deep", "er")
    ]
    assert outside == []
    assert not [p for p in tmp_path.rglob("snapshots/*/model.safetensors")]


def test_what_is_sound_is_fetched_once_and_found_when_the_hub_is_gone(
    ask: Callable[..., Path],
) -> None:
    first = ask({})
    assert {p.name: p.read_bytes() for p in first.iterdir()} == FILES
    assert ask({"get": drop}) == first  # nothing is fetched a second time
    assert ask({"list": drop}) == first
    assert ask({"list": HTML}) == first


def test_a_dropped_connection_is_taken_up_where_it_broke(ask: Callable[..., Path]) -> None:
    broken = []

    def once(handler: Handler) -> None:
        data = FILES[handler.path.rpartition("/")[2]]
        if span := handler.headers.get("Range"):
            start = int(span.removeprefix("bytes=").rstrip("-"))
            handler.send(206, data[start:])
        elif len(data) > 2 and not broken:
            broken.append(True)
            cut_short(handler)
        else:
            handler.send(200, data)

    assert (ask({"get": once}) / "model.safetensors").read_bytes() == b"weights"
    assert broken


@pytest.mark.parametrize("step", [{}, {"list": drop}])
def test_a_damaged_cache_is_noticed(ask: Callable[..., Path], step: dict[str, Step]) -> None:
    weights = ask({}) / "model.safetensors"
    weights.resolve().write_bytes(b"weightz")
    with pytest.raises(HubError, match=r"cache is damaged .* Run the command again"):
        ask(step)
    assert not weights.exists()
    assert (ask({}) / "model.safetensors").read_bytes() == b"weights"
