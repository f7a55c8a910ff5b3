"""Files -> rows -> texts, streaming, with an account of every row.

`open_rows` is the one reader; `open_texts` is built on it. Nothing is dropped in silence: rows in =
rows used + rows rejected, by reason. What is wrong with a *row's text* (blank, NUL, a lone
surrogate) rejects the row; what is wrong with the *file* (broken UTF-8, malformed JSON or csv, a
missing column) stops with file and line, since the rest of it cannot be trusted.

| file | rows |
| --- | --- |
| .txt | one document, paragraphs kept; beyond 8 MiB it is cut into several, at line ends |
| .jsonl | one JSON object a line |
| .csv | a header, quotes as in RFC 4180: commas, line breaks and doubled quotes inside them |
| .tsv | a header, no quoting: a quote is a character like any other |
| .parquet | needs the extra `gpt1[data]` |

All but parquet may end in .gz. Text is UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gpt1.data.formats import MISFIT, Choose, Read, Row, no_column, reader
from gpt1.data.sources import Sources, find_files
from gpt1.errors import DataError


@dataclass
class Accounting:
    """How many rows came in and what became of them: rows == used + sum(rejected)."""

    rows: int = 0
    used: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    files: int = 0

    def reject(self, reason: str, count: int = 1) -> None:
        """Move `count` rows from used to rejected."""
        self.used -= count
        self.rejected[reason] += count

    def __str__(self) -> str:
        why = ", ".join(f"{reason} {count:,}" for reason, count in sorted(self.rejected.items()))
        return (
            f"{self.rows:,} row{'s' * (self.rows != 1)} from {self.files:,} "
            f"file{'s' * (self.files != 1)}: {self.used:,} used, "
            f"{self.rejected.total():,} rejected{f' ({why})' if why else ''}"
        )


class Rows:
    """The rows of some files, one dict each; iterating again reads again.

    `accounting` counts the present iteration, `place` is "file:line" of the row at hand, and
    `reject(reason)` says that the row at hand is not used after all.
    """

    def __init__(
        self,
        sources: Sources,
        choose: Choose,
        limit: int | None = None,
        read: Callable[[Path], Callable[[Path, Choose], Read]] = reader,
    ) -> None:
        self.files = find_files(sources)
        self._read = read
        self.accounting = Accounting()
        self.place = ""
        self._choose = choose
        self._limit = limit
        for path in self.files:
            read(path)

    def reject(self, reason: str) -> None:
        self.accounting.reject(reason)

    def __iter__(self) -> Iterator[Row]:
        account = self.accounting = Accounting()
        for path in self.files:
            if account.rows == self._limit:
                break
            account.files += 1
            for line, row in self._read(path)(path, self._choose):
                self.place = f"{path}:{line}"
                account.rows += 1
                account.used += 1
                if row is None:
                    self.reject("blank line")
                elif row is MISFIT:
                    self.reject("wrong number of fields")
                else:
                    yield row
                if account.rows == self._limit:
                    break
        if not account.used:
            names = ", ".join(map(str, self.files[:3])) + (", ..." if len(self.files) > 3 else "")
            raise DataError(
                f"{names}: nothing to use; {account}. Give a file that holds some text."
            )


class Texts:
    """The texts of one column of some files, one str a document; iterating again reads again."""

    def __init__(self, sources: Sources, column: str | None, limit: int | None) -> None:
        self._rows = Rows(
            sources, lambda place, present: [_text_column(place, present, column)], limit
        )

    @property
    def accounting(self) -> Accounting:
        """The account of the present iteration, whole once it has ended."""
        return self._rows.accounting

    def __iter__(self) -> Iterator[str]:
        for row in self._rows:
            (text,) = row.values()
            if fault := text_fault(text):
                self._rows.reject(fault)
            else:
                yield text


def open_rows(
    sources: Sources, columns: Sequence[str] | None = None, limit: int | None = None
) -> Rows:
    """Return the rows of `sources` (paths, or `hub:owner/name`), with `columns`, None being all.

    `limit` is the most rows read. Raises DataError, HubError; while iterating, DataError.
    """
    return Rows(sources, lambda place, present: _columns(place, present, columns), limit)


def open_texts(sources: Sources, column: str | None = None, limit: int | None = None) -> Texts:
    """Return the texts of `sources` (paths, or `hub:owner/name`), read as they are iterated.

    Without `column` it is the column "text", or the only one there is. `limit` is the most rows
    read. Raises DataError, HubError; while iterating, DataError.
    """
    return Texts(sources, column, limit)


def read_texts(source: Sources, column: str | None = None, limit: int | None = None) -> list[str]:
    """Return all texts of `source` (a path, several, or `hub:owner/name`) as a list.

    Raises DataError, HubError.
    """
    return list(open_texts(source, column, limit))


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


def _text_column(place: str, present: Sequence[str], column: str | None) -> str:
    name = column or (present[0] if len(present) == 1 else "text")
    if name in present:
        return name
    if column or not present:
        raise no_column(place, name, present)
    raise DataError(
        f"{place} has the columns {', '.join(present)}; one of them must be named. Give the one "
        f"with the text, e.g. --column {present[-1]} (Python: column={present[-1]!r})."
    )


def _columns(
    place: str, present: Sequence[str], wanted: Sequence[str] | None
) -> Sequence[str] | None:
    for name in wanted or ():
        if name not in present:
            raise no_column(place, name, present)
    return wanted
