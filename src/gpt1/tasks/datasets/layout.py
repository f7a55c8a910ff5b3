"""From a row of a data set to its examples: columns, label, and what makes a row unusable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpt1.data.lines import Row
from gpt1.data.tables import text_fault
from gpt1.errors import DataError
from gpt1.tasks.kinds import Task
from gpt1.tasks.spec import Example


@dataclass(frozen=True)
class Layout:
    """The columns of a file that make an example.

    texts: a column for each text, or several to be joined by spaces; one that holds a list gives
    several texts. lists: columns that hold a list, with one value for each of several examples.
    """

    texts: tuple[str | tuple[str, ...], ...]
    label: str = "label"
    question: str = ""
    lists: tuple[str, ...] = ()

    def columns(self, labelled: bool) -> list[str]:
        """Return the columns that a file of this layout must have."""
        names = [n for text in self.texts for n in ([text] if isinstance(text, str) else text)]
        names += [self.question] * bool(self.question) + [self.label] * labelled
        return list(dict.fromkeys(names))


class Unusable(Exception):
    """A row makes no example; the message is the reason."""


def split_row(row: Row, layout: Layout) -> list[Row]:
    """Return the row, or the several that its lists make. Raises Unusable."""
    lists = [name for name in layout.lists if name in row]
    if not lists:
        return [row]
    if not all(isinstance(row[name], list) for name in lists):
        raise Unusable("not a list")
    counts = {len(row[name]) for name in lists}
    if len(counts) != 1:
        raise Unusable("lists of different lengths")
    if counts == {0}:
        raise Unusable("no question")
    return [row | {name: row[name][i] for name in lists} for i in range(counts.pop())]


def read_label(
    task: Task, spelled: Mapping[str, int], value: object, location: str
) -> int | float | None:
    """Return the label that a field holds, None for no gold label. Raises DataError."""
    text = "" if value is None else str(value).strip()
    if text in ("", "-") or (value in (-1, -1.0) and "-1" not in spelled):
        return None
    if not spelled:
        return float(task.parse_label(text, location))
    if text in spelled:
        return spelled[text]
    # the hub's files hold the class's index where the original ones hold its name
    indices = range(len(set(spelled.values())))
    if isinstance(value, int) and value in indices and not any(s.isdigit() for s in spelled):
        return value
    names = ", ".join(spelled)
    raise DataError(f"{location}: the label is {text[:40]!r}; it must be one of {names}")


def make_example(row: Row, layout: Layout, task: Task, label: int | float | None) -> Example:
    """Return the example of a row. Raises Unusable."""
    texts: list[Any] = []
    for column in layout.texts:
        if isinstance(column, tuple):
            texts.append(" ".join(_text(row[name]) for name in column))
        else:
            texts += row[column] if isinstance(row[column], list) else [row[column]]
    if len(texts) != task.num_texts:
        raise Unusable("wrong number of answers")
    texts = list(map(_text, texts))
    return Example(tuple(texts), label, _text(row[layout.question]) if layout.question else "")


def _text(value: object) -> str:
    if fault := text_fault(value):
        raise Unusable(fault)
    return str(value)
