"""A table on the terminal, as plain text, markdown or HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape as escape_html

from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table as RichTable

from gpt1.escaping import escape_markdown, printable
from gpt1.reports.console import Console
from gpt1.reports.sections import Table


def print_table(title: str, table: Table, note: str = "", console: Console | None = None) -> None:
    """Print a table: with lines on a terminal, elsewhere as aligned text that never wraps."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        lines = [text for text in (title, format_table(table), note) if text]
        console.print("\n".join(lines), soft_wrap=True, markup=False)
        return
    if not _fits(table, console.width):
        _print_rows(title, table, note, console)
        return
    shown = RichTable(
        title=escape(printable(title)) or None,
        caption=escape(printable(note)) or None,
        title_justify="left",
        caption_justify="left",
        show_header=bool(table.columns),
    )
    widths = iter(_longest_words(table))
    for name, right in zip(table.columns or table.rows[0], _align_right(table), strict=True):
        shown.add_column(
            escape(printable(name)),
            justify="right" if right else "left",
            overflow="fold",
            min_width=next(widths),
        )
    for row in table.rows:
        shown.add_row(*map(escape, _one_line(row)))
    console.print(shown)


def _longest_words(table: Table) -> list[int]:
    """Return how wide each column must be so that no word is split."""
    rows = [_one_line(row) for row in (table.columns, *table.rows) if row]
    columns = zip(*rows, strict=True)
    return [max(cell_len(w) for cell in column for w in cell.split() or [""]) for column in columns]


def _fits(table: Table, width: int) -> bool:
    words = _longest_words(table)
    return sum(words) + 3 * len(words) + 1 <= width


def _print_rows(title: str, table: Table, note: str, console: Console) -> None:
    """Print a table that is too wide for the terminal: each row as a line for each of its cells."""
    blocks = [title] if title else []
    for row in map(_one_line, table.rows):
        names = [printable(name) for name in table.columns or [""] * len(row)]
        lines = [f"{name}: {cell}" if name else cell for name, cell in zip(names, row, strict=True)]
        blocks.append("\n  ".join(lines))
    console.print("\n".join([*blocks, *filter(None, [note])]), soft_wrap=True, markup=False)


def format_table(table: Table) -> str:
    """Return a table as text, its columns aligned.

    >>> print(format_table(Table(("loss", "one"), [("best", "1.5"), ("last", "12.5")])))
    loss    one
    best    1.5
    last   12.5
    """
    rows = [_one_line(row) for row in (table.columns, *table.rows) if row]
    widths = [max(map(cell_len, cells)) for cells in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for cell, width, right in zip(row, widths, _align_right(table), strict=True):
            space = " " * (width - cell_len(cell))
            cells.append(space + cell if right else cell + space)
        lines.append("   ".join(cells).rstrip())
    return "\n".join(lines)


def markdown_table(table: Table) -> str:
    r"""Return a table as markdown.

    >>> print(markdown_table(Table(("", "x|y"), [("z", "1")])))
    |  | x\|y |
    | --- | ---: |
    | z | 1 |
    """
    columns, *rows = (
        [escape_markdown(cell) for cell in row] for row in (table.columns, *table.rows)
    )
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def html_table(table: Table) -> str:
    """Return a table as HTML, its cells escaped.

    >>> html_table(Table(("a",), [("<b>",)]))
    '<table><tr><th>a</th></tr><tr><td>&lt;b&gt;</td></tr></table>'
    """
    lines = [("th", table.columns), *(("td", row) for row in table.rows)]
    rows = ["".join(f"<{tag}>{escape_html(c)}</{tag}>" for c in row) for tag, row in lines]
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _one_line(row: Sequence[str]) -> list[str]:
    return [printable(cell).replace("\n", "\\n") for cell in row]


def _align_right(table: Table) -> list[bool]:
    count = len(table.columns or table.rows[0])
    if table.layout == "settings":
        return [False] * count
    return [False, *[True] * (count - 2), table.layout == "figures"][:count]
