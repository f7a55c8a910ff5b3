"""What a person holds -> the texts in it: a list, numpy, pandas, pyarrow, or the name of a file.

The objects of pandas, polars, pyarrow and datasets are recognised by what they can do; none of
these libraries is imported.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from gpt1.data.sources import HUB
from gpt1.data.tables import Texts, guess_text_column, label_column, text_fault
from gpt1.errors import InputError, did_you_mean

_LISTED = 8  # rows in a message
Read = TypeVar("Read")


def texts_of(data: Any, name: str = "texts", column: str | None = None) -> list[str]:
    """Return the texts in `data`, each a str; they may be empty.

    data: a list or another iterable, an array (n,) or (n, 1), a column or table of pandas or
    pyarrow, a list of dicts, or the path of a file. `column` names one column of a table or file;
    it may be left out where there is only one, or one called text and none of labels. Raises
    InputError, which calls the data `name` and says which row is no text; DataError for a file.
    """
    if isinstance(data, list | tuple) and data and all(map(_names_text_file, data)):
        rows = _read_files(data, name, column)
    else:
        rows = column_of(data, name, column)
    return read_each(_check_text, rows, name)


def column_of(data: Any, name: str, column: str | None = None) -> list[Any]:
    """Return the items of `data`, one for each row; see `texts_of`. Raises InputError."""
    if isinstance(data, os.PathLike) or (isinstance(data, str) and _names_file(data)):
        return _read_files([data], name, column)
    names = column_names(data)
    if names is not None:
        index = _choose(names, name, column)
        return to_list(_columns(data)[index], name)
    items = to_list(data, name)
    if items and all(isinstance(item, Mapping) for item in items):
        names = list(dict.fromkeys(key for item in items for key in item))
        key = names[_choose(names, name, column)]
        return [item.get(key) for item in items]
    if column is not None:
        raise InputError(
            f"column is {column!r}; {name} is {short(data)}, which has no columns. Leave it out."
        )
    shape: tuple[int, ...] = getattr(data, "shape", ())
    if len(shape) == 2 and shape[1] != 1:
        raise InputError(
            f"{name}[0] has {shape[1]} columns, as all rows have; give the one with the texts "
            f"alone, e.g. {name}[:, 0]."
        )
    if len(shape) == 2 or all(_is_single(item) for item in items):
        items = [item[0] for item in items]
    return items


def to_list(data: Any, name: str) -> list[Any]:
    """Return the rows of a list, an array, a column, or a table (then lists). Raises InputError."""
    if column_names(data) is not None:
        columns = [to_list(column, name) for column in _columns(data)]
        return [list(row) for row in zip(*columns, strict=True)]
    for method in ("to_pylist", "to_numpy", "__array__"):
        if hasattr(data, method) and not isinstance(data, type | np.ndarray):
            data = getattr(data, method)()
            break
    if isinstance(data, np.ndarray):  # also a masked array, whose gaps become None
        data = data.tolist()
    wrong = isinstance(data, str | bytes | os.PathLike | Mapping | set | frozenset)
    wrong = wrong or hasattr(data, "read") or hasattr(data, "toarray")  # a file, sparse numbers
    if wrong or not isinstance(data, Iterable):
        if isinstance(data, str):
            hint = "Put a single row into a list; no file has this name."
        elif hasattr(data, "toarray"):
            hint = "It is a sparse matrix, which holds numbers."
        elif hasattr(data, "read"):
            hint = "Give the path of the file."
        else:
            hint = "Put a single row into a list; make a list of anything else."
        raise InputError(
            f"{name} is {short(data)}; it must be a list, an array or a column of rows. {hint}"
        )
    return list(data)


def column_names(data: Any) -> list[Any] | None:
    """Return the columns of a table of pandas, polars, pyarrow or datasets; None for what is none.

    >>> column_names(["a text"]) is None
    True
    """
    names = getattr(data, "column_names", None)
    if names is None and len(getattr(data, "shape", ())) == 2:
        names = getattr(data, "columns", None)
    return None if names is None else list(names)


def read_each(read: Callable[[Any, str], Read], items: Sequence[Any], name: str) -> list[Read]:
    """Return `read(item, "name[i]")` of each item. Raises InputError that names all bad rows."""
    values: list[Read] = []
    faults: dict[str, InputError] = {}
    for i, item in enumerate(items):
        try:
            values.append(read(item, f"{name}[{i}]"))
        except InputError as error:
            faults[f"{name}[{i}]"] = error
    if faults:
        _, *others = faults
        raise InputError(f"{next(iter(faults.values()))}{list_rows(others, ' Likewise ')}")
    return values


def list_rows(rows: Sequence[str], start: str = "") -> str:
    """Return the names of rows for a message, after `start`; "" if there are none.

    >>> list_rows(["X[1]", "X[4]"], " Likewise ")
    ' Likewise X[1], X[4].'
    """
    if not rows:
        return ""
    more = f" and {len(rows) - _LISTED:,} more" if len(rows) > _LISTED else ""
    return f"{start}{', '.join(rows[:_LISTED])}{more}."


def short(value: Any) -> str:
    """Return how an error shows a value."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_text(value: Any, name: str) -> str:
    fault = text_fault(value)
    if not isinstance(value, str):
        raise InputError(
            f"{name} is {short(value)}; it must be a text (str). Correct it or leave it out."
        )
    if fault not in (None, "empty"):
        raise InputError(f"{name} is {short(value)}, with a {fault}. Correct it or leave it out.")
    return str(value)


