"""The rows and labels that a user gives -> texts and numbers; a fault names its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt1.data.tables import text_fault
from gpt1.errors import InputError
from gpt1.estimators.scikit import column_or_1d
from gpt1.tasks.kinds import KINDS
from gpt1.tasks.kinds.classes import classes_fault
from gpt1.tasks.kinds.regression import MOST_SCORE
from gpt1.tasks.spec import Example, Label, label_name

Row = tuple[str, ...]
"""The texts of an example, as `tasks.spec.Example` has them."""

# X


def listed(data: Any, name: str) -> list[Any]:
    """Return the rows of a list, tuple, array or pandas column. Raises InputError."""
    if isinstance(data, str | bytes | Mapping | Set) or data is None:
        raise InputError(
            f"{name} is {short(data)}; it must be a list, an array or a column of rows. Put a "
            f"single row into a list."
        )
    if hasattr(data, "to_numpy"):
        data = data.to_numpy()
    if hasattr(data, "__array__"):
        data = np.asarray(data).tolist()
    try:
        len(data)
        rows = list(data)
    except TypeError:
        raise InputError(
            f"{name} is {short(data)}; it must be a list, an array or a column of rows. Make a "
            f"list of it."
        ) from None
    if not rows:
        raise InputError(f"{name} has no rows; give at least one.")
    return rows


def read_text(value: Any, place: str) -> str:
    """Return the text `value`. Raises InputError if it is none, or an empty one."""
    if not isinstance(value, str):
        raise InputError(
            f"{place} is {short(value)}; it must be a text (str). Correct the row or leave it out."
        )
    fault = text_fault(value)
    if fault == "empty":
        raise InputError(
            f"{place} is {value[:20]!r}, without a word; it must have one. Leave the row out."
        )
    if fault:
        raise InputError(
            f"{place} has a {fault}, which is no text: {value[:40]!r}. Correct the row or leave it "
            f"out."
        )
    return str(value)


def read_pair(value: Any, place: str) -> Row:
    """Return the two texts of a row. Raises InputError."""
    first, second = _parts(value, place, "a pair (text, text)")
    return read_text(first, f"{place}[0]"), read_text(second, f"{place}[1]")


def read_choice(value: Any, place: str) -> Row:
    """Return the texts of a row (context, [answer, ...]). Raises InputError."""
    context, answers = _parts(value, place, "a pair (context, [answer, ...])")
    if not isinstance(answers, list | tuple | np.ndarray):
        raise InputError(f"{place}[1] is {short(answers)}; it must be the list of the answers.")
    if len(answers) < 2:
        raise InputError(
            f"{place} has {len(answers)} answer{'s' * (len(answers) != 1)}; a choice has at "
            f"least two."
        )
    texts = [read_text(answer, f"{place}[1][{i}]") for i, answer in enumerate(answers)]
    return (read_text(context, f"{place}[0]"), *texts)


def _parts(value: Any, place: str, wanted: str) -> tuple[Any, Any]:
    """Return the two parts of a row. Raises InputError."""
    if not isinstance(value, list | tuple | np.ndarray):
        raise InputError(f"{place} is {short(value)}; it must be {wanted}.")
    if len(value) != 2:
        count = f"{len(value)} part{'s' * (len(value) != 1)}"
        raise InputError(f"{place} has {count}; it must be {wanted}.")
    first, second = value
    return first, second


# y


def column(y: Any, n: int) -> list[Any]:
    """Return the labels, one for each of n rows. Raises InputError."""
    if y is None:
        raise InputError("fit requires y to be passed, but the target y is None. Give the labels.")
    if len(getattr(y, "shape", ())) == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    labels = listed(y, "y")
    if isinstance(labels[0], list | tuple | np.ndarray):
        raise InputError(
            f"y[0] is {short(labels[0])}; it must be one label for each row, not several."
        )
    if len(labels) != n:
        raise InputError(f"X has {n:,} rows and y {len(labels):,}; give one label for each row.")
    return labels


def read_labels(y: Any, n: int) -> NDArray[Any]:
    """Return class labels as an array of their own dtype. Raises InputError for what is none."""
    values = column(y, n)
    sorts = [_sort(item(value), f"y[{i}]") for i, value in enumerate(values)]
    for i, sort in enumerate(sorts):
        if sort is not sorts[0]:
            raise InputError(
                f"y[{i}] is {short(values[i])}, y[0] is {short(values[0])}; all labels must be "
                f"of one type. Make them all str, for instance."
            )
    dtype = np.asarray(y).dtype if hasattr(y, "__array__") else None
    if dtype is not None and dtype.kind in "OT":
        dtype = np.dtype(object) if sorts[0] is str else None
    if dtype == np.dtype(object):
        found = np.empty(n, object)
        found[:] = [str(value) for value in values]
        return found
    return np.asarray([item(value) for value in values], dtype)


def read_words(value: Any, place: str) -> Row:
    """Return the words of a sentence. Raises InputError."""
    if not isinstance(value, list | tuple | np.ndarray) or not len(value):
        raise InputError(f"{place} is {short(value)}; it must be a list of words.")
    for i, word in enumerate(value):
        if not isinstance(word, str) or text_fault(word) not in (None, "empty"):
            raise InputError(f"{place}[{i}] is {short(word)}; it must be a word (str).")
    return tuple(map(str, value))


def read_tags(y: Any, rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the tags of each sentence, as many as it has words. Raises InputError."""
    if y is None:
        raise InputError("fit requires y to be passed, but the target y is None. Give the tags.")
    found = listed(y, "y")
    if len(found) != len(rows):
        raise InputError(f"X has {len(rows):,} rows and y {len(found):,}; give tags for each row.")
    for i, (tags, words) in enumerate(zip(found, rows, strict=True)):
        fits = isinstance(tags, list | tuple | np.ndarray) and len(tags) == len(words)
        if not fits or not all(isinstance(tag, str) and tag.strip() for tag in tags):
            raise InputError(
                f"y[{i}] is {short(tags)}; it must be a list of {len(words)} tags (str), one for "
                f"each word of X[{i}]."
            )
    return [tuple(map(str, tags)) for tags in found]


