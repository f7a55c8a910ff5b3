"""A user's X and y -> texts and labels; an error names the row that is wrong."""

from __future__ import annotations

import copy
import math
import numbers
import re
import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt1.data.rows import column_names, column_of, list_rows, short, to_list
from gpt1.data.tables import text_fault
from gpt1.errors import InputError, counted
from gpt1.estimators.scikit import column_or_1d, validate_data
from gpt1.tasks.kinds import Task
from gpt1.tasks.kinds.classes import classes_fault
from gpt1.tasks.kinds.regression import MOST_SCORE
from gpt1.tasks.spec import Example, fold_name, label_name
from gpt1.text.tokenizer import Tokenizer
from gpt1.text.unknown import check_unknown

Row = tuple[str, ...]
"""The texts of an example, as `tasks.spec.Example` has them."""
FEATURES = ("feature_names_in_", "n_features_in_")
_LISTS = (list, tuple, np.ndarray)


def item(value: Any) -> Any:
    """Return a numpy scalar as Python's, anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def _wrong(name: str, value: Any, wanted: str) -> InputError:
    return InputError(
        f"{name} is {short(value)}; it must be {wanted}. Correct it or leave the row out."
    )


# X


def pairs_of(data: Any, name: str) -> list[Any]:
    """Return the rows of a list, or of a table of two columns. Raises InputError."""
    names = column_names(data)
    if names is not None and len(names) != 2:
        present = ", ".join(map(str, names))[:200]
        raise InputError(
            f"{name} has the columns {present}; give the two of a row alone, e.g. {name}[["
            f"{', '.join(map(repr, names[-2:]))}]]."
        )
    return to_list(data, name)


def choices_of(data: Any, name: str) -> list[Any]:
    """Return the pairs (context, answers) of a list, an array or a table. Raises InputError."""
    names = column_names(data)
    shape: tuple[int, ...] = getattr(data, "shape", ())
    if names is None and len(shape) == 2 and shape[1] > 2:
        return [(context, answers) for context, *answers in to_list(data, name)]
    if names is None or len(names) == 2:
        return to_list(data, name)
    answers = [i for i, column in enumerate(names) if str(column).startswith("answer")]
    if len(answers) < 2 or {*names} - {names[i] for i in answers} != {"context"}:
        raise InputError(
            f"{name} has the columns {', '.join(map(str, names))[:200]}; it must have context and "
            f"answers, or context, answer_0, answer_1, ... and no other, e.g. {name}[['context', "
            f"'answer_0', 'answer_1']]."
        )
    if all(names[i][-1].isdigit() for i in answers):
        answers.sort(key=lambda i: int(re.findall(r"\d+", names[i])[-1]))
    context = names.index("context")
    return [[row[context], [row[i] for i in answers]] for row in to_list(data, name)]


def sentences_of(data: Any, name: str) -> list[Any]:
    """Return the lists of words in a list, or in a column or one-column table of lists."""
    return to_list(data, name) if column_names(data) is None else column_of(data, name)


def read_text(value: Any, name: str, blank: bool = False) -> Row:
    """Return the one text of a row, which may be `blank`. Raises InputError."""
    return (_text(value, name, blank),)


def read_pair(value: Any, name: str, blank: bool = False) -> Row:
    """Return the two texts of a row, which may be `blank`. Raises InputError."""
    first, second = _parts(value, name, "a pair (text, text)")
    return _text(first, f"{name}[0]", blank), _text(second, f"{name}[1]", blank)


def read_choice(value: Any, name: str, blank: bool = False) -> Row:
    """Return the texts of (context, [answer, ...]), which may be `blank`. Raises InputError."""
    context, answers = _parts(value, name, "a pair (context, [answer, ...])")
    if not isinstance(answers, _LISTS):
        raise _wrong(f"{name}[1]", answers, "the list of the answers")
    if len(answers) < 2:
        count = counted(len(answers), "answer")
        raise InputError(f"{name} has {count}; a choice has at least two.")
    texts = [_text(answer, f"{name}[1][{i}]", blank) for i, answer in enumerate(answers)]
    return (_text(context, f"{name}[0]", blank), *texts)


def read_words(value: Any, name: str, blank: bool = False) -> Row:
    """Return the words of a sentence. Raises InputError."""
    if not isinstance(value, _LISTS) or not len(value):
        raise _wrong(name, value, "a list of words")
    for i, word in enumerate(value):
        if not isinstance(word, str) or text_fault(word) not in (None, "empty"):
            raise _wrong(f"{name}[{i}]", word, "a word (str)")
    return tuple(map(str, value))


def _text(value: Any, name: str, blank: bool) -> str:
    if not isinstance(value, str):
        raise _wrong(name, value, "a text (str)")
    fault = text_fault(value)
    if fault and not (blank and fault == "empty"):
        what = "without a word" if fault == "empty" else f"with a {fault}"
        raise InputError(f"{name} is {short(value)}, {what}. Correct the row or leave it out.")
    return str(value)


def _parts(value: Any, name: str, wanted: str) -> tuple[Any, Any]:
    if not isinstance(value, _LISTS):
        raise _wrong(name, value, wanted)
    if len(value) != 2:
        count = counted(len(value), "part")
        raise InputError(f"{name} has {count}; it must be {wanted}.")
    first, second = value
    return first, second


def warn_of_rows(rows: Sequence[Row], tokenizer: Tokenizer) -> None:
    """Warn of rows to predict with a text that has no token, or that the vocabulary lacks."""
    places = [f"X[{i}]" for i in range(len(rows))]
    check_unknown([" ".join(row) for row in rows], tokenizer, places, allow=True)
    blank = [
        place
        for place, row in zip(places, rows, strict=True)
        if any(not any(map(str.isalnum, text)) and not tokenizer.encode(text) for text in row)
    ]
    if blank:
        have = "has" if len(blank) == 1 else "have"
        warnings.warn(
            f"{list_rows(blank)[:-1]} {have} a text without a word; what is predicted there stands "
            f"on nothing",
            stacklevel=5,
        )


def read_features(estimator: Any, X: Any) -> dict[str, Any]:
    """Return `feature_names_in_` and `n_features_in_` of X, where it is a table or matrix.

    Raises ValueError, in scikit-learn's words, if those that the estimator was fitted to differ. A
    list or a single column has no such names.
    """
    if column_names(X) is None and len(getattr(X, "shape", ())) != 2:
        return {}
    fitted = {name: getattr(estimator, name) for name in FEATURES if hasattr(estimator, name)}
    probe = copy.copy(estimator)
    validate_data(probe, X, "no_validation", reset=not fitted, skip_check_array=True)
    return {name: getattr(probe, name) for name in FEATURES if hasattr(probe, name)}


# y


def read_weights(sample_weight: Any, n: int) -> list[float]:
    """Return how much each of n rows counts. Raises InputError for what is no weight."""
    if sample_weight is None:
        return [1.0] * n
    if isinstance(sample_weight, numbers.Real):
        sample_weight = [sample_weight] * n
    if len(getattr(sample_weight, "shape", ())) > 1:
        raise InputError(
            f"sample_weight has the shape {tuple(sample_weight.shape)}; Sample weights must be 1D "
            f"array or scalar."
        )
    weights = [item(weight) for weight in to_list(sample_weight, "sample_weight")]
    if len(weights) != n:
        raise InputError(
            f"X has {counted(n, 'row')} and sample_weight {len(weights):,}; give one weight "
            f"for each row."
        )
    for i, weight in enumerate(weights):
        if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
            raise _wrong(f"sample_weight[{i}]", weight, "a finite number, 0 or more")
    if not any(weights):
        raise InputError("every sample_weight is zero; give a row to train on some weight.")
    return [float(weight) for weight in weights]


def read_column(y: Any, n: int) -> list[Any]:
    """Return the labels, one for each of n rows. Raises InputError."""
    if len(getattr(y, "shape", ())) == 2 and y.shape[1] == 1:
        y = column_of(y, "y") if hasattr(y, "column_names") else column_or_1d(y, warn=True)
    labels = _read_y(y, n)
    if isinstance(labels[0], _LISTS):
        raise _wrong("y[0]", labels[0], "one label for each row, not several")
    return labels


def _read_y(y: Any, n: int) -> list[Any]:
    """Return the items of y, one for each of n rows. Raises InputError."""
    if y is None:
        raise InputError("fit requires y to be passed, but the target y is None. Pass the labels.")
    labels = to_list(y, "y")
    if not labels:
        raise InputError("y has no rows; give at least one.")
    if len(labels) != n:
        raise InputError(
            f"X has {counted(n, 'row')} and y {len(labels):,}; give one label for each row."
        )
    return labels


def read_labels(y: Any, n: int) -> NDArray[Any]:
    """Return class labels as an array of their own dtype. Raises InputError for what is none."""
    labels = [item(label) for label in read_column(y, n)]
    types = [_label_type(label, f"y[{i}]") for i, label in enumerate(labels)]
    for i, label in enumerate(labels):
        if types[i] is not types[0]:
            raise InputError(
                f"y[{i}] is {short(label)}, y[0] is {short(labels[0])}; all labels must be of one "
                f"type. Make them all str, for instance."
            )
    _check_spellings(labels)
    dtype = np.asarray(y).dtype if hasattr(y, "__array__") else None
    if dtype is not None and dtype.kind in "OT":  # objects, and strings of any length
        dtype = np.dtype(object) if types[0] is str else None
    return np.array(labels, dtype)


def _check_spellings(labels: Sequence[Any]) -> None:
    """Raise InputError for two spellings of one class: in a file they would be merged."""
    first: dict[str, int] = {}
    for i, label in enumerate(labels):
        earlier = first.setdefault(fold_name(label_name(label)), i)
        if label != labels[earlier]:
            raise InputError(
                f"y[{i}] is {short(label)} and y[{earlier}] {short(labels[earlier])}, which are "
                f"spellings of one class: they differ in case, blanks or a .0 only. Give every "
                f"class one name, e.g. [str(label).strip().lower() for label in y]."
            )


def _label_type(value: Any, name: str) -> type:
    """Return which of str, bool, float a label is, whole numbers as float. Raises InputError."""
    if isinstance(value, str) and value.strip():
        return str
    if isinstance(value, bool):
        return bool
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return float
    if value is None or repr(value) in ("''", "nan", "<NA>", "NaT"):
        raise InputError(f"{name} is {value!r}; every row needs a label. Leave the row out.")
    what = f"{short(value)}, a continuous value" if isinstance(value, float) else short(value)
    raise InputError(
        f"{name} is {what}; a label is a text, a whole number or a bool. For scores, use "
        f"SimilarityRegressor."
    )


def read_tags(y: Any, rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the tags of each sentence, as many as it has words. Raises InputError."""
    sentences = _read_y(y, len(rows))
    for i, (tags, words) in enumerate(zip(sentences, rows, strict=True)):
        fits = isinstance(tags, _LISTS) and len(tags) == len(words)
        if not fits or not all(isinstance(tag, str) and tag.strip() for tag in tags):
            wanted = f"a list with a tag (str) for each word of X[{i}], {len(words)} in all"
            raise _wrong(f"y[{i}]", tags, wanted)
    _check_spellings([tag for tags in sentences for tag in tags])
    return [tuple(map(str, tags)) for tags in sentences]


