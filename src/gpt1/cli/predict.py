"""gpt1 predict: label new rows with a model that was fine-tuned on a task."""

from __future__ import annotations

import csv
import io
import json as json_format
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpt1.cli import options, print_json
from gpt1.cli.task_files import (
    columns_given,
    recognise,
    rows_of_arguments,
    rows_of_data_set,
    rows_of_files,
    task_named,
    truncation_note,
    wordless,
)
from gpt1.cli.units import Engine, Work, compute
from gpt1.errors import ConfigError

if TYPE_CHECKING:
    from gpt1.cli.task_files import RowToLabel
    from gpt1.generation.kernels import Width
    from gpt1.tasks.predictor import Predictor

    Record = Mapping[str, Any]

_OF_THE_TEXT = ("text", "tokens")
"""Fields of an answer that repeat the row."""


def predict(
    model: Annotated[str, typer.Argument(help="A run of gpt1 finetune --task, or its model.")],
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILES", help=options.FILES + " Or - for stdin."),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT", help="A text to label, instead of files; for a pair, give it twice."
        ),
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
        bool, typer.Option("--keep-columns", help="Put the files' own columns before the labels.")
    ] = False,
    allow_unknown: options.AllowUnknown = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the labels to this file.", show_default="stdout"),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw", help="csv: leave labels such as =A1, which a spreadsheet would run, unchanged."
        ),
    ] = False,
    force: options.Force = False,
    dtype: options.Dtype = "float32",
    engine: Engine = "local",
    json: options.Json = False,
) -> None:
    """Label new rows with a fine-tuned model: one row out for each row in, in the same order.

    The columns are `label` (`labels` for multi-label) and the probability of each class or answer,
    named `p_` and the class; for regression, only `score`. Sequence labelling gives each word its
    tag, in the format of FILES: CoNLL or jsonl. A row that cannot be used stays in its place,
    empty, and so does a blank line.
    """
    from gpt1 import storage
    from gpt1.text.unknown import check_unknown

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
    labels = _Labels(model, dtype)
    task = labels.predictor.task
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
        units = rows_of_arguments(task, text)
    elif data is not None:
        units = rows_of_data_set(data, files, split, task)
    else:
        named = columns_given(task.kind, columns, text_column)
        read = options.reading(delimiter, encoding, header)
        units = rows_of_files(task, files, named, read, keep=keep_columns)
    first = [(e, place) for e, place, _ in next(iter(units), []) if e is not None]
    check_unknown(
        [" ".join(example.texts) for example, _ in first], labels.predictor.tokenizer,
        [place for _, place in first], allow=allow_unknown or data is not None,
    )  # fmt: skip
    results = compute(engine, units, labels, out, "predicting")
    missing, without_words, truncated = map(sum, zip(*(r[2] for r in results), strict=True))
    if without_words:
        units.counts.reject("no words", without_words)
    if files:
        print(units.counts.report(), file=sys.stderr)
    if truncated:
        print(truncation_note(truncated), file=sys.stderr)
    if missing:
        count = "row" if missing == 1 else "rows"
        print(f"{missing:,} {count} could not be used and got no label", file=sys.stderr)
    names: list[str] = []
    head, is_csv = task.format([], ending, raw=raw), ending == ".csv"
    if keep_columns:
        every = (row for _, rows, _ in results for row in rows)
        names = list(dict.fromkeys(name for row in every for name in row or ()))
        _say_renamed(names, next(csv.reader(io.StringIO(head))) if is_csv else task.answer_fields)
        head, _ = _keep_columns(names, head, [], [], is_csv=is_csv)

    def answers() -> Iterator[tuple[str, Sequence[Record]]]:
        """Yield the text of each unit's answers, and the answers."""
        for number, (records, rows, _) in enumerate(results):
            content = task.format(records, ending, raw=raw)
            if keep_columns:
                content, records = _keep_columns(names, content, records, rows, is_csv=is_csv)
            yield content.removeprefix(head * bool(number)), records

    if out is not None:
        content = (part.encode(errors="replace") for part, _ in answers())
        storage.write_file(out, content, replace=present)
    if json:
        print_json([record for _, records in answers() for record in records])
    elif out is not None:
        print(out)
    else:
        for part, _ in answers():
            print(part, end="")


class _Labels(Work):
    """Rows to label -> answers, the rows, and how many are empty, without words, and truncated."""

    def __init__(self, model: str, dtype: Width) -> None:
        super().__init__(model)
        self._dtype = dtype

    @cached_property
    def predictor(self) -> Predictor:
        from gpt1.generation.torch_backend import narrow
        from gpt1.tasks.predictor import Predictor

        predictor = Predictor.load(self.model)
        predictor.model = narrow(predictor.model, self._dtype)
        return predictor

    def __call__(self, unit: list[RowToLabel]) -> tuple[Any, ...]:
        task, tokenizer = self.predictor.task, self.predictor.tokenizer
        examples = [example for example, _, _ in unit]
        without = wordless([e for e in examples if e is not None], tokenizer)
        usable = [
            e is not None and not task.lacks_words(e, without, labelled=False) for e in examples
        ]
        chosen = [e for e, is_usable in zip(examples, usable, strict=True) if is_usable and e]
        encoded = self.predictor.encode(chosen)
        answers = iter(task.records(chosen, self.predictor.score(encoded)))
        records = [next(answers) if is_usable else task.empty_record for is_usable in usable]
        empty = usable.count(False)
        counts = (empty, empty - examples.count(None), encoded.truncated)
        return records, [row for _, _, row in unit], counts


def _say_renamed(names: Sequence[str], fields: Sequence[str]) -> None:
    """Say which of an answer's fields the files have as columns."""
    if twice := [name for name in fields if name in names and name not in _OF_THE_TEXT]:
        print(
            f"the files have {', '.join(twice)} already; what the model says is in "
            f"{', '.join(f'predicted_{name}' for name in twice)}",
            file=sys.stderr,
        )


def _keep_columns(
    names: Sequence[str],
    content: str,
    records: Sequence[Record],
    rows: Sequence[Record | None],
    *,
    is_csv: bool,
) -> tuple[str, list[Record]]:
    """Return the text of a file of answers, and the answers, with the columns `names` of rows."""

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
    if not is_csv:
        return "".join(json_format.dumps(m, ensure_ascii=False) + "\n" for m in merged), merged
    header, *answers = csv.reader(io.StringIO(content))
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
