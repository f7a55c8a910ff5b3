"""gpt1 evaluate: how good a model is, at its task or at predicting a text."""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpt1.cli import options, print_json, task_files
from gpt1.cli.task_files import LM
from gpt1.errors import ConfigError, DataError, GPT1Error, StorageError, counted

if TYPE_CHECKING:
    from gpt1.data.tables import RowCounts, Texts
    from gpt1.tasks.datasets import DataSet
    from gpt1.tasks.kinds.evaluation import TaskEvaluation
    from gpt1.tasks.predictor import Predictor
    from gpt1.tasks.spec import Example
    from gpt1.tasks.tables import TaskTable

    Evaluated = tuple[str, TaskEvaluation, RowCounts, str]
    """The name of the rows, what was measured on them, and how many could be used."""


def evaluate(
    model: options.ModelArgument,
    files: options.Files,
    column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    columns: options.Columns = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="A data set of the paper, such as sst2: FILES is then its folder, or hub. Or lm: "
            "perplexity, whatever the model was fine-tuned on.",
            show_default="the model's own",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="The split of a data set.", show_default="dev")
    ] = None,
    limit: options.Limit = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    header: options.Header = None,
    lines: options.Documents = None,
    train: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Tasks: the rows that the model was trained on, for simple baselines and to find "
            "evaluated rows among them; may be repeated.",
            show_default="a data set's train split, or the files of RUN",
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--page",
            "-o",
            help="Tasks: write the page with the errors to this .html file.",
            show_default="RUN/evaluation.html",
        ),
    ] = None,
    allow_unknown: options.AllowUnknown = False,
    force: options.Force = False,
    dtype: options.Dtype = "float32",
    json: options.Json = False,
) -> None:
    """Evaluate a model on labelled rows (a task), or on texts (perplexity).

    For a model that was fine-tuned on a task, this gives the task's metrics with 95 % bootstrap
    intervals, and a page with the confusion matrix, the calibration and the most confident errors.
    For any other model, it gives the perplexity and the bits per byte of the texts, in float32.
    """
    from gpt1.data.tables import Texts
    from gpt1.generation.torch_backend import narrow
    from gpt1.tasks.predictor import Predictor

    kind, data = (None, None) if task is None else task_files.task_named(task)
    present = page is not None and options.check_file("--page", page, ".html", force=force)
    if split is not None and data is None:
        raise ConfigError(
            f"--split is {split}; it is for a data set that --task names, e.g. --task sst2. Leave "
            f"it out."
        )
    if kind == LM or not _has_task(model):
        reason = "is measured as lm" if kind == LM else "was not fine-tuned on a task"
        for_tasks = {
            "--columns": columns,
            "--label-column": label_column,
            "--page": page,
            "--train": train,
            "--task": None if kind == LM else task,
        }
        for flag, value in for_tasks.items():
            if value:
                raise ConfigError(
                    f"{flag} is given; {model} {reason}, so only its perplexity can be measured. "
                    f"Leave it out, or run gpt1 finetune --task first."
                )
        read_options = options.reading(delimiter, encoding, header, lines, "document")
        texts = Texts(files, task_files.one_column(column), limit, read_options)
        _perplexity(model, texts, json, allow_unknown, dtype)
        return
    predictor = Predictor.load(model)
    predictor.model = narrow(predictor.model, dtype)
    if task is None and not (columns or column or label_column):
        data = task_files.recognise(files, predictor.task)
    if data is not None:
        if columns or column or label_column:
            raise ConfigError(
                f"--task {data.name} knows its columns; leave --columns, --text-column and "
                f"--label-column out."
            )
        evaluated = _data_set(predictor, data, files, train, split, limit, model)
    elif kind is not None and kind != predictor.task.kind:
        raise ConfigError(
            f"the task is {kind}; the model was fine-tuned on {predictor.task.kind}. Leave "
            f"--task out."
        )
    else:
        task_kind = predictor.task.kind
        read = partial(
            task_files.read_table,
            task_kind,
            tokenizer=predictor.tokenizer,
            columns=task_files.columns_given(task_kind, columns, column, label_column),
            task=predictor.task.for_new_rows,
            options=options.reading(delimiter, encoding, header, lines),
            allow_unknown=allow_unknown,
        )
        trained = read(train).usable if train else _rows_of_run(model, predictor)
        evaluated = _files(predictor, files, read(files, limit=limit), trained)
    _report(model, evaluated, page, json, replace=present)


def _run_of(model: str) -> Path | None:
    """Return the run that a model is of, None if it is in no run's folder."""
    from gpt1.checkpoint import hub

    folder = hub.resolve(model)
    run = folder.parent
    return run if folder.name == "model" and (run / "run.json").is_file() else None


def _rows_of_run(model: str, predictor: Predictor) -> list[Example]:
    """Return the rows that a model's run was given, [] where they cannot be known."""
    run = _run_of(model)
    if run is None:
        return []
    return task_files.rows_of_run(run, predictor.task, predictor.tokenizer)


def _has_task(model: str) -> bool:
    from gpt1.checkpoint import hub
    from gpt1.checkpoint.folder import OWN
    from gpt1.storage import Folder

    path = hub.resolve(model)
    if not path.is_dir() or OWN not in Folder(path):
        return False
    own = Folder(path).json(OWN)
    return isinstance(own, dict) and "task" in own


