"""gpt1 predict: label new rows with a model that was fine-tuned on a task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpt1.cli.task_files import COLUMNS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gpt1.tasks.spec import Task


def predict(
    model: Annotated[str, typer.Argument(help="A run of gpt1 finetune --task, or its model.")],
    file: Annotated[str, typer.Argument(help="csv, tsv, jsonl, parquet (.gz too), or hub:...")],
    columns: Annotated[str | None, typer.Option(help=f"Tells {COLUMNS}")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the csv into this file; else to stdout.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Label new rows with a fine-tuned model: one row out for each row in, in their order.

    The columns are `label` and `p_` and the name of each class (or answer), its probability; of a
    regression only `score`. A row that cannot be used keeps its place, with nothing in it.
    """
    import sys

    from gpt1 import storage
    from gpt1.cli.progress import Progress
    from gpt1.cli.task_files import columns_given, cut_note, read_table
    from gpt1.errors import ConfigError
    from gpt1.pipeline import Predictor

    named = columns_given(columns)
    if out is not None:
        if out.suffix.lower() != ".csv":
            raise ConfigError(f"--out is {out}; the file's name ends in .csv. Give such a name.")
        if out.resolve() == Path(file).resolve():
            raise ConfigError(f"--out is {out}, which is the file to read. Give another name.")
        if out.is_file() and not out.read_bytes().startswith(_OURS):
            raise ConfigError(
                f"--out is {out}, which is there and was not written by gpt1 predict. Give another "
                f"name, or remove it."
            )
    predictor = Predictor.load(model)
    task = predictor.task
    table = read_table(
        task.kind, file, predictor.tokenizer, columns=named, task=task, labelled=False
    )
    print(table.counts, file=sys.stderr)
    encoded = predictor.encode(table.usable)
    with Progress() as shown:
        probabilities = predictor.score(
            encoded,
            progress=lambda done, total: shown.show(
                "predicting", f"{done:,} of {total:,} rows", done, total
            ),
        )
    usable = [example is not None for example in table.examples]
    rows = list(_rows(task, usable, probabilities, predictor.decide(probabilities)))
    if encoded.cut:
        print(cut_note(encoded.cut), file=sys.stderr)
    if missing := usable.count(False):
        what = "row" if missing == 1 else "rows"
        print(f"{missing:,} {what} could not be used and got no label", file=sys.stderr)
    if out is not None:
        storage.write_file(out, _csv(task, rows).encode(errors="replace"))
    if json:
        print(storage.json_bytes(_records(task, rows)).decode(), end="")
    else:
        print(_csv(task, rows) if out is None else f"{out}\n", end="")


_OURS = (b"label,p_", b"score\n")  # how what this command writes begins
Row = tuple[Any, list[float]]
"""(label or score, None where there is none; the probabilities)."""


def _rows(
    task: Task,
    usable: list[bool],
    probabilities: NDArray[Any],
    decided: NDArray[Any],
) -> list[Row]:
    found: list[Row] = []
    number = 0
    for there in usable:
        if not there:
            found.append((None, []))
            continue
        value: Any = float(decided[number])
        if task.kind == "regression":
            value = round(value, 6)
        else:
            value = task.classes[int(value)] if task.classes else int(value)
        found.append((value, [round(p, 6) for p in probabilities[number].tolist()]))
        number += 1
    return found


def _names(task: Task) -> list[str]:
    """Return what the probabilities belong to; nothing for a regression."""
    if task.kind == "regression":
        return []
    return list(task.classes) or [f"answer_{i}" for i in range(task.answers or 0)]


def _csv(task: Task, rows: list[Row]) -> str:
    import csv
    import io

    names = _names(task)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_key(task), *(f"p_{name}" for name in names)])
    for value, probabilities in rows:
        if value is None:
            writer.writerow([""] * (1 + len(names)))
        elif names:
            writer.writerow([value, *(f"{p:.6f}" for p in probabilities)])
        else:
            writer.writerow([f"{value:.6f}"])
    return text.getvalue()


def _key(task: Task) -> str:
    return "score" if task.kind == "regression" else "label"


def _records(task: Task, rows: list[Row]) -> list[dict[str, Any]]:
    names = _names(task)
    return [
        {_key(task): value}
        | ({"probabilities": dict(zip(names, p, strict=True)) if p else None} if names else {})
        for value, p in rows
    ]
