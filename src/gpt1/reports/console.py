"""The console of rich through which everything is printed that a person may watch."""

from __future__ import annotations

from typing import Any

from rich.console import Console as RichConsole

from gpt1.errors import StorageError
from gpt1.escaping import printable


class Console(RichConsole):
    """A console whose texts cannot steer the terminal; on stderr it survives the terminal's end."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print texts, made printable, and what rich renders. Raises StorageError."""
        shown = [printable(text) if isinstance(text, str) else text for text in objects]
        try:
            super().print(*shown, **options)
        except BrokenPipeError:
            raise
        except OSError as error:
            if not self.stderr:
                raise StorageError(
                    f"could not write to standard output: {error.strerror}."
                ) from None
