"""A person's own table -> the task and its examples, with an account of every row.

| kind | columns |
| --- | --- |
| classification | text, label |
| entailment, similarity, regression | text_a, text_b, label |
| choice | context, question (optional), answer_0, answer_1, ..., label (index of the right one) |

A row without a text or a label is rejected and counted. A label that cannot be right (no number for
a regression, no index of an answer, none of a given task's classes) stops with file and line: it is
more often the wrong column than a wrong row. In jsonl the answers may be one list, "answers".
"""

from __future__ import annotations

import difflib
import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gpt1.data.formats import Row, no_column
from gpt1.data.sources import Sources
from gpt1.data.tables import RowCounts, RowReader, text_fault
from gpt1.errors import ConfigError, DataError
from gpt1.tasks.datasets.entry import sample
from gpt1.tasks.leakage import identity
from gpt1.tasks.spec import KINDS, Example, Kind, Task, label_name

LISTED = 10
"""How many conflicts are named."""
MOST_CLASSES = 1_000
"""More different labels than this are no classes."""
MOST_SCORE = 1e30
"""A score's bound, either way: its square still is a number."""
_TELLING = 20  # rows: so many with a label each of its own are no accident
_SINGLE = {"classification": ("text",), "choice": ("context",)}
_PAIR = ("text_a", "text_b")


@dataclass(frozen=True)
class Conflicts:
    """Rows with the texts of an earlier one: duplicates have its label, conflicts another.

    All are kept; `listed` names the first conflicts, with both places.
    """

    duplicates: int = 0
    conflicts: int = 0
    listed: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.duplicates and not self.conflicts:
            return "no text occurs twice"
        line = (
            f"{self.duplicates:,} row{'s repeat' if self.duplicates != 1 else ' repeats'} an "
            f"earlier one, "
            f"{self.conflicts:,} with another label (all are kept)"
        )
        return "\n  ".join([line, *self.listed])


@dataclass(frozen=True)
class Table:
    """The examples of some files; str() is for people.

    places: "file:line" of each example. labels: how many rows each class (or right answer) has. An
    example is None where a row to predict cannot be used: every row but blank lines has its place.
    """

    task: Task
    examples: list[Example | None]
    counts: RowCounts
    places: list[str]
    conflicts: Conflicts
    labels: Mapping[str, int]

    @property
    def usable(self) -> list[Example]:
        """The examples without the None."""
        return [example for example in self.examples if example is not None]

    def __str__(self) -> str:
        lines = [str(self.counts)]
        if self.labels:
            lines.append(", ".join(f"{name} {count:,}" for name, count in self.labels.items()))
        return "\n".join([*lines, str(self.conflicts)])


def read_examples(
    kind: Kind,
    sources: Sources,
    *,
    columns: Mapping[str, str] | None = None,
    task: Task | None = None,
    labelled: bool = True,
    limit: int | None = None,
) -> Table:
    """Return the examples of `sources` (csv, tsv, jsonl, parquet, or `hub:owner/name`).

    columns: the standard name -> the file's, where they differ. task: one whose classes, scale or
    number of answers the labels must fit; without it they are found from the labels. labelled:
    False for rows to predict, which need no labels but a task. limit: a random sample of so many,
    the same ones each time. Raises ConfigError, DataError, HubError.
    """
    _check(kind, task, labelled, limit)
    reading = _Reading(kind, columns or {}, labelled, task.answers if task else None)
    table = RowReader(sources, reading.choose)
    places: list[str] = []
    read: list[Example | None] = []
    raw: list[str] = []
    faults: list[str] = []
    for row in table:
        place = table.place
        made = reading.example(row, place)
        label = reading.label(row, place) if labelled else ""
        if isinstance(made, Example) and label is not None:
            read.append(made)
        else:
            faults.append(made if isinstance(made, str) else "no label")
            if labelled:
                continue
            read.append(None)
        places.append(place)
        raw.append(label or "")
    account = table.counts
    for reason in faults:
        account.reject(reason)
    if labelled:
        if not read:
            raise DataError(f"{table.files[0]}: nothing to use; {account}.")
        task = task or _find_task(kind, raw, places, reading.answers)
        read = _with_labels(read, raw, places, task)
    assert task is not None
    conflicts = _conflicts(read, raw, places, kind) if labelled else Conflicts()
    taken = sample(len(read), limit)
    if len(taken) < len(read):
        left = set(range(len(read))) - set(taken)
        count = sum(read[i] is not None for i in left)
        account.reject(f"outside the sample of {limit}", count)
    examples = [read[i] for i in taken]
    labels = _count(task, examples) if labelled else {}
    return Table(task, examples, account, [places[i] for i in taken], conflicts, labels)


