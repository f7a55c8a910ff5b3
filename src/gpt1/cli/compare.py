"""gpt1 compare: two runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from gpt1.training.history import History

_ROWS = 20  # of validation losses, at most
_ABSENT = "-"


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or --out.")],
    second: Annotated[Path, typer.Argument(metavar="RUN", help="Another's.")],
    out: Annotated[
        Path | None, typer.Option(help="Write a page with both runs' curves: a new .html file.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Put two runs side by side: what differs in their settings, and what they came to.

    A run that is not finished may be looked at as well.
    """
    from dataclasses import asdict

    from rich.console import Console

    from gpt1.errors import ConfigError
    from gpt1.storage import json_bytes
    from gpt1.training.history import History
    from gpt1.training.report import write_comparison

    if out is not None and out.suffix != ".html":
        raise ConfigError(f"--out is {out}; the page's name ends in .html. Give such a name.")
    runs = [History.read(first), History.read(second)]
    names = _names(first, second)
    if json:
        report = {
            "runs": [
                {"run": name, **asdict(run.results)}
                for name, run in zip(names, runs, strict=True)
            ],
            "differences": {
                part: {name: list(pair) for name, pair in found.items()}
                for part, found in differences(*runs).items()
            },
            "validation": [
                {"step": step, "losses": list(pair)} for step, pair in validation(*runs).items()
            ],
        }  # fmt: skip
        print(json_bytes(report).decode(), end="")
    else:
        console = Console(highlight=False)
        for title, head, rows in tables(names, runs):
            _print(console, title, head, rows)
    if out is not None:
        write_comparison(out, dict(zip(names, runs, strict=True)), tables(names, runs))


def differences(a: History, b: History) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Return what two runs differ in: settings, facts (fingerprints) and machine."""
    parts = {
        "settings": (a.settings(), b.settings()),
        "facts": (a.record["facts"], b.record["facts"]),
        "machine": tuple({"gpt1": r.record["gpt1"], **r.record["machine"]} for r in (a, b)),
    }
    return {part: _unequal(*both) for part, both in parts.items()}


def _unequal(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [*a, *(name for name in b if name not in a)]
    return {name: (a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)}


def validation(a: History, b: History) -> dict[int, tuple[float, float]]:
    """Return the validation losses at the steps that both runs have."""
    other = {line["step"]: line["valid_loss"] for line in b.checks}
    return {
        line["step"]: (line["valid_loss"], other[line["step"]])
        for line in a.checks
        if line["step"] in other
    }


def tables(
    names: Sequence[str], runs: Sequence[History]
) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return the tables that a person sees, as (title, head, rows)."""
    from gpt1.training.curves import spread
    from gpt1.training.report import value_text

    found = []
    a, b = runs
    rows = []
    for part, pairs in differences(a, b).items():
        for name, pair in pairs.items():
            label = name if part == "settings" else f"{part}: {name}"
            texts = [value_text(value) for value in pair]
            rows.append([label, *(t[:12] if part == "facts" else t for t in texts)])
    if not rows:
        rows = [["nothing: settings, data and machine are the same", "", ""]]
    found.append(("What differs", ["", *names], rows))

    labelled = [run.results.labelled() for run in runs]
    rows = [
        [label, *(one[label] or _ABSENT for one in labelled)]
        for label in labelled[0]
        if any(one[label] for one in labelled)
    ]
    found.append(("What they came to", ["", *names], rows))

    both = spread(list(validation(a, b).items()), _ROWS)
    rows = [[f"{step:,}", f"{x:.4f}", f"{y:.4f}", f"{y - x:+.4f}"] for step, (x, y) in both]
    if rows:
        found.append(("Validation loss", ["update", *names, "difference"], rows))
    return found


def _names(first: Path, second: Path) -> tuple[str, str]:
    """Return the shortest names that tell two runs apart: the ends of their paths."""
    # bytes of a name that are no text could not be printed
    first, second = (Path(str(p).encode(errors="replace").decode()) for p in (first, second))
    a, b = first.resolve().parts, second.resolve().parts
    for length in range(1, max(len(a), len(b)) + 1):
        names = "/".join(a[-length:]), "/".join(b[-length:])
        if names[0] != names[1]:
            return names
    return f"{first} (1)", f"{second} (2)"  # a run beside itself


def _print(console: Any, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, name in enumerate(head):
        table.add_column(escape(name), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)
