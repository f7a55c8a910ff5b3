"""An evaluation as one page: figures, confusions, calibration or scatter, and the worst errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gpt1 import storage
from gpt1._version import __version__
from gpt1.evaluation.tasks import Mistake, TaskEvaluation, class_names
from gpt1.reports.page import render_page
from gpt1.reports.sections import (
    ABSENT,
    Bar,
    Bars,
    Card,
    Cards,
    Examples,
    Matrix,
    Scatter,
    Section,
    Table,
)
from gpt1.tasks.spec import Kind

_MATRIX = 20  # classes; with more, the most frequent confusions are listed
_PAIRS = 30
_POINTS = 1500  # of a scatter chart
_TEXT = 600  # characters of an error's text


def write_page(path: Path | str, title: str, found: TaskEvaluation, account: str = "") -> None:
    """Write an evaluation's page. `account`: what became of the rows. Raises StorageError."""
    storage.write_file(path, page(title, found, account))


def page(title: str, found: TaskEvaluation, account: str = "") -> bytes:
    """Return an evaluation's page."""
    summary = [account] if account else []
    summary.append(
        f"{found.rows:,} rows measured, {found.cut:,} of them longer than the model's window and "
        f"truncated. The intervals hold 95 % of 1,000 resamplings of the rows. Whether the model "
        f"was trained on some of these rows is not known here. gpt1 {__version__}."
    )
    return render_page(title, summary, sections(found))


def sections(found: TaskEvaluation) -> list[Section]:
    """Return what an evaluation's page shows."""
    cards = Section("", Cards([Card(*figure) for figure in found.figures()]))
    if found.task.kind == "regression":
        return [cards, _scatter(found), _errors(found, "Largest errors", "")]
    note = (
        f"{len(found.errors):,} of {found.wrong:,} rows with a wrong label, the surest first. "
        f"Often the given label is what is wrong: check these first."
    )
    return [
        cards,
        _confusions(found),
        _classes(found),
        _reliability(found),
        _errors(found, "Most confident errors", note),
    ]


def _confusions(found: TaskEvaluation) -> Section:
    names, counts = class_names(found.task), np.array(found.confusion)
    if len(names) > _MATRIX:
        wrong = counts * (1 - np.eye(len(names), dtype=np.int64))
        order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS].tolist()
        pairs = [divmod(i, len(names)) for i in order]
        rows = [(names[g], names[p], f"{wrong[g, p]:,}") for g, p in pairs if wrong[g, p]]
        table = Table(("right", "predicted", "rows"), rows)
        return Section("Confusions", table, f"The most frequent of {len(names)} classes.")
    return Section(
        "Confusions",
        Matrix(names, counts.tolist()),
        "A row for each right label, a column for each predicted one. Right is blue and wrong is "
        "red, the darker the larger the share of its row.",
    )


def _classes(found: TaskEvaluation) -> Section:
    rows = [
        (
            one.name,
            f"{one.rows:,}",
            f"{one.predicted:,}",
            ABSENT if one.precision is None else f"{one.precision:.3f}",
            ABSENT if one.recall is None else f"{one.recall:.3f}",
        )
        for one in found.classes
    ]
    table = Table(("", "rows", "predicted", "precision", "recall"), rows)
    return Section("Per class", table, narrow=True)


def _reliability(found: TaskEvaluation) -> Section:
    """Return confidence against accuracy."""
    bars = [
        Bar(
            one.low,
            one.high,
            one.accuracy,
            f"{one.rows:,} rows, sure {one.confidence:.2f}, right {one.accuracy:.2f}",
        )
        for one in found.bins
    ]
    return Section(
        "How sure, and how often right",
        Bars(bars, "probability of the predicted label", "share that is right"),
        "Bars below the dashed line: the model is surer than it should be. The calibration error "
        "is the mean distance from the line.",
        narrow=True,
    )


def _scatter(found: TaskEvaluation) -> Section:
    """Return gold against predicted scores, a sample of them if there are many."""
    chosen = np.arange(len(found.gold))
    if len(chosen) > _POINTS:
        chosen = np.sort(np.random.default_rng(0).permutation(len(chosen))[:_POINTS])
    shown = "" if len(chosen) == found.rows else f" {len(chosen):,} of {found.rows:,} rows."
    points = [(float(found.gold[i]), float(found.predicted[i])) for i in chosen]
    note = f"A point for each row; on the dashed line both are equal.{shown}"
    return Section("Scores", Scatter(points, "right score", "predicted score"), note)


def _errors(found: TaskEvaluation, title: str, note: str) -> Section:
    if not found.errors:
        return Section(title, None, "None: every row is right.")
    kind = found.task.kind
    columns = ("row", "right", "predicted", *["sure"] * (kind != "regression"), "text")
    return Section(title, Examples(columns, [_error(kind, one) for one in found.errors]), note)


def _error(kind: Kind, one: Mistake) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    names = _parts(kind, len(one.texts))
    texts = [(name, _short(text)) for name, text in zip(names, one.texts, strict=True)]
    if one.question:
        texts.insert(1, ("question", _short(one.question)))
    sure = [] if one.confidence is None else [f"{one.confidence:.3f}"]
    return (_place(one), one.gold, one.predicted, *sure), texts


def _parts(kind: Kind, count: int) -> tuple[str, ...]:
    """Return what the texts of an example are called; a single one needs no name."""
    if kind == "classification":
        return ("",)
    if kind == "choice":
        return ("context", *(f"answer_{i}" for i in range(count - 1)))
    return ("premise", "hypothesis") if kind == "entailment" else ("text_a", "text_b")


def _place(one: Mistake) -> str:
    """Return the file's name and line, without the folders."""
    name, colon, line = one.place.rpartition(":")
    return f"{Path(name).name}{colon}{line}" if one.place else f"{one.row + 1}"


def _short(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[:_TEXT]} ..."
