"""What the commands that work on a task share: its name, its columns, and reading its rows."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gpt1.errors import ConfigError, DataError, GPT1Error, counted, did_you_mean

if TYPE_CHECKING:
    from gpt1.data.dialect import ReadOptions
    from gpt1.data.lines import Row
    from gpt1.data.units import Units
    from gpt1.tasks.datasets import DataSet, Rows
    from gpt1.tasks.kinds import Task
    from gpt1.tasks.spec import Example
    from gpt1.tasks.tables import TaskTable
    from gpt1.text.tokenizer import Tokenizer

    RowToLabel = tuple[Example | None, str, Row | None]
    """The example, "file:line", and what the file has there."""

LM = "lm"


def task_named(name: str) -> tuple[str, DataSet | None]:
    """Return what --task names: "lm" or a kind of task, and the data set if it names one.

    Raises ConfigError.
    """
    from gpt1.tasks.datasets import DATA_SETS, data_set
    from gpt1.tasks.kinds import KINDS

    if name == LM or name in KINDS:
        return name, None
    try:
        data = data_set(name)
    except ConfigError:
        raise ConfigError(
            f"the task {name!r} is not one of {LM}, {', '.join(KINDS)}, nor a data set of the "
            f"paper ({', '.join(DATA_SETS)}).{did_you_mean(name, [LM, *KINDS, *DATA_SETS])}"
        ) from None
    return data.task.kind, data


def one_column(names: Sequence[str] | None) -> str | None:
    """Return the column of plain texts that --text-column names. Raises ConfigError."""
    if names and len(names) > 1:
        raise ConfigError("--text-column is given twice; plain texts are in one column.")
    return names[0] if names else None


def columns_given(
    kind: str,
    text: str | None,
    text_columns: Sequence[str] | None = None,
    label_column: str | None = None,
) -> dict[str, str]:
    """Return what --columns, --text-column and --label-column say: standard name -> the file's.

    Raises ConfigError.

    >>> columns_given("classification", "text=Review, label=Stars")
    {'text': 'Review', 'label': 'Stars'}
    >>> columns_given("entailment", None, ["Premise, or a", "b"], "label = class")
    {'text_a': 'Premise, or a', 'text_b': 'b', 'label': 'label = class'}
    """
    from gpt1.tasks.kinds import KINDS

    cls = KINDS[kind]
    columns: dict[str, str] = {}
    for part in [] if text is None else text.split(","):
        name, equals, column = (piece.strip() for piece in part.partition("="))
        if not name or not equals or not column:
            raise ConfigError(
                f"--columns is {text!r}; it takes pairs with commas between, the standard name "
                f"first, e.g. --columns text=Review,label=Stars."
            )
        if name in columns:
            raise ConfigError(f"--columns names {name!r} twice; name each column once.")
        columns[name] = column
    if len(text_columns or ()) > len(cls.text_columns):
        raise ConfigError(
            f"--text-column is given {counted(len(text_columns or ()), 'time')}; {kind} has the "
            f"columns {', '.join(cls.text_columns)}. Name others with --columns."
        )
    named = dict(zip(cls.text_columns, text_columns or (), strict=False))
    if label_column is not None:
        named[cls.label_column] = label_column
    if twice := sorted(named.keys() & columns):
        raise ConfigError(
            f"--columns names {twice[0]!r}, and so does another option. Leave one out."
        )
    return columns | named


def read_table(
    kind: str,
    sources: str | Sequence[str],
    tokenizer: Tokenizer,
    *,
    columns: Mapping[str, str],
    task: Task | None = None,
    trained: Task | None = None,
    limit: int | None = None,
    options: ReadOptions | None = None,
    allow_unknown: bool = False,
) -> TaskTable:
    """Return the labelled rows of files, rejecting also those that have no token at all.

    Raises ConfigError, DataError, HubError.
    """
    from gpt1.tasks.tables import read_examples

    table = read_examples(
        kind, sources, columns=columns, task=task, trained=trained, options=options
    )
    return _reject_wordless(table.sample(limit), tokenizer, allow_unknown)


def rows_of_files(
    task: Task,
    files: Sequence[str],
    columns: Mapping[str, str],
    options: ReadOptions,
    *,
    keep: bool,
) -> Units[RowToLabel]:
    """Return the rows of files in units, with what the files have in each if `keep`.

    Raises ConfigError, DataError, HubError.
    """
    from gpt1.data.units import Units
    from gpt1.tasks.tables import ExampleReader

    class Rows(ExampleReader):
        def __iter__(self) -> Iterator[RowToLabel]:
            for example, _, row in super().__iter__():
                yield example, self.location, row if keep else None

    rows = Rows(task.kind, files, columns=columns, task=task, labelled=False, options=options)
    return Units(rows, _characters)


def rows_of_arguments(task: Task, texts: Sequence[str]) -> Units[RowToLabel]:
    """Return the rows to predict that texts make. Raises InputError."""
    from gpt1.data.tables import RowCounts
    from gpt1.data.units import Listed, Units
    from gpt1.tasks.tables import rows_of_texts

    rows, examples = rows_of_texts(task, texts)
    places = ["--text"] * len(rows)
    return Units(Listed(zip(examples, places, rows, strict=True), RowCounts()), _characters)


def rows_of_data_set(
    data: DataSet, sources: Sequence[str], split: str | None, task: Task
) -> Units[RowToLabel]:
    """Return the rows of a published data set, to label them; see `read_data_set`."""
    from gpt1.data.units import Listed, Units

    fit_labels([], data, task)
    rows = read_data_set(data, sources, split, labelled=False)
    kept = rows.kept or [None] * len(rows.examples)
    places = [""] * len(kept)
    return Units(Listed(zip(rows.examples, places, kept, strict=True), rows.counts), _characters)


def _characters(row: RowToLabel) -> int:
    return sum(map(len, row[0].texts)) if row[0] else 0


def _reject_wordless(table: TaskTable, tokenizer: Tokenizer, allow_unknown: bool) -> TaskTable:
    """Return a table without the rows that have a text without a token."""
    from gpt1.text.unknown import check_unknown

    pairs = zip(table.locations, table.examples, strict=True)
    places = [place for place, example in pairs if example is not None]
    texts = [" ".join(example.texts) for example in table.usable]
    check_unknown(texts, tokenizer, places, allow=allow_unknown)
    without = wordless(table.usable, tokenizer)
    rejected = {
        i
        for i, example in enumerate(table.examples)
        if example is not None and table.task.lacks_words(example, without, labelled=True)
    }
    if not rejected:
        return table
    table.counts.reject("no words", len(rejected))
    usable = [i for i in range(len(table.examples)) if i not in rejected]
    if not usable:
        raise DataError(f"{table.locations[0]}: nothing to use; {table.counts}.")
    examples = [table.examples[i] for i in usable]
    return replace(table, examples=examples, locations=[table.locations[i] for i in usable])


def wordless(examples: Sequence[Example], tokenizer: Tokenizer) -> set[str]:
    """Return the texts without a token, e.g. a control character alone."""
    texts = {text for example in examples for text in example.texts}
    suspects = [text for text in texts if not any(map(str.isalnum, text))]  # letters leave tokens
    ids = tokenizer.encode_batch(suspects)
    return {text for text, row in zip(suspects, ids, strict=True) if not row}


def truncation_note(rows: int) -> str:
    """Return what to say about rows that are longer than the window."""
    what = "row is" if rows == 1 else "rows are"
    return f"{rows:,} {what} longer than the model's window and truncated (see docs/tasks.md)"


def read_data_set(
    data: DataSet, sources: Sequence[str], split: str | None, *, labelled: bool = True
) -> Rows[Example | None]:
    """Return the rows of a published data set: a split of its folder, or its files as they lie.

    Rows to label (labelled: False) are by default those of the test split, others of dev. Raises
    ConfigError, DataError, HubError.
    """
    if is_files(data, sources):
        if split is not None:
            raise ConfigError(
                f"--split is {split}; {sources[0]} is a file, all of which is read. Leave --split "
                f"out, or give the folder of {data.title}."
            )
        return data.read(sources, labelled=labelled)
    split = split or ("dev" if labelled else "test")
    return data.load_all(sources[0], split, labelled=labelled)


def is_files(data: DataSet, sources: Sequence[str]) -> bool:
    """Return whether files of a data set are given, and not its folder. Raises ConfigError."""
    if all(Path(source).is_file() for source in sources):
        return True
    if len(sources) > 1:
        raise ConfigError(
            f"--task {data.name} takes one folder, or files of {data.title}; {len(sources):,} "
            f"paths are given, the first {sources[0]}. Leave the others out."
        )
    return False


def recognise(sources: Sequence[str], task: Task) -> DataSet | None:
    """Return the data set whose files look like the first of `sources`, not a table for `task`."""
    from gpt1.data.tables import RowReader
    from gpt1.tasks.datasets import DATA_SETS

    present: list[str] = []
    with contextlib.suppress(GPT1Error, StopIteration):  # a row may have been taken for a header
        next(iter(RowReader(sources[0], lambda _, names: present.extend(names))))
    if set(task.text_columns) <= set(present):
        return None
    path = sources[0].casefold()
    by_name = sorted(DATA_SETS.values(), key=lambda data: not data.files.are_named_in(path))
    for data in by_name:
        if task.translate(data.task) is not None and data.recognises(sources[0]):
            print(
                f"read as a file of {data.title}, as its columns show; --columns says otherwise",
                file=sys.stderr,
            )
            return data
    return None


def rows_of_run(run: Path, task: Task, tokenizer: Tokenizer) -> list[Example]:
    """Return the rows that a run of `gpt1 finetune` was given; [] where they cannot be known."""
    from gpt1.cli.options import reading
    from gpt1.training.resume import read_command

    try:
        name, given = read_command(run)
        kind, data = task_named(given["task"] or LM)
        files, limit = given["files"], given["limit"]
        if name != "finetune" or kind != task.kind:
            return []
        if data is not None:
            rows = (
                data.read(files).usable.sample(limit)
                if is_files(data, files)
                else data.load(files[0], "train", limit)
            )
            return fit_labels(rows.examples, data, task)
        columns = [given[name] for name in ("columns", "text_column", "label_column")]
        options = [given[name] for name in ("delimiter", "encoding", "header", "lines")]
        table = read_table(
            kind, files, tokenizer, columns=columns_given(kind, *columns),
            task=task.for_new_rows, limit=limit, options=reading(*options),
        )  # fmt: skip
    except (GPT1Error, KeyError, TypeError):
        return []
    return table.usable


def fit_labels(examples: Sequence[Example], data: DataSet, task: Task) -> list[Example]:
    """Translate a data set's labels into those of a model's task. Raises ConfigError."""
    index = task.translate(data.task)
    if index is None:
        raise ConfigError(
            f"{data.title} is {data.task.describe()}; the model was fine-tuned on "
            f"{task.describe()}. Take a model that was fine-tuned with --task {data.name}."
        )
    return [
        e if e.label is None or not index else replace(e, label=index[int(e.label)])
        for e in examples
    ]
