"""What a long command shows on stderr: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress as Bar, TextColumn, TimeElapsedColumn

_EVERY = 10.0
"""Seconds from one line to the next, and to the first: what is quick says nothing."""


class Progress:
    """A context that shows how far a command is."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, state="")
        self._last = time.monotonic()
        self._doing = ""

    def show(self, doing: str, state: str, done: int = 0, total: int | None = None) -> None:
        """Say what is being done and how far it is; `total` is None where no one knows it."""
        self._bar.update(self._task, description=doing, state=state, completed=done, total=total)
        if not self.console.is_terminal and time.monotonic() - self._last >= _EVERY:
            self._last = time.monotonic()
            self.console.print(f"{doing}: {state}", soft_wrap=True, markup=False)

    def status(self, text: str) -> None:
        """Say what is being done; `progress` says how far it is."""
        self._doing = text
        self.show(text, "started")

    def progress(self, done: int, total: int) -> None:
        """Show how far it is: a ProgressCallback."""
        state = f"{done:,} of {total:,}" if total else f"{done:,}"
        self.show(self._doing, state, done, total or None)

    def note(self, line: str) -> None:
        """Print a line that stays."""
        self.console.print(line, soft_wrap=True, markup=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