def _check(kind: Kind, task: Task | None, labelled: bool, limit: int | None) -> None:
    if kind not in KINDS:
        raise ConfigError(f"the task type is {kind!r}; it must be one of {', '.join(KINDS)}.")
    if task and task.kind != kind:
        raise ConfigError(f"the rows are to be read for {kind}, the task is {task.kind}.")
    if not task and not labelled:
        raise ConfigError("rows without labels need a task; give the one the model was taught.")
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}; it is at least 1, or left out for all rows.")


class _Reading:
    """Takes the columns of the rows; `answers` is how many answers the first row had (choice)."""

    def __init__(
        self, kind: Kind, columns: Mapping[str, str], labelled: bool, answers: int | None
    ) -> None:
        self.kind = kind
        self.columns = columns
        self.labelled = labelled
        self.answers = answers
        self.needed = (*_SINGLE.get(kind, _PAIR), *["label"] * labelled)
        self.texts: tuple[str, ...] = _SINGLE.get(kind, _PAIR)
        for name in columns:
            if not self._is_name(name):
                names = self._names()
                close = difflib.get_close_matches(name, names.split(", "), n=1)
                nearest = f" Did you mean {close[0]!r}?" if close else ""
                raise ConfigError(f"columns names {name!r}; {kind} takes {names}.{nearest}")
        twice = [name for name, count in Counter(columns.values()).items() if count > 1]
        if twice:
            raise ConfigError(f"columns gives the column {twice[0]!r} two meanings.")

    def _is_name(self, name: str) -> bool:
        number = name.removeprefix("answer_")
        optional = self.kind == "choice" and (
            name in ("question", "answers") or (number != name and number.isdigit())
        )
        return name in (*self.needed, "label") or optional

    def _names(self) -> str:
        answers = ", question, answer_0, answer_1, ..." if self.kind == "choice" else ""
        return f"{', '.join(self.texts)}{answers}{', label' * self.labelled}"

    def choose(self, place: str, present: Sequence[str]) -> None:
        """Check the columns of a file, or of a jsonl file's first row. Raises DataError."""
        for name in self.columns.values():
            if name not in present and (self.labelled or name != self.columns.get("label")):
                raise no_column(place, name, present)
        needed = list(self.needed)
        if self.kind == "choice" and self._column("answers") not in present:
            needed[1:1] = ["answer_0", "answer_1"]
        missing = [name for name in needed if self._column(name) not in present]
        if missing:
            raise self._missing(place, present, missing)

    def _missing(self, place: str, present: Sequence[str], missing: list[str]) -> DataError:
        mark = next((mark for mark in ";\t|" if mark in present[0]), "") if present else ""
        if mark and len(present) == 1:
            return DataError(
                f"{place} has one column, {present[0][:60]!r}: its fields have {mark!r} between "
                f"them. Save it with commas (.csv) or tabs (.tsv)."
            )
        known = set(map(self._column, self.needed))
        free = [name for name in present if name not in known and not self._is_name(name)]
        pairs = dict(self.columns)
        for name in missing:
            folded = {other.casefold(): other for other in free}
            close = [folded[other] for other in difflib.get_close_matches(name, list(folded), n=1)]
            pairs[name] = (close or free or ["..."])[0]
            free = [other for other in free if other != pairs[name]]
        flag = shlex.quote(",".join(f"{name}={column}" for name, column in pairs.items()))
        return DataError(
            f"{place} has the columns {', '.join(present)}; {self.kind} takes {self._names()}. Say "
            f"which is which, e.g. --columns {flag} (Python: columns={pairs})."
        )

    def _column(self, name: str) -> str:
        return self.columns.get(name, name)

    def label(self, row: Row, place: str) -> str | None:
        """Return the label as text, None if there is none. Raises DataError."""
        value = row.get(self._column("label"))
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        if isinstance(value, str | int | float):
            text = label_name(value).strip()
            if text and (fault := text_fault(text)):
                raise DataError(f"{place}: the label is {text!r}: {fault}. Correct the row.")
            return text or None
        raise DataError(
            f"{place}: the label is a {type(value).__name__}; it must be a string or a number."
        )

    def example(self, row: Row, place: str) -> Example | str:
        """Return the example of a row, without its label; a str is why there is none."""
        texts = [self._value(row, name, place) for name in self.texts]
        question: object = ""
        if self.kind == "choice":
            answers = self._answers(row, place)
            if isinstance(answers, str):
                return answers
            texts += answers
            question = row.get(self._column("question")) or ""
            if isinstance(question, str) and question.isspace():
                question = ""
        for text in texts:
            if fault := text_fault(text):
                return fault
        if question and (fault := text_fault(question)):
            return f"question: {fault}"
        return Example(tuple(map(str, texts)), None, str(question))

    def _value(self, row: Row, name: str, place: str) -> object:
        if self._column(name) not in row:  # in jsonl each row has columns of its own
            raise no_column(place, self._column(name), list(row))
        return row[self._column(name)]

    def _answers(self, row: Row, place: str) -> list[object] | str:
        """Return the answers of a row; a str is why they cannot be used. Raises DataError."""
        if self._column("answers") in row:
            found = row[self._column("answers")]
            if not isinstance(found, list):
                raise DataError(f'{place}: "answers" must be a list of texts.')
            answers: list[object] = list(found)
        else:
            answers = []
            while (column := self._column(f"answer_{len(answers)}")) in row:
                answers.append(row[column])
        count = sum(answer not in ("", None) for answer in answers)
        self.answers = self.answers or len(answers)
        if self.answers < 2:
            raise DataError(f"{place}: the row has {count} answer(s); a choice takes at least two.")
        if count == len(answers) == self.answers:
            return answers
        if not self.labelled:
            return "wrong number of answers"
        raise DataError(
            f"{place}: the row has {count} answers; it must have {self.answers}, as all rows of a "
            f"task do. Correct the row, or put it in a file of its own."
        )


