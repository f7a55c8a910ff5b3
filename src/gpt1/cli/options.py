"""The arguments and options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gpt1.errors import ConfigError

if TYPE_CHECKING:
    from gpt1.data.dialect import ReadOptions, Unit


def _packaged(incomplete: str) -> list[str]:
    """Return the names that a shell offers for a model; without a letter it offers files."""
    from gpt1.checkpoint import hub

    return [name for name in hub.packaged_models() if incomplete and name.startswith(incomplete)]


_MODEL = "A packaged model, a model folder, a run, or owner/name on the hub."
Model = Annotated[str, typer.Option("--model", "-m", help=_MODEL, autocompletion=_packaged)]
ModelArgument = Annotated[str, typer.Argument(help=_MODEL, autocompletion=_packaged)]

Dtype = Annotated[
    Literal["float32", "bfloat16"],
    typer.Option(help="The weights: float32 is exact, bfloat16 is faster."),
]
AnyDtype = Annotated[
    str,
    typer.Option(
        help="The weights: auto (16 bits where they help), float32, float16, bfloat16, int8, int4."
    ),
]

FILES = "csv, tsv, xlsx, json, jsonl, txt (also gzipped), parquet, or hub:owner/name."
Files = Annotated[list[str], typer.Argument(metavar="FILES", help=FILES)]
Column = Annotated[str | None, typer.Option(help="The column that holds the text.")]
TextColumn = Annotated[
    list[str] | None,
    typer.Option(
        "--text-column", "--column", metavar="COLUMN",
        help="The column that holds the text; for a task with two texts, once for each.",
    ),
]  # fmt: skip
OneTextColumn = Annotated[
    list[str] | None,
    typer.Option(
        "--text-column", "--column", metavar="COLUMN", help="The column that holds the text."
    ),
]
LabelColumn = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Tasks: the column that holds the labels.")
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="NAME=COLUMN,...",
        help="Tasks: which column is which, e.g. context=Story,answer_0=A.",
    ),
]
_TOLD = "as the file's content shows"
Delimiter = Annotated[
    str | None,
    typer.Option(
        help="What separates a table's fields: comma, semicolon, tab, bar or another character.",
        show_default=_TOLD,
    ),
]
Encoding = Annotated[
    str | None, typer.Option(help="The encoding of the text, e.g. cp1252.", show_default=_TOLD)
]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header", help="Whether a table begins with column names.", show_default=_TOLD
    ),
]
_LINES = "Whether each line of a .txt is a text, or the whole file is one."
Lines = Annotated[bool | None, typer.Option("--lines/--document", help=_LINES, show_default=_TOLD)]
Documents = Annotated[
    bool | None, typer.Option("--lines/--document", help=_LINES, show_default="document")
]
WORDS = "How text is split into words: original, slow or fast."
Words = Annotated[str | None, typer.Option(help=WORDS, show_default="as the tokenizer records")]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Use at most this many rows.", show_default="all")
]
DataFolder = Annotated[str, typer.Option(help="The folder that holds the data sets.")]
NewFolder = Annotated[Path, typer.Option("--out", "-o", help="The folder to create.")]

NewRun = Annotated[Path, typer.Option("--out", "-o", help="The folder to create for the run.")]
Steps = Annotated[
    int | None, typer.Option(help="How many updates to make.", show_default="as the recipe says")
]
Epochs = Annotated[
    float | None,
    typer.Option(
        help="How many times to go over the texts, instead of --steps.",
        show_default="as the recipe says",
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option("--lr", help="The highest learning rate.", show_default="as the recipe says"),
]
BatchSize = Annotated[
    int | None,
    typer.Option(help="How many samples an update uses.", show_default="as the recipe says"),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in OUT.")]
Config = Annotated[Path | None, typer.Option(help="A .toml file with settings.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Change a setting; may be repeated."),
]
AllowUnknown = Annotated[
    bool,
    typer.Option(
        "--allow-unknown",
        help="Continue even if the vocabulary lacks most of what the texts contain.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that exists.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def overrides(
    given: list[str] | None,
    steps: int | None,
    epochs: float | None,
    lr: float | None,
    batch_size: int | None,
) -> list[str]:
    """Return the settings of --set and of the flags for the most common ones."""
    if steps is not None and epochs is not None:
        raise ConfigError("--steps and --epochs are given; each says how long to train. Leave one.")
    flags = {"train.steps": steps, "optimizer.lr": lr, "train.batch_size": batch_size}
    settings = [f"{name}={value}" for name, value in flags.items() if value is not None]
    if epochs is not None:
        settings += ["train.steps=none", f"train.epochs={epochs}"]
    return [*(given or []), *settings]


def reading(
    delimiter: str | None,
    encoding: str | None,
    header: bool | None,
    lines: bool | None = None,
    unit: Unit | None = None,
) -> ReadOptions:
    """Return how to read files; `unit` is that of a .txt without --lines or --document."""
    from gpt1.data.dialect import ReadOptions

    if lines is not None:
        unit = "line" if lines else "document"
    return ReadOptions(delimiter, encoding, header, unit)


def check_file(flag: str, path: Path, *endings: str, force: bool) -> bool:
    """Return whether a file that a command is to write exists, and may be replaced by --force.

    Raises ConfigError if it may not, or if its name ends in none of `endings`.
    """
    if path.suffix.lower() not in endings:
        raise ConfigError(f"{flag} is {path}; the file's name must end in {' or '.join(endings)}.")
    exists = os.path.lexists(path)
    if exists and path.is_dir():
        raise ConfigError(f"{flag} is {path}, which is a folder. Choose another name.")
    if exists and not force:
        raise ConfigError(
            f"{flag} is {path}, which exists. Choose another name, or add --force to replace it."
        )
    return exists


def split_commas(text: str) -> list[str]:
    """Return the parts of a comma-separated option."""
    return [part.strip() for part in text.split(",") if part.strip()]
