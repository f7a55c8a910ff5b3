"""What does the server cost, beside its own engine and beside transformers serve?

    python benchmarks/serve.py [--size gpt1] [--parts rate] [--runs 3] [--clients 32]

Clients keep a connection each and ask again as soon as they have an answer; prompts of 1 to 63 ids
and 8 to 64 new ones, greedy. Measured, in turns, each in a process of its own; the clients are this
process, which only looks for the end of an answer:

    rate          the engine, given the requests by Python, as many at a time; `gpt1 serve` with an
                  event for each token (stream), and with an answer at the end (whole)
    first         the first token of requests that come at random moments, the same ones, to the
                  engine and to the server, at half of the engine's rate
    transformers  `transformers serve` with the same weights, whole answers, and `gpt1 serve`; needs
                  transformers[serving] and accelerate in the environment of --python; left out
                  with a message where it cannot serve them

The model is `mini`; --size takes the shape of another, with random weights. Each part of `mini`
takes about a minute. Ratios are medians over the runs. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any

SHELL = dict(os.environ)
FIRSTS = 48
"""How many requests come in a run of the part `first`."""
RANDOM = """
import sys, gpt1, torch
from gpt1.config import load_size
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import Tokenizer
from gpt1.text.vocabulary import Vocabulary
config, words = load_size(sys.argv[1]), gpt1.load("mini").tokenizer.vocabulary
spare = {f"spare{id}</w>": id for id in range(len(words.ids), config.vocab_size)}
tokenizer = Tokenizer(Vocabulary.of({**words.ids, **spare}, words.merges))
model = Transformer(config, generator=torch.Generator().manual_seed(0))
gpt1.GPT1(model, tokenizer).save(sys.argv[2])
"""
Asked = tuple[list[int], int]
"""The ids of a prompt, and how many new ones."""


def requests(count: int) -> list[Asked]:
    draw = random.Random(0)
    return [
        ([draw.randint(300, 900) for _ in range(draw.randint(1, 63))], draw.randint(8, 64))
        for _ in range(count)
    ]


def moments(rate: float) -> list[float]:
    """Return when each of FIRSTS requests comes, `rate` in a second."""
    draw, now, found = random.Random(1), 0.0, []
    for _ in range(FIRSTS):
        now += draw.expovariate(rate)
        found.append(now)
    return found


# The engine


def work(options: argparse.Namespace) -> None:
    """Answer each line of stdin with one: [tokens, seconds], or for a rate seconds to the first."""
    import gpt1
    from gpt1.config import SamplingConfig
    from gpt1.generation.engine import Engine
    from gpt1.generation.request import Event

    gpt = gpt1.load(options.model)
    engine = Engine(gpt.backend(), gpt.tokenizer, slots=options.clients)

    def submit(asked: Asked) -> int:
        return engine.submit(asked[0], SamplingConfig(max_new_tokens=asked[1]))

    def step() -> list[Event]:
        events = engine.step()
        for event in events:
            if event.error is not None:
                raise event.error
        return events

    def all_of_them(count: int) -> tuple[int, float]:
        waiting, tokens = requests(count), 0
        began = time.perf_counter()
        while waiting or len(engine):
            while waiting and len(engine) < options.clients:
                submit(waiting.pop())
            tokens += sum(event.id is not None for event in step())
        return tokens, time.perf_counter() - began

    def firsts(rate: float) -> list[float]:
        coming = deque(zip(moments(rate), requests(FIRSTS), strict=True))
        came: dict[int, float] = {}
        seconds = []
        began = time.perf_counter()
        while coming or len(engine):
            now = time.perf_counter() - began
            while coming and coming[0][0] <= now:
                moment, asked = coming.popleft()
                came[submit(asked)] = moment
            if not len(engine):
                time.sleep(coming[0][0] - now)
                continue
            events = step()
            now = time.perf_counter() - began
            seconds += [now - came.pop(e.request) for e in events if e.request in came]
        return seconds

    all_of_them(options.clients)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        part = json.loads(line)
        result = all_of_them(options.requests) if part is None else firsts(part)
        print(json.dumps(result), flush=True)


# Servers


def post(asked: Asked, prompt: Any, path: str, **more: Any) -> bytes:
    body = {"prompt": prompt, "max_tokens": asked[1], "temperature": 0, **more}
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


class Client(asyncio.Protocol):
    """A connection that looks for the end of an answer, and for its first event."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._done: asyncio.Future[tuple[float, bytes]] = asyncio.Future()

    async def ask(self, request: bytes) -> tuple[float, bytes]:
        """Return the seconds to the first event, 0 without one, and the whole answer."""
        self._done = asyncio.get_running_loop().create_future()
        self._answer, self._first, self._end = bytearray(), 0.0, 0
        self._began = time.perf_counter()
        self._transport.write(request)
        return await self._done

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._first and b"data: " in data:
            self._first = time.perf_counter() - self._began
        if not self._end and b"\r\n\r\n" in self._answer:
            head = bytes(self._answer.partition(b"\r\n\r\n")[0]).lower()
            length = head.partition(b"content-length: ")[2]
            self._end = len(head) + 4 + int(length.split()[0]) if length else -1
        last = self._answer.endswith(b"\r\n0\r\n\r\n") if self._end < 0 else False
        if last or 0 < self._end <= len(self._answer):
            self._done.set_result((self._first, bytes(self._answer)))

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(ConnectionError(f"closed: {bytes(self._answer)[:300]!r}"))
            self._done.exception()

    def close(self) -> None:
        self._transport.close()


