"""Make the packaged model of a finished pre-training run: float16 weights, vocabulary, card.

    python tools/package_mini.py RUN VALID.jsonl.gz --note "how the run went"

The weights are the run's, rounded to 16 bits; what the card says is measured on the rounded ones.
The run may have trained without dropout; the packaged settings have the paper's 0.1 again, for
fine-tuning.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
from importlib import resources
from pathlib import Path
from typing import Any

from gpt1 import storage
from gpt1.checkpoint import folder, huggingface, tensors
from gpt1.config import SamplingConfig, default_recipe, load_run, load_size
from gpt1.data.tables import Texts
from gpt1.evaluation.perplexity import Perplexity, measure
from gpt1.generation import engine
from gpt1.generation.torch_backend import TorchBackend
from gpt1.model.losses import perplexity
from gpt1.pipeline import GPT1
from gpt1.reports.charts import draw_png
from gpt1.reports.curves import run_charts
from gpt1.reports.history import History
from gpt1.text.tokenizer import Tokenizer

PROMPT = "It was a dark and"
SAMPLES, TEMPERATURE = 10, 0.8
DROPOUTS = ("embd_pdrop", "attn_pdrop", "resid_pdrop")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("valid", type=Path)
    parser.add_argument("--note", default="", help="a sentence for the card")
    options = parser.parse_args()
    out = Path(str(resources.files("gpt1"))) / "assets" / "mini"

    loaded = folder.load(options.run / "model")
    if "reason" not in loaded.extra.get("training", {}):
        parser.error(f"{options.run} is not finished")
    loaded.state.update({k: v.half().float() for k, v in loaded.state.items()})
    model = folder.build(loaded)
    model.config = model.config.model_copy(update=dict.fromkeys(DROPOUTS, 0.1))
    assert loaded.tokenizer is not None
    tokenizer = loaded.tokenizer

    found = measure(model, tokenizer, Texts(options.valid))
    sampling = SamplingConfig(temperature=TEMPERATURE, seed=0, max_new_tokens=60)
    samples = engine.generate(TorchBackend(model), tokenizer, [PROMPT] * SAMPLES, sampling)
    history = History.read(options.run)

    files = dict(folder.files(model, tokenizer, {"training": loaded.extra["training"]}))
    weights = huggingface.from_state(model.state_dict())
    halved = tensors.File({n: w.half() for n, w in weights.items()}, {"format": "pt"})
    files[folder.WEIGHTS] = b"".join(halved)
    digest = hashlib.sha256(files[folder.WEIGHTS]).hexdigest()
    texts = [sample.text for sample in samples]
    card = write_card(GPT1(model, tokenizer), found, texts, history, digest, options.note)
    files["README.md"] = card.encode()
    files["curve.png"] = draw_png(run_charts({"mini": history})[0], size=(8, 4.5))
    storage.write_folder(out, files, replace=True)
    print(card)
    size = sum(file.stat().st_size for file in Path(out).iterdir())
    print(f"{size / 1e6:.1f} MB -> {out}")


def settings_of(config: dict[str, Any]) -> list[str]:
    """Return the --set words of a run, where it differs from its size and recipe."""
    recipe = default_recipe("pretrain", load_size("mini"))
    base = load_run(size="mini", recipe=recipe).model_dump(mode="json")
    resolved = {"train": {"device", "dtype", "micro_batch_size"}, "model": {"vocab_size"}}
    return [
        f"{section}.{name}={json.dumps(value, separators=(',', ':'))}"
        for section, fields in config.items()
        for name, value in fields.items()
        if value != base[section][name] and name not in resolved.get(section, ())
    ]


def write_card(
    gpt: GPT1,
    found: Perplexity,
    samples: list[str],
    history: History,
    digest: str,
    note: str,
) -> str:
    """Return the model card."""
    last, config = history.updates[-1], history.record.config
    words = " ".join(f"--set {shlex.quote(word)}" for word in settings_of(config))
    curve = "\n".join(
        f"| {line['step']:,} | {line['valid_loss']:.3f} | {perplexity(line['valid_loss']):,.1f} |"
        for line in history.evaluations
    )
    texts = "\n".join(f"{i}. {text!r}" for i, text in enumerate(samples, start=1))
    machine = history.record.machine
    dropout = ""
    if not any(config["model"][name] for name in DROPOUTS):
        dropout = (
            "Dropout was off, since within an epoch no text is seen twice; the packaged settings\n"
            "have the paper's 0.1 again, for fine-tuning. "
        )
    tokenizer: Tokenizer = gpt.tokenizer
    return f"""---
library_name: transformers
pipeline_tag: text-generation
language: en
license: mit
tags: [gpt1, openai-gpt]
---
# mini

A GPT-1 small enough for a laptop, pre-trained from a random start with this project's own commands.
{gpt.config.n_layer} layers, {gpt.config.n_head} heads, width {gpt.config.n_embd}, \
{gpt.config.n_ctx} positions, {gpt.config.vocab_size:,} tokens of its own vocabulary, \
{gpt.num_parameters():,} parameters (GPT-1 has 116,534,784).

![loss over the updates](curve.png)

| | |
| --- | --- |
| held-out text | three whole novels, {found.bytes:,} bytes, {found.targets:,} targets |
| loss | {found.loss:.4f} nats a token |
| perplexity | {found.perplexity:.2f} a token of this vocabulary |
| bits per byte | {found.bits_per_byte:.4f} |
| updates | {last["step"]:,} of {config["train"]["batch_size"]} x {gpt.config.n_ctx} tokens |
| tokens read | {last["tokens"]:,}: {config["train"]["epochs"]:g} epoch |
| time | {last["seconds"] / 3600:.1f} h on {machine["threads"]} threads of a CPU |
| made with | gpt1 {history.record.gpt1}, torch {machine["torch"]}, {config["train"]["dtype"]} |
| weights | float16, SHA-256 `{digest}` |
| vocabulary | fingerprint `{tokenizer.fingerprint}` |

The measures are taken on the shipped weights, in float32, as `gpt1 evaluate` does it.

## Data

73 English novels of 1839 to 1927, all in the public domain, 10.7 million words (58 MB), from the
collection *100 English Novels* of the Computational Stylistics Group, cleaned: lines joined into
paragraphs, curly quotes made straight. Validation: *The Secret Garden*, *The Man Who Was Thursday*
and *Basil*, none of them read in training.

## Exact commands

    gpt1 learn-bpe train.jsonl.gz --vocab-size {gpt.config.vocab_size} --out vocab
    gpt1 prepare train.jsonl.gz --tokenizer vocab --out train
    gpt1 prepare valid.jsonl.gz --tokenizer vocab --out valid
    gpt1 pretrain train --valid valid --size mini --out run {words}
    python tools/package_mini.py run valid.jsonl.gz
    gpt1 evaluate mini valid.jsonl.gz

{dropout}{note}

## What it is not good for

It has read a few dozen old novels once. It writes English of their kind for a sentence or two, in
lower case, and keeps no thread; it knows no facts, follows no instructions, and has had no safety
training: it repeats the views of its books, which are of their time. Numbers, code, other languages
and modern words are beyond it (unknown characters become `<unk>`). Use it to learn, to test, and to
fine-tune on a small task of your own, and measure it there.

## Loss along the way

| update | validation loss | perplexity |
| --- | --- | --- |
{curve}

## Ten samples, not selected

Prompt `{PROMPT}`, temperature {TEMPERATURE}, no filter, seeds 0 to {SAMPLES - 1}, 60 new tokens:

{texts}
"""


if __name__ == "__main__":
    main()
