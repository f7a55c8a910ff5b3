"""A row of a table, by the standard names of its columns, and the example that it makes."""

from __future__ import annotations

import ast
import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpt1.data.lines import Row, no_column
from gpt1.data.tables import text_fault
from gpt1.errors import DataError
from gpt1.tasks.spec import Example


@dataclass(frozen=True)
class Fields:
    """A row of a table by the standard names of its columns; `columns` maps them to the file's."""

    row: Row
    columns: Mapping[str, str]
    where: str

    def __contains__(self, name: str) -> bool:
        return self.columns.get(name, name) in self.row

    def get(self, name: str) -> Any:
        """Return a field, None if the row has no such column."""
        return self.row.get(self.columns.get(name, name))

    def __getitem__(self, name: str) -> Any:
        if name not in self:  # in jsonl each row has columns of its own
            raise no_column(self.where, self.columns.get(name, name), list(self.row))
        return self.get(name)

    def items(self, name: str, separator: str | None = None) -> list[Any]:
        """Return a field that is a list, JSON, or text with separators (None: blanks).

        An item is a str, a number or None. Raises DataError.
        """
        value = self[name]
        if isinstance(value, np.ndarray):
            value = value.tolist()
        elif isinstance(value, str):
            value = self._parse_list(name, value.strip(), separator)
        if isinstance(value, list) and all(isinstance(i, str | int | float | None) for i in value):
            return value
        raise DataError(f"{self.where}: {name} is {str(value)[:40]!r}; it must be a list of texts.")

    def _parse_list(self, name: str, text: str, separator: str | None) -> Any:
        if not (text.startswith("[") and text.endswith("]")):
            return text.split(separator)
        for parse in (json.loads, ast.literal_eval):  # pandas writes lists as Python does
            with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
                return parse(text)
        raise DataError(
            f"{self.where}: {name} is {text[:40]!r}, which is no JSON list. Correct the row."
        )


def make_example(texts: Sequence[object], question: object = "") -> Example | str:
    """Return an unlabelled example of texts, or why one of them cannot be used, as a str."""
    for text in texts:
        if fault := text_fault(text):
            return fault
    if question and (fault := text_fault(question)):
        return f"question: {fault}"
    return Example(tuple(map(str, texts)), None, str(question))
