"""gpt1 zero-shot: what a model can do before anything is fine-tuned."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpt1.cli import options, print_json
from gpt1.errors import ConfigError

if TYPE_CHECKING:
    from gpt1.evaluation.zero_shot_sets import ZeroShotResult
    from gpt1.reports.sections import Table

_ALL = "cola,sst2,race,dpr,wsc273"


def zero_shot(
    data: options.DataFolder,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="The model to measure.", show_default="mini"),
    ] = None,
    checkpoints: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Measure a run's snapshots; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="With --checkpoints: the figure, a .png file.",
            show_default="RUN/zero-shot.png",
        ),
    ] = None,
    sets: Annotated[str, typer.Option(help="The data sets, separated by commas.")] = _ALL,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Use at most this many rows of each set, drawn at random.",
            show_default="all",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="The split to measure on.", show_default="dev; train of DPR, all of WSC273"
        ),
    ] = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Evaluate the paper's four zero-shot heuristics, for one model or over a pre-training run.

    Nothing is trained. CoLA is judged by a sentence's log-probability, SST-2 by "positive" or
    "negative" after "very", RACE by the most likely answer, Winograd schemas (DPR, WSC273) by how
    likely the rest of the sentence is. --checkpoints RUN draws the paper's figure 2 (right) and
    writes its numbers to FILE.json beside it. CoLA's threshold is chosen on train rows, whatever
    the --split.
    """
    import gpt1
    from gpt1.cli.progress import Progress
    from gpt1.evaluation import zero_shot_curves
    from gpt1.evaluation.zero_shot_sets import check_sets, load_sets, measure
    from gpt1.reports.formatting import short_names
    from gpt1.reports.tables import print_table
    from gpt1.storage import check_own, json_bytes, update_file, write_file

    names = check_sets(options.split_commas(sets))
    runs = checkpoints or []
    if model is not None and runs:
        raise ConfigError("give --model M for one model, or --checkpoints RUN for a run; not both.")
    if out is not None and not runs:
        raise ConfigError("--out is for the picture of --checkpoints RUN. Leave it out.")
    if out is None and len(runs) > 1:
        raise ConfigError("name the picture of several runs with --out FILE.png.")
    picture = out or Path(runs[0] if runs else "") / "zero-shot.png"
    for path in (picture, picture.with_suffix(".json")) if runs else ():
        if out is None:
            check_own(path)
        else:
            ending = ".png" if path == picture else ".json"
            options.check_file("--out", path, ending, force=force)
    for run in runs:
        zero_shot_curves.models_of_run(run)  # before the data is read
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
            for result in results:
                if result.by_sums is not None:
                    print(
                        f"{result.data}: {100 * result.by_sums:.1f} by the sums of the answers' "
                        f"log-probabilities; the table compares means, as they differ in length"
                    )
                if result.note:
                    print(f"{result.data}: {result.note}")
        return

    curves = {}
    with Progress() as shown:
        for run, name in zip(runs, short_names(runs), strict=True):
            shown.status(f"measuring {name}", "rows")
            curves[name] = zero_shot_curves.measure_run(run, questions, progress=shown.progress)
    numbers = json_bytes(zero_shot_curves.as_json(curves))
    files = {picture: zero_shot_curves.draw_curves(curves), picture.with_suffix(".json"): numbers}
    for path, content in files.items():
        if out is None:
            update_file(path, content)
        else:
            write_file(path, content, replace=force)
    if json:
        print(numbers.decode(), end="")
    else:
        columns = [f"{name} {rows.split}" for name, rows in questions.items()]
        for name, points in curves.items():
            for section in zero_shot_curves.curve_tables(f"Zero-shot, {name}", points, columns):
                print_table(section.title, section.table, section.note)
    print(f"wrote {' and '.join(map(str, files))}", file=sys.stderr)


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
