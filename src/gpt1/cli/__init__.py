"""The `gpt1` command line: each command is a file, imported only when it is called."""

from __future__ import annotations

import codecs
import functools
import os
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, TextIO

import typer
from typer.core import TyperCommand

from gpt1._version import __version__
from gpt1.errors import GPT1Error, InputError, Note, memory_guard
from gpt1.model.allocator import address_space_left
from gpt1.reports import terminal

COMMANDS = {
    "demo": "Fine-tune the packaged model on jokes and generate some.",
    "generate": "Continue a prompt.",
    "explain": "Walk through a prediction, step by step.",
    "tokenize": "Show a text's tokens, ids and offsets.",
    "learn-bpe": "Learn a vocabulary of your own.",
    "prepare": "Turn text files into shards for pre-training.",
    "pretrain": "Pre-train a model on shards, from random weights.",
    "finetune": "Train a model further, on your own texts or on a task.",
    "resume": "Continue a run.",
    "serve": "Serve models over HTTP, with a web page, the studio.",
    "predict": "Label new rows with a fine-tuned model.",
    "score": "Compute how likely a model finds each text of a file.",
    "embed": "Turn texts into vectors.",
    "evaluate": "Evaluate a model: a task's metrics, or perplexity on texts.",
    "zero-shot": "Evaluate the paper's zero-shot heuristics.",
    "reproduce": "Reproduce the paper's tables and figures.",
    "compare": "Compare runs.",
    "pull": "Fetch a model from the hub.",
    "push": "Upload a model to the hub, with a model card.",
    "convert": "Convert a model file of another program, safely.",
    "export": "Write a model as an ONNX graph for onnxruntime.",
    "verify": "Check a model against the published values.",
    "bench": "Measure how fast this machine generates text.",
    "doctor": "Show versions, devices and a model's parameters.",
}


_LEAST = 750 << 20
_FULL = 256 << 20  # with less left, libraries give odd errors
_MEMORY = "(a smaller model, fewer rows or shorter texts need less). Free some and run it again."


def main() -> None:
    """Run the command line; exit 0 if it worked, 1 if it failed, 2 if it was misused."""
    warnings.showwarning = _show_warning
    _write_in_any_encoding()
    try:
        with terminal.outputs(), memory_guard(_MEMORY):
            _app(sys.argv[1:])(prog_name="gpt1")
    except BrokenPipeError:  # the reader of our output, such as head, has stopped
        terminal.discard(sys.stdout)
    except OSError as error:  # of a library, such as the one that prints the help
        terminal.print_error(error)
        terminal.discard(sys.stdout)
        sys.exit(1)
    except GPT1Error as error:
        terminal.print_error(error)
        sys.exit(error.exit_code)
    except Exception:
        if address_space_left() > _FULL:
            raise
        terminal.print_error(GPT1Error(f"memory ran out {_MEMORY}"))
        sys.exit(1)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a Note as one line, and a warning of a library as Python does."""
    text = str(message)
    if issubclass(category, Note) and os.environ.get("RANK", "0") != "0":
        return  # the first of several processes says it
    if not issubclass(category, Note):
        text = warnings.formatwarning(message, category, filename, lineno, line)
    print(text.rstrip(), file=sys.stderr)


def _write_in_any_encoding() -> None:
    """Let stdout and stderr escape what their encoding lacks, as JSON does, and say so once."""
    noted = False

    def escape(error: UnicodeError) -> tuple[str, int]:
        nonlocal noted
        assert isinstance(error, UnicodeEncodeError)
        lacking = error.object[error.start : error.end]
        if not noted:
            noted = True
            print(
                f"gpt1: stdout is {sys.stdout.encoding}, which lacks some characters; they are "
                f"written as {_escaped(lacking[0])}. PYTHONIOENCODING=utf-8 keeps them.",
                file=sys.stderr,
            )
        return _escaped(lacking), error.end

    codecs.register_error("gpt1.escape", escape)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="gpt1.escape")


def _escaped(text: str) -> str:
    r"""Return characters as JSON escapes them.

    >>> _escaped("\u2615"), _escaped("\U0001f600")
    ('\\u2615', '\\ud83d\\ude00')
    """
    units = text.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def read_text(argument: str) -> str:
    """Return a text argument, or all of stdin if it is "-". Raises InputError."""
    if argument != "-":
        return argument
    try:
        return sys.stdin.buffer.read().decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InputError(
            f"stdin: byte {error.start} is not UTF-8 ({error.reason}). Convert it to UTF-8."
        ) from None


def print_json(value: Any) -> None:
    """Print a command's result for --json."""
    from gpt1.storage import json_bytes

    print(json_bytes(value).decode(), end="")


class _Command(TyperCommand):
    """A command whose text may begin with a dash: what has a blank in it is no option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; a text that would be taken for an option goes behind "--"."""
        try:
            return super().parse_args(ctx, list(args))
        except Exception as error:
            if not hasattr(error, "possibilities"):  # not "no such option"
                raise
            for i, arg in enumerate([] if "--" in args else args):
                first, *rest = arg.split(None, 1) or [""]
                is_text = arg.startswith("-") and rest and "=" not in first
                if is_text and self._refuses(ctx, args[: i + 1]):
                    return self.parse_args(ctx, [*args[:i], *args[i + 1 :], "--", arg])
            if not error.option_name.startswith("--"):  # type: ignore[attr-defined]
                hint = f"gpt1 {ctx.info_name} -- -TEXT"
                error.message += f". Put -- before a text that begins with a dash: {hint}"  # type: ignore[attr-defined]
            raise

    def _refuses(self, ctx: Any, args: list[str]) -> bool:
        try:
            self.make_parser(ctx).parse_args(args=list(args))
        except Exception as error:
            return hasattr(error, "possibilities")
        return False


def _app(arguments: list[str]) -> typer.Typer:
    """Build the commands; only the one that is called is imported."""
    app = typer.Typer(
        name="gpt1",
        help="GPT-1 as working software: pre-train, fine-tune, evaluate, generate, explain.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def version(wanted: bool) -> None:
        if wanted:
            print(f"gpt1 {__version__}")
            raise typer.Exit

    @app.callback()
    def options(
        version: bool = typer.Option(
            False, "--version", callback=version, is_eager=True, help="Show the version."
        ),
    ) -> None:
        pass

    if "_GPT1_COMPLETE" in os.environ:  # a shell asks how its command line may go on
        line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
        arguments = line.split()[1:]
    called = next((item for item in arguments if not item.startswith("-")), None)
    for name, summary in COMMANDS.items():
        app.command(name, help=None if name == called else summary, cls=_Command)(
            _load(name) if name == called else lambda: None
        )
    return app


def _check_limit() -> None:
    """Raise GPT1Error if the system allows less than any command needs: libraries would crash."""
    if address_space_left() < _LEAST:
        raise GPT1Error(
            f"memory is limited (ulimit -v); gpt1 needs {_LEAST >> 20:,} MiB of addresses for "
            f"Python, torch and the smallest model. Raise the limit."
        )


def _load(name: str) -> Callable[..., None]:
    word = name.replace("-", "_")
    command: Callable[..., None] = getattr(import_module(f"gpt1.cli.{word}"), word)

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        _check_limit()
        try:
            command(*arguments, **options)
        except KeyboardInterrupt:
            print("gpt1: stopped.", file=sys.stderr)
            raise typer.Exit(130) from None

    return run