async def connect(port: int) -> Client:
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(Client, "127.0.0.1", port))[1]


async def crowd(port: int, clients: int, sent: Sequence[bytes]) -> tuple[int, float]:
    """Send requests from several clients at once; return the tokens written, and the seconds."""
    waiting, tokens = [*sent], 0

    async def client() -> None:
        nonlocal tokens
        connection = await connect(port)
        while waiting:
            _, answer = await connection.ask(waiting.pop())
            if b" 200 " not in answer[:20]:
                raise ConnectionError(answer[:300])
            usage = answer.rpartition(b'"completion_tokens":')[2]
            tokens += int(usage.partition(b",")[0].strip(b" }"))
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return tokens, time.perf_counter() - began


async def firsts(port: int, rate: float) -> list[float]:
    """Return the seconds to the first event of each of FIRSTS requests."""
    free: list[Client] = []

    async def client(moment: float, asked: Asked) -> float:
        sent = post(asked, asked[0], "/v1/completions", stream=True)
        await asyncio.sleep(began + moment - time.perf_counter())
        connection = free.pop() if free else await connect(port)
        first, _ = await connection.ask(sent)
        free.append(connection)
        return first

    began = time.perf_counter()
    coming = zip(moments(rate), requests(FIRSTS), strict=True)
    seconds = await asyncio.gather(*(client(*request) for request in coming))
    for connection in free:
        connection.close()
    return seconds


