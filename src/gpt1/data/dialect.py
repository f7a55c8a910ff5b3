"""What a file is, told from its first bytes: compression, encoding, separator, quotes, header.

People save tables with commas, semicolons, tabs or bars, in UTF-8 or UTF-16, with a header or
without. `sniff` says how a file is to be read; what it had to guess is in `Dialect.guesses`, one
phrase each, so that a command can say it, and every guess has an option that overrules it.
"""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from textwrap import shorten
from typing import IO, Any, Literal

from gpt1.data.excel import read_cells
from gpt1.data.sniffing import (
    DELIMITERS,
    SAMPLE_ROWS,
    find_delimiter,
    has_title,
    is_doubtful_header,
    is_escaped,
    is_header,
    is_json,
    is_list_of_texts,
    is_quoted,
    is_tab_separated,
    is_table,
    sample_rows,
)
from gpt1.errors import ConfigError, DataError, did_you_mean

Unit = Literal["line", "document"]
_NAMES = {mark: name for name, mark in DELIMITERS.items()}
_SAMPLE = 1 << 22  # bytes
_BOMS = (  # the longer first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"
_ENDINGS = {
    ".txt": "txt", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".json": "json", ".jsonl": "json",
    ".ndjson": "json", ".parquet": "parquet", ".xlsx": "xlsx", ".conll": "conll",
}  # fmt: skip


@dataclass(frozen=True)
class Headless:
    """The names of a table's columns that has no header; wider: rows may have more than these."""

    names: tuple[str, ...]
    wider: bool = False


@dataclass(frozen=True)
class ReadOptions:
    """How to read files, where a person or a published data set says it; the rest is sniffed."""

    delimiter: str | None = None
    """One character, or its name: comma, semicolon, tab, bar."""
    encoding: str | None = None
    """Python's name of it, e.g. cp1252."""
    header: bool | None = None
    """Whether the first row of a table names its columns."""
    unit: Unit | None = None
    """What one text of a .txt file is; None: a line where the file looks like a list of texts."""
    names: frozenset[str] = frozenset()
    """Columns that a command looks for: a first row that has one of them is a header."""
    formats: Mapping[str, str] = field(default_factory=dict)
    """A file's ending -> the format to read it by, where a data set uses it otherwise."""
    headless: Callable[[str, Sequence[str]], Headless | None] | None = None
    """(file, its first row) -> the names of its columns, None if that row is the header. With it, a
    row with another number of fields is rejected instead of stopping."""

    def __post_init__(self) -> None:
        mark = DELIMITERS.get(self.delimiter or "", self.delimiter)
        if mark is not None and (len(mark) != 1 or mark in '"\r\n'):
            names = ", ".join(DELIMITERS)
            raise ConfigError(f"the delimiter is {mark!r}; it is one character, or one of {names}.")
        object.__setattr__(self, "delimiter", mark)
        try:
            "".encode(self.encoding or "utf-8")
        except LookupError:
            known = ["utf-8", "utf-16", "cp1252", "latin-1", "shift_jis", "gb18030", "koi8-r"]
            nearest = did_you_mean(self.encoding or "", known)
            raise ConfigError(
                f"the encoding is {self.encoding!r}, which Python does not know.{nearest} Common "
                f"ones are {', '.join(known)}."
            ) from None


@dataclass(frozen=True)
class Dialect:
    """How one file is to be read; `guesses` says what was not certain, for people."""

    format: str
    encoding: str = "utf-8"
    newline: str = "\n"
    delimiter: str = ","
    header: bool = True
    row_names: bool = False
    """Rows have one field more than the header, as R writes them: the first has no name."""
    quoted: bool = True
    """Fields with separators or line ends stand in quotes; else a quote is a character."""
    escaped: bool = False
    """A quote inside quotes has a backslash before it, as R writes it, and is not doubled."""
    skip: int = 0
    """Rows before the table: a title, or the separator as Excel has it."""
    space: bool = False
    """Blanks follow the separators, before quotes too."""
    unit: Unit = "document"
    guesses: tuple[str, ...] = ()


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file, decompressed if its content is gzip, whatever its name. Raises OSError."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else path.open("rb")  # type: ignore[return-value]


def sniff(path: Path, options: ReadOptions) -> Dialect:
    """Return how to read a file. Raises DataError if it is empty, damaged or of no known kind."""
    head = _read_head(path)
    if not head:
        raise DataError(f"{path} is empty. Give a file that holds some text.")
    if head.startswith(_OLD_EXCEL):
        raise DataError(f"{path} is an old Excel file. Save it as .xlsx or .csv.")
    if head.startswith(b"PAR1"):
        return Dialect("parquet")
    if head.startswith(b"PK\x03\x04"):
        sample = [[str(v or "") for v in row] for _, row in islice(read_cells(path), SAMPLE_ROWS)]
        return Dialect("xlsx", **_header(list(filter(any, sample)), options, ()))
    name = _format_of(path, options)
    if name in ("parquet", "xlsx"):
        raise DataError(f"{path} is no {name} file, or it is damaged. Fetch it again.")
    whole = len(head) < _SAMPLE
    encoding, guesses = _encoding(head, options)
    if encoding == "utf-8" and 0.3 < head.count(0) / len(head) < 0.7:
        raise DataError(
            f"{path} has many NUL bytes; it may be UTF-16 without a byte order mark. "
            f"Name its encoding, e.g. --encoding utf-16-le (Python: encoding='utf-16-le')."
        )
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head).removeprefix("\ufeff")
    newline = "\n" if "\n" in text or "\r" not in text else "\r"
    if newline == "\r":
        guesses += ("with carriage returns as line ends",)
    plain = Dialect(name, encoding, newline, guesses=guesses)
    if name in ("conll", "json-row"):
        return plain
    if name == "json" or (name != "txt" and is_json(text)):
        return replace(plain, format="json")
    text = text if whole else text[: text.rfind(newline) + 1] or text
    if name == "pipe":
        name = "csv" if is_table(text, options.names) else "txt"
    if name == "txt" and options.unit is None and is_tab_separated(text):
        name = "tsv"
        guesses += ("as a table with tabs (--lines)",)
    if name == "txt":
        unit = options.unit or ("line" if is_list_of_texts(text) else "document")
        if options.unit is None and unit == "line":
            guesses += ("as a text a line (--document)",)
        return replace(plain, format="txt", unit=unit, guesses=guesses)
    own = "," if name == "csv" else "\t"
    skip = 0
    if named := re.match(r"sep=(.)\r?\n", text):  # a line that Excel reads
        own, text, skip = named[1], text[named.end() :], 1
    delimiter = options.delimiter or (own if options.headless else find_delimiter(text, own))
    if delimiter != own and options.delimiter is None:
        guesses += (f"as {_NAMES[delimiter]}-separated (--delimiter)",)
    rows = sample_rows(text, delimiter)
    later = [field for row in rows for field in row[1:]]
    space = all(field.startswith(" ") for field in later) and any('"' in f[:2] for f in later)
    rows = sample_rows(text, delimiter, space) if space else rows
    if not options.headless and has_title(rows):
        rows, skip = rows[1:], skip + 1
        guesses += ("from its second row on, as the first is a title",)
    quoted = name == "csv" or (not options.headless and is_quoted(text, delimiter))
    return Dialect(
        name, encoding, newline, delimiter,
        quoted=quoted, escaped=quoted and is_escaped(text, delimiter), space=space, skip=skip,
        **_header(rows, options, guesses),
    )  # fmt: skip


