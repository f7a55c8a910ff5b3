"""A row of a table, by the standard names of its columns, and the example that it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpt1.data.formats import Row, no_column
from gpt1.data.tables import text_fault
from gpt1.tasks.spec import Example


@dataclass(frozen=True)
class Fields:
    """A row of a table by the standard names of its columns; `columns` maps them to the file's."""

    row: Row
    columns: Mapping[str, str]
    place: str

    def __contains__(self, name: str) -> bool:
        return self.columns.get(name, name) in self.row

    def get(self, name: str) -> Any:
        """Return a field, None if the row has no such column."""
        return self.row.get(self.columns.get(name, name))

    def __getitem__(self, name: str) -> Any:
        if name not in self:  # in jsonl each row has columns of its own
            raise no_column(self.place, self.columns.get(name, name), list(self.row))
        return self.get(name)


def make_example(texts: Sequence[object], question: object = "") -> Example | str:
    """Return an unlabelled example of texts; a str is why one of them cannot be used."""
    for text in texts:
        if fault := text_fault(text):
            return fault
    if question and (fault := text_fault(question)):
        return f"question: {fault}"
    return Example(tuple(map(str, texts)), None, str(question))
