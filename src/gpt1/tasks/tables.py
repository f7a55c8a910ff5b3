"""A user's own table -> the task and its examples, with an account of every row.

Each kind of task has its columns (`gpt1.tasks.kinds`). A row without a text or a label is rejected
and counted. A label that cannot be right (no number for a regression, no index of an answer, none
of a given task's classes) is an error with file and line: it is more often the wrong column than a
wrong row.
"""

from __future__ import annotations

import difflib
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gpt1.data.dialect import ReadOptions
from gpt1.data.lines import Row, check_single, no_column
from gpt1.data.sources import Sources
from gpt1.data.tables import RowCounts, RowReader
from gpt1.errors import ConfigError, DataError, InputError, counted, did_you_mean
from gpt1.tasks.datasets.entry import sample
from gpt1.tasks.kinds import KINDS, Task
from gpt1.tasks.kinds.fields import Fields
from gpt1.tasks.spec import Example

_LISTED = 10  # conflicts in a message
_NUMBERS = {"", "#", "id", "index", "nr", "no", "number", "row"}  # names of columns that count rows


@dataclass(frozen=True)
class Conflicts:
    """Rows with the texts of an earlier one: duplicates have its label, conflicts another.

    All are kept; `listed` names the first conflicts, with both locations.
    """

    duplicates: int = 0
    conflicts: int = 0
    listed: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.duplicates and not self.conflicts:
            return "no text occurs twice"
        repeats = "row repeats" if self.duplicates == 1 else "rows repeat"
        line = (
            f"{self.duplicates:,} {repeats} an earlier one; "
            f"{self.conflicts:,} with another label (all are kept)"
        )
        return "\n  ".join([line, *self.listed])


@dataclass(frozen=True)
class TaskTable:
    """The examples of some files; str() is for people.

    locations: "file:line" of each example. An example is None where a row to predict cannot be
    used: every row but blank lines has one.
    """

    task: Task
    examples: list[Example | None]
    counts: RowCounts
    locations: list[str]
    conflicts: Conflicts
    rows: Sequence[Row | None] = ()
    """For rows to predict: what the file has in each, None for a blank line."""

    @property
    def usable(self) -> list[Example]:
        """The examples without the None."""
        return [example for example in self.examples if example is not None]

    @property
    def labels(self) -> dict[str, int]:
        """How many rows each class (or right answer) has."""
        return self.task.count_labels([e.label for e in self.usable if e.label is not None])

    def sample(self, limit: int | None) -> TaskTable:
        """Return a random sample of labelled examples, the same ones each time; None: all."""
        chosen = sample(len(self.examples), limit)
        if rest := len(self.examples) - len(chosen):
            self.counts.leave_out("not in the sample", rest)
        locations = [self.locations[i] for i in chosen]
        return replace(self, examples=[self.examples[i] for i in chosen], locations=locations)

    def __str__(self) -> str:
        lines = [self.counts.report()]
        if labels := self.labels:
            lines.append("labels " + ", ".join(f"{name}: {n:,}" for name, n in labels.items()))
        return "\n".join([*lines, str(self.conflicts)])


class ExampleReader:
    """The rows of `sources` for a kind of task; iterating again reads again.

    `counts` belongs to the current iteration, `location` is "file:line" of the current row. Raises
    ConfigError, DataError, HubError; while iterating, DataError.
    """

    def __init__(
        self,
        kind: str,
        sources: Sources,
        *,
        columns: Mapping[str, str] | None = None,
        task: Task | None = None,
        labelled: bool = True,
        options: ReadOptions | None = None,
    ) -> None:
        _check(kind, task, labelled)
        self._cls, self._task, self._labelled = KINDS[kind], task, labelled
        self._finder = _Columns(self._cls, columns or {}, labelled)
        options = _options(self._cls, self._finder, options)
        self._reader = RowReader(sources, self._finder.choose, options=options)
        self.files = self._reader.files

    @property
    def counts(self) -> RowCounts:
        """The counts of the current iteration, complete once it has ended."""
        return self._reader.counts

    @property
    def location(self) -> str:
        """The file and line of the current row."""
        return self._reader.location

    def __iter__(self) -> Iterator[tuple[Example | None, Any, Row | None]]:
        """Yield the example, the label as the file has it, and what the file has in the row.

        Rows without labels keep their places: the example is None where one cannot be used, and so
        is the row where there is none, such as a blank line.
        """
        cls, labelled, reader = self._cls, self._labelled, self._reader
        num_texts = self._task.num_texts if self._task else None
        faults: Counter[str] = Counter()
        for row in reader:
            if row is None:
                if not labelled:
                    yield None, None, None
                continue
            fields = Fields(row, self._finder.columns, reader.location)
            example = cls.read(fields, num_texts, labelled=labelled)
            label = cls.read_label(fields) if labelled else ""
            usable = isinstance(example, Example) and label is not None
            if isinstance(example, Example):
                num_texts = num_texts or len(example.texts)
            if not usable:
                faults[example if isinstance(example, str) else "no label"] += 1
            if usable or not labelled:
                yield (example if isinstance(example, Example) else None), label, row
        for (
            reason,
            count,
        ) in faults.items():  # now: the reader refuses files of which no row is used
            reader.counts.reject(reason, count)


