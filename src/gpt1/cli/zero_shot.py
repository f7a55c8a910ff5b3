"""gpt1 zero-shot: what a model can do before anything is fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from gpt1.evaluation.zero_shot_curves import Point
    from gpt1.evaluation.zero_shot_sets import Result

_ALL = "cola,sst2,race,dpr,wsc273"
_SHOWN = {"matthews": "Matthews"}


def zero_shot(
    data: Annotated[str, typer.Option(help="The folder that holds the data sets.")],
    model: Annotated[
        str | None, typer.Option(help="A name, a folder or a repository; mini without a word.")
    ] = None,
    checkpoints: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Measure a run's snapshots; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="With --checkpoints: the picture, a .png file; else RUN/zero-shot.png."),
    ] = None,
    sets: Annotated[str, typer.Option(help="Some of these, with commas between.")] = _ALL,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many rows of each, drawn at random.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="The rows to measure; else dev, of DPR train, of WSC273 all.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure the paper's four zero-shot heuristics, of a model or over a pre-training.

    Nothing is trained: CoLA by a sentence's log-probability, SST-2 by "positive" or "negative"
    after "very", RACE by the likeliest answer, Winograd schemas (DPR, WSC273) by how likely the
    rest of the sentence is. --checkpoints RUN draws figure 2, right, of the paper, and writes its
    numbers beside it as FILE.json. CoLA's threshold is chosen on train rows, whatever the --split.
    """
    import sys

    from rich.console import Console

    import gpt1
    from gpt1.cli.progress import Progress
    from gpt1.errors import ConfigError
    from gpt1.evaluation.zero_shot_curves import (
        as_json,
        check_picture,
        measure_run,
        models_of_run,
        write_curves,
    )
    from gpt1.evaluation.zero_shot_sets import check_sets, load_sets, measure
    from gpt1.storage import json_bytes

    names = check_sets(part.strip() for part in sets.split(",") if part.strip())
    if model is not None and checkpoints:
        raise ConfigError(
            "give --model M for one model, or --checkpoints RUN for those of a run; not both."
        )
    if out is not None and not checkpoints:
        raise ConfigError("--out is for the picture of --checkpoints RUN. Leave it out.")
    if checkpoints and out is None:
        if len(checkpoints) > 1:
            raise ConfigError("say with --out FILE.png where the picture of several runs goes.")
        out = checkpoints[0] / "zero-shot.png"
    if out is not None:
        check_picture(out)
    for run in checkpoints or []:
        models_of_run(run)  # before the data is read
    questions = load_sets(data, names, limit, split)
    for one in questions.values():
        print("\n".join(one.account), file=sys.stderr)
    console = Console(highlight=False)

    if not checkpoints:
        model = model or "mini"
        gpt = gpt1.load(model)
        with Progress() as shown:
            found = measure(
                gpt.model,
                gpt.tokenizer,
                questions,
                progress=lambda name, done, rows: shown.show(
                    f"measuring {name}", f"{done:,} of {rows:,} rows", done, rows
                ),
            )
        if json:
            print(json_bytes([vars(result) for result in found]).decode(), end="")
        else:
            _print(console, *_one(model, found))
        return

    curves: dict[str, list[Point]] = {}
    with Progress() as shown:
        for run, name in _names(checkpoints).items():
            curves[name] = measure_run(
                run,
                questions,
                progress=lambda i, models, data, done, rows, name=name: shown.show(  # type: ignore[misc]
                    f"measuring {name}, model {i + 1} of {models}",
                    f"{data}: {done:,} of {rows:,} rows",
                    done,
                    rows,
                ),
            )
    assert out is not None
    numbers = write_curves(out, curves)
    if json:
        print(json_bytes(as_json(curves)).decode(), end="")
    else:
        for name, points in curves.items():
            for table in _many(name, names, points):
                _print(console, *table)
    print(f"wrote {out} and {numbers}", file=sys.stderr)


def _one(model: str, found: Sequence[Result]) -> tuple[str, list[str], list[list[str]]]:
    head = ["", "metric", "value", "95% interval", "guessing", "relative", "rows", "split"]
    rows = [
        [
            result.data,
            _SHOWN.get(result.metric, result.metric),
            f"{100 * result.value:.1f}",
            f"{100 * result.low:.1f} to {100 * result.high:.1f}",
            f"{100 * result.random:.1f}",
            f"{result.normalised:.2f}",
            f"{result.rows:,}",
            result.split,
        ]
        for result in found
    ]
    return f"Zero-shot: {model}", head, rows


def _many(
    name: str, sets: Sequence[str], points: Sequence[Point]
) -> list[tuple[str, list[str], list[list[str]]]]:
    values, relative = [], []
    for point in points:
        found = {result.data: result for result in point.results}
        values.append([f"{point.step:,}", *(f"{100 * found[one].value:.1f}" for one in sets)])
        relative.append([f"{point.step:,}", *(f"{found[one].normalised:.2f}" for one in sets)])
    splits = {result.data: result.split for point in points for result in point.results}
    head = ["updates", *(f"{one} {splits.get(one, '')}".strip() for one in sets)]
    return [
        (f"Zero-shot: {name}", head, values),
        (f"The same, relative (0 guessing, 1 state of the art): {name}", head, relative),
    ]


def _names(runs: Sequence[Path]) -> dict[Path, str]:
    """Return the shortest names that tell the runs apart: the ends of their paths."""
    # bytes of a name that are no text could not be printed
    whole = {run: Path(str(run).encode(errors="replace").decode()).resolve().parts for run in runs}
    for length in range(1, max(map(len, whole.values())) + 1):
        names = {run: "/".join(parts[-length:]) for run, parts in whole.items()}
        if len(set(names.values())) == len(names):
            return names
    return {run: f"{run} ({number})" for number, run in enumerate(whole, 1)}


def _print(console: Any, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left")
    for number, name in enumerate(head):
        table.add_column(escape(name), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)
