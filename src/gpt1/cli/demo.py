"""gpt1 demo: the packaged model learns to write jokes, in a minute or two."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    jokes: Annotated[
        Path | None, typer.Option(help="Jokes to fine-tune on; else some that come along.")
    ] = None,
    column: Annotated[str, typer.Option(help="The jokes' column.")] = "Joke",
    out: Annotated[Path, typer.Option(help="Where to keep it all.")] = Path("runs/demo"),
) -> None:
    """Fine-tune the packaged model on jokes, and let it write three.

    Needs no network and no GPU. Everything is kept in OUT, to be looked at and used.
    """
    import time
    from importlib import resources

    from rich.console import Console

    import gpt1
    from gpt1.data.tables import Texts
    from gpt1.errors import ConfigError, DataError
    from gpt1.model.losses import perplexity
    from gpt1.storage import Log

    console = Console(highlight=False, soft_wrap=True)
    began = time.monotonic()
    place = out = out if out.name else out.resolve()
    if not out.name:
        raise ConfigError(f"--out is {out}; give a folder that can be made.")
    number = 1
    while place.exists():
        number += 1
        place = out.with_name(f"{out.name}-{number}")

    def heading(title: str) -> None:
        console.print(f"\n[bold]{title}[/bold]")

    def write(gpt: gpt1.GPT1, prompt: str) -> None:
        for seed in range(3):
            text = gpt.generate(prompt, max_new_tokens=40, temperature=0.8, top_k=40, seed=seed)
            console.print(f"  {' '.join(text.text.split())}", markup=False)

    packaged = resources.files("gpt1") / "assets" / "demo" / "jokes.csv"
    with resources.as_file(packaged) as own:
        plain = jokes is not None and ".txt" in jokes.suffixes
        rows = Texts(jokes or own, None if plain else column)
        texts = list(rows)
    texts = texts[0].splitlines() if plain and len(texts) == 1 else texts
    texts = [text for text in texts if text.strip()]
    if len(set(texts)) < 2:
        raise DataError(
            f"there are {len(set(texts))} different jokes; the demo trains on some and holds out "
            f"others, so it needs at least two. Give more."
        )

    heading("1. A small GPT-1, pre-trained on old novels")
    gpt = gpt1.load("mini")
    console.print(
        f"{gpt.num_parameters():,} parameters, {len(gpt.tokenizer):,} tokens. It goes on with "
        f"'It was a dark and':"
    )
    write(gpt, "It was a dark and")

    heading("2. Jokes")
    console.print(str(rows.counts))
    ids = gpt.tokenizer.encode(texts[0])
    pieces = " ".join(gpt.tokenizer.tokens(ids))
    console.print(f"the first, as the model reads it: {pieces}", markup=False)

    heading("3. Fine-tuning: predict the next token of each joke, and where it ends")
    writer = gpt.finetune(
        texts,
        out=place,
        overrides=[
            "train.epochs=6",
            "train.batch_size=2",
            "optimizer.lr=5e-4",
        ],
    )

    heading("4. Three jokes, before and after")
    write(gpt, "JOKE:")
    console.print("  -")
    write(writer, "JOKE:")

    lines = Log(place / "metrics.jsonl").read()
    found = [perplexity(line["valid_loss"]) for line in lines if "valid_loss" in line]
    console.print(
        f"\nPerplexity of jokes held out: {found[0]:.1f} -> {min(found):.1f} "
        f"({time.monotonic() - began:.0f} s in all)."
    )
    console.print(
        "It has an eighth of GPT-1's weights and has read 73 novels once: it has learnt the form "
        "of a joke, and little sense.\n\n"
        "Try next:\n"
        f'  gpt1 generate "JOKE: Why" --model {place}\n'
        '  gpt1 explain "The old clock"\n'
        "  gpt1 demo --jokes shortjokes.csv     with jokes of your own\n"
        f"  the curves: {place}/report.html",
        markup=False,
    )
