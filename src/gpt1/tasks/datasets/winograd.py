"""Winograd schemas, for zero-shot use: WSC273, and DPR (Rahman and Ng 2012).

A sentence, a pronoun in it, and two candidates that it may stand for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt1.data.formats import Headless, ReadOptions, Row, no_column, open_file
from gpt1.data.tables import RowCounts, RowReader, text_fault
from gpt1.errors import ConfigError, DataError
from gpt1.tasks.datasets.entry import sample
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
class Schemas:
    """The schemas of a split, and what became of every row; str() is for people."""

    name: str
    split: str
    schemas: list[Schema]
    counts: RowCounts
    listed: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n  ".join([f"{self.name} {self.split}: {self.counts}", *self.listed])


@dataclass(frozen=True)
class SchemaSet:
    """One published set of schemas, as jsonl or as blocks of four lines (`.c.txt`)."""

    name: str
    title: str
    files: Files

    def load(self, source: Source, split: str, limit: int | None = None) -> Schemas:
        """Return the schemas of a split; source and limit are as those of `DataSet.load`.

        Raises ConfigError, DataError.
        """
        if split not in self.files.splits:
            has = ", ".join(self.files.splits)
            raise ConfigError(f"{self.title} has no split {split!r}; it has {has}.")
        files = find_split(self.files, source, split)
        blocks = files[0].name.endswith((".txt", ".txt.gz"))
        rows, account = _read_blocks(files) if blocks else _read_jsonl(files)
        schemas: list[Schema] = []
        listed: list[str] = []
        for place, row in rows:
            made = _schema(row)
            if isinstance(made, Schema):
                schemas.append(made)
            else:
                account.reject(made)
                listed += [f"{place}: {made}"] * (len(listed) < 5)
        if 2 * len(schemas) <= account.rows:
            raise DataError(
                f"{files[0]} is no file of {self.title}; {account}. Name the data set's own folder."
            )
        taken = sample(len(schemas), limit)
        if left := len(schemas) - len(taken):
            account.reject(f"outside the sample of {limit}", left)
        return Schemas(self.name, split, [schemas[i] for i in taken], account, tuple(listed))


_Placed = list[tuple[str, Row]]
_COLUMNS = ("text", "pronoun", "options", "label")


def _read_jsonl(files: list[Path]) -> tuple[_Placed, RowCounts]:
    def choose(place: str, present: Sequence[str]) -> None:
        for name in _COLUMNS:
            if name not in present:
                raise no_column(place, name, present)

    table = RowReader(files, choose)
    return [(table.location, row) for row in table], table.counts


def _read_blocks(files: list[Path]) -> tuple[_Placed, RowCounts]:
    """Read blocks of a sentence, its pronoun, "one,other", the answer, a blank line."""
    placed: _Placed = []
    account = RowCounts(files=len(files))
    for path in files:
        for line, block in _blocks(path):
            account.rows += 1
            account.used += 1
            options = [option.strip() for option in block[2].split(",")] if len(block) == 4 else []
            folded = [option.casefold() for option in options]
            answer = block[-1].casefold()
            label = folded.index(answer) if answer in folded else None
            text, pronoun = (*block, "")[:2]
            row = {"text": text, "pronoun": pronoun, "options": options, "label": label}
            placed.append((f"{path}:{line}", row))
    return placed, account


def _blocks(path: Path) -> Iterator[tuple[int, list[str]]]:
    # One column a line: what stands behind a tab in the original files is not read.
    one = Headless(("line",), wider=True)
    read = open_file(path, ReadOptions({".txt": ".tsv"}, lambda place, first: one))
    block: list[str] = []
    first = 0
    for line, row in read(lambda place, present: None):
        text = row["line"].strip() if row else ""
        if text:
            first = first if block else line
            block.append(text)
        elif block:
            yield first, block
            block = []
    if block:
        yield first, block


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
    """Return where the pronoun is: at the place given, or where it first stands as a word."""
    if isinstance(given, int) and text[given : given + len(pronoun)] == pronoun:
        return given
    for flags in (re.NOFLAG, re.IGNORECASE):
        if found := re.search(rf"(?<!\w){re.escape(pronoun)}(?!\w)", text, flags):
            return found.start()
    return None


SCHEMA_SETS: dict[str, SchemaSet] = {
    "wsc273": SchemaSet(
        "wsc273", "WSC273", Files(("winograd", "wsc273"), {"test": (("wsc273.jsonl",),)})
    ),
    "dpr": SchemaSet(
        "dpr",
        "DPR",
        # The blocks first: their pronoun is the first such word, as the spec has it (7.2.4).
        Files(
            ("winograd", "dpr"),
            {
                split: ((f"dpr_{split}.c.txt",), (f"{split}.c.txt",), (f"dpr_{split}.jsonl",))
                for split in ("train", "test")
            },
        ),
    ),
}
