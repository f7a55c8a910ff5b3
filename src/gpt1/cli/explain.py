"""gpt1 explain: the article's walk from a text to its next token, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gpt1.generation.explain import Explanation, NextToken

BAR = 40
"""Characters of the likeliest token's bar."""


def explain(
    prompt: Annotated[str, typer.Argument(help="The text to explain; - reads it from stdin.")],
    model: Annotated[
        str, typer.Option(help="The model: a name, a folder or a repository.")
    ] = "mini",
    steps: Annotated[
        int, typer.Option(min=0, help="How many greedy choices to show after the text.")
    ] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print the walk as JSON.")] = False,
) -> None:
    """Walk from a text to its next token: ids, logits, probabilities, loss, greedy choices.

    The choices are shown twice: made on ids, and in the article's way, which appends each decoded
    choice to the text and tokenizes the text again.
    """
    from dataclasses import asdict

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
        _show(walk)


def _show(walk: Explanation) -> None:
    from gpt1.reports.sections import Table
    from gpt1.reports.tables import print_table

    print(f"{walk.parameters:,} parameters\n")
    positions = [
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
    ]
    corners = [
        (str(row), *(f"{value:.4f}" for value in values))
        for row, values in zip(walk.corner_rows, walk.corners, strict=True)
    ]
    most = walk.next_tokens[0].probability
    likeliest = [
        (*_cells(t), ("█" * round(BAR * t.probability / most)).ljust(BAR)) for t in walk.next_tokens
    ]
    print_table(
        f"1. The text is {len(walk.ids)} ids; after each, the likeliest token and the actual one",
        Table(("", "token", "id", "predicted", "p", "actual", "p", "rank"), positions),
    )
    print_table(
        f"\n2. The logits have the shape {list(walk.logits_shape)}; their corners",
        Table(("position", *(f"[{c}]" for c in walk.corner_columns)), corners),
    )
    if walk.loss is not None:
        print(f"\nThe loss over {len(walk.ids) - 1} targets is {walk.loss:.4f}.")
    print_table(
        f"\n3. The {len(walk.next_tokens)} likeliest next tokens",
        Table(("token", "id", "logit", "p", ""), likeliest),
    )
    for title, steps in (
        ("4. Greedy choices, on ids", walk.steps),
        ("5. The article's loop, on text", walk.article_steps),
    ):
        if steps:
            rows = [(str(i), *_cells(token)) for i, token in enumerate(steps, 1)]
            print_table(f"\n{title}", Table(("step", "token", "id", "logit", "p"), rows))
    if walk.article_steps:
        print(f"\nIts text: {walk.article_text!r}")


def _cells(token: NextToken) -> tuple[str, str, str, str]:
    return repr(token.text), str(token.id), f"{token.logit:.4f}", f"{token.probability:.4f}"
