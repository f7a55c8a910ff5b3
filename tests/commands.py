"""Run commands of `gpt1`, in this process or in one of their own."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from gpt1 import cli

GPT1 = (sys.executable, "-m", "gpt1")
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "100"}


@dataclass(frozen=True)
class Completed:
    """How a command ended: its exit code and what it printed."""

    code: int
    stdout: str
    stderr: str

    @property
    def message(self) -> str:
        """What it printed on stderr, on one line and without frames."""
        return " ".join(self.stderr.translate(dict.fromkeys(map(ord, "│╭╮╰╯─"), " ")).split())

    def check(self) -> Completed:
        """Return this; fail if the command did."""
        assert self.code == 0, self.stderr
        return self


def run_gpt1(*arguments: object, stdin: str | bytes = b"") -> Completed:
    """Run `gpt1 arguments`; a single string with blanks is split as a shell does.

    Use `monkeypatch.chdir` for the working folder. A traceback fails the test.
    """
    words = [str(argument) for argument in arguments]
    if len(words) == 1:
        words = shlex.split(words[0])
    data = stdin.encode() if isinstance(stdin, str) else stdin
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    code: object = 0
    with (
        mock.patch.object(sys, "argv", ["gpt1", *words]),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8")),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
    assert isinstance(code, int), code
    assert "Traceback" not in err.getvalue()
    out.seek(0)
    return Completed(code, out.read(), err.getvalue())


def run_gpt1_process(
    *arguments: str | bytes | Path, stdin: bytes = b"", timeout: float = 100, **options: Any
) -> Completed:
    """Run `gpt1 arguments` in a process of its own; `options` are subprocess.run's."""
    done = subprocess.run(
        [*GPT1, *arguments],
        input=stdin,
        capture_output=True,
        timeout=timeout,
        **{"env": ENV, **options},
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return Completed(done.returncode, done.stdout.decode(), done.stderr.decode())
