"""gpt1 compare: two runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpt1.cli import options, print_json


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    second: Annotated[Path, typer.Argument(metavar="RUN", help="Another run's folder.")],
    out: Annotated[
        Path | None, typer.Option(help="Write a page with both runs' curves to this .html file.")
    ] = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Compare the settings and the results of two runs.

    The runs need not be finished.
    """
    from gpt1 import storage
    from gpt1.reports import runs
    from gpt1.reports.formatting import short_names
    from gpt1.reports.history import History
    from gpt1.reports.tables import print_table

    present = out is not None and options.check_file("--out", out, ".html", force=force)
    a, b = History.read(first), History.read(second)
    named = dict(zip(short_names([first, second]), (a, b), strict=True))
    if out is not None:
        storage.write_file(out, runs.comparison_page(named), replace=present)
    if json:
        losses = runs.common_validation(a, b)
        results = [{"run": name, **run.results} for name, run in named.items()]
        validation = [{"step": step, "losses": pair} for step, pair in losses.items()]
        differences = runs.differences(a, b)
        print_json({"runs": results, "differences": differences, "validation": validation})
    else:
        for title, table in runs.comparison_tables(named).items():
            print_table(title, table)
