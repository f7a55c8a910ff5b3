"""gpt1 zero-shot: what a model can do before anything is fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gpt1.evaluation.zero_shot_sets import ZeroShotResult
    from gpt1.reports.sections import Section

_ALL = "cola,sst2,race,dpr,wsc273"


def zero_shot(
    data: Annotated[str, typer.Option(help="The folder that holds the data sets.")],
    model: Annotated[
        str | None, typer.Option(help="A name, a folder or a repository; mini by default.")
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

    import gpt1
    from gpt1.cli.progress import Progress
    from gpt1.errors import ConfigError
    from gpt1.evaluation.zero_shot_curves import (
        as_json,
        check_picture,
        curve_tables,
        measure_run,
        models_of_run,
        write_curves,
    )
    from gpt1.evaluation.zero_shot_sets import check_sets, load_sets, measure
    from gpt1.reports.formatting import short_names
    from gpt1.reports.tables import print_section
    from gpt1.storage import json_bytes

    names = check_sets(part.strip() for part in sets.split(",") if part.strip())
    runs = checkpoints or []
    if model is not None and runs:
        raise ConfigError(
            "give --model M for one model, or --checkpoints RUN for those of a run; not both."
        )
    if out is not None and not runs:
        raise ConfigError("--out is for the picture of --checkpoints RUN. Leave it out.")
    if out is None and len(runs) > 1:
        raise ConfigError("say with --out FILE.png where the picture of several runs goes.")
    if runs:
        out = check_picture(out or runs[0] / "zero-shot.png")
    for run in runs:
        models_of_run(run)  # before the data is read
    questions = load_sets(data, names, limit, split)
    for rows in questions.values():
        print("\n".join(rows.account), file=sys.stderr)

    if not runs:
        model = model or "mini"
        gpt = gpt1.load(model)
        with Progress(f"measuring {model}", "rows") as shown:
            results = measure(gpt.model, gpt.tokenizer, questions, progress=shown.progress)
        if json:
            print(json_bytes([vars(result) for result in results]).decode(), end="")
        else:
            print_section(_table(model, results))
        return

    curves = {}
    with Progress() as shown:
        for run, name in zip(runs, short_names(runs), strict=True):
            shown.status(f"measuring {name}", "rows")
            curves[name] = measure_run(run, questions, progress=shown.progress)
    assert out is not None
    numbers = write_curves(out, curves)
    if json:
        print(json_bytes(as_json(curves)).decode(), end="")
    else:
        columns = {data: f"{data} {rows.split}".strip() for data, rows in questions.items()}
        for name, points in curves.items():
            for section in curve_tables(f"Zero-shot, {name}", points, columns):
                print_section(section)
    print(f"wrote {out} and {numbers}", file=sys.stderr)


def _table(model: str, results: Sequence[ZeroShotResult]) -> Section:
    from gpt1.reports.sections import Section, Table

    columns = ["", "metric", "value", "95% interval", "guessing", "relative", "rows", "split"]
    rows = [
        [
            result.data,
            "Matthews" if result.metric == "matthews" else result.metric,
            f"{100 * result.value:.1f}",
            f"{100 * result.low:.1f} to {100 * result.high:.1f}",
            f"{100 * result.random:.1f}",
            f"{result.normalised:.2f}",
            f"{result.rows:,}",
            result.split,
        ]
        for result in results
    ]
    return Section(f"Zero-shot: {model}", Table(columns, rows))
