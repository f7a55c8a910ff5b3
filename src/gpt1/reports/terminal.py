"""What the commands print: it cannot steer a terminal, and a stream that fails is told."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import IO, Any, TextIO

from gpt1.errors import StorageError
from gpt1.escaping import printable


class _Closed(io.StringIO):
    """What stands for a stream that was closed before we began."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "it is closed")


class SafeOutput:
    """stdout or stderr, for print; rich writes to the stream itself, what it has made printable."""

    def __init__(self, stream: TextIO | None, *, needed: bool) -> None:
        self.rich_proxied_file = stream or _Closed()
        self._needed = needed
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write `text`, made printable. Raises StorageError if this is stdout and it fails."""
        if text == "":  # a library tries whether the stream takes text, and hides what fails
            return 0
        with self._failing():
            self.rich_proxied_file.write(printable(text))
        return len(text)

    def flush(self) -> None:
        """Write what is buffered. Raises StorageError if this is stdout and it fails."""
        with self._failing():
            self.rich_proxied_file.flush()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            discard(self.rich_proxied_file)
            if self._needed and isinstance(error, BrokenPipeError):
                sys.exit(0)  # the reader, such as head, has had enough
            if self._needed:
                raise StorageError(
                    f"could not write to standard output: {error.strerror}. Nothing else was lost."
                ) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def print_error(error: BaseException) -> None:
    """Print an error that was raised on purpose."""
    print(f"gpt1: {error}", file=SafeOutput(sys.stderr, needed=False), flush=True)


def discard(stream: IO[str] | None) -> None:
    """Let all that is still written to a stream go nowhere, or Python complains at its end."""
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextlib.contextmanager
def outputs() -> Iterator[None]:
    """Print through `SafeOutput` within the block, and flush at its end. Raises StorageError."""
    for number in range(3):  # or a file that we open would be taken for a closed stream
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    out, err = SafeOutput(sys.stdout, needed=True), SafeOutput(sys.stderr, needed=False)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            yield
        finally:
            out.flush()
