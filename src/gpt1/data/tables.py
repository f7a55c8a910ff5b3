"""Files -> rows -> texts, streaming; every row is counted.

`RowReader` reads texts, users' own task tables and published data sets. Nothing is dropped
silently: rows read = rows used + rows rejected, by reason. A bad *text* (blank, NUL, a lone
surrogate) rejects its row; a bad *file* (broken UTF-8, malformed JSON or csv, a missing column) is
an error with file and line, since the rest of it cannot be trusted.

| file | rows |
| --- | --- |
| .txt | a text a line, or one document with its paragraphs; beyond 8 MiB it is cut at a line end |
| .jsonl, .json | one JSON object a line, or one list of objects |
| .csv | quotes as in RFC 4180: separators, line breaks and doubled quotes inside them |
| .tsv | the same, and quotes that are characters like any other |
| .parquet, .xlsx | need the extra `gpt1[data]` |

Files may be gzipped. Encoding, separator and header are told from the content (`data.dialect`).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from gpt1.data.dialect import ReadOptions, Unit
from gpt1.data.formats import TableFile
from gpt1.data.lines import HEADER_AGAIN, ChooseColumns, Row, listing, no_column
from gpt1.data.sources import Sources, find_files
from gpt1.errors import DataError, counted

_MAX_COLUMNS = 10_000
_ROW_NUMBERS = frozenset({"id", "index", "idx", "row", "no", "no.", "nr", "nr.", "number", "#"})
_LABELS = frozenset(
    {"label", "labels", "class", "category", "target", "sentiment", "rating", "stars"}
)


@dataclass
class RowCounts:
    """How many rows were read: rows == used + sum(left_out) + sum(rejected)."""

    rows: int = 0
    used: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    """Sound rows that were not asked for, by reason."""
    files: int = 0
    notes: list[str] = field(default_factory=list)
    """How files are read where that had to be guessed."""

    def reject(self, reason: str, count: int = 1) -> None:
        """Move `count` rows from used to rejected."""
        self.used -= count
        self.rejected[reason] += count

    def leave_out(self, reason: str, count: int) -> None:
        """Move `count` rows from used to left_out."""
        self.used -= count
        self.left_out[reason] += count

    def __str__(self) -> str:
        source = f"{counted(self.rows, 'row')} from {counted(self.files, 'file')}"
        others = "".join(f"{count:,} {reason}, " for reason, count in self.left_out.items())
        why = ", ".join(f"{reason}: {count:,}" for reason, count in sorted(self.rejected.items()))
        rejected = f"{self.rejected.total():,} rejected" + (f" ({why})" if why else "")
        return f"{source}: {self.used:,} used, {others}{rejected}"

    def report(self) -> str:
        """Return how the files were read, and the counts, for people."""
        return "\n".join([*self.notes, str(self)])


class RowReader:
    """The rows of some files, one dict each, None for a rejected one; iterating again reads again.

    `counts` belongs to the current iteration, `location` is "file:line" of the current row. Raises
    DataError, HubError; while iterating, DataError.
    """

    def __init__(
        self,
        sources: Sources,
        choose: ChooseColumns,
        limit: int | None = None,
        options: ReadOptions | None = None,
    ) -> None:
        """Open `sources` (paths, or `hub:owner/name`); read at most `limit` rows."""
        self.files = find_files(sources)
        self.counts = RowCounts()
        self.location = ""
        self._tables = [TableFile(path, options or ReadOptions()) for path in self.files]
        self._choose = _few_columns(choose)
        self._limit = limit

    @property
    def guesses(self) -> list[str]:
        """How files are read where that was not certain."""
        return [table.note for table in self._tables if table.dialect.guesses]

    def __iter__(self) -> Iterator[Row | None]:
        counts = self.counts = RowCounts(notes=[n for t in self._tables if (n := t.note)])
        for table in self._tables:
            if counts.rows == self._limit:
                break
            counts.files += 1
            for line, row in table.read(self._choose):
                self.location = f"{table.path}:{line}"
                counts.rows += 1
                counts.used += 1
                if isinstance(row, str):
                    counts.reject(row)
                    if row != HEADER_AGAIN:
                        yield None
                else:
                    yield row
                if counts.rows == self._limit:
                    break
        if not counts.used:
            names = ", ".join(map(str, self.files[:3])) + (", ..." if len(self.files) > 3 else "")
            raise DataError(f"{names}: nothing to use; {counts}. Give a file that holds some text.")


class Texts:
    """The texts of one column of some files, one str per document; iterating again reads again.

    `sources` are paths, or `hub:owner/name`. By default `column` is "text", or the only one. At
    most `limit` rows are read. Raises DataError, HubError; while iterating, DataError.
    """

    def __init__(
        self,
        sources: Sources,
        column: str | None = None,
        limit: int | None = None,
        options: ReadOptions | None = None,
    ) -> None:
        self.present: Sequence[str] = ()
        """The columns of the current file."""
        self._column_guesses: list[str] = []

        def choose(location: str, present: Sequence[str]) -> list[str]:
            self.present = present
            name = _text_column(location, present, column)
            if not column and name.casefold() != "text" and len(present) > 1:
                self._guess(f"the texts are the column {name} (--column)")
            return [name]

        options = replace(options or ReadOptions(), names=frozenset({column or "text"}))
        self._reader = RowReader(sources, choose, limit, options)

    @property
    def counts(self) -> RowCounts:
        """The counts of the current iteration, complete once it has ended."""
        return self._reader.counts

    @property
    def location(self) -> str:
        """Where the current text is from: "file:line"."""
        return self._reader.location

    @property
    def guesses(self) -> list[str]:
        """How files are read where that was not certain; complete once they have been read."""
        return [*self._reader.guesses, *self._column_guesses]

    def _guess(self, note: str) -> None:
        for notes in (self.counts.notes, self._column_guesses):
            if note not in notes:
                notes.append(note)

    def rows(self) -> Iterator[str | None]:
        """Yield the text of each row, None for one that is rejected."""
        for row in self._reader:
            (text,) = row.values() if row else (None,)
            if row and (fault := text_fault(text)):
                self.counts.reject(fault)
                text = None
            yield text

    def __iter__(self) -> Iterator[str]:
        return (text for text in self.rows() if text is not None)


def read_texts(
    source: Sources,
    column: str | None = None,
    limit: int | None = None,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    unit: Unit | None = None,
) -> list[str]:
    """Return all texts of `source` (a path, several, or `hub:owner/name`) as a list.

    Separator, encoding and header are told from the content; a guess is a UserWarning, and the
    parameter decides. unit: what one text of a .txt file is; None: a line where the file looks like
    a list of texts. Raises DataError, HubError.
    """
    options = ReadOptions(delimiter, encoding, header, unit)
    rows = Texts(source, column, limit, options)
    texts = list(rows)
    for note in rows.guesses:
        warnings.warn(note, stacklevel=2)
    return texts


def guess_text_column(names: Sequence[str]) -> str | None:
    """Return the column of texts, where the names of a table's columns leave one choice.

    >>> guess_text_column(["id", "joke"]), guess_text_column(["title", "body"])
    ('joke', None)
    """
    folded = [str(name).casefold() for name in names]
    if folded.count("text") == 1 or "text" in names:
        return "text" if "text" in names else names[folded.index("text")]
    rest = [name for name in names if str(name).casefold() not in _ROW_NUMBERS] or names
    return rest[0] if len(rest) == 1 else None


def label_column(names: Sequence[str]) -> str | None:
    """Return the column that is named like one of labels: the table may be meant for a task."""
    labels = [name for name in names if str(name).casefold() in _LABELS]
    return labels[0] if labels and len(names) > 1 else None


def text_fault(value: object) -> str | None:
    """Return why `value` cannot be used as text, None if it can.

    >>> text_fault("a joke"), text_fault(" "), text_fault(3)
    (None, 'empty', 'not text')
    """
    if not isinstance(value, str):
        return "empty" if value is None else "not text"
    if not value or value.isspace():
        return "empty"
    if "\0" in value:
        return "NUL character"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "lone surrogate"
    return None


def _few_columns(choose: ChooseColumns) -> ChooseColumns:
    """Return `choose`, refusing a table of more columns than anybody could mean."""

    def checked(location: str, present: Sequence[str]) -> Sequence[str] | None:
        if len(present) > _MAX_COLUMNS:
            raise DataError(
                f"{location} has {len(present):,} columns; a table has at most {_MAX_COLUMNS:,}. "
                f"Look for the right --delimiter, or give a file of texts the ending .txt."
            )
        return choose(location, present)

    return checked


def _text_column(location: str, present: Sequence[str], column: str | None) -> str:
    name = column or guess_text_column(present) or "text"
    if name in present:
        return name
    if column or not present:
        raise no_column(location, name, present)
    raise DataError(
        f"{location} has the columns {listing(present)}; one of them must be named. Give the one "
        f"with the text, e.g. --column {present[-1]} (Python: column={present[-1]!r})."
    )
