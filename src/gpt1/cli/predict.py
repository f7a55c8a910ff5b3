"""gpt1 predict: label new rows with a model that was fine-tuned on a task."""

from __future__ import annotations

import csv
import io
import json as json_format
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpt1.cli import options, print_json
from gpt1.cli.task_files import (
    columns_given,
    data_set_table,
    read_table,
    recognise,
    task_named,
    texts_table,
    truncation_note,
)
from gpt1.errors import ConfigError

if TYPE_CHECKING:
    Record = Mapping[str, Any]

_OF_THE_TEXT = ("text", "tokens")
"""Fields of an answer that repeat the row."""


def predict(
    model: Annotated[str, typer.Argument(help="A run of gpt1 finetune --task, or its model.")],
    files: Annotated[
        list[str] | None, typer.Argument(help=options.FILES + " Or - for stdin.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="A text to label, in place of files; for a pair, give it twice."),
    ] = None,
    text_column: options.TextColumn = None,
    columns: options.Columns = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    header: options.Header = None,
    data_set: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="TASK",
            help="A data set of the paper, such as sst2: FILES is then its folder, its files as "
            "they are published, or hub.",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="The split of a data set.", show_default="test")
    ] = None,
    keep_columns: Annotated[
        bool, typer.Option("--keep-columns", help="Put the columns of the files before the labels.")
    ] = False,
    allow_unknown: options.AllowUnknown = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the labels to this file.", show_default="stdout")
    ] = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw", help="csv: leave labels such as =A1 as they are, which spreadsheets would run."
        ),
    ] = False,
    force: options.Force = False,
    dtype: options.Dtype = "float32",
    json: options.Json = False,
) -> None:
    """Label new rows with a fine-tuned model: one row out for each row in, in the same order.

    The columns are `label` (multi-label: `labels`) and, for each class or answer, its probability
    as `p_` and its name; for regression only `score`. Sequence labelling gives each word its tag,
    in the format of FILE: CoNLL or jsonl. A row that cannot be used stays in its place, empty, and
    so does a blank line.
    """
    from gpt1 import storage
    from gpt1.cli.progress import Progress
    from gpt1.generation.torch_backend import narrow
    from gpt1.tasks.predictor import Predictor

    files, data = files or [], None if data_set is None else task_named(data_set)[1]
    if data is None and (split is not None or data_set is not None):
        raise ConfigError(
            f"--task names a data set of the paper here, e.g. --task mrpc; it is {data_set}. Leave "
            f"it and --split out for other files."
        )
    if data is not None and (columns or text_column or text):
        raise ConfigError(f"--task {data.name} knows its columns; leave the other options out.")
    if bool(files) == bool(text):
        raise ConfigError("give files to label, - for stdin, or --text TEXT; not both.")
    predictor = Predictor.load(model)
    predictor.model = narrow(predictor.model, dtype)
    task, tokenizer = predictor.task, predictor.tokenizer
    if data is None and files and not (columns or text_column):
        data = recognise(files, task)
    ending, present = task.output_ending(files[0] if files else ""), False
    if out is not None:
        if out.resolve() in [Path(file).resolve() for file in files]:
            raise ConfigError(f"--out is {out}, which is the file to read. Choose another name.")
        present = options.check_file("--out", out, *task.output_endings, force=force)
        ending = out.suffix.lower()
    if keep_columns and ending not in (".csv", ".jsonl") and not json:
        raise ConfigError(
            f"--keep-columns is given; {ending} has no columns. Add --out FILE.jsonl."
        )
    if text:
        table = texts_table(task, text, tokenizer, allow_unknown)
    elif data is not None:
        table = data_set_table(data, files, split, task, tokenizer)
    else:
        table = read_table(
            task.kind, files, tokenizer,
            columns=columns_given(task.kind, columns, text_column),
            task=task, labelled=False, options=options.reading(delimiter, encoding, header),
            allow_unknown=allow_unknown,
        )  # fmt: skip
    if files:
        print(table.counts.report(), file=sys.stderr)
    encoded = predictor.encode(table.usable)
    with Progress("predicting", "rows") as shown:
        probabilities = predictor.score(encoded, progress=shown.progress)
    answers = iter(task.records(table.usable, probabilities))
    records: list[Record] = [
        task.empty_record if e is None else next(answers) for e in table.examples
    ]
    if encoded.truncated:
        print(truncation_note(encoded.truncated), file=sys.stderr)
    if missing := table.examples.count(None):
        count = "row" if missing == 1 else "rows"
        print(f"{missing:,} {count} could not be used and got no label", file=sys.stderr)
    content = "" if json and not (out or keep_columns) else task.format(records, ending, raw=raw)
    if keep_columns:
        content, records = _keep_columns(content, records, table.rows, ending)
    if out is not None:
        storage.write_file(out, content.encode(errors="replace"), replace=present)
    if json:
        print_json(records)
    else:
        print(content if out is None else f"{out}\n", end="")


def _keep_columns(
    content: str, records: Sequence[Record], rows: Sequence[Record | None], ending: str
) -> tuple[str, list[Record]]:
    """Return the text of a file of answers, and the answers, with the columns of their rows."""
    rows = rows or [None] * len(records)
    names = list(dict.fromkeys(name for row in rows for name in row or ()))
    header, *answers = csv.reader(io.StringIO(content)) if ending == ".csv" else [list(records[0])]
    twice = [name for name in header if name in names and name not in _OF_THE_TEXT]
    if twice:
        print(
            f"the files have {', '.join(twice)} already; what the model says is in "
            f"{', '.join(f'predicted_{name}' for name in twice)}",
            file=sys.stderr,
        )

    def named(name: str) -> str:
        return f"predicted_{name}" if name in names else name

    merged: list[Record] = [
        {
            **{name: _plain((row or {}).get(name)) for name in names},
            **{
                named(n): v
                for n, v in record.items()
                if n not in (*_OF_THE_TEXT,) or n not in names
            },
        }
        for row, record in zip(rows, records, strict=True)
    ]
    if ending != ".csv":
        return "".join(json_format.dumps(m, ensure_ascii=False) + "\n" for m in merged), merged
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, *map(named, header)])
    for record, answer in zip(merged, answers, strict=True):
        writer.writerow([*(_field(record[name]) for name in names), *answer])
    return text.getvalue(), merged


def _plain(value: Any) -> Any:
    """Return a value of a file as JSON can have it."""
    return value if isinstance(value, str | int | float | list | dict | None) else str(value)


def _field(value: Any) -> str:
    """Return a value as the text of a csv field."""
    if isinstance(value, str) or value is None:
        return value or ""
    return json_format.dumps(value, ensure_ascii=False)