def read_label_sets(y: Any, n: int) -> tuple[NDArray[Any], list[tuple[int, ...]]]:
    """Return the classes, sorted, and the indices of each row's; y is lists or a 0/1 matrix.

    Raises InputError for labels that cannot be used.
    """
    if hasattr(y, "toarray"):  # a sparse matrix
        y = y.toarray()
    if y is None:
        raise InputError("fit requires y to be passed, but the target y is None. Give the labels.")
    rows = listed(y, "y")
    if len(rows) != n:
        raise InputError(f"X has {n:,} rows and y {len(rows):,}; give one list for each row.")
    for i, row in enumerate(rows):
        if not isinstance(row, list | tuple | set | frozenset | np.ndarray):
            raise InputError(
                f"y[{i}] is {short(row)}; it must be a list of labels, or a row of an indicator "
                f"matrix. For one label a text take TextClassifier."
            )
    if len(getattr(y, "shape", ())) == 2:
        matrix = np.asarray(y)
        if not np.isin(matrix, (0, 1)).all():
            raise InputError("y is a matrix with other values than 0 and 1; give an indicator.")
        classes = np.arange(matrix.shape[1])
        gold = [tuple(np.flatnonzero(row).tolist()) for row in matrix]
    else:
        flat = [item(label) for row in rows for label in row]
        if not flat:
            raise InputError("y has no label in any row; give some.")
        classes = np.unique(read_labels(flat, len(flat)))
        index = {label: i for i, label in enumerate(classes.tolist())}
        gold = [tuple(sorted({index[item(label)] for label in row})) for row in rows]
    if fault := classes_fault(len(classes), sum(map(len, gold))):
        raise InputError(f"y is not classes: {fault}. Give classes, each in some rows.")
    return classes, gold


def _sort(value: Any, place: str) -> type:
    """Return which of str, bool, float a label is, whole numbers as float. Raises InputError."""
    if isinstance(value, str) and value.strip():
        return str
    if isinstance(value, bool):
        return bool
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return float
    if value is None or repr(value) in ("''", "nan", "<NA>", "NaT"):
        raise InputError(f"{place} is {value!r}; every row needs a label. Leave it out.")
    what = f"{short(value)}, a continuous value" if isinstance(value, float) else short(value)
    raise InputError(
        f"{place} is {what}; a label is a text, a whole number or a bool. For scores, "
        f"take SimilarityRegressor."
    )


def read_score(value: Any, place: str) -> float:
    """Return a score as a float. Raises InputError if it is no finite number."""
    number = item(value)
    if not _is_number(number) or not abs(number) <= MOST_SCORE:  # nan and inf neither
        raise InputError(
            f"{place} is {short(value)}; it must be a finite number between {-MOST_SCORE:g} and "
            f"{MOST_SCORE:g}. Correct it or leave the row out."
        )
    return float(number)


def read_index(value: Any, place: str, answers: int) -> int:
    """Return the index of one of so many answers. Raises InputError if it is none."""
    index = item(value)
    if not _is_number(index) or index not in range(answers):
        raise InputError(
            f"{place} is {short(value)}; it must be the index of the right answer, 0 to "
            f"{answers - 1}."
        )
    return int(index)


def count_conflicts(examples: Sequence[Example], kind: str) -> int:
    """Count texts that occur with different labels."""
    found: dict[tuple[str, ...], set[Label]] = {}
    for example in examples:
        assert example.label is not None
        found.setdefault(KINDS[kind].identity(example), set()).add(example.label)
    return sum(len(labels) > 1 for labels in found.values())


def classes_to_json(classes: NDArray[Any]) -> dict[str, Any]:
    """Return the labels of a classifier as JSON values."""
    return {"classes": classes.tolist(), "dtype": classes.dtype.str}


def classes_from_json(values: Mapping[str, Any], names: tuple[str, ...]) -> NDArray[Any]:
    """Return the labels that `classes_to_json` wrote, which the task calls `names`.

    Raises KeyError, TypeError or ValueError if they are others.
    """
    dtype = np.dtype(values["dtype"])
    classes = np.array(values["classes"], dtype)
    if dtype.kind not in "OUbiuf" or tuple(map(label_name, classes.tolist())) != names:
        raise ValueError("classes")
    return classes


# Any value


def item(value: Any) -> Any:
    """Return a numpy scalar as Python's, anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def short(value: Any) -> str:
    """Return how an error shows a value."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
