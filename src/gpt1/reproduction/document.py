"""A reproduced table or figure: sections of tables, written as markdown, as HTML and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpt1 import storage
from gpt1.escaping import escape_markdown
from gpt1.reports.page import render_page
from gpt1.reports.sections import Picture, Section
from gpt1.reports.tables import markdown_table


@dataclass(frozen=True)
class Document:
    """Notes, tables and perhaps a picture (PNG); `values` is what its JSON holds besides."""

    name: str
    title: str
    notes: Sequence[str]
    sections: Sequence[Section]
    values: Mapping[str, Any] = field(default_factory=dict)
    picture: bytes | None = None

    def write(self, out: Path | str) -> list[Path]:
        """Write NAME.md, .html, .json and .png into a folder; return the paths.

        Raises StorageError.
        """
        files = {
            "md": self.to_markdown().encode(errors="replace"),
            "html": self.to_html(),
            "json": storage.json_bytes(self.to_json()),
        }
        if self.picture is not None:
            files["png"] = self.picture
        paths = {Path(out) / f"{self.name}.{ending}": data for ending, data in files.items()}
        for path, data in paths.items():
            storage.update_file(path, data)
        return list(paths)

    def to_markdown(self) -> str:
        """Return the document as markdown, which refers to the picture by its file name."""
        parts = [f"# {escape_markdown(self.title)}", *map(escape_markdown, self.notes)]
        if self.picture is not None:
            parts.append(f"![{self.name}.png]({self.name}.png)")
        for section in self.sections:
            parts.append(f"## {escape_markdown(section.title)}")
            parts += [escape_markdown(section.note), markdown_table(section.table)]
        return "\n\n".join(filter(None, parts)) + "\n"

    def to_html(self) -> bytes:
        """Return the document as one HTML page, the picture included."""
        picture = [] if self.picture is None else [Section("", Picture(self.name, self.picture))]
        return render_page(self.title, self.notes, [*picture, *self.sections])

    def to_json(self) -> dict[str, Any]:
        """Return the document as JSON values."""
        tables = [
            {"title": s.title, "note": s.note, "head": s.table.columns, "rows": s.table.rows}
            for s in self.sections
        ]
        head = {"name": self.name, "title": self.title, "notes": self.notes}
        return {**head, **self.values, "tables": tables}
