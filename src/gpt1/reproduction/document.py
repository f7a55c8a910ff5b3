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

    def tables(self) -> list[tuple[Section, Table]]:
        """Return the sections with their tables."""
        return [(s, s.content) for s in self.sections if isinstance(s.content, Table)]

    def write(self, out: Path | str) -> list[Path]:
        """Write the document's files into a folder; return their paths. Raises StorageError."""
        files = {
            f"{self.name}.md": self.to_markdown().encode(errors="replace"),
            f"{self.name}.html": self.to_html(),
            f"{self.name}.json": storage.json_bytes(self.to_json()),
        }
        if self.picture is not None:
            files[f"{self.name}.png"] = self.picture
        for name, data in files.items():
            storage.write_file(Path(out) / name, data)
        return [Path(out) / name for name in files]

    def to_markdown(self) -> str:
        """Return the document as markdown, which refers to the picture by its file's name."""
        parts = [f"# {self.title}", *self.notes]
        if self.picture is not None:
            parts.append(f"![{self.name}.png]({self.name}.png)")
        for section, table in self.tables():
            note = [section.note] if section.note else []
            parts += [f"## {section.title}", *note, markdown_table(table)]
        return "\n\n".join(parts) + "\n"

    def to_html(self) -> bytes:
        """Return the document as one HTML page that holds all it needs."""
        sections = list(self.sections)
        if self.picture is not None:
            sections.insert(0, Section("", Picture(self.name, self.picture)))
        return render_page(self.title, self.notes, sections)

    def to_json(self) -> dict[str, Any]:
        """Return the document as JSON values."""
        return {
            "name": self.name,
            "title": self.title,
            "notes": list(self.notes),
            **self.values,
            "tables": [
                {
                    "title": section.title,
                    "note": section.note,
                    "head": list(table.columns),
                    "rows": [list(row) for row in table.rows],
                }
                for section, table in self.tables()
            ],
            "pictures": [] if self.picture is None else [f"{self.name}.png"],
        }
