"""gpt1 explain: the article's walk from a text to its next token, step by step."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpt1.cli import options, print_json, read_text
from gpt1.errors import counted

if TYPE_CHECKING:
    from gpt1.generation.explain import Explanation

BAR = 40
"""Width of the most likely token's bar, in characters."""


def explain(
    prompt: Annotated[str, typer.Argument(help="The text to explain; - reads it from stdin.")],
    model: options.Model = "mini",
    steps: Annotated[
        int, typer.Option(min=0, help="How many greedy choices to show after the text.")
    ] = 20,
    html: Annotated[
        Path | None,
        typer.Option(help="Write the studio's view of the text to this .html file."),
    ] = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Walk from a text to its next token: ids, logits, probabilities, loss, greedy choices.

    The choices are shown twice: made on ids, and made the article's way, which appends each decoded
    choice to the text and tokenizes the whole text again. --html adds a page of one file that shows
    each token's alternatives, the attention of every head, and what each layer would say.
    """
    import gpt1
    from gpt1.generation import explain as explaining

    present = html is not None and options.check_file("--html", html, ".html", force=force)
    gpt = gpt1.load(model)
    text = read_text(prompt)
    walk = explaining.explain(gpt.transformer(), gpt.tokenizer, text, steps=steps)
    if html is not None:
        from gpt1 import storage
        from gpt1.generation import inside_page

        page = inside_page.render(gpt.transformer(), gpt.tokenizer, text, walk.ids)
        storage.write_file(html, page.encode(), replace=present)
    if json:
        print_json(asdict(walk))
    else:
        _show(walk)


def _show(walk: Explanation) -> None:
    from gpt1.generation.explain import token_cells
    from gpt1.reports.sections import Table
    from gpt1.reports.tables import print_table

    print(f"{walk.parameters:,} parameters\n")
    length = counted(len(walk.ids), "id")
    title = f"1. The text has {length}; after each, the predicted and the actual token"
    print_table(title, walk.table())

    corners = zip(walk.corner_rows, walk.corners, strict=True)
    rows = [[str(row), *(f"{value:.4f}" for value in values)] for row, values in corners]
    columns = ["position", *(f"[{c}]" for c in walk.corner_columns)]
    title = f"\n2. The logits have the shape {list(walk.logits_shape)}; their corners"
    print_table(title, Table(columns, rows))
    if walk.loss is not None:
        print(f"\nThe loss over {counted(len(walk.ids) - 1, 'target')} is {walk.loss:.4f}.")

    highest = walk.next_tokens[0].probability
    rows = [
        [*token_cells(token), ("█" * round(BAR * token.probability / highest)).ljust(BAR)]
        for token in walk.next_tokens
    ]
    title = f"\n3. The {len(rows)} most likely next tokens"
    print_table(title, Table(("token", "id", "logit", "p", ""), rows))

    loops = {
        "\n4. Greedy choices, on ids": walk.steps,
        "\n5. The article's loop, on text": walk.article_steps,
    }
    for title, tokens in loops.items():
        if tokens:
            rows = [[str(i), *token_cells(token)] for i, token in enumerate(tokens, 1)]
            print_table(title, Table(("step", "token", "id", "logit", "p"), rows))
    if walk.article_steps:
        print(f"\nIts text: {walk.article_text!r}")
