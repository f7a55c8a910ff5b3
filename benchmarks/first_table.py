"""What differs between transformers' OpenAIGPT and gpt1, with the weights of `mini` in both?

    python benchmarks/first_table.py [--new 64] [--runs 3] [--write]

Prints a table in Markdown, in about a minute: how fast a text is continued; the ids of a text with
a newline and a contraction; the loss of some texts at once and in micro-batches; and what happens
at the last position. --write puts it into README.md, between its two marks. Needs transformers
(extra `bench`).
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import time
from collections.abc import Callable
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import gpt1  # isort: skip  before torch, so that both sides wait as gpt1's users do

import numpy as np
import torch
import transformers
from transformers import OpenAIGPTLMHeadModel, OpenAIGPTTokenizer

from gpt1.data.packing import NO_TARGET, Batch
from gpt1.training.objectives import token_mean

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- made by benchmarks/first_table.py -->", "<!-- end of its table -->"
MINI = str(files("gpt1") / "assets" / "mini")
PROMPT = "It was a dark and stormy night, and"
TEXT = "I didn't go.\nShe did."
TEXTS = [
    "No.",
    "Come in.",
    "The old man did not answer.",
    "She looked out of the window at the rain.",
    "When he had gone she sat down by the fire, and for a long time she did not move.",
    "The house stood at the end of the lane, and nobody had ever seen its door open.",
    "It was late in the evening when they came to the inn, and the horses were tired.",
    "There was a time when I would have given all I had to hear his step on the stairs once more.",
]
"""Two of these at a time are a micro-batch."""
Row = tuple[str, str, str]
"""What is compared; of transformers; of gpt1."""


def line(row: Row) -> str:
    return f"| {' | '.join(row)} |"


def theirs(dtype: torch.dtype = torch.float32) -> Any:
    return OpenAIGPTLMHeadModel.from_pretrained(MINI, dtype=dtype).eval()


def continue_theirs(model: Any, ids: list[int], new: int) -> None:
    prompt = torch.tensor([ids])
    mask = torch.ones_like(prompt)
    model.generate(
        prompt, attention_mask=mask, do_sample=False, pad_token_id=0,
        max_new_tokens=new, min_new_tokens=new,
    )  # fmt: skip


def speed(new: int, runs: int) -> Row:
    """Compare tokens a second, from runs that alternate."""
    model, exact, default = theirs(), gpt1.load(dtype="float32"), gpt1.load()
    ids = exact.tokenizer.encode(PROMPT)
    ways: dict[str, Callable[[int], object]] = {
        "theirs": lambda count: continue_theirs(model, ids, count),
        "exact": lambda count: exact.generate(PROMPT, max_new_tokens=count),
        "default": lambda count: default.generate(PROMPT, max_new_tokens=count),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(runs + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way(new if turn else 4)  # the first is to warm up
            if turn:
                seconds[name].append(time.perf_counter() - began)
    rate = {name: new / statistics.median(values) for name, values in seconds.items()}
    width = default.backend().name.split()[-1]
    return (
        f"tokens/s, one text, {new} written",
        f"{rate['theirs']:,.0f}",
        f"{rate['exact']:,.0f} in float32, {rate['default']:,.0f} in {width}, the default here",
    )


def ids() -> Row:
    """Compare the ids of a text; ours are cut as those that GPT-1 was trained on."""
    tokenizer = gpt1.load().tokenizer
    rows = OpenAIGPTTokenizer.from_pretrained(MINI).encode(TEXT), tokenizer.encode(TEXT)
    them, us = (" ".join(f"{tokenizer.id_to_token(id)}={id}" for id in row) for row in rows)
    return f"ids of `{TEXT!r}`", *(f"`{cell}`".replace("\n", "\\n") for cell in (them, us))


def losses() -> Row:
    """Compare the loss of all texts at once with that of micro-batches of two, in float64.

    A plain loop takes the mean of their means. (transformers' Trainer passes the number of targets
    along, so it does not.)
    """
    gpt = gpt1.load()
    rows = gpt.tokenizer.encode_batch(TEXTS)
    whole, parts = [rows], [rows[i : i + 2] for i in range(0, len(rows), 2)]
    model, own = theirs(torch.float64), gpt.transformer().double()

    def padded(rows: list[list[int]]) -> Batch:
        shape = (len(rows), max(map(len, rows)))
        held, labels = np.zeros(shape, np.int64), np.full(shape, NO_TARGET)
        for i, row in enumerate(rows):
            held[i, : len(row)], labels[i, : len(row) - 1] = row, row[1:]
        return Batch(held, labels)

    def mean_of_means(micro: list[list[list[int]]]) -> float:
        found = []
        for batch in map(padded, micro):
            labels = np.roll(batch.labels, 1, axis=1)  # the model shifts them itself
            found.append(
                float(model(torch.from_numpy(batch.ids), labels=torch.from_numpy(labels)).loss)
            )
        return sum(found) / len(found)

    def mean(micro: list[list[list[int]]]) -> float:
        batches = [padded(rows) for rows in micro]
        sums = sum(float(token_mean.sums(own, batch)["lm"]) for batch in batches)
        return sums / sum(batch.targets for batch in batches)

    with torch.no_grad():
        cells = [f"{f(whole):.4f}, {f(parts):.4f}" for f in (mean_of_means, mean)]
    name = f"loss of {len(rows)} texts at once, and over {len(parts)} micro-batches"
    return name, f"{cells[0]} (mean of `.loss`, as in a plain loop)", cells[1]


def past_the_end() -> Row:
    """Compare what comes of 16 tokens behind a text of 508."""
    gpt = gpt1.load(dtype="float32")
    prompt = (gpt.tokenizer.encode(PROMPT) * 64)[:508]
    try:
        continue_theirs(theirs(), prompt, 16)
        them = "written"
    except Exception as error:
        them = f"{type(error).__name__}: {error}"
    written = gpt.generate(gpt.tokenizer.decode(prompt), max_new_tokens=16, overflow="slide")
    us = f'{len(written.logprobs)} tokens, with `overflow="slide"`'
    return "16 tokens behind 508, of 512 positions", f"`{them}`", us


STEADY = (ids, losses, past_the_end)
"""The rows that do not depend on the machine's speed."""


def machine() -> str:
    """Return the date, the processor, how busy it is, and the versions."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)", info.read_text() if info.exists() else "", re.M)
    processor = names[0] if names else platform.processor() or platform.machine()
    load = f"load {os.getloadavg()[0]:.1f}, " if hasattr(os, "getloadavg") else ""
    return (
        f"{date.today()}, {processor}, {torch.get_num_threads()} of {os.cpu_count()} cores, {load}"
        f"torch {torch.__version__}, transformers {transformers.__version__}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rows = [speed(options.new, options.runs), *(row() for row in STEADY)]
    lines = ["| `mini` in both | transformers | gpt1 |", "| --- | --- | --- |", *map(line, rows)]
    table = "\n".join([*lines, "", f"{machine()}."])
    print(table)
    if options.write:
        before, rest = README.read_text("utf-8").split(START)
        text = f"{before}{START}\n{table}\n{END}{rest.split(END)[1]}"
        README.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
