"""The arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_MODEL = "A packaged model, a model folder, a run, or owner/name on the hub."
Model = Annotated[str, typer.Option(help=_MODEL)]
ModelArgument = Annotated[str, typer.Argument(help=_MODEL)]

TextFiles = Annotated[
    list[str],
    typer.Argument(help="txt, jsonl, csv, tsv (all also as .gz), parquet, or hub:owner/name."),
]
Column = Annotated[str | None, typer.Option(help="The column that holds the text.")]
Columns = Annotated[
    str | None,
    typer.Option(help="Tasks: your names for the columns, e.g. text=Review,label=Stars."),
]
WORDS = "How text is split into words: original, slow or fast."
Words = Annotated[str | None, typer.Option(help=WORDS, show_default="as the tokenizer records")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use at most this many rows.")]
DataFolder = Annotated[str, typer.Option(help="The folder that holds the data sets.")]
NewFolder = Annotated[Path, typer.Option(help="The folder to create.")]

NewRun = Annotated[Path, typer.Option(help="The folder to create for the run.")]
Steps = Annotated[
    int | None, typer.Option(help="How many updates to make.", show_default="as the recipe says")
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in OUT.")]
Config = Annotated[Path | None, typer.Option(help="A .toml file with settings.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change a setting; may be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def overrides(given: list[str] | None, steps: int | None) -> list[str]:
    """Return the settings of --set and --steps."""
    return [*(given or []), *([] if steps is None else [f"train.steps={steps}"])]


def split_commas(text: str) -> list[str]:
    """Return the parts of a comma-separated option."""
    return [part.strip() for part in text.split(",") if part.strip()]
