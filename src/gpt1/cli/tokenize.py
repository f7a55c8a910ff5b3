"""gpt1 tokenize: a text -> its tokens, ids and places."""

from __future__ import annotations

from typing import Annotated

import typer

PIPED_WIDTH = 200
"""A file has no edge to fold at."""


def tokenize(
    text: Annotated[str, typer.Argument(help="The text; - reads it from stdin.")],
    words: Annotated[
        str | None,
        typer.Option(help="original, slow or fast; else as the tokenizer records, or original."),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "--tokenizer", help="A model, or a folder with a vocabulary.")
    ] = "mini",
    json: Annotated[bool, typer.Option("--json", help="Print the tokens as JSON.")] = False,
) -> None:
    """Show how a text is cut into tokens: their ids, and where in the text they are.

    The places are in the cleaned text, which is shown first; with --words fast, in the text itself.
    """
    import sys
    from dataclasses import asdict

    from gpt1.checkpoint import hub
    from gpt1.cli import text_given
    from gpt1.storage import json_bytes
    from gpt1.text.english import without_torch
    from gpt1.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(hub.resolve(model), words)
    with without_torch():
        encoding = tokenizer.encode_with_offsets(text_given(text))
    if json:
        print(json_bytes({"words": tokenizer.words, **asdict(encoding)}).decode(), end="")
        return

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column, justify in (("token", "left"), ("id", "right"), ("from", "right"), ("to", "right")):
        table.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for token, id, place in zip(encoding.tokens, encoding.ids, encoding.offsets, strict=True):
        table.add_row(*map(Text, (_shown(token), *map(str, (id, *place)))))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
    console.print(f"{tokenizer.words} words: {encoding.text!r}", markup=False, soft_wrap=True)
    console.print(table)
    console.print(f"{len(encoding.ids)} tokens")


def _shown(token: str) -> str:
    """Return a token with its newline, if it is that, made visible."""
    return token.replace("\n", "\\n")
