"""What a report shows, as data: sections of tables, charts and pictures, below one another.

How they look on a page, on the terminal and as markdown is decided in the other modules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

ABSENT = "-"
"""Stands in a cell where there is no figure."""


@dataclass(frozen=True)
class Card:
    """One figure of the summary that a page begins with; `detail` is its interval, say."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Table:
    """Cells as text, below the names of the columns.

    layout: "figures" aligns all columns but the first to the right; "texts" does so too, but for
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
    """Points joined by a line: `color` counts the palette's colors, `band` is (low, high).

    style: "faint" lies behind the others; "dots" has no line.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: int = 0
    style: Literal["solid", "faint", "dots", "dashed", "dotted", "dashdot"] = "solid"
    marker: bool = False
    band: tuple[Sequence[float], Sequence[float]] | None = None


@dataclass(frozen=True)
class Level:
    """A horizontal line that curves are compared with."""

    value: float
    label: str


@dataclass(frozen=True)
class LineChart:
    """Curves over one axis.

    events: vertical lines, named `event_label` in the legend. from_zero: the vertical axis begins
    at 0. x_names: what places on the horizontal axis are called. diagonal: a square with a line on
    which x and y are equal.
    """

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    levels: Sequence[Level] = ()
    events: Sequence[float] = ()
    event_label: str = ""
    log_x: bool = False
    log_y: bool = False
    from_zero: bool = False
    x_names: Mapping[float, str] | None = None
    diagonal: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture that is drawn already, as PNG."""

    title: str
    png: bytes


@dataclass(frozen=True)
class Section:
    """A heading, what it shows, and a sentence or two on how to read it.

    Charts, and consecutive sections that are `narrow`, stand side by side where there is room.
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
