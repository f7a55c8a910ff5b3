"""What the readers of all formats share: lines of text, rows, and errors about columns."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from gpt1.data.dialect import Dialect, open_bytes
from gpt1.errors import DataError, did_you_mean

Row = dict[str, Any]
ChooseColumns = Callable[[str, Sequence[str]], Sequence[str] | None]
"""(file or file:line, the columns there) -> those to read, None being all; raises DataError."""
RowIterator = Iterator[tuple[int, Row | str]]
"""(line, row) of a file; a str is why there is no row, e.g. a blank line."""
BLANK, WRONG_WIDTH, HEADER_AGAIN = "blank line", "wrong number of fields", "repeated header"
MAX_ROW = 8 << 20
"""Bytes, or characters where the text is not UTF-8: a longer row is refused."""
MAX_BLANK = 1_000_000
"""Blank lines in a row; a small gzip file can hold enough of them to keep us for hours."""


def listing(names: Sequence[str], most: int = 40) -> str:
    """Return names as text, the first ones of many."""
    more = f", ... ({len(names):,} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def check_single(location: str, name: str, present: Sequence[str]) -> None:
    """Raise DataError if two columns have the name of one that is to be read."""
    if present.count(name) > 1:
        raise DataError(f"{location} has two columns named {name!r}. Rename one of them.")


def no_column(location: str, name: str, present: Sequence[str]) -> DataError:
    """Return the error for a column that is not among those present."""
    has = listing(present) or "none"
    nearest = did_you_mean(name, present)
    return DataError(f"{location} has no column {name!r}; it has {has}.{nearest}")


def too_long(location: str) -> DataError:
    """Return the error for a row that would fill the memory."""
    return DataError(
        f"{location}: the row is longer than {MAX_ROW >> 20} MiB, the most a row may have. Split "
        f"it; in a csv, look for a quote that is never closed."
    )


class Lines:
    """The lines of a file as text, without the byte order mark, with their line ends.

    `number` is the line at hand, `row` the line on which the row at hand began: whoever reads calls
    `end_row`. Raises DataError for text in another encoding and for a row longer than MAX_ROW.
    """

    def __init__(self, path: Path, dialect: Dialect) -> None:
        self.path = path
        self.number = 0
        self._encoding = dialect.encoding
        self._by_bytes = dialect.newline == "\n" and dialect.encoding in ("utf-8", "utf-8-sig")
        self.end_row()

    def end_row(self) -> None:
        """Begin a row with the next line."""
        self.row = self.number + 1
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        read = self._read_utf8 if self._by_bytes else self._read_text
        try:
            with open_bytes(self.path) as file:
                blank = 0
                for line in read(file):
                    blank = 0 if len(line) > 2 or line.strip() else blank + 1
                    if blank > MAX_BLANK:
                        raise DataError(
                            f"{self.path}:{self.number}: there are more than {MAX_BLANK:,} blank "
                            f"lines in a row. Remove them."
                        )
                    yield line
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(
                f"{self.path}:{self.number + 1}: the gzip file is cut off or damaged ({error}). "
                f"Fetch it again."
            ) from None
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror or error}.") from None

    def _read_utf8(self, file: IO[bytes]) -> Iterator[str]:
        """Read by bytes: faster, and a fault has its place in the file."""
        offset = 0
        while line := file.readline(MAX_ROW - self._size + 1):
            self._count(len(line))
            if not offset and line.startswith(b"\xef\xbb\xbf"):
                line, offset = line[3:], 3
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{self.path}:{self.number + 1}: byte {offset + error.start} is not UTF-8 "
                    f"({error.reason}). If the file has another encoding, name it, e.g. "
                    f"--encoding cp1252 (Python: encoding='cp1252')."
                ) from None
            offset += len(line)
            if text:
                self.number += 1
                yield text

    def _read_text(self, file: IO[bytes]) -> Iterator[str]:
        # newline="" splits at every kind of line end and leaves them as they are
        text = io.TextIOWrapper(file, self._encoding, newline="")
        try:
            while line := text.readline(MAX_ROW - self._size + 1):
                self._count(len(line))
                self.number += 1
                yield line.removeprefix("\ufeff") if self.number == 1 else line
        except UnicodeError as error:
            raise DataError(
                f"{self.path}:{self.number + 1}: the text is not {self._encoding} "
                f"({getattr(error, 'reason', error)}). Name its encoding with --encoding "
                f"(Python: encoding=...)."
            ) from None
        finally:
            text.detach()

    def _count(self, length: int) -> None:
        self._size += length
        if self._size > MAX_ROW:
            raise too_long(f"{self.path}:{self.row}")
