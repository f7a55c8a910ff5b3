"""What a data set of the paper is, and the one function that reads it.

An entry says how the columns map, which files hold which split, and what the labels are called; all
reading is here. Official files hold flaws that are not the user's, so a bad row is rejected with a
reason and listed; a file whose rows are mostly wrong is not the one it was taken for and stops.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gpt1.data.formats import Headless, ReadOptions, Row
from gpt1.data.tables import RowCounts, RowReader, text_fault
from gpt1.errors import ConfigError, DataError
from gpt1.tasks.datasets.files import Files, Source, find_split
from gpt1.tasks.kinds import Task
from gpt1.tasks.spec import Example

LISTED = 5
"""How many rows with a wrong label are named."""


@dataclass(frozen=True)
class Layout:
    """How a file's columns become an example.

    texts: a column each; several, joined by single spaces; one holding a list gives several texts.
    lists: columns in which a row has a list with one value for each of several examples.
    """

    texts: tuple[str | tuple[str, ...], ...]
    label: str = "label"
    question: str = ""
    lists: tuple[str, ...] = ()

    def columns(self, *, labelled: bool = True) -> list[str]:
        """Return the columns that a file must have to be of this layout."""
        names = [n for text in self.texts for n in ([text] if isinstance(text, str) else text)]
        names += [self.question] * bool(self.question) + [self.label] * labelled
        return list(dict.fromkeys(names))


@dataclass(frozen=True)
class DevSplit:
    """The project's own dev set, where no official one is: rows of the split `of`, at random.

    dev is a number of rows, or a fraction of them.
    """

    of: str
    dev: int | float
    seed: int = 0


@dataclass(frozen=True)
class Rows:
    """The examples of a split, and what became of every row; str() is for people.

    listed: the first rows with a wrong label, as "file:line: what it says". note: how it was cut.
    """

    name: str
    split: str
    task: Task
    examples: list[Example]
    counts: RowCounts
    listed: tuple[str, ...] = ()
    note: str = ""

    def __str__(self) -> str:
        note = f"; {self.note}" if self.note else ""
        return "\n  ".join([f"{self.name} {self.split}: {self.counts}{note}", *self.listed])


@dataclass(frozen=True)
class DataSet:
    """One published data set.

    metrics: all that are reported, the paper's (`task.metric`) first. labels: how files spell each
    class (each answer's index, for choice), where not by the class's name. headless: names of the
    columns of files without a header, told apart by their number.
    """

    name: str
    title: str
    task: Task
    metrics: tuple[str, ...]
    layouts: tuple[Layout, ...]
    files: Files
    labels: tuple[tuple[str, ...], ...] = ()
    headless: tuple[Headless, ...] = ()
    cut: DevSplit | None = None
    endings: Mapping[str, str] = field(default_factory=lambda: {".txt": ".tsv"})
    """A file's ending -> the one of what it really is."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The names that `load` takes."""
        names = [*self.files.splits, *(("train", "dev") if self.cut else ())]
        return tuple(dict.fromkeys(names))

    def load(self, source: Source, split: str, limit: int | None = None) -> Rows:
        """Return the examples of a split.

        source: the set's folder, a folder that holds it, "hub", or "hub:owner/name". limit: a
        random sample of so many, the same ones each time, and within that of any larger limit.
        Raises ConfigError, DataError, HubError.
        """
        if split not in self.splits:
            raise ConfigError(
                f"{self.title} has no split {split!r}; it has {', '.join(self.splits)}."
            )
        if limit is not None and limit < 1:
            raise ConfigError(f"limit is {limit}; it is at least 1, or left out for all rows.")
        part = self._cut_from(source, split)
        rows = _read(self, find_split(self.files, source, part or split), split)
        if part and self.cut:
            rows = _cut(rows, self.cut)
        return _sampled(rows, limit)

    def _cut_from(self, source: Source, split: str) -> str | None:
        """Return the split to cut this one from, where the source has no such split of its own."""
        if not self.cut or split not in ("train", "dev"):
            return None
        other = "dev" if split == "train" else "train"
        if find_split(self.files, source, split, missing_ok=True) and (
            self.cut.of != split or find_split(self.files, source, other, missing_ok=True)
        ):
            return None
        return self.cut.of


def sample(count: int, limit: int | None) -> list[int]:
    """Return which of `count` rows are taken for `limit`, in order; those of 10 are among 100's.

    >>> set(sample(50, 3)) <= set(sample(50, 9)), sample(3, None)
    (True, [0, 1, 2])
    """
    if limit is None or limit >= count:
        return list(range(count))
    return sorted(np.random.default_rng(0).permutation(count)[:limit].tolist())


def _sampled(rows: Rows, limit: int | None) -> Rows:
    taken = sample(len(rows.examples), limit)
    return _part(rows, taken, f"outside the sample of {limit}", rows.note)


def _cut(rows: Rows, cut: DevSplit) -> Rows:
    """Return the train or dev part, the rows and the order scikit-learn's train_test_split gives.

    That is how the release cut Story Cloze. Raises DataError.
    """
    count = len(rows.examples)
    dev = math.ceil(count * cut.dev) if isinstance(cut.dev, float) else cut.dev
    if not 0 < dev < count:
        raise DataError(
            f"{rows.name}: its dev set is cut from the split {cut.of} and takes {dev} rows; there "
            f"are {count}. Give the whole file."
        )
    order = np.random.RandomState(cut.seed).permutation(count).tolist()
    taken = order[:dev] if rows.split == "dev" else order[dev:]
    other = "train" if rows.split == "dev" else "dev"
    return _part(
        rows,
        taken,
        f"kept for {other}",
        f"{len(taken):,} of {count:,} rows of {cut.of}, cut at random (seed {cut.seed})",
    )


def _part(rows: Rows, taken: Sequence[int], reason: str, note: str) -> Rows:
    left = len(rows.examples) - len(taken)
    if left:
        rows.counts.reject(reason, left)
    examples = [rows.examples[i] for i in taken]
    return Rows(rows.name, rows.split, rows.task, examples, rows.counts, rows.listed, note)


class _Layouts:
    """Finds the layout of each file; `now` is that of the file at hand."""

    def __init__(self, data: DataSet, split: str) -> None:
        self.data = data
        self.can_lack_labels = split.startswith("test")
        self.now, self.labelled = data.layouts[0], True

    def find(self, present: Sequence[str]) -> bool:
        """Set `now` by the names of the columns; False if none fits."""
        for labelled in (True, False) if self.can_lack_labels else (True,):
            for layout in self.data.layouts:
                if set(layout.columns(labelled=labelled)) <= set(present):
                    self.now, self.labelled = layout, labelled
                    return True
        return False

    def header(self, place: str, first: Sequence[str]) -> Headless | None:
        if self.find(first):
            return None
        for headless in self.data.headless:
            count = len(headless.names)
            if len(first) == count or (headless.wider and len(first) > count):
                return headless
        raise self.misfit(place, first)

    def choose(self, place: str, present: Sequence[str]) -> Sequence[str]:
        if not self.find(present):
            raise self.misfit(place, present)
        return self.now.columns(labelled=self.labelled)

    def misfit(self, place: str, found: Sequence[str]) -> DataError:
        lacks = self.can_lack_labels
        wanted = [", ".join(x.columns(labelled=not lacks)) for x in self.data.layouts]
        wanted += [f"{len(h.names)} columns without a header" for h in self.data.headless]
        short = ", ".join(name[:30] for name in found[:12])
        return DataError(
            f"{place} is no file of {self.data.title}: it has {len(found)} columns ({short}); "
            f"expected are the columns {'; or '.join(wanted)}. Name the data set's own folder."
        )


class _WrongLabel(Exception):
    """What is wrong with a label."""


def _read(data: DataSet, files: list[Path], split: str) -> Rows:
    """Read the files of a split. Raises DataError."""
    layouts = _Layouts(data, split)
    table = RowReader(files, layouts.choose, options=ReadOptions(data.endings, layouts.header))
    spelled = {s: i for i, names in enumerate(_spellings(data.task, data.labels)) for s in names}
    examples: list[Example] = []
    faults: list[str] = []
    listed: list[str] = []
    wrong = 0
    for row in table:
        layout, labelled = layouts.now, layouts.labelled
        parts = _parts(row, layout, labelled)
        if isinstance(parts, str):
            faults.append(parts)
            continue
        table.counts.rows += len(parts) - 1
        table.counts.used += len(parts) - 1
        for part in parts:
            try:
                label = _label(data.task, spelled, part[layout.label]) if labelled else None
            except _WrongLabel as error:
                wrong += 1
                faults.append("wrong label")
                if len(listed) < LISTED:
                    listed.append(f"{table.location}: {error}")
                continue
            made = _example(part, layout, data.task, label)
            examples.append(made) if isinstance(made, Example) else faults.append(made)
    account = table.counts
    misfits = account.rejected["wrong number of fields"]
    if 2 * (wrong + misfits) > account.rows:
        what = "a wrong label" if wrong >= misfits else "another number of fields than its first"
        raise DataError(
            f"{files[0]}: {max(wrong, misfits):,} of {account.rows:,} rows have {what}, so it is "
            f"no file of {data.title}"
            + "".join(f" ({one})" for one in listed[:1])
            + ". Name the data set's own folder."
        )
    for reason in faults:
        account.reject(reason)
    unlabelled = sum(example.label is None for example in examples)
    # A test split may keep all its labels back; a single missing one is a row without a gold label.
    if unlabelled and not (layouts.can_lack_labels and unlabelled == len(examples)):
        account.reject("no gold label", unlabelled)
        examples = [example for example in examples if example.label is not None]
    if not examples:
        raise DataError(f"{files[0]}: nothing to use; {account}.")
    return Rows(data.name, split, data.task, examples, account, tuple(listed))


def _parts(row: Row, layout: Layout, labelled: bool) -> list[Row] | str:
    """Return the row, or the several that its lists make; a str is why there are none."""
    if not layout.lists:
        return [row]
    lists = [name for name in layout.lists if labelled or name != layout.label]
    if not all(isinstance(row[name], list) for name in lists):
        return "not a list"
    counts = {len(row[name]) for name in lists}
    if len(counts) != 1:
        return "lists of different lengths"
    return [
        row | {name: row[name][i] for name in lists} for i in range(counts.pop())
    ] or "no question"


def _spellings(task: Task, labels: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    return labels or tuple((name,) for name in task.label_names)


def _label(task: Task, spelled: Mapping[str, int], value: object) -> int | float | None:
    """Return the label that a field holds, None for no gold label. Raises _WrongLabel."""
    text = "" if value is None else str(value).strip()
    if text in ("", "-") or (value in (-1, -1.0) and "-1" not in spelled):
        return None
    if not spelled:
        try:
            return float(task.parse_label(text, ""))
        except DataError as error:
            raise _WrongLabel(str(error).removeprefix(": ").partition(". Correct")[0]) from None
    if text in spelled:
        return spelled[text]
    # The hub's files hold the class's index where the original ones hold its name.
    known = range(len(set(spelled.values())))
    if isinstance(value, int) and value in known and not any(s.isdigit() for s in spelled):
        return value
    raise _WrongLabel(f"the label is {text[:40]!r}; it must be one of {', '.join(spelled)}")


def _example(row: Row, layout: Layout, task: Task, label: int | float | None) -> Example | str:
    """Return the example of a row; a str is why there is none."""
    texts: list[Any] = []
    for column in layout.texts:
        if isinstance(column, tuple):
            several = [row[name] for name in column]
            if fault := next(filter(None, map(text_fault, several)), None):
                return fault
            texts.append(" ".join(several))
        elif isinstance(row[column], list):
            texts += row[column]
        else:
            texts.append(row[column])
    if len(texts) != task.num_texts:
        return "wrong number of answers"
    question = row[layout.question] if layout.question else ""
    for text in [*texts, question] if layout.question else texts:
        if fault := text_fault(text):
            return fault
    return Example(tuple(texts), label, question)
