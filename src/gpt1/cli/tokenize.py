"""gpt1 tokenize: a text -> its tokens, ids and offsets."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from gpt1.cli import options, print_json, read_text
from gpt1.errors import counted


def tokenize(
    text: Annotated[str, typer.Argument(help="The text; - reads it from stdin.")],
    words: options.Words = None,
    model: Annotated[
        str, typer.Option("--model", "--tokenizer", help="A model, or a folder with a vocabulary.")
    ] = "mini",
    json: options.Json = False,
) -> None:
    """Show how a text is split into tokens: their ids, and their offsets in the text.

    The offsets are positions in the cleaned text, which is shown first; with --words fast, in the
    text as it was given.
    """
    from gpt1.checkpoint import hub
    from gpt1.reports.sections import Table
    from gpt1.reports.tables import print_table
    from gpt1.text.english import without_torch
    from gpt1.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(hub.resolve(model), words)
    with without_torch():
        encoding = tokenizer.encode_with_offsets(read_text(text))
    if json:
        print_json({"words": tokenizer.words, **asdict(encoding)})
        return
    columns = zip(encoding.tokens, encoding.ids, encoding.offsets, strict=True)
    rows = [(token, str(id), str(start), str(end)) for token, id, (start, end) in columns]
    table = Table(("token", "id", "from", "to"), rows)
    print_table(f"{tokenizer.words} words: {encoding.text!r}", table, counted(len(rows), "token"))