def _header(
    rows: list[list[str]], options: ReadOptions, guesses: tuple[str, ...]
) -> dict[str, Any]:
    """Return whether there is a header, as fields of Dialect."""
    if options.headless or not rows:
        return {"guesses": guesses}
    header = is_header(rows, options.names) if options.header is None else options.header
    if not header and options.header is None:
        guesses += (f"without a header, since its first row is {_short(rows[0])} (--header)",)
    elif options.header is None and is_doubtful_header(rows, options.names):
        guesses += (f"with the header {_short(rows[0])} (--no-header)",)
    row_names = header and {len(row) for row in rows[1:]} == {len(rows[0]) + 1}
    if row_names:
        guesses += ("with a first column of row names",)
    return {"header": header, "row_names": row_names, "guesses": guesses}


def _read_head(path: Path) -> bytes:
    try:
        with open_bytes(path) as file:
            return file.read(_SAMPLE)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path}: the gzip file is cut off or damaged ({error}). Fetch it again."
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None


def _format_of(path: Path, options: ReadOptions) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    ending = suffixes[-1] if suffixes else ""
    formats = {**_ENDINGS, **options.formats}
    name = formats.get(ending) or options.formats.get("*")
    if name is None and path.name == "stdin":
        return "pipe"
    if name is None:
        raise DataError(
            f"{path} is of no known kind; gpt1 reads {', '.join(_ENDINGS)}, those of text also as "
            f".gz. Give it the ending of what it holds."
        )
    return name


def _encoding(head: bytes, options: ReadOptions) -> tuple[str, tuple[str, ...]]:
    if options.encoding:
        return options.encoding, ()
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            known = encoding == "utf-8-sig"
            return encoding, () if known else (f"as {encoding.upper()} (--encoding)",)
    return "utf-8", ()


def _short(row: Sequence[str]) -> str:
    return repr(shorten(", ".join(row), 40, placeholder=" ..."))
