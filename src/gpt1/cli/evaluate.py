"""gpt1 evaluate: how well a model predicts a text."""

from __future__ import annotations

from typing import Annotated

import typer


def evaluate(
    model: Annotated[str, typer.Argument(help="A name, a folder or a repository.")],
    files: Annotated[list[str], typer.Argument(help="txt, jsonl, csv, tsv, parquet, hub:...")],
    column: Annotated[str | None, typer.Option(help="The column with the text.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Read only so many rows.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure perplexity and bits per byte: the texts one after the other, in float32."""
    import sys
    from dataclasses import asdict

    import gpt1
    from gpt1.cli.progress import Progress
    from gpt1.data.tables import open_texts
    from gpt1.evaluation.perplexity import measure
    from gpt1.storage import json_bytes

    texts = open_texts(files, column, limit)
    gpt = gpt1.load(model)
    with Progress() as shown:
        found = measure(
            gpt.model,
            gpt.tokenizer,
            texts,
            progress=lambda done, total: shown.show(
                "evaluating", f"{done:,} of {total:,} tokens", done, total
            ),
        )
    print(texts.accounting, file=sys.stderr)
    if json:
        print(json_bytes(asdict(found)).decode(), end="")
        return
    print(f"loss           {found.loss:.4f} nats a token over {found.targets:,} tokens")
    print(f"perplexity     {found.perplexity:.2f}")
    print(f"bits per byte  {found.bits_per_byte:.4f} over {found.bytes:,} bytes")
