"""gpt1 finetune: train a model further, on one's own texts or on a task."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpt1.cli.task_files import COLUMNS

if TYPE_CHECKING:
    from gpt1.tasks.datasets import DataSet
    from gpt1.tasks.kinds import Task
    from gpt1.tasks.spec import Example
    from gpt1.tasks.tables import Table
    from gpt1.text.tokenizer import Tokenizer


def finetune(
    file: Annotated[
        str, typer.Argument(help="csv, tsv, jsonl, txt, parquet (.gz too), or hub:owner/name.")
    ],
    out: Annotated[Path, typer.Option(help="The run's folder, made here.")],
    model: Annotated[str, typer.Option(help="A name, a folder or a repository.")] = "mini",
    task: Annotated[
        str,
        typer.Option(
            metavar="TASK",
            help="lm: learn to write such texts. Or classification, entailment, similarity, "
            "regression, choice, multi-label, sequence-labelling; or a data set of the paper such "
            "as sst2: FILE is its folder, or hub.",
        ),
    ] = "lm",
    column: Annotated[str | None, typer.Option(help="lm: the column of the texts.")] = None,
    prefix: Annotated[str | None, typer.Option(help="lm: put before every text.")] = None,
    columns: Annotated[str | None, typer.Option(help=f"Tasks: {COLUMNS}")] = None,
    valid: Annotated[
        str | None, typer.Option(help="Tasks: rows to validate on; else some are held out.")
    ] = None,
    allow_leakage: Annotated[
        bool, typer.Option("--allow-leakage", help="Tasks: --valid may hold rows of FILE.")
    ] = False,
    recipe: Annotated[
        str | None,
        typer.Option(help="lm: jokes, article. Tasks: supervised, small, release. Or a .toml."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Updates; else the recipe's epochs.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many rows, of each file or split.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run in OUT.")] = False,
    config: Annotated[Path | None, typer.Option(help="A .toml file of settings.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="section.field=value, may be repeated.")
    ] = None,
) -> None:
    """Train a model further: on your own texts, one a row, or on a task.

    Columns of a task: text,label; text_a,text_b,label for entailment, similarity and regression;
    context,answer_0,answer_1,...,label for choice (label: the right one's index); text,labels for
    multi-label (labels: a|b); sequence-labelling reads CoNLL files, or jsonl with tokens and tags.
    The best model on the rows held out is kept. docs/tasks.md explains it all.

    As lm, a twentieth is held out; training stops when that gets worse, and learns where a text
    ends. `--recipe article` does what the article does, defects and all.
    """
    from gpt1.cli.task_files import task_named
    from gpt1.errors import ConfigError
    from gpt1.training.distributed import is_first

    named = task_named(task)
    texts = {"--column": column, "--prefix": prefix}
    tasks = {"--columns": columns, "--valid": valid, "--allow-leakage": allow_leakage or None}
    for flag, value in (tasks if named.kind is None else texts).items():
        if value is not None:
            raise ConfigError(
                f"{flag} is for --task classification and the like; "
                f"the task is lm. Name a task, or leave it out."
                if named.kind is None
                else f"{flag} is for --task lm; the task is {task}, whose columns --columns names, "
                f"e.g. --columns label=Stars. Leave it out."
            )
    common: dict[str, Any] = {
        "recipe": recipe,
        "out": out,
        "resume": resume,
        "overrides": [*(set_ or []), *([f"train.steps={steps}"] if steps is not None else [])],
    }
    if named.kind is None:
        _learn_to_write(file, column, limit, model, prefix, config, common)
    else:
        given = _Given(file, valid, columns, allow_leakage, limit)
        _learn_task(named.kind, named.data, given, model, config, common)
    if is_first():  # under torchrun each process comes here
        print(out / "model")
        if named.kind is not None:
            run, rows = shlex.quote(str(out)), "TEST.csv"
            if named.data:
                rows = f"FOLDER --task {named.data.name} --split test"
            print(
                f"next: gpt1 predict {run} NEW.csv    labels for new rows\n"
                f"      gpt1 evaluate {run} {rows}    figures, and a page with the errors",
                file=sys.stderr,
            )


def _learn_to_write(
    file: str,
    column: str | None,
    limit: int | None,
    model: str,
    prefix: str | None,
    config: Path | None,
    common: Mapping[str, Any],
) -> None:
    import gpt1
    from gpt1.data.tables import Texts

    texts = Texts(file, column, limit)
    rows = list(texts)
    _note(texts.counts)
    gpt1.load(model).finetune(
        rows, prefix=prefix, config=config, **{**common, "recipe": common["recipe"] or "jokes"}
    )


class _Given:
    """The rows that the person gave, and how to read them."""

    def __init__(
        self,
        file: str,
        valid: str | None,
        columns: str | None,
        allow_leakage: bool,
        limit: int | None,
    ) -> None:
        from gpt1.cli.task_files import columns_given

        self.file, self.valid, self.limit = file, valid, limit
        self.columns = columns_given(columns)
        self.allow_leakage = allow_leakage

    def table(
        self, kind: str, tokenizer: Tokenizer
    ) -> tuple[Task, list[Example], list[Example] | None]:
        """Return the task, the rows to train on and those of --valid. Raises DataError."""
        from gpt1.cli.task_files import read_table

        train = read_table(kind, self.file, tokenizer, columns=self.columns, limit=self.limit)
        _note(train)
        if self.valid is None:
            return train.task, train.usable, None
        task = train.task.for_new_rows
        valid = read_table(kind, self.valid, tokenizer, columns=self.columns, task=task)
        _note(f"to validate: {valid}")
        self._refuse_leakage(kind, train.usable, valid)
        return train.task.covering(valid.usable), train.usable, valid.usable

    def data_set(self, data: DataSet) -> tuple[Task, list[Example], list[Example]]:
        """Return the task of a published data set, its training and its dev rows."""
        from gpt1.errors import ConfigError
        from gpt1.tasks.leakage import leakage

        for flag, given in (("--valid", self.valid), ("--columns", self.columns)):
            if given:
                raise ConfigError(
                    f"{flag} is given; {data.title} has its own dev split and columns. Leave it "
                    f"out, or name the task type and a file."
                )
        train, dev = (
            data.load(self.file, "train", self.limit),
            data.load(self.file, "dev", self.limit),
        )
        for rows in (train, dev):
            _note(rows)
        found = leakage(train.examples, dev.examples, data.task.kind)
        _note(f"dev against train: {found}")
        return data.task, train.examples, dev.examples

    def _refuse_leakage(self, kind: str, train: Sequence[Example], valid: Table) -> None:
        from gpt1.errors import DataError
        from gpt1.tasks.kinds import KINDS
        from gpt1.tasks.leakage import LISTED, leakage

        found = leakage(train, valid.usable, kind)
        if found.exact and KINDS[kind].refuses_repeats and not self.allow_leakage:
            identity = KINDS[kind].identity
            known = {identity(example) for example in train}
            where = [
                place
                for place, example in zip(valid.locations, valid.usable, strict=True)
                if identity(example) in known
            ]
            first = ", ".join(where[:LISTED]) + (", ..." if len(where) > LISTED else "")
            raise DataError(
                f"{found.exact:,} of {found.rows:,} rows of {self.valid} are in {self.file} too "
                f"({first}); figures on them would flatter the model. Take them out of one of the "
                f"files, or add --allow-leakage."
            )
        if found.exact or found.overlapping:
            _note(f"{self.valid} against {self.file}: {found}")


def _learn_task(
    kind: str,
    data: DataSet | None,
    given: _Given,
    model: str,
    config: Path | None,
    common: Mapping[str, Any],
) -> None:
    import gpt1
    from gpt1.config import load_run
    from gpt1.errors import ConfigError
    from gpt1.tasks.leakage import hold_out
    from gpt1.training import supervised
    from gpt1.training.run import RunOptions

    gpt = gpt1.load(model, dtype="float32")
    # a mistaken setting is told before the rows are read
    settings = load_run(
        recipe=common["recipe"] or supervised.default_recipe(gpt.config),
        file=config,
        overrides=common["overrides"],
    )
    own_rows = data is not None or given.valid is not None
    if own_rows and any(o.startswith("data.valid_share") for o in common["overrides"]):
        raise ConfigError(
            f"data.valid_share is set, and {'the dev split' if data else '--valid'} is what "
            f"validates. Leave one of them out."
        )
    validation: list[Example] | None
    if data is not None:
        task, rows, validation = given.data_set(data)
    else:
        task, rows, validation = given.table(kind, gpt.tokenizer)
    if validation is None:
        rows, validation = hold_out(rows, settings.data.valid_share, settings.train.seed, kind)
    supervised.finetune(
        gpt.model,
        gpt.tokenizer,
        task,
        rows,
        validation,
        settings,
        RunOptions(common["out"], common["resume"]),
    )


def _note(what: object) -> None:
    from gpt1.training.distributed import is_first

    if is_first():
        print(what, file=sys.stderr)
