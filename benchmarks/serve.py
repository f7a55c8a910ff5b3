"""What does the server cost, beside its own engine and beside transformers serve?

    python benchmarks/serve.py [--model mini] [--clients 32] [--requests 128] [--runs 3]

Clients keep a connection each and ask again as soon as they have an answer; prompts of 1 to 63 ids
and 8 to 64 new ones, greedy. Measured, in turns, each in a process of its own:

    engine        the same requests given to the engine by Python, as many at a time
    stream        gpt1 serve, an event for each token
    whole         gpt1 serve, an answer at the end
    first         one request at a time, until its first token: of the engine, and of the server
    transformers  transformers serve with the same weights, whole answers (needs its extra `serving`
                  and accelerate; left out with a message where it cannot serve them)

The median of the runs counts. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

SHELL = dict(os.environ)
FIRSTS = 100
"""How often the time to the first token is measured in a run."""
Asked = tuple[list[int], int]
"""The ids of a prompt, and how many new ones."""


def requests(count: int) -> list[Asked]:
    draw = random.Random(0)
    return [
        ([draw.randint(300, 900) for _ in range(draw.randint(1, 63))], draw.randint(8, 64))
        for _ in range(count)
    ]


# The engine


def work(options: argparse.Namespace) -> None:
    """Answer each line of stdin, a part, with a line: [tokens, seconds] or seconds to the first."""
    import gpt1
    from gpt1.config import SamplingConfig
    from gpt1.generation.engine import Engine

    gpt = gpt1.load(options.model)
    engine = Engine(gpt.backend(), gpt.tokenizer, slots=options.clients)

    def submit(asked: Asked) -> None:
        engine.submit(asked[0], SamplingConfig(max_new_tokens=asked[1]))

    def all_of_them(count: int) -> tuple[int, float]:
        waiting, tokens = requests(count), 0
        began = time.perf_counter()
        while waiting or len(engine):
            while waiting and len(engine) < options.clients:
                submit(waiting.pop())
            tokens += sum(event.id is not None for event in engine.step())
        return tokens, time.perf_counter() - began

    def firsts() -> list[float]:
        seconds = []
        for asked in requests(FIRSTS):
            began = time.perf_counter()
            submit((asked[0], 2))
            engine.step()
            seconds.append(time.perf_counter() - began)
            engine.step()
        return seconds

    all_of_them(options.clients)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(
            json.dumps(firsts() if line == "first\n" else all_of_them(options.requests)), flush=True
        )


# Servers


def post(asked: Asked, prompt: Any, path: str, **more: Any) -> bytes:
    body = {"prompt": prompt, "max_tokens": asked[1], "temperature": 0, **more}
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


async def answer(reader: asyncio.StreamReader) -> tuple[float, bytes]:
    """Return when the first part of an answer's body came, and the whole body."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise ConnectionError(head + await reader.read(1000))
    if b"content-length: " in head:
        body = await reader.readexactly(int(head.split(b"content-length: ")[1].split()[0]))
        return time.perf_counter(), body
    first, body = 0.0, b""
    while length := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(length + 2))[:-2]
        first = first or time.perf_counter()
    await reader.readexactly(2)
    return first, body


async def crowd(port: int, clients: int, sent: Sequence[bytes]) -> tuple[int, float]:
    """Send requests from several clients at once; return the tokens written, and the seconds."""
    waiting, tokens = [*sent], 0

    async def client() -> None:
        nonlocal tokens
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while waiting:
            writer.write(waiting.pop())
            _, body = await answer(reader)
            usage = body.rpartition(b'"completion_tokens":')[2]
            tokens += int(usage.partition(b",")[0].strip(b" }"))
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return tokens, time.perf_counter() - began


async def firsts(port: int) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    seconds = []
    for asked in requests(FIRSTS):
        began = time.perf_counter()
        writer.write(post((asked[0], 2), asked[0], "/v1/completions", stream=True))
        seconds.append((await answer(reader))[0] - began)
    writer.close()
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


def start_transformers(stack: ExitStack, model: str) -> tuple[int, str] | None:
    """Start transformers serve, and return its port and the model's name; say why not."""
    lacking = [n for n in ("transformers", "accelerate") if importlib.util.find_spec(n) is None]
    if lacking:
        print(f"transformers serve is left out: {', '.join(lacking)} is not installed")
        return None
    from gpt1.checkpoint import hub

    folder, port = str(hub.resolve(model)), free_port()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", folder]
    stack.enter_context(server([*command, "--port", str(port)], port))
    try:
        trial = post(([], 4), "the dog", "/v1/completions", model=folder)
        asyncio.run(crowd(port, 1, [trial]))
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        print(f"transformers serve is left out: it cannot serve {model}: {error}")
        return None
    return port, folder


def measure(options: argparse.Namespace, stack: ExitStack) -> dict[str, list[Any]]:
    """Return what each part gave in each run: (tokens, seconds), or seconds to first tokens."""
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

    def ask_engine(part: str) -> Any:
        print(part, file=engine.stdin, flush=True)
        return json.loads(engine.stdout.readline())

    def ask_server(**more: Any) -> Any:
        sent = [post(a, a[0], "/v1/completions", **more) for a in asked]
        return asyncio.run(crowd(port, options.clients, sent))

    usage = {"include_usage": True}
    parts: dict[str, Callable[[], Any]] = {
        "engine": lambda: ask_engine("all"),
        "stream": lambda: ask_server(stream=True, stream_options=usage),
        "whole": lambda: ask_server(),
        "first engine": lambda: ask_engine("first"),
        "first server": lambda: asyncio.run(firsts(port)),
    }
    if other := start_transformers(stack, options.model):
        text = [" ".join(["dog"] * len(ids)) for ids, _ in asked]  # it takes no ids
        sent = [
            post(a, t, "/v1/completions", model=other[1]) for a, t in zip(asked, text, strict=True)
        ]
        parts["transformers"] = lambda: asyncio.run(crowd(other[0], options.clients, sent))
    found: dict[str, list[Any]] = {part: [] for part in parts}
    for run in range(options.runs + 1):
        for part, call in parts.items():
            result = call()
            if run:
                found[part].append(result)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=128)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--engine", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        work(options)
        return
    with ExitStack() as stack:
        found = measure(options, stack)
    print(f"{options.model}, {options.clients} clients, {options.requests} requests")
    results: dict[str, float] = {}
    for part in [part for part in found if not part.startswith("first")]:
        rates = [tokens / seconds for tokens, seconds in found[part]]
        results[part] = statistics.median(rates)
        share = results[part] / results["engine"]
        spread = f"{min(rates):,.0f}-{max(rates):,.0f}"
        print(f"{part:14}{results[part]:9,.0f} tokens/s{spread:>16}{share:8.0%} of the engine")
    if "transformers" in found:
        results["times transformers"] = results["whole"] / results["transformers"]
        print(f"{results['times transformers']:.1f} times as fast as transformers serve")
    for name, share in (("median", 0.5), ("p99", 0.99)):
        engine, server = (
            1000 * statistics.median(sorted(run)[int(share * len(run))] for run in found[part])
            for part in ("first engine", "first server")
        )
        results[f"first {name} added ms"] = server - engine
        print(f"first token, {name}: engine {engine:.1f} ms, server {server:.1f} ms")
    settings = {name: getattr(options, name) for name in ("model", "clients", "requests", "runs")}
    document = {"benchmark": "serve", "machine": platform.machine(), **settings}
    print(json.dumps({**document, "results": results}))


if __name__ == "__main__":
    main()
