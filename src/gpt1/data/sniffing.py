"""What a sample of text shows: a list of texts or a table, its separator, quotes and header."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Sequence
from itertools import islice

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
"""What may separate the fields of a table, by name."""
ESCAPED_QUOTE = "\ue000"
"""Stands for an inner quote that had a backslash before it while a record is parsed."""
SAMPLE_ROWS = 200
_WORDS_OF_A_TEXT = 5  # a header of one column has fewer


def is_header(rows: Sequence[Sequence[str]], names: Collection[str] = ()) -> bool:
    """Tell whether the first of some rows names the columns rather than being data.

    >>> is_header([["text", "label"], ["A fine film", "good"]])
    True
    >>> is_header([["3", "Oil falls, again"], ["1", "Peace talks resume"]])
    False
    """
    first = [field.strip() for field in rows[0]]
    rest = [row for row in rows[1:] if row != rows[0]]  # it may stand between joined files
    if {name.casefold() for name in names} & {field.casefold() for field in first}:
        return True
    if not any(first):
        return False
    for i, name in enumerate(first):
        values = [row[i].strip() for row in rest if i < len(row)]
        if name and (name in values or (_is_number(name) and any(map(_is_number, values)))):
            return False
    return len(first) > 1 or len(first[0].split()) < _WORDS_OF_A_TEXT


def is_doubtful_header(rows: Sequence[Sequence[str]], names: Collection[str] = ()) -> bool:
    """Tell whether the header of a single column could be a text: it has as many words as one."""
    first = rows[0][0].strip()
    if len(rows[0]) > 1 or first.casefold() in names:
        return False
    return " " in first or not any(" " in field.strip() for row in rows[1:] for field in row)


def has_title(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether the first row is a title: one cell that is filled, over a row that is full."""
    if len(rows) < 3 or not rows[0][0].strip() or any(field.strip() for field in rows[0][1:]):
        return False
    return len(rows[0]) == len(rows[1]) > 1 and all(field.strip() for field in rows[1])


def is_json(text: str) -> bool:
    """Tell whether a text is a JSON list of objects, or begins with a line that is an object."""
    text = text.lstrip()
    if text[:1] not in ("{", "["):
        return False
    if text[0] == "[":
        return text[1:].lstrip()[:1] in ("{", '"')
    try:
        return isinstance(json.loads(text.partition("\n")[0]), dict)
    except (ValueError, RecursionError):
        return False


def is_table(text: str, names: Collection[str]) -> bool:
    """Tell whether a text without a name is a table: it has a header, or rows of one width."""
    first, *rest = sample_rows(text, find_delimiter(text, ",")) or [[]]
    known = {name.casefold() for name in names} & {field.strip().casefold() for field in first}
    return bool(known) or (len(first) > 1 and set(map(len, rest)) == {len(first)})


def is_tab_separated(text: str) -> bool:
    """Tell whether a text is a table as spreadsheets save it: every line has as many tabs."""
    widths = [len(row) for row in sample_rows(text, "\t")]
    return len(widths) > 1 and widths[0] > 1 and len(set(widths)) == 1


def is_list_of_texts(text: str) -> bool:
    """Tell a file of one text a line from a document: its lines are short and not broken prose."""
    lines = text.splitlines()
    written = [line.strip() for line in lines if line.strip()]
    if len(written) < 2 or len(written) < 0.9 * len(lines):
        return False  # blank lines are between the paragraphs of a document
    lengths = sorted(map(len, written))
    longest, median = lengths[-1], lengths[len(lengths) // 2]
    ended = sum(line[-1] in ".!?\"'\u2019\u201d)" for line in written) / len(written)
    full = sum(length > 0.75 * longest for length in lengths) / len(written)
    # prose with a line break before a column
    broken = 40 <= longest <= 120 and full > 0.75 and ended < 0.5
    return median <= 1000 and not broken


def find_delimiter(text: str, own: str) -> str:
    """Return what separates the fields: the one that gives all rows the same number, above one."""
    widths: dict[str, int] = {}
    for mark in dict.fromkeys((own, *DELIMITERS.values())):
        first, *rest = [len(row) for row in sample_rows(text, mark)] or [1]
        if first > 1 and (set(rest) <= {first} or set(rest) == {first + 1}):  # R's row names
            widths[mark] = first
    return own if own in widths or not widths else max(widths, key=lambda mark: widths[mark])


def sample_rows(text: str, delimiter: str, space: bool = False) -> list[list[str]]:
    """Return the first records of a sample that are not blank, by the rules of csv."""
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=space)
    try:
        return list(islice(filter(any, reader), SAMPLE_ROWS))
    except csv.Error:  # a field longer than the limit; the reader says so, with its line
        return []


def is_quoted(text: str, delimiter: str) -> bool:
    """Tell whether the quotes in a sample are those of csv: then all its rows have one width."""
    if '"' not in text:
        return False
    for sample in (text, text.replace('\\"', ESCAPED_QUOTE)):
        widths = _strict_widths(sample, delimiter)
        if len(set(widths[1:])) == 1 and widths[1] - widths[0] in (0, 1):
            return True
    return False


def is_escaped(text: str, delimiter: str) -> bool:
    """Tell whether a backslash stands before each inner quote, where others double it."""
    if '\\"' not in text or not _strict_widths(text.replace('\\"', ESCAPED_QUOTE), delimiter):
        return False
    return '""' not in text or not _strict_widths(text, delimiter)


def _strict_widths(text: str, delimiter: str) -> list[int]:
    """Return how many fields each row has by the strict rules of csv, [] if it breaks them."""
    widths: list[int] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            if row:
                widths.append(len(row))
    except csv.Error as error:
        if "unexpected end" not in str(error):  # where the sample ends
            return []
    return widths


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True
