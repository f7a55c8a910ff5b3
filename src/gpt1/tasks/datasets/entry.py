"""What a data set of the paper is, and the one function that reads it.

An entry tells which columns make an example, which files hold which split, and how labels are
spelled; all reading is here. Official files have flaws that are not the user's, so a bad row is
rejected with a reason and listed; if most rows are wrong, it is another file, and reading stops.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import numpy as np

from gpt1.data.dialect import Headless, ReadOptions
from gpt1.data.lines import WRONG_WIDTH, Row
from gpt1.data.tables import RowCounts, RowReader
from gpt1.errors import ConfigError, DataError, GPT1Error, counted
from gpt1.tasks.datasets.files import Files, Source, find_split
from gpt1.tasks.datasets.layout import Layout, Unusable, make_example, read_label, split_row
from gpt1.tasks.kinds import Task
from gpt1.tasks.leakage import rows_held_out
from gpt1.tasks.spec import Example

T = TypeVar("T")

LISTED = 5
"""How many wrong rows are listed."""
_TELLING = 20  # rows that show whether a file is of a set


@dataclass(frozen=True)
class DevSplit:
    """A dev set where there is no official one: rows of the split `of`.

    dev: how many rows, or which fraction of them. released: whether the paper's release cut it so,
    in the order of scikit-learn's train_test_split. A cut of our own is `hold_out`'s: rows that
    share a text stay together, so that its size is about `dev`.
    """

    of: str
    dev: int | float
    seed: int = 0
    released: bool = False


@dataclass(frozen=True)
class Rows(Generic[T]):
    """The examples of a split, and how many rows were used and rejected; str() is for people.

    listed: the first wrong rows, as "file:line: why". note: how the split was cut. kept: for rows
    to label, what the files have in each.
    """

    name: str
    split: str
    examples: list[T]
    counts: RowCounts
    listed: tuple[str, ...] = ()
    note: str = ""
    kept: Sequence[Row | None] = ()

    def __str__(self) -> str:
        note = f"; {self.note}" if self.note else ""
        return "\n  ".join([f"{self.name} {self.split}: {self.counts}{note}", *self.listed])

    def select(self, rows: Sequence[int], reason: str, **changes: Any) -> Self:
        """Return the examples at `rows`, in that order; the others are left out for `reason`."""
        if left := len(self.examples) - len(rows):
            self.counts.leave_out(reason, left)
        kept = [self.kept[i] for i in rows] if self.kept else ()
        return replace(self, examples=[self.examples[i] for i in rows], kept=kept, **changes)

    @property
    def usable(self) -> Rows[Any]:
        """The rows without those that are None."""
        used = [i for i, example in enumerate(self.examples) if example is not None]
        kept = [self.kept[i] for i in used] if self.kept else ()
        return replace(self, examples=[self.examples[i] for i in used], kept=kept)

    def sample(self, limit: int | None) -> Self:
        """Return a random sample of `limit` examples; see `sample`."""
        return self.select(sample(len(self.examples), limit), "not in the sample")


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One published data set.

    more_metrics: those reported beside the paper's, `task.metric`. labels: how files spell each
    class, or each answer's index, if not by its name. headless: the columns of files without a
    header. formats: a file's ending -> the format it is read by.
    """

    title: str
    task: Task
    layouts: tuple[Layout, ...]
    files: Files
    more_metrics: tuple[str, ...] = ()
    labels: tuple[tuple[str, ...], ...] = ()
    headless: tuple[Headless, ...] = ()
    cut: DevSplit | None = None
    formats: Mapping[str, str] = field(default_factory=lambda: {".txt": "tsv"})

    @property
    def name(self) -> str:
        """The name in commands, which is that of its folder."""
        return self.files.folders[0]

    @property
    def metrics(self) -> tuple[str, ...]:
        """All metrics that are reported, the paper's first."""
        return (self.task.metric, *self.more_metrics)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names that `load` takes."""
        names = [*self.files.splits, *(("train", "dev") if self.cut else ())]
        return tuple(dict.fromkeys(names))

    def load(self, source: Source, split: str, limit: int | None = None) -> Rows[Example]:
        """Return the examples of a split.

        source: the set's folder, a folder that holds it, "hub", or "hub:owner/name". limit: the
        size of a random sample, always the same and part of the sample of any larger limit. Raises
        ConfigError, DataError, HubError.
        """
        if limit is not None and limit < 1:
            raise ConfigError(f"limit is {limit}; give at least 1, or leave it out for all rows.")
        return self.load_all(source, split).usable.sample(limit)

    def load_all(
        self, source: Source, split: str, *, labelled: bool = True
    ) -> Rows[Example | None]:
        """Return a split like `load`, with None for each row that cannot be used.

        labelled: False for rows to label, whose labels are not read (but those that a cut needs).
        """
        check_split(self.title, self.splits, split)
        whole = self._cut_from(source, split)
        files = find_split(self.files, source, whole or split)
        needed = None if split.startswith("test") else True
        rows = _read(self, files, split, needed if labelled or whole else False, keep=not labelled)
        if whole and self.cut:
            rows = _cut(rows.usable, self.cut, self.task.kind)
        return rows

    def read(self, files: Sequence[str], *, labelled: bool = True) -> Rows[Example | None]:
        """Return the rows of files of this set as they lie, None for each that cannot be used.

        labelled: False for rows to label, whose labels are not read. Raises DataError.
        """
        paths = [Path(file) for file in files]
        return _read(
            self, paths, ", ".join(path.name for path in paths), labelled, keep=not labelled
        )

    def recognises(self, file: str) -> bool:
        """Return whether a file begins as those of this set do."""
        try:
            return any(_read(self, [Path(file)], "", None, limit=_TELLING).examples)
        except GPT1Error:
            return False

    def _cut_from(self, source: Source, split: str) -> str | None:
        """Return the split to cut this one from, if the source has no such split of its own."""
        if not self.cut or split not in ("train", "dev"):
            return None
        other = "dev" if split == "train" else "train"
        if find_split(self.files, source, split, missing_ok=True) and (
            self.cut.of != split or find_split(self.files, source, other, missing_ok=True)
        ):
            return None
        return self.cut.of


def check_split(title: str, splits: Iterable[str], split: str) -> None:
    """Raise ConfigError for a split that a data set lacks."""
    if split not in splits:
        raise ConfigError(f"{title} has no split {split!r}; it has {', '.join(splits)}.")


def sample(count: int, limit: int | None) -> list[int]:
    """Return the indices of a random sample of `count` rows; those of 10 are among those of 100.

    >>> set(sample(50, 3)) <= set(sample(50, 9)), sample(3, None)
    (True, [0, 1, 2])
    """
    if limit is None or limit >= count:
        return list(range(count))
    return sorted(np.random.default_rng(0).permutation(count)[:limit].tolist())


def _cut(rows: Rows[Any], cut: DevSplit, kind: str) -> Rows[Any]:
    """Return the train or dev part of rows. Raises DataError."""
    count = len(rows.examples)
    dev = math.ceil(count * cut.dev) if isinstance(cut.dev, float) else cut.dev
    if not 0 < dev < count:
        raise DataError(
            f"{rows.name}: its dev set takes {dev:,} rows of the split {cut.of}, which has "
            f"{count:,}. Give the whole file."
        )
    if cut.released:
        order = np.random.RandomState(cut.seed).permutation(count).tolist()
        held, kept, how = order[:dev], order[dev:], "cut as the paper's release does"
    else:
        chosen = rows_held_out(rows.examples, dev / count, cut.seed, kind)
        held, kept = sorted(chosen), [i for i in range(count) if i not in chosen]
        how = f"cut at random (seed {cut.seed}), rows that share a text together"
    if not held or not kept:
        raise DataError(
            f"{rows.name}: its dev set is cut from the split {cut.of}, whose {count} rows share so "
            f"many texts that they cannot be cut in two. Give the whole file."
        )
    part, other = (held, "train") if rows.split == "dev" else (kept, "dev")
    note = f"{len(part):,} of {count:,} rows of {cut.of}, {how}"
    return rows.select(part, f"kept for {other}", note=note)


class _LayoutFinder:
    """Finds the layout of each file; `layout` and `labelled` are those of the file at hand.

    wanted: True if a file must have labels, None if it may lack them, False if none are read.
    """

    def __init__(self, data: DataSet, wanted: bool | None) -> None:
        self.data = data
        self.choices = (True, False) if wanted is None else (wanted,)
        self.layout, self.labelled = data.layouts[0], self.choices[0]

    def find(self, present: Sequence[str]) -> bool:
        for labelled in self.choices:
            for layout in self.data.layouts:
                if set(layout.columns(labelled)) <= set(present):
                    self.layout, self.labelled = layout, labelled
                    return True
        return False

    def header(self, location: str, first: Sequence[str]) -> Headless | None:
        if self.find(first):
            return None
        for headless in self.data.headless:
            more = len(first) - len(headless.names)
            if more == 0 or (headless.wider and more > 0):
                return headless
        raise self.misfit(location, first)

    def choose(self, location: str, present: Sequence[str]) -> Sequence[str] | None:
        if not self.find(present):
            raise self.misfit(location, present)
        return self.layout.columns(self.labelled) if self.labelled else None

    def misfit(self, location: str, present: Sequence[str]) -> DataError:
        layouts = [layout.columns(self.choices[-1]) for layout in self.data.layouts]
        expected = [", ".join(columns) for columns in layouts]
        expected += [f"{len(h.names)} columns without a header" for h in self.data.headless]
        columns = ", ".join(name[:30] for name in present[:12])
        return DataError(
            f"{location} is no file of {self.data.title}: it has "
            f"{counted(len(present), 'column')} ({columns}); expected are the columns "
            f"{'; or '.join(expected)}. Name the data set's own folder."
        )


def _read(
    data: DataSet,
    files: list[Path],
    split: str,
    labelled: bool | None,
    limit: int | None = None,
    keep: bool = False,
) -> Rows[Example | None]:
    """Return an example for each row of `files`, or several; None for one that cannot be used.

    labelled: whether they must have labels; None: they may. keep: keep what the rows hold.
    """
    finder = _LayoutFinder(data, labelled)
    read_options = ReadOptions(formats=data.formats, headless=finder.header)
    reader = RowReader(files, finder.choose, limit, options=read_options)
    names = data.labels or [(name,) for name in data.task.label_names]
    spelled = {spelling: i for i, spellings in enumerate(names) for spelling in spellings}
    examples: list[Example | None] = []
    kept: list[Row | None] = []
    faults: list[str] = []
    listed: list[str] = []
    for row in reader:
        layout = finder.layout
        if row is None:
            examples.append(None)
            kept.append(None)
            continue
        try:
            parts = split_row(row, layout)
        except Unusable as reason:
            faults.append(str(reason))
            examples.append(None)
            kept.append(row)
            continue
        kept += parts
        reader.counts.rows += len(parts) - 1
        reader.counts.used += len(parts) - 1
        for part in parts:
            value = part[layout.label] if finder.labelled else None
            try:
                label = read_label(data.task, spelled, value, reader.location)
                examples.append(make_example(part, layout, data.task, label))
            except DataError as error:
                faults.append("wrong label")
                examples.append(None)
                listed.append(str(error).partition(". Correct")[0])
            except Unusable as reason:
                faults.append(str(reason))
                examples.append(None)
    counts = reader.counts
    misfits, wrong = counts.rejected[WRONG_WIDTH], len(listed)
    if 2 * (wrong + misfits) > counts.rows:
        what = "a wrong label" if wrong >= misfits else "another number of fields than its first"
        first = f" ({listed[0]})" if listed else ""
        raise DataError(
            f"{files[0]}: {max(wrong, misfits):,} of {counts.rows:,} rows have {what}, so it is no "
            f"file of {data.title}{first}. Name the data set's own folder."
        )
    for fault in faults:
        counts.reject(fault)
    usable = [example for example in examples if example is not None]
    unlabelled = sum(example.label is None for example in usable)
    # a test split may have no labels at all; elsewhere a row without one has no gold label
    if unlabelled and not (labelled is not True and unlabelled == len(usable)):
        counts.reject("no gold label", unlabelled)
        examples = [None if e is None or e.label is None else e for e in examples]
    if not any(examples):
        raise DataError(f"{files[0]}: nothing to use; {counts}.")
    rows = kept if keep else ()
    return Rows(data.name, split, examples, counts, tuple(listed[:LISTED]), kept=rows)
