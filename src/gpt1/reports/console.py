"""The console of rich through which everything is printed that a person may watch."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console as RichConsole

from gpt1.errors import StorageError
from gpt1.escaping import printable
from gpt1.reports import terminal


class Console(RichConsole):
    """A console whose texts cannot steer the terminal; on stderr it survives the terminal's end."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print texts, made printable, and what rich renders. Raises StorageError."""
        shown = [printable(text) if isinstance(text, str) else text for text in objects]
        try:
            super().print(*shown, **options)
        except OSError as error:
            if not self.stderr:
                raise StorageError(
                    f"could not write to standard output: {error.strerror}."
                ) from None

    def on_broken_pipe(self) -> None:
        """End the command if the reader of stdout has had enough; print no more on stderr."""
        self.quiet = True
        terminal.discard(self.file)
        if not self.stderr:
            sys.exit(0)
