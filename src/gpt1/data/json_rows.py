"""The rows of a JSON file: an object a line, or one list or one object that holds them all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from gpt1.data.lines import BLANK, ChooseColumns, Lines, Row, RowIterator, no_column
from gpt1.errors import DataError

_MAX_SIZE = 1 << 30  # characters of a file that is read whole


def read_json(lines: Lines, choose: ChooseColumns) -> RowIterator:
    """Yield the rows of a JSON file. Raises DataError."""
    chosen, wanted = False, None
    for line, row in _rows(lines):
        if isinstance(row, str):
            yield line, row
            continue
        location = f"{lines.path}:{line}"
        if not chosen:
            chosen, wanted = True, choose(location, list(row))
        for name in wanted or ():
            if name not in row:
                raise no_column(location, name, list(row))
        yield line, {name: row[name] for name in wanted or row}


def read_json_row(lines: Lines, choose: ChooseColumns) -> RowIterator:
    """Yield a file that is one JSON object as one row. Raises DataError."""
    row = _object(_parse("".join(lines), str(lines.path)), str(lines.path))
    yield 1, {name: row[name] for name in choose(str(lines.path), list(row)) or row}


def _rows(lines: Lines) -> RowIterator:
    numbered = iter(lines)
    for line in numbered:
        if not line.strip():
            yield lines.row, BLANK
        elif lines.number == lines.row and _begins_whole(line):
            yield from _whole_file(lines, line, numbered)
            return
        else:
            location = f"{lines.path}:{lines.row}"
            yield lines.row, _object(_parse(line, location), location)
        lines.end_row()


def _begins_whole(line: str) -> bool:
    """Tell whether a line begins a list, or an object that is not a row of its own."""
    if line.lstrip()[0] == "[" or line.strip() == "{":
        return True
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and _held_rows(value) is not None


def _whole_file(lines: Lines, first: str, rest: Iterator[str]) -> RowIterator:
    """Yield the rows of what is left of a file; a row's number stands for its line."""
    parts, size = [first], len(first)
    for line in rest:
        lines.end_row()
        parts.append(line)
        size += len(line)
        if size > _MAX_SIZE:
            raise DataError(
                f"{lines.path} is one JSON value of more than {_MAX_SIZE >> 30} GiB. Write it as "
                f"JSON lines, one object a line."
            )
    value = _parse("".join(parts), str(lines.path))
    if isinstance(value, dict):
        value = _held_rows(value) or [value]
    for number, row in enumerate(value, 1):
        if isinstance(row, str):  # a list of texts
            row = {"text": row}
        yield number, _object(row, f"{lines.path}: item {number}")


def _held_rows(value: Row) -> list[Row] | None:
    """Return the rows that an object holds, None if it is a row itself.

    They are a list beside nothing but other objects, {"data": [...]}, or columns as pandas writes
    them, {"text": {"0": ...}, ...}.
    """
    lists = [item for item in value.values() if isinstance(item, list)]
    columns = [item for item in value.values() if isinstance(item, dict) and item]
    if len(lists) == 1 and len(lists) + len(columns) == len(value):
        rows = lists[0]
        return rows if rows and all(isinstance(row, dict) for row in rows) else None
    if not columns or len(columns) != len(value):
        return None
    keys = columns[0].keys()
    if any(column.keys() != keys for column in columns):
        return None
    return [{name: column[key] for name, column in value.items()} for key in keys]


def _parse(text: str, location: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{location}: not JSON ({error}). A row is one JSON object on a line of its own, or an "
            f"object in one list (pandas: to_json(..., orient='records'))."
        ) from None


def _object(value: Any, location: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(
            f'{location}: {json.dumps(value)[:40]} is not a JSON object, e.g. {{"text": "..."}}.'
        )
    return value