def read_label_sets(y: Any, n: int) -> tuple[NDArray[Any], list[tuple[int, ...]]]:
    """Return the classes, sorted, and the indices of each row's; y is lists or a 0/1 matrix.

    Raises InputError for labels that cannot be used.
    """
    if hasattr(y, "toarray"):  # a sparse matrix
        y = y.toarray()
    rows = _read_y(y, n)
    for i, row in enumerate(rows):
        if not isinstance(row, (*_LISTS, set, frozenset)):
            raise InputError(
                f"y[{i}] is {short(row)}; it must be a list of labels, or a row of an indicator "
                f"matrix. For one label a text, use TextClassifier."
            )
    if len(getattr(y, "shape", ())) == 2:
        matrix = np.asarray(y)
        if not np.isin(matrix, (0, 1)).all():
            raise InputError("y is a matrix with other values than 0 and 1; make it an indicator.")
        classes = np.arange(matrix.shape[1])
        gold = [tuple(np.flatnonzero(row).tolist()) for row in matrix]
    else:
        flat = [label for row in rows for label in row]
        if not flat:
            raise InputError("y has no label in any row; label some rows.")
        classes, codes = np.unique(read_labels(flat, len(flat)), return_inverse=True)
        ends = np.cumsum([len(row) for row in rows])
        gold = [tuple(np.unique(part).tolist()) for part in np.split(codes, ends[:-1])]
    if fault := classes_fault(len(classes), sum(map(len, gold))):
        raise InputError(f"y does not hold classes: {fault}. Give classes, each in some rows.")
    return classes, gold


def read_score(value: Any, name: str) -> float:
    """Return a score as a float. Raises InputError if it is no finite number."""
    number = item(value)
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    if not is_number or not abs(number) <= MOST_SCORE:  # nan and inf neither
        limits = f"{-MOST_SCORE:g} and {MOST_SCORE:g}"
        raise _wrong(name, value, f"a finite number between {limits}")
    return float(number)


def read_index(value: Any, name: str, answers: int) -> int:
    """Return the index of one of so many answers. Raises InputError if it is none."""
    index = item(value)
    if isinstance(index, bool) or index not in range(answers):
        raise _wrong(name, value, f"the index of the right answer, 0 to {answers - 1}")
    return int(index)


def count_conflicts(examples: Sequence[Example], task: Task) -> int:
    """Count texts that occur with different labels."""
    labels = defaultdict(set)
    for example in examples:
        labels[task.identity(example)].add(example.label)
    return sum(len(different) > 1 for different in labels.values())
