"""gpt1 finetune: train a model further on one's own texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def finetune(
    file: Annotated[
        str, typer.Argument(help="csv, tsv, jsonl, txt, parquet (.gz too), or hub:owner/name.")
    ],
    out: Annotated[Path, typer.Option(help="The run's folder, made here.")],
    model: Annotated[str, typer.Option(help="A name, a folder or a repository.")] = "mini",
    task: Annotated[Literal["lm"], typer.Option(help="lm: learn to write such texts.")] = "lm",
    column: Annotated[str | None, typer.Option(help="The column of the texts.")] = None,
    recipe: Annotated[str, typer.Option(help="jokes, article, or a .toml file.")] = "jokes",
    prefix: Annotated[str | None, typer.Option(help="Put before every text.")] = None,
    steps: Annotated[int | None, typer.Option(help="Updates; else the recipe's epochs.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Read only so many rows.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run in OUT.")] = False,
    config: Annotated[Path | None, typer.Option(help="A .toml file of settings.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="section.field=value, may be repeated.")
    ] = None,
) -> None:
    """Train a model further on your own texts, one a row.

    The default recipe holds out a twentieth to validate, stops when that gets worse, and learns
    where a text ends. `--recipe article` does what the article does, defects and all.
    """
    import sys

    import gpt1
    from gpt1.data.tables import open_texts
    from gpt1.training.distributed import is_first

    texts = open_texts(file, column, limit)
    rows = list(texts)
    if is_first():
        print(texts.accounting, file=sys.stderr)
    gpt1.load(model).finetune(
        rows,
        recipe=recipe,
        prefix=prefix,
        out=out,
        resume=resume,
        config=config,
        overrides=[*(set_ or []), *([f"train.steps={steps}"] if steps is not None else [])],
    )
    if is_first():  # under torchrun each process comes here
        print(out / "model")
