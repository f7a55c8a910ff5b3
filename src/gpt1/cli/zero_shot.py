"""gpt1 zero-shot: what a model can do before anything is fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gpt1.evaluation.zero_shot_sets import ZeroShotResult
    from gpt1.reports.sections import Table

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
    from gpt1.cli import print_json
    from gpt1.cli.progress import Progress
    from gpt1.errors import ConfigError
    from gpt1.evaluation import zero_shot_curves as over_training
    from gpt1.evaluation.zero_shot_sets import check_sets, load_sets, measure
    from gpt1.reports.formatting import short_names
    from gpt1.reports.tables import print_table
    from gpt1.storage import json_bytes, write_file

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
    if out is not None and out.suffix != ".png":
        raise ConfigError(f"the picture is {out}; its name ends in .png. Give such a name.")
    for run in runs:
        over_training.models_of_run(run)  # before the data is read
    questions = load_sets(data, names, limit, split)
    for rows in questions.values():
        print("\n".join(rows.account), file=sys.stderr)

    if not runs:
        model = model or "mini"
        gpt = gpt1.load(model)
        with Progress(f"measuring {model}", "rows") as shown:
            results = measure(gpt.model, gpt.tokenizer, questions, progress=shown.progress)
        if json:
            print_json([vars(result) for result in results])
        else:
            print_table(f"Zero-shot: {model}", _table(results))
        return

    curves = {}
    with Progress() as shown:
        for run, name in zip(runs, short_names(runs), strict=True):
            shown.status(f"measuring {name}", "rows")
            curves[name] = over_training.measure_run(run, questions, progress=shown.progress)
    picture = out or runs[0] / "zero-shot.png"
    numbers = json_bytes(over_training.as_json(curves))
    write_file(picture, over_training.draw_curves(curves))
    write_file(picture.with_suffix(".json"), numbers)
    if json:
        print(numbers.decode(), end="")
    else:
        columns = [f"{name} {rows.split}" for name, rows in questions.items()]
        for name, points in curves.items():
            for section in over_training.curve_tables(f"Zero-shot, {name}", points, columns):
                print_table(section.title, section.table, section.note)
    print(f"wrote {picture} and {picture.with_suffix('.json')}", file=sys.stderr)


def _table(results: Sequence[ZeroShotResult]) -> Table:
    from gpt1.reports.sections import Table

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
    return Table(columns, rows)
