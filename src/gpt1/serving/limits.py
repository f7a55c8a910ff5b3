"""What a client may do: keys, and the size and time of a request."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any

import h11
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from gpt1.config import ServeConfig
from gpt1.errors import ConfigError, counted
from gpt1.serving.metrics import Metrics
from gpt1.serving.protocol import Refusal

KEYS = "GPT1_API_KEYS"
"""The environment variable that holds keys, with commas between."""
HEADERS = [
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
LEFT = 499
"""The status in the metrics of a request whose client left before the answer."""
_LOCAL = ("localhost", "127.0.0.1", "[::1]")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Keys:
    """API keys, of which only the SHA-256 is kept; without any, everyone may use the server."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._hashes = [hashlib.sha256(key.encode()).digest() for key in keys]

    @classmethod
    def read(cls, file: str | None) -> Keys:
        """Read a file with a key a line, or else the environment. Raises ConfigError."""
        if file is None:
            given = os.environ.get(KEYS, "").split(",")
            return cls(key.strip() for key in given if key.strip())
        try:
            lines = [line.strip() for line in Path(file).read_text("utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise ConfigError(f"the key file {file} cannot be read: {error}") from None
        keys = [line for line in lines if line and not line.startswith("#")]
        if not keys:
            raise ConfigError(f"the key file {file} has no keys. Write one into each line.")
        return cls(keys)

    def __len__(self) -> int:
        return len(self._hashes)

    def allow(self, authorization: str) -> bool:
        """Tell whether a header's key is one of these, in the same time for every key."""
        kind, _, key = authorization.partition(" ")
        digest = hashlib.sha256(key.strip().encode("latin-1")).digest()  # the bytes of the head
        found = [hmac.compare_digest(digest, known) for known in self._hashes]
        return any(found) and kind.lower() == "bearer"


class Guard:
    """Checks a request before the app sees it, reads its body, and ends it if its client leaves.

    Only health, the studio's files and the OpenAPI description need no key.
    """

    def __init__(self, app: App, *, keys: Keys, settings: ServeConfig, metrics: Metrics) -> None:
        self.app = app
        self._keys, self._settings, self._metrics = keys, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.monotonic(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        try:
            self._check(scope)
            body = await self._read(scope, receive)
            if body is not None:
                await self._run(scope, body, receive, send_with_headers)
        except Refusal as refusal:
            await answer(refusal)(scope, receive, send_with_headers)
        finally:
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.answered(path, status or LEFT, time.monotonic() - started)

    def _check(self, scope: Scope) -> None:
        """Raise Refusal for a request that is not allowed."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path"]
        if path.startswith("/v1/") or path == "/metrics":
            if len(self._keys) and not self._keys.allow(headers.get(b"authorization", "")):
                raise Refusal(
                    401,
                    "this server needs a key: Authorization: Bearer KEY.",
                    code="invalid_api_key",
                )
            host = headers.get(b"host", "localhost").rpartition(":")
            name = host[0] if host[2].isdigit() else "".join(host)
            if not len(self._keys) and name.lower() not in _LOCAL:  # a page may rebind its name
                raise Refusal(
                    403,
                    "without a key, this server answers only to localhost; its host must be that, "
                    "or the server must have a key.",
                )
        kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind != "application/json":
            raise Refusal(415, "the body must be JSON: Content-Type: application/json.")

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the whole body, None if the client has gone. Raises Refusal if it is too long."""
        most = self._settings.max_body
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        body = bytearray()
        while len(body) <= most >= int(declared):
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if max(len(body), int(declared)) > most:
            raise Refusal(413, f"the body is larger than {most:,} bytes.", code="body_too_large")
        return bytes(body)

    async def _run(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Run the app; cancel it when the client leaves."""
        unread = [body]
        left = asyncio.Event()

        async def receive_body() -> Message:
            if unread:
                return {"type": "http.request", "body": unread.pop()}
            await left.wait()
            return {"type": "http.disconnect"}

        app = asyncio.ensure_future(self.app(scope, receive_body, send))
        gone = asyncio.ensure_future(receive())  # nothing but a disconnect follows the body
        try:
            await asyncio.wait({app, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.set()
            gone.cancel()
            if not app.done():
                app.cancel()
        try:
            await app
        except asyncio.CancelledError:
            if not app.cancelled():
                raise


def answer(refusal: Refusal) -> Response:
    """Return the response of a refusal."""
    return Response(
        refusal.answer.model_dump_json(),
        refusal.status,
        refusal.headers,
        media_type="application/json",
    )


class DeadlineProtocol(H11Protocol):
    """uvicorn's protocol, with deadlines that no byte puts off.

    A request's head and body must arrive in time, and an answer must be read; otherwise the
    connection ends. A request on one connection too many is refused.
    """

    def __init__(self, *arguments: Any, settings: ServeConfig, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._settings = settings
        self._app, self.app = self.app, self._limited
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._began: float | None = None
        """When the first byte of a request came, until all of it is there."""

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, unless too many connections are open."""
        app: App = self._app
        if len(self.connections) > self._settings.connections:
            most = counted(self._settings.connections, "connection")
            refusal = Refusal(
                503,
                f"the server takes {most} at a time; try again later.",
                code="too_many_connections",
                retry_after=1,
            )
            refusal.headers["connection"] = "close"
            app = answer(refusal)
        await app(scope, receive, send)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request."""
        super().connection_made(transport)
        self._began = self.loop.time()
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        if self._began is None:
            self._began = self.loop.time()
        super().data_received(data)
        self._expect()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; an answer that has begun can only be cut off."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        self.transport.close()
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Expect the rest of a next request, if a part of it has come already."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and self._deadline is None:
            self._began = self.loop.time()
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        super().connection_lost(exc)
        for timer in (self._deadline, self._stalled):
            if timer is not None:
                timer.cancel()

    def pause_writing(self) -> None:
        """Give the client a time to read."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self._settings.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def _expect(self) -> None:
        """Set the deadline of what is to come next."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        state = self.conn.their_state
        seconds = {
            h11.IDLE: self._settings.head_seconds,
            h11.SEND_BODY: self._settings.body_seconds,
        }
        if state not in seconds:
            self._began = None
        elif self._began is not None:
            self._deadline = self.loop.call_at(self._began + seconds[state], self._end)

    def _end(self) -> None:
        """End the connection: what was to come is late."""
        begun = self.cycle is not None and self.cycle.response_started
        if not begun or self.conn.their_state is h11.IDLE:
            self.transport.write(
                b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
        self.transport.close()
