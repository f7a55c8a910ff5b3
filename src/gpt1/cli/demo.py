"""gpt1 demo: the packaged model learns to write jokes, in a minute or two."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpt1.errors import ConfigError, DataError, counted

PREFIX = "JOKE: "

CLOSING = """\
The model has an eighth of GPT-1's weights and has read 73 novels once: it has learned the form of a
joke, and little sense.

Try next:
  gpt1 generate "JOKE: Why" --model {run}
  gpt1 explain "The old clock"
  gpt1 demo --jokes shortjokes.csv     with your own jokes
  the curves: {run}/report.html"""


def demo(
    jokes: Annotated[
        Path | None, typer.Option(help="A file of jokes.", show_default="the packaged jokes")
    ] = None,
    column: Annotated[str, typer.Option(help="The column that holds the jokes.")] = "Joke",
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="The folder to create; a number is added if it exists."),
    ] = Path("runs/demo"),
) -> None:
    """Fine-tune the packaged model on jokes and generate three.

    It needs neither a network nor a GPU. The fine-tuned model and its report stay in OUT.
    """
    from time import monotonic

    import gpt1
    from gpt1.model.losses import perplexity
    from gpt1.reports.console import Console
    from gpt1.storage import Log

    console = Console(highlight=False, soft_wrap=True)
    start = monotonic()
    run = _new_folder(out)

    def heading(title: str) -> None:
        console.print(f"\n[bold]{title}[/bold]")

    def write(gpt: gpt1.GPT1, prompt: str) -> None:
        for seed in range(3):
            text = gpt.generate(
                prompt, max_new_tokens=40, temperature=0.8, top_k=40, seed=seed, truecase=True
            )
            console.print(f"  {' '.join(text.text.split())}", markup=False)

    texts, counts = _read_jokes(jokes, column)

    heading("1. A small GPT-1, pre-trained on old novels")
    gpt = gpt1.load("mini")
    console.print(
        f"{gpt.num_parameters():,} parameters, {len(gpt.tokenizer):,} tokens. "
        f"This is how it continues 'It was a dark and':"
    )
    write(gpt, "It was a dark and")

    heading("2. Jokes")
    console.print(counts)
    tokens = " ".join(gpt.tokenizer.tokens(gpt.tokenizer.encode(texts[0])))
    console.print(f"The first joke, as the model reads it: {tokens}", markup=False)

    heading("3. Fine-tuning: predict the next token of each joke, and where it ends")
    tuned = gpt.finetune(texts, prefix=PREFIX, out=run)

    heading("4. Three jokes, before and after")
    write(gpt, "JOKE:")
    console.print("  -")
    write(tuned, "JOKE:")

    lines = Log(run / "metrics.jsonl").read()
    perplexities = [perplexity(line["valid_loss"]) for line in lines if "valid_loss" in line]
    console.print(
        f"\nPerplexity of the jokes held out: {perplexities[0]:.1f} -> {min(perplexities):.1f} "
        f"({monotonic() - start:.0f} s in all)."
    )
    console.print(CLOSING.format(run=run), markup=False)


def _new_folder(out: Path) -> Path:
    """Return `out`, or the first of out-2, out-3, ... that does not exist."""
    folder = out = out if out.name else out.resolve()  # "." has no name
    if not out.name:
        raise ConfigError(f"--out is {out}; name a folder that can be created.")
    number = 1
    while folder.exists():
        number += 1
        folder = out.with_name(f"{out.name}-{number}")
    return folder


def _read_jokes(jokes: Path | None, column: str) -> tuple[list[str], str]:
    """Return the jokes, one a row (one a line of a .txt file), and the counts of the rows."""
    from importlib import resources

    from gpt1.data.dialect import ReadOptions
    from gpt1.data.tables import Texts

    plain = jokes is not None and ".txt" in jokes.suffixes  # its one column has no name to give
    with resources.as_file(resources.files("gpt1") / "assets" / "demo" / "jokes.csv") as packaged:
        options = ReadOptions(unit="line")
        rows = Texts(jokes or packaged, None if plain else column, options=options)
        texts = list(rows)
    if len(set(texts)) < 2:
        raise DataError(
            f"the file has {counted(len(set(texts)), 'different joke')}; the demo needs at least "
            f"two, one to train on and one to hold out. Give more."
        )
    return texts, rows.counts.report()
