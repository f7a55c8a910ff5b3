"""gpt1 predict: label new rows with a model that was fine-tuned on a task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpt1.cli.task_files import COLUMNS


def predict(
    model: Annotated[str, typer.Argument(help="A run of gpt1 finetune --task, or its model.")],
    file: Annotated[str, typer.Argument(help="csv, tsv, jsonl, parquet (.gz too), or hub:...")],
    columns: Annotated[str | None, typer.Option(help=f"Tells {COLUMNS}")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the answers into this file; else to stdout.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Label new rows with a fine-tuned model: one row out for each row in, in their order.

    The columns are `label` (multi-label: `labels`) and `p_` and the name of each class (or answer),
    its probability; of a regression only `score`. Words get a tag each, in the form of FILE: CoNLL
    or jsonl. A row that cannot be used keeps its place, with nothing in it.
    """
    import sys

    from gpt1 import storage
    from gpt1.cli import print_json
    from gpt1.cli.progress import Progress
    from gpt1.cli.task_files import columns_given, read_table, truncation_note
    from gpt1.errors import ConfigError
    from gpt1.tasks.predictor import Predictor

    named = columns_given(columns)
    predictor = Predictor.load(model)
    task = predictor.task
    if out is not None:
        if out.suffix.lower() not in task.output_endings:
            raise ConfigError(
                f"--out is {out}; the file's name ends in {' or '.join(task.output_endings)}. Give "
                f"such a name."
            )
        if out.resolve() == Path(file).resolve():
            raise ConfigError(f"--out is {out}, which is the file to read. Give another name.")
        if out.is_file() and not out.read_bytes().startswith(_OURS):
            raise ConfigError(
                f"--out is {out}, which is there and was not written by gpt1 predict. Give another "
                f"name, or remove it."
            )
    table = read_table(
        task.kind, file, predictor.tokenizer, columns=named, task=task, labelled=False
    )
    print(table.counts, file=sys.stderr)
    encoded = predictor.encode(table.usable)
    with Progress("predicting", "rows") as shown:
        probabilities = predictor.score(encoded, progress=shown.progress)
    answers = iter(task.records(table.usable, probabilities))
    records = [task.empty_record if e is None else next(answers) for e in table.examples]
    if encoded.truncated:
        print(truncation_note(encoded.truncated), file=sys.stderr)
    if missing := table.examples.count(None):
        what = "row" if missing == 1 else "rows"
        print(f"{missing:,} {what} could not be used and got no label", file=sys.stderr)
    ending = task.output_ending(file) if out is None else out.suffix.lower()
    text = task.format(records, ending)
    if out is not None:
        storage.write_file(out, text.encode(errors="replace"))
    if json:
        print_json(records)
    else:
        print(text if out is None else f"{out}\n", end="")


_OURS = (b"label,p_", b"labels,p_", b"score\n")  # how what this command writes begins
