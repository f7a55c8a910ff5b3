"""A server in a process of its own, and clients that ask it what they know the answer to."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11

from gpt1.generation.strategies import APART
from gpt1.pipeline import GPT1

COMPLETIONS = "/v1/completions"
NOTHING = dict.fromkeys(("requests", "waiting", "calls", "rows", "engine", "connections"), 0)
"""What a server holds that nobody asks, beside its own tasks."""


class Process:
    """`gpt1 serve` of a model folder, on a free port; its log is a file."""

    def __init__(self, model: Path, log: Path, **settings: object) -> None:
        command = [sys.executable, str(Path(__file__).parent / "serving_driver.py")]
        command += [f"tiny={model}", "--port", "0", "--dtype", "float32"]
        for name, value in settings.items():
            command += ["--set", f"serve.{name}={value}"]
        self._log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=file, text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        self.port = 0

    def wait(self) -> Process:
        """Return when it listens."""
        said = self.process.stdout.readline()
        assert said, self.log
        self.port = int(said.rpartition(":")[2])
        self.tasks = self.state()["tasks"]
        return self

    @property
    def log(self) -> str:
        """What it has written to stderr."""
        return self._log.read_text("utf-8")

    @property
    def memory(self) -> int:
        """The bytes that it occupies."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    @property
    def files(self) -> int:
        """How many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def state(self) -> dict[str, int]:
        """Return what it holds now."""
        self.process.send_signal(signal.SIGUSR1)
        found: dict[str, int] = json.loads(self.process.stdout.readline())
        return found

    def settled(self, seconds: float = 10) -> dict[str, int]:
        """Return what it still holds after a time, without the tasks that it always has."""
        end = time.monotonic() + seconds
        while True:
            found = self.state()
            found["tasks"] -= self.tasks
            if not any(found.values()) or time.monotonic() > end:
                return found
            time.sleep(0.05)

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.process.stdout.close()


# HTTP


class Gone(Exception):
    """The server closed a connection before the end of an answer."""


@dataclass
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(
    body: bytes | object = None, path: str = COMPLETIONS, method: str = "POST", **headers: str
) -> bytes:
    """Return the bytes of a request; `body` may be what JSON can hold."""
    if not isinstance(body, bytes):
        body = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    if method == "POST":
        headers = {"Content-Type": "application/json", **headers}
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """One connection of a client, which h11 reads."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._http = h11.Connection(h11.CLIENT)

    @classmethod
    async def open(cls, port: int, address: str = "127.0.0.1", **options: Any) -> Connection:
        return cls(*await asyncio.open_connection(address, port, **options))

    async def send(self, data: bytes, method: str = "POST") -> None:
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        self._http.send(h11.Request(method=method, target="/", headers=[("Host", "localhost")]))
        self._http.send(h11.EndOfMessage())
        self.writer.write(data)
        await self.writer.drain()

    async def start(self) -> Answer:
        """Return status and headers of the answer. Raises Gone."""
        event = await self._next()
        assert isinstance(event, h11.Response), event
        return Answer(event.status_code, dict(event.headers))

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield the parts of the answer's body. Raises Gone."""
        while not isinstance(event := await self._next(), h11.EndOfMessage):
            if isinstance(event, h11.ConnectionClosed):
                raise Gone
            yield bytes(event.data)

    async def events(self) -> AsyncIterator[str]:
        """Yield the data of a stream's events. Raises Gone."""
        rest = b""
        async for part in self.parts():
            *events, rest = (rest + part).split(b"\n\n")
            for event in events:
                yield event.decode().removeprefix("data: ")
        assert not rest

    async def ask(self, data: bytes, method: str = "POST") -> Answer:
        """Return the whole answer to a request. Raises Gone."""
        await self.send(data, method)
        answer = await self.start()
        answer.body = b"".join([part async for part in self.parts()])
        return answer

    async def ended(self) -> bytes:
        """Return all that comes until the server closes the connection."""
        found = b""
        with suppress(ConnectionError):
            while some := await self.reader.read(1 << 16):
                found += some
        await self.close()
        return found

    @property
    def is_open(self) -> bool:
        fresh = self._http.our_state is h11.IDLE
        return (fresh or self._http.their_state is h11.DONE) and not self.writer.is_closing()

    async def close(self, *, reset: bool = False) -> None:
        if reset:
            self.writer.transport.abort()
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    async def _next(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            try:
                data = await self.reader.read(1 << 16)
            except ConnectionError:
                raise Gone from None
            if not data and self._http.their_state is h11.IDLE:
                raise Gone
            try:
                self._http.receive_data(data)
            except h11.RemoteProtocolError:
                raise Gone from None
        return event


# Questions with known answers


@dataclass(frozen=True)
class Question:
    """A completion's request, and the texts that the model alone gives."""

    body: dict[str, Any]
    texts: list[str]

    def data(self, *, stream: bool) -> bytes:
        return request({**self.body, "stream": stream})


def questions(gpt: GPT1, count: int, longest: int = 12, seed: int = 0) -> list[Question]:
    """Return questions of different lengths whose answers differ, each by the model alone."""
    made = []
    draw = random.Random(seed)
    usable = [i for i in range(len(gpt.tokenizer)) if i != gpt.tokenizer.eos_id]
    for number in range(count):
        prompt = [draw.choice(usable) for _ in range(draw.randint(1, 20))]
        new, several = draw.randint(longest // 2, longest), 1 + (number % 8 == 0)
        texts = [
            gpt.generate([prompt], max_new_tokens=new, temperature=1.0, seed=number + i * APART)[
                0
            ].completion
            for i in range(several)
        ]
        body = {"prompt": prompt, "max_tokens": new, "temperature": 1.0, "seed": number}
        made.append(Question({**body, "n": several}, texts))
    texts = [text for question in made for text in question.texts]
    assert len(set(texts)) > 0.98 * len(texts)  # an answer of another request is noticed
    return made


async def stream(connection: Connection, question: Question, seen: Counter[str]) -> str | None:
    """Read the stream of a question that was sent; return what is wrong with it. Raises Gone."""
    texts = [""] * len(question.texts)
    reasons: Counter[int] = Counter()
    ids = set()
    last = ""
    async for last in connection.events():
        if last != "[DONE]":
            event = json.loads(last)
            if "error" in event:
                return f"error: {event['error']['message']}"
            ids.add(event["id"])
            for choice in event["choices"]:
                if reasons[choice["index"]]:
                    return "duplicated"
                texts[choice["index"]] += choice["text"]
                reasons[choice["index"]] += choice["finish_reason"] is not None
    seen.update(ids)
    if last != "[DONE]" or reasons.total() != len(texts):
        return "lost"
    return check(question, texts, ids, seen)


async def whole(answer: Answer, question: Question, seen: Counter[str]) -> str | None:
    """Return what is wrong with an answer that is no stream."""
    choices = answer.json["choices"]
    ids = {answer.json["id"]}
    seen.update(ids)
    return check(question, [choice["text"] for choice in choices], ids, seen)


def check(
    question: Question, texts: Sequence[str], ids: set[str], seen: Counter[str]
) -> str | None:
    if texts != question.texts:
        return "mixed"
    if len(ids) != 1 or any(seen[id] > 1 for id in ids):
        return "duplicated"
    return None


# Crowds


@dataclass
class Crowd:
    """Clients that ask `total` questions at once, of whom some leave before the end."""

    port: int
    questions: Sequence[Question]
    clients: int
    total: int
    leaving: float = 0.0
    again: bool = True
    """Ask again after a refusal, when the server says so."""
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """What each answer took, from the first byte of its request to its last one."""
    seen: Counter[str] = field(default_factory=Counter)
    draw: random.Random = field(default_factory=lambda: random.Random(0))

    def run(self) -> Counter[str]:
        """Ask all; return how many had which outcome."""
        asyncio.run(self.ask())
        return self.outcomes

    async def ask(self) -> None:
        numbers = iter(range(self.total))
        await asyncio.gather(*(self._client(i, numbers) for i in range(self.clients)))

    async def _client(self, own: int, numbers: Iterator[int]) -> None:
        connection: Connection | None = None
        address = f"127.0.{own % 4}.{1 + own % 50}"  # or the ports of one would run out
        for number in numbers:
            question = self.questions[number % len(self.questions)]
            leaves = self.draw.random() < self.leaving
            while True:
                if connection is None:
                    connection = await Connection.open(self.port, local_addr=(address, 0))
                try:
                    outcome = await self._one(connection, question, leaves)
                except (Gone, ConnectionError):
                    outcome = "lost"
                if leaves or not connection.is_open or self.draw.random() < 0.3:
                    await connection.close()
                    connection = None
                if outcome != "refused" or not self.again:
                    break
                self.outcomes["asked again"] += 1
                await asyncio.sleep(self.draw.uniform(0.2, 1.0))
            self.outcomes[outcome] += 1
        if connection is not None:
            await connection.close()

    async def _one(self, connection: Connection, question: Question, leaves: bool) -> str:
        streamed = self.draw.random() < 0.5
        data = question.data(stream=streamed)
        if leaves:
            return await self._leave(connection, data, streamed)
        began = time.monotonic()
        await connection.send(data)
        answer = await connection.start()
        if answer.status == 200 and streamed:
            wrong = await stream(connection, question, self.seen)
        else:
            answer.body = b"".join([part async for part in connection.parts()])
            if answer.status in (429, 503):
                assert int(answer.headers[b"retry-after"]) > 0
                assert answer.json["error"]["type"] == "server_error"
                return "refused"
            if answer.status != 200:
                return f"status {answer.status}"
            wrong = await whole(answer, question, self.seen)
        self.seconds.append(time.monotonic() - began)
        return wrong or "answered"

    async def _leave(self, connection: Connection, data: bytes, streamed: bool) -> str:
        """Ask, and go at some point: within the request, before the answer, or within it."""
        point = self.draw.randrange(4)
        if point == 0:
            connection.writer.write(data[: self.draw.randrange(len(data))])
            await connection.writer.drain()
        else:
            await connection.send(data)
            with suppress(Gone):
                if point == 2 and streamed:
                    left = self.draw.randrange(6)
                    await connection.start()
                    async for _ in connection.events():
                        left -= 1
                        if left < 0:
                            break
                elif point == 3:
                    await asyncio.sleep(self.draw.uniform(0, 0.05))
        if self.draw.random() < 0.2 and connection.writer.can_write_eof():
            connection.writer.write_eof()
            await asyncio.wait_for(connection.ended(), 30)
        await connection.close(reset=self.draw.random() < 0.5)
        return "left"


def percentile(seconds: Sequence[float], share: float) -> float:
    return sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]
