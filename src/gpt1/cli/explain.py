"""gpt1 explain: the article's walk from a text to its next token, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from gpt1.generation.explain import Explanation, NextToken

BAR = 40
PIPED_WIDTH = 200
"""A file has no edge to fold at."""


def explain(
    prompt: Annotated[str, typer.Argument(help="The text to explain; - reads it from stdin.")],
    model: Annotated[str, typer.Option(help="A name, a folder or a repository.")] = "mini",
    steps: Annotated[int, typer.Option(min=0, help="Greedy choices after the text.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print the walk as JSON.")] = False,
) -> None:
    """Walk from a text to its next token: ids, logits, probabilities, loss, greedy choices.

    The choices are shown twice: on ids, and in the article's way, which appends each decoded choice
    to the text and reads the text anew.
    """
    import sys
    from dataclasses import asdict

    from rich.console import Console

    import gpt1
    from gpt1.cli import text_given
    from gpt1.generation import explain as explaining
    from gpt1.storage import json_bytes

    gpt = gpt1.load(model)
    text = text_given(prompt)
    walk = explaining.explain(gpt.transformer(), gpt.tokenizer, text, steps=steps)
    if json:
        print(json_bytes(asdict(walk)).decode(), end="")
    else:
        width = None if sys.stdout.isatty() else PIPED_WIDTH
        _show(walk, Console(highlight=False, width=width))


def _show(walk: Explanation, console: Console) -> None:
    console.print(f"{walk.parameters:,} parameters\n")
    _table(
        console,
        f"1. The text is {len(walk.ids)} ids; after each, what is likeliest and what comes",
        ("", "token", "id", "predicted", "p", "what comes", "p", "rank"),
        (
            (
                str(p.index),
                repr(p.token),
                str(p.id),
                repr(p.predicted.text),
                f"{p.predicted.probability:.4f}",
                "" if p.actual is None else repr(p.actual.text),
                "" if p.actual is None else f"{p.actual.probability:.4f}",
                "" if p.rank is None else str(p.rank),
            )
            for p in walk.positions
        ),
    )
    _table(
        console,
        f"2. The logits have the shape {list(walk.logits_shape)}; their corners",
        ("position", *(f"[{c}]" for c in walk.corner_columns)),
        (
            (str(row), *(f"{value:.4f}" for value in values))
            for row, values in zip(walk.corner_rows, walk.corners, strict=True)
        ),
    )
    if walk.loss is not None:
        console.print(f"The loss over {len(walk.ids) - 1} targets is {walk.loss:.4f}.\n")
    most = walk.next_tokens[0].probability
    _table(
        console,
        f"3. The {len(walk.next_tokens)} likeliest next tokens",
        ("token", "id", "logit", "p", ""),
        (
            (*_cells(token), "█" * round(BAR * token.probability / most))
            for token in walk.next_tokens
        ),
    )
    if walk.steps:
        _steps(console, "4. Greedy choices, on ids", walk.steps)
    if walk.article_steps:
        _steps(console, "5. The article's loop, on text", walk.article_steps)
        console.print(f"Its text: {walk.article_text!r}", markup=False)


def _steps(console: Console, title: str, steps: Iterable[NextToken]) -> None:
    rows = ((str(i), *_cells(token)) for i, token in enumerate(steps, 1))
    _table(console, title, ("step", "token", "id", "logit", "p"), rows)


def _cells(token: NextToken) -> tuple[str, str, str, str]:
    return repr(token.text), str(token.id), f"{token.logit:.4f}", f"{token.probability:.4f}"


def _table(
    console: Console, title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    console.print(title, markup=False, style="bold")
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
