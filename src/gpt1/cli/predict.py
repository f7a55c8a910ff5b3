"""gpt1 predict: label new rows with a model that was fine-tuned on a task."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gpt1.cli import options, print_json
from gpt1.cli.task_files import (
    columns_given,
    data_set_table,
    read_table,
    recognise,
    task_named,
    truncation_note,
)
from gpt1.errors import ConfigError

_FIRST_BYTES = (b"label,p_", b"labels,p_", b"score\n")
"""How the files begin that this command writes."""


def predict(
    model: Annotated[str, typer.Argument(help="A run of gpt1 finetune --task, or its model.")],
    files: options.Files,
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
    out: Annotated[
        Path | None, typer.Option(help="Write the labels to this file.", show_default="stdout")
    ] = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw", help="csv: leave labels such as =A1 as they are, which spreadsheets would run."
        ),
    ] = False,
    json: options.Json = False,
) -> None:
    """Label new rows with a fine-tuned model: one row out for each row in, in the same order.

    The columns are `label` (multi-label: `labels`) and, for each class or answer, its probability
    as `p_` and its name; for regression only `score`. Sequence labelling gives each word its tag,
    in the format of FILE: CoNLL or jsonl. A row that cannot be used stays in its place, empty.
    """
    from gpt1 import storage
    from gpt1.cli.progress import Progress
    from gpt1.tasks.predictor import Predictor

    data = None if data_set is None else task_named(data_set)[1]
    if data is None and (split is not None or data_set is not None):
        raise ConfigError(
            f"--task names a data set of the paper here, e.g. --task mrpc; it is {data_set}. Leave "
            f"it and --split out for other files."
        )
    if data is not None and (columns or text_column):
        raise ConfigError(f"--task {data.name} knows its columns; leave the other options out.")
    present = out is not None and os.path.lexists(out)
    predictor = Predictor.load(model)
    task = predictor.task
    if data is None and not (columns or text_column):
        data = recognise(files, task)
    if out is not None:
        if out.suffix.lower() not in task.output_endings:
            endings = " or ".join(task.output_endings)
            raise ConfigError(f"--out is {out}; the file's name must end in {endings}.")
        if out.resolve() in [Path(file).resolve() for file in files]:
            raise ConfigError(f"--out is {out}, which is the file to read. Choose another name.")
        if out.is_file() and not out.read_bytes().startswith(_FIRST_BYTES):
            raise ConfigError(
                f"--out is {out}, which exists and was not written by gpt1 predict. Choose another "
                f"name, or remove the file."
            )
    if data is not None:
        table = data_set_table(data, files, split, task, predictor.tokenizer)
    else:
        table = read_table(
            task.kind, files, predictor.tokenizer,
            columns=columns_given(task.kind, columns, text_column),
            task=task, labelled=False, options=options.reading(delimiter, encoding, header),
        )  # fmt: skip
    print(table.counts.report(), file=sys.stderr)
    encoded = predictor.encode(table.usable)
    with Progress("predicting", "rows") as shown:
        probabilities = predictor.score(encoded, progress=shown.progress)
    answers = iter(task.records(table.usable, probabilities))
    records = [task.empty_record if e is None else next(answers) for e in table.examples]
    if encoded.truncated:
        print(truncation_note(encoded.truncated), file=sys.stderr)
    if missing := table.examples.count(None):
        rows = "row" if missing == 1 else "rows"
        print(f"{missing:,} {rows} could not be used and got no label", file=sys.stderr)
    ending = task.output_ending(files[0]) if out is None else out.suffix.lower()
    text = task.format(records, ending, raw=raw)
    if out is not None:
        storage.write_file(out, text.encode(errors="replace"), replace=present)
    if json:
        print_json(records)
    else:
        print(text if out is None else f"{out}\n", end="")
