"""What a reproduction writes: tables and pictures as markdown, as one HTML page, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpt1 import storage
from gpt1.reports.page import render_page
from gpt1.reports.sections import Picture, Section, Table
from gpt1.reports.tables import markdown_table


@dataclass(frozen=True)
class Document:
    """What is written under a name: NAME.md, NAME.html, NAME.json, and NAME.png with a picture.

    sections: tables with their titles and notes. values: what the JSON holds beside them.
    """

    name: str
    title: str
    notes: tuple[str, ...]
    sections: tuple[Section, ...]
    values: Mapping[str, Any] = field(default_factory=dict)
    picture: bytes | None = None

    def write(self, out: Path | str) -> list[Path]:
        """Write the document's files into a folder; return their paths. Raises StorageError."""
        files = {
            ".md": self.to_markdown().encode(errors="replace"),
            ".html": self.to_html(),
            ".json": storage.json_bytes(self.to_json()),
        }
        if self.picture is not None:
            files[".png"] = self.picture
        paths = [Path(out) / f"{self.name}{ending}" for ending in files]
        for path, data in zip(paths, files.values(), strict=True):
            storage.write_file(path, data)
        return paths

    def to_markdown(self) -> str:
        """Return the document as markdown, which refers to the picture by its file's name."""
        parts = [f"# {self.title}", *self.notes]
        if self.picture is not None:
            parts.append(f"![{self.name}.png]({self.name}.png)")
        for section in self.sections:
            assert isinstance(section.content, Table)
            parts += [f"## {section.title}", section.note, markdown_table(section.content)]
        return "\n\n".join(filter(None, parts)) + "\n"

    def to_html(self) -> bytes:
        """Return the document as one HTML page that holds all it needs."""
        picture = [] if self.picture is None else [Section("", Picture(self.name, self.picture))]
        return render_page(self.title, self.notes, [*picture, *self.sections])

    def to_json(self) -> dict[str, Any]:
        """Return the document as JSON values."""
        tables = []
        for section in self.sections:
            assert isinstance(section.content, Table)
            head, rows = section.content.columns, section.content.rows
            tables.append(
                {"title": section.title, "note": section.note, "head": head, "rows": rows}
            )
        title = {"name": self.name, "title": self.title, "notes": self.notes}
        return {**title, **self.values, "tables": tables}
