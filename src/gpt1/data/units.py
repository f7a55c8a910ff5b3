"""Files in units of rows, and what is computed from each: here, or on Ray (`data.ray_data`).

Units are cut by rows and characters alone, and only rows of a unit are ever computed together. What
a row gives is therefore the same to the bit, whatever computes it and whatever the file's length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Protocol, TypeVar

from gpt1.data.tables import RowCounts

ROWS = 1024
"""The most rows of a unit."""
CHARACTERS = 1 << 22
"""The characters that end a unit, so that long texts do not fill the memory."""

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Table(Protocol[R_co]):
    """Rows that can be read again and again; `counts` are complete once they have been read."""

    @property
    def counts(self) -> RowCounts:
        """The counts of the current iteration."""

    def __iter__(self) -> Iterator[R_co]: ...


class Units(Generic[R]):
    """The rows of a table in units; `length` says how many characters a row has."""

    def __init__(self, table: Table[R], length: Callable[[R], int]) -> None:
        self._table, self._length = table, length
        self.counts = table.counts

    def __iter__(self) -> Iterator[list[R]]:
        unit: list[R] = []
        characters = 0
        for row in self._table:
            unit.append(row)
            characters += self._length(row)
            if len(unit) == ROWS or characters >= CHARACTERS:
                yield unit
                unit, characters = [], 0
        if unit:
            yield unit
        self.counts = self._table.counts


def compute(units: Units[R], work: Callable[[list[R]], Any]) -> Iterator[Any]:
    """Yield what `work` makes of each unit, in order."""
    return map(work, units)


class Listed(Generic[R]):
    """Rows that are in memory, as a table."""

    def __init__(self, rows: Iterable[R], counts: RowCounts) -> None:
        self.rows, self.counts = list(rows), counts

    def __iter__(self) -> Iterator[R]:
        return iter(self.rows)
