"""gpt1 finetune: train a model further, on your own texts or on a task."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from gpt1.cli import options
from gpt1.cli.task_files import (
    LM,
    columns_given,
    is_files,
    one_column,
    read_table,
    task_named,
)
from gpt1.errors import ConfigError, DataError, counted

if TYPE_CHECKING:
    from gpt1.config import RunConfig
    from gpt1.tasks.datasets import DataSet
    from gpt1.tasks.kinds import Task
    from gpt1.tasks.spec import Example
    from gpt1.tasks.tables import TaskTable

    Rows = tuple[Task, list[Example], list[Example]]
    """The task, the rows to train on and the rows to validate on."""


def finetune(
    files: options.Files,
    out: options.NewRun,
    model: options.Model = "mini",
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="lm: learn to write such texts. Or a task: classification, entailment, "
            "similarity, regression, choice, sequence-labelling or multi-label. Or a data set of "
            "the paper, such as sst2: FILES is then its folder, or hub.",
            show_default=LM,
        ),
    ] = None,
    text_column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    prefix: Annotated[str | None, typer.Option(help="lm: put this before every text.")] = None,
    columns: options.Columns = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    header: options.Header = None,
    lines: options.Lines = None,
    valid: Annotated[
        str | None,
        typer.Option(
            help="Tasks: a file of rows to validate on.", show_default="some rows held out"
        ),
    ] = None,
    allow_leakage: Annotated[
        bool, typer.Option("--allow-leakage", help="Tasks: allow rows of FILES in VALID.")
    ] = False,
    metric: Annotated[
        str | None,
        typer.Option(
            help="Tasks: the metric that chooses the best model, e.g. accuracy, f1 or matthews.",
            show_default="the task's usual one",
        ),
    ] = None,
    allow_unknown: options.AllowUnknown = False,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="lm: texts, small-texts, jokes or article. Tasks: supervised, small or release. "
            "Or a .toml file.",
            show_default="texts or supervised; small-texts or small for small models",
        ),
    ] = None,
    steps: options.Steps = None,
    epochs: options.Epochs = None,
    lr: options.LearningRate = None,
    batch_size: options.BatchSize = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="Use at most this many rows of each file or split.", show_default="all"
        ),
    ] = None,
    resume: options.Resume = False,
    config: options.Config = None,
    set_: options.Overrides = None,
) -> None:
    """Train a model further: on your own texts, one per row, or on a task.

    A task needs these columns: text,label for classification; text_a,text_b,label for entailment,
    similarity and regression; context,answer_0,answer_1,...,label for choice, where the label is
    the index of the right answer; text,labels for multi-label, with labels such as a|b. For
    sequence-labelling, give CoNLL files, or jsonl with tokens and tags. The model that does best
    on the held-out rows is kept. If --model was already fine-tuned on such a task, it keeps its
    head, with new rows for classes that it does not have yet. docs/tasks.md explains it all.

    With --task lm, a twentieth of the texts (or the end of a book) is held out, and training stops
    when the loss on it no longer falls. The model also learns where a text ends. `--recipe
    article` does what the article does, defects and all.
    """
    given = locals().copy()  # all that gpt1 resume needs
    import gpt1
    from gpt1.config import default_recipe, load_run
    from gpt1.data.tables import Texts
    from gpt1.tasks import network
    from gpt1.tasks.leakage import hold_out
    from gpt1.text.unknown import check_unknown
    from gpt1.training import finetune as texts_training, supervised
    from gpt1.training.distributed import is_first
    from gpt1.training.resume import command_record
    from gpt1.training.run import RunOptions

    run_options = RunOptions(out, resume, command=command_record("finetune", given))
    kind, data = task_named(task or LM)
    for_tasks = {"--columns": columns, "--label-column": label_column, "--valid": valid}
    more = {"--allow-leakage": allow_leakage or None, "--metric": metric}
    _check_flags(task or LM, {"--prefix": prefix}, {**for_tasks, **more})
    read_options = options.reading(delimiter, encoding, header, lines)
    overrides = options.overrides(set_, steps, epochs, lr, batch_size)
    if kind == LM:
        texts = Texts(files, one_column(text_column), limit, read_options)
        examples = list(texts)
        if task is None and not text_column:
            _check_no_task(texts.present)
        _note(texts.counts.report())
        gpt = gpt1.load(model)
        check_unknown(examples, gpt.tokenizer, allow=allow_unknown)
        settings = load_run(
            recipe=recipe or default_recipe(kind, gpt.config),
            file=config,
            overrides=overrides,
            data={"prefix": prefix},
        )
        texts_training.finetune(gpt.transformer(), gpt.tokenizer, examples, settings, run_options)
    else:
        gpt = gpt1.load(model, dtype="float32")
        recipe = recipe or default_recipe(kind, gpt.config)
        settings = load_run(
            recipe=recipe, file=config, overrides=overrides, task={"metric": metric}
        )
        share_is_set = any(override.startswith("data.valid_share") for override in overrides)
        has_dev = data is not None and not is_files(data, files)
        if share_is_set and (has_dev or valid is not None):
            raise ConfigError(
                f"data.valid_share is set, and {'the dev split' if data else '--valid'} is what "
                f"validates. Leave one of them out."
            )
        if data is not None:
            for_tables = {**for_tasks, "--text-column": text_column}
            rows = _data_set(data, files, limit, for_tables, settings)
        else:
            names = columns_given(kind, columns, text_column, label_column)
            read = partial(
                read_table,
                kind,
                tokenizer=gpt.tokenizer,
                columns=names,
                options=read_options,
                allow_unknown=allow_unknown,
            )
            transfers = settings.task.n_transfer is None
            trained = network.trained_task(gpt.model, kind) if transfers else None
            train = read(files, limit=limit, trained=trained)
            _note(train)
            if valid is None:
                share, seed = settings.data.valid_share, settings.train.seed
                rows = train.task, *hold_out(train.usable, share, seed, kind)
            else:
                other = read(valid, task=train.task.for_new_rows)
                _note(f"to validate: {other}")
                _check_leakage(kind, ", ".join(files), train, valid, other, allow_leakage)
                rows = train.task.covering(other.usable), train.usable, other.usable
        supervised.finetune(gpt.model, gpt.tokenizer, *rows, settings, run_options)
    if not is_first():  # under torchrun each process comes here
        return
    print(out / "model")
    if kind != LM:
        run, test = shlex.quote(str(out)), "TEST.csv"
        named = "".join(f" --text-column {shlex.quote(name)}" for name in text_column or ())
        if data is not None:
            test = f"FOLDER --task {data.name} --split test"
        print(
            f"next: gpt1 predict {run} NEW.csv{named}    labels for new rows\n"
            f"      gpt1 evaluate {run} {test}    figures, and a page with the errors",
            file=sys.stderr,
        )


def _check_no_task(columns: Sequence[str]) -> None:
    """Raise ConfigError if a table has the columns of a task, and no option says what is meant."""
    from gpt1.data.tables import label_column

    if label := label_column(columns):
        how = "multi-label" if label == "labels" else "classification"
        if label not in ("label", "labels"):
            how += f" --label-column {shlex.quote(label)}"
        raise ConfigError(
            f"the file has the columns {', '.join(columns)}. To learn its labels add --task {how} "
            f"(or another task); to learn to write such texts, --task lm."
        )


def _check_flags(
    task: str, for_texts: dict[str, str | None], for_tasks: Mapping[str, str | bool | None]
) -> None:
    """Raise ConfigError for a flag that the task does not use."""
    for flag, value in (for_tasks if task == LM else for_texts).items():
        if value is not None and task == LM:
            raise ConfigError(
                f"{flag} is for --task classification and other tasks; the task is lm. Name "
                f"a task, or leave it out."
            )
        if value is not None:
            raise ConfigError(
                f"{flag} is for --task lm; the task is {task}, whose columns --columns names, e.g. "
                f"--columns label=Stars. Leave it out."
            )


def _data_set(
    data: DataSet,
    files: Sequence[str],
    limit: int | None,
    flags: Mapping[str, object],
    settings: RunConfig,
) -> Rows:
    """Read the train and dev splits of a published data set; `flags` must not be given.

    Of files of the set, as they lie, some rows are held out.
    """
    from gpt1.tasks.leakage import hold_out, leakage

    for flag, value in flags.items():
        if value:
            raise ConfigError(
                f"{flag} is given; {data.title} has its own dev split and columns. Leave it out."
            )
    if is_files(data, files):
        rows = data.read(files).usable.sample(limit)
        _note(rows)
        share, seed = settings.data.valid_share, settings.train.seed
        return data.task, *hold_out(rows.examples, share, seed, data.task.kind)
    train, dev = (data.load(files[0], split, limit) for split in ("train", "dev"))
    _note(train)
    _note(dev)
    _note(f"dev against train: {leakage(train.examples, dev.examples, data.task.kind)}")
    return data.task, train.examples, dev.examples


def _check_leakage(
    kind: str, name: str, train: TaskTable, valid: str, other: TaskTable, allow: bool
) -> None:
    """Raise DataError, or say so if that is allowed, if rows to validate are in the train file."""
    from gpt1.tasks.kinds import KINDS
    from gpt1.tasks.leakage import LISTED, leakage

    shared = leakage(train.usable, other.usable, kind)
    if shared.exact and KINDS[kind].refuses_repeats and not allow:
        identity = KINDS[kind].identity
        known = {identity(example) for example in train.usable}
        rows = zip(other.locations, other.usable, strict=True)
        repeats = [location for location, example in rows if identity(example) in known]
        listed = ", ".join(repeats[:LISTED]) + (", ..." if len(repeats) > LISTED else "")
        s, them = ("s", "it") if shared.exact == 1 else ("", "them")
        raise DataError(
            f"{shared.exact:,} of {counted(shared.rows, 'row')} of {valid} occur{s} in {name} too "
            f"({listed}), so the figures would flatter the model. Remove {them} from one of the "
            f"files, or add --allow-leakage."
        )
    if shared:
        _note(f"{valid} against {name}: {shared}")


def _note(text: object) -> None:
    from gpt1.training.distributed import is_first

    if is_first():
        print(text, file=sys.stderr)
