"""What is left of the speed when another program keeps a core busy?

    python benchmarks/busy.py [--size mini] [--seconds 4] [--turns 3] [--batch 4] [--all-settings]
                              [--only train]

Two measurements, each in a process of its own: ids a second that one stream writes, and tokens a
second of training steps. Each is made quiet and beside a process that only counts, in turns; the
median counts. As gpt1 is imported, it asks OpenMP's threads to sleep while they wait, so that is
the first setting. --all-settings measures others: threads that spin for a short while or for good
(which is what torch does by itself), and one thread. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager

SETTINGS = {
    "gpt1": {},
    "short spin": {"GOMP_SPINCOUNT": "1000"},
    "long spin": {"OMP_WAIT_POLICY": "active"},
    "torch": {"OMP_WAIT_POLICY": "undefined"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
"""Variables beside those of the shell; "undefined" keeps gpt1 from choosing, and OpenMP warns."""
PARTS = ("generate", "train")


def generation(size: str) -> Callable[[], int]:
    """Return a call that writes 16 ids behind the last ones, and returns how many."""
    import torch

    from gpt1.config import load_size
    from gpt1.generation.torch_backend import make_backend
    from gpt1.model.transformer import Transformer

    config = load_size(size)
    backend = make_backend(Transformer(config, generator=torch.Generator().manual_seed(0)).eval())
    cache, row = backend.new_cache(1, config.n_ctx), slice(0, 1)

    def write() -> int:
        ids = backend.prefill(torch.ones(1, 32, dtype=torch.int64), torch.tensor([32]), cache, row)
        for _ in range(16):
            ids = backend.decode(ids.argmax(-1).view(1), cache, row)
        return 16

    return write


def training(size: str, batch: int) -> Callable[[], int]:
    """Return a call that makes a training step, and returns its number of tokens."""
    import train

    step, config = train.make_step("ours", size, batch)

    def go() -> int:
        step()
        return batch * config.n_ctx

    return go


def part(name: str, size: str, batch: int) -> None:
    """Print a rate for each line of stdin: a number of seconds to work for."""
    import gpt1  # noqa: F401  before torch, which reads the wait policy as it is loaded

    work = generation(size) if name == "generate" else training(size, batch)
    work()
    print("ready", flush=True)
    for line in sys.stdin:
        done, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < float(line):
            done += work()
        print(done / spent, flush=True)


@contextmanager
def busy_core():
    """Keep one core busy."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.2)
        yield
    finally:
        other.kill()
        other.wait()


def measure(
    name: str, setting: str, options: argparse.Namespace, shell: dict[str, str]
) -> dict[str, float]:
    """Return the median rates of a part, quiet and busy."""
    command = [sys.executable, __file__, "--part", name]
    command += ["--size", options.size, "--batch", str(options.batch)]
    rates: dict[str, list[float]] = {"quiet": [], "busy": []}
    with subprocess.Popen(
        command, env=shell | SETTINGS[setting],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as worker:  # fmt: skip
        assert worker.stdout.readline() == "ready\n"

        def rate() -> float:
            worker.stdin.write(f"{options.seconds}\n")
            worker.stdin.flush()
            return float(worker.stdout.readline())

        for _ in range(options.turns):
            rates["quiet"].append(rate())
            with busy_core():
                rates["busy"].append(rate())
        worker.stdin.close()
    return {state: statistics.median(values) for state, values in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="mini")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--all-settings", action="store_true")
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        part(options.part, options.size, options.batch)
        return
    shell = dict(os.environ)
    print(f"{'':10}{'setting':14}{'quiet':>10}{'busy':>10}{'kept':>8}   ids or tokens a second")
    results: dict[str, dict[str, dict[str, float]]] = {}
    for name in options.only or PARTS:
        results[name] = {}
        for setting in SETTINGS if options.all_settings else ("gpt1",):
            rates = measure(name, setting, options, shell)
            kept = rates["busy"] / rates["quiet"]
            results[name][setting] = {**rates, "kept": kept}
            print(
                f"{name:10}{setting:14}{rates['quiet']:10,.0f}{rates['busy']:10,.0f}{kept:8.0%}",
                flush=True,
            )
    print(json.dumps({"benchmark": "busy", "size": options.size, "results": results}))


if __name__ == "__main__":
    main()
