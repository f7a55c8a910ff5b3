"""Winograd schemas, for zero-shot use: WSC273, and DPR (Rahman and Ng 2012).

A schema is a sentence, a pronoun in it, and two candidates that it may stand for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from gpt1.data.dialect import Headless, ReadOptions
from gpt1.data.formats import TableFile
from gpt1.data.lines import Row, no_column
from gpt1.data.tables import RowCounts, RowReader, text_fault
from gpt1.errors import DataError
from gpt1.tasks.datasets.entry import LISTED, Rows, check_split
from gpt1.tasks.datasets.files import Files, Source, find_split


@dataclass(frozen=True)
class Schema:
    """One sentence: text[start:] begins with the pronoun; label is the index of the right option.

    >>> schema = Schema("The dog barked because it was glad.", "it", 23, ("The dog", "The bark"), 0)
    >>> schema.text[schema.start :]
    'it was glad.'
    """

    text: str
    pronoun: str
    start: int
    options: tuple[str, ...]
    label: int


@dataclass(frozen=True)
class SchemaSet:
    """One published set of schemas, as jsonl or as blocks of four lines (`.c.txt`)."""

    title: str
    files: Files

    def load(self, source: Source, split: str, limit: int | None = None) -> Rows[Schema]:
        """Return the schemas of a split; source and limit are as those of `DataSet.load`.

        Raises ConfigError, DataError.
        """
        check_split(self.title, self.files.splits, split)
        files = find_split(self.files, source, split)
        is_blocks = files[0].name.endswith((".txt", ".txt.gz"))
        rows, counts = _read_blocks(files) if is_blocks else _read_jsonl(files)
        schemas: list[Schema] = []
        listed: list[str] = []
        for location, row in rows:
            schema = _schema(row)
            if isinstance(schema, Schema):
                schemas.append(schema)
            else:
                counts.reject(schema)
                listed.append(f"{location}: {schema}")
        if 2 * len(schemas) <= counts.rows:
            raise DataError(
                f"{files[0]} is no file of {self.title}; {counts}. Name the data set's own folder."
            )
        name = self.files.folders[-1]
        return Rows(name, split, schemas, counts, tuple(listed[:LISTED])).sample(limit)


_Located = list[tuple[str, Row]]
_COLUMNS = ("text", "pronoun", "options", "label")


def _read_jsonl(files: list[Path]) -> tuple[_Located, RowCounts]:
    def choose(location: str, present: Sequence[str]) -> None:
        for name in _COLUMNS:
            if name not in present:
                raise no_column(location, name, present)

    reader = RowReader(files, choose)
    return [(reader.location, row) for row in reader if row], reader.counts


def _read_blocks(files: list[Path]) -> tuple[_Located, RowCounts]:
    """Read blocks of four lines: a sentence, its pronoun, "option,option", the answer."""
    rows: _Located = []
    for path in files:
        for line, block in _blocks(path):
            options = [option.strip() for option in block[2].split(",")] if len(block) == 4 else []
            folded = [option.casefold() for option in options]
            answer = block[-1].casefold()
            label = folded.index(answer) if answer in folded else None
            values = (*(*block, "")[:2], options, label)
            rows.append((f"{path}:{line}", dict(zip(_COLUMNS, values, strict=True))))
    return rows, RowCounts(rows=len(rows), used=len(rows), files=len(files))


def _blocks(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of a block's first line, and its lines without what follows a tab."""
    one_column = Headless(("line",), wider=True)
    options = ReadOptions(formats={".txt": "tsv"}, headless=lambda *_: one_column)
    rows = TableFile(path, options).read(lambda *_: None)
    lines = ((n, row["line"].strip() if isinstance(row, dict) else "") for n, row in rows)
    for has_text, group in groupby(lines, key=lambda line: bool(line[1])):
        if has_text:
            numbers, block = zip(*group, strict=True)
            yield numbers[0], list(block)


def _schema(row: Row) -> Schema | str:
    """Return the schema of a row; a str is why there is none."""
    text, pronoun, options, label = (row.get(name) for name in _COLUMNS)
    if not isinstance(options, list) or len(options) < 2:
        return "fewer than two options"
    for value in (text, pronoun, *options):
        if fault := text_fault(value):
            return fault
    if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < len(options):
        return "wrong label"
    start = _start(str(text), str(pronoun), row.get("pronoun_loc"))
    if start is None:
        return "no such pronoun in the sentence"
    return Schema(str(text), str(pronoun), start, tuple(options), label)


def _start(text: str, pronoun: str, given: Any) -> int | None:
    """Return where the pronoun is: as given, or where it first stands as a word."""
    if isinstance(given, int) and text[given : given + len(pronoun)] == pronoun:
        return given
    for flags in (re.NOFLAG, re.IGNORECASE):
        if match := re.search(rf"(?<!\w){re.escape(pronoun)}(?!\w)", text, flags):
            return match.start()
    return None


_DPR = "dpr_{}.c.txt | {}.c.txt | dpr_{}.jsonl"
SCHEMA_SETS: dict[str, SchemaSet] = {
    "wsc273": SchemaSet("WSC273", Files(("winograd", "wsc273"), {"test": "wsc273.jsonl"})),
    # The blocks first: their pronoun is the first such word, as the spec has it (7.2.4).
    "dpr": SchemaSet(
        "DPR", Files(("winograd", "dpr"), {s: _DPR.replace("{}", s) for s in ("train", "test")})
    ),
}