def _find_task(kind: Kind, raw: list[str], places: list[str], answers: int | None) -> Task:
    """Return the task that the labels belong to. Raises DataError."""
    if kind == "choice":
        return Task("choice", answers=answers)
    if kind == "regression":
        scores = [_score(text, place) for text, place in zip(raw, places, strict=True)]
        low, high = min(scores), max(scores)
        if low == high:
            what = "the only score is" if len(scores) == 1 else f"all {len(scores):,} scores are"
            raise DataError(f"{places[0]}: {what} {low:g}; a regression needs scores that differ.")
        return Task("regression", scale=(low, high), metric="pearson")
    classes = set(raw)
    if len(classes) == 1:
        what = "the only row has" if len(raw) == 1 else f"all {len(raw):,} rows have"
        raise DataError(
            f"{places[0]}: {what} the label {raw[0]!r}; a task needs at least two classes."
        )
    if fault := classes_fault(len(classes), len(raw)):
        raise DataError(
            f"{places[0]}: the label is {raw[0][:40]!r}, and {fault}. Name the right column, "
            f"--columns label=NAME (Python: columns={{'label': NAME}})."
        )
    try:
        ordered = sorted(classes, key=lambda text: (_finite(text), text))
    except ValueError:
        ordered = sorted(classes)
    return Task(kind, tuple(ordered))


