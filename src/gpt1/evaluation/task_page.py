"""An evaluation as one page: figures, then what the kind of its task shows."""

from __future__ import annotations

from pathlib import Path

from gpt1 import storage
from gpt1._version import __version__
from gpt1.reports.page import render_page
from gpt1.reports.sections import Card
from gpt1.tasks.kinds.evaluation import TaskEvaluation


def write_page(path: Path | str, title: str, evaluation: TaskEvaluation, account: str = "") -> None:
    """Write an evaluation's page. `account`: what became of the rows. Raises StorageError."""
    storage.write_file(path, page(title, evaluation, account))


def page(title: str, evaluation: TaskEvaluation, account: str = "") -> bytes:
    """Return an evaluation's page."""
    summary = [account] if account else []
    summary.append(
        f"{evaluation.rows:,} rows measured, {evaluation.truncated:,} of them longer than the "
        f"model's window and truncated. The intervals hold 95 % of 1,000 resamplings of the rows. "
        f"Whether the model was trained on some of these rows is not known here. gpt1 "
        f"{__version__}."
    )
    cards = [Card(*figure) for figure in evaluation.figures()]
    return render_page(title, summary, evaluation.sections(), cards)