def read_examples(
    kind: str,
    sources: Sources,
    *,
    columns: Mapping[str, str] | None = None,
    task: Task | None = None,
    trained: Task | None = None,
    labelled: bool = True,
    options: ReadOptions | None = None,
) -> TaskTable:
    """Return the examples of `sources` (files of any kind gpt1 reads, or `hub:owner/name`).

    columns: the standard name -> the file's, where they differ. task: one whose classes, scale or
    number of answers the labels must fit; without it, it is learned from the labels, and goes on
    from `trained`. labelled: False for rows to predict, which need no labels but a task. Raises
    ConfigError, DataError, HubError.
    """
    reader = ExampleReader(
        kind, sources, columns=columns, task=task, labelled=labelled, options=options
    )
    cls = KINDS[kind]
    locations: list[str] = []
    examples: list[Example | None] = []
    raw: list[Any] = []
    kept: list[Row | None] = []
    for example, label, row in reader:
        examples.append(example)
        locations.append(reader.location)
        raw.append(label)
        kept += [] if labelled else [row]
    counts = reader.counts
    conflicts = Conflicts()
    if labelled:
        if not examples:
            raise DataError(f"{reader.files[0]}: nothing to use; {counts}.")
        rows = [example for example in examples if example is not None]
        if task is None:
            raw = cls.merge_spellings(raw, counts.notes)
            task = cls.learn(rows, raw, locations, trained)
        labels = map(task.parse_label, raw, locations)
        rows = [replace(e, label=label) for e, label in zip(rows, labels, strict=True)]
        conflicts = _conflicts(rows, raw, locations, cls)
        examples = list(rows)
    assert task is not None
    return TaskTable(task, examples, counts, locations, conflicts, kept)


def text_names(task: Task) -> list[str]:
    """Return what the texts of a row to predict are called; of words, they are one text."""
    if task.num_texts is None:
        return ["text"]
    return [*task.text_columns, *task.score_names][: task.num_texts]


def rows_of_texts(task: Task, texts: Sequence[str]) -> tuple[list[Row], list[Example]]:
    """Return the rows to predict that texts make, as many for each as the task has.

    Raises InputError.
    """
    names = text_names(task)
    width = len(names)
    if len(texts) % width:
        raise InputError(
            f"--text gives {counted(len(texts), 'text')}; a row of this {task.kind} has {width} "
            f"({', '.join(names)}). Give --text {counted(width, 'time')} for each."
        )
    starts = range(0, len(texts), width)
    rows = [dict(zip(names, texts[i : i + width], strict=True)) for i in starts]
    examples = []
    for row in rows:
        example = task.read(Fields(row, {}, "--text"), width, labelled=False)
        if isinstance(example, str):
            raise InputError(f"the text {next(iter(row.values()))!r} cannot be used: {example}.")
        examples.append(example)
    return rows, examples


def _check(kind: str, task: Task | None, labelled: bool) -> None:
    if kind not in KINDS:
        raise ConfigError(f"the task type is {kind!r}; it must be one of {', '.join(KINDS)}.")
    if task and task.kind != kind:
        raise ConfigError(f"the rows are to be read for {kind}, the task is {task.kind}.")
    if not task and not labelled:
        raise ConfigError("rows without labels need a task; pass the one of the model.")


def _options(kind: type[Task], columns: _Columns, options: ReadOptions | None) -> ReadOptions:
    """Return how to read a kind's files: a .txt has a text a line, and these names are a header."""
    options = options or ReadOptions()
    return replace(
        options,
        unit=options.unit or "line",
        names=frozenset({*columns.needed, *columns.columns.values()}),
        formats=kind.formats,
    )


