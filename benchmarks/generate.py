"""How fast is text written, and what do 16-bit weights cost in exactness?

    python benchmarks/generate.py [--size mini --size gpt1] [--new 64] [--runs 5] [--threads 1]

Random weights; a prompt of 7 ids; greedy, so that all write the same amount. Compared: 16-bit
weights (the default), float32, and transformers' generate, which has no cache for GPT-1; then 32
prompts of equal length and 32 of mixed length, with the same number of ids in all. Runs alternate,
the median counts. Prints a table; the last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

from gpt1.config import ModelConfig, SamplingConfig, load_size
from gpt1.generation.engine import SLOTS, generate
from gpt1.generation.scoring import evaluation_mode
from gpt1.generation.torch_backend import TorchBackend, make_backend
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import Tokenizer
from gpt1.text.vocabulary import Vocabulary

PROMPT = [357, 240, 547, 258, 544, 495, 488]
BATCH = 8


def made_up_tokenizer(size: int) -> Tokenizer:
    """A vocabulary of `size` made-up words: detokenizing is part of the work that is timed."""
    words = {f"w{i}</w>": i for i in range(1, size)}
    return Tokenizer(Vocabulary.of({"<unk>": 0, **words}, []))


def transformers_model(config: ModelConfig) -> OpenAIGPTLMHeadModel:
    """The same shape in transformers; its weights do not matter to its speed."""
    return OpenAIGPTLMHeadModel(
        OpenAIGPTConfig(
            vocab_size=config.vocab_size,
            n_positions=config.n_ctx,
            n_embd=config.n_embd,
            n_layer=config.n_layer,
            n_head=config.n_head,
        )
    ).eval()


def logits_error(backend: TorchBackend, model: Transformer) -> dict[str, float]:
    """Compare the logits of random ids: the largest error, and how often the best id agrees."""
    T = model.config.n_ctx
    ids = torch.randint(model.config.vocab_size, (1, T))
    cache, slots = backend.new_cache(1, T), slice(0, 1)
    rows = [backend.prefill(ids[:, :1], torch.tensor([1]), cache, slots)]
    rows += [backend.decode(ids[:, t], cache, slots) for t in range(1, T)]
    with evaluation_mode(model):
        a, b = torch.cat(rows), model(ids).logits[0]  # (T, V)
        p = b.double().log_softmax(-1)
        kl = F.kl_div(a.double().log_softmax(-1), p, log_target=True, reduction="batchmean")
    return {
        "max_error": float((a - b).abs().max()),
        "max_logit": float(b.abs().max()),
        "argmax_agreement": float((a.argmax(-1) == b.argmax(-1)).float().mean()),
        "kl_per_position": float(kl),
    }


def mixed_prompts(new: int, n_ctx: int) -> tuple[list[list[int]], list[list[int]]]:
    """Return SLOTS prompts of one length, and SLOTS of lengths from 1 to about twice that."""
    longest = min(256, n_ctx - new)
    lengths = [1 + i * (longest - 1) // (SLOTS - 1) for i in range(SLOTS)]
    random.Random(0).shuffle(lengths)
    equal = sum(lengths) // SLOTS
    ids = PROMPT * (longest // len(PROMPT) + 1)
    return [ids[:equal]] * SLOTS, [ids[:length] for length in lengths]


def timings(size: str, new: int, runs: int) -> dict[str, Any]:
    """Return ids a second of every way to write, the median of alternating runs."""
    config = load_size(size)
    model = Transformer(config, generator=torch.Generator().manual_seed(0)).eval()
    tokenizer = made_up_tokenizer(config.vocab_size)
    half, exact = make_backend(model), make_backend(model, "float32")
    equal, mixed = mixed_prompts(new, config.n_ctx)
    theirs = transformers_model(config)
    greedy = SamplingConfig(max_new_tokens=new)
    sampled = SamplingConfig(max_new_tokens=new, temperature=0.8, top_k=40, seed=0)
    prompt = torch.tensor([PROMPT])

    def run_theirs() -> None:
        theirs.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=new,
            min_new_tokens=new,
            do_sample=False,
            pad_token_id=0,
        )

    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "default": (new, lambda: generate(half, tokenizer, [PROMPT], greedy)),
        "default, sampled": (new, lambda: generate(half, tokenizer, [PROMPT], sampled)),
        "float32": (new, lambda: generate(exact, tokenizer, [PROMPT], greedy)),
        "transformers": (new, run_theirs),
        f"default, batch of {BATCH}": (
            new * BATCH,
            lambda: generate(half, tokenizer, [PROMPT] * BATCH, greedy),
        ),
        f"{SLOTS} of equal length": (new * SLOTS, lambda: generate(half, tokenizer, equal, greedy)),
        f"{SLOTS} of mixed length": (new * SLOTS, lambda: generate(half, tokenizer, mixed, greedy)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(runs + 1):
        for name, (_, way) in ways.items():
            start = time.perf_counter()
            way()
            if turn:  # the first is to warm up
                seconds[name].append(time.perf_counter() - start)
    rates = {name: ways[name][0] / statistics.median(seconds[name]) for name in ways}
    return {"weights": half.weights, "ids_per_second": rates, **logits_error(half, model)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", action="append", choices=["tiny", "mini", "gpt1"])
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    sizes = arguments.size or ["mini", "gpt1"]
    results = {size: timings(size, arguments.new, arguments.runs) for size in sizes}

    table = Table("size", "way", "ids/s", "to transformers")
    for size, result in results.items():
        rates = result["ids_per_second"]
        for name, rate in rates.items():
            table.add_row(size, name, f"{rate:.1f}", f"{rate / rates['transformers']:.1f} x")
    console = Console(width=100)
    console.print(table)
    for size, result in results.items():
        console.print(
            f"{size}: {result['weights']} weights change logits by at most "
            f"{result['max_error']:.1e} of {result['max_logit']:.2f}; the best id agrees at "
            f"{result['argmax_agreement']:.2%} of positions"
        )
    document = {
        "benchmark": "generate",
        "machine": platform.machine(),
        "torch": torch.__version__,
        "new": arguments.new,
        "threads": arguments.threads,
        "results": results,
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