@contextmanager
def server(command: Sequence[str], port: int) -> Iterator[None]:
    """Run a server; it listens when the block begins, or has ended."""
    process = subprocess.Popen(command, env=SHELL, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def start_transformers(stack: ExitStack, options: argparse.Namespace) -> tuple[int, str] | None:
    """Start transformers serve, and return its port and the model's name; say why not."""
    lacking = [
        name
        for name in ("transformers", "accelerate", "openai")
        if subprocess.run([options.python, "-c", f"import {name}"], capture_output=True).returncode
    ]
    if lacking:
        print(f"transformers serve is left out: {', '.join(lacking)} is not installed")
        return None
    from gpt1.checkpoint import hub

    folder, port = str(hub.resolve(options.model)), free_port()
    command = [options.python, "-m", "transformers.cli.transformers", "serve", folder]
    stack.enter_context(server([*command, "--port", str(port)], port))
    try:
        trial = post(([], 4), "the dog", "/v1/completions", model=folder)
        asyncio.run(crowd(port, 1, [trial]))
    except (OSError, ValueError) as error:
        print(f"transformers serve is left out: it cannot serve {options.model}: {error}")
        return None
    return port, folder


def measure(options: argparse.Namespace, stack: ExitStack) -> dict[str, list[Any]]:
    """Return what each part gave in each run: (tokens, seconds), or seconds to first tokens."""
    other = start_transformers(stack, options) if "transformers" in options.parts else None
    port = free_port()
    command = [sys.executable, "-m", "gpt1", "serve", options.model, "--port", str(port)]
    slots = f"serve.slots={options.clients}"
    stack.enter_context(server([*command, "--set", slots], port))
    engine = stack.enter_context(
        subprocess.Popen(
            [sys.executable, __file__, "--engine", "--model", options.model,
             "--clients", str(options.clients), "--requests", str(options.requests)],
            env=SHELL, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
    )  # fmt: skip
    assert engine.stdout.readline() == '"ready"\n'
    asked = requests(options.requests)

    def ask_engine(part: float | None = None) -> Any:
        print(json.dumps(part), file=engine.stdin, flush=True)
        return json.loads(engine.stdout.readline())

    def ask_server(**more: Any) -> Any:
        sent = [post(a, a[0], "/v1/completions", **more) for a in asked]
        return asyncio.run(crowd(port, options.clients, sent))

    parts: dict[str, Callable[[], Any]] = {"whole": ask_server}
    if "rate" in options.parts:
        usage = {"include_usage": True}
        parts["engine"] = ask_engine
        parts["stream"] = lambda: ask_server(stream=True, stream_options=usage)
    if "first" in options.parts:
        _, seconds = ask_engine()
        rate = options.requests / seconds / 2
        print(f"first: {rate:.1f} requests a second")
        parts["first engine"] = lambda: ask_engine(rate)
        parts["first server"] = lambda: asyncio.run(firsts(port, rate))
        if options.parts == ["first"]:
            del parts["whole"]
    if other:
        text = [" ".join(["dog"] * len(ids)) for ids, _ in asked]  # it takes no ids
        few = [
            post(a, t, "/v1/completions", model=other[1]) for a, t in zip(asked, text, strict=True)
        ]
        parts["transformers"] = lambda: asyncio.run(crowd(other[0], options.clients, few))
    found: dict[str, list[Any]] = {part: [] for part in parts}
    if "rate" in options.parts:
        ask_server()
    for _ in range(options.runs):
        for part, call in parts.items():
            found[part].append(call())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--size", help="random weights of this shape")
    every = ["rate", "first", "transformers"]
    parser.add_argument("--parts", nargs="+", default=every, choices=every)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--python", default=sys.executable, help="that has transformers[serving]")
    parser.add_argument("--engine", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        work(options)
        return
    with ExitStack() as stack:
        if options.size:
            options.model = stack.enter_context(tempfile.TemporaryDirectory()) + "/model"
            command = [sys.executable, "-c", RANDOM, options.size, options.model]
            subprocess.run(command, env=SHELL, check=True)
        found = measure(options, stack)
    name = f"{options.size}, random" if options.size else options.model
    print(f"{name}, {options.clients} clients, {options.requests} requests, {options.runs} runs")
    print(json.dumps({
        "benchmark": "serve", "machine": platform.machine(), "model": name,
        **{name: getattr(options, name) for name in ("clients", "requests", "runs")},
        "results": report(found),
    }))  # fmt: skip


def report(found: dict[str, list[Any]]) -> dict[str, float]:
    """Print what was measured; return the medians."""
    results: dict[str, float] = {}
    rates = {
        part: [tokens / seconds for tokens, seconds in runs]
        for part, runs in found.items()
        if not part.startswith("first")
    }
    for part, each in rates.items():
        results[part] = statistics.median(each)
        print(f"{part:14}{results[part]:7,.0f} tokens/s ({min(each):,.0f} to {max(each):,.0f})")
    pairs = (("stream", "engine"), ("whole", "engine"), ("whole", "transformers"))
    for part, other in pairs:
        if part in rates and other in rates:
            ratios = [a / b for a, b in zip(rates[part], rates[other], strict=True)]
            results[f"{part} of {other}"] = ratio = statistics.median(ratios)
            print(f"{part} is {ratio:.2f} times {other} ({min(ratios):.2f} to {max(ratios):.2f})")
    if "first engine" in found:
        for name, share in (("median", 0.5), ("p99", 0.99)):
            engine, server = (
                1000 * sorted(chain(*found[part]))[int(share * FIRSTS * len(found[part]))]
                for part in ("first engine", "first server")
            )
            results[f"first {name} added ms"] = server - engine
            print(f"first token, {name}: engine {engine:.1f} ms, server {server:.1f} ms")
    return results


if __name__ == "__main__":
    main()