def _perplexity(model: str, texts: Texts, json: bool, allow_unknown: bool, dtype: str) -> None:
    import gpt1
    from gpt1.cli.progress import Progress
    from gpt1.evaluation.perplexity import measure
    from gpt1.text.unknown import SAMPLED, check_unknown

    gpt = gpt1.load(model, dtype=dtype)
    first = list(islice(texts, SAMPLED))
    check_unknown(first, gpt.tokenizer, allow=allow_unknown)
    with Progress("evaluating", "tokens") as shown:
        result = measure(gpt.scorer(), gpt.tokenizer, texts, progress=shown.progress)
    print(texts.counts.report(), file=sys.stderr)
    if json:
        print_json(asdict(result))
        return
    print(f"loss           {result.loss:.4f} nats a token over {counted(result.targets, 'token')}")
    print(f"perplexity     {result.perplexity:.2f}")
    print(f"bits per byte  {result.bits_per_byte:.4f} over {result.bytes:,} bytes")


def _data_set(
    predictor: Predictor,
    data: DataSet,
    files: list[str],
    train: list[str] | None,
    split: str | None,
    limit: int | None,
    model: str,
) -> Evaluated:
    """Evaluate on a published data set."""
    from gpt1.tasks.leakage import leakage

    rows = task_files.read_data_set(data, files, split).usable.sample(limit)
    print(rows, file=sys.stderr)
    if any(example.label is None for example in rows.examples):
        raise DataError(
            f"{data.title} {rows.split} has no labels, so nothing can be measured on it. Take "
            f"--split dev, or label it with gpt1 predict."
        )
    examples = task_files.fit_labels(rows.examples, data, predictor.task)
    trained: list[Example] = []
    try:
        if train:
            trained = data.read(train).usable.examples
        elif not Path(files[0]).is_file():
            trained = data.load(files[0], "train").examples
    except GPT1Error:
        if train:
            raise
    trained = task_files.fit_labels(trained, data, predictor.task) or _rows_of_run(model, predictor)
    if trained:
        shared = f"{rows.split} against train: {leakage(trained, examples, data.task.kind)}"
    else:
        shared = (
            f"{data.title}'s training rows are not there, so leakage is not known; name them with "
            f"--train FILE"
        )
    print(shared, file=sys.stderr)
    evaluation = _measure(predictor, examples, metrics=data.metrics, train=trained)
    return f"{data.title} {rows.split}", evaluation, rows.counts, shared


def _files(
    predictor: Predictor, files: list[str], table: TaskTable, train: list[Example]
) -> Evaluated:
    """Evaluate on the labelled rows of files."""
    from gpt1.tasks.leakage import leakage

    print(table, file=sys.stderr)
    shared = (
        f"against training: {leakage(train, table.usable, predictor.task.kind)}"
        if train
        else "whether training held some of these rows is not known; --train FILE checks that"
    )
    print(shared, file=sys.stderr)
    evaluation = _measure(
        predictor, table.usable, metrics=(predictor.task.metric,), locations=table.locations,
        train=train,
    )  # fmt: skip
    name = ", ".join(files[:3]) + (", ..." if len(files) > 3 else "")
    return name, evaluation, table.counts, shared


def _measure(predictor: Predictor, examples: list[Example], **options: Any) -> TaskEvaluation:
    from gpt1.cli.progress import Progress
    from gpt1.evaluation import tasks

    with Progress("evaluating", "rows") as shown:
        evaluation = tasks.evaluate(predictor, examples, progress=shown.progress, **options)
    if evaluation.truncated:
        print(task_files.truncation_note(evaluation.truncated), file=sys.stderr)
    return evaluation


def _report(
    model: str, evaluated: Evaluated, page: Path | None, json: bool, *, replace: bool
) -> None:
    """Write the page where --page says, else into the model's run; print the results."""
    from gpt1.evaluation.tasks import render_evaluation
    from gpt1.reports.tables import print_table
    from gpt1.storage import update_file, write_file

    name, evaluation, counts, shared = evaluated
    title = f"{model} on {name}"
    run = _run_of(model)
    content, said = render_evaluation(title, evaluation, str(counts), shared), ""
    if page is not None:
        write_file(page, content, replace=replace)
    elif run is None:
        said = "--page FILE.html writes a page with the errors"
    else:
        page = run / "evaluation.html"
        try:
            earlier = ", in place of the earlier one" * update_file(page, content)
            said = f"a page with the most confident errors: {page}{earlier}"
        except StorageError as error:
            said = f"the page was not written: {error} Or take --page FILE.html."

    if json:
        names = {"model": model, "data": name}
        print_json({**names, **evaluation.to_json(), "accounting": vars(counts)})
    else:
        print_table(title, evaluation.figure_table())
        rows = counted(evaluation.rows, "row")
        print("; ".join(filter(None, [rows, evaluation.baselines_note])))
        if evaluation.classes:
            print_table(evaluation.classes_title, evaluation.class_table())
    print(said or f"a page with the most confident errors: {page}", file=sys.stderr)
