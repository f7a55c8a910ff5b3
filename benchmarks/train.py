"""Compare the speed of a training step with that of transformers: same machine, model and batch.

Each contender runs in its own process, so that peak memory can be measured, with the wait policy
that it has by itself: ours with gpt1's (OpenMP's threads sleep while they wait), the others with
torch's (they spin). Steps alternate and the median is reported. A step is forward, backward,
clipping to norm 1 and Adam, with dropout 0.1 and random ids. transformers runs under bf16 autocast
and in float32, with torch's fused AdamW. The share of the matrix peak counts 6 FLOP per parameter
and token.

    python benchmarks/train.py --size gpt1 --batch 4
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpt1.config import ModelConfig

SHELL = dict(os.environ)  # before gpt1 is imported, which sets a wait policy
CONTENDERS = ("ours", "transformers bf16", "transformers float32")


def make_step(name: str, size: str, batch: int) -> tuple[Callable[[], float], ModelConfig]:
    """Return a call that makes a step of a contender and returns its seconds, and the shape."""
    if name == "ours":
        import gpt1  # noqa: F401  before torch, which reads the wait policy as it is loaded
    import torch

    from gpt1.config import OptimizerConfig, load_size
    from gpt1.model.allocator import keep_freed_memory
    from gpt1.model.losses import linear_cross_entropy
    from gpt1.model.transformer import Transformer
    from gpt1.training import optimizers

    config = load_size(size)
    torch.manual_seed(0)
    if name == "ours":
        keep_freed_memory()
        model: torch.nn.Module = Transformer(config)
        optimizer = optimizers.build(model, OptimizerConfig())
    else:
        from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

        shape = config.model_dump(include={"vocab_size", "n_embd", "n_layer", "n_head"})
        model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(n_positions=config.n_ctx, **shape))
        optimizer = torch.optim.AdamW(model.parameters(), lr=2.5e-4, fused=True)
    model.train()

    def step() -> float:
        ids = torch.randint(0, config.vocab_size, (batch, config.n_ctx + 1))
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=name != "transformers float32"):
            if isinstance(model, Transformer):
                hidden = model.hidden(ids[:, :-1])
                total, count = linear_cross_entropy(hidden, model.tokens.weight, ids[:, 1:])
                loss = total / count
            else:
                loss = model(ids[:, :-1], labels=ids[:, :-1]).loss
        loss.backward()
        optimizers.clip(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - began

    return step, config


def contender(name: str, size: str, batch: int) -> None:
    """Run one step per line on stdin and print its seconds; print the peak memory in MB last."""
    step, _ = make_step(name, size, batch)
    step()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(step(), flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)


def matrix_peak(width: int) -> float:
    """Return the best bf16 FLOP/s of a (1024, C) x (C, 4C) product over 50 runs."""
    import torch

    a = torch.randn(1024, width).bfloat16()
    b = torch.randn(4 * width, width).bfloat16()
    best = float("inf")
    for _ in range(50):
        began = time.perf_counter()
        torch.nn.functional.linear(a, b)
        best = min(best, time.perf_counter() - began)
    return 2 * 1024 * width * 4 * width / best


def loading(config: ModelConfig, batch: int) -> float:
    """Return the median seconds to load one step's data from a file on disk."""
    import numpy as np

    from gpt1.data.batches import WindowBatches

    with tempfile.NamedTemporaryFile() as file:
        ids = np.random.default_rng(0).integers(0, config.vocab_size, 20_000_000, dtype=np.uint16)
        file.write(ids.tobytes())
        file.flush()
        batches = WindowBatches(np.memmap(file.name, np.uint16, "r"), config.n_ctx, batch)
        seconds = []
        for step in range(50):
            began = time.perf_counter()
            batches.update(step)
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="gpt1")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contender", choices=CONTENDERS)
    options = parser.parse_args()
    if options.contender:
        contender(options.contender, options.size, options.batch)
        return
    from gpt1.config import load_size
    from gpt1.model.build import count_parameters

    config = load_size(options.size)
    peak = matrix_peak(config.n_embd)
    workers = {}
    for name in CONTENDERS:
        command = [sys.executable, __file__, "--contender", name]
        command += ["--size", options.size, "--batch", str(options.batch)]
        workers[name] = subprocess.Popen(
            command, env=SHELL, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert workers[name].stdout.readline() == "ready\n"
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(options.rounds):
        for name, worker in workers.items():
            worker.stdin.write("\n")
            worker.stdin.flush()
            seconds[name].append(float(worker.stdout.readline()))
    tokens = options.batch * config.n_ctx
    flops = 6 * count_parameters(config) * tokens
    ours = statistics.median(seconds["ours"])
    result = {"size": options.size, "batch": options.batch, "peak_gflops": peak / 1e9}
    print(
        f"{options.size}, batch {options.batch} x {config.n_ctx}, median of {options.rounds} steps"
    )
    print(f"bf16 matrix peak: {peak / 1e9:,.0f} GFLOP/s\n")
    print(f"{'':22}{'tokens/s':>10}{'range':>18}{'of peak':>9}{'peak MB':>9}{'speed-up':>9}")
    for name, worker in workers.items():
        worker.stdin.close()
        memory = float(worker.stdout.readline())
        worker.wait()
        median = statistics.median(seconds[name])
        low, high = tokens / max(seconds[name]), tokens / min(seconds[name])
        print(
            f"{name:22}{tokens / median:10,.0f}{f'{low:,.0f}-{high:,.0f}':>18}"
            f"{flops / median / peak:9.0%}{memory:9,.0f}{median / ours:8.2f}x"
        )
        result[name] = {
            "tokens_per_second": tokens / median,
            "seconds": seconds[name],
            "share_of_peak": flops / median / peak,
            "peak_mb": memory,
            "ratio": median / ours,
        }
    result["loader_share"] = loading(config, options.batch) / ours
    print(f"\nloading the data takes {result['loader_share']:.3%} of our step")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
