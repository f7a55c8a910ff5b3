"""Files -> rows -> texts, streaming; every row is counted.

`RowReader` reads texts, users' own task tables and published data sets. Nothing is dropped
silently: rows read = rows used + rows rejected, by reason. A bad *text* (blank, NUL, a lone
surrogate) rejects its row; a bad *file* (broken UTF-8, malformed JSON or csv, a missing column) is
an error with file and line, since the rest of it cannot be trusted.

| file | rows |
| --- | --- |
| .txt | one document with its paragraphs; beyond 8 MiB it is cut into several, at line ends |
| .jsonl | one JSON object per line |
| .csv | a header, quotes as in RFC 4180: commas, line breaks and doubled quotes inside them |
| .tsv | a header, no quoting: a quote is a character like any other |
| .parquet | needs the extra `gpt1[data]` |

All but parquet may end in .gz. Text is UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gpt1.data.formats import BAD_ROW, ChooseColumns, ReadOptions, Row, no_column, open_file
from gpt1.data.sources import Sources, find_files
from gpt1.errors import DataError


@dataclass
class RowCounts:
    """How many rows were read, used and rejected: rows == used + sum(rejected)."""

    rows: int = 0
    used: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    files: int = 0

    def reject(self, reason: str, count: int = 1) -> None:
        """Move `count` rows from used to rejected."""
        self.used -= count
        self.rejected[reason] += count

    def __str__(self) -> str:
        rows = f"{self.rows:,} row{'s' * (self.rows != 1)}"
        files = f"{self.files:,} file{'s' * (self.files != 1)}"
        why = ", ".join(f"{reason} {count:,}" for reason, count in sorted(self.rejected.items()))
        rejected = f"{self.rejected.total():,} rejected" + (f" ({why})" if why else "")
        return f"{rows} from {files}: {self.used:,} used, {rejected}"


class RowReader:
    """The rows of some files as dicts; iterating again reads again.

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
        self._readers = [open_file(path, options or ReadOptions()) for path in self.files]
        self._choose = choose
        self._limit = limit

    def __iter__(self) -> Iterator[Row]:
        counts = self.counts = RowCounts()
        for path, read in zip(self.files, self._readers, strict=True):
            if counts.rows == self._limit:
                break
            counts.files += 1
            for line, row in read(self._choose):
                self.location = f"{path}:{line}"
                counts.rows += 1
                counts.used += 1
                if row is None:
                    counts.reject("blank line")
                elif row is BAD_ROW:
                    counts.reject("wrong number of fields")
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
        self, sources: Sources, column: str | None = None, limit: int | None = None
    ) -> None:
        def choose(location: str, present: Sequence[str]) -> list[str]:
            return [_text_column(location, present, column)]

        self._reader = RowReader(sources, choose, limit)

    @property
    def counts(self) -> RowCounts:
        """The counts of the current iteration, complete once it has ended."""
        return self._reader.counts

    def __iter__(self) -> Iterator[str]:
        for row in self._reader:
            (text,) = row.values()
            if fault := text_fault(text):
                self.counts.reject(fault)
            else:
                yield text


def read_texts(source: Sources, column: str | None = None, limit: int | None = None) -> list[str]:
    """Return all texts of `source` (a path, several, or `hub:owner/name`) as a list.

    Raises DataError, HubError.
    """
    return list(Texts(source, column, limit))


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


def _text_column(location: str, present: Sequence[str], column: str | None) -> str:
    name = column or (present[0] if len(present) == 1 else "text")
    if name in present:
        return name
    if column or not present:
        raise no_column(location, name, present)
    raise DataError(
        f"{location} has the columns {', '.join(present)}; one of them must be named. Give the one "
        f"with the text, e.g. --column {present[-1]} (Python: column={present[-1]!r})."
    )
