"""How fast are texts scored and classified, beside transformers with the same weights?

    python benchmarks/score.py [--size mini --size gpt1] [--texts 16] [--runs 5] [--threads 2]

Random weights. Log-probabilities of every id of texts of 512 ids, and the scores of a classifier on
texts of 8 to 64 ids, in batches of 32. transformers in float32 and bfloat16; ours in float32, the
default, and with matrices of 16 bits. All run in one process, which imports torch before gpt1: both
have torch's wait policy, by which OpenMP's threads spin. Runs alternate, the median counts. Prints
a table; the last line is one JSON document.
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
from rich.console import Console
from rich.table import Table
from transformers import (
    OpenAIGPTConfig,
    OpenAIGPTForSequenceClassification,
    OpenAIGPTLMHeadModel,
)

from gpt1.checkpoint import hub, huggingface
from gpt1.config import ModelConfig, load_size
from gpt1.generation.kernels import KERNELS
from gpt1.generation.scoring import continuation_logprobs
from gpt1.generation.torch_backend import narrow
from gpt1.model.transformer import Transformer
from gpt1.tasks import network
from gpt1.tasks.kinds import task_from_json
from gpt1.tasks.predictor import Predictor
from gpt1.tasks.spec import Example
from gpt1.text.tokenizer import Tokenizer

BATCH = 32
LENGTH = 512


def theirs(kind: type, config: ModelConfig, dtype: torch.dtype) -> Any:
    """Return transformers' model of the same shape; its weights do not matter to its speed."""
    return kind(OpenAIGPTConfig(**huggingface.write_config(config, None))).eval().to(dtype)


def texts(config: ModelConfig, count: int, shortest: int, longest: int) -> list[list[int]]:
    source = random.Random(0)
    lengths = [source.randint(shortest, longest) for _ in range(count)]
    return [[source.randrange(1, config.vocab_size) for _ in range(n)] for n in lengths]


@torch.inference_mode()
def their_logprobs(model: Any, rows: list[list[int]]) -> None:
    for row in rows:
        ids = torch.tensor([row])
        logits = model(ids[:, :-1]).logits.log_softmax(-1)
        logits.gather(2, ids[:, 1:, None]).sum().item()


@torch.inference_mode()
def their_classes(model: Any, rows: list[list[int]]) -> None:
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        longest = max(map(len, batch))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in batch])
        model(ids).logits.argmax(-1).tolist()


def scoring_ways(size: str, count: int) -> tuple[int, dict[str, Callable[[], object]]]:
    """Return the number of ids, and every way to give them their log-probabilities."""
    config = load_size(size)
    rows = texts(config, count, LENGTH, LENGTH)
    model = Transformer(config).eval()
    models = {"float32": model, **{width: narrow(model, width) for width in KERNELS}}
    kind = OpenAIGPTLMHeadModel
    half, full = theirs(kind, config, torch.bfloat16), theirs(kind, config, torch.float32)
    ways: dict[str, Callable[[], object]] = {
        "transformers float32": lambda: their_logprobs(full, rows),
        "transformers bfloat16": lambda: their_logprobs(half, rows),
    }
    for width, narrowed in models.items():
        ways[f"gpt1 {width}"] = lambda narrowed=narrowed: continuation_logprobs(
            narrowed, [row[:1] for row in rows], [[row[1:]] for row in rows]
        )
    return count * (LENGTH - 1), ways


def class_ways(size: str, count: int) -> tuple[int, dict[str, Callable[[], object]]]:
    """Return the number of texts, and every way to classify them."""
    tokenizer = Tokenizer.load(hub.resolve("mini"))
    config = load_size(size).model_copy(update={"vocab_size": len(tokenizer)})
    written = [tokenizer.decode(row) for row in texts(config, count, 8, 64)]
    rows = tokenizer.encode_batch(written)
    task = task_from_json({"kind": "classification", "classes": ["no", "yes"]})
    model = Transformer(config).eval()
    network.add_special_rows(model, tokenizer)
    network.add_head(model, task)
    examples = [Example((text,), None) for text in written]
    encoded = Predictor(model, tokenizer, task).encode(examples)
    kind = OpenAIGPTForSequenceClassification
    full, half = theirs(kind, config, torch.float32), theirs(kind, config, torch.bfloat16)
    for other in (full, half):
        other.config.pad_token_id = 0
    ways: dict[str, Callable[[], object]] = {
        "transformers float32": lambda: their_classes(full, rows),
        "transformers bfloat16": lambda: their_classes(half, rows),
    }
    for width in ("float32", *KERNELS):
        predictor = Predictor(narrow(model, width), tokenizer, task)  # type: ignore[arg-type]
        ways[f"gpt1 {width}"] = lambda predictor=predictor: predictor.score(
            encoded, batch_size=BATCH
        )
    return count, ways


def rates(count: int, ways: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Return what is done a second by each way, the median of alternating runs."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(runs + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn:  # the first is to warm up
                seconds[name].append(time.perf_counter() - start)
    return {name: count / statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", action="append", choices=["tiny", "mini", "gpt1"])
    parser.add_argument("--texts", type=int, default=8)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results: dict[str, Any] = {}
    table = Table("size", "what", "way", "a second", "to float32", "to bfloat16")
    for size in arguments.size or ["mini", "gpt1"]:
        for what, make in (("ids scored", scoring_ways), ("texts classified", class_ways)):
            count, ways = make(size, arguments.texts * (1 if make is scoring_ways else 16))
            found = results.setdefault(size, {})[what] = rates(count, ways, arguments.runs)
            for way, rate in found.items():
                ratios = [
                    rate / found[f"transformers {dtype}"] for dtype in ("float32", "bfloat16")
                ]
                table.add_row(size, what, way, f"{rate:,.0f}", *(f"{r:.2f} x" for r in ratios))
    Console(width=100).print(table)
    document = {
        "benchmark": "score",
        "machine": platform.machine(),
        "torch": torch.__version__,
        "threads": arguments.threads,
        "results": results,
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
