"""Crowds of clients: nobody gets another's answer or none, and nothing is left behind."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import clients
import pytest
from clients import NOTHING, Connection, Crowd, Process, Question
from harness import long

from gpt1.pipeline import GPT1

pytest.importorskip("uvicorn")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

LEFT = 0.3
"""The share of the clients' requests that they do not see to their end."""


@contextmanager
def serving(folder: Path, log: Path, **settings: object) -> Iterator[Process]:
    process = Process(folder, log / "stderr", **settings)
    try:
        yield process.wait()
        assert "Traceback" not in process.log
    finally:
        process.stop()


def test_everyone_in_a_crowd_gets_the_own_answer(
    server: Process, questions: list[Question]
) -> None:
    crowd = Crowd(server.port, questions, clients=60, total=500, leaving=LEFT)
    outcomes = crowd.run()
    assert {*outcomes} <= {"answered", "left", "asked again"}
    assert outcomes["answered"] + outcomes["left"] == 500
    assert max(crowd.seen.values()) == 1
    assert server.settled() == NOTHING | {"tasks": 0}


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_a_thousand_clients_and_twenty_thousand_requests(
    folder: Path, gpt: GPT1, tmp_path: Path
) -> None:
    """0 lost, 0 mixed, 0 duplicated; the memory is that after the first tenth, within 5 %."""
    asked = clients.questions(gpt, 1000)
    with serving(folder, tmp_path, queue=1024, head_seconds=60, body_seconds=60) as server:
        files = server.files
        memory, outcomes = [], []
        for total in (2000, 18000):
            crowd = Crowd(server.port, asked, clients=1000, total=total, leaving=LEFT)
            outcomes.append(crowd.run())
            assert {*outcomes[-1]} <= {"answered", "left", "asked again"}, outcomes
            assert outcomes[-1]["answered"] + outcomes[-1]["left"] == total
            assert max(crowd.seen.values()) == 1
            assert server.settled(60) == NOTHING | {"tasks": 0}
            memory.append(server.memory)
        print([dict(some) for some in outcomes], [f"{size / 2**20:.1f} MiB" for size in memory])
        assert server.files == files
        assert memory[1] <= 1.05 * memory[0]


@pytest.mark.parametrize("times", [5, long(10, id="ten")])
def test_a_flood_is_refused_and_harms_nobody(
    server: Process, questions: list[Question], times: int
) -> None:
    """As many clients at once as there are places, times some: 429, and the others get answers."""
    Crowd(server.port, questions, clients=80, total=80).run()
    memory = server.memory
    many = times * (16 + 64)
    flood = Crowd(server.port, questions, clients=many, total=many, again=False)
    outcomes = flood.run()
    print(dict(outcomes), f"{memory / 2**20:.1f} to {server.memory / 2**20:.1f} MiB")
    assert {*outcomes} == {"answered", "refused"}
    assert outcomes["answered"] >= 64
    assert server.settled() == NOTHING | {"tasks": 0}
    assert server.memory <= 1.1 * memory
    after = Crowd(server.port, questions, clients=8, total=8, again=False)
    assert after.run() == {"answered": 8}


@pytest.mark.parametrize("count", [50, long(500, id="500")])
def test_clients_that_leave_leave_nothing_behind(
    server: Process, questions: list[Question], count: int
) -> None:
    Crowd(server.port, questions, clients=20, total=50, leaving=1.0).run()
    assert server.settled() == NOTHING | {"tasks": 0}
    files, memory = server.files, server.memory
    outcomes = Crowd(server.port, questions, clients=20, total=count, leaving=1.0).run()
    assert outcomes == {"left": count}
    assert server.settled() == NOTHING | {"tasks": 0}
    print(f"{memory / 2**20:.1f} to {server.memory / 2**20:.1f} MiB, {server.files} files")
    assert server.files == files
    assert server.memory <= 1.05 * memory


# Slow clients

LONG = {
    "prompt": "my dog",
    "max_tokens": 4000,
    "n": 2,
    "overflow": "slide",
    "stream": True,
    "logprobs": 50,
}


async def drip(port: int, head: bytes, rest: bytes) -> tuple[float, bytes]:
    """Send `head`, then a byte at a time; return when the server closed, and what it said."""
    connection = await Connection.open(port)
    began = time.monotonic()
    connection.writer.write(head)

    async def send() -> None:
        for byte in rest:
            connection.writer.write(bytes([byte]))
            await asyncio.sleep(0.2)

    sending = asyncio.ensure_future(send())
    said = await asyncio.wait_for(connection.ended(), 20)
    sending.cancel()
    return time.monotonic() - began, said


def never_read(port: int) -> socket.socket:
    """Ask for a long answer and read none of it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(clients.request(LONG))
    return client


@pytest.mark.timeout(300)
@pytest.mark.parametrize("slow", [20, long(200, id="200")])
def test_slow_clients_are_cut_off_and_hold_nobody_up(
    server: Process, questions: list[Question], slow: int
) -> None:
    """Each loses its connection at its deadline, while 10 others get all of their answers."""
    whole = clients.request({"prompt": "my dog " * 40})
    head, body = whole.split(b"\r\n\r\n")
    pipelined = questions[1].data(stream=False) + head + b"\r\n\r\n"
    kinds = [
        (3, lambda: drip(server.port, b"", whole)),
        (4, lambda: drip(server.port, head + b"\r\n\r\n", body)),
        (4, lambda: drip(server.port, pipelined, b"")),
        (3, lambda: drip(server.port, b"", b"")),
    ]

    async def all_at_once(honest: Crowd) -> list[tuple[float, bytes]]:
        ended = asyncio.gather(*(kinds[i % len(kinds)][1]() for i in range(slow)))
        await asyncio.sleep(0.2)
        while not ended.done():
            honest.total = 40
            await honest.ask()
        return await ended

    Crowd(server.port, questions, clients=10, total=20).run()
    quiet = Crowd(server.port, questions, clients=10, total=100)
    quiet.run()
    honest = Crowd(server.port, questions, clients=10, total=40)
    with ExitStack() as unread:
        for _ in range(slow // 100):  # costly, and unit-tested
            unread.enter_context(never_read(server.port))
        ended = asyncio.run(all_at_once(honest))
        assert server.settled(60) == NOTHING | {"tasks": 0}
    usual, late = (
        [clients.percentile(crowd.seconds, share) for crowd in (quiet, honest)]
        for share in (0.5, 0.99)
    )
    print(
        [f"{seconds:.3f}" for seconds in usual + late],
        [f"{max(s for s, _ in ended[k :: len(kinds)]):.1f}" for k in range(len(kinds))],
        dict(honest.outcomes),
    )
    assert {*honest.outcomes} <= {"answered", "asked again"}
    assert usual[1] <= 2 * usual[0] + 0.1  # the processor is shared, so not the latest ones
    for i, (seconds, said) in enumerate(ended):
        kind = i % len(kinds)
        assert seconds < kinds[kind][0] + 20, kind
        assert said.count(b"HTTP/1.1 408") == 1, (kind, said)
