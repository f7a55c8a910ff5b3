"""How fast are generation and training on a GPU, beside transformers on the same card?

    python benchmarks/gpu.py [--size gpt1] [--new 128] [--runs 5]

Random weights, bfloat16, greedy. Measured: one stream, 32 and 256 streams after a prompt of 32 ids,
the first id after 8 prompts of 3/4 of the positions, and a training step of 32 windows
(bfloat16 autocast, dropout 0.1, clipping, Adam; our blocks compiled, as in training). transformers
has no cache for GPT-1. Runs alternate, the median counts. Prints a table; the last line is one JSON
document. Without CUDA it says so and exits with 2.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

PROMPT = 32
PREFILLS = 8
BATCH = 32
Way = Callable[[], object]


def transformers_model(config: Any) -> Any:
    """The same shape in transformers; its weights do not matter to its speed."""
    from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

    shape = config.model_dump(include={"vocab_size", "n_embd", "n_layer", "n_head"})
    return OpenAIGPTLMHeadModel(OpenAIGPTConfig(n_positions=config.n_ctx, **shape))


def generation(config: Any, new: int) -> dict[str, tuple[int, Way, Way]]:
    """Return for each task its ids, our way and transformers' way."""
    from gpt1.config import SamplingConfig
    from gpt1.generation.engine import Engine
    from gpt1.generation.torch_backend import make_backend
    from gpt1.model.transformer import Transformer
    from gpt1.text.tokenizer import Tokenizer
    from gpt1.text.vocabulary import Vocabulary

    words = {f"w{i}</w>": i for i in range(1, config.vocab_size)}
    tokenizer = Tokenizer(Vocabulary.of({"<unk>": 0, **words}, []))
    model = Transformer(config, generator=torch.Generator().manual_seed(0)).cuda().eval()
    backend = make_backend(model, "bfloat16")
    theirs = transformers_model(config).to("cuda", torch.bfloat16).eval()

    def ours(streams: int, length: int, count: int) -> Way:
        prompts = torch.randint(1, config.vocab_size, (streams, length)).tolist()
        sampling = SamplingConfig(max_new_tokens=count)

        def way() -> None:
            engine = Engine(backend, tokenizer, slots=streams, capacity=length + count)
            for prompt in prompts:
                engine.submit(prompt, sampling)
            while len(engine):
                failed = [event.error for event in engine.step() if event.error]
                assert not failed, failed

        return way

    def other(streams: int, length: int, count: int) -> Way:
        ids = torch.randint(1, config.vocab_size, (streams, length), device="cuda")
        fixed = {"min_new_tokens": count, "do_sample": False, "pad_token_id": 0}
        mask = torch.ones_like(ids)
        return lambda: theirs.generate(ids, attention_mask=mask, max_new_tokens=count, **fixed)

    tasks = {
        f"{n} stream{'s' * (n > 1)}": (n * new, ours(n, PROMPT, new), other(n, PROMPT, new))
        for n in (1, 32, 256)
    }
    long = config.n_ctx * 3 // 4
    prefill = ours(PREFILLS, long, 1), other(PREFILLS, long, 1)
    return {**tasks, f"prefill, {PREFILLS} x {long}": (PREFILLS * long, *prefill)}


def training(config: Any) -> dict[str, tuple[int, Way, Way]]:
    """Return the ids of a training step, ours and transformers'."""
    from gpt1.config import OptimizerConfig
    from gpt1.model.losses import linear_cross_entropy
    from gpt1.model.transformer import Transformer
    from gpt1.training import optimizers

    model, theirs = Transformer(config).cuda().train(), transformers_model(config).cuda().train()
    for block in model.blocks:
        block.compile()
    ids = torch.randint(1, config.vocab_size, (BATCH, config.n_ctx + 1), device="cuda")
    adam = torch.optim.AdamW(theirs.parameters(), lr=2.5e-4, fused=True)
    own = optimizers.build(model, OptimizerConfig())

    def our_loss() -> torch.Tensor:
        states = model.hidden(ids[:, :-1])
        total, count = linear_cross_entropy(states, model.tokens.weight, ids[:, 1:])
        return total / count

    def their_loss() -> torch.Tensor:
        return theirs(ids[:, :-1], labels=ids[:, :-1]).loss

    def step(module: torch.nn.Module, optimizer: Any, loss: Callable[[], torch.Tensor]) -> None:
        with torch.autocast("cuda", torch.bfloat16):
            value = loss()
        value.backward()
        optimizers.clip(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    name = f"training step, {BATCH} x {config.n_ctx}"
    ways = lambda: step(model, own, our_loss), lambda: step(theirs, adam, their_loss)
    return {name: (BATCH * config.n_ctx, *ways)}


def seconds(way: Way) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    way()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def rates(tasks: dict[str, tuple[int, Way, Way]], runs: int) -> dict[str, dict[str, float]]:
    """Return ids a second of both ways, the median of alternating runs."""
    found = {}
    for name, (count, *ways) in tasks.items():
        for way in ways:
            way()  # compiles and captures
        turns = [[seconds(way) for way in ways] for _ in range(runs)]
        ours, theirs = (count / statistics.median(column) for column in zip(*turns, strict=True))
        found[name] = {"ours": ours, "transformers": theirs, "ratio": ours / theirs}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="gpt1", choices=["tiny", "mini", "gpt1"])
    parser.add_argument("--new", type=int, default=128)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("gpu.py: torch finds no CUDA device here, so nothing was measured.", file=sys.stderr)
        sys.exit(2)
    from rich.console import Console
    from rich.table import Table

    from gpt1.config import load_size

    torch.manual_seed(0)
    config = load_size(options.size)
    results = rates(generation(config, options.new), options.runs)
    torch.cuda.empty_cache()
    results |= rates(training(config), options.runs)
    card = torch.cuda.get_device_name()
    table = Table("task", "ours, ids/s", "transformers, ids/s", "ratio", title=card)
    for name, row in results.items():
        numbers = f"{row['ours']:,.0f}", f"{row['transformers']:,.0f}", f"{row['ratio']:.2f}"
        table.add_row(name, *numbers)
    Console(width=100).print(table)
    document = {"benchmark": "gpu", "card": card, "torch": torch.__version__}
    print(json.dumps({**document, **vars(options), "results": results}))


if __name__ == "__main__":
    main()
