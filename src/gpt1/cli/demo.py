"""gpt1 demo: the whole pipeline in a few minutes, from text to a small GPT-1 that writes jokes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    text: Annotated[
        Path | None, typer.Option(help="Text to learn from; else stories that come along.")
    ] = None,
    jokes: Annotated[
        Path | None, typer.Option(help="Jokes to fine-tune on; else some that come along.")
    ] = None,
    column: Annotated[str, typer.Option(help="The jokes' column.")] = "Joke",
    text_column: Annotated[
        str | None, typer.Option(help="The text's column, if there are several.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where to keep it all.")] = Path("runs/demo"),
) -> None:
    """Pre-train a tiny GPT-1, fine-tune it on jokes, and let it write three.

    Needs no network and no GPU. Everything is kept in OUT, to be looked at and used.
    """
    import json
    import time
    from importlib import resources

    from rich.console import Console

    import gpt1
    from gpt1 import storage
    from gpt1.data.batches import split_validation
    from gpt1.data.shards import write_shards
    from gpt1.data.tables import open_texts
    from gpt1.errors import DataError

    console = Console(highlight=False, soft_wrap=True)
    began = time.monotonic()
    place = out
    number = 1
    while place.exists():
        number += 1
        place = out.with_name(f"{out.name}-{number}")

    def heading(title: str) -> None:
        console.print(f"\n[bold]{title}[/bold]")

    packaged = resources.files("gpt1") / "assets" / "demo"
    with (
        resources.as_file(packaged / "stories.jsonl") as stories,
        resources.as_file(packaged / "jokes.csv") as own_jokes,
    ):
        heading("1. Text")
        corpus = open_texts(text or stories, text_column)
        texts = list(corpus)
        console.print(str(corpus.accounting))
        plain = jokes is not None and ".txt" in jokes.suffixes
        joke_rows = open_texts(jokes or own_jokes, None if plain else column)
        joke_texts = list(joke_rows)
        console.print(str(joke_rows.accounting))
    texts, joke_texts = _lines(texts), _lines(joke_texts)
    for what, found in (("text", texts), ("jokes", joke_texts)):
        if len(set(found)) < 2:
            raise DataError(
                f"the {what} is {len(found)} line; the demo trains on some and holds out others, "
                f"so it needs at least two that differ. Give more."
            )

    heading("2. A vocabulary of 1,024 pieces, learned from this text")
    tokenizer = gpt1.Tokenizer.train(
        [*texts, *(f"JOKE: {joke}" for joke in joke_texts)], vocab_size=1024
    )
    example = tokenizer.encode(texts[0])[:12]
    console.print("the first pieces:", [tokenizer.decode([i]) for i in example], markup=False)

    heading("3. Text to numbers")
    training, validation = split_validation(len(texts), 0.05, seed=0)
    for name, numbers in (("train", training), ("valid", validation)):
        rows = "".join(json.dumps({"text": texts[i]}) + "\n" for i in numbers)
        storage.write_file(place / f"{name}.jsonl", rows.encode())
        summary = write_shards(place / name, open_texts(place / f"{name}.jsonl"), tokenizer)
        console.print(f"{name}: {summary.documents:,} texts, {summary.tokens:,} tokens")

    heading("4. Pre-training from a random start: predict the next token")
    base = gpt1.pretrain(
        place / "train",
        valid=place / "valid",
        size="tiny",
        out=place / "pretrain",
        overrides=[
            "train.steps=400",
            "train.batch_size=32",
            "train.eval_every=50",
            "train.patience=4",
            "optimizer.lr=1e-3",
            "schedule.warmup_share=0.3",  # a short one leaves it counting words for 100 updates
        ],
    )

    heading("5. Fine-tuning on jokes")
    writer = base.finetune(
        joke_texts,
        out=place / "jokes",
        overrides=[
            "train.steps=120",
            "train.batch_size=16",
            "train.eval_every=20",
            "optimizer.lr=1e-3",
        ],
    )

    heading("6. Three jokes")
    for seed in range(3):
        joke = writer.generate("JOKE:", temperature=0.8, top_k=40, seed=seed)
        console.print(f"  {joke.text}", markup=False)

    before, after = _perplexities(place / "pretrain"), _perplexities(place / "jokes")
    console.print(
        f"\nValidation perplexity: stories {before[0]:.1f} -> {before[1]:.1f} by pre-training, "
        f"jokes {after[0]:.1f} -> {after[1]:.1f} by fine-tuning "
        f"({time.monotonic() - began:.0f} s in all)."
    )
    console.print(
        "So small a model, with so little text, learns the form of a joke and writes nonsense: "
        "it has 1 million parameters where GPT-1 has 117, and has read a few minutes of text.\n\n"
        "Try next:\n"
        f'  gpt1 generate "JOKE: Why" --model {place}/jokes\n'
        f'  gpt1 explain "The old clock" --model {place}/pretrain\n'
        "  gpt1 demo --text novels.jsonl.gz --jokes shortjokes.csv     with your own files\n"
        f"  the curves: {place}/pretrain/curves.png and {place}/jokes/curves.png",
        markup=False,
    )


def _lines(texts: list[str]) -> list[str]:
    """Return the lines of a single long text, and several texts as they are."""
    return [line for line in texts[0].split("\n") if line.strip()] if len(texts) == 1 else texts


def _perplexities(run: Path) -> tuple[float, float]:
    """Return a run's validation perplexity before its first update, and its best."""
    from gpt1.model.losses import perplexity
    from gpt1.storage import Log

    lines = Log(run / "metrics.jsonl").read()
    found = [perplexity(line["valid_loss"]) for line in lines if "valid_loss" in line]
    return found[0], min(found)
