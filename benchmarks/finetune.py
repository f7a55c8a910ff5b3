"""How fast is fine-tuning on a task, beside the same recipe written with transformers?

Both train a classifier of `mini`'s shape on the same rows of SST-2, from the same ids. Ours packs
the 32 examples of an update without padding, and pays for the auxiliary LM loss. The other is
OpenAIGPTForSequenceClassification: bf16 autocast, shuffled batches of 32 padded to their longest,
fused AdamW, no auxiliary loss. Each lives in a process of its own, with the wait policy that it has
by itself; blocks of updates alternate, and the median block counts. Tokens are real ones, padding
is not counted.

    python benchmarks/finetune.py [DATA_FOLDER] --rows 10000
    python benchmarks/finetune.py [DATA_FOLDER] --rows 10000 --whole  # 3 epochs and a test
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

CONTENDERS = ("ours", "transformers bf16")
BATCH = 32


def theirs(rows: list[list[int]], labels: list[int], vocab_size: int):
    """Return a function that makes one update and returns its number of real tokens."""
    import torch
    from transformers import OpenAIGPTConfig, OpenAIGPTForSequenceClassification

    from gpt1.config import load_size

    shape = load_size("mini").model_dump(include={"n_embd", "n_layer", "n_head"})
    config = OpenAIGPTConfig(vocab_size=vocab_size + 1, pad_token_id=vocab_size, **shape)
    model = OpenAIGPTForSequenceClassification(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, fused=True)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()

    def update(number: int) -> int:
        chosen = [order[(number * BATCH + i) % len(rows)] for i in range(BATCH)]
        longest = max(len(rows[i]) for i in chosen)
        ids = torch.full((BATCH, longest), vocab_size)
        for row, i in enumerate(chosen):
            ids[row, : len(rows[i])] = torch.tensor(rows[i])
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(
                ids,
                attention_mask=(ids != vocab_size).long(),
                labels=torch.tensor([labels[i] for i in chosen]),
            ).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return sum(len(rows[i]) for i in chosen)

    return update


def contender(name: str, data: str, count: int, updates: int) -> None:
    """Make a block of updates for every line on stdin; answer with its tokens a second."""
    import torch

    import gpt1
    from gpt1.config import load_run
    from gpt1.model.allocator import keep_freed_memory
    from gpt1.tasks import network
    from gpt1.tasks.collate import TaskBatches, encode
    from gpt1.tasks.datasets import data_set
    from gpt1.training import objectives
    from gpt1.training.step import Updater

    torch.manual_seed(0)
    task = data_set("sst2").task
    found = data_set("sst2").load(data, "train", count)
    gpt = gpt1.load("mini")
    tokenizer = gpt.tokenizer.with_words("original")
    network.add_special_rows(gpt.model, tokenizer)
    network.add_head(gpt.model, task)
    encoded = encode(found.examples, task, tokenizer, gpt.config.n_ctx)
    if name == "ours":
        keep_freed_memory()
        config = load_run(recipe="small")
        objective = objectives.supervised(task, config.task, gpt.config.n_ctx)
        updater = Updater(gpt.model, objective, config, dtype=torch.bfloat16)
        batches = TaskBatches(encoded, BATCH)

        def update(number: int) -> int:
            given = batches.update(number)
            updater.update(given, number, lr=5e-4)
            return sum(batch.targets + batch.samples for batch in given)
    else:
        starts = encoded.offsets
        rows = [encoded.ids[a : b - 1].tolist() for a, b in itertools.pairwise(starts)]
        labels = encoded.targets.argmax(1).tolist()
        update = theirs(rows, labels, len(tokenizer))
    update(0)
    print("ready", flush=True)
    number = 1
    for _ in sys.stdin:
        began, tokens = time.perf_counter(), 0
        for _ in range(updates):
            tokens += update(number)
            number += 1
        print(tokens / (time.perf_counter() - began), flush=True)


def race(data: str, count: int, blocks: int, updates: int) -> dict[str, object]:
    """Return the median tokens a second of each contender, and the ratio."""
    running = {}
    for name in CONTENDERS:
        command = [sys.executable, __file__, data, "--rows", str(count), "--updates", str(updates)]
        running[name] = subprocess.Popen(
            [*command, "--contender", name], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert running[name].stdout.readline() == "ready\n"  # type: ignore[union-attr]
    speeds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(blocks):
        for name, process in running.items():
            process.stdin.write("go\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            speeds[name].append(float(process.stdout.readline()))  # type: ignore[union-attr]
    for process in running.values():
        process.stdin.close()  # type: ignore[union-attr]
        process.wait()
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    return {
        "tokens_per_second": medians,
        "ratio": medians["ours"] / medians["transformers bf16"],
        "blocks": speeds,
    }


def whole(data: str, count: int) -> dict[str, object]:
    """Return the seconds of three epochs and an evaluation, and of predicting 1,000 texts."""
    import gpt1
    from gpt1.config import load_run
    from gpt1.tasks.datasets import data_set
    from gpt1.tasks.metrics import accuracy
    from gpt1.tasks.predictor import Predictor
    from gpt1.training import supervised
    from gpt1.training.run import RunOptions

    task = data_set("sst2").task
    train = data_set("sst2").load(data, "train", count)
    test = data_set("sst2").load(data, "dev")
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        gpt = gpt1.load("mini")
        model, tokenizer = supervised.finetune(
            gpt.model, gpt.tokenizer, task, train.examples, [],
            load_run(recipe="small"), RunOptions(f"{folder}/run"),
        )  # fmt: skip
        predictor = Predictor(model, tokenizer, task)
        predicted = predictor.decide(predictor.probabilities(test.examples))
        seconds = time.perf_counter() - began
        began = time.perf_counter()
        predictor.probabilities(test.examples + train.examples[: 1000 - len(test.examples)])
        predicting = time.perf_counter() - began
    return {
        "seconds_to_train_and_evaluate": seconds,
        "dev_accuracy": accuracy([e.label for e in test.examples], predicted),
        "seconds_for_1000_predictions": predicting,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    usual = os.environ.get("GPT1_DATA", "../shared/data")
    parser.add_argument("data", nargs="?", default=usual, help="the folder of data sets")
    parser.add_argument("--rows", type=int, default=10000)
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contender:
        if given.contender == "ours":
            import gpt1  # noqa: F401  before torch, which reads the wait policy as it is loaded
        contender(given.contender, given.data, given.rows, given.updates)
        return
    if given.whole:
        found = whole(given.data, given.rows)
        for name, value in found.items():
            print(f"{name.replace('_', ' '):32} {value:.3f}")
    else:
        found = race(given.data, given.rows, given.blocks, given.updates)
        for name, speed in found["tokens_per_second"].items():  # type: ignore[attr-defined]
            print(f"{name:20} {speed:8,.0f} real tokens/s")
        print(f"ratio                {found['ratio']:8.2f}")
    print(json.dumps({"rows": given.rows, **found}))


if __name__ == "__main__":
    main()
