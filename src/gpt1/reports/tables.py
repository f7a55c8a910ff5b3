"""A table on the terminal, as plain text, or as markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from gpt1.reports.sections import Section, Table

_GAP = "   "


def print_table(title: str, table: Table, note: str = "", console: Console | None = None) -> None:
    """Print a table: with lines on a terminal, elsewhere as text in columns that never wrap."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        lines = [title, format_table(table), *([note] if note else [])]
        console.print("\n".join(lines), soft_wrap=True, markup=False)
        return
    shown = RichTable(title=escape(title), title_justify="left", caption_justify="left")
    if note:
        shown.caption = escape(note)
    for number, name in enumerate(table.columns):
        shown.add_column(escape(name), justify="right" if number else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*map(escape, row))
    console.print(shown)


def print_section(section: Section, console: Console | None = None) -> None:
    """Print a section's table with its title and note."""
    assert isinstance(section.content, Table)
    print_table(section.title, section.content, section.note, console)


def format_table(table: Table) -> str:
    """Return a table as text, its columns aligned.

    >>> print(format_table(Table(("loss", "one"), [("best", "1.5"), ("last", "12.5")])))
    loss    one
    best    1.5
    last   12.5
    """
    rows = [table.columns, *table.rows]
    widths = [max(map(cell_len, cells)) for cells in zip(*rows, strict=True)]
    return "\n".join(_GAP.join(_aligned(row, widths)).rstrip() for row in rows)


def markdown_table(table: Table) -> str:
    """Return a table as markdown.

    >>> print(markdown_table(Table(("", "x|y"), [("z", "1")])))
    |  | x\\|y |
    | --- | ---: |
    | z | 1 |
    """
    lines = [table.columns, ["---", *["---:"] * (len(table.columns) - 1)], *table.rows]
    escaped = [[cell.replace("|", "\\|") for cell in cells] for cells in lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in escaped)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Pad the first cell on the right, the others on the left."""
    cells = []
    for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
        space = " " * (width - cell_len(cell))
        cells.append(space + cell if number else cell + space)
    return cells
