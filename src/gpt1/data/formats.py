"""A streaming reader for each kind of file: it yields (line, row).

A malformed file is an error with file and line, since the rest of it cannot be trusted. A row has
at most 8 MiB, so that no file fills the memory.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import Any

from gpt1.errors import DataError, did_you_mean, first_line

MAX_ROW = 8 << 20
"""Bytes in a row, at most."""
_TAG = re.compile(r"O|[BIESLUM]-\S+")
_PARQUET_ROWS = 32  # at a time: rows may be whole books

Row = dict[str, Any]
ChooseColumns = Callable[[str, Sequence[str]], Sequence[str] | None]
"""(file or file:line, its columns) -> those to read, None being all; raises DataError."""
RowIterator = Iterator[tuple[int, Row | None]]
"""(line, row) of a file; None is a blank line."""
FileReader = Callable[[ChooseColumns], RowIterator]
BAD_ROW: Row = {}
"""A row with another number of fields than the header; see `ReadOptions.header`."""


@dataclass(frozen=True)
class Headless:
    """The column names of a table without a header; wider: rows may have more fields."""

    names: tuple[str, ...]
    wider: bool = False


@dataclass(frozen=True)
class ReadOptions:
    """How to read files that are not what their names say, such as those of published data sets."""

    endings: Mapping[str, str] = field(default_factory=dict)
    """A file's ending -> the one to read it as, also ".json": the whole file is one row."""
    header: Callable[[str, Sequence[str]], Headless | None] | None = None
    """(file, its first row) -> the column names of a csv or tsv, None if that row is the header.
    With it, a row with another number of fields is BAD_ROW instead of an error."""
    otherwise: str = ""
    """The ending as which files with an unknown one are read."""


