"""Rows of clients that leave, a full queue, an end with open streams, and a thread that dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

import serving
from gpt1.generation.request import Request
from gpt1.pipeline import GPT1
from gpt1.serving.models import Served
from serving import Running

LONG = {"prompt": "my dog", "max_tokens": 4000, "temperature": 0, "overflow": "slide"}


@pytest.fixture(scope="module")
def gpt() -> GPT1:
    return serving.gpt()


def wait_until(holds: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextlib.contextmanager
def stepping(served: Served) -> Iterator[threading.Semaphore]:
    """Let the engine make only as many steps as the semaphore is released."""
    permits = threading.Semaphore(0)
    step = served.engine.step

    def slow_step() -> Any:
        permits.acquire()
        return step()

    served.engine.step = slow_step  # type: ignore[method-assign]
    try:
        yield permits
    finally:
        served.engine.step = step  # type: ignore[method-assign]
        permits.release(10**4)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_rows(gpt: GPT1, stream: bool) -> None:
    served = Served.of("tiny", gpt, slots=2)
    with serving.running([served]) as server:
        scheduler = server.app.state.service.scheduler
        for _ in range(3):
            with httpx.Client(base_url=server.base_url, timeout=60) as client:
                body = {**LONG, "stream": stream, "n": 1}
                if stream:
                    with client.stream("POST", "/v1/completions", json=body) as answer:
                        lines = answer.iter_lines()  # kept, or the answer would be closed
                        next(lines)
                        assert len(served.engine) == 1
                else:
                    with contextlib.suppress(httpx.ReadTimeout):
                        client.post("/v1/completions", json=body, timeout=0.3)
            wait_until(lambda: not len(served.engine) and not scheduler._tickets)
        assert scheduler._rows[served] == {}
        assert scheduler._waiting == 0
        assert server.post("/v1/completions", {"prompt": "so"}).status_code == 200


def test_a_full_queue_refuses_and_then_answers(gpt: GPT1) -> None:
    served = Served.of("tiny", gpt, slots=1)
    expected = gpt.generate("my dog", max_new_tokens=3).completion
    body = {"prompt": "my dog", "temperature": 0, "max_tokens": 3}
    with (
        serving.running([served], queue=2) as server,
        stepping(served) as permits,
        ThreadPoolExecutor(3) as pool,
    ):
        scheduler = server.app.state.service.scheduler
        first = pool.submit(server.post, "/v1/completions", body)
        wait_until(lambda: len(served.engine) == 1)
        permits.release(1)
        wait_until(lambda: scheduler._waiting == 0)
        others = [pool.submit(server.post, "/v1/completions", body) for _ in range(2)]
        wait_until(lambda: scheduler._waiting == 2)
        refused = server.post("/v1/completions", body)
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["code"] == "queue_full"
        permits.release(100)
        for accepted in (first, *others):
            assert accepted.result().json()["choices"][0]["text"] == expected
        assert server.post("/v1/completions", body).status_code == 200


def test_every_accepted_stream_reaches_its_end(gpt: GPT1) -> None:
    served = Served.of("tiny", gpt, slots=4)
    started = threading.Barrier(13)

    def read(server: Running, seed: int) -> str:
        body = {"prompt": "my dog", "max_tokens": 60, "seed": seed, "stream": True}
        with httpx.stream("POST", f"{server.base_url}/v1/completions", json=body) as answer:
            started.wait(20)
            lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
        assert lines.pop() == "[DONE]"
        return "".join(json.loads(line)["choices"][0]["text"] for line in lines)

    with ThreadPoolExecutor(12) as pool, serving.running([served]) as server:
        with stepping(served) as permits:
            texts = [pool.submit(read, server, seed) for seed in range(12)]
            wait_until(lambda: permits.release() or started.n_waiting == 12, seconds=20)
            started.wait(20)
            server.handle_exit(15, None)
            wait_until(lambda: server.get("/health/ready").status_code == 503)
            assert server.get("/health/live").status_code == 200
            refused = server.post("/v1/completions", {"prompt": "so"})
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            permits.release(1)
        for seed, text in enumerate(texts):
            own = gpt.generate("my dog", max_new_tokens=60, seed=seed, temperature=1.0)
            assert text.result(30) == own.completion


def test_a_thread_that_dies_is_told(gpt: GPT1) -> None:
    served = Served.of("tiny", gpt, slots=2)
    with serving.running([served]) as server, ThreadPoolExecutor(3) as pool:
        lines: list[str] = []
        failing = threading.Event()
        step = served.engine.step

        def breaking_step() -> Any:
            if failing.is_set():
                raise SystemExit
            return step()

        served.engine.step = breaking_step  # type: ignore[method-assign]

        def read() -> None:
            body = {**LONG, "stream": True}
            with httpx.stream("POST", f"{server.base_url}/v1/completions", json=body) as answer:
                lines.extend(line for line in answer.iter_lines() if line)

        streamed = pool.submit(read)
        whole = pool.submit(server.post, "/v1/completions", LONG)
        waiting = pool.submit(server.post, "/v1/completions", LONG)
        wait_until(lambda: len(served.engine) == 3)
        failing.set()
        wait_until(lambda: server.get("/health/ready").status_code == 503, seconds=2)
        assert server.get("/health/live").status_code == 503
        streamed.result(5)
        assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "model_stopped"
        for answer in (whole.result(5), waiting.result(5)):
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "model_stopped"
        late = server.post("/v1/score", {"input": "my dog"})
        assert late.status_code == 503
        assert "Traceback" not in "".join(lines) + late.text


def ask(server: Running, seed: int) -> str:
    """Return the text of a request, or the message of its error; odd seeds stream."""
    body = {"prompt": "my dog", "max_tokens": 20, "seed": seed, "presence_penalty": 0.5}
    if not seed % 2:
        answer = server.post("/v1/completions", body)
        found = answer.json()
        if answer.status_code != 200:
            assert answer.status_code == 500
            return f"{found['error']['type']}: {found['error']['message']}"
        return found["choices"][0]["text"]
    text = ""
    url = f"{server.base_url}/v1/completions"
    with httpx.stream("POST", url, json={**body, "stream": True}) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    for line in lines:
        if line != "[DONE]":
            found = json.loads(line)
            if "error" in found:
                assert line == lines[-1]
                return f"{found['error']['type']}: {found['error']['message']}"
            text += found["choices"][0]["text"]
    return text


def asked(server: Running) -> int:
    """Return how many texts the engine has, or gets before its next step."""
    scheduler = server.app.state.service.scheduler
    return len(scheduler.models[0].engine) + scheduler._commands.qsize()


FAILED = "server_error: the server failed; its log says why."


def failures(server: Running) -> float:
    lines = server.get("/metrics").text.splitlines()
    return sum(float(line.split()[1]) for line in lines if "gpt1_failed_texts_total{" in line)


@pytest.mark.parametrize("broken", [3, 4])
def test_an_error_of_one_request_reaches_its_client_only(
    gpt: GPT1,
    broken: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    process = Request.process

    def breaking(request: Request, logits: Any) -> Any:
        if request.sampling.seed == broken and len(request.logprobs) == 5:
            raise KeyError("broken on purpose")
        return process(request, logits)

    alone = [
        gpt.generate("my dog", seed=i, max_new_tokens=20, temperature=1.0, presence_penalty=0.5)
        for i in range(8)
    ]
    monkeypatch.setattr(Request, "process", breaking)
    served = Served.of("tiny", gpt, slots=8)
    with serving.running([served]) as server, ThreadPoolExecutor(8) as pool:
        with stepping(served) as permits:
            texts = [pool.submit(ask, server, seed) for seed in range(8)]
            wait_until(lambda: asked(server) == 8)
            permits.release(1)
        for seed, text in enumerate(texts):
            assert text.result(20) == (FAILED if seed == broken else alone[seed].completion)
        assert failures(server) == 1
        assert [record.getMessage() for record in caplog.records] == [
            "texts of tiny that failed: 1"
        ]
        assert "broken on purpose" in caplog.text
        assert len(served.engine) == 0
        assert server.get("/health/ready").status_code == 200


@pytest.mark.parametrize("method", ["decode", "prefill"])
def test_an_error_of_the_backend_ends_what_it_was_working_on(
    gpt: GPT1, method: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    served = Served.of("tiny", gpt, slots=4)
    working, failed = getattr(served.engine.backend, method), 0

    def breaking(*arguments: Any) -> Any:
        nonlocal failed
        slots = arguments[-1]  # the first prefill is of the text that came first
        if not failed and (slots.stop == 4 if method == "decode" else slots.start):
            failed = slots.stop - slots.start
            raise MemoryError("broken on purpose")
        return working(*arguments)

    monkeypatch.setattr(served.engine.backend, method, breaking)
    with serving.running([served]) as server, ThreadPoolExecutor(8) as pool:
        with stepping(served) as permits:
            texts = [pool.submit(ask, server, seed) for seed in range(8)]
            wait_until(lambda: asked(server) == 8)
            permits.release(1)
        found = [text.result(20) for text in texts]
        assert found.count(FAILED) == failures(server) == failed >= 2
        for seed, text in enumerate(found):
            own = gpt.generate(
                "my dog", seed=seed, max_new_tokens=20, temperature=1.0, presence_penalty=0.5
            )
            assert text in (FAILED, own.completion)
        assert [record.getMessage() for record in caplog.records] == [
            f"texts of tiny that failed: {failed}"
        ]
        assert server.get("/health/ready").status_code == 200


def test_a_backend_that_never_recovers_stops_the_server(
    gpt: GPT1, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served.of("tiny", gpt, slots=1)

    def breaking(*_: Any) -> Any:
        raise MemoryError("broken on purpose")

    monkeypatch.setattr(served.engine.backend, "decode", breaking)
    body = {"prompt": "my dog", "max_tokens": 5}
    with serving.running([served]) as server, ThreadPoolExecutor(14) as pool:
        with stepping(served):
            answers = [pool.submit(server.post, "/v1/completions", body) for _ in range(14)]
            wait_until(lambda: asked(server) == 14)
        wait_until(lambda: server.get("/health/ready").status_code == 503, seconds=2)
        statuses = sorted(answer.result(5).status_code for answer in answers)
        assert statuses == [500] * 9 + [503] * 5


def test_models_answer_side_by_side(gpt: GPT1) -> None:
    other = serving.gpt(seed=6)
    models = [Served.of("one", gpt, slots=2), Served.of("two", other, slots=2)]
    with serving.running(models) as server, ThreadPoolExecutor(8) as pool:
        bodies = [
            {"model": name, "prompt": "my dog", "seed": seed, "max_tokens": 20}
            for seed in range(8)
            for name in ("one", "two")
        ]
        answers = [*pool.map(lambda body: server.post("/v1/completions", body).json(), bodies)]
        for body, answer in zip(bodies, answers, strict=True):
            own = gpt if body["model"] == "one" else other
            expected = own.generate("my dog", seed=body["seed"], max_new_tokens=20, temperature=1.0)
            assert answer["choices"][0]["text"] == expected.completion
            assert answer["model"] == body["model"]
        metrics = server.get("/metrics").text
        assert 'gpt1_tokens_total{kind="written",model="two"} 160.0' in metrics
        assert 'gpt1_time_to_first_token_seconds_count{model="one"} 8.0' in metrics
        assert 'gpt1_requests_total{path="/v1/completions",status="200"} 16.0' in metrics
        assert "gpt1_queue 0.0" in metrics


def test_calls_that_fail_tell_the_client_nothing_of_the_inside(
    gpt: GPT1, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with serving.running([Served.of("tiny", gpt, slots=2)]) as server:
        monkeypatch.setattr(
            "gpt1.generation.explain.score_texts", lambda *_: (_ for _ in ()).throw(KeyError("x"))
        )
        answer = server.post("/v1/score", {"input": "my dog"})
        assert answer.status_code == 500
        assert answer.json()["error"]["message"] == "the server failed; its log says why."
        assert server.get("/health/ready").status_code == 200
    assert asyncio.iscoroutinefunction(server.shutdown)
