"""gpt1 evaluate: how good a model is, at its task or at predicting a text."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpt1.cli.task_files import COLUMNS, LM

if TYPE_CHECKING:
    from gpt1.data.tables import RowCounts
    from gpt1.tasks.datasets import DataSet
    from gpt1.tasks.predictor import Predictor
    from gpt1.tasks.spec import Example


def evaluate(
    model: Annotated[str, typer.Argument(help="A name, a folder or a repository.")],
    files: Annotated[list[str], typer.Argument(help="txt, jsonl, csv, tsv, parquet, hub:...")],
    column: Annotated[str | None, typer.Option(help="lm: the column with the text.")] = None,
    columns: Annotated[str | None, typer.Option(help=f"Tasks: {COLUMNS}")] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="A data set of the paper such as sst2: FILES is its folder, or hub. Or lm: "
            "perplexity, whatever the model was taught.",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Of a data set: dev (the default), test, ...")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Read only so many rows.")] = None,
    page: Annotated[
        Path | None,
        typer.Option(help="Tasks: the page with the errors; else RUN/evaluation.html."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure a model on labelled rows (a task), or on texts (perplexity).

    A model that was fine-tuned on a task gives the task's metrics with 95 % bootstrap intervals,
    and a page with its confusions, how sure it is, and its most confident errors. Any other gives
    perplexity and bits per byte: the texts one after the other, in float32.
    """
    from gpt1.cli.task_files import task_named
    from gpt1.errors import ConfigError
    from gpt1.tasks.predictor import Predictor

    named = None if task is None else task_named(task)
    data = None if named is None else named.data
    if page is not None and page.suffix.lower() != ".html":
        raise ConfigError(f"--page is {page}; the page's name ends in .html. Give such a name.")
    if split is not None and data is None:
        raise ConfigError(
            f"--split is {split}; it is of a data set that --task names, e.g. --task sst2. Leave "
            f"it out."
        )
    if task == LM or not _has_task(model):
        wanted = {"--columns": columns, "--page": page, "--task": None if task == LM else task}
        for flag, value in wanted.items():
            if value:
                raise ConfigError(
                    f"{flag} is given; {model} "
                    + ("is measured as lm" if task == LM else "was not fine-tuned on a task")
                    + ", so it reads texts alone. Leave it out, or run gpt1 finetune --task first."
                )
        _perplexity(model, files, column, limit, json)
        return
    if column is not None:
        raise ConfigError(
            f"--column is for texts; {model} was fine-tuned on a task. Name its columns with "
            f"--columns, e.g. --columns label=Stars, or add --task lm for perplexity."
        )
    predictor = Predictor.load(model)
    if data is not None:
        if columns is not None or len(files) > 1:
            raise ConfigError(
                f"--task {data.name} takes one folder and knows its columns; leave --columns and "
                f"other files out."
            )
        rows = _data_set(predictor, data, files[0], split or "dev", limit)
    elif named is not None and named.kind != predictor.task.kind:
        raise ConfigError(
            f"the task is {named.kind}; the model was fine-tuned on {predictor.task.kind}. Leave "
            f"--task out."
        )
    else:
        rows = _table(predictor, files, columns, limit)
    _measure(predictor, rows, model, page, json)


def _has_task(model: str) -> bool:
    from gpt1.checkpoint import hub
    from gpt1.checkpoint.folder import OWN
    from gpt1.storage import Folder

    path = hub.resolve(model)
    if not path.is_dir() or OWN not in Folder(path):
        return False
    own = Folder(path).json(OWN)
    return isinstance(own, dict) and "task" in own


def _perplexity(
    model: str, files: list[str], column: str | None, limit: int | None, json: bool
) -> None:
    import gpt1
    from gpt1.cli import print_json
    from gpt1.cli.progress import Progress
    from gpt1.data.tables import Texts
    from gpt1.evaluation.perplexity import measure

    texts = Texts(files, column, limit)
    gpt = gpt1.load(model)
    with Progress("evaluating", "tokens") as shown:
        found = measure(gpt.model, gpt.tokenizer, texts, progress=shown.progress)
    print(texts.counts, file=sys.stderr)
    if json:
        print_json(asdict(found))
        return
    print(f"loss           {found.loss:.4f} nats a token over {found.targets:,} tokens")
    print(f"perplexity     {found.perplexity:.2f}")
    print(f"bits per byte  {found.bits_per_byte:.4f} over {found.bytes:,} bytes")