def open_file(path: Path, options: ReadOptions) -> FileReader:
    """Return the reader of a file, by its ending. Raises DataError, also if it is missing."""
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder. Name the files in it, e.g. {path}/*.txt")
        if not path.exists():
            raise DataError(f"there is no file {path}. Check the path.")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Check the path.") from None
    readers: dict[str, Callable[[Path, ChooseColumns], RowIterator]] = {
        ".txt": _read_txt,
        ".jsonl": _read_jsonl,
        ".csv": partial(_read_csv, options=options),
        ".tsv": partial(_read_tsv, options=options),
        ".parquet": _read_parquet,
    }
    known = ", ".join(readers)
    readers |= {".json": _read_json, ".conll": _read_conll}  # of data sets and tasks only
    zipped = path.suffix.lower() == ".gz"
    ending = (path.with_suffix("") if zipped else path).suffix.lower()
    ending = options.endings.get(ending, ending)
    read = readers.get(ending) or readers.get(options.otherwise)
    if not read or (zipped and ending == ".parquet"):
        raise DataError(
            f"{path} is of no known kind; gpt1 reads {known}, all but the last also .gz."
        )
    return partial(read, path)


def no_column(location: str, name: str, present: Sequence[str]) -> DataError:
    """Return the error for a column that is not among those present."""
    columns = ", ".join(present) or "none"
    hint = did_you_mean(name, present)
    return DataError(f"{location} has no column {name!r}; it has {columns}.{hint}")


def _too_long(location: str) -> DataError:
    return DataError(
        f"{location}: the row is longer than {MAX_ROW >> 20} MiB, the most a row may have. Split "
        f"it; in a csv, look for a quote that is never closed."
    )


class _Lines:
    """The lines of a file as text, with their line ends, without the byte order mark.

    `number` is the current line, `row` the one where the current row began: the reader calls
    `end_row`. Raises DataError for an empty file, broken UTF-8, a row longer than MAX_ROW.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self.end_row()

    def end_row(self) -> None:
        self.row = self.number + 1
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        try:
            zipped = self.path.suffix.lower() == ".gz"
            with gzip.open(self.path) if zipped else self.path.open("rb") as file:
                yield from self._read(file)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(
                f"{self.path}:{self.number + 1}: the gzip file is cut off or damaged ({error}). "
                f"Fetch it again."
            ) from None
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror or error}.") from None

    def _read(self, file: gzip.GzipFile | BufferedReader) -> Iterator[str]:
        offset = 0
        while line := file.readline(MAX_ROW - self._size + 1):
            self._size += len(line)
            if self._size > MAX_ROW:
                raise _too_long(f"{self.path}:{self.row}")
            if not offset and line.startswith(b"\xef\xbb\xbf"):
                line, offset = line[3:], 3
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{self.path}:{self.number + 1}: byte {offset + error.start} is not UTF-8 "
                    f"({error.reason}). Convert the file to UTF-8."
                ) from None
            offset += len(line)
            if text:
                self.number += 1
                yield text
        if not self.number:
            raise DataError(f"{self.path} is empty. Give a file that holds some text.")


def _read_txt(path: Path, choose: ChooseColumns) -> RowIterator:
    (name,) = choose(str(path), ["text"]) or ["text"]
    lines, first = _Lines(path), 1
    document: list[str] = []
    size = 0
    for line in lines:
        lines.end_row()
        if size + len(line) > MAX_ROW and document:
            yield first, {name: "".join(document)}
            document, size, first = [], 0, lines.number
        document.append(line.replace("\r\n", "\n"))
        size += len(line)
    yield first, {name: "".join(document)}


def _read_jsonl(path: Path, choose: ChooseColumns) -> RowIterator:
    lines = _Lines(path)
    chosen, wanted = False, None
    for line in lines:
        location = f"{path}:{lines.row}"
        if not line.strip():
            yield lines.row, None
        else:
            row = _json_object(line, f"{location}: the line")
            if not chosen:
                chosen, wanted = True, choose(location, list(row))
            for name in wanted or ():
                if name not in row:
                    raise no_column(location, name, list(row))
            yield lines.row, {name: row[name] for name in wanted or row}
        lines.end_row()


def _read_json(path: Path, choose: ChooseColumns) -> RowIterator:
    row = _json_object("".join(_Lines(path)), f"{path}: the file")
    yield 1, {name: row[name] for name in choose(str(path), list(row)) or row}


def _json_object(text: str, what: str) -> Row:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{what} is not JSON ({error}); it must be one JSON object.") from None
    if not isinstance(value, dict):
        raise DataError(
            f'{what} is {text.strip()[:40]!r}; it must be one JSON object, e.g. {{"text": "..."}}.'
        )
    return value


def _read_conll(path: Path, choose: ChooseColumns) -> RowIterator:
    """Read sentences, one word per line: its first field is the word, its last one the tag.

    Fields are separated by tabs or blanks; a blank line or -DOCSTART- ends a sentence. A line that
    begins with # is a comment unless it ends in an entity's tag or, if no line does, has as many
    fields as the others.
    """
    choose(str(path), ["tokens", "tags"])
    lines = _Lines(path)
    words: list[str] = []
    tags: list[str | None] = []
    first, width, of_entities = 1, 0, False
    for line in lines:
        lines.end_row()
        text = line.strip(" \r\n") if "\t" in line else line.strip()
        fields = [part.strip() for part in text.split("\t")] if "\t" in text else text.split()
        tagged = _TAG.fullmatch(fields[-1]) is not None if fields else False
        if text.startswith("#") and not tagged and (of_entities or len(fields) != width):
            continue
        if not any(fields) or fields[0] == "-DOCSTART-":
            if words:
                yield first, {"tokens": words, "tags": tags}
                words, tags = [], []
            continue
        if not words:
            first = lines.number
        if not width:
            width, of_entities = len(fields), tagged
        words.append(fields[0])
        tags.append(fields[-1] if len(fields) > 1 else None)
    if words:
        yield first, {"tokens": words, "tags": tags}


def _read_csv(path: Path, choose: ChooseColumns, options: ReadOptions) -> RowIterator:
    csv.field_size_limit(max(MAX_ROW, csv.field_size_limit()))
    lines = _Lines(path)
    try:
        yield from _name_fields(lines, csv.reader(iter(lines), strict=True), choose, options)
    except csv.Error as error:
        raise DataError(
            f"{path}:{lines.row}: not a csv row ({error}). A field with commas, quotes or line "
            f"breaks goes between double quotes, and quotes inside it are doubled."
        ) from None


def _read_tsv(path: Path, choose: ChooseColumns, options: ReadOptions) -> RowIterator:
    lines = _Lines(path)
    texts = (line.removesuffix("\n").removesuffix("\r") for line in lines)
    rows = (text.split("\t") if text else [] for text in texts)
    yield from _name_fields(lines, rows, choose, options)


def _name_fields(
    lines: _Lines, fields: Iterator[list[str]], choose: ChooseColumns, options: ReadOptions
) -> RowIterator:
    """Name the fields of each row, by the header or the options; [] is a blank line."""

    def numbered() -> Iterator[tuple[int, list[str]]]:
        for row in fields:
            yield lines.row, row
            lines.end_row()

    path, rows = lines.path, numbered()
    blanks = []
    first: tuple[int, list[str]] = (0, [])
    for first in rows:
        if first[1]:
            break
        blanks.append(first)
    header, wider = [name.strip() for name in first[1]], False  # "text, label" is often written
    if options.header and (headless := options.header(str(path), header)):
        header, wider = list(headless.names), headless.wider
        rows = chain(blanks, [first], rows)
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise DataError(f"{path} has two columns named {repeated[0]!r}. Rename one of them.")
    wanted = [(name, header.index(name)) for name in choose(str(path), header) or header]
    for line, row in rows:
        if not row:
            yield line, None
        elif len(row) == len(header) or (wider and len(row) > len(header)):
            yield line, {name: row[i] for name, i in wanted}
        elif options.header:
            yield line, BAD_ROW
        else:
            raise DataError(
                f"{path}:{line}: the row has {len(row)} fields; the header has {len(header)} "
                f"({', '.join(header)}). Correct the row."
            )


def _read_parquet(path: Path, choose: ChooseColumns) -> RowIterator:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise DataError(
            f'{path} is a parquet file; reading it needs pyarrow. Run pip install "gpt1[data]"'
        ) from None
    number = 0
    try:
        with parquet.ParquetFile(path, memory_map=True) as file:
            wanted = choose(str(path), file.schema_arrow.names)
            for batch in file.iter_batches(_PARQUET_ROWS, columns=wanted, use_threads=False):
                for row in batch.to_pylist():
                    number += 1
                    if any(isinstance(v, str) and len(v) > MAX_ROW for v in row.values()):
                        raise _too_long(f"{path}:{number}")
                    yield number, row
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: no parquet file, or a damaged one ({first_line(error)})."
        ) from None
