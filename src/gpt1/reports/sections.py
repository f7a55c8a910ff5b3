"""What a page shows, as data: sections of tables, charts and examples. How is `reports`' affair."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column is left-aligned, the others are figures."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Matrix:
    """Confusions: counts[i][j] is how often the right `names[i]` was predicted as `names[j]`."""

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Bar:
    """A bar from `low` to `high` on the x axis; `label` is shown on hovering."""

    low: float
    high: float
    height: float
    label: str = ""


@dataclass(frozen=True)
class Bars:
    """Bars in the unit square, with a dashed diagonal on which x and y are equal."""

    bars: tuple[Bar, ...]
    x_label: str
    y_label: str


@dataclass(frozen=True)
class Scatter:
    """Points (x, y) with a dashed diagonal on which both are equal."""

    points: tuple[tuple[float, float], ...]
    x_label: str
    y_label: str


@dataclass(frozen=True)
class Examples:
    """Rows of a data set: short cells under `head`, then the named texts ("" needs no name)."""

    head: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[tuple[str, str], ...]], ...]


@dataclass(frozen=True)
class Section:
    """A heading, what it shows, and a sentence or two on how to read it.

    Consecutive sections that are `narrow` stand side by side.
    """

    title: str
    content: Table | Matrix | Bars | Scatter | Examples
    note: str = ""
    narrow: bool = False
