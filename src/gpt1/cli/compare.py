"""gpt1 compare: runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpt1.cli import options, print_json
from gpt1.errors import ConfigError


def compare(
    folders: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="The folders of two or more runs.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write a page with the runs' curves to this .html file."),
    ] = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Compare the settings and the results of two or more runs.

    Runs that are still going can be compared too.
    """
    from gpt1 import storage
    from gpt1.reports import runs
    from gpt1.reports.formatting import short_names
    from gpt1.reports.history import History
    from gpt1.reports.tables import print_table

    present = out is not None and options.check_file("--out", out, ".html", force=force)
    if len(folders) < 2:
        raise ConfigError(f"{folders[0]} is the only run given; give two or more to compare.")
    histories = [History.read(folder) for folder in folders]
    named = dict(zip(short_names(folders), histories, strict=True))
    if out is not None:
        storage.write_file(out, runs.comparison_page(named), replace=present)
    if json:
        losses = runs.common_validation(histories)
        results = [{"run": name, **run.results} for name, run in named.items()]
        validation = [{"step": step, "losses": each} for step, each in losses.items()]
        differences = runs.differences(histories)
        print_json({"runs": results, "differences": differences, "validation": validation})
    else:
        for title, table in runs.comparison_tables(named).items():
            print_table(title, table)