def classes_fault(classes: int, rows: int) -> str:
    """Return why labels look like another column's, such as one of free text; "" if they do not.

    >>> classes_fault(2, 40), classes_fault(30, 40), classes_fault(5, 5)
    ('', '', '')
    >>> classes_fault(40, 40)
    'all 40 rows have different labels: that looks like free text, or numbers, and not like classes'
    """
    looks = "that looks like free text, or numbers, and not like classes"
    if classes == rows >= _TELLING:
        return f"all {rows:,} rows have different labels: {looks}"
    if classes > MOST_CLASSES:
        return (
            f"{rows:,} rows have {classes:,} different labels, {MOST_CLASSES:,} are the most: "
            f"{looks}"
        )
    return ""


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number) or "_" in text:  # Python's own 1_000 is nobody's number
        raise ValueError(text)
    return number


def _score(text: str, place: str, scale: tuple[float, float] | None = None) -> float:
    try:
        score = _finite(text)
    except ValueError:
        raise DataError(f"{place}: the label is {text[:40]!r}; it must be a number.") from None
    if abs(score) > MOST_SCORE:
        raise DataError(
            f"{place}: the score is {score:g}; it must be between {-MOST_SCORE:g} and "
            f"{MOST_SCORE:g}. Correct the row."
        )
    if scale and not scale[0] <= score <= scale[1]:
        raise DataError(
            f"{place}: the score is {score:g}; the task's scale goes from {scale[0]:g} to "
            f"{scale[1]:g}. Correct the row."
        )
    return score


def _with_labels(
    read: list[Example | None], raw: list[str], places: list[str], task: Task
) -> list[Example | None]:
    """Give the examples their labels. Raises DataError."""
    count = task.answers if task.kind == "choice" else len(task.classes)
    names = [str(i) for i in range(count or 0)] if task.kind == "choice" else task.classes
    index = {name: i for i, name in enumerate(names)}
    labelled: list[Example | None] = []
    for example, text, place in zip(read, raw, places, strict=True):
        assert example is not None
        if task.kind == "regression":
            labelled.append(replace(example, label=_score(text, place, task.scale)))
        elif text in index:
            labelled.append(replace(example, label=index[text]))
        elif task.kind == "choice":
            raise DataError(
                f"{place}: the label is {text[:40]!r}; it must be the index of the right answer, "
                f"0 to {len(index) - 1}."
            )
        else:
            raise DataError(
                f"{place}: the label is {text[:40]!r}; the task's classes are "
                f"{', '.join(task.classes[:20])}. Correct the row."
            )
    return labelled


def _conflicts(
    read: Sequence[Example | None], raw: list[str], places: list[str], kind: Kind
) -> Conflicts:
    first: dict[tuple[str, ...], int] = {}
    duplicates = conflicts = 0
    listed: list[str] = []
    for i, example in enumerate(read):
        assert example is not None
        earlier = first.setdefault(identity(example, kind), i)
        if earlier == i:
            continue
        before = read[earlier]
        if before is not None and before.label == example.label:
            duplicates += 1
            continue
        conflicts += 1
        if len(listed) < LISTED:
            listed.append(
                f"{places[i]} says {raw[i]!r}, {places[earlier]} {raw[earlier]!r}: "
                f"{example.texts[0][:50]!r}"
            )
    return Conflicts(duplicates, conflicts, tuple(listed))


def _count(task: Task, examples: Sequence[Example | None]) -> dict[str, int]:
    if task.kind == "regression":
        return {}
    names = task.classes or tuple(str(i) for i in range(task.answers or 0))
    counts = Counter(example.label for example in examples if example is not None)
    return {name: counts[i] for i, name in enumerate(names)}
