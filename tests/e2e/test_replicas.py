"""gpt1 serve --engine ray: two replicas, streams, and one of them killed under load."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

import tiny
from commands import GPT1, run_gpt1
from gpt1.checkpoint import folder
from gpt1.text.tokenizer import Tokenizer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KEY = {"Authorization": "Bearer secret"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address and the process of a server of two replicas, which needs a key."""
    place = tmp_path_factory.mktemp("place")
    tiny.write_vocabulary(place / "words")
    folder.save(place / "model", tiny.model(), Tokenizer.load(place / "words"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = f"serve a=model --engine ray --replicas 2 --dtype float32 --port {port}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GPT1_API_KEYS": "secret"}
    environment.pop("RAY_ADDRESS", None)
    with (place / "log").open("w+") as log:
        server = subprocess.Popen(
            [*GPT1, *command.split()], cwd=place, env=environment, text=True, stdout=log, stderr=log
        )
        try:
            deadline = time.monotonic() + 120
            while "gpt1 serves" not in (said := (place / "log").read_text()):
                assert server.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.5)
            assert said == f"gpt1 serves a at http://127.0.0.1:{port}, 2 replicas\n"
            yield f"http://127.0.0.1:{port}", server
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(120) == 0, (place / "log").read_text()


def _ask(address: str, prompt: str, **fields: object) -> httpx.Response:
    body = {"prompt": prompt, "temperature": 0, "max_tokens": 20, **fields}
    return httpx.post(f"{address}/v1/completions", json=body, headers=KEY, timeout=60)


def _replicas(server: subprocess.Popen[str]) -> list[int]:
    """Return the ids of the processes that hold the models."""
    raylets = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    processes = [line.split(None, 2) for line in raylets]
    ours = {server.pid}
    for _ in range(4):  # the server's raylet, and its workers
        ours |= {int(pid) for pid, parent, _ in processes if int(parent) in ours}
    return [
        int(pid) for pid, _, name in processes if int(pid) in ours and "ServeReplica:gpt1" in name
    ]


def test_it_is_the_same_app_with_streams_and_keys(
    served: tuple[str, subprocess.Popen[str]],
) -> None:
    address, _ = served
    assert httpx.get(f"{address}/health/ready").json() == {"status": "ready"}
    assert httpx.get(f"{address}/v1/models").status_code == 401
    assert httpx.get(f"{address}/v1/models", headers=KEY).json()["data"][0]["id"] == "a"
    assert "<html" in httpx.get(f"{address}/").text
    whole = _ask(address, "the dog").json()["choices"][0]["text"]
    body = {"prompt": "the dog", "temperature": 0, "max_tokens": 20, "stream": True}
    with httpx.stream("POST", f"{address}/v1/completions", json=body, headers=KEY) as stream:
        events = [line.removeprefix("data: ") for line in stream.iter_lines() if line]
    assert events.pop() == "[DONE]"
    assert len(events) > 5
    assert "".join(json.loads(event)["choices"][0]["text"] for event in events) == whole
    refused = _ask(address, "the dog", suffix="x")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "suffix")


def test_requests_go_on_when_a_replica_is_killed(
    served: tuple[str, subprocess.Popen[str]],
) -> None:
    address, server = served
    expected = _ask(address, "a cat").json()["choices"][0]["text"]
    answers: list[tuple[float, str | None]] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            text = None
            with contextlib.suppress(httpx.HTTPError):
                answer = _ask(address, "a cat")
                if answer.status_code == 200:
                    text = answer.json()["choices"][0]["text"]
            answers.append((time.monotonic(), text))

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    time.sleep(3)
    first, second = _replicas(server)
    os.kill(first, signal.SIGKILL)
    killed = time.monotonic()
    deadline = killed + 100
    while len(now := set(_replicas(server)) - {first}) < 2 and time.monotonic() < deadline:
        time.sleep(1)
    time.sleep(3)
    stop.set()
    for client in clients:
        client.join()
    assert len(now) == 2, "a new replica has taken its place"
    assert second in now
    assert {text for _, text in answers if text is not None} == {expected}
    lost = [when for when, text in answers if text is None]
    assert len(lost) <= len(clients), "only what the dead replica was answering"
    assert all(killed - 1 < when < killed + 10 for when in lost)
    between = [when for when, text in answers if text and killed + 1 < when]
    assert len(between) > 10


def test_streams_reach_their_end_when_the_server_is_told_to_stop(
    served: tuple[str, subprocess.Popen[str]],
) -> None:
    address, server = served
    body = {"prompt": "the dog", "max_tokens": 20, "stream": True}
    accepted: list[str] = []  # the last line of each
    struck = threading.Event()

    def load() -> None:
        while not struck.is_set():
            with httpx.stream(
                "POST", f"{address}/v1/completions", json=body, headers=KEY, timeout=60
            ) as stream:
                assert stream.status_code == 200
                accepted.append([line for line in stream.iter_lines() if line][-1])

    clients = [threading.Thread(target=load) for _ in range(8)]
    for client in clients:
        client.start()
    time.sleep(2)
    before = len(accepted)
    struck.set()
    server.send_signal(signal.SIGTERM)
    for client in clients:
        client.join()
    assert server.wait(60) == 0
    assert len(accepted) > before, "none was under way"
    assert set(accepted) == {"data: [DONE]"}


def test_replicas_need_ray() -> None:
    done = run_gpt1("serve mini --replicas 2")
    assert (done.code, "only --engine ray has more than one" in done.message) == (2, True)