def _names_file(value: Any) -> bool:
    """Return whether a value is a path, or the name of a file that is there."""
    if isinstance(value, str):
        return value.startswith(HUB) or os.path.exists(value)
    return isinstance(value, os.PathLike)


def _names_text_file(value: Any) -> bool:
    """Return whether a value in a list is the name of a file, and hardly a text."""
    return _names_file(value) and bool(os.path.splitext(value)[1] or str(value).startswith(HUB))


def _is_single(item: Any) -> bool:
    """Return whether a row is a text in a list of its own."""
    return isinstance(item, list | tuple) and len(item) == 1 and isinstance(item[0], str)


def _read_files(data: Sequence[Any], name: str, column: str | None) -> list[str]:
    """Return the texts of files, and say so where their names could have been meant as texts."""
    files = [os.fspath(item) for item in data]
    rows = Texts(files, column)
    texts = list(rows)
    if column is None and (labels := label_column(rows.present)):
        text = guess_text_column(rows.present)
        raise InputError(
            f"{files[0]} has the columns {', '.join(rows.present)[:200]}. To learn to write such "
            f"texts, give column={text!r}; to learn {labels!r}, use gpt1.TextClassifier or gpt1 "
            f"finetune --task."
        )
    notes = list(rows.counts.notes)
    if any(isinstance(item, str) for item in data):
        notes.insert(0, f"{name} is read from the file {', '.join(files[:3])}")
    if notes or rows.counts.rejected:
        warnings.warn("; ".join([*notes, str(rows.counts)]), stacklevel=5)
    return texts


def _columns(data: Any) -> list[Any]:
    """Return the columns of a table."""
    names = column_names(data) or []
    if hasattr(data, "iloc"):  # pandas, where names may occur twice
        return [data.iloc[:, i] for i in range(len(names))]
    return [data[name] for name in names]


def _choose(names: Sequence[Any], name: str, column: str | None) -> int:
    """Return the index of the column with the texts. Raises InputError."""
    present = ", ".join(map(str, names))[:200]
    if column is not None:
        if names.count(column) == 1:
            return names.index(column)
        what = "two columns" if column in names else "no column"
        nearest = "" if column in names else did_you_mean(column, map(str, names))
        raise InputError(f"{name} has {what} {column!r}; there are {present}.{nearest}")
    if len(names) == 1:
        return 0
    if not names:
        raise InputError(f"{name} is a table without columns; give one with a column of texts.")
    labels = label_column(names)
    if names.count("text") == 1 and not labels:
        return names.index("text")
    usual = "text" if "text" in names else names[-1]
    more = ""
    if name == "texts":
        more = f" (in finetune: column={usual!r})"
        more += f", or learn {labels!r} with gpt1.TextClassifier" if labels else ""
    raise InputError(
        f"{name} has the columns {present}; give the one with the texts alone, e.g. "
        f"{name}[{usual!r}]{more}."
    )
