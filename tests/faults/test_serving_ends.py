"""How a server ends: asked to, it answers what it accepted; broken, it says so."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import clients
import pytest
from clients import Connection, Gone, Process, Question
from harness import long

from gpt1.pipeline import GPT1

pytest.importorskip("uvicorn")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def lengthy(gpt: GPT1) -> list[Question]:
    return clients.questions(gpt, 20, longest=40)


async def get(port: int, path: str) -> clients.Answer:
    connection = await Connection.open(port)
    try:
        return await connection.ask(clients.request(method="GET", path=path), "GET")
    finally:
        await connection.close()


async def wait_for(port: int, path: str, status: int, seconds: float) -> float:
    """Return after how many seconds a path had a status."""
    began = time.monotonic()
    while (await get(port, path)).status != status:
        assert time.monotonic() - began < seconds
        await asyncio.sleep(0.01)
    return time.monotonic() - began


@pytest.mark.parametrize("drains", [1, long(20, id="20")])
def test_every_accepted_stream_reaches_its_end(
    folder: Path, lengthy: list[Question], tmp_path: Path, drains: int
) -> None:
    """SIGTERM under load, at any time: what was accepted is answered, the rest refused; exit 0."""
    draw = random.Random(0)
    total: Counter[str] = Counter()

    async def read(port: int, question: Question, accepted: asyncio.Semaphore) -> str:
        connection = await Connection.open(port)
        try:
            await connection.send(question.data(stream=True))
            answer = await connection.start()
            if answer.status == 503:
                assert answer.headers[b"retry-after"]
                return "refused"
            assert answer.status == 200
            accepted.release()
            return await clients.stream(connection, question, Counter()) or "answered"
        finally:
            await connection.close()

    async def late(port: int, question: Question) -> str:
        """Ask after the signal: refused, or there is no server any more."""
        with suppress(ConnectionError, Gone):
            return await read(port, question, asyncio.Semaphore())
        return "refused"

    async def drain(server: Process) -> list[str]:
        accepted = asyncio.Semaphore(0)
        readers = [asyncio.ensure_future(read(server.port, q, accepted)) for q in lengthy]
        for _ in range(draw.randint(4, len(lengthy))):
            await accepted.acquire()
        await asyncio.sleep(draw.uniform(0, 0.05))
        server.process.terminate()
        with suppress(ConnectionError, Gone):
            await wait_for(server.port, "/health/ready", 503, 2)
        assert await late(server.port, lengthy[0]) == "refused"
        return await asyncio.gather(*readers)

    for number in range(drains):
        server = Process(folder, tmp_path / f"{number}", slots=4)
        try:
            outcomes = Counter(asyncio.run(drain(server.wait())))
            assert {*outcomes} <= {"answered", "refused"}, outcomes
            assert outcomes["answered"] >= 4
            assert server.process.wait(30) == 0
            assert not server.log
            total += outcomes
        finally:
            server.stop()
    print(dict(total))


def test_when_the_model_thread_dies_everyone_is_told(
    folder: Path, lengthy: list[Question], tmp_path: Path
) -> None:
    """Readiness turns 503 within 2 s; streams, whole answers and those who wait get an error."""
    server = Process(folder, tmp_path / "log", slots=4).wait()

    async def ask(question: Question, streamed: bool) -> str:
        connection = await Connection.open(server.port)
        try:
            await connection.send(question.data(stream=streamed))
            answer = await connection.start()
            if answer.status == 200 and streamed:
                return await clients.stream(connection, question, Counter()) or "answered"
            return f"{answer.status}"
        finally:
            await connection.close()

    async def all_at_once() -> list[str]:
        asked = [asyncio.ensure_future(ask(q, bool(i % 2))) for i, q in enumerate(lengthy)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        server.process.send_signal(clients.signal.SIGUSR2)
        print(f"not ready after {await wait_for(server.port, '/health/ready', 503, 2):.3f} s")
        outcomes = await asyncio.wait_for(asyncio.gather(*asked), 5)
        assert (await get(server.port, "/health/live")).status == 503
        assert await ask(lengthy[0], True) == "503"
        return outcomes

    try:
        outcomes = Counter(asyncio.run(all_at_once()))
        told = {said for said in outcomes if said.startswith("error: the model stopped")}
        assert {*outcomes} <= {"answered", "200", "503"} | told
        assert outcomes["503"] + sum(outcomes[said] for said in told) >= 10
        assert server.log.count("RuntimeError: broken on purpose") == 1
    finally:
        server.stop()