@dataclass(frozen=True)
class _Rows:
    """Labelled rows: `metrics` are to be given first, `leakage` says what training held of them."""

    name: str
    examples: list[Example]
    locations: list[str] | None
    counts: RowCounts
    metrics: tuple[str, ...]
    leakage: str


def _data_set(
    predictor: Predictor, data: DataSet, source: str, split: str, limit: int | None
) -> _Rows:
    """Return the labelled rows of a published data set. Raises ConfigError, DataError."""
    from gpt1.cli.task_files import fit_labels
    from gpt1.errors import DataError, GPT1Error
    from gpt1.tasks.leakage import leakage

    rows = data.load(source, split, limit)
    print(rows, file=sys.stderr)
    if any(example.label is None for example in rows.examples):
        raise DataError(
            f"{data.title} {split} has no labels, so nothing can be measured on it. Take "
            f"--split dev, or label it with gpt1 predict."
        )
    examples = fit_labels(rows.examples, data, predictor.task)
    try:
        train = data.load(source, "train").examples
        held = f"{split} against train: {leakage(train, rows.examples, data.task.kind)}"
    except GPT1Error:
        held = f"{data.title}'s training rows are not there, so leakage is not known"
    return _Rows(f"{data.title} {split}", examples, None, rows.counts, data.metrics, held)


def _table(predictor: Predictor, files: list[str], columns: str | None, limit: int | None) -> _Rows:
    """Return the labelled rows of files. Raises ConfigError, DataError."""
    from gpt1.cli.task_files import columns_given, read_table

    task, named = predictor.task, columns_given(columns)
    new = task.for_new_rows
    table = read_table(task.kind, files, predictor.tokenizer, columns=named, task=new, limit=limit)
    print(table, file=sys.stderr)
    name = ", ".join(files[:3]) + (", ..." if len(files) > 3 else "")
    held = "whether training held some of these rows is not known; gpt1 finetune --valid checks"
    return _Rows(name, table.usable, table.locations, table.counts, (task.metric,), held)


def _measure(predictor: Predictor, rows: _Rows, model: str, page: Path | None, json: bool) -> None:
    """Measure, print, and write the page where --page says, else into the run of the model."""
    from gpt1.checkpoint import hub
    from gpt1.cli import print_json
    from gpt1.cli.progress import Progress
    from gpt1.cli.task_files import truncation_note
    from gpt1.errors import StorageError
    from gpt1.evaluation.tasks import evaluate, render_evaluation
    from gpt1.reports.sections import Table
    from gpt1.reports.tables import print_table
    from gpt1.storage import write_file

    with Progress("evaluating", "rows") as shown:
        evaluation = evaluate(
            predictor,
            rows.examples,
            locations=rows.locations,
            metrics=rows.metrics,
            progress=shown.progress,
        )
    if evaluation.truncated:
        print(truncation_note(evaluation.truncated), file=sys.stderr)
    print(rows.leakage, file=sys.stderr)
    title = f"{model} on {rows.name}"
    if json:
        names = {"model": model, "data": rows.name}
        print_json({**names, **evaluation.to_json(), "accounting": asdict(rows.counts)})
    else:
        print_table(title, Table(("metric", "value", "95% interval"), evaluation.figures()))
        print(f"{evaluation.rows:,} row{'s' * (evaluation.rows != 1)}")
        if evaluation.classes:
            print_table(evaluation.classes_title, evaluation.class_table())

    folder = hub.resolve(model)
    if page is None and (folder.name != "model" or not (folder.parent / "run.json").is_file()):
        print("--page FILE.html writes a page with the errors", file=sys.stderr)
        return
    path = page or folder.parent / "evaluation.html"
    try:
        write_file(path, render_evaluation(title, evaluation, str(rows.counts)))
    except StorageError as error:
        if page is not None:
            raise
        print(f"no page: {error} Or give --page FILE.html.", file=sys.stderr)
        return
    print(f"a page with the most confident errors: {path}", file=sys.stderr)
