"""What a report shows, as data: sections of tables, charts and pictures, below one another.

The other modules decide how they look on a page, on the terminal and as markdown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

ABSENT = "-"
"""Stands in a cell where there is no figure."""


@dataclass(frozen=True)
class Table:
    """Cells as text, below the names of the columns.

    layout: "figures" aligns all columns but the first to the right; "texts" does too, except for
    the last one, which wraps; "settings" aligns all to the left. marked: rows that stand out.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    layout: Literal["figures", "texts", "settings"] = "figures"
    marked: Sequence[int] = ()


@dataclass(frozen=True)
class Matrix:
    """Confusions: counts[i][j] is how often the right `names[i]` was predicted as `names[j]`."""

    names: Sequence[str]
    counts: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Curve:
    """Points joined by a line, with a shaded `band` (low, high); `color` indexes the palette.

    style: "faint" lines lie behind the others; "dots" has no line.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: int = 0
    style: Literal["solid", "faint", "dots", "dashed", "dotted", "dashdot"] = "solid"
    marker: bool = False
    band: tuple[Sequence[float], Sequence[float]] | None = None
    notes: Sequence[str] = ()
    """A text beside each point."""


@dataclass(frozen=True)
class Level:
    """A horizontal line to compare curves with."""

    value: float
    label: str


@dataclass(frozen=True)
class LineChart:
    """Curves over one axis.

    skipped: vertical lines at the updates that were skipped. from_zero: the vertical axis begins at
    0. x_names: labels on the horizontal axis. diagonal: a square with the line y = x.
    """

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    levels: Sequence[Level] = ()
    skipped: Sequence[float] = ()
    log_x: bool = False
    log_y: bool = False
    from_zero: bool = False
    x_names: Mapping[float, str] | None = None
    diagonal: bool = False


@dataclass(frozen=True)
class BarChart:
    """Groups of bars: bars[label][i] is the height over names[i]."""

    title: str
    y_label: str
    names: Sequence[str]
    bars: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Picture:
    """A picture as PNG."""

    title: str
    png: bytes


@dataclass(frozen=True)
class Section:
    """A heading, what it shows, and a note on how to read it.

    Charts, and consecutive sections that are `narrow`, stand side by side if there is room.
    """

    title: str
    content: Table | Matrix | Picture | Sequence[LineChart] | None
    note: str = ""
    narrow: bool = False

    @property
    def table(self) -> Table:
        """The content of a section that shows a table."""
        assert isinstance(self.content, Table)
        return self.content