class _Columns:
    """Finds the columns of a kind in a file; `columns` maps their standard names to the file's.

    Names that differ in case only are the same, where only one column has such a name.
    """

    def __init__(self, kind: type[Task], columns: Mapping[str, str], labelled: bool) -> None:
        self.kind, self.columns, self.labelled = kind, dict(columns), labelled
        self._given = columns
        self.needed = [*kind.text_columns, *[kind.label_column] * labelled]
        known = [*kind.text_columns, kind.more_columns, *[kind.label_column] * labelled]
        self.known = ", ".join(filter(None, known))
        for name in columns:
            if not self._is_known(name):
                nearest = did_you_mean(name, self.known.split(", "))
                what = f"columns names {name!r}; {kind.kind} takes {self.known}"
                raise ConfigError(f"{what}.{nearest}")
        twice = [name for name, count in Counter(columns.values()).items() if count > 1]
        if twice:
            raise ConfigError(f"columns gives the column {twice[0]!r} two meanings.")

    def _is_known(self, name: str) -> bool:
        known = (*self.kind.text_columns, self.kind.label_column)
        return name in known or self.kind.is_optional(name)

    def choose(self, location: str, present: Sequence[str]) -> None:
        """Check the columns of a file, or of a jsonl file's first row. Raises DataError."""
        folded = Counter(own.casefold() for own in present)
        known = {own.casefold(): own for own in present if folded[own.casefold()] == 1}
        rest = {name: own for name, own in known.items() if own not in self._given.values()}
        self.columns = {n: own for n, own in rest.items() if n != own and self._is_known(n)}
        self.columns |= self._given
        for name, own in self.columns.items():
            if own not in present and (self.labelled or name != self.kind.label_column):
                raise no_column(location, own, present)
        standard = {own: name for name, own in self.columns.items()}
        names = {standard.get(own, own) for own in present}
        needed = self.kind.required_columns(names, labelled=self.labelled)
        missing = [name for name in needed if self.columns.get(name, name) not in present]
        if missing:
            raise self._missing(location, present, missing)
        for name in present:
            if self._is_known(standard.get(name, name)):
                check_single(location, name, present)

    def _missing(self, location: str, present: Sequence[str], missing: list[str]) -> DataError:
        used = {self.columns.get(name, name) for name in self.needed}
        free = [name for name in present if name not in used and not self._is_known(name)]
        free.sort(key=lambda name: name.strip(" .").casefold() in _NUMBERS)  # they are no texts
        pairs = dict(self.columns)
        for name in missing:
            folded = {other.casefold(): other for other in free}
            close = difflib.get_close_matches(name, list(folded), n=1)
            pairs[name] = folded[close[0]] if close else next(iter(free), "...")
            free = [other for other in free if other != pairs[name]]
        return DataError(
            f"{location} has the columns {', '.join(present)[:300]}; {self.kind.kind} takes "
            f"{self.known}. Say which is which, e.g. {self._flags(pairs)} (Python: "
            f"columns={pairs}). If they are a row of data, add --no-header (header=False)."
        )

    def _flags(self, pairs: Mapping[str, str]) -> str:
        """Return the options that name columns as `pairs` does."""
        texts, label = self.kind.text_columns, self.kind.label_column
        flags = [f"--text-column {shlex.quote(pairs.get(name, name))}" for name in texts]
        flags = flags if set(texts) & pairs.keys() else []
        if label in pairs:
            flags.append(f"--label-column {shlex.quote(pairs[label])}")
        if others := [f"{n}={c}" for n, c in pairs.items() if n not in (*texts, label)]:
            flags.append(f"--columns {shlex.quote(','.join(others))}")
        return " ".join(flags)


def _conflicts(
    examples: Sequence[Example], raw: list[Any], locations: list[str], kind: type[Task]
) -> Conflicts:
    first: dict[tuple[str, ...], int] = {}
    duplicates = conflicts = 0
    listed: list[str] = []
    for i, example in enumerate(examples):
        earlier = first.setdefault(kind.identity(example), i)
        if earlier == i:
            continue
        if examples[earlier].label == example.label:
            duplicates += 1
            continue
        conflicts += 1
        if len(listed) < _LISTED:
            listed.append(
                f"{locations[i]} says {raw[i]!r}, {locations[earlier]} {raw[earlier]!r}: "
                f"{example.texts[0][:50]!r}"
            )
    return Conflicts(duplicates, conflicts, tuple(listed))
