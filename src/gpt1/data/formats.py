"""One reader for each format, all streaming: (line, row) after (line, row).

What is wrong with a file stops with its name and line, since the rest of it cannot be trusted. A
row is at most 8 MiB, so that no file fills the memory.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from gpt1.data.dialect import Dialect, ReadOptions, sniff
from gpt1.data.excel import read_cells
from gpt1.data.json_rows import read_json, read_json_row
from gpt1.data.lines import (
    BLANK,
    HEADER_AGAIN,
    MAX_ROW,
    WRONG_WIDTH,
    ChooseColumns,
    Lines,
    RowIterator,
    check_single,
    too_long,
)
from gpt1.data.sniffing import ESCAPED_QUOTE
from gpt1.errors import DataError, counted, first_line

_TAG = re.compile(r"O|[BIESLUM]-\S+")
_PARQUET_ROWS = 32  # at a time: rows may be whole books


class TableFile:
    """A file of rows, and how it is read; `read(choose)` reads it from the start."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        """Find out how to read the file. Raises DataError; also for a missing file."""
        try:
            if path.is_dir():
                raise DataError(f"{path} is a folder. Name the files in it, e.g. {path}/*.txt")
            if not path.exists():
                raise DataError(f"there is no file {path}. Check the path.")
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}. Check the path.") from None
        self.path = path
        self.options = options
        self.dialect = sniff(path, options)

    @property
    def note(self) -> str:
        """What had to be guessed about the file, in one line; "" if nothing had."""
        guesses = list(self.dialect.guesses)
        if self.dialect.format == "txt" and self.dialect.unit == "document":
            guesses.append("as one document (--lines)")
        return f"{self.path.name} is read {', '.join(guesses)}" if guesses else ""

    @property
    def location(self) -> str:
        """The file, with what had to be guessed about it, for errors about its columns."""
        guesses = ", ".join(self.dialect.guesses)
        return f"{self.path}, read {guesses}," if guesses else str(self.path)

    def read(self, choose: ChooseColumns) -> RowIterator:
        """Yield the rows, with the columns that `choose` takes. Raises DataError."""
        lines = Lines(self.path, self.dialect)
        match self.dialect.format:
            case "txt":
                return _read_txt(lines, choose, self.dialect.unit)
            case "json":
                return read_json(lines, choose)
            case "json-row":
                return read_json_row(lines, choose)
            case "conll":
                return _read_conll(lines, choose)
            case "parquet":
                return _read_parquet(self.path, choose)
            case "xlsx":
                rows = read_cells(self.path)
            case _:
                rows = (_quoted_rows if self.dialect.quoted else _plain_rows)(lines, self.dialect)
        return self._name_fields(rows, choose)

    def _name_fields(
        self, rows: Iterator[tuple[int, list[Any]]], choose: ChooseColumns
    ) -> RowIterator:
        """Name the fields of each row, by the header or by the options; [] is a blank line."""
        rows = islice(rows, self.dialect.skip, None)
        blanks = []
        first: tuple[int, list[Any]] = (0, [])
        for first in rows:
            if first[1]:
                break
            blanks.append(first)
        header = ["" if name is None else str(name).strip() for name in first[1]]
        wider, has_header = False, self.dialect.header
        if self.options.headless and (headless := self.options.headless(str(self.path), header)):
            header, wider, has_header = list(headless.names), headless.wider, False
        elif not has_header:
            header = [str(number) for number in range(1, len(header) + 1)]
        if not has_header:
            rows = chain(blanks, [first], rows)
        if self.dialect.row_names:
            header = ["", *header]
        wanted = self._choose(choose, header)
        for line, row in rows:
            if not row:
                yield line, BLANK
            elif len(row) == len(header) or (wider and len(row) > len(header)):
                if has_header and row == first[1]:
                    yield line, HEADER_AGAIN
                else:
                    yield line, {name: row[i] for name, i in wanted}
            elif self.options.headless:
                yield line, WRONG_WIDTH
            elif not any(map(bool, row)):
                yield line, BLANK
            else:
                raise DataError(
                    f"{self.path}:{line}: the row has {counted(len(row), 'field')}; the header has "
                    f"{len(header):,} ({', '.join(header)[:200]}). Correct the row."
                )

    def _choose(self, choose: ChooseColumns, header: list[str]) -> list[tuple[str, int]]:
        """Return the columns to read, each a name and where it is.

        Where all are read, one without a name is "", and of several with one name the second has
        .1 behind it.
        """
        present = [name for name in header if name]
        names = choose(self.location, present)
        if names is None:
            twice = ((name, header[:i].count(name)) for i, name in enumerate(header))
            return [(f"{name}.{n}" if n else name, i) for i, (name, n) in enumerate(twice)]
        for name in names:
            check_single(self.location, name, present)
        return [(name, header.index(name)) for name in names]


def _read_txt(lines: Lines, choose: ChooseColumns, unit: str) -> RowIterator:
    """Read a text a line, or one document, cut at line ends where it is longer than a row."""
    (name,) = choose(str(lines.path), ["text"]) or ["text"]
    first, held, size = 1, list[str](), 0
    for line in lines:
        lines.end_row()
        if unit == "line":
            text = line.rstrip("\r\n")
            yield lines.number, {name: text} if text.strip() else BLANK
            continue
        if size + len(line) > MAX_ROW and held:
            yield first, {name: "".join(held)}
            first, held, size = lines.number, [], 0
        held.append(line.replace("\r\n", "\n").replace("\r", "\n"))
        size += len(line)
    if held:
        yield first, {name: "".join(held)}


def _read_conll(lines: Lines, choose: ChooseColumns) -> RowIterator:
    """Read sentences of a word and its tag a line: the first and the last of its fields.

    Between them are tabs or blanks; a blank line or -DOCSTART- ends a sentence. A line that begins
    with # is a comment unless it ends in a tag of an entity or, where no line does, has as many
    fields as the others.
    """
    choose(str(lines.path), ["tokens", "tags"])
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


def _quoted_rows(lines: Lines, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(max(MAX_ROW, csv.field_size_limit()))
    texts = (
        (line.replace('\\"', ESCAPED_QUOTE) for line in lines) if dialect.escaped else iter(lines)
    )
    reader = csv.reader(
        texts, delimiter=dialect.delimiter, skipinitialspace=dialect.space, strict=True
    )
    try:
        for row in reader:
            if dialect.escaped:
                row = [field.replace(ESCAPED_QUOTE, '"') for field in row]
            yield lines.row, row
            lines.end_row()
    except csv.Error as error:
        raise DataError(
            f"{lines.path}:{lines.row}: not a csv row ({error}). A field with separators, quotes "
            f"or line breaks goes between double quotes, and quotes inside it are doubled."
        ) from None


def _plain_rows(lines: Lines, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    for line in lines:
        text = line.removesuffix("\n").removesuffix("\r")
        yield lines.row, text.split(dialect.delimiter) if text else []
        lines.end_row()


def _read_parquet(path: Path, choose: ChooseColumns) -> RowIterator:
    try:
        import pyarrow
        from pyarrow import ArrowException, compute, parquet
    except ImportError:
        raise DataError(
            f'{path} is a parquet file; reading it needs pyarrow. Run pip install "gpt1[data]"'
        ) from None
    number = 0
    try:
        with parquet.ParquetFile(path, memory_map=True) as file:
            schema = file.schema_arrow
            wanted = list(choose(str(path), schema.names) or schema.names)
            texts = [n for n in wanted if pyarrow.types.is_string(schema.field(n).type)]
        # as dictionaries: a small file can hold a large text many times
        with parquet.ParquetFile(path, memory_map=True, read_dictionary=texts) as file:
            for batch in file.iter_batches(_PARQUET_ROWS, columns=wanted, use_threads=False):
                for name in texts:
                    column = batch.column(name)
                    values = getattr(column, "dictionary", column)
                    longest = compute.max(compute.binary_length(values)).as_py()
                    if longest and longest > MAX_ROW:
                        raise too_long(f"{path}:{number + 1}")
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: no parquet file, or a damaged one ({first_line(error)})."
        ) from None
