"""gpt1 finetune: train a model further, on one's own texts or on a task."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpt1.cli.task_files import COLUMNS

if TYPE_CHECKING:
    from gpt1.cli.task_files import Named
    from gpt1.config import RunConfig
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
    import gpt1
    from gpt1.cli.task_files import task_named
    from gpt1.config import load_run
    from gpt1.data.tables import Texts
    from gpt1.errors import ConfigError
    from gpt1.training import supervised
    from gpt1.training.distributed import is_first
    from gpt1.training.run import RunOptions

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
    overrides = [*(set_ or []), *([f"train.steps={steps}"] if steps is not None else [])]
    if named.kind is None:
        rows = Texts(file, column, limit)
        examples = list(rows)
        _note(rows.counts)
        gpt1.load(model).finetune(
            examples, prefix=prefix, config=config, recipe=recipe or "jokes", out=out,
            resume=resume, overrides=overrides,
        )  # fmt: skip
    else:
        gpt = gpt1.load(model, dtype="float32")
        # a mistaken setting is told before the rows are read
        settings = load_run(
            recipe=recipe or supervised.default_recipe(gpt.config), file=config, overrides=overrides
        )
        given = _Rows(file, valid, columns, limit, allow_leakage)
        fixed = any(override.startswith("data.valid_share") for override in overrides)
        training = given.read(named, gpt.tokenizer, settings, fixed_share=fixed)
        options = RunOptions(out, resume)
        supervised.finetune(gpt.model, gpt.tokenizer, *training, settings, options)
    if is_first():  # under torchrun each process comes here
        print(out / "model")
        if named.kind is not None:
            run, test = shlex.quote(str(out)), "TEST.csv"
            if named.data:
                test = f"FOLDER --task {named.data.name} --split test"
            print(
                f"next: gpt1 predict {run} NEW.csv    labels for new rows\n"
                f"      gpt1 evaluate {run} {test}    figures, and a page with the errors",
                file=sys.stderr,
            )


@dataclass(frozen=True)
class _Rows:
    """The rows that the person gave, and how to read them."""

    file: str
    valid: str | None
    columns: str | None
    limit: int | None
    allow_leakage: bool

    def read(
        self, named: Named, tokenizer: Tokenizer, config: RunConfig, *, fixed_share: bool
    ) -> tuple[Task, list[Example], list[Example]]:
        """Return the task, the rows to train on and those to validate on.

        fixed_share: data.valid_share is set. Raises ConfigError, DataError.
        """
        from gpt1.errors import ConfigError
        from gpt1.tasks.leakage import hold_out

        assert named.kind is not None
        if fixed_share and (named.data or self.valid is not None):
            raise ConfigError(
                f"data.valid_share is set, and {'the dev split' if named.data else '--valid'} is "
                f"what validates. Leave one of them out."
            )
        if named.data is not None:
            return self._data_set(named.data)
        task, examples, validation = self._table(named.kind, tokenizer)
        if validation is None:
            share, seed = config.data.valid_share, config.train.seed
            examples, validation = hold_out(examples, share, seed, named.kind)
        return task, examples, validation

    def _data_set(self, data: DataSet) -> tuple[Task, list[Example], list[Example]]:
        from gpt1.errors import ConfigError
        from gpt1.tasks.leakage import leakage

        for flag, given in (("--valid", self.valid), ("--columns", self.columns)):
            if given:
                raise ConfigError(
                    f"{flag} is given; {data.title} has its own dev split and columns. Leave it "
                    f"out, or name the task type and a file."
                )
        train, dev = (data.load(self.file, split, self.limit) for split in ("train", "dev"))
        _note(train)
        _note(dev)
        held = leakage(train.examples, dev.examples, data.task.kind)
        _note(f"dev against train: {held}")
        return data.task, train.examples, dev.examples

    def _table(
        self, kind: str, tokenizer: Tokenizer
    ) -> tuple[Task, list[Example], list[Example] | None]:
        from gpt1.cli.task_files import columns_given, read_table

        columns = columns_given(self.columns)
        train = read_table(kind, self.file, tokenizer, columns=columns, limit=self.limit)
        _note(train)
        if self.valid is None:
            return train.task, train.usable, None
        task = train.task.for_new_rows
        valid = read_table(kind, self.valid, tokenizer, columns=columns, task=task)
        _note(f"to validate: {valid}")
        self._refuse_leakage(kind, train.usable, valid)
        return train.task.covering(valid.usable), train.usable, valid.usable

    def _refuse_leakage(self, kind: str, train: Sequence[Example], valid: Table) -> None:
        from gpt1.errors import DataError
        from gpt1.tasks.kinds import KINDS
        from gpt1.tasks.leakage import LISTED, leakage

        held = leakage(train, valid.usable, kind)
        if held.exact and KINDS[kind].refuses_repeats and not self.allow_leakage:
            identity = KINDS[kind].identity
            known = {identity(example) for example in train}
            rows = zip(valid.locations, valid.usable, strict=True)
            where = [location for location, example in rows if identity(example) in known]
            first = ", ".join(where[:LISTED]) + (", ..." if len(where) > LISTED else "")
            raise DataError(
                f"{held.exact:,} of {held.rows:,} rows of {self.valid} are in {self.file} too "
                f"({first}); figures on them would flatter the model. Take them out of one of the "
                f"files, or add --allow-leakage."
            )
        if held.exact or held.overlapping:
            _note(f"{self.valid} against {self.file}: {held}")


def _note(what: object) -> None:
    from gpt1.training.distributed import is_first

    if is_first():
        print(what, file=sys.stderr)
