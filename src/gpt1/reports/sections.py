"""What a report shows, as data: sections of tables, charts and examples.

A page is a list of sections, below one another; the terminal and markdown show the same tables.
How they look is decided in the other modules of `reports`.
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

    layout: "figures" aligns all columns but the first to the right; "texts" does so too, but for
    the last one, which wraps; "settings" aligns all to the left. marked: rows that stand out.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    layout: Literal["figures", "texts", "settings"] = "figures"
    marked: Sequence[int] = ()


@dataclass(frozen=True)
class Card:
    """One figure of a summary; `detail` stands below it: its interval, say."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Cards:
    """The figures that a page begins with."""

    cards: Sequence[Card]


@dataclass(frozen=True)
class Matrix:
    """Confusions: counts[i][j] is how often the right `names[i]` was predicted as `names[j]`."""

    names: Sequence[str]
    counts: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Examples:
    """Rows of a data set: cells below `columns`, then the texts as (name, text).

    A text named "" needs no name; the last of `columns` is that of the texts.
    """

    columns: Sequence[str]
    rows: Sequence[tuple[Sequence[str], Sequence[tuple[str, str]]]]


@dataclass(frozen=True)
class Bar:
    """A bar from `low` to `high` on the x axis; `label` says its figures in words."""

    low: float
    high: float
    height: float
    label: str = ""


@dataclass(frozen=True)
class Bars:
    """Bars in the unit square, with a dashed diagonal on which x and y are equal."""

    bars: Sequence[Bar]
    x_label: str
    y_label: str


@dataclass(frozen=True)
class Scatter:
    """Points (x, y), with a dashed diagonal on which both are equal."""

    points: Sequence[tuple[float, float]]
    x_label: str
    y_label: str


@dataclass(frozen=True)
class Curve:
    """Points joined by a line: `color` counts the palette's colors, `band` is (low, high).

    style: "faint" lies behind the others, "points" is dashed and has a marker at each point.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: int = 0
    style: Literal["solid", "faint", "points", "dashed", "dotted", "dashdot"] = "solid"
    marker: bool = False
    band: tuple[Sequence[float], Sequence[float]] | None = None


@dataclass(frozen=True)
class Level:
    """A horizontal line that curves are compared with; `inline` writes its label on the line."""

    value: float
    label: str
    inline: bool = False


@dataclass(frozen=True)
class LineChart:
    """Curves over one axis.

    events: vertical lines, named `event_label` in the legend. from_zero: the vertical axis begins
    at 0. x_names: what places on the horizontal axis are called. legend: where it stands in a PNG.
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
    legend: Literal["inside", "below"] = "inside"


@dataclass(frozen=True)
class Picture:
    """A picture that is drawn already, as PNG."""

    title: str
    png: bytes


Chart = Bars | Scatter | LineChart | Picture


@dataclass(frozen=True)
class Charts:
    """Charts beside one another, as many as there is room for."""

    charts: Sequence[LineChart]


@dataclass(frozen=True)
class Columns:
    """Sections beside one another where there is room."""

    sections: Sequence[Section]


@dataclass(frozen=True)
class Section:
    """A heading, what it shows, and a sentence or two on how to read it.

    Consecutive sections that are `narrow` stand side by side.
    """

    title: str
    content: Table | Cards | Matrix | Examples | Chart | Charts | Columns | None
    note: str = ""
    narrow: bool = False
