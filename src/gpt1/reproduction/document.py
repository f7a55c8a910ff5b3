"""A result to be read: tables and pictures as markdown, as one HTML page, and as JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from gpt1 import storage
from gpt1.training import report

ABSENT = "-"
_MANY = 4  # columns that fit the width of a text


@dataclass(frozen=True)
class Table:
    """Texts in rows below a head."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Document:
    """What is written under a name: NAME.md, NAME.html, NAME.json, and pictures.

    pictures: a file's name -> PNG; values: what the JSON holds beside the tables.
    """

    name: str
    title: str
    notes: tuple[str, ...]
    tables: tuple[Table, ...]
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


def write(document: Document, out: Path | str) -> list[Path]:
    """Write the document's files into a folder; return their paths. Raises StorageError."""
    place = Path(out)
    name = document.name
    files = {
        f"{name}.md": markdown(document).encode(errors="replace"),
        f"{name}.html": page(document),
        f"{name}.json": storage.json_bytes(as_json(document)),
        **document.pictures,
    }
    for file, data in files.items():
        storage.write_file(place / file, data)
    return [place / file for file in files]


def markdown(document: Document) -> str:
    """Return the document as markdown.

    >>> print(markdown(Document("a", "A", (), (Table("B", ("", "x|y"), (("z", "1"),)),))))
    # A
    <BLANKLINE>
    ## B
    <BLANKLINE>
    |  | x\\|y |
    | --- | ---: |
    | z | 1 |
    <BLANKLINE>
    """
    parts = [f"# {document.title}", *document.notes]
    parts += [f"![{name}]({name})" for name in document.pictures]
    for table in document.tables:
        parts += [f"## {table.title}", *([table.note] if table.note else [])]
        lines = [_line(table.head), _line(["---", *["---:"] * (len(table.head) - 1)])]
        parts.append("\n".join([*lines, *map(_line, table.rows)]))
    return "\n\n".join(parts) + "\n"


def page(document: Document) -> bytes:
    """Return the document as one HTML page that holds all it needs."""
    parts = [f"<h1>{escape(document.title)}</h1>"]
    parts += [f"<p>{escape(note)}</p>" for note in document.notes]
    for name, data in document.pictures.items():
        source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
        parts.append(f'<figure><img alt="{escape(name)}" src="{source}"></figure>')
    for table in document.tables:
        parts.append(f"<h2>{escape(table.title)}</h2>")
        if table.note:
            parts.append(f"<p>{escape(table.note)}</p>")
        kind = "figures wide" if len(table.head) > _MANY else "figures"
        body = report.table(table.head, table.rows, kind)
        parts.append(f'<div class="scroll">{body}</div>')
    return report.page(document.title, parts)


def as_json(document: Document) -> dict[str, Any]:
    """Return the document as JSON values."""
    return {
        "name": document.name,
        "title": document.title,
        "notes": list(document.notes),
        **document.values,
        "tables": [
            {
                "title": table.title,
                "note": table.note,
                "head": list(table.head),
                "rows": [list(row) for row in table.rows],
            }
            for table in document.tables
        ],
        "pictures": list(document.pictures),
    }


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
