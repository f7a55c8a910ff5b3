"""Show a long command's progress on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import Self

from rich.progress import BarColumn, Progress as Bar, TextColumn, TimeElapsedColumn

from gpt1.escaping import printable
from gpt1.reports.console import Console

_EVERY = 10.0
"""Seconds between lines, and before the first: a quick command prints none."""


class Progress:
    """A context manager that shows progress; its `progress` is a ProgressCallback."""

    def __init__(self, status: str = "", unit: str = "") -> None:
        self.console = Console(stderr=True, highlight=False)
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, state="")
        self._last = time.monotonic()
        self.status(status, unit)

    def status(self, text: str, unit: str = "") -> None:
        """Say what is being done now, and the unit that `progress` counts."""
        text = printable(text)
        self._status, self._unit = text, unit
        self._bar.update(self._task, description=text, state="", completed=0, total=None)
        if text and not unit:  # nothing may be counted for a long time
            self._line(text)

    def progress(self, done: int, total: int) -> None:
        """Show the progress; a `total` of 0 means unknown."""
        state = f"{done:,} of {total:,}" if total else f"{done:,}"
        state = f"{state} {self._unit}".rstrip()
        self._bar.update(self._task, state=state, completed=done, total=total or None)
        self._line(f"{self._status}: {state}")

    def note(self, text: str) -> None:
        """Print a line that stays on the screen."""
        self.console.print(text, soft_wrap=True, markup=False)

    def _line(self, text: str) -> None:
        """Print a line where there is no bar, if the last one was a while ago."""
        if not self.console.is_terminal and time.monotonic() - self._last >= _EVERY:
            self._last = time.monotonic()
            self.note(text)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()
